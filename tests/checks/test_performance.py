"""The performance check: floors and paired drops with intervals that cover."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, roc_auc_score

from mlgate_checks.performance import performance
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Comparator, Findings, Grade, Identity, Interval, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.statistics import auc_difference_interval, auc_interval
from pytest_mlgate.subject import Subject

METRICS = ("roc_auc", "accuracy", "balanced_accuracy")
LEVELS = levels_for(0.05, 1)


class ReadsColumns:
    """A model whose scores are columns of the table."""

    def __init__(self, *columns: str, threshold: float = 0.5) -> None:
        self.columns = columns
        self.threshold = threshold
        self.identity = Identity(name=columns[0], kind="test", digest=f"sha256:{columns}")

    def predict_proba(self, frame: Any) -> np.ndarray:
        scores = np.stack([frame[name].to_numpy() for name in self.columns], axis=1).astype(np.float64)
        return scores if len(self.columns) > 1 else scores[:, 0]


def table(rows: int, seed: int = 0, skill: float = 1.0, base_rate: float = 0.4) -> pd.DataFrame:
    """Two noisy scores of the same truth; `new` is as skilled as `old` when skill is 1."""
    rng = np.random.default_rng(seed)
    label = rng.random(rows) < base_rate
    shared = rng.normal(size=rows)

    def score(strength: float) -> np.ndarray:
        signal = strength * (label - 0.5) + 0.8 * shared + 0.6 * rng.normal(size=rows)
        return 1 / (1 + np.exp(-signal))

    return pd.DataFrame({"label": label.astype(int), "old": score(1.0), "new": score(skill)})


def subject(frame: pd.DataFrame, baseline: str | None = "old", parent: str = "new") -> Subject:
    release = ReadsColumns("new")
    return Subject(
        release=release,
        parent=release if parent == "new" else ReadsColumns(parent),
        baseline=None if baseline is None else ReadsColumns(baseline),
        data=Dataset(test=frame, label="label", features=("new",)),
        training_record=None,
        levels=LEVELS,
        seed=0,
    )


def check(on: Subject, metric: str = "roc_auc", **parameters: Any) -> Findings:
    return performance.function(on, metric=metric, **parameters)


def verdicts(findings: Findings, parameter: str, bound: float) -> list[Verdict]:
    comparator: Comparator = ">=" if parameter == "min" else "<="
    requirement = Requirement(
        id="p", check="performance", parameter=parameter, comparator=comparator, bound=bound, source="test"
    )
    return [j.verdict for j in judge([requirement], findings.measurements)]


def oracle(metric: str, frame: pd.DataFrame, column: str = "new") -> float:
    if metric == "roc_auc":
        return float(roc_auc_score(frame["label"], frame[column]))
    function = accuracy_score if metric == "accuracy" else balanced_accuracy_score
    return float(function(frame["label"], frame[column] >= 0.5))


def ends(findings: Findings, position: int = 0) -> tuple[float, float]:
    interval = findings.measurements[position].interval
    assert isinstance(interval, Interval)
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(5))
def test_values_are_those_of_scikit_learn(metric: str, seed: int):
    """Level and drop equal scikit-learn's figures to 1e-12 and lie inside their intervals."""
    frame = table(500, seed, skill=0.8).round({"old": 2, "new": 2})
    found = check(subject(frame), metric, min=0.5, max_drop=0.1)
    level, drop = found.measurements[:2]
    assert level.value == pytest.approx(oracle(metric, frame), abs=1e-12)
    expected = oracle(metric, frame, "old") - oracle(metric, frame)
    assert drop.value == pytest.approx(expected, abs=1e-12)
    for position, m in enumerate((level, drop)):
        low, high = ends(found, position)
        assert m.value is not None
        assert low < m.value < high


def test_the_auc_intervals_are_delongs():
    """AUC and its paired drop carry the core's DeLong intervals at the requirement's levels."""
    frame = table(400)
    found = check(subject(frame), min=0.7, max_drop=0.1)
    positive = frame["label"].to_numpy() == 1
    old, new = frame["old"].to_numpy(), frame["new"].to_numpy()
    assert ends(found) == auc_interval(positive, new, LEVELS.tails(">="))[1]
    assert ends(found, 1) == auc_difference_interval(positive, old, new, LEVELS.tails("<="))[1]


@pytest.mark.parametrize("metric", METRICS)
def test_the_floor_passes_fails_or_stays_open(metric: str):
    """A floor well below the value passes, one well above fails, one on it is inconclusive."""
    frame = table(2_000)
    value = oracle(metric, frame)
    for bound, verdict in [
        (value - 0.1, Verdict.PASS),
        (value + 0.1, Verdict.FAIL),
        (value, Verdict.INCONCLUSIVE),
    ]:
        assert verdicts(check(subject(frame), metric, min=bound), "min", bound) == [verdict]


@pytest.mark.parametrize("metric", METRICS)
def test_the_drop_passes_an_equal_model_and_fails_a_worse_one(metric: str):
    """Non-inferiority passes a model of equal skill and fails one of a third of the skill."""
    same = check(subject(table(4_000)), metric, max_drop=0.05)
    worse = check(subject(table(4_000, skill=0.3)), metric, max_drop=0.05)
    assert verdicts(same, "max_drop", 0.05) == [Verdict.PASS]
    assert verdicts(worse, "max_drop", 0.05) == [Verdict.FAIL]


@pytest.mark.parametrize("metric", METRICS)
def test_an_identical_model_still_has_an_interval_of_some_width(metric: str):
    """Where baseline and release agree on every row, the drop is 0 with an interval around it."""
    found = check(subject(table(500), baseline="new"), metric, max_drop=0.05)
    assert found.measurements[1].value == 0
    low, high = ends(found, 1)
    assert low < 0 < high


