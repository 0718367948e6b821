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

_FILE_MARKS = "pytestmark"
_NOT_THE_PROJECTS = {"node_modules", "site-packages", "build", "dist", "__pycache__"}


@dataclass(frozen=True)
class WrittenTest:
    """A function, class or file with marks of the gate; line 0 where any of its tests will do."""

    path: Path
    name: str
    line: int


def never_collected(root: Path, checks: Collection[str], items: Iterable[Any]) -> list[WrittenTest]:
    """Return the functions below `root` that carry marks of the gate and are not among the collected tests.

    Arguments, `--ignore`, a skipped module or a hook may each keep pytest from ever seeing a test; its
    requirements would be missed by nobody. A folder with a policy of its own is another project.
    """
    seen = {place for item in items for place in _places(item)}
    return [test for test in _written_below(root, checks) if (test.path, test.name, test.line) not in seen]


def _places(item: Any) -> Iterator[tuple[Path, str, int]]:
    """Yield where a collected test stands: its function, its class, and its file."""
    path = item.path.resolve()
    function = getattr(item, "function", None)
    if function is None:
        return
    code = getattr(inspect.unwrap(function), "__code__", None)
    name = getattr(item, "originalname", None) or item.name
    yield path, name, code.co_firstlineno if code else 0
    if getattr(item, "cls", None) is not None:
        yield path, item.cls.__name__, 0
    yield path, _FILE_MARKS, 0


def _written_below(root: Path, checks: Collection[str]) -> Iterator[WrittenTest]:
    names = "|".join(map(re.escape, sorted(checks)))
    marked = re.compile(rf"^\s*(?:@(?:\w+\.)*|{_FILE_MARKS}\b.*?)(?:{names})\b", re.MULTILINE | re.DOTALL)
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
            elif isinstance(node, ast.ClassDef):
                if any(_last_name(d) in checks for d in node.decorator_list):
                    yield WrittenTest(path=path, name=node.name, line=0)
            elif isinstance(node, ast.Assign) and _assigns_marks(node, checks):
                yield WrittenTest(path=path, name=_FILE_MARKS, line=0)


def _python_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            own = path.name.startswith(".") or path.name in _NOT_THE_PROJECTS
            if not own and not (path / "pyvenv.cfg").exists() and not (path / FILE_NAME).exists():
                yield from _python_files(path)
        elif path.suffix == ".py":
            yield path


def _assigns_marks(node: ast.Assign, checks: Collection[str]) -> bool:
    """Return whether the statement gives a file or a class its marks, one of the gate's among them."""
    if not any(isinstance(target, ast.Name) and target.id == _FILE_MARKS for target in node.targets):
        return False
    return any(_last_name(part) in checks for part in ast.walk(node.value) if isinstance(part, ast.expr))


def _last_name(decorator: ast.expr) -> str:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(called, ast.Attribute):
        return called.attr
    return called.id if isinstance(called, ast.Name) else ""
