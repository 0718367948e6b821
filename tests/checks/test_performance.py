"""The performance check: floors and paired drops with intervals that cover."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from mlgate_checks.performance import performance
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Comparator, Findings, Grade, Identity, Interval, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.statistics import auc_difference_interval, auc_interval
from pytest_mlgate.subject import Subject

METRICS = ("roc_auc", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "average_precision")
LOSSES = ("log_loss", "brier")
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


def bound(metric: str, value: float) -> dict[str, float]:
    """The bound of the metric's own direction."""
    return {"max" if metric in LOSSES else "min": value}


def verdicts(findings: Findings, parameter: str, bound: float) -> list[Verdict]:
    comparator: Comparator = ">=" if parameter.startswith("min") else "<="
    requirement = Requirement(
        id="p", check="performance", parameter=parameter, comparator=comparator, bound=bound, source="test"
    )
    return [j.verdict for j in judge([requirement], findings.measurements)]


def oracle(metric: str, frame: pd.DataFrame, column: str = "new") -> float:
    of_scores = {
        "roc_auc": sk.roc_auc_score,
        "average_precision": sk.average_precision_score,
        "log_loss": sk.log_loss,
        "brier": sk.brier_score_loss,
    }
    if metric in of_scores:
        return float(of_scores[metric](frame["label"], frame[column]))
    return float(getattr(sk, f"{metric}_score")(frame["label"], frame[column] >= 0.5))


def ends(findings: Findings, position: int = 0) -> tuple[float, float]:
    interval = findings.measurements[position].interval
    assert isinstance(interval, Interval)
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


@pytest.mark.parametrize("metric", METRICS + LOSSES)
@pytest.mark.parametrize("seed", range(3))
def test_values_are_those_of_scikit_learn(metric: str, seed: int):
    """Level and drop equal scikit-learn's figures to 1e-12 and lie inside their intervals."""
    frame = table(500, seed, skill=0.8).round({"old": 2, "new": 2})
    found = check(subject(frame), metric, max_drop=0.1, **bound(metric, 0.5))
    level, drop = found.measurements[:2]
    assert level.value == pytest.approx(oracle(metric, frame), abs=1e-12)
    sign = -1 if metric in LOSSES else 1
    expected = sign * (oracle(metric, frame, "old") - oracle(metric, frame))
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


@pytest.mark.parametrize("metric", METRICS + LOSSES)
def test_a_bound_passes_fails_or_stays_open(metric: str):
    """A bound well on the good side of the value passes, one well beyond fails, one on it is inconclusive."""
    frame = table(2_000)
    value = oracle(metric, frame)
    good = 0.1 if metric in LOSSES else -0.1
    for limit, verdict in [
        (value + good, Verdict.PASS),
        (value - good, Verdict.FAIL),
        (value, Verdict.INCONCLUSIVE),
    ]:
        (parameter,) = bound(metric, limit)
        assert verdicts(check(subject(frame), metric, **bound(metric, limit)), parameter, limit) == [verdict]


@pytest.mark.parametrize("metric", METRICS)
def test_the_wrong_side_is_refused(metric: str):
    """A ceiling on a metric of which more is better is a mistake, and the message names the right one."""
    with pytest.raises(CheckError, match=f"{metric} is better the more: bound it with min="):
        check(subject(table(100)), metric, max=0.5)


@pytest.mark.parametrize("parameter", ["min", "min_slice"])
def test_a_floor_for_a_loss_is_refused(parameter: str):
    """A floor on a loss would ask for a bad model."""
    right = "max" + parameter[3:]
    with pytest.raises(CheckError, match=f"brier is better the less: bound it with {right}="):
        check(subject(table(100)), "brier", **{parameter: 0.1})


@pytest.mark.parametrize("metric", METRICS + LOSSES)
def test_the_drop_passes_an_equal_model_and_fails_a_worse_one(metric: str):
    """Non-inferiority passes a model of equal skill and fails one of a fifth of the skill, whichever way."""
    limit = 0.01 if metric in LOSSES else 0.05
    same = check(subject(table(4_000)), metric, max_drop=limit)
    worse = check(subject(table(4_000, skill=0.2)), metric, max_drop=limit)
    assert verdicts(same, "max_drop", limit) == [Verdict.PASS]
    assert verdicts(worse, "max_drop", limit) == [Verdict.FAIL]


@pytest.mark.parametrize("metric", METRICS + LOSSES)
def test_an_identical_model_still_has_an_interval_of_some_width(metric: str):
    """Where baseline and release agree on every row, the drop is 0 with an interval around it."""
    found = check(subject(table(500), baseline="new"), metric, max_drop=0.05)
    drop = next(m for m in found.measurements if m.bound == "max_drop")
    assert drop.value == 0
    assert drop.interval is not None
    assert drop.interval.low < 0 < drop.interval.high


