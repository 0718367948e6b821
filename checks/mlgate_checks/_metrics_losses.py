"""Metrics of probabilities and of predicted values, with intervals, alone and paired on the same rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pytest_mlgate.errors import CheckError
from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import absolute_interval

from ._answers import Answers, Floats, Undefined
from ._influence import Estimate, Pull, influence_difference_interval, influence_interval

#: Probabilities in float16 still add up to 1 within this.
_LARGEST_SURPLUS = 0.01
#: scikit-learn's `log_loss` counts no probability as smaller than this, nor as nearer to 1.
SMALLEST = float(np.finfo(np.float64).eps)


def log_losses(a: Answers) -> Floats:
    """Return the negative natural logarithm of the probability given to what is true, shape (n,)."""
    return np.asarray(-np.log(np.clip(a.of_truth, SMALLEST, 1 - SMALLEST)))


def brier_losses(a: Answers) -> Floats:
    """Return the squared distance of the probabilities from what is true, shape (n,).

    Binary: (p - y)^2, within 0 to 1. Several classes: summed over the classes, within 0 to 2 (Brier 1950).
    """
    if a.task == "binary":
        return np.asarray(np.square(1 - a.of_truth))
    return np.asarray(np.square(a.scores).sum(axis=1) - 2 * a.of_truth + 1)


def log_loss(a: Answers, tails: Tails) -> Estimate:
    """Return the mean of the log losses, as scikit-learn clips them."""
    return _with_other_truths(a, log_losses, tails)


def log_loss_difference(first: Answers, second: Answers, tails: Tails) -> Estimate:
    """Return the difference of two log losses on the same rows."""
    return influence_difference_interval(_pull(log_losses(first)), _pull(log_losses(second)), tails)


def brier(a: Answers, tails: Tails) -> Estimate:
    """Return the Brier score: the mean squared distance of the probabilities from what is true."""
    return _with_other_truths(a, brier_losses, tails)


def brier_difference(first: Answers, second: Answers, tails: Tails) -> Estimate:
    """Return the difference of two Brier scores on the same rows."""
    return influence_difference_interval(_pull(brier_losses(first)), _pull(brier_losses(second)), tails)


def mae(a: Answers, tails: Tails) -> Estimate:
    """Return the mean absolute error."""
    return _of_errors(np.abs(a.errors), tails)


def mae_difference(first: Answers, second: Answers, tails: Tails) -> Estimate:
    """Return the difference of two mean absolute errors on the same rows."""
    pulls = _pull(np.abs(first.errors)), _pull(np.abs(second.errors))
    return influence_difference_interval(*pulls, tails)


def mse(a: Answers, tails: Tails) -> Estimate:
    """Return the mean squared error."""
    return _of_errors(np.square(a.errors), tails)


def mse_difference(first: Answers, second: Answers, tails: Tails) -> Estimate:
    """Return the difference of two mean squared errors on the same rows."""
    pulls = _pull(np.square(first.errors)), _pull(np.square(second.errors))
    return influence_difference_interval(*pulls, tails)


def rmse(a: Answers, tails: Tails) -> Estimate:
    """Return the root mean squared error: the root of the mean squared error and of its ends."""
    value, (low, high) = mse(a, tails)
    return math.sqrt(value), (math.sqrt(low or 0.0), None if high is None else math.sqrt(high))


def rmse_difference(first: Answers, second: Answers, tails: Tails) -> Estimate:
    """Return the difference of two root mean squared errors on the same rows."""
    return influence_difference_interval(_rmse_pull(first), _rmse_pull(second), tails)


def r2(a: Answers, tails: Tails) -> Estimate:
    """Return the coefficient of determination; its interval is taken on the scale of log(1 - R2)."""
    unexplained, pull = _unexplained(a)
    _, (low, high) = influence_interval(math.log(unexplained), pull, _turned(tails))
    return 1 - unexplained, (1 - math.exp(min(high, 700.0)), 1 - math.exp(low))


def r2_difference(first: Answers, second: Answers, tails: Tails) -> Estimate:
    """Return the difference of two coefficients of determination on the same rows."""
    (left1, pull1), (left2, pull2) = _unexplained(first), _unexplained(second)
    return influence_difference_interval((1 - left1, -left1 * pull1), (1 - left2, -left2 * pull2), tails)


def mean_error(a: Answers, tails: Tails) -> Estimate:
    """Return the absolute value of the mean error: how far predictions lie to one side on average."""
    mean, pull = _pull(a.errors)
    _require_spread(a.errors)
    return abs(mean), absolute_interval(lambda t: influence_interval(mean, pull, t)[1], tails)


def _pull(losses: Floats) -> Pull:
    mean = float(losses.mean())
    return mean, losses - mean


def _of_errors(sizes: Floats, tails: Tails) -> Estimate:
    _require_spread(sizes)
    value, (low, high) = influence_interval(*_pull(sizes), tails)
    return value, (max(0.0, low), high)


def _require_spread(sizes: Floats) -> None:
    if len(sizes) > 1 and sizes.min() == sizes.max():
        raise Undefined(
            f"the error is the same ({sizes[0]:.3g}) in all {len(sizes):,} rows, which leaves no spread to "
            "take an interval from: is the label among the features?"
        )


def _with_other_truths(a: Answers, losses_of: Callable[[Answers], Floats], tails: Tails) -> Estimate:
    """Return the mean loss with its interval, widened by truths that so few rows may not have shown.

    A model that has been right about every one of n rows may still be wrong in a share 1 - alpha^(1/n) of
    rows to come (the exact bound after no failure); those would lose what another truth would have cost here.
    """
    _require_distribution(a)
    value, (low, high) = influence_interval(*_pull(losses_of(a)), tails)
    other = ~a.truth if a.task == "binary" else (a.truth + 1) % a.scores.shape[1]
    cost = float(losses_of(Answers(a.task, other, a.scores, a.chosen)).mean()) - value
    unseen = cost * (1 - tails.upper ** (1 / len(a)))
    return value, (max(0.0, low), max(high, value + unseen))


def _require_distribution(a: Answers) -> None:
    if a.task != "multiclass":
        return
    sums = a.scores.sum(axis=1)
    off = int((np.abs(sums - 1) > _LARGEST_SURPLUS).sum())
    if off:
        raise CheckError(
            f"the scores of a row add up to {sums.min():.3g} to {sums.max():.3g}, not to 1, in {off:,} of "
            f"{len(a):,} rows: log_loss and brier need probabilities that exclude each other (softmax)"
        )


def _rmse_pull(a: Answers) -> Pull:
    value, pull = _pull(np.square(a.errors))
    _require_spread(np.abs(a.errors))
    return math.sqrt(value), pull / (2 * math.sqrt(value))


def _turned(tails: Tails) -> Tails:
    return Tails(lower=tails.upper, upper=tails.lower)


def _unexplained(a: Answers) -> Pull:
    """Return 1 - R2, and the influence of every row on its logarithm."""
    if a.truth.min() == a.truth.max():
        raise Undefined(f"the label is {a.truth[0]:g} in all {len(a):,} rows, so that R2 has no denominator")
    squares, around = np.square(a.errors), np.square(a.truth - a.truth.mean())
    _require_spread(squares)
    mean, variance = float(squares.mean()), float(around.mean())
    return mean / variance, squares / mean - around / variance
