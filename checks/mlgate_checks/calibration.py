"""Whether the release artifact's probabilities mean what they say: calibration error and Brier score."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from pytest_mlgate.contract import AtMost, ColumnNames, check
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Findings, Grade, Interval, Measurement
from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics.calibration import (
    ROWS_PER_BIN,
    CalibrationError,
    calibration_error_interval,
)
from pytest_mlgate.subject import Subject

from ._answers import Answers, Undefined, answers_of
from ._influence import METHOD as SMOOTH
from ._influence import Estimate
from ._metrics_losses import brier, brier_difference, mean_error
from ._reliability import bins_table, charts_of, claims, group_table
from ._rows_needed import with_rows_needed
from ._slices import members_of

_ERROR = "root mean squared calibration error, debiased (Kumar et al. 2019; T-Cal)"
_ROWS = "the test rows are independent of each other and drawn like the rows to come"


@check("calibration")
def calibration(
    subject: Subject,
    *,
    max_error: AtMost = None,
    max_brier: AtMost = None,
    groups: ColumnNames = (),
    max_group_error: AtMost = None,
    bins: int = 15,
) -> Findings:
    """How far the release artifact's probabilities are from how often things happen.

    `max_error` bounds the root mean squared calibration error over `bins` bins of equally many rows (fewer
    where there are less than 30 rows for each), as a probability; it is estimated without the bias that makes
    binned calibration errors positive for perfectly calibrated models. `max_group_error` bounds it in every
    group of the columns in `groups`. `max_brier` bounds the Brier score: 0 to 1 for two classes; summed over
    the classes, 0 to 2, for more. With more than two classes the calibration error is that of the top label:
    whether the predicted class is right as often as its probability says. In a regression `max_error` bounds
    the absolute mean error, in the label's unit, and nothing else of calibration is measured.

    Raises:
        CheckError: the model's answers are no probabilities, there is one test row, or a bound does not fit
            the task.
    """
    if bins < 2:
        raise CheckError(f"bins={bins}: at least two are needed, since errors inside a bin cancel")
    if max_group_error is not None and not groups:
        raise CheckError("max_group_error bounds the groups of columns, and none is named: groups=['...']")
    answers = answers_of(subject, subject.release)
    if answers.task == "regression":
        if max_brier is not None or groups:
            raise CheckError(
                "a regression has no probabilities: calibration takes max_error= (of the mean error) there, "
                "not max_brier= or groups=; for errors by group use performance(metric='mae', slices=[...])"
            )
        return _of_amounts(subject, answers, max_error)
    tails = subject.levels.tails("<=")
    overall = _error(answers, tails, bins)
    compared = {"release artifact": overall}
    measurements = [
        _measured(overall, len(answers), tails, "max_error" if max_error is not None else None),
        _brier(answers, tails, "max_brier" if max_brier is not None else None),
        _plug_in(overall, len(answers)),
    ]
    tables = [bins_table(overall)]
    if groups:
        by_group = _by_group(subject, answers, groups, max_group_error, bins)
        measurements += by_group
        tables.append(group_table(by_group))
    if subject.parent.identity.digest != subject.release.identity.digest:
        before = answers_of(subject, subject.parent)
        compared["float parent"] = _error(before, tails, bins)
        measurements += _since_parent(answers, before, overall, compared["float parent"], tails)
    return Findings(
        measurements=tuple(measurements),
        tables=tuple(tables),
        charts=charts_of(compared, claims(answers)[0]),
        assumptions={
            "rows": _ROWS,
            "event": "the row is of the positive class"
            if answers.task == "binary"
            else "the predicted class is the true one (top-label calibration)",
            "bins": f"{len(overall.bins)} bins of about equally many rows; errors that cancel inside a bin "
            "are not seen",
        },
        not_covered=(
            *(
                ("the probabilities of classes that are not predicted",)
                if answers.task == "multiclass"
                else ()
            ),
            "groups that were not named" if groups else "calibration within groups: name columns in groups",
        ),
    )


def _error(answers: Answers, tails: Tails, bins: int) -> CalibrationError:
    scores, happened = claims(answers)
    try:
        found = calibration_error_interval(scores, happened, tails, bins)
    except ValueError as error:
        raise CheckError(f"calibration error has no value on these rows: {error}") from None
    if len(found.bins) < 2 and np.ptp(scores):
        raise CheckError(
            f"{len(answers):,} rows with different scores fall into one bin, in which errors that cancel are "
            f"not seen: {2 * ROWS_PER_BIN} rows make two"
        )
    return found


def _measured(error: CalibrationError, n: int, tails: Tails, bound: str | None) -> Measurement:
    low, high = error.interval
    return Measurement(
        metric="calibration_error",
        value=error.value,
        unit="",
        n=n,
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method=f"{_ERROR}; {len(error.bins)} bins; interval by inverting tests on the squared bin means",
        bound=bound,
        detail=_farthest(error),
    )


def _farthest(error: CalibrationError) -> str:
    worst = max(error.bins, key=lambda b: b.n * (b.rate - b.score) ** 2)
    where = f"farthest where the score is about {worst.score:.2g}"
    return f"{where}: there it happens in {worst.rate:.1%} of {worst.n:,} rows"


def _plug_in(error: CalibrationError, n: int) -> Measurement:
    return Measurement(
        metric="expected_calibration_error",
        value=error.plug_in,
        unit="",
        n=n,
        interval=None,
        method="mean absolute error over the same bins, as usually quoted: biased upward, only to compare",
    )


def _brier(answers: Answers, tails: Tails, bound: str | None) -> Measurement:
    try:
        value, (low, high) = brier(answers, tails)
    except Undefined as error:
        raise CheckError(f"the Brier score has no interval: {error}") from None
    return Measurement(
        metric="brier",
        value=value,
        unit="",
        n=len(answers),
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method=f"mean squared distance of the probabilities from what is true; {SMOOTH}",
        bound=bound,
        detail=f"always answering the base rate would score {_of_base_rate(answers):.3g}",
    )


def _of_base_rate(answers: Answers) -> float:
    if answers.task == "binary":
        rate = float(answers.truth.mean())
        return rate * (1 - rate)
    shares = np.bincount(answers.truth) / len(answers)
    return float(1 - np.sum(shares**2))


def _by_group(
    subject: Subject, answers: Answers, columns: Sequence[str], bound: float | None, bins: int
) -> list[Measurement]:
    members = members_of(subject, columns)
    tails = subject.levels.split(len(members)).tails("<=")
    parameter = None if bound is None else "max_group_error"
    found = []
    for name, rows in members:
        try:
            m = _measured(_error(answers.take(rows), tails, bins), len(rows), tails, parameter)
        except CheckError as error:
            m = Measurement(
                metric="calibration_error",
                value=None,
                unit="",
                n=len(rows),
                interval=None,
                method=_ERROR,
                grade=Grade.MISSING,
                bound=parameter,
                detail=str(error),
            )
        method = f"{m.method}; one of {len(members)} groups, any of which can fail"
        found.append(with_rows_needed(dataclasses.replace(m, scope=name, method=method), bound, name))
    return found


def _since_parent(
    answers: Answers, before: Answers, error: CalibrationError, error_before: CalibrationError, tails: Tails
) -> list[Measurement]:
    """Return what compression did to the Brier score and to the calibration error, for information."""
    (low, high), (low_before, high_before) = error.interval, error_before.interval
    change = error.value - error_before.value
    # Distances add like standard errors of independent estimates (MOVER: Zou 2007, Psychological Methods
    # 12:399); two models on the same rows err together, so that this is too wide rather than too narrow.
    of_error = (
        change,
        (
            change - math.hypot(error.value - low, high_before - error_before.value),
            change + math.hypot(high - error.value, error_before.value - low_before),
        ),
    )
    return [
        _change(
            "brier_change", brier_difference(answers, before, tails), len(answers), tails, f"paired; {SMOOTH}"
        ),
        _change(
            "calibration_error_change", of_error, len(answers), tails, "MOVER as if independent: conservative"
        ),
    ]


def _change(metric: str, estimate: Estimate, n: int, tails: Tails, method: str) -> Measurement:
    value, (low, high) = estimate
    return Measurement(
        metric=metric,
        value=value,
        unit="",
        n=n,
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method=f"release artifact minus float parent on the same rows; {method}",
        scope="against the float parent",
    )


def _of_amounts(subject: Subject, answers: Answers, max_error: float | None) -> Findings:
    tails = subject.levels.tails("<=")
    try:
        value, (low, high) = mean_error(answers, tails)
    except Undefined as error:
        raise CheckError(f"the mean error has no interval: {error}") from None
    mean = float(answers.errors.mean())
    measured = Measurement(
        metric="absolute_mean_error",
        value=value,
        unit="",
        n=len(answers),
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method=f"absolute value of the mean of prediction minus truth; {SMOOTH}, two one-sided tests",
        bound=None if max_error is None else "max_error",
        detail=f"predictions are on average {abs(mean):.3g} too {'high' if mean > 0 else 'low'}",
    )
    return Findings(
        measurements=(measured,),
        assumptions={"rows": _ROWS},
        not_covered=(
            "calibration of a regression beyond its mean: the spread of errors, the mean at a prediction",
        ),
    )