@pytest.mark.parametrize("metric", METRICS)
def test_without_a_baseline_the_drop_is_not_measured_and_the_way_to_give_one_named(metric: str):
    """A missing baseline blocks with a reason instead of passing."""
    found = check(subject(table(300), baseline=None), metric, max_drop=0.05)
    drop = next(m for m in found.measurements if m.bound == "max_drop")
    assert (drop.value, drop.interval, drop.grade) == (None, None, Grade.MISSING)
    assert "mlgate_baseline" in drop.detail
    assert verdicts(found, "max_drop", 0.05) == [Verdict.NOT_RUN]


COVERED = [(m, n) for m in METRICS + LOSSES for n in (100, 1_000) if (m, n) != ("average_precision", 1_000)]


@pytest.mark.parametrize(("metric", "rows"), COVERED)
def test_intervals_cover_the_truth(metric: str, rows: int):
    """Over 200 samples, level and drop are inside their 95% intervals in at least 91%.

    A tail beyond that has a probability of 2% at a true coverage of 94%; the seeds are fixed.
    """
    big = table(400_000, seed=12345, skill=0.7)
    sign = -1 if metric in LOSSES else 1
    level = oracle(metric, big)
    drop = sign * (oracle(metric, table(400_000, seed=12345)) - level)
    covered = np.zeros(2)
    for seed in range(200):
        found = check(subject(table(rows, seed, skill=0.7)), metric, max_drop=0.1)
        for position, value in enumerate((level, drop)):
            low, high = ends(found, position)
            covered[position] += low <= value <= high
    assert (covered >= 182).all(), covered


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
        tn, fp, fn, tp = sk.confusion_matrix(frame["label"], frame[column] >= threshold).ravel()
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
    expected = sk.accuracy_score(frame["label"], answers)
    assert found.measurements[0].value == pytest.approx(expected, abs=1e-12)
    drop = sk.accuracy_score(frame["label"], before) - expected
    assert found.measurements[1].value == pytest.approx(drop, abs=1e-12)
    assert verdicts(found, "min", 0.5) == [Verdict.PASS]
    assert verdicts(found, "max_drop", 0.1) == [Verdict.PASS]
    (row,) = (r for r in found.tables[0].rows if r[0] == "bee")
    mine = frame["label"] == "bee"
    assert row[1:3] == (int(mine.sum()), int((answers[mine] == "bee").sum()))


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier"])
def test_several_classes_agree_with_scikit_learn(metric: str):
    """Level and drop for three classes are scikit-learn's, and the level is inside its interval."""
    frame = several_classes()
    on = dataclasses.replace(of_several_classes("a", "b", "c"), baseline=ReadsColumns("b", "c", "a"))
    found = check(on, metric, max_drop=0.1)
    lower_is_better = metric in LOSSES

    def expected(*columns: str) -> float:
        scores = frame[list(columns)].to_numpy()
        if metric == "log_loss":
            return float(sk.log_loss(frame["label"], scores))
        if metric == "brier":
            return float(sk.brier_score_loss(frame["label"], scores, labels=["ant", "bee", "cow"]))
        answers = np.asarray(["ant", "bee", "cow"])[scores.argmax(axis=1)]
        if metric == "macro_f1":
            return float(sk.f1_score(frame["label"], answers, average="macro"))
        return float(getattr(sk, f"{metric}_score")(frame["label"], answers))

    level, drop = found.measurements[:2]
    assert level.value == pytest.approx(expected("a", "b", "c"), abs=1e-12)
    difference = expected("b", "c", "a") - expected("a", "b", "c")
    assert drop.value == pytest.approx(-difference if lower_is_better else difference, abs=1e-12)
    low, high = ends(found)
    assert low < level.value < high


@pytest.mark.parametrize("metric", ["roc_auc", "precision", "average_precision", "mae"])
def test_metrics_of_another_task_are_refused(metric: str):
    """The message names the metrics that exist for several classes."""
    with pytest.raises(CheckError, match="Accepted here: accuracy, balanced_accuracy, macro_f1, log_loss"):
        check(of_several_classes("a", "b", "c"), metric, min=0.5)


@pytest.mark.parametrize(
    ("columns", "answered"), [(("a",), "1 class"), (("a", "b"), "a binary model|2 classes")]
)
def test_scores_that_do_not_fit_the_classes_are_refused(columns: tuple[str, ...], answered: str):
    """A model with another number of scores than the label has classes cannot be judged."""
    with pytest.raises(CheckError, match=answered):
        check(of_several_classes(*columns), "accuracy", min=0.5)


@pytest.mark.parametrize("metric", ["roc_auc", "balanced_accuracy", "average_precision"])
def test_rows_of_one_class_are_refused(metric: str):
    """Without both classes the metric has no meaning."""
    with pytest.raises(CheckError, match="one class only"):
        check(subject(table(100).assign(label=1)), metric, min=0.5)


