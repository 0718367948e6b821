"""Intervals for anything that is smooth in the rows, from how much each row pulls on the value."""

from __future__ import annotations

import math

import numpy as np

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import skewed_mean_interval

from ._answers import Floats, Undefined

#: A value with the two ends of its interval; an end without limit is `None`.
Estimate = tuple[float, tuple[float | None, float | None]]
#: A value with the influence of every row on it, shape (n,), of mean 0.
Pull = tuple[float, Floats]

METHOD = "infinitesimal jackknife, corrected for skewness (Hall 1992)"


def influence_interval(value: float, influence: Floats, tails: Tails) -> tuple[float, tuple[float, float]]:
    """Return the value with its interval, given the influence of every row on it, shape (n,), of mean 0.

    The value varies from sample to sample as the mean of the influences does (infinitesimal jackknife: Efron
    1982, The Jackknife, the Bootstrap and Other Resampling Plans, section 6.1).

    Raises:
        Undefined: there is one row only.
    """
    if len(influence) < 2:
        raise Undefined("one row has no spread from which an interval could be taken")
    _, (low, high) = skewed_mean_interval(influence, tails)
    return value, (value + low, value + high)


def influence_difference_interval(
    first: Pull, second: Pull, tails: Tails, one_row: float = 0.0
) -> tuple[float, tuple[float, float]]:
    """Return first minus second of two values on the same rows, with the interval of that difference.

    Two pseudo-rows are added on which the models differ by one standard deviation of either kind, as Bonett
    and Price (2012, British Journal of Mathematical and Statistical Psychology 65:473) do for proportions:
    two models that never differed in n rows may still differ in the next. `one_row` is the influence of one
    row that is answered otherwise, which the pseudo-rows have at least: where both models are right in every
    row, no row has any influence, and that says nothing of the next.

    Raises:
        Undefined: there is one row only, or all influences are 0 and `one_row` is too.
    """
    (value1, influence1), (value2, influence2) = first, second
    pseudo = max(one_row, math.hypot(float(np.std(influence1)), float(np.std(influence2))))
    if not pseudo:
        raise Undefined("every row has the same error in both models: nothing shows how far they may differ")
    apart = np.concatenate([influence1 - influence2, [pseudo, -pseudo]])
    if len(influence1) < 2:
        raise Undefined("one row has no spread from which an interval could be taken")
    return influence_interval(value1 - value2, apart, tails)
