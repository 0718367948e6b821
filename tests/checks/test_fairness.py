"""The fairness check: fairlearn's values, verdicts on data of known truth, and what it refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fairlearn import metrics
from sklearn.metrics import precision_score

from mlgate_checks._fair_measure import _answers_alike
from mlgate_checks._fair_metrics import METRICS, Metric
from mlgate_checks.fairness import fairness
from pytest_mlgate import codec
from pytest_mlgate.candidate.model import OnnxModel
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Comparator, Findings, Grade, Identity, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.subject import Subject

DIFFERENCES: tuple[Metric, ...] = (
    "demographic_parity_difference",
    "equal_opportunity_difference",
    "equalized_odds_difference",
)
LEVELS = levels_for(0.05, 1)
BINARY = [name for name, definition in METRICS.items() if "binary" in definition.tasks]
REGRESSION = [name for name, definition in METRICS.items() if "regression" in definition.tasks]


class ReadsColumn:
    """A model whose score is a column of the table."""

    threshold = 0.5
    output = "probability"

    def __init__(self, column: str = "score") -> None:
        self.column = column
        self.identity = Identity(name=column, kind="test", digest=f"sha256:{column}")

    def predict_proba(self, frame: Any) -> np.ndarray:
        return np.asarray(frame[self.column].to_numpy(), dtype=np.float64)

    predict = predict_proba


class ReadsValue(ReadsColumn):
    """A regression whose answer is a column of the table."""

    output = "value"


class ReadsClasses(ReadsColumn):
    """A model of three classes that is sure of the class in a column."""

    def predict_proba(self, frame: Any) -> np.ndarray:
        return np.eye(3)[np.asarray(frame[self.column].to_numpy(), dtype=int)]

    predict = predict_proba


def subject(
    frame: pd.DataFrame,
    parent: str = "score",
    baseline: str = "",
    kind: type[ReadsColumn] = ReadsColumn,
    **data: Any,
) -> Subject:
    release = kind()
    return Subject(
        release=release,
        parent=release if parent == "score" else kind(parent),
        baseline=kind(baseline) if baseline else None,
        data=Dataset(test=frame, label="label", features=("score",), sensitive=("race", "sex"), **data),
        training_record=None,
        levels=LEVELS,
        seed=0,
    )


def table(
    rows: int,
    selection: Sequence[float] = (0.5, 0.5, 0.5),
    shares: Sequence[float] = (0.7, 0.2, 0.1),
    seed: int = 0,
) -> pd.DataFrame:
    """Rows whose selection rate depends on race alone, and whose label is a fair coin."""
    rng = np.random.default_rng(seed)
    race = rng.choice(len(shares), size=rows, p=shares)
    return pd.DataFrame(
        {
            "race": np.asarray(["white", "black", "hispanic", "asian", "other", "two"])[race],
            "sex": rng.choice(["female", "male"], rows),
            "label": rng.integers(0, 2, rows),
            "score": np.where(rng.random(rows) < np.asarray(selection)[race], 0.9, 0.1),
        }
    )


def check(frame: pd.DataFrame, metric: str = DIFFERENCES[0], **parameters: Any) -> Findings:
    given = {
        name: parameters.pop(name)
        for name in ("parent", "baseline", "kind", "task", "bins")
        if name in parameters
    }
    parameters.setdefault("sensitive", ("race",))
    found = fairness.function(subject(frame, **given), metric=metric, **parameters)
    return codec.from_json(codec.to_json(found), Findings)


def bounds(metric: str, red: bool = False) -> dict[str, float]:
    """A bound of the metric's own kind; `red` is one that no model of a gap meets."""
    if METRICS[metric].bound == "max":
        return {"max": 0.02 if red else 0.5}
    return {"min": 0.98 if red else 0.3}


def verdicts(findings: Findings, bound: float, parameter: str = "max") -> list[Verdict]:
    comparator: Comparator = ">=" if parameter == "min" else "<="
    requirement = Requirement(
        id="f", check="fairness", parameter=parameter, comparator=comparator, bound=bound, source="test"
    )
    return [j.verdict for j in judge([requirement], findings.measurements)]


def with_scores(frame: pd.DataFrame, noise: float = 0.25, seed: int = 0) -> pd.DataFrame:
    """The same rows with scores in 0 to 1 that lie on the side of 0.5 they were on."""
    rng = np.random.default_rng(seed)
    return frame.assign(score=np.clip(frame["score"] + noise * (rng.random(len(frame)) - 0.5), 0, 1))


