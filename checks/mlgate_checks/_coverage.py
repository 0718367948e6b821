"""The coverage that a conformal procedure has over calibration sets, judged from one of them."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betainc, betaincinv, ndtr

from pytest_mlgate.levels import Tails

#: Standard deviations over which the integral over other calibration sets is taken, and its step: the
#: integrand falls within sqrt(calibration rows / test rows) standard deviations.
_FARTHEST = 8.0
_WIDEST_STEP = 0.2
_NARROWEST_STEP = 0.01


def marginal_coverage_interval(
    covered: int, n: int, calibration_rows: int, tails: Tails
) -> tuple[float, float]:
    """Return the interval of the coverage of a split-conformal procedure, averaged over calibration sets.

    Given m calibration rows, the coverage of one calibrated set predictor is Beta(c (m + 1), (1 - c) (m + 1))
    with mean c (Vovk 2012, "Conditional validity of inductive conformal predictors", section 3; Angelopoulos
    and Bates 2023, section 3.2), so that the covered test rows are beta-binomial. Each end is the c at which
    a one-sided test of that law just accepts. A point rule "at least c are covered" blocks 48% of valid
    procedures, since half of all calibration sets cover less than the mean.

    Raises:
        ValueError: no rows, or more covered than there are.
    """
    if n <= 0 or calibration_rows <= 0 or not 0 <= covered <= n:
        raise ValueError(f"{covered} covered of {n} rows, {calibration_rows} calibration rows")
    from scipy.optimize import brentq

    low, high = 0.0, 1.0
    edge = 1e-9
    if covered > 0:
        low = float(brentq(lambda c: at_least(covered, n, c, calibration_rows) - tails.lower, edge, 1 - edge))
    if covered < n:
        high = float(
            brentq(
                lambda c: at_least(covered + 1, n, c, calibration_rows) - (1 - tails.upper), edge, 1 - edge
            )
        )
    return min(low, covered / n), max(high, covered / n)


def at_least(covered: int, n: int, coverage: float, calibration_rows: int) -> float:
    """Return the probability that a procedure with this coverage covers at least so many of n test rows."""
    if covered <= 0:
        return 1.0
    if covered > n:
        return 0.0
    step = min(_WIDEST_STEP, max(_NARROWEST_STEP, 0.5 * math.sqrt(calibration_rows / n)))
    z = np.arange(-_FARTHEST, _FARTHEST + step, step)
    weights = np.exp(-(z**2) / 2)
    m = calibration_rows + 1
    at = betaincinv(coverage * m, (1 - coverage) * m, ndtr(z))
    return float(np.dot(betainc(covered, n - covered + 1, at), weights) / weights.sum())
