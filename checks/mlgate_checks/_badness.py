"""What makes rows bad by each metric: numerators and denominators whose ratio of sums is a slice's badness.

Slices are searched by these. Where a metric is not a ratio of sums over rows, a stand-in is used: the mean
rank against the other class for roc_auc, the precision at the positive rows' own scores for
average_precision, wrong answers for macro_f1, squared errors for r2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import _metrics_losses as losses
from . import _metrics_ranking as ranking
from ._answers import Answers, Floats

#: From the answers to numerators and denominators, shape (n,) each; more is worse.
Badness = Callable[[Answers], tuple[Floats, Floats]]


def wrong(a: Answers) -> tuple[Floats, Floats]:
    """Wrong answers, of all rows."""
    return (~a.right).astype(np.float64), np.ones(len(a))


def wrong_by_class(a: Answers) -> tuple[Floats, Floats]:
    """Wrong answers, each class weighing the same."""
    weight = (1 / np.maximum(1, np.bincount(a.truth.astype(np.intp))))[a.truth.astype(np.intp)]
    return ~a.right * weight, weight


def missed(a: Answers) -> tuple[Floats, Floats]:
    """Positive rows that are answered negatively, of the positive rows."""
    return (a.truth & ~a.chosen).astype(np.float64), a.truth.astype(np.float64)


def false_alarms(a: Answers) -> tuple[Floats, Floats]:
    """Negative rows that are answered positively, of the rows answered so."""
    return (~a.truth & a.chosen).astype(np.float64), a.chosen.astype(np.float64)


def one_minus_f1(a: Answers) -> tuple[Floats, Floats]:
    """What F1 lacks of 1."""
    return (a.truth ^ a.chosen).astype(np.float64), a.truth.astype(np.float64) + a.chosen


def misranked(a: Answers) -> tuple[Floats, Floats]:
    """Return for each row the share of rows of the other class that are ranked wrongly against it."""
    from scipy.stats import rankdata

    positive, n = a.truth, len(a)
    ranks = rankdata(a.scores)
    m = int(positive.sum())
    shares = np.empty(n)
    shares[positive] = 1 - (ranks[positive] - rankdata(a.scores[positive])) / max(1, n - m)
    shares[~positive] = (ranks[~positive] - rankdata(a.scores[~positive])) / max(1, m)
    return shares, np.ones(n)


def imprecise(a: Answers) -> tuple[Floats, Floats]:
    """What the precision at each positive row's own score lacks of 1."""
    positive = a.truth.astype(np.float64)
    return (1 - ranking.precision_at_own_score(a)) * positive, positive


def log_loss(a: Answers) -> tuple[Floats, Floats]:
    """The log loss."""
    return losses.log_losses(a), np.ones(len(a))


def brier_loss(a: Answers) -> tuple[Floats, Floats]:
    """The Brier score."""
    return losses.brier_losses(a), np.ones(len(a))


def absolute(a: Answers) -> tuple[Floats, Floats]:
    """The absolute error."""
    return np.abs(a.errors), np.ones(len(a))


def squared(a: Answers) -> tuple[Floats, Floats]:
    """The squared error."""
    return np.square(a.errors), np.ones(len(a))


def beyond_quantile(quantile: float, a: Answers) -> tuple[Floats, Floats]:
    """Errors beyond the quantile of all rows."""
    sizes = np.abs(a.errors)
    return (sizes > np.quantile(sizes, quantile)).astype(np.float64), np.ones(len(a))
