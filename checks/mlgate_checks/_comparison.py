"""What the drift check compares: the present values of one column, label or score in two tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.dataset import Dataset, Frame
from pytest_mlgate.errors import CheckError
from pytest_mlgate.subject import Subject

#: Whole numbers with at most this many distinct values are codes, not amounts.
LARGEST_CODE_SET = 10
#: With fewer rows than this for each category, chance alone keeps two samples of one source apart.
FEWEST_ROWS_PER_CATEGORY = 10

Values = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One quantity in both tables: numbers, or codes of `categories`."""

    scope: str
    kind: Literal["numeric", "categorical", "not compared"]
    reference: Values
    current: Values
    categories: tuple[str, ...] = ()
    #: Why the two cannot be compared; empty if they can.
    problem: str = ""
    note: str = ""

    def counts(self, codes: Values) -> NDArray[np.int64]:
        """Return how often each category occurs among the codes of one table."""
        return np.bincount(codes, minlength=len(self.categories)).astype(np.int64)

    def what_moved(self, role: str) -> str:
        """Return the medians, or the shares of the category that changed most, for a person to read."""
        if self.kind == "numeric":
            first, second = float(np.median(self.reference)), float(np.median(self.current))
            moved = f"median {first:.4g} in train, {second:.4g} in {role}"
        else:
            shares = [self.counts(codes) / len(codes) for codes in (self.reference, self.current)]
            most = int(np.argmax(np.abs(shares[0] - shares[1])))
            name = self.categories[most]
            moved = f"{name!r} {shares[0][most]:.1%} of train, {shares[1][most]:.1%} of {role}"
        rows = min(len(self.reference), len(self.current))
        chance = f"{len(self.categories):,} categories in {rows:,} rows: part of this distance is chance"
        crowded = len(self.categories) * FEWEST_ROWS_PER_CATEGORY > rows
        return "; ".join(part for part in (moved, self.note, chance if crowded else "") if part)


def compare_column(data: Dataset, name: str, role: str) -> list[Comparison]:
    """Return the comparison of a column's values and, where any are missing, of its missing share.

    Raises:
        CheckError: the column is not there, holds infinities, or numbers in one table and text in the other.
    """
    tables = {"train": data.tables["train"], role: data.tables[role]}
    for table, frame in tables.items():
        if name not in frame.columns:
            raise CheckError(f"drift: the {table} table has no column {name!r}")
    values = [_present(frame, name, table) for table, frame in tables.items()]
    missing = [len(frame) - len(v) for frame, v in zip(tables.values(), values, strict=True)]
    compared = [_compare(f"column {name}", values, list(tables), force_categories=False)]
    if any(missing):
        masks = [np.repeat(["missing", "present"], [k, len(v)]) for k, v in zip(missing, values, strict=True)]
        compared.append(_compare(f"column {name}: missing", masks, list(tables), force_categories=True))
    return compared


def _compare(
    scope: str, values: Sequence[Values], roles: Sequence[str], *, force_categories: bool, note: str = ""
) -> Comparison:
    reference, current = values
    empty = [role for role, v in zip(roles, values, strict=True) if not len(v)]
    if empty:
        problem = f"no values at all in the {' and the '.join(empty)} table"
        return Comparison(
            scope=scope, kind="not compared", reference=reference, current=current, problem=problem
        )
    numbers = [v.dtype.kind == "f" for v in values]
    if numbers[0] != numbers[1]:
        held = " and ".join(
            f"{'numbers' if n else 'text'} in {r}" for n, r in zip(numbers, roles, strict=True)
        )
        raise CheckError(f"drift: {scope} holds {held}: read both tables with the same types")
    distinct = np.unique(np.concatenate([reference, current]))
    if numbers[0] and not force_categories:
        whole = bool(np.all(distinct == np.floor(distinct)))
        if not whole or len(distinct) > LARGEST_CODE_SET:
            return Comparison(scope=scope, kind="numeric", reference=reference, current=current, note=note)
    return Comparison(
        scope=scope,
        kind="categorical",
        reference=np.searchsorted(distinct, reference),
        current=np.searchsorted(distinct, current),
        categories=tuple(f"{v:g}" if numbers[0] else str(v) for v in distinct.tolist()),
        note=note,
    )


def compare_labels(data: Dataset, role: str) -> Comparison:
    """Return the comparison of the labels, over the rows of either table that have one."""
    scope = f"label {data.label}"
    current = data.tables[role]
    if data.label not in current.columns:
        nothing = np.zeros(0)
        problem = f"the {role} table has no label column {data.label!r}"
        return Comparison(
            scope=scope, kind="not compared", reference=nothing, current=nothing, problem=problem
        )
    values = [_present(data.tables[table], data.label, table) for table in ("train", role)]
    unlabelled = len(current) - len(values[1])
    note = f"{unlabelled:,} rows without a label left out" if unlabelled else ""
    return _compare(scope, values, ["train", role], force_categories=True, note=note)


def compare_predictions(subject: Subject, role: str) -> list[Comparison]:
    """Return one comparison of the scores, or one for each class where there are more than two."""
    reference, current = (subject.scores(role=table) for table in ("train", role))
    if reference.ndim == 1:
        pairs = {"score": (reference, current)}
    elif reference.shape[1] == 2:
        pairs = {"score": (reference[:, 1], current[:, 1])}
    else:
        pairs = {f"score of class {k}": (reference[:, k], current[:, k]) for k in range(reference.shape[1])}
    return [
        Comparison(scope=scope, kind="numeric", reference=first, current=second)
        for scope, (first, second) in pairs.items()
    ]


def _present(frame: Frame, name: str, role: str) -> Values:
    """Return the values of a column that are present: float64 if all are numbers, else text."""
    series = frame[name].drop_nulls()
    if series.dtype in (nw.Date, nw.Datetime):
        series = series.dt.timestamp("ms")
    if series.dtype.is_numeric() or series.dtype == nw.Boolean:
        numbers = np.asarray(series.cast(nw.Float64).to_numpy(), dtype=np.float64)
    else:
        cells = series.to_list()
        if not all(isinstance(v, int | float | np.number | np.bool_) for v in cells):
            return np.asarray([str(v) for v in cells])
        numbers = np.asarray(cells, dtype=np.float64)
    infinite = int(np.isinf(numbers).sum())
    if infinite:
        raise CheckError(
            f"drift: column {name!r} holds {infinite:,} infinite values in the {role} table: no distance can "
            "be taken from them; correct or remove those rows"
        )
    return numbers[~np.isnan(numbers)]
