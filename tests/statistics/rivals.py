"""Intervals that are in wide use and that the project does not rely on: what its own are compared with."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats
from scipy.special import stdtrit

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import wilson


def newcombe(k1: int, n1: int, k2: int, n2: int, tails: Tails) -> tuple[float, float]:
    """Return the interval of p1 - p2 from Wilson limits (Newcombe 1998, method 10)."""
    p1, p2 = k1 / n1, k2 / n2
    (low1, high1), (low2, high2) = wilson(k1, n1, tails), wilson(k2, n2, Tails(tails.upper, tails.lower))
    return p1 - p2 - math.hypot(p1 - low1, high2 - p2), p1 - p2 + math.hypot(high1 - p1, p2 - low2)


def mover_ratio(k1: int, n1: int, k2: int, n2: int, tails: Tails) -> tuple[float, float | None]:
    """Return the interval of p1 / p2 from Wilson limits (Donner and Zou 2012)."""
    p1, p2 = k1 / n1, k2 / n2
    (low1, high1), (low2, high2) = wilson(k1, n1, tails), wilson(k2, n2, Tails(tails.upper, tails.lower))
    below, above = high2 * (2 * p2 - high2), low2 * (2 * p2 - low2)
    low = p1 * p2 - math.sqrt(max(0.0, (p1 * p2) ** 2 - low1 * (2 * p1 - low1) * below))
    high = p1 * p2 + math.sqrt(max(0.0, (p1 * p2) ** 2 - high1 * (2 * p1 - high1) * above))
    return low / below if below else 0.0, high / above if above > 0 else None


def bonett_price(only_first: int, only_second: int, n: int, tails: Tails) -> tuple[float, float]:
    """Return the interval of a paired difference after adding one row of either kind (Bonett, Price 2012)."""
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    error = math.sqrt((first + second - (first - second) ** 2) / (n + 2))
    low, high = (float(stats.norm.ppf(t)) * error for t in (tails.lower, tails.upper))
    return max(-1.0, first - second + low), min(1.0, first - second - high)


def welch(first: np.ndarray, second: np.ndarray, tails: Tails) -> tuple[float, tuple[float, float]]:
    """Return Welch's interval of mean(first) - mean(second)."""
    parts = [values.var(ddof=1) / len(values) for values in (first, second)]
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True)
    )
    difference, error = float(first.mean() - second.mean()), math.sqrt(sum(parts))
    low, high = (float(stdtrit(freedom, tail)) * error for tail in (tails.lower, tails.upper))
    return difference, (difference + low, difference - high)


def bca(values: np.ndarray, tails: Tails) -> tuple[float, tuple[float, float]]:
    """Return the bootstrap's BCa interval of the mean as scipy has it; equal tails only."""
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, confidence_level=tails.confidence, method="BCa", rng=1
    ).confidence_interval
    return float(values.mean()), (float(found.low), float(found.high))
