"""Whether prediction sets hold the truth as often as promised, and how good answers are with abstention."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from pytest_mlgate.contract import AtLeast, AtMost, ColumnNames, check
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Chart, Findings, Grade, Interval, Measurement
from pytest_mlgate.statistics import clopper_pearson
from pytest_mlgate.subject import Subject

from ._answers import answers_of
from ._conformal_sets import Sets, calibration_rows, own_intervals, split_conformal
from ._coverage import at_least, marginal_coverage_interval
from ._influence import METHOD as SMOOTH
from ._influence import influence_interval
from ._rows_needed import with_rows_needed
from ._selective import curve, selective
from ._slices import members_of


@check("conformal")
def conformal(
    subject: Subject,
    *,
    min_coverage: AtLeast = None,
    max_set_size: AtMost = None,
    groups: ColumnNames = (),
    min_group_coverage: AtLeast = None,
    level: float = 0.9,
    calibration_column: str = "",
    calibration_share: float = 0.0,
    lower: str = "",
    upper: str = "",
    answered_from: float | None = None,
    min_selective_accuracy: AtLeast = None,
    min_answered_share: AtLeast = None,
) -> Findings:
    """Coverage and size of prediction sets, and accuracy where the model may abstain.

    Split-conformal sets of the release artifact are built at `level` from training rows that it was not
    fitted to (`calibration_column` marks them, or a random `calibration_share`), or intervals of a regression
    are read from the test columns `lower` and `upper`. `min_coverage` bounds the share of rows whose set
    holds the truth, `max_set_size` the mean number of classes in a set or the mean width of an interval (in
    the label's unit), `min_group_coverage` the coverage in every group of the columns in `groups`. Choose
    `min_coverage` a little below `level`: that a procedure built for 0.9 covers 0.9 or more cannot be shown.
    With `answered_from`, rows whose predicted class has at least this probability are answered:
    `min_selective_accuracy` bounds the accuracy among them, `min_answered_share` their share.

    Raises:
        CheckError: no or unusable calibration rows or intervals, a level outside 0 to 1, a bound without what
            it needs, or answers that fit neither label nor task.
    """
    about_answers = min_selective_accuracy is not None or min_answered_share is not None
    about_sets = min_coverage is not None or max_set_size is not None or min_group_coverage is not None
    _require_parameters(level, groups, min_group_coverage, answered_from, about_answers)
    answers = answers_of(subject, subject.release)
    measurements: list[Measurement] = []
    assumptions = {"rows": "the test rows are independent of each other and drawn like the rows to come"}
    charts: tuple[Chart, ...] = ()
    if about_sets or not about_answers:
        if lower or upper:
            sets = own_intervals(subject, answers, lower, upper)
        else:
            rows = calibration_rows(subject, calibration_share, calibration_column)
            sets = split_conformal(subject, answers, level, rows)
            assumptions["calibration rows"] = (
                f"{len(rows):,} rows of the training table, which the model was not fitted to: only the team "
                "can vouch for that; a model that has seen them covers too little"
            )
        assumptions["sets"] = sets.description
        measurements += _coverage(subject, sets, level, "min_coverage" if min_coverage is not None else None)
        measurements.append(_size(subject, sets, "max_set_size" if max_set_size is not None else None))
        measurements += _by_group(subject, sets, groups, min_group_coverage)
        if lower or upper:
            # Whoever filled the columns says that they are the model's: nothing here has seen it make them.
            measurements = [_as_declared(m) for m in measurements]
    if answered_from is not None:
        bounds = (
            "min_selective_accuracy" if min_selective_accuracy is not None else None,
            "min_answered_share" if min_answered_share is not None else None,
        )
        measurements += selective(answers, answered_from, subject.levels, bounds)
        charts = (curve(answers),)
    return Findings(
        measurements=tuple(measurements),
        charts=charts,
        assumptions=assumptions,
        not_covered=(
            "coverage at given features: it holds on average over rows, and over the groups that were named",
            "rows that come from elsewhere than the calibration rows: see drift",
        ),
    )


def _as_declared(m: Measurement) -> Measurement:
    return m if m.grade is Grade.MISSING else dataclasses.replace(m, grade=Grade.DECLARED)


def _require_parameters(
    level: float,
    groups: Sequence[str],
    min_group_coverage: float | None,
    answered_from: float | None,
    about_answers: bool,
) -> None:
    if not 0 < level < 1:
        raise CheckError(f"level={level:g} is outside 0 to 1 (0.9: nine of ten sets shall hold the truth)")
    if min_group_coverage is not None and not groups:
        raise CheckError("min_group_coverage bounds groups of columns, and none is named: groups=['...']")
    if about_answers and answered_from is None:
        raise CheckError(
            "min_selective_accuracy and min_answered_share need the probability from which on rows are "
            "answered: answered_from=0.8"
        )


def _coverage(subject: Subject, sets: Sets, level: float, bound: str | None) -> list[Measurement]:
    covered, n = int(sets.covers.sum()), len(sets.covers)
    tails = subject.levels.tails(">=")
    exact = clopper_pearson(covered, n, tails)
    of_these = Measurement(
        metric="coverage",
        value=covered / n,
        unit="",
        n=n,
        interval=Interval(low=exact[0], high=exact[1], confidence=tails.confidence),
        method=f"{sets.description}; Clopper-Pearson interval",
        bound=bound,
    )
    m = sets.calibration_rows
    if not m:
        return [of_these]
    low, high = marginal_coverage_interval(covered, n, m, tails)
    few = 1 - at_least(covered + 1, n, level, m)
    return [
        Measurement(
            metric="coverage",
            value=covered / n,
            unit="",
            n=n,
            interval=Interval(low=low, high=high, confidence=tails.confidence),
            method=f"{sets.description}; coverage of the procedure over calibration sets of {m:,} rows, by "
            "inverting beta-binomial tests (Vovk 2012; Angelopoulos and Bates 2023)",
            bound=bound,
            detail=f"a procedure of level {level:g} covers so few with probability {few:.2g}; "
            f"{m:,} calibration rows alone spread the coverage by {_spread(level, m):.2g}, so that more of "
            "them count as much as more test rows",
        ),
        Measurement(
            metric="coverage_of_this_calibration",
            value=of_these.value,
            unit="",
            n=n,
            interval=of_these.interval,
            method=f"coverage given these calibration rows; {of_these.method}",
        ),
    ]


def _spread(level: float, calibration_rows: int) -> float:
    return float(np.sqrt(level * (1 - level) / (calibration_rows + 2)))


def _size(subject: Subject, sets: Sets, bound: str | None) -> Measurement:
    n, tails = len(sets.sizes), subject.levels.tails("<=")
    mean = float(sets.sizes.mean())
    if sets.fixed_size:
        interval = Interval(low=mean, high=mean, confidence=1.0)
        method = "the same for every row, given the calibration rows"
    else:
        _, (low, high) = influence_interval(mean, sets.sizes - mean, tails)
        if sets.largest is not None:  # what n sets of one size may not have shown
            low = min(low, mean * tails.lower ** (1 / n))
            high = max(high, mean + (sets.largest - mean) * (1 - tails.upper ** (1 / n)))
        interval = Interval(low=low, high=high, confidence=tails.confidence)
        method = f"mean; {SMOOTH}"
    empty = int((sets.sizes == 0).sum())
    return Measurement(
        metric="set_size",
        value=mean,
        unit="" if sets.largest is None else "classes",
        n=n,
        interval=interval,
        method=method,
        bound=bound,
        detail=f"{empty:,} sets are empty" if empty and sets.largest is not None else "",
    )


def _by_group(subject: Subject, sets: Sets, columns: Sequence[str], bound: float | None) -> list[Measurement]:
    members = members_of(subject, columns)
    tails = subject.levels.split(len(members)).tails(">=")
    found = []
    for name, rows in members:
        covered, n = int(sets.covers[rows].sum()), len(rows)
        low, high = clopper_pearson(covered, n, tails)
        m = Measurement(
            metric="coverage",
            value=covered / n,
            unit="",
            n=n,
            interval=Interval(low=low, high=high, confidence=tails.confidence),
            method=f"{sets.description}; coverage given these calibration rows; Clopper-Pearson interval; "
            f"one of {len(members)} groups",
            scope=name,
            bound=None if bound is None else "min_group_coverage",
        )
        found.append(with_rows_needed(m, bound, name))
    return found
