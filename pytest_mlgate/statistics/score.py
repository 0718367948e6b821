"""Score intervals with a correction for skewness: the parameter values that a one-sided score test accepts.

The test takes the variance where the parameter would be, not where the estimate is, so that it holds with
few successes, with none, and with all. A small group against a large one also leaves the statistic skewed:
with 6 rows of 300 and a rate of 0.02, the plain score interval's lower end lies above the truth in 9.9% of
samples where 2.5% are allowed. The correction is the first term of the Cornish-Fisher expansion, as Gart
and Nam (1990, Biometrics 46:637) and Laud (2017, Pharmaceutical Statistics 16:334, "SCAS") give it. Both
apply it at either end; here it only ever widens, since on the thin side of so skewed a distribution the
expansion overshoots (0.76 of those intervals would then exclude the truth at a one-sided 0.005).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.special import ndtri

_TOLERANCE = 1e-13


def allowance(alpha: float, variance: float, third_moment: float) -> float:
    """Return how far a statistic may lie beyond its mean before a one-sided test of level alpha rejects.

    `third_moment` is its third central moment, positive where its long tail is on the tested side.
    """
    if variance <= 0:
        return 0.0
    z = float(-ndtri(alpha))
    return z * math.sqrt(variance) + max(0.0, third_moment / variance) * max(0.0, z * z - 1) / 6


def edge(margin: Callable[[float], float], inside: float, outside: float) -> float:
    """Return the parameter value between `inside` and `outside` at which the test begins to reject.

    `margin(parameter)` is negative where the test rejects, and never so at `inside`, the estimate. Where even
    `outside` is accepted, it is the edge.
    """
    from scipy.optimize import brentq

    if inside == outside or margin(outside) >= 0:
        return outside
    # With no success, or nothing but successes, the variance at the estimate is 0, and only there.
    accepted, rejected = inside, outside
    while margin(accepted) <= 0 and abs(rejected - inside) > _TOLERANCE:
        middle = (inside + rejected) / 2
        if margin(middle) > 0:
            accepted = middle
        else:
            rejected = middle
    if accepted == inside and margin(inside) <= 0:
        return inside
    return float(brentq(margin, accepted, rejected, xtol=_TOLERANCE, rtol=_TOLERANCE))
