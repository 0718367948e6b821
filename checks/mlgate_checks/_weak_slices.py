"""The slice on which the model is weakest: found on one half of the rows, judged on the other."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Cell, Grade, Interval, Measurement, Table
from pytest_mlgate.levels import Tails
from pytest_mlgate.subject import Subject

from ._answers import Answers, Rows, Undefined
from ._influence import Estimate
from ._metrics import Metric
from ._partitions import Partition, partitions_of
from ._rows_needed import with_rows_needed
from ._weak_search import Found, search

#: The search reads at most so many rows; all others judge.
_MOST_SEARCHED = 50_000
_LEAST_ROWS = 20
_SHOWN = 10


def weakest_slice(
    subject: Subject, metric: Metric, answers: Answers, least_share: float, bound: float | None
) -> tuple[Measurement, Table]:
    """Return by how much the metric is worse in the weakest slice than elsewhere, and a table of the weakest.

    Slices are the values or quartiles of every feature and sensitive column, and of pairs of these columns,
    with at least `least_share` of the rows. The weakest is found on a random half of the rows and judged on
    the other half, which did not choose it, so that its interval needs no correction for the search (sample
    splitting: Cox 1975, Biometrika 62:441). Judging every slice on all rows with Bonferroni's correction
    finds a weak slice of one column more often, but almost never lets a clean model pass: with 8 columns and
    a bound of 0.1 on accuracy, in 0% of samples of 2,000 rows and 3% of 5,000, against 77% and 97%.

    Raises:
        CheckError: the metric has no badness of single rows, or the share is not within 0 to 0.5.
    """
    if metric.badness is None:
        raise CheckError(f"max_weak_slice_drop: slices cannot be searched by {metric.name}; use metric='mae'")
    if not 0 < least_share < 0.5:
        raise CheckError(f"min_weak_slice_share={least_share:g} is outside 0 to 0.5")
    empty = Measurement(
        metric=f"{metric.name}_weak_slice_drop",
        value=None,
        unit="",
        n=0,
        interval=None,
        method=f"worst slice of columns and pairs of columns, found on other rows than judged (sample "
        f"splitting); {metric.name} of the other rows and of the slice; MOVER over: {metric.method}",
        grade=Grade.MISSING,
        bound=None if bound is None else "max_weak_slice_drop",
    )
    n = len(answers)
    order = np.random.default_rng(subject.seed).permutation(n)
    split = min(n // 2, _MOST_SEARCHED)
    seen, fresh = np.sort(order[:split]), np.sort(order[split:])
    columns = tuple(dict.fromkeys([*subject.data.feature_names, *subject.data.sensitive]))
    cuts = list(partitions_of(subject.data, columns))
    least = max(_LEAST_ROWS, math.ceil(least_share * split))
    looked_at = answers.take(seen)
    positive = looked_at.truth if answers.task == "binary" else None
    found = search(metric.badness(looked_at), positive, [cut.with_rows(seen) for cut in cuts], least)
    judged = [cut.with_rows(fresh) for cut in cuts]
    table = _table(found, judged)
    if not found.slices:
        reason = f"no slice has {least:,} of the {split:,} rows searched (and ten of either of two classes)"
        return dataclasses.replace(empty, n=n, detail=reason), table
    worst = found.slices[0]
    rows = answers.take(fresh)
    inside = worst.holds(judged)
    scope = f"slice {worst.name}"
    tails = subject.levels.tails("<=")
    try:
        slice_level, (value, (low, high)) = _gap(metric, rows, inside, tails)
    except Undefined as error:
        return dataclasses.replace(empty, n=int(inside.sum()), scope=scope, detail=str(error)), table
    measured = dataclasses.replace(
        empty,
        value=value,
        n=int(inside.sum()),
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        grade=Grade.MEASURED,
        scope=scope,
        detail=f"{metric.name} {slice_level:.3g} in the slice; weakest of {len(found.slices):,} slices in "
        f"{split:,} rows, judged on the other {len(fresh):,}",
    )
    return with_rows_needed(measured, bound, worst.name), table


def _gap(metric: Metric, a: Answers, inside: Rows, tails: Tails) -> tuple[float, Estimate]:
    """Return the metric in the slice, and by how much it is worse than in the other rows, with interval.

    The two are independent, so that the distances to their ends add like standard errors (MOVER: Zou and
    Donner 2008, Statistics in Medicine 27:1693).
    """
    slice_rows, rest = a.take(inside), a.take(~inside)
    if not len(slice_rows):
        raise Undefined("no row of the half that judges is in this slice")
    first, second = (rest, slice_rows) if metric.higher_is_better else (slice_rows, rest)
    value1, (low1, high1) = metric.level(first, tails)
    value2, (low2, high2) = metric.level(second, Tails(lower=tails.upper, upper=tails.lower))
    gap = value1 - value2
    low = _apart(gap, -1, (value1, low1), (value2, high2))
    high = _apart(gap, +1, (value1, high1), (value2, low2))
    return (value2 if metric.higher_is_better else value1), (gap, (low, high))


def _apart(
    gap: float, side: int, first: tuple[float, float | None], second: tuple[float, float | None]
) -> float | None:
    (value1, end1), (value2, end2) = first, second
    if end1 is None or end2 is None:
        return None
    return gap + side * math.hypot(end1 - value1, end2 - value2)


def _table(found: Found, cuts: Sequence[Partition]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (one.name, one.n, one.worse_by, int(one.holds(cuts).sum())) for one in found.slices[:_SHOWN]
    ]
    return Table(
        title="Weakest slices",
        columns=("slice", "n searched", "worse than all rows by (searched)", "n judged"),
        rows=tuple(rows),
        note=f"{len(found.slices):,} slices were looked at, pairs over {found.paired} columns. What a search "
        "finds looks worse than it is: only the first slice is judged, on rows that the search did not see",
    )
