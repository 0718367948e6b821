"""A quantile of the absolute error, by order statistics, alone and paired on the same rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import quantile_interval

from ._answers import Answers
from ._influence import Estimate


def error_quantile(a: Answers, quantile: float, tails: Tails) -> Estimate:
    """Return the quantile of the absolute error and its exact interval; with too few rows its top is open."""
    value, (low, high) = quantile_interval(np.abs(a.errors), quantile, tails)
    return value, (0.0 if low is None else low, high)


def error_quantile_difference(first: Answers, second: Answers, quantile: float, tails: Tails) -> Estimate:
    """Return the difference of two such quantiles on the same rows.

    The two intervals are combined with the correlation of exceeding either quantile, on which the joint
    distribution of two sample quantiles rests (MOVER: Zou 2007, Psychological Methods 12:399), after adding
    one row of either kind of disagreement, so that no disagreement still leaves an interval of some width.
    """
    value1, ends1 = error_quantile(first, quantile, tails)
    value2, ends2 = error_quantile(second, quantile, Tails(lower=tails.upper, upper=tails.lower))
    correlation = _correlation(np.abs(first.errors) > value1, np.abs(second.errors) > value2)
    difference = value1 - value2
    below = _reach(ends1[0], value1, value2, ends2[1], correlation)
    above = _reach(ends1[1], value1, value2, ends2[0], correlation)
    low = None if below is None else difference - below
    return difference, (low, None if above is None else difference + above)


def _reach(
    end1: float | None, value1: float, value2: float, end2: float | None, correlation: float
) -> float | None:
    if end1 is None or end2 is None:
        return None
    one, two = abs(end1 - value1), abs(end2 - value2)
    return math.sqrt(max(0.0, one**2 + two**2 - 2 * correlation * one * two))


def _correlation(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    n = len(first) + 2
    both, one, two = int((first & second).sum()) / n, (first.sum() + 1) / n, (second.sum() + 1) / n
    return float((both - one * two) / math.sqrt(one * (1 - one) * two * (1 - two)))