def expected(metric: str, frame: pd.DataFrame, groups: pd.Series) -> float:
    """What fairlearn says of the rows; where it has no such metric, its MetricFrame of the same rates."""
    label, answer = frame["label"], (frame["score"] >= 0.5).astype(int)
    names = {
        "accuracy_difference": "accuracy_score_difference",
        "worst_group_accuracy": "accuracy_score_group_min",
    }
    if metric == "predictive_parity_difference":
        by = metrics.MetricFrame(
            metrics=precision_score, y_true=label, y_pred=answer, sensitive_features=groups
        )
        return float(by.difference())
    if metric == "calibration_difference":
        means = (label - frame["score"]).groupby(groups).mean()
        return float(means.max() - means.min())
    function: Any = getattr(metrics, names.get(metric, metric))
    return float(function(label, answer, sensitive_features=groups))


@pytest.mark.parametrize("metric", BINARY)
@pytest.mark.parametrize("seed", range(3))
def test_values_are_those_of_fairlearn_on_the_rows(metric: str, seed: int):
    """The value of every scope equals fairlearn's to 1e-12, and lies in its interval."""
    frame = with_scores(table(700, selection=(0.6, 0.45, 0.5), seed=seed), seed=seed)
    findings = check(frame, metric, sensitive=("race", "sex"), **bounds(metric))
    assert [m.scope for m in findings.measurements] == ["race", "sex", "race*sex"]
    for m in findings.measurements:
        groups = frame[m.scope.split("*")].agg("*".join, axis=1)
        assert m.value == pytest.approx(expected(metric, frame, groups), abs=1e-12)
        assert m.interval is not None
        assert m.interval.low - 1e-12 <= m.value <= m.interval.high + 1e-12


@pytest.mark.parametrize("metric", BINARY)
def test_every_binary_metric_is_green_and_red(metric: str):
    """On 20,000 rows a model that treats groups alike passes, and one that does not fails."""
    rng = np.random.default_rng(1)
    fair = table(20_000, shares=(0.5, 0.3, 0.2))
    fair["score"] = np.where(rng.random(20_000) < np.where(fair["label"] == 1, 0.8, 0.2), 0.9, 0.1)
    unfair, black = fair.copy(), fair["race"] == "black"
    worse = rng.random(20_000) < np.where(fair["label"] == 1, 0.2, 0.4)
    unfair.loc[black, "score"] = np.where(worse, 0.9, 0.1)[black]
    bound = {"max": 0.1} if METRICS[metric].bound == "max" else {"min": 0.7}
    kind, limit = next(iter(bound.items()))
    assert verdicts(check(fair, metric, **bound), limit, kind) == [Verdict.PASS]
    found = check(unfair, metric, **bound)
    assert verdicts(found, limit, kind) == [Verdict.FAIL], found.measurements
    assert "race=black" in found.measurements[0].detail


