"""How many more rows of one sample lie beyond the extremes of another: what a fault in 1% of rows does."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..levels import Tails
from .proportions import clopper_pearson

#: Share of the reference on either side that counts as its extremes; no row at all below 2,000 rows.
EXTREME_SHARE = 0.0005


@dataclass(frozen=True, slots=True)
class ExtremeShare:
    """Rows beyond two fences that the reference sets: values below `low` or above `high`.

    Attributes:
        low: the fence below which at most `EXTREME_SHARE` of the reference lies.
        high: the fence above which at most as much lies.
        reference: rows of the reference beyond the fences, and all its rows.
        current: the same of the current sample.
    """

    low: float
    high: float
    reference: tuple[int, int]
    current: tuple[int, int]

    @property
    def value(self) -> float:
        """The share of the current rows beyond the fences minus that of the reference; may be negative."""
        return self.current[0] / self.current[1] - self.reference[0] / self.reference[1]

    def interval(self, tails: Tails) -> tuple[float, float]:
        """Return the interval of the true difference of the two shares beyond these fences.

        Exact limits (Clopper and Pearson 1934, Biometrika 26:404) of either share, combined as by Newcombe
        1998, Statistics in Medicine 17:873, method 10. The fences are order statistics of the reference, so
        that the true share beyond k of its n rows follows a beta distribution whatever that of the values
        (David and Nagaraja 2003, Order Statistics, section 2.1): one more row on either side, which is the
        fence itself, makes the limit of a fixed fence that of this one, and its mean the middle of the lower
        end. Heavy tails therefore need no correction.
        """
        (k, n), (c, m) = self.reference, self.current
        of_reference, of_current = k / n, c / m
        lower, upper = Tails(tails.lower, tails.lower), Tails(tails.upper, tails.upper)
        expected = min(1.0, (k + 2) / (n + 1))
        below = of_current - clopper_pearson(c, m, lower)[0]
        above = clopper_pearson(min(k + 1, n), n, lower)[1] - expected
        low = min(self.value, of_current - expected - math.hypot(below, above))
        below = of_reference - clopper_pearson(k, n, upper)[0]
        above = clopper_pearson(c, m, upper)[1] - of_current
        return max(-1.0, low), min(1.0, self.value + math.hypot(below, above))


def extreme_share(reference: NDArray[np.float64], current: NDArray[np.float64]) -> ExtremeShare:
    """Return the rows beyond the extremes of the reference; both samples sorted, shapes (n,) and (m,).

    Raises:
        ValueError: one of the samples is empty.
    """
    n, m = len(reference), len(current)
    if not n or not m:
        raise ValueError("extremes are compared between two samples with rows")
    beyond = math.floor(EXTREME_SHARE * n)
    low, high = float(reference[beyond]), float(reference[n - 1 - beyond])

    def outside(values: NDArray[np.float64]) -> int:
        under = int(np.searchsorted(values, low, side="left"))
        return under + len(values) - int(np.searchsorted(values, high, side="right"))

    return ExtremeShare(low=low, high=high, reference=(outside(reference), n), current=(outside(current), m))