def test_a_class_that_training_never_saw_is_refused():
    """The model cannot know it, and the message names it."""
    frame = several_classes()
    model = ReadsColumns("a", "b", "c")
    data = Dataset(test=frame, train=frame[frame["label"] != "cow"], label="label", features=("a", "b", "c"))
    with pytest.raises(CheckError, match="'cow'"):
        check(Subject(model, model, None, data, None, LEVELS, 0), "accuracy", min=0.5)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"new": np.nan}, "NaN or infinity for 1 of 300"),
        ({"new": np.inf}, "NaN or infinity for 1 of 300"),
        ({"new": 1.2}, "no probabilities"),
        ({"new": -0.2}, "no probabilities"),
    ],
)
def test_scores_that_are_no_probabilities_are_refused(values: dict[str, float], told: str):
    """One broken answer is one too many: it is counted, not averaged over."""
    frame = table(300)
    frame.loc[7, "new"] = values["new"]
    with pytest.raises(CheckError, match=told):
        check(subject(frame), "brier", max=0.5)


def test_equal_scores_rank_nothing_and_are_measured_as_such():
    """A model that always answers the same has an AUC of one half, inside a wide interval."""
    found = check(subject(table(300).assign(new=0.5)), min=0.6)
    assert found.measurements[0].value == 0.5
    low, high = ends(found)
    assert low < 0.5 < high


def test_a_model_that_chooses_nobody_has_no_precision():
    """Where no row is answered positively the precision is refused, not 0."""
    with pytest.raises(CheckError, match="no row is answered positively"):
        check(subject(table(300).assign(new=0.1)), "precision", min=0.5)


def test_one_row_is_refused_or_left_open():
    """One row gives no interval for a loss, and one that decides nothing for a share."""
    frame = table(50)
    one = frame[frame["label"] == 1].head(1)
    with pytest.raises(CheckError, match="one row has no spread"):
        check(subject(one), "brier", max=0.5)
    assert verdicts(check(subject(one), "accuracy", min=0.5), "min", 0.5) == [Verdict.INCONCLUSIVE]


def test_scores_that_do_not_exclude_each_other_are_refused():
    """A log loss of scores that add up to something else than 1 is no log loss."""
    with pytest.raises(CheckError, match="add up to"):
        check(of_several_classes("flat", "a", "b"), "log_loss", max=2.0)


def test_perfect_probabilities_are_not_taken_for_certain():
    """A model that is right about 60 rows may be wrong about the next: the Brier score's top is above 0."""
    frame = table(60)
    found = check(subject(frame.assign(new=frame["label"].astype(float))), "brier", max=0.01)
    assert found.measurements[0].value == 0
    assert verdicts(found, "max", 0.01) == [Verdict.INCONCLUSIVE]


@pytest.mark.parametrize("metric", ["f1", "precision", "balanced_accuracy", "accuracy"])
def test_few_rows_that_are_all_right_are_no_certainty(metric: str):
    """Twelve right answers in a row do not show that 99% are right."""
    truth = np.asarray([0, 1] * 6)
    frame = pd.DataFrame({"label": truth, "new": np.where(truth == 1, 0.9, 0.1)})
    found = check(subject(frame, baseline=None), metric, min=0.9)
    low, high = ends(found)
    assert low < 0.85
    assert high == 1.0
    assert verdicts(found, "min", 0.9) == [Verdict.INCONCLUSIVE]


@pytest.mark.parametrize("metric", ["f1", "precision", "average_precision", "accuracy"])
def test_two_perfect_models_on_few_rows_may_still_differ(metric: str):
    """Where neither model errs on twenty rows, a drop of one in ten thousand is not shown to be absent."""
    truth = np.asarray([0, 1] * 10)
    right = np.where(truth == 1, 0.9, 0.1)
    frame = pd.DataFrame({"label": truth, "new": right, "old": right})
    found = check(subject(frame), metric, max_drop=0.0001)
    assert verdicts(found, "max_drop", 0.0001) == [Verdict.INCONCLUSIVE]


def test_losses_that_never_differ_have_no_interval():
    """The same loss in every row of both models is a reason, and not an interval of no width."""
    truth = np.asarray([0, 1] * 10)
    same = np.where(truth == 1, 0.9, 0.1)
    with pytest.raises(CheckError, match="nothing shows how far they may differ"):
        check(subject(pd.DataFrame({"label": truth, "new": same, "old": same})), "brier", max_drop=0.0001)


def test_few_rows_of_several_classes_that_are_all_right_are_no_certainty():
    """Neither the mean F1 of twelve right rows is known, nor that two perfect models lose nothing."""
    truth = np.arange(12) % 3
    scores = 0.1 + 0.7 * np.eye(3)[truth]
    frame = pd.DataFrame({"label": np.asarray(["ant", "bee", "cow"])[truth]})
    frame = frame.assign(a=scores[:, 0], b=scores[:, 1], c=scores[:, 2])
    model = ReadsColumns("a", "b", "c")
    data = Dataset(test=frame, label="label", features=("a", "b", "c"), positive="bee")
    found = check(Subject(model, model, model, data, None, LEVELS, 0), "macro_f1", min=0.9, max_drop=0.0001)
    assert verdicts(found, "min", 0.9) == [Verdict.INCONCLUSIVE]
    assert verdicts(found, "max_drop", 0.0001) == [Verdict.INCONCLUSIVE]
