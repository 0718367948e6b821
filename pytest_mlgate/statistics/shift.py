"""How far two samples' distributions are apart, with intervals for the distance itself.

Both distances are a maximum (over cut points, over sets of categories) of a difference of two proportions.
The upper end, on which a release rests, is the score limit at the maximising set: exact to first order
where the maximum is unique (Raghavachari 1973, Annals of Statistics 1:67), and conservative elsewhere since
the estimate is then biased upward. That same bias forbids a pointwise lower end: it is taken from
inequalities that hold over all cuts or sets at once.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ..levels import Tails
from .comparisons import difference_interval
from .simultaneous import Limits, gap_ends, rate_limits

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

#: Cuts with gaps this near to the largest one are as large as it: the rest is rounding.
_ROUNDING = 1e-12
#: A gap of so many standard errors has the sign that it seems to have, but for a few in a hundred.
_CLEAR = 2.5
#: With no more rows of a category its gap is far from normal.
_FEW = 5


class Distance(Protocol):
    """A distance from 0 (same distribution) to 1 (nothing in common) between two samples."""

    @property
    def value(self) -> float:
        """The distance of the two samples."""
        ...

    def interval(self, tails: Tails) -> tuple[float, float]:
        """Return the interval of the true distance."""
        ...

    def p_value(self) -> float:
        """Return the p-value of the usual test of no difference at all."""
        ...


@dataclass(frozen=True, slots=True)
class KolmogorovSmirnov:
    """The largest gap between two distribution functions, and the mean gap.

    Attributes:
        reference: rows of the reference at or below the cut with the largest gap, and all its rows.
        current: the same of the current sample.
        other: the largest gap of the opposite sign, at least 0.
        wasserstein: the area between the two distribution functions, in the unit of the values; `None`
            where it exceeds what a number can hold.
    """

    reference: tuple[int, int]
    current: tuple[int, int]
    other: float
    wasserstein: float | None

    @property
    def value(self) -> float:
        """The Kolmogorov-Smirnov distance."""
        (k1, n1), (k2, n2) = self.reference, self.current
        return abs(k1 / n1 - k2 / n2)

    def interval(self, tails: Tails) -> tuple[float, float]:
        """Return the interval described at `kolmogorov_smirnov_interval`."""
        scale = (1 / self.reference[1] + 1 / self.current[1]) / 2
        radius = math.sqrt(math.log(2 / tails.lower) * scale)
        if self.value - self.other > 2 * radius:
            radius = math.sqrt(math.log(1 / tails.lower) * scale)
        return max(0.0, self.value - radius), _upper(self.reference, self.current, tails)

    def p_value(self) -> float:
        """Return the asymptotic p-value of the two-sample Kolmogorov-Smirnov test.

        Source: Hodges 1958, Arkiv foer Matematik 3:469, in the form of `scipy.stats.ks_2samp`, method
        "asymp", which alibi-detect's `KSDrift` uses.
        """
        from scipy.stats import kstwo

        n, m = float(self.reference[1]), float(self.current[1])
        return float(min(1.0, max(0.0, kstwo.sf(self.value, max(1.0, np.round(n * m / (n + m)))))))


@dataclass(frozen=True, slots=True, eq=False)
class TotalVariation:
    """Half the sum of the absolute differences of two samples' shares of the same categories."""

    reference: Counts
    current: Counts

    @property
    def value(self) -> float:
        """The total variation distance."""
        (k1, n1), (k2, n2) = self._largest
        return abs(k1 / n1 - k2 / n2)

    @property
    def _largest(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The rows in the categories that are more frequent in the reference, of each sample's rows."""
        n, m = int(self.reference.sum()), int(self.current.sum())
        more = self.reference / n > self.current / m
        return (int(self.reference[more].sum()), n), (int(self.current[more].sum()), m)

    def interval(self, tails: Tails) -> tuple[float, float]:
        """Return the interval described at `total_variation_interval`."""
        return self._lower(tails.lower), _upper(*self._largest, tails)

    def p_value(self) -> float:
        """Return the p-value of Pearson's chi-squared test, for two categories with Yates' correction.

        Source: `scipy.stats.chi2_contingency`, which alibi-detect's `ChiSquareDrift` uses.
        """
        from scipy.stats import chi2_contingency

        seen = (self.reference + self.current) > 0
        table = np.stack([self.reference[seen], self.current[seen]])
        return 1.0 if table.shape[1] < 2 else float(chi2_contingency(table)[1])

    def _lower(self, tail: float) -> float:
        (k1, n1), (k2, n2) = self._largest
        seen = int(np.count_nonzero(self.reference + self.current))
        if seen < 2:
            return 0.0
        if seen == 2:
            return max(0.0, difference_interval(k1, n1, k2, n2, Tails(tail / 2, tail / 2))[0])
        # A quarter of the error for the gaps of all single categories, either way; the rest for sets of them.
        low, high = gap_ends(*(_limits(c, tail / 8 / seen) for c in (self.reference, self.current)))
        return max(0.0, float(np.max(low)), float(np.max(-high)), self._lower_of_sets(0.75 * tail))

    def _lower_of_sets(self, tail: float) -> float:
        (k1, n), (k2, m) = self._largest
        p, q = self.reference / n, self.current / m
        counts = self.reference + self.current
        pooled = counts / (n + m)
        errors = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
        unclear = np.abs(p - q) <= _CLEAR * errors
        # Half of the mean absolute gap that chance makes where there is none: that of a normal variable, and
        # of a category met a few times at most its standard error.
        share = np.where(counts <= _FEW, 1.0, math.sqrt(2 / math.pi))
        bias = float((errors * share)[unclear].sum()) / 2
        clear = (p > q) & ~unclear
        spread = [_widest(float(s[clear].sum()), float(s[unclear].sum())) for s in (p, q)]
        error = math.sqrt(spread[0] / n + spread[1] / m)
        at_set = difference_interval(k1, n, k2, m, Tails(tail, tail))[0]
        return min(at_set, k1 / n - k2 / m + float(ndtri(tail)) * error) - bias


def kolmogorov_smirnov(reference: Floats, current: Floats) -> KolmogorovSmirnov:
    """Return the gap between two samples' distribution functions; both sorted, shapes (n,) and (m,).

    Linear in the rows: two sorted runs are merged once. NaN must have been removed.

    Raises:
        ValueError: one of the samples is empty.
    """
    n, m = len(reference), len(current)
    if not n or not m:
        raise ValueError("a distance between two samples needs rows in both")
    merged = np.concatenate([reference, current])
    order = np.argsort(merged, kind="stable")
    merged = merged[order]
    of_reference = np.cumsum(order < n)
    del order
    # Where equal values stand in both samples the functions are compared after the last of them.
    cuts = np.flatnonzero(np.append(merged[1:] != merged[:-1], True))
    of_reference, merged = of_reference[cuts], merged[cuts]
    of_current = cuts + 1 - of_reference
    gaps = of_reference / n - of_current / m
    largest, least = float(gaps.max()), float(gaps.min())
    top = max(largest, -least)
    chosen = np.flatnonzero(np.abs(gaps) >= top - _ROUNDING)
    # Of several cuts with the same largest gap, the one that leaves most uncertainty.
    r, c = of_reference[chosen], of_current[chosen]
    at = chosen[np.argmax(r * (n - r) / float(n) ** 3 + c * (m - c) / float(m) ** 3)]
    other = -least if gaps[at] > 0 else largest
    with np.errstate(over="ignore", invalid="ignore"):
        area = float(np.abs(gaps[:-1]) @ np.diff(merged))
    return KolmogorovSmirnov(
        reference=(int(of_reference[at]), n),
        current=(int(of_current[at]), m),
        other=max(0.0, other),
        wasserstein=area if math.isfinite(area) else None,
    )


def kolmogorov_smirnov_interval(
    reference: Floats, current: Floats, tails: Tails
) -> tuple[float, tuple[float, float]]:
    """Return the Kolmogorov-Smirnov distance of two samples and the interval of the true distance.

    Lower end: the two-sample form of Massart's inequality (Wei and Dudley 2012, Statistics and Probability
    Letters 82:636), proved for equal distributions and samples of one size from 458 on; elsewhere it holds
    in the limit, since a Brownian bridge of the pooled distribution bounds the process. One-sided where the
    gaps of the other sign are smaller than chance could make up for. NaN must have been removed.

    Raises:
        ValueError: one of the samples is empty.
    """
    found = kolmogorov_smirnov(np.sort(reference), np.sort(current))
    return found.value, found.interval(tails)


def total_variation_interval(
    reference: Counts, current: Counts, tails: Tails
) -> tuple[float, tuple[float, float]]:
    """Return the total variation distance of two count vectors over the same categories, with interval.

    Lower end: the larger of two. One is the largest gap of a single category, with simultaneous limits of all
    of them, at a quarter of the error. The other is the limit of the maximising set, less what chance alone
    adds to the distance by choosing the signs: half of the mean absolute error of every category whose gap
    is not clearly of one sign. The distance is Lipschitz in the errors with the largest standard error of a
    set as constant, and so concentrates around its mean like a normal variable with that error (Boucheron,
    Lugosi and Massart 2013, Concentration Inequalities, theorem 5.6). Two categories have one gap.

    Raises:
        ValueError: one of the samples is empty or the vectors differ in length.
    """
    if not reference.sum() or not current.sum() or len(reference) != len(current):
        raise ValueError("a distance between two samples needs rows in both, over the same categories")
    found = TotalVariation(reference, current)
    return found.value, found.interval(tails)


def _widest(least: float, more: float) -> float:
    """Return the largest p (1 - p) for a share p from `least` to `least + more`."""
    p = min(max(least, 0.5), least + more)
    return max(0.0, p * (1 - p))


def _limits(counts: Counts, tail: float) -> Limits:
    rows = np.full(len(counts), counts.sum(), np.float64)
    return rate_limits(counts.astype(np.float64), rows, tail)


@functools.lru_cache(maxsize=4096)
def _upper(reference: tuple[int, int], current: tuple[int, int], tails: Tails) -> float:
    larger, smaller = reference, current
    if larger[0] / larger[1] < smaller[0] / smaller[1]:
        larger, smaller = smaller, larger
    return difference_interval(*larger, *smaller, tails)[1]
