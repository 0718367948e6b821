"""Confidence intervals as small pure functions, each with its source; every verdict rests on one of them.

Each function takes `Tails`, the one-sided error at either end, because the two ends of an interval that
decides about a release do not have the same price (see `pytest_mlgate.levels`).
"""

from .auc import auc_difference_interval, auc_interval
from .paired import paired_difference_interval
from .proportions import clopper_pearson, difference_interval, ratio_interval, wilson
from .quantiles import (
    geometric_mean_interval,
    mean_interval,
    next_value_interval,
    runs_for_percentile,
)
from .shift import kolmogorov_smirnov_interval, total_variation_interval

__all__ = [
    "auc_difference_interval",
    "auc_interval",
    "clopper_pearson",
    "difference_interval",
    "geometric_mean_interval",
    "kolmogorov_smirnov_interval",
    "mean_interval",
    "next_value_interval",
    "paired_difference_interval",
    "ratio_interval",
    "runs_for_percentile",
    "total_variation_interval",
    "wilson",
]
