"""The area under the ROC curve with DeLong's variance, alone and paired on the same rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from ..levels import Tails

Floats = NDArray[np.float64]


def auc_interval(
    positive: NDArray[np.bool_], scores: Floats, tails: Tails
) -> tuple[float, tuple[float, float]]:
    """Return the AUC and its interval, taken on the logit scale so that it stays inside 0 to 1.

    Source: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837, computed from midranks (Sun and Xu
    2014, IEEE Signal Processing Letters 21:1389). With perfect separation DeLong's variance is 0; the ends
    are then those of a proportion of 1 (or 0) over the smaller class, which is wider.

    Raises:
        ValueError: one of the two classes is empty.
    """
    value, components = _components(positive, scores)
    variance = sum(float(np.var(c, ddof=1)) / len(c) if len(c) > 1 else math.inf for c in components)
    if not 0 < value < 1 or variance == 0 or not math.isfinite(variance):
        smaller = min(len(c) for c in components)
        low = tails.lower ** (1 / smaller) if value == 1 else 0.0
        high = 1 - tails.upper ** (1 / smaller) if value == 0 else 1.0
        return value, (low, high)
    error = math.sqrt(variance) / (value * (1 - value))
    center = float(logit(value))
    low = float(expit(center + float(ndtri(tails.lower)) * error))
    high = float(expit(center - float(ndtri(tails.upper)) * error))
    return value, (low, high)


def auc_difference_interval(
    positive: NDArray[np.bool_], first: Floats, second: Floats, tails: Tails
) -> tuple[float, tuple[float, float]]:
    """Return AUC(first) - AUC(second) on the same rows and its interval.

    Source: DeLong et al. 1988 (as above), the covariance of the two sets of structural components. Where
    both models rank all pairs alike, the variance is 0; one pair in the smaller class is then taken as
    undecided, so that the interval keeps a positive width.

    Raises:
        ValueError: one of the two classes is empty.
    """
    value1, components1 = _components(positive, first)
    value2, components2 = _components(positive, second)
    variance = 0.0
    for a, b in zip(components1, components2, strict=True):
        variance += float(np.var(a - b, ddof=1)) / len(a) if len(a) > 1 else 1.0
    smaller = min(len(c) for c in components1)
    error = max(math.sqrt(variance), 1 / (smaller * math.sqrt(len(positive))))
    difference = value1 - value2
    low = difference + float(ndtri(tails.lower)) * error
    high = difference - float(ndtri(tails.upper)) * error
    return difference, (max(-1.0, low), min(1.0, high))


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
