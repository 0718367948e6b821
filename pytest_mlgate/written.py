"""Reads from the source which tests carry requirements, so that one that is never collected is missed."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .find_policy import FILE_NAME

_NOT_THE_PROJECTS = {"node_modules", "site-packages", "build", "dist", "__pycache__"}


@dataclass(frozen=True)
class WrittenTest:
    """A function with marks of the gate, as it stands in a file."""

    path: Path
    name: str
    line: int


def never_collected(root: Path, checks: Collection[str], items: Iterable[Any]) -> list[WrittenTest]:
    """Return the functions below `root` that carry marks of the gate and are not among the collected tests.

    Arguments, `--ignore`, a skipped module or a hook may each keep pytest from ever seeing a test; its
    requirements would be missed by nobody. A folder with a policy of its own is another project.
    """
    seen = {_place(item) for item in items}
    return [test for test in _written_below(root, checks) if (test.path, test.name, test.line) not in seen]


def _place(item: Any) -> tuple[Path, str, int]:
    function = getattr(item, "function", None)
    if function is None:
        return item.path.resolve(), item.name, 0
    code = getattr(inspect.unwrap(function), "__code__", None)
    name = getattr(item, "originalname", None) or item.name
    return item.path.resolve(), name, code.co_firstlineno if code else 0


def _written_below(root: Path, checks: Collection[str]) -> Iterator[WrittenTest]:
    marked = re.compile(rf"^\s*@(?:\w+\.)*(?:{'|'.join(map(re.escape, sorted(checks)))})\b", re.MULTILINE)
    for path in _python_files(root.resolve()):
        try:
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text) if marked.search(text) else None
        except (OSError, ValueError, SyntaxError):
            continue  # a file that cannot be parsed cannot be collected either, and that blocks by itself
        if tree is None or "pytest" not in text:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                decorators = node.decorator_list
                if any(_last_name(d) in checks for d in decorators):
                    line = min(d.lineno for d in decorators)
                    yield WrittenTest(path=path, name=node.name, line=line)


def _python_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            own = path.name.startswith(".") or path.name in _NOT_THE_PROJECTS
            if not own and not (path / "pyvenv.cfg").exists() and not (path / FILE_NAME).exists():
                yield from _python_files(path)
        elif path.suffix == ".py":
            yield path


def _last_name(decorator: ast.expr) -> str:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(called, ast.Attribute):
        return called.attr
    return called.id if isinstance(called, ast.Name) else ""
