"""The policy: `mlgate.toml`, or `[tool.mlgate]` in `pyproject.toml`, read strictly."""

from __future__ import annotations

import datetime
import math
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from . import codec
from .errors import Misuse
from .evidence import Grade
from .find_policy import section_of
from .hardware.target import TargetEntry


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something the policy says about one requirement."""

    requirement: str
    reason: str


class WaiverEntry(Entry, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A waiver as written: all fields are needed, and the date is one."""

    owner: str
    approver: str
    expires: datetime.date
    scope: str = "any"


class InconclusiveEntry(Entry, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A requirement whose inconclusive verdict only warns, and why."""

    scope: str = "any"


class GradeEntry(Entry, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A requirement for which a weaker grade of evidence will do, and why."""

    grade: Grade


class ModelEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a model comes from: an ONNX file, or `package.module:function` that returns one."""

    model: str
    output: str = "probability"
    threshold: float = 0.5


class DataEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The tables as files and what their columns mean; the fields are those of `Dataset`."""

    test: str
    label: str
    train: str | None = None
    current: str | None = None
    features: tuple[str, ...] | None = None
    sensitive: tuple[str, ...] = ()
    prediction: str | None = None
    positive: int | str | bool = 1
    task: Literal["binary", "multiclass", "regression"] | None = None
    bins: dict[str, tuple[float, ...]] = {}


class CompressEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the search for the release artifact may go about it."""

    #: Names of recipes to try; all by default.
    recipes: tuple[str, ...] | None = None
    #: Names of recipes that must not be used.
    forbid: tuple[str, ...] = ()
    #: Recipes that train: where no other meets the budget, always, or never.
    train: Literal["when_needed", "always", "never"] = "when_needed"
    #: How long one recipe may train.
    train_seconds: float = 60.0


class HoldoutEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What repeated use of one test table may cost; the ledger counts it."""

    #: How many distinct candidates may be judged on one test table; any number by default.
    max_uses: int | None = None
    #: Whether every further candidate has less of alpha to be released by; see `holdout`.
    tighten: bool = False


class PolicyFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything a policy may say."""

    required: tuple[str, ...]
    name: str = ""
    alpha: float = 0.05
    seed: int = 0
    candidate: str | ModelEntry | None = None
    baseline: str | ModelEntry | None = None
    training_record: str | None = None
    data: DataEntry | str | None = None
    tests: tuple[str, ...] = ()
    targets: dict[str, str | TargetEntry] = {}
    compress: CompressEntry = CompressEntry()
    holdout: HoldoutEntry = HoldoutEntry()
    checks: dict[str, dict[str, Any] | list[dict[str, Any]]] = {}
    inconclusive: tuple[InconclusiveEntry, ...] = ()
    grades: tuple[GradeEntry, ...] = ()
    waivers: tuple[WaiverEntry, ...] = ()
    card: dict[str, Any] = {}


@dataclass(frozen=True)
class CheckUse:
    """One section of the policy that declares a check: `[checks.NAME]` or `[[checks.NAME]]`."""

    check: str
    parameters: dict[str, Any]
    source: str


@dataclass(frozen=True)
class Policy:
    """A policy that was read, with the place it came from."""

    path: Path | None
    digest: str
    fields: PolicyFields
    uses: tuple[CheckUse, ...] = field(default_factory=tuple)

    @property
    def source(self) -> str:
        """The file's name, or `marks only` where no policy was written."""
        return self.path.name if self.path else "marks only"

    @property
    def folder(self) -> Path:
        """The folder that the policy's paths are relative to."""
        return self.path.parent if self.path else Path.cwd()


def load(path: Path) -> Policy:
    """Read and validate a policy.

    Raises:
        Misuse: the file is absent, not TOML, or says something a policy cannot say; or it requires nothing.
    """
    text = _text(path)
    try:
        content: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError is a ValueError
        raise Misuse(f"{path.name}: not TOML: {error}") from None
    if path.name == "pyproject.toml":
        content = section_of(content)
    fields = _validated(content, path.name)
    return Policy(
        path=path, digest=codec.digest(text.encode()), fields=fields, uses=_uses(fields, text, path.name)
    )


def require_runnable(policy: Policy) -> None:
    """Refuse to run a policy by itself if it does not say what to run it on.

    Raises:
        Misuse: the policy names no candidate or no data, or declares no check.
    """
    fields = policy.fields
    missing = [
        f"{name} ({example})"
        for name, value, example in (
            ("candidate", fields.candidate, 'candidate = "models/model.onnx"'),
            ("data", fields.data, '[data] test = "data/test.csv", label = "approved"'),
            ("checks", fields.checks, "[checks.budget] size_mb = 1"),
        )
        if not value
    ]
    if missing:
        raise Misuse(
            f"{policy.source} cannot be run by itself, it names no {' and no '.join(missing)}. Add what is "
            "missing, or run the tests that carry the requirements"
        )


def without_file() -> Policy:
    """Return the policy of a project that declares its requirements by marks alone."""
    return Policy(path=None, digest=codec.digest(b""), fields=PolicyFields(required=()))


def _validated(content: dict[str, Any], name: str) -> PolicyFields:
    for required_key in ("required",):
        if required_key not in content:
            raise Misuse(
                f"{name}: no `required` list. A policy says which checks a release needs, "
                'for example: required = ["budget", "fairness", "privacy_epsilon"]'
            )
    try:
        fields = msgspec.convert(content, type=PolicyFields, strict=True)
    except msgspec.ValidationError as error:
        raise Misuse(f"{name}: {error}{_accepted(content)}") from None
    if not fields.required:
        raise Misuse(f"{name}: `required` is empty. A policy that requires nothing decides nothing")
    repeated = sorted({n for n in fields.required if fields.required.count(n) > 1})
    if repeated:
        raise Misuse(f"{name}: `required` names {', '.join(repeated)} twice")
    if not math.isfinite(fields.alpha) or not 0 < fields.alpha <= 0.5:
        raise Misuse(f"{name}: alpha={fields.alpha!r}. Accepted: a probability above 0, at most 0.5")
    entries: tuple[Entry, ...] = (*fields.waivers, *fields.inconclusive, *fields.grades)
    for entry in entries:
        texts = {k: getattr(entry, k) for k in entry.__struct_fields__}
        empty = [k for k, text in texts.items() if isinstance(text, str) and not text.strip()]
        if empty:
            raise Misuse(f"{name}: the entry for {entry.requirement!r} leaves {', '.join(empty)} empty")
    if fields.holdout.max_uses is not None and fields.holdout.max_uses < 1:
        raise Misuse(
            f"{name}: [holdout] max_uses={fields.holdout.max_uses}. Accepted: a whole number from 1 on"
        )
    if fields.seed < 0:
        raise Misuse(f"{name}: seed={fields.seed}. Accepted: a whole number from 0 on")
    pairs = [(w.requirement, w.scope) for w in fields.waivers]
    if len(set(pairs)) < len(pairs):
        raise Misuse(f"{name}: two waivers cover the same requirement and scope")
    return fields


def _accepted(content: dict[str, Any]) -> str:
    unknown = sorted(set(content) - set(PolicyFields.__struct_fields__))
    if not unknown:
        return ""
    return f" ({', '.join(unknown)}). Accepted: {', '.join(PolicyFields.__struct_fields__)}"


def _uses(fields: PolicyFields, text: str, name: str) -> tuple[CheckUse, ...]:
    uses = []
    for check, sections in fields.checks.items():
        header = re.compile(rf"^[ \t]*\[{{1,2}}(?:tool\.mlgate\.)?checks\.{re.escape(check)}\]", re.MULTILINE)
        lines = [text.count("\n", 0, match.start()) + 1 for match in header.finditer(text)]
        for position, section in enumerate(sections if isinstance(sections, list) else [sections]):
            line = f":{lines[position]}" if position < len(lines) else ""
            uses.append(CheckUse(check=check, parameters=section, source=f"{name}{line}"))
    return tuple(uses)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Misuse(f"policy {str(path)!r} does not exist. Write one with: mlgate init") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Misuse(f"policy {str(path)!r} cannot be read: {error}") from None
