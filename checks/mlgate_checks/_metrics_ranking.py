"""Average precision, with the influence of every row on it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from pytest_mlgate.levels import Tails

from ._answers import Answers, Floats, Undefined
from ._influence import Estimate, Pull, influence_difference_interval, influence_interval


def average_precision(a: Answers, tails: Tails) -> Estimate:
    """Return the average precision; its interval is taken on the logit scale.

    At each end the wider of two: the infinitesimal jackknife's, and that of a proportion over as many rows as
    are positive (Boyd, Eng and Page 2013, "Area under the precision-recall curve", ECML, section 4.2), since
    with few positive rows the spread is itself unknown.
    """
    value, pull = average_precision_pull(a)
    positives = int(a.truth.sum())
    if value >= 1:
        return 1.0, (tails.lower ** (1 / positives), 1.0)
    at, slope = float(logit(value)), 1 / (value * (1 - value))
    _, (low, high) = influence_interval(at, pull * slope, tails)
    error = math.sqrt(slope / positives)
    low = min(low, at + float(ndtri(tails.lower)) * error)
    high = max(high, at - float(ndtri(tails.upper)) * error)
    return value, (float(expit(low)), float(expit(high)))


def average_precision_difference(first: Answers, second: Answers, tails: Tails) -> Estimate:
    """Return the difference of two average precisions on the same rows."""
    pulls = average_precision_pull(first), average_precision_pull(second)
    value, (low, high) = influence_difference_interval(
        *pulls, tails, one_row=len(first) / float(first.truth.sum())
    )
    return value, (max(-1.0, low), min(1.0, high))


def average_precision_pull(a: Answers) -> Pull:
    """Return the average precision and the influence of every row on it, shape (n,).

    With weights w on the rows it is sum_i w_i y_i P_i / sum_i w_i y_i, P_i being the precision among the rows
    that score at least as high as row i; the influence is n times its derivative by a row's weight.

    Raises:
        Undefined: no row is positive, or all are.
    """
    a.require_two_classes("average_precision")
    hits, rows, precision, group = _curve(a)
    n, total = len(a), int(a.truth.sum())
    value = float(np.dot(hits, precision)) / total
    # What a row changes at its own threshold and at all lower ones.
    reach = np.cumsum((hits / rows)[::-1])[::-1]
    taken = np.cumsum((hits * precision / rows)[::-1])[::-1]
    pull = a.truth * (precision[group] - value) + a.truth * reach[group] - taken[group]
    return value, np.asarray(pull * (n / total), np.float64)


def precision_at_own_score(a: Answers) -> Floats:
    """Return the precision among the rows that score at least as high as each row, shape (n,)."""
    _, _, precision, group = _curve(a)
    return np.asarray(precision[group], np.float64)


def _curve(a: Answers) -> tuple[Floats, Floats, Floats, NDArray[np.intp]]:
    """Return, by falling distinct score, positives at it, rows down to it and precision; and rows' places."""
    if not a.truth.any():
        raise Undefined("no row is of the positive class, and average precision is an average over those")
    order = a.falling
    scores = a.scores[order]
    new = np.concatenate([[True], scores[1:] != scores[:-1]])
    number = np.cumsum(new) - 1
    at = np.bincount(number, a.truth[order].astype(np.float64)).astype(np.float64)
    rows = np.cumsum(np.bincount(number)).astype(np.float64)
    group = np.empty(len(a), np.intp)
    group[order] = number
    return at, rows, np.cumsum(at) / rows, group
