"""The conformal check: coverage that is judged with the calibration set's own luck, sizes, and abstention."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom

from mlgate_checks._coverage import at_least, marginal_coverage_interval
from mlgate_checks.conformal import conformal
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Findings, Grade, Identity, Measurement, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import Tails, levels_for
from pytest_mlgate.subject import Subject

LEVELS = levels_for(0.05, 1)
TAILS = Tails(lower=0.025, upper=0.025)


class ReadsColumns:
    """A model whose answers are columns of the table."""

    threshold = 0.5

    def __init__(self, *columns: str, output: str = "probability") -> None:
        self.columns = columns
        self.output = output
        self.identity = Identity(name=columns[0], kind="test", digest=f"sha256:{columns}")

    def predict_proba(self, frame: Any) -> np.ndarray:
        scores = np.stack([frame[name].to_numpy() for name in self.columns], axis=1).astype(np.float64)
        return scores if len(self.columns) > 1 else scores[:, 0]

    predict = predict_proba


def classes(rows: int, rng: np.random.Generator, fitted: bool = False) -> pd.DataFrame:
    """Rows of three classes with calibrated scores; `fitted` ones are answered as a model does its own."""
    logits = 1.5 * rng.normal(size=(rows, 3))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rng.random(rows)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    if fitted:
        chances = 0.3 * chances + 0.7 * np.eye(3)[truth]
    frame = pd.DataFrame({"label": np.asarray(["ant", "bee", "cow"])[truth]})
    return frame.assign(a=chances[:, 0], b=chances[:, 1], c=chances[:, 2], g=rng.choice(["m", "f"], rows))


def of_classes(test: pd.DataFrame, train: pd.DataFrame | None, **parameters: Any) -> Findings:
    model = ReadsColumns("a", "b", "c")
    data = Dataset(test=test, train=train, label="label", features=("a", "b", "c"), sensitive=("g",))
    return conformal.function(Subject(model, model, None, data, None, LEVELS, 0), **parameters)


def split(rows: int = 2_000, calibration: int = 1_000, seed: int = 0, fitted: bool = False) -> Any:
    rng = np.random.default_rng(seed)
    return classes(rows, rng), classes(calibration, rng, fitted)


def amounts(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    frame = pd.DataFrame({"label": 3 * rng.normal(size=rows), "g": rng.choice(["m", "f"], rows)})
    frame["new"] = frame["label"] + rng.normal(size=rows)
    return frame.assign(low=frame["new"] - 1.645, high=frame["new"] + 1.645)


def of_amounts(test: pd.DataFrame, train: pd.DataFrame | None, **parameters: Any) -> Findings:
    model = ReadsColumns("new", output="value")
    data = Dataset(
        test=test, train=train, label="label", features=("new",), sensitive=("g",), task="regression"
    )
    return conformal.function(Subject(model, model, None, data, None, LEVELS, 0), **parameters)


def verdicts(found: Findings, parameter: str, bound: float) -> list[Verdict]:
    comparator = "<=" if parameter.startswith("max") else ">="
    requirement = Requirement(
        id="c", check="conformal", parameter=parameter, comparator=comparator, bound=bound, source="test"
    )
    return [j.verdict for j in judge([requirement], found.measurements)]


def named(found: Findings, metric: str, scope: str = "") -> Measurement:
    return next(m for m in found.measurements if (m.metric, m.scope) == (metric, scope))


@given(st.integers(1, 400), st.floats(0, 1), st.floats(0.05, 0.99), st.integers(5, 600))
@settings(max_examples=60, deadline=None)
def test_tail_probabilities_are_scipys_beta_binomial(n: int, share: float, coverage: float, rows: int):
    """The integral over calibration sets is the beta-binomial tail."""
    k = round(share * n)
    expected = betabinom.sf(k - 1, n, coverage * (rows + 1), (1 - coverage) * (rows + 1))
    assert at_least(k, n, coverage, rows) == pytest.approx(expected, abs=1e-6)


@given(st.integers(1, 2_000), st.floats(0, 1), st.integers(20, 2_000))
@settings(max_examples=40, deadline=None)
def test_the_ends_are_where_the_beta_binomial_test_just_accepts(n: int, share: float, rows: int):
    """At either end the tail probability of what was seen is that end's level, and the share is inside."""
    k = round(share * n)
    low, high = marginal_coverage_interval(k, n, rows, TAILS)
    assert 0 <= low <= k / n <= high <= 1
    if k > 0:
        assert betabinom.sf(k - 1, n, low * (rows + 1), (1 - low) * (rows + 1)) == pytest.approx(
            0.025, abs=1e-6
        )
    if k < n:
        assert betabinom.cdf(k, n, high * (rows + 1), (1 - high) * (rows + 1)) == pytest.approx(
            0.025, abs=1e-6
        )


