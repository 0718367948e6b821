"""Confidence intervals as small pure functions, each with its source; every verdict rests on one of them.

Each function takes `Tails`, the one-sided error at either end, because the two ends of an interval that
decides about a release do not have the same price (see `pytest_mlgate.levels`).
"""

from .auc import (
    RocArea,
    RocAreaPair,
    auc_difference_interval,
    auc_interval,
    roc_area,
    roc_area_pair,
)
from .calibration import CalibrationError, calibration_error_interval
from .comparisons import difference_interval, ratio_interval
from .equivalence import absolute_interval
from .means import (
    geometric_mean_interval,
    mean_interval,
    paired_mean_interval,
    skewed_mean_interval,
    welch_interval,
)
from .paired import paired_difference_interval
from .power import (
    MOST_ROWS,
    auc_rows,
    difference_rows,
    paired_rows,
    proportion_power,
    proportion_rows,
    rows_to_decide,
)
from .proportions import clopper_pearson, wilson
from .quantiles import next_value_interval, quantile_interval, runs_for_percentile
from .shift import kolmogorov_smirnov_interval, total_variation_interval

__all__ = [
    "MOST_ROWS",
    "CalibrationError",
    "RocArea",
    "RocAreaPair",
    "absolute_interval",
    "auc_difference_interval",
    "auc_interval",
    "auc_rows",
    "calibration_error_interval",
    "clopper_pearson",
    "difference_interval",
    "difference_rows",
    "geometric_mean_interval",
    "kolmogorov_smirnov_interval",
    "mean_interval",
    "next_value_interval",
    "paired_difference_interval",
    "paired_mean_interval",
    "paired_rows",
    "proportion_power",
    "proportion_rows",
    "quantile_interval",
    "ratio_interval",
    "roc_area",
    "roc_area_pair",
    "rows_to_decide",
    "runs_for_percentile",
    "skewed_mean_interval",
    "total_variation_interval",
    "welch_interval",
    "wilson",
]
