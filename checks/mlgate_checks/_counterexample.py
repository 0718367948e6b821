"""The smallest change of one row that makes a model break a metamorphic relation, found by Hypothesis."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import narwhals as nw
import numpy as np

from pytest_mlgate.candidate import Model
from pytest_mlgate.dataset import Frame, is_missing
from pytest_mlgate.errors import MissingExtra

from ._metamorphic import Column, Floats, Positions, Relation, Sweep, allowed, answers_with

#: Up to this many distinct values a column may hold codes: only values that occur are then tried.
_MOST_CODES = 20
#: Rows on which Hypothesis tries every value at once, where the sweep has not found a row to start from.
_ROWS_SEARCHED = 256
_EXAMPLES = 100
#: Hypothesis draws some integers from constants of the user's code. None is near this one, so that the same
#: inputs give the same search in every project.
_FAR_FROM_ANY_CONSTANT = 7 * 10**30


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one column of one test row, and what the model made of it."""

    row: int
    before_value: str
    after_value: str
    before: float
    after: float

    def describe(self, column: str) -> str:
        """Return the change in one line."""
        return (
            f"row {self.row}: {column} {self.before_value} -> {self.after_value} moves p(positive) "
            f"{self.before:.3f} -> {self.after:.3f}"
        )


def smallest_change(
    model: Model,
    frame: Frame,
    before: Floats,
    relation: Relation,
    column: Column,
    swept: Sweep,
    tolerance: float,
    seed: int,
) -> Change | None:
    """Let Hypothesis look for a violation and shrink it; `None` where there is none to be found.

    From the sweep's worst violation it shrinks the change on that row. If the sweep found none, it searches
    for a value that violates on any of many rows, between the values that occur, too, in a column of
    numbers with more than a few values.

    Raises:
        MissingExtra: Hypothesis is not installed.
    """
    worst = int(np.argmax(swept.harm))
    start = worst if swept.harm[worst] > tolerance else None
    values = _Values.of(column, relation, frame)
    if start is None:
        size = min(_ROWS_SEARCHED, len(frame))
        rows = np.sort(np.random.default_rng(seed).choice(len(frame), size=size, replace=False))
    else:
        rows = swept.rows[start : start + 1]
        values = values.towards(float(column.row_keys[rows[0]]), int(swept.donors[start]), relation)
    after: dict[int, Floats] = {}

    def harm(i: int) -> Floats:
        if i not in after:
            after[i] = answers_with(model, frame, rows, values.series(i, len(rows)))
        changes = allowed(relation, column.row_keys[rows], values.keys[i])
        return np.where(changes, relation.harm(before[rows], after[i]), -1.0)

    found = _find(len(values.keys), lambda i: float(np.max(harm(i))), tolerance, seed)
    if found is None:
        return None if start is None else _unshrunk(before, column, swept, start)
    violating = np.flatnonzero(harm(found) > tolerance)
    distance = np.abs(column.row_keys[rows[violating]] - values.keys[found])
    at = int(violating[np.argmin(distance)])
    row = int(rows[at])
    return Change(
        row=row,
        before_value=_shown(column.pool[row]),
        after_value=_shown(values.series(found, 1)[0]),
        before=float(before[row]),
        after=float(after[found][at]),
    )


def _unshrunk(before: Floats, column: Column, swept: Sweep, at: int) -> Change:
    row = int(swept.rows[at])
    return Change(
        row=row,
        before_value=_shown(column.pool[row]),
        after_value=_shown(column.pool[int(swept.donors[at])]),
        before=float(before[row]),
        after=float(swept.after[at]),
    )


@dataclass(frozen=True, eq=False)
class _Values:
    """The new values that Hypothesis chooses from, simplest first."""

    keys: Floats
    #: Positions in the pool, or `None` where the keys themselves are the values.
    donors: Positions | None
    column: Column
    frame: Frame

    @classmethod
    def of(cls, column: Column, relation: Relation, frame: Frame) -> _Values:
        """Return the values that occur; for numbers that take many values, round numbers between them."""
        distinct = column.distinct(relation)
        keys = column.pool_keys[distinct]
        dtype = column.pool.dtype
        finite = keys[np.isfinite(keys)]
        if len(finite) <= _MOST_CODES or not (dtype.is_float() or dtype.is_integer()):
            return cls(keys, distinct, column, frame)
        step = 10.0 ** math.floor(math.log10(float(finite[-1] - finite[0])) - 3)
        if np.all(finite == np.round(finite)):
            step = max(1.0, step)
        first, last = math.ceil(finite[0] / step), math.floor(finite[-1] / step)
        return cls(np.arange(first, last + 1) * step, None, column, frame)

    def towards(self, key: float, donor: int, relation: Relation) -> _Values:
        """Return the values on the way from a row's value to that of a donor, which comes last."""
        target = float(self.column.pool_keys[donor])
        within = allowed(relation, np.full(len(self.keys), key), self.keys) & (self.keys != target)
        if relation.kind != "invariant":
            within &= self.keys < target
        nearest = np.flatnonzero(within)[np.argsort(np.abs(self.keys[within] - key), kind="stable")]
        keys = np.append(self.keys[nearest], target)
        if self.donors is None and math.isfinite(target):
            return _Values(keys, None, self.column, self.frame)
        if self.donors is None:  # the donor's value is missing, which no number stands for
            return _Values(keys[-1:], np.asarray([donor]), self.column, self.frame)
        return _Values(keys, np.append(self.donors[nearest], donor), self.column, self.frame)

    def series(self, i: int, count: int) -> Any:
        """Return the value as a column of `count` equal cells."""
        if self.donors is not None:
            return self.column.pool[np.full(count, self.donors[i])]
        values = np.full(count, self.keys[i])
        backend = self.frame.implementation
        return nw.new_series(self.column.name, values, nw.Float64, backend=backend).cast(
            self.column.pool.dtype
        )


def _find(count: int, harm: Callable[[int], float], tolerance: float, seed: int) -> int | None:
    """Return the first of `count` values whose harm exceeds the tolerance, as far as Hypothesis finds one."""
    try:
        import hypothesis
        from hypothesis import strategies
        from hypothesis.errors import NoSuchExample
    except ImportError:
        raise MissingExtra("Hypothesis", "robustness") from None

    def violates(i: int) -> bool:
        moved = harm(i)
        hypothesis.target(moved)
        return moved > tolerance

    offset = _FAR_FROM_ANY_CONSTANT
    positions = strategies.integers(offset, offset + count - 1).map(lambda i: i - offset)
    settings = hypothesis.settings(
        max_examples=_EXAMPLES,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.generate, hypothesis.Phase.target, hypothesis.Phase.shrink),
        verbosity=hypothesis.Verbosity.quiet,
        backend="hypothesis",
    )
    with _no_folder():
        try:
            chance = Random(seed)  # noqa: S311 - a search, not a secret
            return int(hypothesis.find(positions, violates, settings=settings, random=chance))
        except NoSuchExample:
            return None


@contextlib.contextmanager
def _no_folder() -> Iterator[None]:
    """Keep Hypothesis from leaving its `.hypothesis` folder in the project."""
    from hypothesis import configuration

    before = getattr(configuration, "__hypothesis_home_directory", None)
    with tempfile.TemporaryDirectory() as folder:
        configuration.set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            configuration.set_hypothesis_home_dir(before)


def _shown(value: Any) -> str:
    if is_missing(value):
        return "missing"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