@pytest.mark.parametrize(("covered", "n", "rows"), [(1, 0, 10), (5, 4, 10), (1, 2, 0)])
def test_impossible_counts_are_refused(covered: int, n: int, rows: int):
    """Counts that cannot be raise instead of giving a number."""
    with pytest.raises(ValueError, match="covered of"):
        marginal_coverage_interval(covered, n, rows, TAILS)


def test_valid_procedures_are_not_blocked():
    """Of valid procedures at 0.9 a point rule blocks about half, the check fails at most 4% of them."""
    failed = pointed = covered = 0
    for seed in range(200):
        test, train = split(1_000, 300, seed)
        found = of_classes(test, train, min_coverage=0.9, calibration_share=1.0)
        failed += verdicts(found, "min_coverage", 0.9) == [Verdict.FAIL]
        m = named(found, "coverage")
        pointed += (m.value or 0) < 0.9
        assert m.interval is not None
        covered += m.interval.low <= 271 / 301 <= m.interval.high
    assert failed <= 8
    assert pointed > 60
    assert covered >= 184


def test_coverage_passes_a_little_below_the_level():
    """With rows enough, a procedure of level 0.9 is shown to cover at least 0.86."""
    test, train = split(3_000, 3_000)
    found = of_classes(test, train, min_coverage=0.86, calibration_share=1.0)
    assert verdicts(found, "min_coverage", 0.86) == [Verdict.PASS]


def test_calibrating_on_rows_the_model_was_fitted_to_fails():
    """Sets from rows that the model knows cover too little, and the check says so."""
    test, train = split(3_000, 1_000, fitted=True)
    found = of_classes(test, train, min_coverage=0.88, calibration_share=1.0)
    assert verdicts(found, "min_coverage", 0.88) == [Verdict.FAIL]
    assert "not fitted to" in (found.assumptions or {})["calibration rows"]


def test_sets_and_sizes_are_those_of_the_definition():
    """The threshold is the order statistic that the theory names; sizes and coverage follow from it."""
    test, train = split(500, 99)
    found = of_classes(test, train, min_coverage=0.8, max_set_size=3.0, calibration_share=1.0)
    columns = {"ant": "a", "bee": "b", "cow": "c"}
    misfit = np.sort([1 - row[columns[row["label"]]] for _, row in train.iterrows()])
    q = misfit[89]  # ceil(100 * 0.9) = 90th
    sets = 1 - test[["a", "b", "c"]].to_numpy() <= q
    truth = test["label"].map({"ant": 0, "bee": 1, "cow": 2}).to_numpy()
    assert named(found, "coverage").value == sets[np.arange(500), truth].mean()
    size = named(found, "set_size")
    assert size.value == sets.sum(axis=1).mean()
    assert size.interval is not None
    assert size.interval.low < size.value < size.interval.high
    assert verdicts(found, "max_set_size", 3.0) == [Verdict.PASS]


def test_coverage_by_group_is_a_family():
    """Each group has its own share, judged at a divided level; a group that is not covered fails."""
    test, train = split(4_000, 1_000)
    wrong = (test["g"] == "f") & (np.arange(len(test)) % 3 == 0)
    test.loc[wrong, ["a", "b", "c"]] = test.loc[wrong, ["b", "c", "a"]].to_numpy()
    found = of_classes(test, train, groups=("g",), min_group_coverage=0.85, calibration_share=1.0)
    assert verdicts(found, "min_group_coverage", 0.85) == [Verdict.FAIL, Verdict.PASS]
    assert [m.scope for m in found.measurements if m.bound == "min_group_coverage"] == ["g=f", "g=m"]


