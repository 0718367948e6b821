"""Finds checks and views: every public module of the two folders, and third parties' entry points."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import pkgutil
from types import ModuleType
from typing import TypeVar

from .check_names import CHECKS_PACKAGE
from .contract import Check
from .errors import Misuse
from .view import View

CHECKS_GROUP = "mlgate.checks"
VIEWS_PACKAGE = "mlgate_reports"
VIEWS_GROUP = "mlgate.reports"

T = TypeVar("T", Check, View)


@functools.cache
def checks() -> dict[str, Check]:
    """Return every installed check by name.

    Raises:
        Misuse: two modules define a check of the same name; both are named.
    """
    return _collect(CHECKS_PACKAGE, CHECKS_GROUP, Check)


@functools.cache
def views() -> dict[str, View]:
    """Return every installed view of the evidence by the name of the file it writes."""
    return _collect(VIEWS_PACKAGE, VIEWS_GROUP, View)


def _collect(package: str, group: str, kind: type[T]) -> dict[str, T]:
    found: dict[str, T] = {}
    origin: dict[str, str] = {}
    for module in [*_modules(package), *_entry_points(group)]:
        for item in vars(module).values():
            if not isinstance(item, kind) or found.get(item.name) is item:
                continue
            if item.name in found:
                raise Misuse(f"{item.name} is defined twice: in {origin[item.name]} and in {module.__name__}")
            found[item.name] = item
            origin[item.name] = module.__name__
    return found


def _modules(package: str) -> list[ModuleType]:
    root = importlib.import_module(package)
    names = [m.name for m in pkgutil.iter_modules(root.__path__) if not m.name.startswith("_")]
    return [importlib.import_module(f"{package}.{name}") for name in names]


def _entry_points(group: str) -> list[ModuleType]:
    return [entry.load() for entry in importlib.metadata.entry_points(group=group)]
