"""Metrics of classifiers' decisions and rankings, with intervals, alone and paired on the same rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import (
    auc_difference_interval,
    auc_interval,
    clopper_pearson,
    difference_interval,
    paired_difference_interval,
)

from ._answers import Answers, Rows, Undefined
from ._influence import Estimate, Pull, influence_difference_interval, influence_interval

Ends = tuple[float, tuple[float, float]]


def roc_auc(a: Answers, tails: Tails) -> Estimate:
    """Return the area under the ROC curve."""
    a.require_two_classes("roc_auc")
    return auc_interval(a.truth, a.scores, tails)


def roc_auc_difference(first: Answers, second: Answers, tails: Tails) -> Estimate:
    """Return the difference of two areas on the same rows."""
    first.require_two_classes("roc_auc")
    return auc_difference_interval(first.truth, first.scores, second.scores, tails)


def accuracy(a: Answers, tails: Tails) -> Estimate:
    """Return the share of rows that are answered rightly."""
    return _share(a.right, tails)


def accuracy_difference(first: Answers, second: Answers, tails: Tails) -> Estimate:
    """Return the difference of two accuracies on the same rows."""
    return _paired(first.right, second.right, tails)


def balanced_accuracy(a: Answers, tails: Tails) -> Estimate:
    """Return the mean over the classes of the share of their rows that are answered rightly."""
    a.require_two_classes("balanced_accuracy")
    classes, sizes = np.unique(a.truth, return_counts=True)
    hits = [int(a.right[a.truth == number].sum()) for number in classes]
    if len(classes) > 2:
        counts = zip(hits, sizes.tolist(), strict=True)
        return _mean([(k / n, clopper_pearson(k, n, tails)) for k, n in counts])
    # (p + q) / 2 is half of one more than p - (1 - q), and the interval of a difference is the better known.
    (first, second), (n1, n2) = hits, sizes.tolist()
    low, high = difference_interval(first, n1, n2 - second, n2, tails)
    return (first / n1 + second / n2) / 2, ((1 + low) / 2, (1 + high) / 2)


def balanced_accuracy_difference(first: Answers, second: Answers, tails: Tails) -> Estimate:
    """Return the difference of two balanced accuracies on the same rows."""
    first.require_two_classes("balanced_accuracy")
    before, after = first.right, second.right
    mine = [first.truth == number for number in np.unique(first.truth)]
    return _mean([_paired(before[rows], after[rows], tails) for rows in mine])


def recall(a: Answers, tails: Tails) -> Estimate:
    """Return the share of the positive rows that are answered positively."""
    return _share(
        _among(a.chosen, a.truth, "no row is of the positive class, and recall is a share of those"), tails
    )


def recall_difference(first: Answers, second: Answers, tails: Tails) -> Estimate:
    """Return the difference of two recalls on the same rows."""
    why = "no row is of the positive class, and recall is a share of those"
    return _paired(_among(first.chosen, first.truth, why), _among(second.chosen, second.truth, why), tails)


def precision(a: Answers, tails: Tails) -> Estimate:
    """Return the share of the positively answered rows that are of the positive class."""
    return _share(_among(a.truth, a.chosen, _NONE_CHOSEN), tails)


def precision_difference(first: Answers, second: Answers, tails: Tails) -> Estimate:
    """Return the difference of two precisions on the same rows."""
    pulls = _precision_pull(first), _precision_pull(second)
    one_row = max(1 / float(a.chosen.mean()) for a in (first, second))
    return _bounded(influence_difference_interval(*pulls, tails, one_row))


def f1(a: Answers, tails: Tails) -> Estimate:
    """Return the harmonic mean of precision and recall.

    F1 is 2 J / (1 + J), and J = TP / (TP + FP + FN) is a proportion of the rows that are, or are said to be,
    positive: its exact interval (Clopper and Pearson 1934), turned over, is that of F1.
    """
    jaccard, (low, high) = _share(_among(a.truth & a.chosen, a.truth | a.chosen, _NO_F1), tails)
    return _f1_of(jaccard), (_f1_of(low), _f1_of(high))


def f1_difference(first: Answers, second: Answers, tails: Tails) -> Estimate:
    """Return the difference of two F1 scores on the same rows."""
    pulls = _f1_pull(first), _f1_pull(second)
    one_row = max(2 / float(a.truth.mean() + a.chosen.mean()) for a in (first, second))
    return _bounded(influence_difference_interval(*pulls, tails, one_row))


def macro_f1(a: Answers, tails: Tails) -> Estimate:
    """Return the mean of the classes' F1 scores, over the classes that occur or are answered.

    The interval is at either end the wider of the jackknife's, which has no width where every row is right,
    and of that of the mean of the classes' exact ones (see `f1`), taken as independent (MOVER).
    """
    value, (low, high) = influence_interval(*_macro_f1_pull(a), tails)
    classes = np.union1d(a.truth, a.chosen)
    counts = [_hits_and_union(a, number) for number in classes]
    parts = [(_f1_of(k / n), _f1_interval(k, n, tails)) for k, n in counts]
    _, (low2, high2) = _mean(parts)
    return _bounded((value, (min(low, low2), max(high, high2))), least=0.0)


def macro_f1_difference(first: Answers, second: Answers, tails: Tails) -> Estimate:
    """Return the difference of two macro F1 scores on the same rows."""
    pulls = _macro_f1_pull(first), _macro_f1_pull(second)
    one_row = max(_largest_weight(a) for a in (first, second))
    return _bounded(influence_difference_interval(*pulls, tails, one_row))


_NONE_CHOSEN = "no row is answered positively, and precision is a share of those"
_NO_F1 = "no row is positive and none is answered positively, so that there is no F1 score"


def _share(hits: Rows, tails: Tails) -> Ends:
    return float(hits.mean()), clopper_pearson(int(hits.sum()), len(hits), tails)


def _among(hits: Rows, rows: Rows, why_none: str) -> Rows:
    chosen = np.asarray(hits[rows])
    if not len(chosen):
        raise Undefined(why_none)
    return chosen


def _paired(first: Rows, second: Rows, tails: Tails) -> Ends:
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    n = len(first)
    return (only_first - only_second) / n, paired_difference_interval(only_first, only_second, n, tails)


def _mean(parts: Sequence[Ends]) -> Ends:
    """Return the mean of independent estimates with its interval.

    Source: Zou and Donner 2008, Statistics in Medicine 27:1693 (MOVER): the distances from estimate to limit
    add like standard errors, separately on either side.
    """
    k = len(parts)
    value = sum(v for v, _ in parts) / k
    below = math.hypot(*(v - low for v, (low, _) in parts)) / k
    above = math.hypot(*(high - v for v, (_, high) in parts)) / k
    return value, (value - below, value + above)


def _bounded(estimate: Ends, least: float = -1.0) -> Ends:
    value, (low, high) = estimate
    return value, (max(least, low), min(1.0, high))


def _hits_and_union(a: Answers, number: int) -> tuple[int, int]:
    mine, said = a.truth == number, a.chosen == number
    return int((mine & said).sum()), int((mine | said).sum())


def _f1_interval(hits: int, union: int, tails: Tails) -> tuple[float, float]:
    low, high = clopper_pearson(hits, union, tails)
    return _f1_of(low), _f1_of(high)


def _largest_weight(a: Answers) -> float:
    """Return how far one more wrong row of the rarest class pulls the mean of the F1 scores."""
    classes = np.union1d(a.truth, a.chosen)
    rarest = min(int(np.sum(a.truth == c) + np.sum(a.chosen == c)) for c in classes)
    return 2 * len(a) / (rarest * len(classes))


def _f1_of(jaccard: float) -> float:
    return 2 * jaccard / (1 + jaccard)


def _precision_pull(a: Answers) -> Pull:
    value = float(_among(a.truth, a.chosen, _NONE_CHOSEN).mean())
    return value, np.where(a.chosen, a.truth - value, 0.0) / float(a.chosen.mean())


def _f1_pull(a: Answers) -> Pull:
    value = _f1_of(float(_among(a.truth & a.chosen, a.truth | a.chosen, _NO_F1).mean()))
    mass = a.truth.astype(np.float64) + a.chosen
    return value, (2.0 * (a.truth & a.chosen) - value * mass) / float(mass.mean())


def _macro_f1_pull(a: Answers) -> Pull:
    classes = a.scores.shape[1]
    mass = np.bincount(a.truth, minlength=classes) + np.bincount(a.chosen, minlength=classes)
    right = a.right
    hits = np.bincount(a.truth[right], minlength=classes)
    there = mass > 0
    each = np.divide(2.0 * hits, mass, out=np.zeros(classes), where=there)
    weight = np.divide(len(a), mass * there.sum(), out=np.zeros(classes), where=there)
    pull = 2 * weight[a.truth] * right - (weight * each)[a.truth] - (weight * each)[a.chosen]
    return float(each[there].mean()), np.asarray(pull, np.float64)
