"""The area under the ROC curve, alone and paired on the same rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from ..levels import Tails

Floats = NDArray[np.float64]
_BISECTIONS = 50


def auc_interval(
    positive: NDArray[np.bool_], scores: Floats, tails: Tails
) -> tuple[float, tuple[float, float]]:
    """Return the AUC and its interval: at each end the wider of two, since each alone fails somewhere.

    DeLong's on the logit scale (DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837, from midranks as
    in Sun and Xu 2014, IEEE Signal Processing Letters 21:1389) is too narrow with few rows in one class and
    a high AUC; Newcombe's score-like interval (2006, Statistics in Medicine 25:559, method 5) is too narrow
    where the classes spread unequally. With perfect separation DeLong's has no width; the ends are then also
    those of a proportion of 1 (or 0) over the smaller class.

    Raises:
        ValueError: one of the two classes is empty.
    """
    value, components = _components(positive, scores)
    return value, _ends(value, components, tails)


def auc_difference_interval(
    positive: NDArray[np.bool_], first: Floats, second: Floats, tails: Tails
) -> tuple[float, tuple[float, float]]:
    """Return AUC(first) - AUC(second) on the same rows and its interval.

    The two intervals above are combined with the correlation of the two sets of structural components
    (MOVER; Zou 2007, Psychological Methods 12:399), so that the ends keep the asymmetry that an AUC near 1
    has. Where both models rank all pairs alike, one pair of the smaller class is taken as undecided.

    Raises:
        ValueError: one of the two classes is empty.
    """
    value1, components1 = _components(positive, first)
    value2, components2 = _components(positive, second)
    correlation = _correlation(components1, components2)
    difference = value1 - value2
    least = 1 / (min(len(c) for c in components1) * math.sqrt(len(positive)))

    def reach(alpha: float, downwards: bool) -> float:
        both = Tails(lower=alpha, upper=alpha)
        low1, high1 = _ends(value1, components1, both)
        low2, high2 = _ends(value2, components2, both)
        one, two = (value1 - low1, high2 - value2) if downwards else (high1 - value1, value2 - low2)
        squared = one**2 + two**2 - 2 * correlation * one * two
        return max(math.sqrt(max(0.0, squared)), float(-ndtri(alpha)) * least)

    low = difference - reach(tails.lower, downwards=True)
    high = difference + reach(tails.upper, downwards=False)
    return difference, (max(-1.0, low), min(1.0, high))


def _ends(value: float, components: tuple[Floats, Floats], tails: Tails) -> tuple[float, float]:
    low = _newcombe_end(value, components, tails.lower, -1)
    high = _newcombe_end(value, components, tails.upper, +1)
    variance = _variance(components)
    if 0 < value < 1 and variance > 0:
        error = math.sqrt(variance) / (value * (1 - value))
        low = min(low, float(expit(float(logit(value)) + float(ndtri(tails.lower)) * error)))
        high = max(high, float(expit(float(logit(value)) - float(ndtri(tails.upper)) * error)))
        return low, high
    smaller = min(len(c) for c in components)
    low = min(low, tails.lower ** (1 / smaller)) if value == 1 else 0.0
    high = max(high, 1 - tails.upper ** (1 / smaller)) if value == 0 else 1.0
    return low, high


def _newcombe_end(value: float, components: tuple[Floats, Floats], alpha: float, sign: int) -> float:
    """Return the AUC at which the value lies just within z standard errors, the error taken there."""
    m, n = len(components[0]), len(components[1])
    z = float(-ndtri(alpha))
    inside, outside = value, (0.0 if sign < 0 else 1.0)
    for _ in range(_BISECTIONS):
        middle = (inside + outside) / 2
        others = (m + n) / 2 - 1
        bracket = 1 + others * ((1 - middle) / (2 - middle) + middle / (1 + middle))
        error = math.sqrt(middle * (1 - middle) * bracket / (m * n))
        if abs(value - middle) <= z * error:
            inside = middle
        else:
            outside = middle
    return (inside + outside) / 2


def _variance(components: tuple[Floats, Floats]) -> float:
    return sum(float(np.var(c, ddof=1)) / len(c) if len(c) > 1 else 0.25 for c in components)


def _correlation(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> float:
    product = _variance(first) * _variance(second)
    if product <= 0 or min(map(len, first)) < 2:
        return 1.0 if all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)) else 0.0
    covariance = sum(float(np.cov(a, b)[0, 1]) / len(a) for a, b in zip(first, second, strict=True))
    return max(-1.0, min(1.0, covariance / math.sqrt(product)))


def _components(positive: NDArray[np.bool_], scores: Floats) -> tuple[float, tuple[Floats, Floats]]:
    from scipy.stats import rankdata

    above, below = scores[positive], scores[~positive]
    if not len(above) or not len(below):
        raise ValueError("the area under the ROC curve needs rows of both classes")
    ranks = rankdata(np.concatenate([above, below]))
    m, n = len(above), len(below)
    of_positive = (ranks[:m] - rankdata(above)) / n
    of_negative = 1 - (ranks[m:] - rankdata(below)) / m
    return float(of_positive.mean()), (of_positive, of_negative)
