"""Concept drift: what became of the model's quality on new rows, with their labels and without."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from pytest_mlgate.candidate.model import decisions, positive_scores
from pytest_mlgate.data_values import is_missing
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Grade, Interval, Measurement
from pytest_mlgate.levels import Levels, Tails
from pytest_mlgate.statistics import welch_interval
from pytest_mlgate.subject import Subject

from ._answers import Answers, Floats, Rows, Undefined, answers_of
from ._drift_family import missing
from ._metrics import Metric, MetricName, metric_named

QualityName = Literal["default", MetricName]

_BOUND = "max_quality_drop"
_METRIC = "quality_drop"
_CONFIDENCE = (
    "estimate without labels: by how much the model's mean confidence in its own decisions fell (difference "
    "of confidences; Guillory et al. 2021, ICCV). It is blind to a change of what the same rows mean"
)


def quality_drop(subject: Subject, metric: QualityName, levels: Levels) -> Measurement:
    """Return by how much the release artifact is worse on the labelled current rows than on the test rows.

    The test rows are the reference, not those of training, on which every model is better than on new ones.
    The two samples are independent: the distances from either value to its one-sided limit add like standard
    errors (Zou and Donner 2008, Statistics in Medicine 27:1693). Without labels, an estimate of the drop of
    the accuracy, graded as such.

    Raises:
        CheckError: the metric is not one of the task, or scores are no answers.
    """
    data = subject.data
    if "current" not in data.tables:
        reason = "there is no current table: give Dataset(current=...) or [data] current"
        return missing(_METRIC, "", _BOUND, reason, 0, "none: one table only")
    name: MetricName = "mae" if data.task == "regression" else "accuracy"
    chosen = metric_named(name if metric == "default" else metric, data.task, 0.9)
    rows = _labelled(subject)
    if not len(rows):
        return _estimated(subject, chosen, levels)
    return _measured(subject, chosen, rows, levels)


def _measured(subject: Subject, metric: Metric, rows: Rows, levels: Levels) -> Measurement:
    tails = levels.tails("<=")
    reference, current = answers_of(subject, subject.release), _answers(subject, rows)
    # Whichever way the metric goes, a drop is first minus second.
    first, second = (reference, current) if metric.higher_is_better else (current, reference)
    try:
        failing = [metric.level(a, Tails(tails.lower, tails.lower)) for a in (first, second)]
        releasing = [metric.level(a, Tails(tails.upper, tails.upper)) for a in (first, second)]
        before, after = (metric.level(a, tails)[0] for a in (reference, current))
    except Undefined as error:
        return missing(_METRIC, metric.name, _BOUND, str(error), len(rows), metric.method)
    (value1, (low1, _)), (value2, (_, high2)) = failing
    (_, (_, high1)), (_, (low2, _)) = releasing
    drop = value1 - value2
    unlabelled = len(subject.data.tables["current"]) - len(rows)
    left_out = f"; {unlabelled:,} rows without a label left out" if unlabelled else ""
    return Measurement(
        metric=_METRIC,
        value=drop,
        unit="",
        n=min(len(reference), len(rows)),
        interval=Interval(
            low=None if low1 is None or high2 is None else drop - math.hypot(value1 - low1, high2 - value2),
            high=None if high1 is None or low2 is None else drop + math.hypot(high1 - value1, value2 - low2),
            confidence=tails.confidence,
        ),
        method=f"{metric.name} on the test rows against that on the labelled current rows, two independent "
        f"samples; {metric.method}",
        scope=metric.name,
        bound=_BOUND,
        detail=f"{metric.name} {before:.4g} on {len(reference):,} test rows, {after:.4g} on {len(rows):,} "
        f"current rows{left_out}",
    )


def _estimated(subject: Subject, metric: Metric, levels: Levels) -> Measurement:
    if subject.data.task == "regression":
        reason = "the current table has no labels, and the values of a regression carry no confidence"
        return missing(_METRIC, metric.name, _BOUND, reason, 0, "none: no labels")
    if metric.name != "accuracy":
        reason = (
            f"the current table has no labels, and without them only accuracy is estimated, not {metric.name}"
        )
        return missing(_METRIC, metric.name, _BOUND, reason, 0, "none: no labels")
    tails = levels.tails("<=")
    before, after = (_confidence(subject, role) for role in ("test", "current"))
    if min(len(before), len(after)) < 2:
        reason = "the current table has no labels, and fewer than two rows show no spread of confidence"
        return missing(_METRIC, metric.name, _BOUND, reason, 0, "none: no labels")
    drop, (low, high) = welch_interval(before, after, tails)
    right = float(answers_of(subject, subject.release).right.mean())
    return Measurement(
        metric=_METRIC,
        value=drop,
        unit="",
        n=min(len(before), len(after)),
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method=_CONFIDENCE,
        grade=Grade.ESTIMATED,
        scope=metric.name,
        bound=_BOUND,
        detail=f"no labels in the current table; accuracy {right:.4g} on the test rows, estimated "
        f"{right - drop:.4g} on the current ones; mean confidence {before.mean():.4g} and {after.mean():.4g}",
    )


def _confidence(subject: Subject, role: str) -> Floats:
    """Return the probability that the model gives to its own decision, shape (n,)."""
    scores = np.asarray(subject.scores(role=role), np.float64)
    if scores.ndim == 2 and scores.shape[1] > 2:
        return np.asarray(scores.max(axis=1))
    positive = positive_scores(scores)
    return np.where(decisions(subject.release, positive), positive, 1 - positive)


def _labelled(subject: Subject) -> Rows:
    """Return the positions of the current rows that have a label."""
    frame = subject.data.tables["current"]
    if subject.data.label not in frame.columns:
        return np.zeros(0, np.intp)
    series = frame[subject.data.label]
    if series.dtype.is_float():
        return np.flatnonzero(~np.isnan(np.asarray(series.to_numpy(), np.float64)))
    return np.flatnonzero([not is_missing(v) for v in series.to_list()])


def _answers(subject: Subject, rows: Rows) -> Answers:
    """Return the model's answers to the current rows that have a label.

    Raises:
        CheckError: a label that the test table does not have.
    """
    data, scores = subject.data, np.asarray(subject.scores(role="current"), np.float64)[rows]
    if not bool(np.isfinite(scores).all()):
        raise CheckError(
            "the model answered NaN or infinity for rows of the current table: look at those rows"
        )
    if data.task == "regression":
        truth = np.asarray(data.tables["current"][data.label].to_numpy(), np.float64)[rows]
        return Answers("regression", truth, scores, scores)
    numbers = data.class_numbers("current")[rows]
    strange = int(np.count_nonzero(numbers < 0))
    if strange:
        raise CheckError(
            f"{strange:,} of {len(rows):,} labelled rows of the current table have a class of "
            f"{data.label!r} that the test table does not have: no metric can judge them; collect test rows "
            "of it"
        )
    subject.require_classes(subject.release, scores)
    if data.task == "binary":
        positive = positive_scores(scores)
        truth = numbers == data.classes.index(data.positive)
        return Answers("binary", truth, positive, decisions(subject.release, positive))
    return Answers("multiclass", numbers, scores, np.argmax(scores, axis=1))
