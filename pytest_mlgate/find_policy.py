"""Finds a project's policy without importing anything heavy: this runs in every pytest session."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import Misuse

FILE_NAME = "mlgate.toml"


def find(root: Path) -> Path | None:
    """Return the policy file of a project, if it has one.

    Raises:
        Misuse: both `mlgate.toml` and `[tool.mlgate]` exist; two policies are none. Or `pyproject.toml`
            speaks of the gate and cannot be read, so that what it says is unknown.
    """
    own, shared = root / FILE_NAME, root / "pyproject.toml"
    in_shared = shared.is_file() and _has_section(shared)
    if own.is_file() and in_shared:
        raise Misuse(f"both {FILE_NAME} and [tool.mlgate] in pyproject.toml exist: keep one")
    if own.is_file():
        return own
    return shared if in_shared else None


def find_upwards(starts: Iterable[Path]) -> Path | None:
    """Return the policy of the project that the places belong to: the nearest one above each of them.

    The search ends at the root of a git checkout: what lies above is another project.

    Raises:
        Misuse: two of the places belong to different policies.
    """
    found: dict[Path, None] = {}
    for start in dict.fromkeys(starts):
        for folder in (start, *start.parents):
            path = find(folder) if folder.is_dir() else None
            if path is not None:
                found[path.resolve()] = None
            if path is not None or (folder / ".git").exists():
                break
    if len(found) > 1:
        names = " and ".join(map(str, found))
        raise Misuse(f"two policies could apply: {names}. Name one with --mlgate-policy")
    return next(iter(found), None)


def section_of(content: dict[str, Any]) -> dict[str, Any]:
    """Return what a parsed `pyproject.toml` says about the gate; empty if it says nothing.

    Raises:
        Misuse: `tool.mlgate` is not a table.
    """
    tool = content.get("tool", {})
    section = tool.get("mlgate", {}) if isinstance(tool, dict) else {}
    if not isinstance(section, dict):
        raise Misuse(f"pyproject.toml: tool.mlgate is {section!r}, not a table")
    return section


def _has_section(path: Path) -> bool:
    data = path.read_bytes()
    if b"mlgate" not in data:
        return False
    import tomllib

    try:
        content = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise Misuse(f"pyproject.toml: not TOML: {error}") from None
    tool = content.get("tool")
    return isinstance(tool, dict) and "mlgate" in tool
