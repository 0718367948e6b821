"""Intervals for the difference and the ratio of two proportions from independent samples."""

from __future__ import annotations

import math

from ..levels import Tails
from .proportions import require_counts
from .score import allowance, edge

_LEAST_LOGARITHM = -50.0


def difference_interval(k1: float, n1: float, k2: float, n2: float, tails: Tails) -> tuple[float, float]:
    """Return the interval of p1 - p2 for two independent samples; counts may be fractional, for planning.

    Source: Miettinen and Nurminen 1985, Statistics in Medicine 4:213, with the closed form of the restricted
    rates of Farrington and Manning 1990, Statistics in Medicine 9:1447, and the correction for skewness of
    `statistics.score`. The mean of two rates is (1 + p1 - (1 - p2)) / 2, so this is its interval, too.

    Raises:
        ValueError: a sample is empty or its successes are outside 0 to n.
    """
    require_counts(k1, n1)
    require_counts(k2, n2)
    estimate = k1 / n1 - k2 / n2
    unbiased = (n1 + n2) / (n1 + n2 - 1)

    def end(sign: int, alpha: float) -> float:
        def margin(difference: float) -> float:
            p1, p2 = _rates_apart(k1, n1, k2, n2, difference)
            v1, v2 = p1 * (1 - p1) / n1, p2 * (1 - p2) / n2
            third = v1 * (1 - 2 * p1) / n1 - v2 * (1 - 2 * p2) / n2
            reach = allowance(alpha, (v1 + v2) * unbiased, sign * third)
            return reach - sign * (estimate - difference)

        return edge(margin, estimate, float(-sign))

    return end(+1, tails.lower), end(-1, tails.upper)


def ratio_interval(k1: float, n1: float, k2: float, n2: float, tails: Tails) -> tuple[float, float | None]:
    """Return the interval of p1 / p2 for two independent samples; the upper end may be unbounded.

    Source: Koopman 1984, Biometrics 40:513, in the form of Miettinen and Nurminen 1985, Statistics in
    Medicine 4:213, with the correction for skewness of `statistics.score`. Counts may be fractional.

    Raises:
        ValueError: a sample is empty or its successes are outside 0 to n.
    """
    require_counts(k1, n1)
    require_counts(k2, n2)
    low = _ratio_above_zero(k1, n1, k2, n2, tails.lower)
    # The ratio turned over has the ends turned over.
    over = _ratio_above_zero(k2, n2, k1, n1, tails.upper)
    return low, None if over == 0 else 1 / over


def _ratio_above_zero(k1: float, n1: float, k2: float, n2: float, alpha: float) -> float:
    """Return the lower end of p1 / p2."""
    if k1 == 0:
        return 0.0
    unbiased = (n1 + n2) / (n1 + n2 - 1)

    def margin(logarithm: float) -> float:
        ratio = math.exp(logarithm)
        p1, p2 = _rates_in_ratio(k1, n1, k2, n2, ratio)
        v1, v2 = p1 * (1 - p1) / n1, ratio**2 * p2 * (1 - p2) / n2
        third = v1 * (1 - 2 * p1) / n1 - ratio * v2 * (1 - 2 * p2) / n2
        return allowance(alpha, (v1 + v2) * unbiased, third) - (k1 / n1 - ratio * k2 / n2)

    inside = math.log(k1 / n1) - math.log(k2 / n2 if k2 else 0.1 / n2)
    while k2 == 0 and margin(inside) < 0:
        inside += 1
    outside = inside - 1
    while margin(outside) >= 0:
        outside -= 1
        if outside < _LEAST_LOGARITHM:
            # One or two successes and a tiny tail: the correction for skewness then accepts everything below.
            return 0.0
    return math.exp(edge(margin, inside, outside))


def _rates_apart(k1: float, n1: float, k2: float, n2: float, difference: float) -> tuple[float, float]:
    """Return the likeliest two rates with this difference (Farrington and Manning 1990, appendix)."""
    share, rate1, rate2 = n2 / n1, k1 / n1, k2 / n2
    a = 1 + share
    b = -(1 + share + rate1 + share * rate2 + difference * (share + 2))
    c = difference**2 + difference * (2 * rate1 + share + 1) + rate1 + share * rate2
    d = -rate1 * difference * (1 + difference)
    v = b**3 / (27 * a**3) - b * c / (6 * a**2) + d / (2 * a)
    u = math.copysign(math.sqrt(max(0.0, b**2 / (9 * a**2) - c / (3 * a))), v)
    cosine = min(1.0, max(-1.0, v / u**3)) if u**3 else 0.0
    root = 2 * u * math.cos((math.pi + math.acos(cosine)) / 3) - b / (3 * a)
    first = min(1.0, 1 + difference, max(0.0, difference, root))
    return first, min(1.0, max(0.0, first - difference))


def _rates_in_ratio(k1: float, n1: float, k2: float, n2: float, ratio: float) -> tuple[float, float]:
    """Return the likeliest two rates with this ratio (Miettinen and Nurminen 1985, equation 12)."""
    a = (n1 + n2) * ratio
    b = n1 * ratio + k1 + n2 + k2 * ratio
    c = k1 + k2
    # The smaller root of a x^2 - b x + c, without the difference of two near numbers.
    second = 2 * c / (b + math.sqrt(max(0.0, b**2 - 4 * a * c)))
    second = min(second, 1.0, 1 / ratio)
    return min(1.0, ratio * second), second
