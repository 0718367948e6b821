"""Intervals for what changes between two models on the same rows."""

from __future__ import annotations

import math

from scipy.special import ndtri

from ..levels import Tails


def paired_difference_interval(
    only_first: int, only_second: int, n: int, tails: Tails
) -> tuple[float, float]:
    """Return the interval of p(first) - p(second) where both were observed on the same n rows.

    `only_first` counts the rows on which the first alone succeeds, `only_second` the reverse.

    Source: Bonett and Price 2012, British Journal of Mathematical and Statistical Psychology 65:473: the
    Wald interval after adding one row to either kind of disagreement, so that no disagreement at all still
    leaves an interval of positive width.

    Raises:
        ValueError: n is not positive or the counts exceed it.
    """
    if n <= 0 or only_first < 0 or only_second < 0 or only_first + only_second > n:
        raise ValueError(f"{only_first} and {only_second} disagreements do not fit into {n} rows")
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    difference = first - second
    error = math.sqrt((first + second - difference**2) / (n + 2))
    low = difference + float(ndtri(tails.lower)) * error
    high = difference - float(ndtri(tails.upper)) * error
    return max(-1.0, low), min(1.0, high)
