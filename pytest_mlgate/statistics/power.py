"""How many rows would decide, judged by the very interval that the verdict rests on."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..evidence import Comparator
from ..levels import Tails
from .auc import RocArea, RocAreaPair
from .comparisons import difference_interval
from .paired import paired_difference_interval
from .proportions import clopper_pearson

#: Nobody collects more rows than this for one decision.
MOST_ROWS = 10_000_000


def rows_to_decide(
    interval_at: Callable[[int], tuple[float | None, float | None]], bound: float, n: int
) -> int | None:
    """Return the fewest rows from `n` on at which the interval leaves the bound; `None` if none would.

    `interval_at(rows)` returns the two ends as they would be with so many rows, the estimate staying where
    it is; `None` is an end without limit. The search doubles, then bisects, so that it is exact where the
    interval narrows steadily. More than `MOST_ROWS` counts as never.

    Raises:
        ValueError: n is not positive.
    """
    if n <= 0:
        raise ValueError(f"{n} rows to start from: at least one is needed")

    def decides(rows: int) -> bool:
        low, high = interval_at(rows)
        return (low is not None and low >= bound) or (high is not None and high <= bound)

    enough, too_few = n, n - 1
    while not decides(enough):
        if enough >= MOST_ROWS:
            return None
        too_few, enough = enough, min(2 * enough, MOST_ROWS)
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if decides(middle):
            enough = middle
        else:
            too_few = middle
    return enough


def proportion_rows(successes: int, n: int, bound: float, tails: Tails) -> int | None:
    """Return the n at which the exact interval of a proportion decides; `None` if none would."""

    def at(rows: int) -> tuple[float, float]:
        return clopper_pearson(successes * rows / n, rows, tails)

    return rows_to_decide(at, bound, n)


def difference_rows(k1: int, n1: int, k2: int, n2: int, bound: float, tails: Tails) -> tuple[int, int] | None:
    """Return the two n at which the interval of p1 - p2 decides; `None` if none would.

    The smaller sample grows alone where that is enough, since its rows are what is missing; else both grow
    by the same factor.
    """

    def at(rows1: float, rows2: float) -> tuple[float, float]:
        return difference_interval(k1 * rows1 / n1, rows1, k2 * rows2 / n2, rows2, tails)

    if n1 <= n2:
        alone = rows_to_decide(lambda rows: at(rows, n2), bound, n1)
    else:
        alone = rows_to_decide(lambda rows: at(n1, rows), bound, n2)
    # A sample that must outgrow the other many times over is not what is missing.
    if alone is not None and alone <= max(n1, n2):
        return (alone, n2) if n1 <= n2 else (n1, alone)
    total = n1 + n2
    enough = rows_to_decide(lambda rows: at(n1 * rows / total, n2 * rows / total), bound, total)
    return None if enough is None else (math.ceil(n1 * enough / total), math.ceil(n2 * enough / total))


def paired_rows(only_first: int, only_second: int, n: int, bound: float, tails: Tails) -> int | None:
    """Return the n at which the interval of a paired difference decides; `None` if none would."""

    def at(rows: int) -> tuple[float, float]:
        return paired_difference_interval(only_first * rows / n, only_second * rows / n, rows, tails)

    return rows_to_decide(at, bound, n)


def auc_rows(area: RocArea | RocAreaPair, bound: float, tails: Tails) -> int | None:
    """Return the rows of both classes, in their present shares, at which an AUC or a difference decides."""
    one = area if isinstance(area, RocArea) else area.first
    n = round(one.positives + one.negatives)
    return rows_to_decide(lambda rows: area.grown(rows / n).interval(tails), bound, n)


def proportion_power(truth: float, n: int, bound: float, comparator: Comparator, tails: Tails) -> float:
    """Return the probability that a proportion passes its bound with n rows, were `truth` the true one.

    Exact: the sum of the binomial probabilities of all counts whose exact interval passes.

    Raises:
        ValueError: n is not positive or truth is outside 0 to 1.
    """
    from scipy.stats import binom

    if n <= 0 or not 0 <= truth <= 1:
        raise ValueError(f"n={n} and truth={truth:g}: n must be positive and truth in 0 to 1")
    counts = np.arange(n + 1)

    def passes(count: int) -> bool:
        low, high = clopper_pearson(count, n, tails)
        return high <= bound if comparator == "<=" else low >= bound

    # Ends grow with the count, so that one search finds where passing begins or ends.
    first, last = -1, n + 1
    upwards = comparator == ">="
    while last - first > 1:
        middle = (first + last) // 2
        if passes(middle) == upwards:
            last = middle
        else:
            first = middle
    passing = counts >= last if upwards else counts < last
    return float(binom.pmf(counts[passing], n, truth).sum())