def test_a_column_marks_the_calibration_rows():
    """Only the rows that the column marks calibrate."""
    test, train = split(500, 400)
    train["held"] = [1, 0] * 200
    found = of_classes(test, train, min_coverage=0.8, calibration_column="held")
    assert "200 rows" in (found.assumptions or {})["calibration rows"]
    alone = of_classes(test, train[train["held"] == 1], min_coverage=0.8, calibration_share=1.0)
    assert named(found, "coverage").value == named(alone, "coverage").value


def test_a_share_is_drawn_with_the_seed():
    """The same share is drawn in every run."""
    test, train = split(300, 500)
    values = [named(of_classes(test, train, calibration_share=0.4), "coverage").value for _ in range(2)]
    assert values[0] == values[1]


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({}, r"Say which.*calibration_column.*calibration_share"),
        ({"calibration_share": 0.5, "calibration_column": "held"}, "Say which"),
        ({"calibration_share": 1.5}, "outside 0 to 1"),
        ({"calibration_column": "nowhere"}, "not a column"),
        ({"calibration_column": "label"}, "other values than 0 and 1"),
        ({"calibration_column": "none"}, "marks no row"),
        ({"calibration_share": 0.02}, "at least 10"),
        ({"calibration_share": 1.0, "level": 1.0}, "level=1"),
        ({"calibration_share": 1.0, "min_group_coverage": 0.8}, "none is named"),
        ({"min_selective_accuracy": 0.9}, "answered_from"),
        ({"lower": "a"}, "both columns"),
        ({"lower": "a", "upper": "b"}, "regression"),
    ],
)
def test_what_is_missing_or_contradicts_is_told(parameters: dict[str, Any], told: str):
    """Every way to ask for something that cannot be measured ends in words that say what to write."""
    test, train = split(200, 200)
    with pytest.raises(CheckError, match=told):
        of_classes(test, train.assign(none=0, held=1), **parameters)


def test_without_training_rows_there_is_nothing_to_calibrate_on():
    """The message names the ways to give a training table."""
    test, _ = split(100, 100)
    with pytest.raises(CheckError, match="needs the training table"):
        of_classes(test, None, min_coverage=0.9, calibration_share=0.5)


def test_test_rows_cannot_calibrate():
    """The test table under the name of the training table is recognised by its rows."""
    test, _ = split(300, 10)
    with pytest.raises(CheckError, match="300 of 300 calibration rows are test rows too"):
        of_classes(test, test.copy(), min_coverage=0.9, calibration_share=1.0)


def test_a_class_that_training_never_saw_is_refused():
    """Its score cannot be told, and the message names it."""
    test, train = split(300, 300)
    with pytest.raises(CheckError, match="'cow'"):
        of_classes(test, train[train["label"] != "cow"], min_coverage=0.9, calibration_share=1.0)


@pytest.mark.parametrize("score", [np.nan, 1.5])
def test_broken_scores_are_refused(score: float):
    """NaN and impossible probabilities are errors, in calibration rows too."""
    test, train = split(200, 200)
    train.loc[3, "a"] = score
    with pytest.raises(CheckError, match=r"NaN or infinity for 1 of 200 train rows|no probabilities"):
        of_classes(test, train, min_coverage=0.9, calibration_share=1.0)


def test_a_regression_gets_intervals_of_one_width():
    """The width is twice the calibrated quantile of the absolute error, exact given the calibration rows."""
    rng = np.random.default_rng(0)
    test, train = amounts(2_000, rng), amounts(999, rng)
    found = of_amounts(test, train, min_coverage=0.86, max_set_size=4.0, calibration_share=1.0)
    q = np.sort(np.abs(train["new"] - train["label"]))[899]
    size = named(found, "set_size")
    assert size.value == pytest.approx(2 * q)
    assert size.interval is not None
    assert size.interval.low == size.interval.high
    assert verdicts(found, "min_coverage", 0.86) == [Verdict.PASS]


