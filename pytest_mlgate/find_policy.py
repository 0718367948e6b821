"""Finds a project's policy without importing anything heavy: this runs in every pytest session."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import Misuse

FILE_NAME = "mlgate.toml"


def find(root: Path) -> Path | None:
    """Return the policy file of a project, if it has one.

    Raises:
        Misuse: both `mlgate.toml` and `[tool.mlgate]` exist; two policies are none.
    """
    own, shared = root / FILE_NAME, root / "pyproject.toml"
    in_shared = shared.is_file() and re.search(rb"^\s*\[tool\.mlgate[\].]", shared.read_bytes(), re.MULTILINE)
    if own.is_file() and in_shared:
        raise Misuse(f"both {FILE_NAME} and [tool.mlgate] in pyproject.toml exist: keep one")
    if own.is_file():
        return own
    return shared if in_shared else None
