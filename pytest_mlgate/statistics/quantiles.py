"""What the next value will be, where a quantile lies, and how many runs a percentile needs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, bdtrik, stdtrit

from ..levels import Tails


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


def quantile_interval(
    values: NDArray[np.float64], share: float, tails: Tails
) -> tuple[float, tuple[float | None, float | None]]:
    """Return the quantile below which this share of values lies, and its interval, from order statistics.

    The k-th smallest of n values lies above the true quantile with the binomial probability that fewer than
    k of them fall below it, whatever their distribution; with ties the interval covers more. Where too few
    values stand on one side, that end is `None`. Source: Hahn and Meeker, Statistical Intervals (1991),
    section 5.2.

    Raises:
        ValueError: no values, or a share outside 0 to 1.
    """
    n = len(values)
    if not n or not 0 < share < 1:
        raise ValueError(f"a quantile needs values and a share between 0 and 1, not {n} and {share:g}")
    ordered = np.sort(values)
    # One off either way from the continuous inverse is put right by the exact probabilities.
    lower = int(np.nan_to_num(bdtrik(tails.lower, n, share), nan=-1.0)) + 1
    while lower > 0 and bdtr(lower - 1, n, share) > tails.lower:
        lower -= 1
    upper = int(np.nan_to_num(bdtrik(1 - tails.upper, n, share), nan=float(n)))
    while upper <= n and bdtrc(upper - 1, n, share) > tails.upper:
        upper += 1
    value = float(ordered[min(n, max(1, math.ceil(share * n - 1e-9))) - 1])
    low = float(ordered[lower - 1]) if lower > 0 else None
    high = float(ordered[upper - 1]) if upper <= n else None
    return value, (low, high)