@pytest.mark.parametrize(("wider", "verdict"), [(1.0, Verdict.PASS), (0.6, Verdict.FAIL)])
def test_intervals_of_the_users_own_are_judged_by_their_coverage(wider: float, verdict: Verdict):
    """Two columns of the test table are read as ends; intervals that are too narrow fail."""
    test = amounts(3_000, np.random.default_rng(1))
    test = test.assign(low=test["new"] - 1.645 * wider, high=test["new"] + 1.645 * wider)
    found = of_amounts(test, None, lower="low", upper="high", min_coverage=0.88, max_set_size=4.0)
    assert verdicts(found, "min_coverage", 0.88) == [Verdict.NOT_RUN], "nobody saw the model make them"
    assert {m.grade for m in found.measurements if m.value is not None} == {Grade.DECLARED}
    measured = [dataclasses.replace(m, grade=Grade.MEASURED) for m in found.measurements]
    accepted = dataclasses.replace(found, measurements=tuple(measured))
    assert verdicts(accepted, "min_coverage", 0.88) == [verdict]
    inside = (test["low"] <= test["label"]) & (test["label"] <= test["high"])
    assert named(found, "coverage").value == inside.mean()
    assert named(found, "set_size").value == pytest.approx(2 * 1.645 * wider)


@pytest.mark.parametrize(
    ("change", "told"),
    [({"low": np.nan}, "in 200 of 200"), ({"low": 99.0}, "above 'high'"), ({"low": "x"}, "not numeric")],
)
def test_intervals_that_are_none_are_refused(change: dict[str, Any], told: str):
    """Missing or crossing ends are counted, not skipped."""
    test = amounts(200, np.random.default_rng(1)).assign(**change)
    with pytest.raises(CheckError, match=told):
        of_amounts(test, None, lower="low", upper="high", min_coverage=0.9)


def test_answers_are_judged_where_the_model_is_sure():
    """Accuracy and share of the rows that are answered are those of the rows, each with an exact interval."""
    test, _ = split(3_000, 10)
    scores = test[["a", "b", "c"]].to_numpy()
    sure = scores.max(axis=1) >= 0.8
    right = np.asarray(["ant", "bee", "cow"])[scores.argmax(axis=1)] == test["label"]
    found = of_classes(test, None, answered_from=0.8, min_selective_accuracy=0.8, min_answered_share=0.2)
    accuracy, share = named(found, "selective_accuracy"), named(found, "answered_share")
    assert accuracy.value == right[sure].mean()
    assert (accuracy.n, share.value) == (sure.sum(), sure.mean())
    assert verdicts(found, "min_selective_accuracy", 0.8) == [Verdict.PASS]
    assert verdicts(found, "min_answered_share", 0.2) == [Verdict.PASS]
    (series,) = found.charts[0].series
    assert series.x[-1] == 1
    assert series.y[-1] == pytest.approx(right.mean())
    assert not any(m.metric == "coverage" for m in found.measurements)


def test_a_model_that_answers_nothing_is_not_run():
    """No answered row leaves the accuracy without a value, and the share at 0."""
    test, _ = split(200, 10)
    found = of_classes(test, None, answered_from=1.01, min_selective_accuracy=0.8, min_answered_share=0.2)
    accuracy = named(found, "selective_accuracy")
    assert (accuracy.value, accuracy.grade) == (None, Grade.MISSING)
    assert verdicts(found, "min_selective_accuracy", 0.8) == [Verdict.NOT_RUN]
    assert verdicts(found, "min_answered_share", 0.2) == [Verdict.FAIL]


def test_amounts_cannot_be_answered_surely():
    """A regression has no probability of being right."""
    test = amounts(100, np.random.default_rng(0))
    with pytest.raises(CheckError, match="selective prediction needs probabilities"):
        of_amounts(test, None, answered_from=0.8, min_selective_accuracy=0.9)


def test_few_test_rows_decide_nothing():
    """Fifty rows leave a coverage near its bound open."""
    test, train = split(50, 200)
    found = of_classes(test, train, min_coverage=0.9, calibration_share=1.0)
    assert verdicts(found, "min_coverage", 0.9) == [Verdict.INCONCLUSIVE]
