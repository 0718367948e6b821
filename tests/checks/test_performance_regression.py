"""The performance check on amounts: errors of predicted values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from mlgate_checks.performance import performance
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Findings, Identity, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.subject import Subject

METRICS = ("mae", "mse", "rmse", "r2", "mean_error", "absolute_error_quantile")
DROPS = tuple(m for m in METRICS if m != "mean_error")


class ReadsColumn:
    """A model that predicts what a column holds."""

    output = "value"
    threshold = 0.5

    def __init__(self, column: str) -> None:
        self.column = column
        self.identity = Identity(name=column, kind="test", digest=f"sha256:{column}")

    def predict(self, frame: Any) -> np.ndarray:
        return np.asarray(frame[self.column].to_numpy(), np.float64)

    predict_proba = predict


def amounts(rows: int, seed: int = 0, spread: float = 1.0, bias: float = 0.0) -> pd.DataFrame:
    """Targets with two predictions of them; the error of `new` spreads as told and is skewed."""
    rng = np.random.default_rng(seed)
    target = 10 + 3 * rng.normal(size=rows)
    shared = rng.normal(size=rows)
    old = target + 0.8 * shared + 0.6 * rng.normal(size=rows)
    new = target + bias + spread * (0.8 * shared + 0.6 * (rng.exponential(size=rows) - 1))
    return pd.DataFrame({"label": target, "old": old, "new": new, "g": rng.choice(["a", "b"], rows)})


def subject(frame: pd.DataFrame, baseline: str | None = "old") -> Subject:
    release = ReadsColumn("new")
    data = Dataset(test=frame, label="label", features=("new",), sensitive=("g",), task="regression")
    other = None if baseline is None else ReadsColumn(baseline)
    return Subject(release, release, other, data, None, levels_for(0.05, 1), 0)


def check(on: Subject, metric: str, **parameters: Any) -> Findings:
    return performance.function(on, metric=metric, **parameters)


def oracle(metric: str, frame: pd.DataFrame, column: str = "new") -> float:
    truth, predicted = frame["label"], frame[column]
    if metric == "mean_error":
        return float(abs((predicted - truth).mean()))
    if metric == "absolute_error_quantile":
        return float(np.quantile(np.abs(predicted - truth), 0.9, method="inverted_cdf"))
    functions = {
        "mae": sk.mean_absolute_error,
        "mse": sk.mean_squared_error,
        "rmse": sk.root_mean_squared_error,
        "r2": sk.r2_score,
    }
    return float(functions[metric](truth, predicted))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(3))
def test_values_are_those_of_scikit_learn(metric: str, seed: int):
    """Level and drop equal scikit-learn's figures to 1e-12, and a drop is always what got worse."""
    frame = amounts(400, seed, bias=0.2)
    drop = {"max_drop": 1.0} if metric in DROPS else {}
    found = check(subject(frame), metric, **drop)
    assert found.measurements[0].value == pytest.approx(oracle(metric, frame), abs=1e-12)
    if drop:
        sign = 1 if metric == "r2" else -1
        expected = sign * (oracle(metric, frame, "old") - oracle(metric, frame))
        assert found.measurements[1].value == pytest.approx(expected, abs=1e-12)
        interval = found.measurements[1].interval
        assert interval is not None
        assert interval.low < expected < interval.high


def verdicts(found: Findings, parameter: str, bound: float) -> list[Verdict]:
    comparator = ">=" if parameter.startswith("min") else "<="
    requirement = Requirement(
        id="p", check="performance", parameter=parameter, comparator=comparator, bound=bound, source="test"
    )
    return [j.verdict for j in judge([requirement], found.measurements)]


@pytest.mark.parametrize("metric", METRICS)
def test_a_bound_passes_and_fails(metric: str):
    """A model within the bound passes; one well outside fails."""
    frame = amounts(2_000, bias=0.3)
    value = oracle(metric, frame)
    parameter, good = ("min", value - 0.3) if metric == "r2" else ("max", value * 1.5)
    bad = min(0.9999, value + 0.05) if metric == "r2" else value * 0.5
    assert verdicts(check(subject(frame), metric, **{parameter: good}), parameter, good) == [Verdict.PASS]
    assert verdicts(check(subject(frame), metric, **{parameter: bad}), parameter, bad) == [Verdict.FAIL]


