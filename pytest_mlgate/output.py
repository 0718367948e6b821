"""Writes the report folder in one step: readers see the previous one whole, or the new one whole."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from .errors import Misuse

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def replace_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder hold exactly these files; `require_replaceable` says whether it may be replaced.

    All files are written and flushed beside the target first; then the folders change places by one atomic
    exchange (Linux `renameat2`), or by two renames where the system has none.

    Raises:
        Misuse: a name leaves the folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        for name, data in files.items():
            if Path(name).name != name:
                raise Misuse(f"report file {name!r} would be written outside {target}")
            with open(fresh / name, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        fresh.chmod(0o755)
        _swap_in(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def require_replaceable(target: Path, names: Collection[str]) -> None:
    """Refuse a target that holds anything but files of these names, which are those of a report.

    Raises:
        Misuse: the target is a file, a link, or a folder with other contents.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise Misuse(f"the report folder {str(target)!r} is not a folder")
    held = sorted(path.name for path in target.iterdir()) if target.is_dir() else []
    others = [repr(name) for name in held if name not in names]
    if others:
        raise Misuse(
            f"the report folder {str(target)!r} would be replaced as a whole, and holds what no report has: "
            f"{', '.join(others[:3])}; name another folder with --mlgate-report"
        )


def _swap_in(fresh: Path, target: Path) -> None:
    if not target.exists():
        os.rename(fresh, target)
        return
    if _exchange(fresh, target):
        return
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    os.rename(target, aside / "previous")
    try:
        os.rename(fresh, target)
    except OSError:
        os.rename(aside / "previous", target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError, AttributeError):
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        paths = os.fsencode(first), os.fsencode(second)
        return bool(renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0)
    return False
