"""How far two samples' distributions are apart, with intervals for the distance itself.

Both distances are a maximum (over cut points, over sets of categories) of a difference of two proportions.
The upper end, on which a release rests, is the Newcombe limit at the maximising set: exact to first order
where the maximum is unique (Raghavachari 1973, Annals of Statistics 1:67), and conservative elsewhere since
the estimate is then biased upward. That same bias forbids a pointwise lower end: it is taken from
inequalities that hold over all cuts or sets at once.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..levels import Tails
from .comparisons import difference_interval


def kolmogorov_smirnov_interval(
    reference: NDArray[np.float64], current: NDArray[np.float64], tails: Tails
) -> tuple[float, tuple[float, float]]:
    """Return the Kolmogorov-Smirnov distance of two samples and the interval of the true distance.

    Lower end: the two-sample form of Massart's inequality (Wei and Dudley 2012, Statistics and Probability
    Letters 82:636), proved for equal distributions and samples of one size from 458 on; elsewhere it holds
    in the limit, since a Brownian bridge of the pooled distribution bounds the process. NaN must have been
    removed.

    Raises:
        ValueError: one of the samples is empty.
    """
    n, m = len(reference), len(current)
    if not n or not m:
        raise ValueError("a distance between two samples needs rows in both")
    cuts = np.concatenate([reference, current])
    of_reference = np.searchsorted(np.sort(reference), cuts, side="right")
    of_current = np.searchsorted(np.sort(current), cuts, side="right")
    gaps = of_reference / n - of_current / m
    # Of several cuts with the same largest gap, the one that leaves most uncertainty.
    spread = of_reference * (n - of_reference) / n**3 + of_current * (m - of_current) / m**3
    largest = np.abs(gaps) >= np.max(np.abs(gaps)) - 1e-12
    at = int(np.argmax(np.where(largest, spread, -1.0)))
    radius = math.sqrt(math.log(2 / tails.lower) / 2 * (1 / n + 1 / m))
    return _around_maximum(int(of_reference[at]), n, int(of_current[at]), m, radius, tails)


def total_variation_interval(
    reference: NDArray[np.int64], current: NDArray[np.int64], tails: Tails
) -> tuple[float, tuple[float, float]]:
    """Return the total variation distance of two count vectors over the same categories, with interval.

    Lower end: Hoeffding 1963, JASA 58:13, for the difference of two means, over all 2^k sets at once.

    Raises:
        ValueError: one of the samples is empty or the vectors differ in length.
    """
    n, m = int(reference.sum()), int(current.sum())
    if not n or not m or len(reference) != len(current):
        raise ValueError("a distance between two samples needs rows in both, over the same categories")
    more_in_reference = reference / n > current / m
    in_reference, in_current = int(reference[more_in_reference].sum()), int(current[more_in_reference].sum())
    sets = len(reference) * math.log(2)
    radius = math.sqrt((sets + math.log(1 / tails.lower)) / 2 * (1 / n + 1 / m))
    return _around_maximum(in_reference, n, in_current, m, radius, tails)


def _around_maximum(
    k1: int, n1: int, k2: int, n2: int, radius: float, tails: Tails
) -> tuple[float, tuple[float, float]]:
    distance = abs(k1 / n1 - k2 / n2)
    larger, smaller = ((k1, n1), (k2, n2)) if k1 / n1 >= k2 / n2 else ((k2, n2), (k1, n1))
    _, high = difference_interval(*larger, *smaller, tails)
    return distance, (max(0.0, distance - radius), high)