@pytest.mark.parametrize("metric", DROPS)
def test_the_drop_passes_an_equal_model_and_fails_a_worse_one(metric: str):
    """Non-inferiority passes errors of the same spread and fails twice the spread."""
    limit = 0.05 if metric == "r2" else 0.3
    same = check(subject(amounts(3_000)), metric, max_drop=limit)
    worse = check(subject(amounts(3_000, spread=2.5)), metric, max_drop=limit)
    assert verdicts(same, "max_drop", limit) == [Verdict.PASS]
    assert verdicts(worse, "max_drop", limit) == [Verdict.FAIL]


@pytest.mark.parametrize("metric", METRICS)
def test_intervals_cover_the_truth(metric: str):
    """Over 300 samples of 200 rows, level and drop are inside their 95% intervals in at least 91.5%."""
    level = oracle(metric, amounts(400_000, 77, bias=0.1))
    old = oracle(metric, amounts(400_000, 77, bias=0.1), "old")
    drop = (old - level) if metric == "r2" else (level - old)
    covered = np.zeros(2)
    for seed in range(300):
        asked = {"max_drop": 1.0} if metric in DROPS else {}
        found = check(subject(amounts(200, seed, bias=0.1)), metric, **asked)
        for position, value in enumerate((level, drop) if asked else (level,)):
            interval = found.measurements[position].interval
            assert interval is not None
            covered[position] += interval.low <= value <= interval.high
    assert covered[0] >= 274, covered
    assert metric == "mean_error" or covered[1] >= 274, covered


def test_the_quantile_is_open_above_with_too_few_rows():
    """Ten rows cannot bound the 0.99 quantile from above, and the verdict stays open."""
    found = check(subject(amounts(10)), "absolute_error_quantile", quantile=0.99, max=100.0)
    interval = found.measurements[0].interval
    assert interval is not None
    assert interval.high is None
    assert verdicts(found, "max", 100.0) == [Verdict.INCONCLUSIVE]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_predictions_that_are_no_numbers_are_refused(value: float):
    """One infinite prediction makes every mean error infinite; it is counted and named."""
    frame = amounts(100)
    frame.loc[3, "new"] = value
    with pytest.raises(CheckError, match="NaN or infinity for 1 of 100"):
        check(subject(frame), "mae", max=1.0)


def test_perfect_predictions_leave_no_interval():
    """Where every error is 0 there is nothing to take an interval from, and leakage is suspected."""
    frame = amounts(50)
    with pytest.raises(CheckError, match="is the label among the features"):
        check(subject(frame.assign(new=frame["label"]), baseline=None), "mae", max=1.0)


def test_metrics_of_classes_are_refused():
    """The message names what a regression has."""
    with pytest.raises(CheckError, match="Accepted here: mae, mse, rmse, r2, mean_error"):
        check(subject(amounts(50)), "roc_auc", min=0.5)


def test_a_classifier_is_no_regression_model():
    """Probabilities are not taken for amounts."""
    on = subject(amounts(50))
    on.release.output = "probability"  # type: ignore[misc]
    with pytest.raises(CheckError, match="output='value'"):
        check(on, "mae", max=1.0)


def test_the_mean_error_has_no_paired_drop():
    """Absolute values of two means have no smooth difference: another metric is named."""
    with pytest.raises(CheckError, match="choose mae"):
        check(subject(amounts(50)), "mean_error", max_drop=1.0)


def test_slices_and_errors_are_shown():
    """Every group has its own figure, and the table tells the sizes of errors."""
    frame = amounts(300)
    found = check(subject(frame), "mae", slices=("g",), max_slice=2.0)
    for m in found.measurements:
        if m.bound == "max_slice":
            mine = frame[frame["g"] == m.scope.removeprefix("g=")]
            assert m.value == pytest.approx(oracle("mae", mine), abs=1e-12)
    assert found.tables[0].rows[0][2] == pytest.approx(oracle("mae", frame))
