"""The metrics of performance: for which task, which way is better, and how each is estimated."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from pytest_mlgate.errors import CheckError
from pytest_mlgate.levels import Tails

from . import _badness as badness
from . import _metrics_classes as classes
from . import _metrics_losses as losses
from . import _metrics_quantile as quantiles
from . import _metrics_ranking as ranking
from ._answers import Answers, Task
from ._influence import METHOD as SMOOTH
from ._influence import Estimate

MetricName = Literal[
    "roc_auc",
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "macro_f1",
    "average_precision",
    "log_loss",
    "brier",
    "mae",
    "mse",
    "rmse",
    "r2",
    "mean_error",
    "absolute_error_quantile",
]
Level = Callable[[Answers, Tails], Estimate]
Difference = Callable[[Answers, Answers, Tails], Estimate]

_BINARY: tuple[Task, ...] = ("binary",)
_CLASSES: tuple[Task, ...] = ("binary", "multiclass")
_AMOUNTS: tuple[Task, ...] = ("regression",)


@dataclass(frozen=True, slots=True)
class Metric:
    """How a metric is estimated on rows, and how two models are compared by it on the same rows."""

    name: str
    tasks: tuple[Task, ...]
    higher_is_better: bool
    level: Level
    method: str
    #: First minus second; `None` where no interval of a difference is known.
    difference: Difference | None
    difference_method: str
    #: What slices are searched by: the metric itself where it is a ratio of sums, else a stand-in.
    badness: badness.Badness | None

    def worse_by(self, worse: Answers, better: Answers, tails: Tails) -> Estimate:
        """Return by how much `worse` is worse than `better` on the same rows, positive where it is.

        Raises:
            Undefined: the metric has no value on these rows.
            CheckError: the metric has no paired comparison.
        """
        if self.difference is None:
            raise CheckError(f"{self.name} cannot be compared on the same rows with an interval: choose mae")
        pair = (better, worse) if self.higher_is_better else (worse, better)
        return self.difference(*pair, tails)


def metric_named(name: MetricName, task: Task, quantile: float) -> Metric:
    """Return a metric for a task.

    Raises:
        CheckError: the task has no such metric, with those that it has; or the quantile is not within 0 to 1.
    """
    metric = _METRICS[name]
    if task not in metric.tasks:
        accepted = ", ".join(m for m in get_args(MetricName) if task in _METRICS[m].tasks)
        raise CheckError(f"metric={name!r} does not exist for a {task} label. Accepted here: {accepted}")
    if name != "absolute_error_quantile":
        return metric
    if not 0 < quantile < 1:
        raise CheckError(f"quantile={quantile:g} is outside 0 to 1 (0.9: nine of ten errors are smaller)")
    return Metric(
        name=name,
        tasks=metric.tasks,
        higher_is_better=False,
        level=functools.partial(_error_quantile, quantile),
        method=f"{quantile:g} quantile of the absolute error; {metric.method}",
        difference=functools.partial(_error_quantile_difference, quantile),
        difference_method=metric.difference_method,
        badness=functools.partial(badness.beyond_quantile, quantile),
    )


def _error_quantile(quantile: float, a: Answers, tails: Tails) -> Estimate:
    return quantiles.error_quantile(a, quantile, tails)


def _error_quantile_difference(quantile: float, first: Answers, second: Answers, tails: Tails) -> Estimate:
    return quantiles.error_quantile_difference(first, second, quantile, tails)


_PAIRED = f"{SMOOTH} of the paired influences, two pseudo-rows added"
_EXACT = "Clopper-Pearson interval"
_TANGO = "Tango's score interval of the paired difference"
_METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "roc_auc",
            _BINARY,
            True,
            classes.roc_auc,
            "DeLong interval on the logit scale",
            classes.roc_auc_difference,
            "DeLong interval of the paired difference",
            badness.misranked,
        ),
        Metric(
            "accuracy",
            _CLASSES,
            True,
            classes.accuracy,
            _EXACT,
            classes.accuracy_difference,
            _TANGO,
            badness.wrong,
        ),
        Metric(
            "balanced_accuracy",
            _CLASSES,
            True,
            classes.balanced_accuracy,
            "mean of the classes' shares of right answers; as a difference of shares (Miettinen-Nurminen, "
            "corrected for skewness), MOVER over Clopper-Pearson intervals where there are more classes",
            classes.balanced_accuracy_difference,
            "MOVER over the paired differences in each class",
            badness.wrong_by_class,
        ),
        Metric(
            "precision",
            _BINARY,
            True,
            classes.precision,
            _EXACT,
            classes.precision_difference,
            _PAIRED,
            badness.false_alarms,
        ),
        Metric(
            "recall", _BINARY, True, classes.recall, _EXACT, classes.recall_difference, _TANGO, badness.missed
        ),
        Metric(
            "f1",
            _BINARY,
            True,
            classes.f1,
            "Clopper-Pearson interval of TP/(TP+FP+FN), turned into F1",
            classes.f1_difference,
            _PAIRED,
            badness.one_minus_f1,
        ),
        Metric(
            "macro_f1",
            ("multiclass",),
            True,
            classes.macro_f1,
            SMOOTH,
            classes.macro_f1_difference,
            _PAIRED,
            badness.wrong,
        ),
        Metric(
            "average_precision",
            _BINARY,
            True,
            ranking.average_precision,
            f"{SMOOTH} and Boyd's interval on the logit scale, at each end the wider",
            ranking.average_precision_difference,
            _PAIRED,
            badness.imprecise,
        ),
        Metric(
            "log_loss",
            _CLASSES,
            False,
            losses.log_loss,
            f"{SMOOTH}; natural logarithm",
            losses.log_loss_difference,
            _PAIRED,
            badness.log_loss,
        ),
        Metric(
            "brier",
            _CLASSES,
            False,
            losses.brier,
            SMOOTH,
            losses.brier_difference,
            _PAIRED,
            badness.brier_loss,
        ),
        Metric("mae", _AMOUNTS, False, losses.mae, SMOOTH, losses.mae_difference, _PAIRED, badness.absolute),
        Metric("mse", _AMOUNTS, False, losses.mse, SMOOTH, losses.mse_difference, _PAIRED, badness.squared),
        Metric(
            "rmse",
            _AMOUNTS,
            False,
            losses.rmse,
            f"root of the mean squared error; {SMOOTH}",
            losses.rmse_difference,
            _PAIRED,
            badness.squared,
        ),
        Metric(
            "r2",
            _AMOUNTS,
            True,
            losses.r2,
            f"{SMOOTH} on the scale of log(1 - R2)",
            losses.r2_difference,
            _PAIRED,
            badness.squared,
        ),
        Metric(
            "mean_error",
            _AMOUNTS,
            False,
            losses.mean_error,
            f"absolute value of the mean of prediction minus truth; {SMOOTH}, two one-sided tests",
            None,
            "",
            None,
        ),
        Metric(
            "absolute_error_quantile",
            _AMOUNTS,
            False,
            functools.partial(_error_quantile, 0.9),
            "exact interval between order statistics",
            functools.partial(_error_quantile_difference, 0.9),
            "MOVER with the correlation of exceeding either quantile",
            functools.partial(badness.beyond_quantile, 0.9),
        ),
    )
}
