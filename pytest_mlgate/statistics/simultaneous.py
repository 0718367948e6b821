"""Intervals that hold for all groups of people, or all pairs of them, at once.

Every interval is built from one-sided limits of each group alone, so that a group keeps the limits that
suit it (score-type for counts, exact near 0, skewness-corrected for means), and only the level at which
they are taken accounts for having looked at many pairs.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr, ndtri, stdtrit

Floats = NDArray[np.float64]

#: With fewer successes, or fewer failures, the score limit errs more often than stated.
FEW = 5
#: Below this the quantile of the range is no longer exact, and Bonferroni's bound takes its place.
_SMALLEST_RANGE_TAIL = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """Estimates of independent groups, shape (g,), each with its one-sided limits at one level."""

    value: Floats
    low: Floats
    high: Floats

    def at(self, groups: NDArray[np.intp]) -> Limits:
        """Return the limits of some groups, in their order; a group may occur more than once."""
        return Limits(self.value[groups], self.low[groups], self.high[groups])


@functools.cache
def all_pairs_tail(groups: int, families: int, tail: float) -> float:
    """Return the level of single limits at which the largest gap between any two groups holds at `tail`.

    At equal groups both signs of every pair could err, and there no releasing end can, so that the two
    tails of the range together spend 2 * tail. Independent `families` (true- and false-positive rate) add
    up. Source: Agresti, Bini, Bertaccini and Ryu 2008, Biometrics 64:1270 (score intervals of all pairs of
    proportions at the quantile of the studentized range); conservative at unequal sizes (Hayter 1984,
    Annals of Statistics 12:61).

    Raises:
        ValueError: fewer than two groups, or a tail outside 0 to 1/2.
    """
    if groups < 2 or not 0 < tail < 0.5:
        raise ValueError(f"{groups} groups at tail {tail}: a pair needs two groups and a tail in 0 to 0.5")
    share = 2 * tail / max(1, families)
    if groups == 2 or share < _SMALLEST_RANGE_TAIL:
        return share / (groups * (groups - 1))
    from scipy.stats import studentized_range

    critical = float(studentized_range.ppf(1 - share, groups, math.inf)) / math.sqrt(2)
    return float(ndtr(-critical))


def all_groups_tail(groups: int, tail: float) -> float:
    """Return the level of single limits at which independent groups hold together at `tail`.

    Source: Sidak 1967, JASA 62:626; exact for independent groups.
    """
    return -math.expm1(math.log1p(-tail) / max(1, groups))


def rate_limits(successes: Floats, n: Floats, tail: float) -> Limits:
    """Return each group's share with its one-sided limits: Wilson's, exact where a count is near 0 or n.

    Counts need not be whole. Sources: Wilson 1927, JASA 22:209; Clopper and Pearson 1934, Biometrika
    26:404, with fewer than `FEW` successes or failures, where the score limit is known to err too often on
    one side (Cai 2005, Journal of Statistical Planning and Inference 131:63).

    Raises:
        ValueError: a group has no rows.
    """
    if not bool(np.all(n > 0)):
        raise ValueError("a share needs at least one row in every group")
    value, z = successes / n, float(-ndtri(tail))
    centre, spread = value + z * z / (2 * n), z * np.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    low, high = (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)
    few = np.minimum(successes, n - successes) < FEW
    k, m = successes[few], n[few]
    low[few] = np.where(k > 0, betaincinv(np.maximum(k, 1e-12), m - k + 1, tail), 0.0)
    high[few] = np.where(k < m, betaincinv(k + 1, np.maximum(m - k, 1e-12), 1 - tail), 1.0)
    return Limits(value, np.clip(low, 0, value), np.clip(high, value, 1))


def mean_limits(mean: Floats, deviation: Floats, skewness: Floats, n: Floats, tail: float) -> Limits:
    """Return each group's mean with its one-sided limits; without bound for a group of one row.

    Source: Hall 1992, Journal of the Royal Statistical Society B 54:221 (the cubic transformation that
    removes the skewness of Student's statistic), with Student's quantiles.
    """
    t = np.where(n < 2, math.inf, stdtrit(np.maximum(n - 1, 1), 1 - tail))
    slant = np.where(n < 2, 0.0, skewness) / np.sqrt(n)
    error = deviation / np.sqrt(n)
    with np.errstate(invalid="ignore"):
        below = np.where(n < 2, math.inf, np.maximum(0, _unbent(t, slant)) * error)
        above = np.where(n < 2, math.inf, np.maximum(0, -_unbent(-t, slant)) * error)
    return Limits(mean, mean - below, mean + above)


def _unbent(quantile: Floats, slant: Floats) -> Floats:
    """Return the inverse of Hall's transformation; the quantile itself where there is no skewness."""
    finite = np.where(np.isfinite(quantile), quantile, 0.0)
    safe = np.where(np.abs(slant) < 1e-9, 1.0, slant)
    bent: Floats = 3 / safe * (np.cbrt(1 + safe * (finite - safe / 6)) - 1)
    return np.where(np.abs(slant) < 1e-9, finite, bent)


def gap_ends(first: Limits, second: Limits) -> tuple[Floats, Floats]:
    """Return the ends of first - second, elementwise by broadcasting.

    Source: Newcombe 1998, Statistics in Medicine 17:873, method 10, and Zou and Donner 2008, Statistics in
    Medicine 27:1693 (MOVER): distances from estimate to limit add like standard errors.
    """
    gap = first.value - second.value
    below = np.hypot(first.value - first.low, second.high - second.value)
    above = np.hypot(first.high - first.value, second.value - second.low)
    return gap - below, gap + above


def ratio_ends(first: Limits, second: Limits) -> tuple[Floats, Floats]:
    """Return the ends of first / second for values >= 0, elementwise; the upper end may be infinite.

    Source: Donner and Zou 2012, Statistical Methods in Medical Research 21:347 (MOVER-R).
    """
    product = first.value * second.value
    lower = first.low * (2 * first.value - first.low)
    root = np.sqrt(np.maximum(0, product**2 - lower * second.high * (2 * second.value - second.high)))
    upper = first.high * (2 * first.value - first.high)
    below = second.low * (2 * second.value - second.low)
    other = np.sqrt(np.maximum(0, product**2 - upper * below))
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.where(lower > 0, lower / (product + root), 0.0)
        high = np.where(below > 0, (product + other) / below, math.inf)
    return low, high


def largest_gap(simultaneous: Limits, single: Limits) -> tuple[float, float]:
    """Return the interval of the largest difference between any two groups.

    The failing (lower) end holds for all pairs at once; `simultaneous` limits are at `all_pairs_tail`. The
    releasing end is that of the worst pair at its own full level: if the true gap of some pair exceeds the
    bound, that very pair's end has to miss it (intersection-union test; Berger 1982, Technometrics 24:295).
    """
    apart = ~np.eye(len(single.value), dtype=bool)
    low, _ = gap_ends(*_crossed(simultaneous))
    _, high = gap_ends(*_crossed(single))
    return max(0.0, float(np.max(low[apart]))), float(np.max(high[apart]))


def smallest_ratio(simultaneous: Limits, single: Limits) -> tuple[float, float]:
    """Return the interval of the smallest ratio of any two groups, at most 1; ends as in `largest_gap`."""
    apart = ~np.eye(len(single.value), dtype=bool)
    low, _ = ratio_ends(*_crossed(single))
    _, high = ratio_ends(*_crossed(simultaneous))
    return min(1.0, float(np.min(low[apart]))), min(1.0, float(np.min(high[apart])))


def _crossed(limits: Limits) -> tuple[Limits, Limits]:
    parts = (limits.value, limits.low, limits.high)
    return Limits(*(p[:, None] for p in parts)), Limits(*(p[None, :] for p in parts))