def amounts(rows: int, shift: float = 0.0, spread: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """Rows of a regression whose errors are standard normal, except those of one group."""
    rng = np.random.default_rng(seed)
    frame = table(rows, shares=(0.6, 0.3, 0.1), seed=seed)
    hit = frame["race"] == "black"
    frame["label"] = rng.normal(50, 10, rows)
    error = rng.standard_normal(rows)
    return frame.assign(score=frame["label"] + np.where(hit, spread * error + shift, error))


@pytest.mark.parametrize("seed", range(3))
def test_regression_values_are_those_of_the_rows(seed: int):
    """Mean and mean absolute error by group are those of the rows, and fairlearn's where it has them."""
    frame = amounts(500, 0.5, seed=seed)
    error = frame["score"] - frame["label"]
    wanted = {
        "mean_error_difference": np.ptp(error.groupby(frame["race"]).mean()),
        "mae_difference": np.ptp(error.abs().groupby(frame["race"]).mean()),
        "worst_group_mae": metrics.mean_absolute_error_group_max(
            frame["label"], frame["score"], sensitive_features=frame["race"]
        ),
    }
    for metric, value in wanted.items():
        found = check(frame, metric, max=3.0, kind=ReadsValue, task="regression").measurements[0]
        assert found.value == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("metric", REGRESSION)
def test_every_regression_metric_is_green_and_red(metric: str):
    """Equal errors pass; a group with larger and shifted errors fails, and is named."""
    bound = 1.2 if metric == "worst_group_mae" else 0.4
    given: dict[str, Any] = {"max": bound, "kind": ReadsValue, "task": "regression"}
    assert verdicts(check(amounts(5_000), metric, **given), bound) == [Verdict.PASS]
    found = check(amounts(5_000, shift=1.0, spread=2.0), metric, **given)
    assert verdicts(found, bound) == [Verdict.FAIL]
    assert "race=black" in found.measurements[0].detail


def test_a_regression_group_of_one_row_is_inconclusive():
    """One row has no spread, so its group decides nothing and is shown with its n."""
    frame = amounts(2_000)
    frame.loc[0, "race"] = "asian"
    found = check(frame, "mae_difference", max=0.4, kind=ReadsValue, task="regression")
    assert verdicts(found, 0.4) == [Verdict.INCONCLUSIVE]
    assert found.measurements[0].interval.high is None
    assert ("asian", 1) in [row[:2] for row in found.tables[0].rows]


def test_equal_errors_by_luck_are_not_certainty():
    """Two rows without any error in a group do not prove that the group has none."""
    frame = amounts(2_000)
    frame.loc[:1, "race"] = "asian"
    frame.loc[:1, "score"] = frame.loc[:1, "label"] + 0.8
    found = check(frame, "mae_difference", max=0.1, kind=ReadsValue, task="regression")
    assert verdicts(found, 0.1) == [Verdict.INCONCLUSIVE]


def classes(rows: int, right: Sequence[float], seed: int = 0) -> pd.DataFrame:
    """Rows of three classes, of which a share depending on race is answered rightly."""
    rng = np.random.default_rng(seed)
    frame = table(rows, shares=(0.5, 0.3, 0.2), seed=seed)
    place = frame["race"].map({"white": 0, "black": 1, "hispanic": 2}).to_numpy()
    label = rng.integers(0, 3, rows)
    wrong = (label + rng.integers(1, 3, rows)) % 3
    answer = np.where(rng.random(rows) < np.asarray(right)[place], label, wrong)
    return frame.assign(label=label, score=answer)


@pytest.mark.parametrize(
    ("metric", "bound"),
    [("accuracy_difference", {"max": 0.1}), ("worst_group_accuracy", {"min": 0.7})],
)
def test_accuracy_of_several_classes_is_green_and_red(metric: str, bound: dict[str, float]):
    """Accuracy by group is judged for any number of classes."""
    kind, limit = next(iter(bound.items()))
    fair, unfair = classes(9_000, (0.8, 0.8, 0.8)), classes(9_000, (0.8, 0.6, 0.8))
    assert verdicts(check(fair, metric, kind=ReadsClasses, **bound), limit, kind) == [Verdict.PASS]
    found = check(unfair, metric, kind=ReadsClasses, **bound)
    assert verdicts(found, limit, kind) == [Verdict.FAIL]
    right = (unfair["score"] == unfair["label"]).groupby(unfair["race"]).mean()
    value = right.min() if metric == "worst_group_accuracy" else np.ptp(right)
    assert found.measurements[0].value == pytest.approx(value, abs=1e-12)


def test_demographic_parity_of_several_classes_is_that_of_the_worst_class():
    """Each class against the rest is compared between groups; the largest gap decides and names its class."""
    frame = classes(9_000, (0.8, 0.8, 0.8))
    assert verdicts(check(frame, kind=ReadsClasses, max=0.1), 0.1) == [Verdict.PASS]
    hit = (frame["race"] == "black") & (frame["score"] == 1) & (np.arange(9_000) % 3 > 0)
    frame.loc[hit, "score"] = 2
    found = check(frame, kind=ReadsClasses, max=0.1)
    assert verdicts(found, 0.1) == [Verdict.FAIL]
    gaps = [
        metrics.demographic_parity_difference(
            frame["label"], frame["score"] == c, sensitive_features=frame["race"]
        )
        for c in range(3)
    ]
    assert found.measurements[0].value == pytest.approx(max(gaps), abs=1e-12)
    assert f"selection rate of class {int(np.argmax(gaps))}: race=" in found.measurements[0].detail


@pytest.mark.parametrize(
    ("metric", "given", "message"),
    [
        (
            "equalized_odds_difference",
            {"kind": ReadsClasses},
            "needs a binary label, and this one is multiclass",
        ),
        (
            "mae_difference",
            {},
            "needs a regression label, and this one is binary. Accepted here: demographic",
        ),
        ("accuracy_difference", {"kind": ReadsValue, "task": "regression"}, "Accepted here: mean_error_diff"),
    ],
)
def test_a_metric_of_another_task_is_refused_by_name(metric: str, given: dict[str, Any], message: str):
    """The message names the task, and the metrics that fit it."""
    frame = classes(300, (0.8, 0.8, 0.8)) if given.get("kind") is ReadsClasses else table(300)
    with pytest.raises(CheckError, match=message):
        check(frame, metric, max=0.1, **given)


def test_a_fair_model_never_fails():
    """In 40 samples of 600 rows a model that treats six groups alike is never judged `fail`."""
    rates, shares = [0.5] * 6, (0.4, 0.25, 0.15, 0.1, 0.06, 0.04)
    for seed in range(40):
        found = check(table(600, rates, shares, seed), "equalized_odds_difference", max=0.1)
        assert verdicts(found, 0.1) == [Verdict.INCONCLUSIVE]


def test_a_gap_of_a_quarter_mostly_fails_at_2000_rows():
    """A true gap of 0.25 fails a bound of 0.10 in at least 90% of samples of 2,000 rows."""
    failed = [
        verdicts(check(table(2_000, (0.6, 0.35, 0.6), seed=seed), max=0.1), 0.1) == [Verdict.FAIL]
        for seed in range(40)
    ]
    assert sum(failed) >= 36


def test_a_fair_model_passes_with_enough_rows():
    """With 20,000 rows a model that treats all groups alike passes in every scope."""
    frame = table(20_000, shares=(0.4, 0.3, 0.3))
    for metric in DIFFERENCES:
        found = check(frame, metric, sensitive=("race", "sex"), max=0.1)
        assert verdicts(found, 0.1) == [Verdict.PASS] * 3


@pytest.mark.parametrize(("black", "expected"), [(0.5, Verdict.PASS), (0.3, Verdict.FAIL)])
def test_the_ratio_answers_to_min(black: float, expected: Verdict):
    """The four-fifths rule passes equal rates and fails 0.3 against 0.5."""
    frame = table(20_000, (0.5, black, 0.5), (0.4, 0.3, 0.3))
    found = check(frame, "demographic_parity_ratio", min=0.8)
    assert verdicts(found, 0.8, "min") == [expected]


def test_equal_opportunity_looks_at_positives_only():
    """A gap among the positives fails, although the selection rates are equal."""
    frame = table(20_000, shares=(0.5, 0.5, 0.0))
    rng = np.random.default_rng(99)
    black, positive = frame["race"] == "black", frame["label"] == 1
    rate = np.where(black, np.where(positive, 0.3, 0.7), 0.5)
    frame["score"] = np.where(rng.random(len(frame)) < rate, 0.9, 0.1)
    assert verdicts(check(frame, max=0.1), 0.1) == [Verdict.PASS]
    found = check(frame, "equal_opportunity_difference", max=0.1)
    assert verdicts(found, 0.1) == [Verdict.FAIL]
    assert "positives)" in found.measurements[0].detail


@pytest.mark.parametrize(
    ("metric", "label", "missing"),
    [
        ("equal_opportunity_difference", 0, "no positives"),
        ("equalized_odds_difference", 0, "no positives"),
        ("equalized_odds_difference", 1, "no negatives"),
    ],
)
def test_a_group_without_a_denominator_is_never_zero(metric: str, label: int, missing: str):
    """A group in which the rate is undefined gives no value, names the group, and does not run."""
    frame = table(2_000)
    frame.loc[frame["race"] == "hispanic", "label"] = label
    found = check(frame, metric, max=0.9)
    assert found.measurements[0].value is None
    assert found.measurements[0].interval is None
    assert found.measurements[0].grade is Grade.MISSING
    assert "race=hispanic (n=" in found.measurements[0].detail
    assert missing in found.measurements[0].detail
    assert verdicts(found, 0.9) == [Verdict.NOT_RUN]


def test_a_ratio_of_zeros_is_not_measured():
    """Where nobody is selected, the ratio is undefined rather than 0 or 1."""
    found = check(table(500).assign(score=0.1), "demographic_parity_ratio", min=0.8)
    assert found.measurements[0].value is None
    assert "no row of any group is selected" in found.measurements[0].detail


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_tiny_group_can_neither_pass_nor_fail_a_fair_model(size: int):
    """A group of a few rows makes the verdict inconclusive, however its rows turned out."""
    for selected in (0.1, 0.9):
        frame = table(5_000, shares=(0.5, 0.5, 0.0))
        few = pd.DataFrame(
            {"race": ["asian"] * size, "sex": "male", "label": [0, 1, 0, 1, 0][:size], "score": selected}
        )
        found = check(pd.concat([frame, few], ignore_index=True), max=0.1)
        assert verdicts(found, 0.1) == [Verdict.INCONCLUSIVE]


def test_small_groups_may_be_left_out_and_are_named():
    """Under min_group_share a group is not judged, but shown in the table and named as not covered."""
    frame = table(5_000, shares=(0.5, 0.49, 0.01))
    frame.loc[frame["race"] == "hispanic", ["label", "score"]] = [0, 0.1]
    found = check(frame, max=0.1, min_group_share=0.02)
    assert verdicts(found, 0.1) == [Verdict.PASS]
    shown = found.tables[0]
    rows = {row[0]: dict(zip(shown.columns, row, strict=True)) for row in shown.rows}
    n = int((frame["race"] == "hispanic").sum())
    assert (rows["hispanic"]["n"], rows["hispanic"]["judged"]) == (n, "no")
    assert rows["hispanic"]["true-positive rate"] is None
    assert rows["black"]["judged"] == "yes"
    assert any(text.startswith(f"race=hispanic (n={n}, ") for text in found.not_covered)
    assert found.measurements[0].n == 5_000 - n


def test_a_column_with_one_group_left_is_not_measured():
    """Where only one group is large enough there is nothing to compare, and that blocks."""
    found = check(table(1_000, shares=(0.99, 0.01, 0.0)), max=0.5, min_group_share=0.02)
    assert found.measurements[0].value is None
    assert "a gap needs two" in found.measurements[0].detail
    assert verdicts(found, 0.5) == [Verdict.NOT_RUN]


def test_missing_values_are_a_group_of_their_own():
    """Rows without a value form the group `unknown`, which is judged."""
    frame = table(2_000)
    frame["race"] = frame["race"].astype(object)
    frame.loc[::4, "race"] = None
    found = check(frame, max=0.1)
    assert ("unknown", 500) in [row[:2] for row in found.tables[0].rows]


def test_the_detail_names_the_worst_pair_with_counts_and_rates():
    """The message says which two groups, how many rows stand behind each, and their rates."""
    frame = table(2_000, (0.9, 0.4, 0.8))
    found = check(frame, max=0.1)
    black, white = (frame[frame["race"] == race] for race in ("black", "white"))
    expected = (
        f"selection rate: race=black (n={len(black)}) {(black['score'] > 0.5).mean():.3g} against "
        f"race=white (n={len(white):,}) {(white['score'] > 0.5).mean():.3g}"
    )
    assert found.measurements[0].detail.startswith(expected + "; of its errors the false-")


def test_intersections_find_what_neither_column_shows_and_can_be_switched_off():
    """A model that is fair to each race and sex, but not to their combinations, fails in race*sex only."""
    frame = table(8_000, shares=(0.5, 0.5, 0.0))
    same = (frame["race"] == "black") == (frame["sex"] == "female")
    rng = np.random.default_rng(99)
    frame["score"] = np.where(rng.random(8_000) < np.where(same, 0.7, 0.3), 0.9, 0.1)
    found = check(frame, sensitive=("race", "sex"), max=0.1)
    assert verdicts(found, 0.1) == [Verdict.PASS, Verdict.PASS, Verdict.FAIL]
    alone = check(frame, sensitive=("race", "sex"), max=0.1, intersections=False)
    assert [m.scope for m in alone.measurements] == ["race", "sex"]


def shaken(frame: pd.DataFrame, share: float = 0.03, seed: int = 5) -> pd.Series:
    """The scores of another model that decides a share of the rows the other way, whatever their group."""
    other = np.random.default_rng(seed).random(len(frame)) < share
    return frame["score"].where(~other, 1 - frame["score"])


@pytest.mark.parametrize(("role", "metric"), [(r, m) for r in ("parent", "baseline") for m in BINARY])
def test_a_worsening_is_the_difference_of_the_values(role: str, metric: str):
    """What the metric lost against another model is reported with an interval around it, bound or not."""
    frame = with_scores(table(3_000, (0.6, 0.45, 0.5)))
    frame["before"] = shaken(frame)
    found = check(frame, metric, **{role: "before"}, **bounds(metric))
    now, change = found.measurements
    before = check(frame.assign(score=frame["before"]), metric, **bounds(metric)).measurements[0].value
    lost = now.value - before if METRICS[metric].bound == "max" else before - now.value
    if METRICS[metric].kind == "ratio":
        lost /= before
    assert (change.metric, change.bound, change.n) == (f"{metric}_worsening_from_{role}", None, 3_000)
    assert change.value == pytest.approx(lost, abs=1e-12)
    assert change.interval.low - 1e-12 <= lost <= change.interval.high + 1e-12


def test_no_worse_than_the_baseline_can_be_decided_where_the_gap_cannot():
    """With 2,000 rows a gap near its bound is open, and a release that treats groups like before passes."""
    frame = table(2_000, (0.5, 0.42, 0.5), shares=(0.6, 0.4, 0.0))
    frame["before"] = shaken(frame, 0.02)
    given = {"max": 0.1, "max_worsening_from_baseline": 0.05, "max_worsening_from_parent": 0.05}
    found = check(frame, baseline="before", parent="before", **given)
    assert verdicts(found, 0.1) == [Verdict.INCONCLUSIVE]
    assert verdicts(found, 0.05, "max_worsening_from_baseline") == [Verdict.PASS]
    assert verdicts(found, 0.05, "max_worsening_from_parent") == [Verdict.PASS]


@pytest.mark.parametrize("role", ["parent", "baseline"])
def test_a_release_that_treats_one_group_worse_than_before_fails(role: str):
    """Where one group alone loses against the other model, the bound on the worsening fails."""
    frame = table(4_000, shares=(0.6, 0.4, 0.0))
    frame["before"] = frame["score"]
    hit = (frame["race"] == "black") & (np.arange(4_000) % 3 == 0)
    frame.loc[hit, "score"] = 0.1
    found = check(frame, **{role: "before", f"max_worsening_from_{role}": 0.05})
    assert verdicts(found, 0.05, f"max_worsening_from_{role}") == [Verdict.FAIL]
    assert f"{role} 0.0" in found.measurements[-1].detail


def test_the_same_model_is_not_worse_and_a_missing_baseline_is_not_run():
    """Nothing changes against itself, exactly; without a baseline its bound is not judged."""
    given = {"max_worsening_from_parent": 0.0, "max_worsening_from_baseline": 0.05}
    found = check(table(200), **given)
    assert verdicts(found, 0.0, "max_worsening_from_parent") == [Verdict.PASS]
    assert found.measurements[1].interval.low == found.measurements[1].interval.high == 0.0
    assert verdicts(found, 0.05, "max_worsening_from_baseline") == [Verdict.NOT_RUN]
    assert "no baseline was given" in found.measurements[2].detail


def test_a_worsening_without_selected_rows_is_not_measured():
    """Where the other model selects nobody of a group, neither its ratio nor its precision has a change."""
    frame = table(2_000).assign(before=0.9)
    frame.loc[frame["race"] == "hispanic", "before"] = 0.1
    for metric in ("demographic_parity_ratio", "predictive_parity_difference"):
        found = check(frame, metric, parent="before", max_worsening_from_parent=0.1)
        assert verdicts(found, 0.1, "max_worsening_from_parent") == [Verdict.NOT_RUN]
        assert "race=hispanic (n=" in found.measurements[1].detail
        assert "parent" in found.measurements[1].detail


@pytest.mark.parametrize("black", [0.52, 0.34])
def test_the_rows_asked_for_decide(black: float):
    """An open verdict asks for rows of a group; with that many, at the same rates, it is closed."""

    def counted(n: dict[str, int]) -> pd.DataFrame:
        rates = {"white": 0.5, "black": black}
        blocks = [
            pd.DataFrame({"race": race, "sex": "f", "label": [0, 1] * (k // 2) + [1] * (k % 2)}).assign(
                score=np.where(np.arange(k) < round(rates[race] * k), 0.9, 0.1)
            )
            for race, k in n.items()
        ]
        return pd.concat(blocks, ignore_index=True)

    sizes = {"white": 900, "black": 100}
    found = check(counted(sizes), max=0.1)
    assert verdicts(found, 0.1) == [Verdict.INCONCLUSIVE]
    asked = found.measurements[0].more_rows
    assert set(asked) == {"race=black"}
    # The rates are whole counts of every 50 rows.
    enough, little = (100 + 50 * round(asked["race=black"] * x / 50) for x in (1.1, 0.9))
    closed = Verdict.PASS if black > 0.5 else Verdict.FAIL
    assert verdicts(check(counted({"white": 900, "black": enough}), max=0.1), 0.1) == [closed]
    assert verdicts(check(counted({"white": 900, "black": little}), max=0.1), 0.1) == [Verdict.INCONCLUSIVE]


def test_rows_asked_for_are_rows_of_the_group_not_of_the_denominator():
    """For a rate of the positives, a group with few of them is asked for as many rows as bring enough."""
    frame = table(4_000, shares=(0.8, 0.2, 0.0))
    some = (frame["race"] == "black") & (np.arange(4_000) % 5 > 0)
    frame.loc[some, "label"] = 0
    parity = check(frame, "demographic_parity_difference", max=0.1).measurements[0].more_rows
    opportunity = check(frame, "equal_opportunity_difference", max=0.1).measurements[0].more_rows
    assert opportunity["race=black"] > 4 * parity.get("race=black", 0)


@pytest.mark.parametrize("metric", [m for m in BINARY if METRICS[m].constraint])
def test_beyond_the_bound_thresholds_by_group_are_suggested(metric: str):
    """The suggestion is labelled as such, improves the metric, and no verdict rests on it."""
    rng = np.random.default_rng(3)
    frame = table(3_000, shares=(0.6, 0.4, 0.0))
    hit = frame["race"] == "black"
    score = 0.3 * frame["label"] + 0.35 + 0.2 * rng.standard_normal(3_000) - 0.15 * hit
    frame["score"] = np.clip(score, 0, 1)
    found = check(frame, metric, **bounds(metric, red=True))
    suggested = [t for t in found.tables if t.title.startswith("Suggestion, not measured on the release")]
    assert len(suggested) == 1
    (now, then) = suggested[0].rows
    assert now[1] == pytest.approx(found.measurements[0].value, abs=1e-12)
    better = then[1] < now[1] if METRICS[metric].bound == "max" else then[1] > now[1]
    assert better
    assert "no verdict rests on these figures" in suggested[0].note
    assert len(found.measurements) == 1


def test_within_the_bound_nothing_is_suggested_and_without_fairlearn_it_says_so(monkeypatch):
    """Thresholds are tried only beyond the bound; without fairlearn the check still measures."""
    fine = check(table(2_000), max=0.5)
    assert not [t for t in fine.tables if t.title.startswith("Suggestion")]
    monkeypatch.setitem(__import__("sys").modules, "fairlearn.postprocessing", None)
    found = check(table(2_000, (0.9, 0.4, 0.8)), max=0.1)
    assert verdicts(found, 0.1) == [Verdict.FAIL]
    assert any("pip install 'pytest-mlgate[fairness]'" in text for text in found.not_covered)


def test_a_suggestion_that_cannot_be_made_is_said_and_breaks_nothing():
    """A group of one label stops fairlearn, not the check."""
    frame = table(2_000, (0.9, 0.4, 0.8))
    frame.loc[frame["race"] == "black", "label"] = 1
    found = check(frame, max=0.1)
    assert verdicts(found, 0.1) == [Verdict.FAIL]
    assert any(
        text.startswith("thresholds by race: fairlearn found no thresholds") for text in found.not_covered
    )


def test_a_failing_gap_names_the_kind_of_error_and_shows_all_rates_of_the_pair():
    """The message says which error differs most; the table has every rate of both groups."""
    frame = table(6_000, shares=(0.6, 0.4, 0.0))
    rng = np.random.default_rng(4)
    right = np.where(frame["label"] == 1, 0.9, 0.1)
    hit = (frame["race"] == "black") & (frame["label"] == 0) & (rng.random(6_000) < 0.45)
    frame["score"] = np.where(hit, 0.9, right)
    found = check(frame, max=0.1)
    assert "of its errors the false-positive rate differs most, 0 against 0." in found.measurements[0].detail
    behind = next(t for t in found.tables if t.title.startswith("What stands behind"))
    assert behind.columns == ("rate", "race=white", "race=black", "difference")
    assert {"false-negative rate", "positive predictive value", "accuracy"} <= {row[0] for row in behind.rows}


def test_charts_show_every_rate_of_every_group_with_its_interval():
    """Equalized odds has a bar for both rates in every group, inside its whiskers."""
    found = check(table(2_000), "equalized_odds_difference", sensitive=("race", "sex"), max=0.5)
    assert [chart.title.rsplit(" by ", 1)[1] for chart in found.charts] == ["race", "sex", "race*sex"]
    first = found.charts[0]
    assert {series.name for series in first.series} == {"true-positive rate", "false-positive rate"}
    for series in first.series:
        assert series.x == ("black", "hispanic", "white")
        assert all(lo < y < hi for lo, y, hi in zip(series.low, series.y, series.high, strict=True))
    floor = check(table(2_000), "worst_group_accuracy", min=0.3).charts[0]
    assert (first.bound, floor.bound) == (None, 0.3)


def test_binned_ages_form_groups():
    """A numeric sensitive column is compared in the bins declared for it."""
    frame = table(6_000)
    frame["race"] = np.random.default_rng(0).integers(18, 80, 6_000)
    young = frame["race"] < 40
    frame["score"] = np.where(np.random.default_rng(1).random(6_000) < np.where(young, 0.3, 0.6), 0.9, 0.1)
    found = check(frame, max=0.1, bins={"race": (25, 40, 60)})
    assert [row[0] for row in found.tables[0].rows] == ["<25", "25 to <40", "40 to <60", ">=60"]
    assert verdicts(found, 0.1) == [Verdict.FAIL]


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("metric", BINARY)
def test_equal_scores_give_a_value_or_a_reason(metric: str, score: float):
    """A model that answers every row alike is measured, or named as not measurable; never a silent number."""
    found = check(table(1_000).assign(score=score), metric, **bounds(metric))
    m = found.measurements[0]
    if m.value is None:
        assert m.grade is Grade.MISSING
        assert "undefined" in m.detail
    else:
        assert m.interval.low <= m.value <= m.interval.high


@pytest.mark.parametrize("metric", BINARY)
def test_a_group_of_one_row_is_shown_and_decides_nothing(metric: str):
    """One row of a group gives no pass: inconclusive, or not run where its rate has no denominator."""
    frame = with_scores(table(4_000))
    frame.loc[0, ["race", "label"]] = ["asian", 1]
    bound = {"max": 0.2} if METRICS[metric].bound == "max" else {"min": 0.4}
    kind, limit = next(iter(bound.items()))
    found = check(frame, metric, **bound)
    assert set(verdicts(found, limit, kind)) <= {Verdict.INCONCLUSIVE, Verdict.NOT_RUN}
    assert ("asian", 1) in [row[:2] for row in found.tables[0].rows]


def test_the_same_rows_give_the_same_findings():
    """Two runs agree to the last digit, suggestion included; another seed changes the suggestion at most."""
    frame = with_scores(table(2_000, (0.9, 0.4, 0.8)))
    frame["before"] = shaken(frame)
    given = {"max": 0.1, "parent": "before", "sensitive": ("race", "sex")}
    assert codec.to_json(check(frame, **given)) == codec.to_json(check(frame, **given))


@pytest.mark.parametrize(
    ("scores", "metric", "message"),
    [
        (np.nan, DIFFERENCES[0], "not finite numbers"),
        (np.inf, "calibration_difference", "not finite numbers"),
        (1.5, "calibration_difference", "outside 0 to 1"),
    ],
)
def test_scores_that_are_no_probabilities_are_refused(scores: float, metric: str, message: str):
    """A score that is not a number, or no probability where one is needed, stops the check by name."""
    frame = table(300)
    frame.loc[7, "score"] = scores
    with pytest.raises(CheckError, match=message):
        check(frame, metric, max=0.1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"metric": "demographic_parity_ratio", "max": 0.1}, "takes the bound min="),
        ({"metric": "equalized_odds_difference", "min": 0.8}, "takes the bound max="),
        ({"max": 0.1, "min_group_share": 1.5}, "min_group_share=1.5 is outside"),
        ({"max": 0.1, "min_group_share": float("nan")}, "min_group_share=nan is outside"),
        ({"max": 0.1, "sensitive": ()}, "names no column"),
        ({"max": 0.1, "sensitive": ("income",)}, "income has 5,000 groups; more than 200"),
        ({"max": 0.1, "sensitive": ("sex", "half")}, r"sex\*half has 300 groups; more than 200"),
    ],
)
def test_unusable_parameters_are_refused(parameters: dict[str, Any], message: str):
    """A bound on the wrong side, an impossible share or a column of amounts is refused by name."""
    with pytest.raises(CheckError, match=message):
        check(table(5_000).assign(income=range(5_000), half=np.arange(5_000) % 150), **parameters)


