"""The fairness metrics: what each compares, how, and for which kind of label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_mlgate.dataset import Task
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Comparator

Metric = Literal[
    "demographic_parity_difference",
    "demographic_parity_ratio",
    "equal_opportunity_difference",
    "equal_opportunity_ratio",
    "equalized_odds_difference",
    "equalized_odds_ratio",
    "predictive_parity_difference",
    "false_positive_rate_difference",
    "false_negative_rate_difference",
    "accuracy_difference",
    "worst_group_accuracy",
    "calibration_difference",
    "mean_error_difference",
    "mae_difference",
    "worst_group_mae",
]
#: The largest gap or smallest ratio of two groups, or the lowest or highest value of one.
Kind = Literal["difference", "ratio", "lowest", "highest"]


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric: the parts that are compared, and which of all comparisons is the value."""

    kind: Kind
    parts: tuple[str, ...]
    tasks: tuple[Task, ...] = ("binary",)
    #: The constraint under which fairlearn's ThresholdOptimizer aims at it; empty where there is none.
    constraint: str = ""

    @property
    def comparator(self) -> Comparator:
        """On which side of its bound the metric must lie."""
        return ">=" if self.kind in ("ratio", "lowest") else "<="

    @property
    def bound(self) -> Literal["max", "min"]:
        """The name of the parameter that bounds it."""
        return "min" if self.comparator == ">=" else "max"


_CLASSES: tuple[Task, ...] = ("binary", "multiclass")
_AMOUNTS: tuple[Task, ...] = ("regression",)
_SELECTION, _TRUE, _FALSE = ("selection rate",), ("true-positive rate",), ("false-positive rate",)
_ODDS = (*_TRUE, *_FALSE)

METRICS: dict[Metric, Definition] = {
    "demographic_parity_difference": Definition("difference", _SELECTION, _CLASSES, "demographic_parity"),
    "demographic_parity_ratio": Definition("ratio", _SELECTION, _CLASSES, "demographic_parity"),
    "equal_opportunity_difference": Definition("difference", _TRUE, constraint="true_positive_rate_parity"),
    "equal_opportunity_ratio": Definition("ratio", _TRUE, constraint="true_positive_rate_parity"),
    "equalized_odds_difference": Definition("difference", _ODDS, constraint="equalized_odds"),
    "equalized_odds_ratio": Definition("ratio", _ODDS, constraint="equalized_odds"),
    "predictive_parity_difference": Definition("difference", ("positive predictive value",)),
    "false_positive_rate_difference": Definition(
        "difference", _FALSE, constraint="false_positive_rate_parity"
    ),
    "false_negative_rate_difference": Definition(
        "difference", ("false-negative rate",), constraint="false_negative_rate_parity"
    ),
    "accuracy_difference": Definition("difference", ("accuracy",), _CLASSES),
    "worst_group_accuracy": Definition("lowest", ("accuracy",), _CLASSES),
    "calibration_difference": Definition("difference", ("mean of label minus score",)),
    "mean_error_difference": Definition("difference", ("mean error",), _AMOUNTS),
    "mae_difference": Definition("difference", ("mean absolute error",), _AMOUNTS),
    "worst_group_mae": Definition("highest", ("mean absolute error",), _AMOUNTS),
}


def require_fit(metric: Metric, task: Task, *, has_max: bool, has_min: bool) -> Definition:
    """Return the metric's definition, if it suits the label and the bounds that were written.

    Raises:
        CheckError: it does not; the message names the metrics or the bound that would.
    """
    definition = METRICS[metric]
    if task not in definition.tasks:
        fitting = ", ".join(name for name, other in METRICS.items() if task in other.tasks)
        needed = " or ".join(definition.tasks)
        raise CheckError(f"{metric} needs a {needed} label, and this one is {task}. Accepted here: {fitting}")
    if (has_max and definition.bound == "min") or (has_min and definition.bound == "max"):
        raise CheckError(f"{metric} takes the bound {definition.bound}=, not the other one")
    return definition
