"""Accuracy that the release artifact lost against its float parent, on the same rows, and by group."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.candidate import OnnxModel
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Grade, Interval, Measurement
from pytest_mlgate.hardware.numerics import scores_on
from pytest_mlgate.hardware.refusals import refused, unmapped, without_value
from pytest_mlgate.hardware.target import Target
from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import paired_difference_interval
from pytest_mlgate.subject import Subject

Rows = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class _Right:
    """Which rows are decided rightly in float and by the release artifact, and how that was come by."""

    parent: Rows
    release: Rows
    grade: Grade
    where: str


def accuracy_drop(subject: Subject, place: Target) -> Measurement:
    """Return accuracy of the float parent minus that of the release artifact.

    Raises:
        CheckError: a model's answers are no probabilities of the labels' classes.
    """
    right = _right(subject, place, "max_accuracy_drop")
    if isinstance(right, Measurement):
        return right
    if _nothing_changed(subject, place):
        return _of_the_same_file("", "max_accuracy_drop", len(right.parent))
    return _drop(right, np.ones(len(right.parent), bool), "", "max_accuracy_drop", subject.levels.tails("<="))


def group_accuracy_drops(subject: Subject, place: Target) -> list[Measurement]:
    """Return the same for every group of every sensitive column.

    Raises:
        CheckError: no column is sensitive, or a model's answers are no probabilities.
    """
    if not subject.data.sensitive:
        raise CheckError("max_group_accuracy_drop needs groups: name columns with Dataset(sensitive=[...])")
    right = _right(subject, place, "max_group_accuracy_drop")
    if isinstance(right, Measurement):
        return [right]
    members = group_members(subject)
    if _nothing_changed(subject, place):
        bound = "max_group_accuracy_drop"
        return [_of_the_same_file(scope, bound, int(rows.sum())) for scope, rows in members.items()]
    tails = subject.levels.split(len(members)).tails("<=")
    return [_drop(right, rows, scope, "max_group_accuracy_drop", tails) for scope, rows in members.items()]


def _nothing_changed(subject: Subject, place: Target) -> bool:
    return place.id == "cpu" and subject.release.identity.digest == subject.parent.identity.digest


def _of_the_same_file(scope: str, bound: str, n: int) -> Measurement:
    """Return the loss of a release artifact that is the float parent itself: none, on whatever rows."""
    return Measurement(
        metric="accuracy_drop",
        value=0.0,
        unit="",
        n=n,
        interval=Interval(low=0.0, high=0.0, confidence=1.0),
        method="the release artifact is the float parent, byte for byte: nothing can be lost",
        scope=scope,
        bound=bound,
    )


def group_members(subject: Subject) -> dict[str, Rows]:
    """Return the rows of every group of every sensitive column, by "column=group"."""
    found = {}
    for column in subject.data.sensitive:
        groups = subject.data.groups(column)
        for name in np.unique(groups).tolist():
            found[f"{column}={name}"] = groups == name
    return found


def _right(subject: Subject, place: Target, bound: str) -> _Right | Measurement:
    if subject.data.task == "regression":
        why = (
            f"label {subject.data.label!r} is an amount, which is never right or wrong: bound the "
            "error instead, with performance(metric='mae', max_drop=...) against the float model as baseline"
        )
        return dataclasses.replace(without_value("accuracy_drop", "", why), bound=bound)
    parent = subject.right(subject.parent, subject.scores(subject.parent))
    if place.id == "cpu" or not isinstance(subject.release, OnnxModel):
        release = subject.right(subject.release, subject.scores())
        return _Right(parent=parent, release=release, grade=Grade.MEASURED, where="ONNX Runtime on the CPU")
    missing = None
    if place.backend is None:
        missing = without_value("accuracy_drop", "", unmapped(place))
    elif not place.can("predict"):
        missing = without_value("accuracy_drop", "", f"{place.spoken} gives no answers here, only estimates")
    if missing is not None:
        return dataclasses.replace(missing, bound=bound)
    answered = scores_on(place, subject.release, subject.data.tables["test"])
    if answered.scores is None:
        return dataclasses.replace(refused("accuracy_drop", "", place, answered.answer), bound=bound)
    release = subject.right(subject.release, answered.scores)
    return _Right(parent=parent, release=release, grade=answered.grade, where=place.spoken)


def _drop(right: _Right, rows: Rows, scope: str, bound: str, tails: Tails) -> Measurement:
    only_parent = int(np.sum(right.parent & ~right.release & rows))
    only_release = int(np.sum(right.release & ~right.parent & rows))
    n = int(rows.sum())
    low, high = paired_difference_interval(only_parent, only_release, n, tails)
    return Measurement(
        metric="accuracy_drop",
        value=(only_parent - only_release) / n,
        unit="",
        n=n,
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method="accuracy of the float parent minus that of the release artifact on the same rows; "
        f"Tango's score interval, corrected for skewness; artifact run by {right.where}",
        grade=right.grade,
        scope=scope,
        detail=f"{only_parent} rows right only in float, {only_release} only in the release artifact",
        bound=bound,
    )
