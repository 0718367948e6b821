"""Intervals for one proportion, and for the difference and the ratio of two."""

from __future__ import annotations

import math

from scipy.special import betaincinv, ndtri

from ..levels import Tails


def wilson(successes: int, n: int, tails: Tails) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion.

    Source: Wilson 1927, JASA 22:209; each end inverts the one-sided score test at its own level.

    Raises:
        ValueError: n is not positive or successes are outside 0 to n.
    """
    _require_counts(successes, n)
    return _wilson_end(successes, n, tails.lower, -1), _wilson_end(successes, n, tails.upper, +1)


def clopper_pearson(successes: int, n: int, tails: Tails) -> tuple[float, float]:
    """Return the exact interval of a proportion; it never covers less than stated.

    Source: Clopper and Pearson 1934, Biometrika 26:404, in its beta-quantile form.

    Raises:
        ValueError: n is not positive or successes are outside 0 to n.
    """
    _require_counts(successes, n)
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, tails.lower))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - tails.upper))
    return low, high


def difference_interval(k1: int, n1: int, k2: int, n2: int, tails: Tails) -> tuple[float, float]:
    """Return the interval of p1 - p2 for two independent samples.

    Source: Newcombe 1998, Statistics in Medicine 17:873, method 10 (hybrid of Wilson limits).
    """
    _require_counts(k1, n1)
    _require_counts(k2, n2)
    p1, p2 = k1 / n1, k2 / n2
    low = (
        p1
        - p2
        - math.hypot(p1 - _wilson_end(k1, n1, tails.lower, -1), _wilson_end(k2, n2, tails.lower, +1) - p2)
    )
    high = (
        p1
        - p2
        + math.hypot(_wilson_end(k1, n1, tails.upper, +1) - p1, p2 - _wilson_end(k2, n2, tails.upper, -1))
    )
    return max(-1.0, low), min(1.0, high)


def ratio_interval(k1: int, n1: int, k2: int, n2: int, tails: Tails) -> tuple[float, float | None]:
    """Return the interval of p1 / p2 for two independent samples; the upper end may be unbounded.

    Source: Donner and Zou 2012, Statistical Methods in Medical Research 21:347 (MOVER-R) over Wilson
    limits. Unlike the Katz log interval it keeps its width when a sample is all successes.
    """
    _require_counts(k1, n1)
    _require_counts(k2, n2)
    p1, p2 = k1 / n1, k2 / n2
    product = p1 * p2
    l1, u2 = _wilson_end(k1, n1, tails.lower, -1), _wilson_end(k2, n2, tails.lower, +1)
    below = u2 * (2 * p2 - u2)
    root = math.sqrt(max(0.0, product**2 - l1 * (2 * p1 - l1) * below))
    # With p2 well below its upper limit the denominator turns negative; the same root stays valid.
    low = (product - root) / below if below else 0.0
    u1, l2 = _wilson_end(k1, n1, tails.upper, +1), _wilson_end(k2, n2, tails.upper, -1)
    above = l2 * (2 * p2 - l2)
    if above <= 0:
        return max(0.0, low), None
    root = math.sqrt(max(0.0, product**2 - u1 * (2 * p1 - u1) * above))
    return max(0.0, low), (product + root) / above


def _wilson_end(successes: int, n: int, alpha: float, sign: int) -> float:
    if successes == (0 if sign < 0 else n):
        return float(successes > 0)
    z = float(-ndtri(alpha))
    p = successes / n
    center = p + z * z / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return min(1.0, max(0.0, (center + sign * spread) / (1 + z * z / n)))


def _require_counts(successes: int, n: int) -> None:
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}: a proportion needs n > 0 and 0 <= successes <= n")
