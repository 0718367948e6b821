"""Metamorphic relations: change one column of many rows, and see whether the model moves as it should."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.candidate import Model
from pytest_mlgate.candidate.model import positive_scores
from pytest_mlgate.dataset import Dataset, Frame, is_missing
from pytest_mlgate.errors import CheckError

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Relation:
    """How the probability of the positive class must answer to a change of one column."""

    kind: Literal["increasing", "decreasing", "invariant"]
    column: str

    @property
    def name(self) -> str:
        """The relation as scopes and tables show it."""
        return f"{self.kind} {self.column}"

    def harm(self, before: Floats, after: Floats) -> Floats:
        """Return how far the probability moved in the forbidden direction; negative where it did not."""
        if self.kind == "invariant":
            return np.asarray(np.abs(after - before))
        return before - after if self.kind == "increasing" else after - before


@dataclass(frozen=True, eq=False)
class Column:
    """The values of a column: as keys that can be compared, and as cells that can be put into rows.

    The key of a number is the number, of anything else its rank among the distinct values; a missing value
    is the last. `pool` holds the cells of the test table, followed by those of the training table where
    these have the same type.
    """

    name: str
    pool: Any
    pool_keys: Floats
    row_keys: Floats

    def order(self, relation: Relation) -> Positions:
        """Return the positions in the pool, by ascending key, that a change may take its value from."""
        order = np.argsort(self.pool_keys, kind="stable")
        return order if relation.kind == "invariant" else order[np.isfinite(self.pool_keys[order])]

    def distinct(self, relation: Relation) -> Positions:
        """Return one position in the pool for every distinct value, by ascending key."""
        order = self.order(relation)
        return order[np.unique(self.pool_keys[order], return_index=True)[1]]


def column_of(data: Dataset, relation: Relation) -> Column:
    """Return the values that the relation's column takes in the test and the training table.

    Raises:
        CheckError: the relation is about raising a column that does not hold numbers.
    """
    name = relation.column
    test = data.tables["test"][name]
    pool = test
    if "train" in data.tables:
        train = data.tables["train"]
        if train.implementation is data.tables["test"].implementation and train[name].dtype == test.dtype:
            joined = nw.concat([data.tables["test"].select(name), train.select(name)])[name]
            pool = joined if joined.dtype == test.dtype else test
    if test.dtype.is_numeric() or test.dtype == nw.Boolean:
        keys = np.asarray(pool.cast(nw.Float64).to_numpy(), dtype=np.float64)
        keys = np.where(np.isnan(keys), np.inf, keys)
    elif relation.kind == "invariant":
        cells = ["" if is_missing(v) else f"={v}" for v in pool.to_list()]
        codes = np.unique(np.asarray(cells), return_inverse=True)[1].reshape(-1).astype(np.float64)
        keys = np.where(np.asarray([not c for c in cells]), np.inf, codes)
    else:
        raise CheckError(f"column {name!r} holds no numbers, so that nothing can be {relation.kind} in it")
    return Column(name, pool, keys, keys[: len(test)])


@dataclass(frozen=True, eq=False)
class Sweep:
    """Random changes, one per element: row, position of the new value in the pool, answer, and harm."""

    rows: Positions
    donors: Positions
    after: Floats
    harm: Floats


def sweep(
    model: Model, frame: Frame, before: Floats, relation: Relation, column: Column, pairs: int, seed: int
) -> Sweep | None:
    """Change one value in each of `pairs` random rows; `None` where no row allows any change.

    Rows are drawn evenly from those that allow a change, new values as often as they occur in the data:
    a greater one where the relation is about raising, any other one where it is about invariance.
    """
    random = np.random.default_rng(seed)
    order = column.order(relation)
    keys = column.pool_keys[order]
    first = np.searchsorted(keys, column.row_keys, side="left")
    after = np.searchsorted(keys, column.row_keys, side="right")
    if relation.kind == "invariant":
        available = len(keys) - (after - first)
    else:
        available = np.where(np.isfinite(column.row_keys), len(keys) - after, 0)
    eligible = np.flatnonzero(available > 0)
    if not len(eligible):
        return None
    rows = random.choice(eligible, size=pairs)
    drawn = random.integers(0, available[rows])
    if relation.kind == "invariant":
        places = np.where(drawn < first[rows], drawn, drawn + (after - first)[rows])
    else:
        places = after[rows] + drawn
    donors = order[places]
    answers = answers_with(model, frame, rows, column.pool[donors])
    return Sweep(rows, donors, answers, relation.harm(before[rows], answers))


def allowed(relation: Relation, of_rows: Floats, new: Any) -> NDArray[np.bool_]:
    """Return for which rows the new key is a change that the relation speaks of."""
    if relation.kind == "invariant":
        return np.asarray(of_rows != new)
    return np.asarray(np.isfinite(of_rows) & (of_rows < new))


def answers_with(model: Model, frame: Frame, rows: Positions, series: Any) -> Floats:
    """Return the model's answers for the rows with one column replaced by the series."""
    changed = frame[rows].with_columns(series.alias(series.name))
    return positive_scores(model.predict_proba(changed))
