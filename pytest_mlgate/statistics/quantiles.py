"""Means over independent repeats, and how many runs a percentile needs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ..levels import Tails


def mean_interval(values: NDArray[np.float64], tails: Tails) -> tuple[float, tuple[float, float]]:
    """Return the mean of independent values and Student's t interval for it.

    Raises:
        ValueError: fewer than two values.
    """
    if len(values) < 2:
        raise ValueError("a mean needs at least two values to have an interval")
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    freedom = len(values) - 1
    low = mean + float(stdtrit(freedom, tails.lower)) * error
    high = mean - float(stdtrit(freedom, tails.upper)) * error
    return mean, (low, high)


def geometric_mean_interval(values: NDArray[np.float64], tails: Tails) -> tuple[float, tuple[float, float]]:
    """Return the geometric mean of positive values and its interval (Student's t of the logarithms).

    Raises:
        ValueError: fewer than two values, or a value that is not positive.
    """
    if not bool(np.all(values > 0)):
        raise ValueError("a geometric mean needs positive values")
    mean, (low, high) = mean_interval(np.log(values), tails)
    return math.exp(mean), (math.exp(low), math.exp(high))


def next_value_interval(values: NDArray[np.float64], tails: Tails) -> tuple[float, tuple[float, float]]:
    """Return the geometric mean of positive values and the interval that holds the next value of their kind.

    A prediction interval for one further observation, log-normal: mean of the logarithms, Student's t with
    k - 1 degrees of freedom times s * sqrt(1 + 1/k). Source: Hahn and Meeker, Statistical Intervals (1991),
    section 4.6.

    Raises:
        ValueError: fewer than two values, or a value that is not positive.
    """
    if len(values) < 2 or not bool(np.all(values > 0)):
        raise ValueError("an interval for the next value needs two positive values or more")
    logs = np.log(values)
    spread = float(np.std(logs, ddof=1)) * math.sqrt(1 + 1 / len(logs))
    mean, freedom = float(np.mean(logs)), len(logs) - 1
    low = mean + float(stdtrit(freedom, tails.lower)) * spread
    high = mean - float(stdtrit(freedom, tails.upper)) * spread
    return math.exp(mean), (math.exp(low), math.exp(high))


def runs_for_percentile(percentile: float, confidence: float) -> int:
    """Return the fewest runs whose maximum bounds the percentile with this confidence.

    The maximum of n runs lies above the q-quantile with probability 1 - q^n, so n >= log(1-c) / log(q);
    p99 at 99% confidence needs 459. Source: MLPerf LoadGen, `early_stopping.cc`, with no run over.

    Raises:
        ValueError: percentile or confidence outside their open ranges.
    """
    if not 0 < percentile < 100 or not 0 < confidence < 1:
        raise ValueError(f"percentile {percentile} must be in 0 to 100, confidence {confidence} in 0 to 1")
    return math.ceil(math.log(1 - confidence) / math.log(percentile / 100))