@pytest.mark.parametrize("metric", METRICS)
def test_without_a_baseline_the_drop_is_not_measured_and_the_way_to_give_one_named(metric: str):
    """A missing baseline blocks with a reason instead of passing."""
    found = check(subject(table(300), baseline=None), metric, max_drop=0.05)
    drop = found.measurements[1]
    assert (drop.value, drop.interval, drop.grade) == (None, None, Grade.MISSING)
    assert "mlgate_baseline" in drop.detail
    assert verdicts(found, "max_drop", 0.05) == [Verdict.NOT_RUN]


def truth(metric: str, skill: float) -> float:
    """The figure on 400,000 rows, which stands for the population."""
    return oracle(metric, table(400_000, seed=12345, skill=skill))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("rows", [100, 1_000])
def test_intervals_cover_the_truth(metric: str, rows: int):
    """Over 300 samples, level and drop are inside their 95% intervals in at least 92%."""
    level = truth(metric, 0.7)
    drop = truth(metric, 1.0) - level
    covered = np.zeros(2)
    for seed in range(300):
        found = check(subject(table(rows, seed, skill=0.7)), metric, min=0.5, max_drop=0.1)
        for position, value in enumerate((level, drop)):
            low, high = ends(found, position)
            covered[position] += low <= value <= high
    assert (covered >= 276).all(), covered


def test_parent_and_baseline_are_reported_without_a_bound():
    """The same metric of the float parent and of the baseline stands beside it, for information."""
    frame = table(600, skill=0.9)
    frame["float"] = table(600, seed=0)["old"]
    found = check(subject(frame, parent="float"), min=0.5)
    beside = {m.scope: m for m in found.measurements if m.bound is None}
    assert beside["float parent"].value == pytest.approx(oracle("roc_auc", frame, "float"), abs=1e-12)
    assert beside["baseline"].value == pytest.approx(oracle("roc_auc", frame, "old"), abs=1e-12)
    assert beside[""].metric == "base_rate"
    assert beside[""].value == pytest.approx(frame["label"].mean())


def test_the_confusion_counts_are_those_of_scikit_learn():
    """The table holds one row of counts for each model, at its own threshold."""
    frame = table(600)
    on = subject(frame)
    on.release.threshold = 0.3  # type: ignore[misc]
    found = check(on, "accuracy", min=0.5)
    (release, baseline) = found.tables[0].rows
    for row, column, threshold in ((release, "new", 0.3), (baseline, "old", 0.5)):
        tn, fp, fn, tp = confusion_matrix(frame["label"], frame[column] >= threshold).ravel()
        assert row[1:] == (threshold, tp, fp, fn, tn)


def several_classes(rows: int = 900) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, rows)
    frame = pd.DataFrame({"label": np.asarray(["ant", "bee", "cow"])[truth]})
    scores = rng.random((rows, 3)) + 0.8 * np.eye(3)[truth]
    scores /= scores.sum(axis=1, keepdims=True)
    return frame.assign(a=scores[:, 0], b=scores[:, 1], c=scores[:, 2], flat=1 / 3)


def of_several_classes(*columns: str) -> Subject:
    model = ReadsColumns(*columns)
    data = Dataset(test=several_classes(), label="label", features=("a", "b", "c"), positive="bee")
    return Subject(model, model, ReadsColumns("flat", "a", "b"), data, None, LEVELS, 0)


def test_accuracy_works_for_several_classes():
    """With one score for each class in sorted order, accuracy, drop and table are those of the argmax."""
    frame = several_classes()
    found = check(of_several_classes("a", "b", "c"), "accuracy", min=0.5, max_drop=0.1)
    answers = np.asarray(["ant", "bee", "cow"])[frame[["a", "b", "c"]].to_numpy().argmax(axis=1)]
    before = np.asarray(["ant", "bee", "cow"])[frame[["flat", "a", "b"]].to_numpy().argmax(axis=1)]
    expected = accuracy_score(frame["label"], answers)
    assert found.measurements[0].value == pytest.approx(expected, abs=1e-12)
    drop = accuracy_score(frame["label"], before) - expected
    assert found.measurements[1].value == pytest.approx(drop, abs=1e-12)
    assert verdicts(found, "min", 0.5) == [Verdict.PASS]
    assert verdicts(found, "max_drop", 0.1) == [Verdict.PASS]
    (row,) = (r for r in found.tables[0].rows if r[0] == "bee")
    mine = frame["label"] == "bee"
    assert row[1:3] == (int(mine.sum()), int((answers[mine] == "bee").sum()))


@pytest.mark.parametrize("metric", ["roc_auc", "balanced_accuracy"])
def test_metrics_of_two_classes_refuse_more(metric: str):
    """The message names the metric that works."""
    with pytest.raises(CheckError, match="Accepted here: metric='accuracy'"):
        check(of_several_classes("a", "b", "c"), metric, min=0.5)


@pytest.mark.parametrize(("columns", "answered"), [(("a",), "one score"), (("a", "b"), "2 scores")])
def test_scores_that_do_not_fit_the_classes_are_refused(columns: tuple[str, ...], answered: str):
    """A model with another number of scores than the label has classes cannot be judged."""
    with pytest.raises(CheckError, match=f"{answered} for a row, and label 'label' has 3 classes"):
        check(of_several_classes(*columns), "accuracy", min=0.5)


@pytest.mark.parametrize("metric", ["roc_auc", "balanced_accuracy"])
def test_rows_of_one_class_are_refused(metric: str):
    """Without both classes the metric has no meaning."""
    with pytest.raises(CheckError, match="one class only"):
        check(subject(table(100).assign(label=1)), metric, min=0.5)
