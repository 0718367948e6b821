"""Rank correlations of all pairs of variables, and intervals for how much each of them changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ..levels import Tails
from .simultaneous import Limits, gap_ends

Floats = NDArray[np.float64]

#: What the influences of all rows on all pairs may fill: rows times the square of the variables.
_LARGEST_INFLUENCE = 4_000_000
_MOST_ROWS_OF_INFLUENCE = 4_000
#: Fewer rows than this have no rank correlation whose error could be estimated.
FEWEST_ROWS = 20


@dataclass(frozen=True, slots=True, eq=False)
class RankCorrelations:
    """Spearman's correlations of all pairs of p variables and their standard errors, shapes (p, p).

    NaN where one of the two does not vary, or too few rows have both.
    """

    value: Floats
    error: Floats
    rows: int

    def limits(self, tail: float) -> Limits:
        """Return one-sided limits of every correlation, on Fisher's scale.

        Source: Fisher's z with the error of the very pair in place of a formula for normal data, as
        Bonett and Wright 2000, Psychometrika 65:23, recommend to replace Fisher's.
        """
        value = np.clip(self.value, 1 / self.rows - 1, 1 - 1 / self.rows)
        reach = float(-ndtri(tail)) * self.error / (1 - value**2)
        z = np.arctanh(value)
        return Limits(value, np.tanh(z - reach), np.tanh(z + reach))


@dataclass(frozen=True, slots=True, eq=False)
class CorrelationChange:
    """What became of every pair's correlation, shapes (p, p): absolute change and the ends for it."""

    value: Floats
    low: Floats
    high: Floats


def rank_correlations(values: Floats, seed: int) -> RankCorrelations:
    """Return Spearman's correlations of the columns of a matrix, shape (n, p); NaN is a missing value.

    A pair is taken over the rows that have both, with the ranks that each column has in itself; ties have
    middle ranks. The error is that of the infinitesimal jackknife (Efron 1982, The Jackknife, the Bootstrap
    and Other Resampling Plans, section 6.1) with the influence of a row on its own product and on the ranks
    of the others (Croux and Dehon 2010, Statistical Methods and Applications 19:497), so that it holds for
    any dependence and with ties; it is estimated on at most 4,000 rows drawn with `seed`.
    """
    n = len(values)
    centred, present = _grades(values)
    both = present.T @ present
    with np.errstate(divide="ignore", invalid="ignore"):
        product = (centred.T @ centred) / both
        spread = np.sqrt(np.diag(product))
        correlation = np.clip(product / np.outer(spread, spread), -1.0, 1.0)
    correlation[(both < FEWEST_ROWS) | ~np.isfinite(correlation)] = np.nan
    most = min(_MOST_ROWS_OF_INFLUENCE, max(FEWEST_ROWS, _LARGEST_INFLUENCE // values.shape[1] ** 2))
    if n > most:
        chosen = np.random.default_rng(seed).choice(n, most, replace=False)
        values = values[chosen]
    deviation = _influence_deviation(values)
    deviation[np.isnan(correlation)] = np.nan
    return RankCorrelations(correlation, deviation / np.sqrt(max(1, n - 3)), n)


def correlation_change(
    reference: RankCorrelations, current: RankCorrelations, tails: Tails
) -> CorrelationChange:
    """Return the absolute change of every pair's correlation with its interval.

    The limits of the two correlations are combined (Zou 2007, Psychological Methods 12:399). A change may go
    either way, so that the lower end takes half of its error on each side; the upper end is that of two
    one-sided tests (see `absolute_interval`).
    """
    value = np.abs(reference.value - current.value)
    low, high = gap_ends(reference.limits(tails.lower / 2), current.limits(tails.lower / 2))
    least, most = gap_ends(reference.limits(tails.upper), current.limits(tails.upper))
    outer = np.maximum(-least, most)
    return CorrelationChange(
        value, np.minimum(np.maximum(0.0, np.maximum(low, -high)), value), np.maximum(outer, value)
    )


def _codes(column: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the present rows in order of value, the number of each one's value, and where it starts."""
    rows = np.flatnonzero(~np.isnan(column))
    rows = rows[np.argsort(column[rows])]
    ordered = column[rows]
    first = np.append(True, ordered[1:] != ordered[:-1])[: len(rows)]
    return rows, np.cumsum(first) - 1, np.flatnonzero(first)


def _grades(values: Floats) -> tuple[Floats, Floats]:
    """Return the centred middle ranks divided by n, 0 where missing, and 1.0 where present."""
    centred, present = np.zeros(values.shape), np.zeros(values.shape)
    for j in range(values.shape[1]):
        rows, number, starts = _codes(values[:, j])
        if len(rows):
            counts = np.diff(np.append(starts, len(rows)))
            centred[rows, j] = ((starts + counts / 2) / len(rows) - 0.5)[number]
            present[rows, j] = 1.0
    return centred, present


def _influence_deviation(values: Floats) -> Floats:
    """Return the standard deviation over rows of each row's influence on every pair's correlation."""
    n, p = values.shape
    centred, present = _grades(values)
    share = np.maximum(present.mean(axis=0), 1 / n)
    pairs = np.maximum(present.T @ present / n, 1 / n)
    # Variables first, rows last: every slice below is then one run of memory.
    of, there = np.ascontiguousarray(centred.T, np.float32), np.ascontiguousarray(present.T, np.float32)
    on_ranks = np.zeros((p, p, n), np.float32)
    for i in range(p):
        rows, number, starts = _codes(values[:, i])
        if not len(rows):
            continue
        sums = np.add.reduceat(of[:, rows], starts, axis=1, dtype=np.float64)
        # What lies above a value is raised by it, and equal ones by half of that.
        above = np.cumsum(sums[:, ::-1], axis=1)[:, ::-1] - sums / 2
        on_ranks[i][:, rows] = (above / n / share[i])[:, number]
    covariance = centred.T @ centred / n / pairs
    spread = np.sqrt(np.diag(covariance))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.clip(covariance / np.outer(spread, spread), -1.0, 1.0)
        own = np.stack(
            [(of[i] ** 2 / pairs[i, i] + 2 * on_ranks[i, i]) / spread[i] ** 2 for i in range(p)]
        ).astype(np.float32)
        deviation = np.full((p, p), np.nan)
        for i in range(p):
            # The error is symmetric: each pair once.
            j = slice(i, p)
            pull = of[i] * of[j] - there[i] * there[j] * covariance[i, j, None].astype(np.float32)
            pull += on_ranks[i, j] + on_ranks[j, i]
            pull *= (1 / (pairs[i, j] * spread[i] * spread[j]))[:, None].astype(np.float32)
            pull -= (own[i] + own[j]) * (correlation[i, j, None] / 2).astype(np.float32)
            deviation[i, j] = deviation[j, i] = pull.std(axis=1, dtype=np.float64)
    return deviation
