"""The targets a budget may name: ids of backends, and the policy's own names for them."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from . import backends
from .backends.protocol import Backend

#: Names that stand for nothing until the policy says which device is meant.
ALIASES = ("npu",)


class TargetEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A section `[targets.NAME]` of the policy: what the name stands for."""

    id: str
    #: Interpreter of the backend's process, where its tool lives in an environment of its own.
    python: str | None = None
    #: The file that the target takes instead of the ONNX release artifact (a TFLite file for Vela).
    artifact: str | None = None
    #: What an hour of the machine costs; the unit of money is the policy's.
    price_per_hour: float | None = None
    #: Power drawn under load in watts, for an energy estimate where the machine counts none.
    watts: float | None = None
    options: dict[str, str] = {}


@dataclass(frozen=True)
class Target:
    """Where a budget is measured."""

    #: What the user wrote: "npu".
    name: str
    entry: TargetEntry
    backend: Backend | None

    @property
    def id(self) -> str:
        """The full id; empty for an alias that the policy maps to nothing."""
        return self.entry.id

    @property
    def spoken(self) -> str:
        """The name as messages show it: with the id where they differ."""
        return self.name if self.name == self.id or not self.id else f"{self.name} ({self.id})"

    def can(self, task: str) -> bool:
        """Return whether the backend carries this task out."""
        return self.backend is not None and task in self.backend.tasks


@dataclass(frozen=True)
class Targets:
    """The policy's section `targets`, and every id that a backend understands."""

    entries: Mapping[str, str | TargetEntry] = field(default_factory=dict)

    def resolve(self, name: str) -> Target:
        """Return the target of this name.

        An alias without an entry is a target without a backend: nothing can be measured on it, and the
        verdict says so.

        Raises:
            ValueError: there is no such backend, or the id names nothing that exists.
        """
        given = self.entries.get(name)
        if given is None and name in ALIASES:
            return Target(name=name, entry=TargetEntry(id=""), backend=None)
        entry = (
            TargetEntry(id=given if given is not None else name)
            if not isinstance(given, TargetEntry)
            else given
        )
        scheme, _, rest = entry.id.partition(":")
        backend = all_backends().get(scheme)
        if backend is None:
            spellings = ", ".join(b.spelling for b in all_backends().values())
            named = "".join(f", {n}" for n in self.entries)
            raise ValueError(f"there is no target {entry.id!r}. Accepted: {spellings}, npu{named}")
        try:
            backend.parse(rest)
        except ValueError as error:
            raise ValueError(f"target {entry.id!r}: {error}") from None
        _check_stand_in(name, entry, backend)
        return Target(name=name, entry=entry, backend=backend)


def _check_stand_in(name: str, entry: TargetEntry, backend: Backend) -> None:
    """Refuse another file where the target takes the release artifact: its figures would be another model's.

    Raises:
        ValueError: with the formats that the target takes in its place, if any.
    """
    if entry.artifact is None:
        return
    others = [f".{ending}" for ending in backend.formats if ending != "onnx"]
    if Path(entry.artifact).suffix.lower() not in others:
        accepted = f"takes {' and '.join(others)} in its place" if others else "takes nothing else"
        raise ValueError(
            f"[targets.{name}] artifact={entry.artifact!r}: only the release artifact is measured where ONNX "
            f"can be, and {entry.id} {accepted}"
        )


@functools.cache
def all_backends() -> dict[str, Backend]:
    """Return every backend by scheme, found by looking into the folder."""
    found: dict[str, Backend] = {}
    for module in pkgutil.iter_modules(backends.__path__):
        described: Any = getattr(
            importlib.import_module(f"{backends.__name__}.{module.name}"), "BACKEND", None
        )
        if described is not None:
            found[described.scheme] = described
    return found