def test_a_model_of_three_classes_does_not_answer_a_binary_label():
    """Rates of a positive class need a binary model."""
    on = subject(table(300))
    on.release.predict_proba = lambda rows: np.full((len(rows), 3), 1 / 3)  # type: ignore[method-assign]
    with pytest.raises(CheckError, match="3 classes"):
        fairness.function(on, metric=DIFFERENCES[0], sensitive=("race",), max=0.1)


def test_the_same_file_read_otherwise_is_another_model():
    """A baseline with its features in another order is compared row by row, not taken for the release."""
    first = OnnxModel(onnx=b"x", name="m", kind="ONNX", features=("a", "b"))
    assert _answers_alike(first, first)
    for change in ({"features": ("b", "a")}, {"positive_column": 0}, {"threshold": 0.4}, {"output": "logit"}):
        assert not _answers_alike(first, dataclasses.replace(first, **change))


@pytest.mark.parametrize("metric", ["mean_error_difference", "mae_difference", "worst_group_mae"])
def test_errors_that_are_all_equal_are_no_certainty(metric: str):
    """Four rows in each group with the same error show nothing about the fifth."""
    frame = table(8).assign(race=["a", "b"] * 4, score=1.0, label=2.0)
    found = check(frame, metric, kind=ReadsValue, task="regression", max=0.001)
    assert verdicts(found, 0.001) == [Verdict.NOT_RUN]
    assert "nothing shows how far the next may lie" in found.measurements[0].detail
