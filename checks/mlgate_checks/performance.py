"""How well the release artifact predicts: a floor, and no worse than what it replaces."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.candidate import Model
from pytest_mlgate.candidate.model import Scores, decisions, positive_scores
from pytest_mlgate.contract import AtLeast, AtMost, check
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Cell, Findings, Grade, Interval, Measurement, Table
from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import (
    auc_difference_interval,
    auc_interval,
    clopper_pearson,
    paired_difference_interval,
    wilson,
)
from pytest_mlgate.subject import Subject

Metric = Literal["roc_auc", "accuracy", "balanced_accuracy"]
Bools = NDArray[np.bool_]
#: A value with the two ends of its interval.
Estimate = tuple[float, tuple[float, float]]

_METHODS: dict[Metric, tuple[str, str]] = {
    "roc_auc": ("DeLong interval on the logit scale", "DeLong interval of the paired difference"),
    "accuracy": ("Clopper-Pearson interval", "Bonett-Price interval of the paired difference"),
    "balanced_accuracy": (
        "mean of the true-positive and the true-negative rate; MOVER over Wilson intervals",
        "MOVER over the Bonett-Price intervals of the paired differences in either class",
    ),
}


@check("performance")
def performance(
    subject: Subject,
    *,
    metric: Literal["roc_auc", "accuracy", "balanced_accuracy"] = "roc_auc",
    min: AtLeast = None,
    max_drop: AtMost = None,
) -> Findings:
    """Predictive performance of the release artifact: a floor, and at most a small drop from the baseline.

    `min` bounds the metric on the test rows; `max_drop` bounds baseline minus release artifact on the same
    rows (non-inferiority). Both are fractions. Accuracy also works for models of several classes, whose
    scores must have one column for each class of the label in sorted order.

    Raises:
        CheckError: the model's answers do not fit the label, or the test rows hold one class only.
    """
    floor = _level(subject, metric, subject.release, "")
    measurements = [dataclasses.replace(floor, bound=None if min is None else "min")]
    if max_drop is not None:
        measurements.append(_drop(subject, metric))
    others = {"float parent": subject.parent, "baseline": subject.baseline}
    models = {"release artifact": subject.release}
    for name, model in others.items():
        if model is not None and (name == "baseline" or _differs(model, subject.release)):
            models[name] = model
            measurements.append(_level(subject, metric, model, name))
    if _is_binary(subject):
        measurements.append(_base_rate(subject))
        tables = (_confusion(subject, models),)
    else:
        tables = (_by_class(subject, models),)
    return Findings(
        measurements=tuple(measurements),
        tables=tables,
        assumptions={
            "rows": "the test rows are independent of each other and drawn like the rows to come",
            "labels": "as recorded: an error in a label counts against the model",
            "decision": f"positive from a probability of {subject.release.threshold:g} on"
            if _is_binary(subject)
            else "the class of the highest score",
        },
        not_covered=("rows unlike those of the test table", "what a wrong answer costs"),
    )


def _differs(model: Model, other: Model) -> bool:
    return model.identity.digest != other.identity.digest


def _is_binary(subject: Subject) -> bool:
    return len(subject.data.classes) <= 2


def _level(subject: Subject, metric: Metric, model: Model, scope: str) -> Measurement:
    tails = subject.levels.tails(">=")
    labels = subject.data.labels()
    scores = subject.scores(model)
    if metric == "roc_auc":
        positive = positive_scores(_binary(subject, scores))
        value, ends = _of_both_classes(labels, lambda: auc_interval(labels, positive, tails))
    elif metric == "accuracy":
        right = _right(subject, model, scores)
        value, ends = float(right.mean()), clopper_pearson(int(right.sum()), len(right), tails)
    else:
        right = _right(subject, model, _binary(subject, scores))
        value, ends = _of_both_classes(labels, lambda: _balanced(labels, right, tails))
    return Measurement(
        metric=metric,
        value=value,
        unit="",
        n=len(labels),
        interval=Interval(low=ends[0], high=ends[1], confidence=tails.confidence),
        method=_METHODS[metric][0],
        scope=scope,
        detail=f"{int(labels.sum()):,} positive and {int((~labels).sum()):,} negative rows"
        if _is_binary(subject)
        else f"{len(subject.data.classes)} classes",
    )


def _drop(subject: Subject, metric: Metric) -> Measurement:
    tails = subject.levels.tails("<=")
    labels = subject.data.labels()
    empty = Measurement(
        metric=f"{metric}_drop",
        value=None,
        unit="",
        n=len(labels),
        interval=None,
        method=f"baseline minus release artifact on the same rows; {_METHODS[metric][1]}",
        grade=Grade.MISSING,
        bound="max_drop",
        detail="no baseline was given: provide the mlgate_baseline fixture, or baseline in the policy",
    )
    if subject.baseline is None:
        return empty
    first, second = subject.scores(subject.baseline), subject.scores()
    if metric == "roc_auc":
        before, after = (positive_scores(_binary(subject, s)) for s in (first, second))
        value, ends = _of_both_classes(labels, lambda: auc_difference_interval(labels, before, after, tails))
        detail = ""
    else:
        if metric == "balanced_accuracy":
            first, second = _binary(subject, first), _binary(subject, second)
        right_before = _right(subject, subject.baseline, first)
        right_after = _right(subject, subject.release, second)
        lost, won = right_before & ~right_after, right_after & ~right_before
        detail = f"{int(lost.sum())} rows right only in the baseline, {int(won.sum())} only in the release"
        if metric == "accuracy":
            value, ends = _paired(lost, won, tails)
        else:
            value, ends = _of_both_classes(labels, lambda: _balanced_drop(labels, lost, won, tails))
    return dataclasses.replace(
        empty,
        value=value,
        interval=Interval(low=ends[0], high=ends[1], confidence=tails.confidence),
        grade=Grade.MEASURED,
        detail=detail,
    )


def _right(subject: Subject, model: Model, scores: Scores) -> Bools:
    """Return which rows the model answers correctly, shape (n,)."""
    classes = subject.data.classes
    if _is_binary(subject):
        return np.asarray(decisions(model, scores) == subject.data.labels())
    if scores.ndim == 1 or scores.shape[1] != len(classes):
        answered = "one score" if scores.ndim == 1 else f"{scores.shape[1]} scores"
        raise CheckError(
            f"{model.identity.name} answers {answered} for a row, and label {subject.data.label!r} has "
            f"{len(classes)} classes in the test rows"
        )
    position = {value: i for i, value in enumerate(classes)}
    truth = [position[value] for value in subject.data.tables["test"][subject.data.label].to_list()]
    return np.asarray(np.argmax(scores, axis=1) == np.asarray(truth))


def _binary(subject: Subject, scores: Scores) -> Scores:
    if not _is_binary(subject):
        raise CheckError(
            f"label {subject.data.label!r} has {len(subject.data.classes)} classes; roc_auc and "
            "balanced_accuracy need two. Accepted here: metric='accuracy'"
        )
    return scores


def _of_both_classes(labels: Bools, estimate: Callable[[], Estimate]) -> Estimate:
    if labels.all() or not labels.any():
        raise CheckError("the test rows hold one class only, and this metric compares the two")
    return estimate()


def _balanced(labels: Bools, right: Bools, tails: Tails) -> Estimate:
    """Return balanced accuracy and its interval: the mean of two independent proportions."""
    parts = []
    for rows in (labels, ~labels):
        k, n = int((right & rows).sum()), int(rows.sum())
        parts.append((k / n, wilson(k, n, tails)))
    return _mean(parts[0], parts[1])


def _balanced_drop(labels: Bools, lost: Bools, won: Bools, tails: Tails) -> Estimate:
    return _mean(_paired(lost[labels], won[labels], tails), _paired(lost[~labels], won[~labels], tails))


def _paired(lost: Bools, won: Bools, tails: Tails) -> Estimate:
    only_before, only_after, n = int(lost.sum()), int(won.sum()), len(lost)
    return (only_before - only_after) / n, paired_difference_interval(only_before, only_after, n, tails)


def _mean(first: Estimate, second: Estimate) -> Estimate:
    """Return the mean of two independent estimates with its interval.

    Source: Zou and Donner 2008, Statistics in Medicine 27:1693 (MOVER): the distances from estimate to
    limit add like standard errors, separately on either side.
    """
    (value1, (low1, high1)), (value2, (low2, high2)) = first, second
    value = (value1 + value2) / 2
    below, above = math.hypot(value1 - low1, value2 - low2), math.hypot(high1 - value1, high2 - value2)
    return value, (value - below / 2, value + above / 2)


def _base_rate(subject: Subject) -> Measurement:
    labels = subject.data.labels()
    return Measurement(
        metric="base_rate",
        value=float(labels.mean()),
        unit="",
        n=len(labels),
        interval=None,
        method="share of the test rows that are positive",
    )


def _confusion(subject: Subject, models: dict[str, Model]) -> Table:
    labels = subject.data.labels()
    rows: list[tuple[Cell, ...]] = []
    for name, model in models.items():
        answers = decisions(model, subject.scores(model))
        cells = (answers & labels, answers & ~labels, ~answers & labels, ~answers & ~labels)
        rows.append((name, model.threshold, *(int(cell.sum()) for cell in cells)))
    kinds = ("true positives", "false positives", "false negatives", "true negatives")
    return Table(title="Confusion counts", columns=("model", "threshold", *kinds), rows=tuple(rows))


def _by_class(subject: Subject, models: dict[str, Model]) -> Table:
    values = subject.data.tables["test"][subject.data.label].to_list()
    right = [_right(subject, model, subject.scores(model)) for model in models.values()]
    rows: list[tuple[Cell, ...]] = []
    for value in subject.data.classes:
        mine = np.asarray([v == value for v in values])
        rows.append((str(value), int(mine.sum()), *(int((r & mine).sum()) for r in right)))
    columns = ("class", "n", *(f"right: {name}" for name in models))
    return Table(title="Right answers by class", columns=columns, rows=tuple(rows))
