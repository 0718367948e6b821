"""The names of the checks that come with the gate, found without importing any of them."""

from __future__ import annotations

import importlib
import pkgutil

CHECKS_PACKAGE = "mlgate_checks"


def check_names() -> tuple[str, ...]:
    """Return the public module names of the checks folder, which are the checks' names."""
    root = importlib.import_module(CHECKS_PACKAGE)
    return tuple(m.name for m in pkgutil.iter_modules(root.__path__) if not m.name.startswith("_"))
