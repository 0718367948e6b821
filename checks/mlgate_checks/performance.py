"""How well the release artifact predicts: a bound, no worse than what it replaces, and nowhere weak."""

from __future__ import annotations

import dataclasses

from pytest_mlgate.candidate import Model
from pytest_mlgate.contract import AtLeast, AtMost, ColumnNames, check
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Findings, Grade, Interval, Measurement, Table
from pytest_mlgate.subject import Subject

from ._answers import Answers, Undefined, answers_of
from ._metrics import Metric, MetricName, metric_named
from ._performance_tables import table_of
from ._slices import by_slice
from ._weak_slices import weakest_slice


@check("performance")
def performance(
    subject: Subject,
    *,
    metric: MetricName = "roc_auc",
    min: AtLeast = None,
    max_drop: AtMost = None,
    max: AtMost = None,
    slices: ColumnNames = (),
    min_slice: AtLeast = None,
    max_slice: AtMost = None,
    max_weak_slice_drop: AtMost = None,
    min_weak_slice_share: float = 0.05,
    quantile: float = 0.9,
) -> Findings:
    """Predictive performance of the release artifact: overall, against the baseline, and in slices.

    `min` bounds a metric of which more is better (fractions), `max` one of which less is better (log_loss in
    nats; errors in the label's unit, mse in its square). `max_drop` bounds by how much the release artifact
    is worse than the baseline on the same rows (non-inferiority), whichever way the metric points.
    `min_slice` or `max_slice` bound the metric in every group of the columns in `slices`.
    `max_weak_slice_drop` bounds by how much it is worse in the weakest slice that a search finds than in the
    other rows. Models of several classes have one score for each class of the label in sorted order.
    `quantile` is that of absolute_error_quantile.

    Raises:
        CheckError: the metric does not fit the task or the bound does not fit the metric, the model's answers
            are none or do not fit the label, or the test rows leave the metric without a value.
    """
    chosen = metric_named(metric, subject.data.task, quantile)
    _require_direction(chosen, {"min": min, "min_slice": min_slice}, {"max": max, "max_slice": max_slice})
    bound = min if chosen.higher_is_better else max
    of_slices = _written("min_slice", min_slice) or _written("max_slice", max_slice)
    if of_slices is not None and not slices:
        raise CheckError(f"{of_slices[0]} bounds the groups of columns, and none is named: slices=['...']")
    answers = answers_of(subject, subject.release)
    others = {name: answers_of(subject, model) for name, model in _others(subject).items()}
    overall = _level(subject, chosen, answers, "")
    measurements = [overall if bound is None else dataclasses.replace(overall, bound=_side(chosen))]
    if max_drop is not None:
        measurements.append(_drop(subject, chosen, answers, others.get("baseline")))
    tables: list[Table] = []
    if slices:
        found, table = by_slice(subject, chosen, answers, slices, of_slices)
        measurements += found
        tables.append(table)
    if max_weak_slice_drop is not None:
        weakest, table = weakest_slice(subject, chosen, answers, min_weak_slice_share, max_weak_slice_drop)
        measurements.append(weakest)
        tables.append(table)
    measurements += [_level(subject, chosen, other, name) for name, other in others.items()]
    if answers.task == "binary":
        measurements.append(_base_rate(answers))
    return Findings(
        measurements=tuple(measurements),
        tables=(table_of(subject, {"release artifact": answers, **others}, quantile), *tables),
        assumptions=_assumptions(subject, answers),
        not_covered=(
            "rows unlike those of the test table",
            "what a wrong answer costs",
            "slices that a search does not find, and whether a weak slice is hard for every model: where the "
            "features leave the answer open, rankings and accuracy are lower whatever the model"
            if max_weak_slice_drop is not None
            else "slices that nobody named: max_weak_slice_drop searches for them",
        ),
    )


def _require_direction(
    metric: Metric, of_more: dict[str, float | None], of_less: dict[str, float | None]
) -> None:
    wrong = of_less if metric.higher_is_better else of_more
    for name, value in wrong.items():
        if value is not None:
            better, right = ("more", "min") if metric.higher_is_better else ("less", "max")
            raise CheckError(
                f"{metric.name} is better the {better}: bound it with {right}{name[3:]}=, not with "
                f"{name}={value:g}"
            )


def _side(metric: Metric) -> str:
    return "min" if metric.higher_is_better else "max"


def _written(name: str, value: float | None) -> tuple[str, float] | None:
    return None if value is None else (name, value)


def _others(subject: Subject) -> dict[str, Model]:
    others = {}
    if subject.parent.identity.digest != subject.release.identity.digest:
        others["float parent"] = subject.parent
    if subject.baseline is not None:
        others["baseline"] = subject.baseline
    return others


def _level(subject: Subject, metric: Metric, answers: Answers, scope: str) -> Measurement:
    tails = subject.levels.tails(">=" if metric.higher_is_better else "<=")
    try:
        value, (low, high) = metric.level(answers, tails)
    except Undefined as error:
        raise CheckError(f"{metric.name} has no value on the test rows: {error}") from None
    return Measurement(
        metric=metric.name,
        value=value,
        unit="",
        n=len(answers),
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method=metric.method,
        scope=scope,
        detail=_rows(subject, answers),
    )


def _rows(subject: Subject, answers: Answers) -> str:
    if answers.task == "binary":
        positive = int(answers.truth.sum())
        return f"{positive:,} positive and {len(answers) - positive:,} negative rows"
    return f"{len(subject.data.classes)} classes" if answers.task == "multiclass" else ""


def _drop(subject: Subject, metric: Metric, answers: Answers, before: Answers | None) -> Measurement:
    empty = Measurement(
        metric=f"{metric.name}_drop",
        value=None,
        unit="",
        n=len(answers),
        interval=None,
        method="by how much the release artifact is worse than the baseline on the same rows; "
        f"{metric.difference_method}",
        grade=Grade.MISSING,
        bound="max_drop",
        detail="no baseline was given: provide the mlgate_baseline fixture, or baseline in the policy",
    )
    if before is None:
        return empty
    tails = subject.levels.tails("<=")
    try:
        value, (low, high) = metric.worse_by(answers, before, tails)
    except Undefined as error:
        raise CheckError(f"{metric.name} cannot be compared on the test rows: {error}") from None
    return dataclasses.replace(
        empty,
        value=value,
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        grade=Grade.MEASURED,
        detail=_disagreements(before, answers),
    )


def _disagreements(before: Answers, after: Answers) -> str:
    if after.task == "regression":
        return ""
    lost, won = before.right & ~after.right, after.right & ~before.right
    return f"{int(lost.sum()):,} rows right only in the baseline, {int(won.sum()):,} only in the release"


def _base_rate(answers: Answers) -> Measurement:
    return Measurement(
        metric="base_rate",
        value=float(answers.truth.mean()),
        unit="",
        n=len(answers),
        interval=None,
        method="share of the test rows that are positive",
    )


def _assumptions(subject: Subject, answers: Answers) -> dict[str, str]:
    stated = {
        "rows": "the test rows are independent of each other and drawn like the rows to come",
        "labels": "as recorded: an error in a label counts against the model",
    }
    if answers.task == "binary":
        stated["decision"] = f"positive from a probability of {subject.release.threshold:g} on"
    elif answers.task == "multiclass":
        stated["decision"] = "the class of the highest score"
    return stated
