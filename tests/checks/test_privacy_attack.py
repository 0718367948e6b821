"""The privacy attack: models that memorise and that do not, canaries, and data that cannot be attacked."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression

from mlgate_checks.privacy_attack import privacy_attack
from pytest_mlgate.candidate.model import BlackBox
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Findings, Grade, Measurement, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.privacy.canaries import INCLUDED, CanaryScores, plant
from pytest_mlgate.privacy.trade_offs import SampledGaussian
from pytest_mlgate.subject import Subject

FEATURES = tuple(f"x{i}" for i in range(6))


def rows(n: int, seed: int, classes: int = 2) -> pd.DataFrame:
    """Rows whose label follows the first two features, with enough noise that memorising it shows."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(n, 6)), columns=list(FEATURES))
    noisy = frame["x0"] + frame["x1"] + 1.5 * random.normal(size=n)
    frame["label"] = (noisy > 0).astype(int) if classes == 2 else pd.qcut(noisy, classes, labels=False)
    frame["group"] = random.choice(["a", "b"], n, p=[0.8, 0.2])
    return frame


def subject(
    fitted: Any, train: pd.DataFrame | None, test: pd.DataFrame, task: Any = "binary", **data: Any
) -> Subject:
    def answer(m: np.ndarray) -> np.ndarray:
        if task == "regression":
            return fitted.predict(m)
        chances = fitted.predict_proba(m)
        return chances[:, 1] if task == "binary" else chances

    output: Any = "value" if task == "regression" else "probability"
    model = BlackBox(function=answer, name="model", features=FEATURES, digest="sha256:1", output=output)
    given = Dataset(test=test, train=train, label="label", features=FEATURES, task=task, **data)
    return Subject(model, model, None, given, None, levels_for(0.05, 1), 0)


def fit(kind: Any, train: pd.DataFrame) -> Any:
    return kind.fit(train[list(FEATURES)].to_numpy(np.float32), train["label"])


def forest() -> Any:
    return RandomForestClassifier(30, random_state=0, bootstrap=False)


TRAIN, TEST = rows(2000, 0), rows(1000, 1)


@pytest.fixture(scope="module")
def overfitted() -> Subject:
    """A forest that knows every training row by heart."""
    return subject(fit(forest(), TRAIN), TRAIN, TEST, sensitive=("group",))


@pytest.fixture(scope="module")
def plain() -> Subject:
    """A logistic regression, which has seven numbers to remember 2,000 rows by."""
    return subject(fit(LogisticRegression(), TRAIN), TRAIN, TEST, sensitive=("group",))


def named(found: Findings, metric: str, scope: str = "") -> Measurement:
    return next(m for m in found.measurements if (m.metric, m.scope) == (metric, scope))


def verdicts(found: Findings, parameter: str, bound: float) -> set[Verdict]:
    requirement = Requirement(
        id="p", check="privacy_attack", parameter=parameter, comparator="<=", bound=bound, source="test"
    )
    return {j.verdict for j in judge([requirement], found.measurements)}


def test_a_model_that_memorises_fails_and_one_that_does_not_passes(overfitted: Subject, plain: Subject):
    """At max_advantage=0.15 the forest fails, and the regression passes, with both attacks on each."""
    for given, verdict in ((overfitted, Verdict.FAIL), (plain, Verdict.PASS)):
        found = privacy_attack.function(given, max_advantage=0.15)
        assert verdicts(found, "max_advantage", 0.15) == {verdict}
        assert {m.metric for m in found.measurements if m.bound == "max_advantage"} == {
            "loss_attack_advantage",
            "likelihood_ratio_advantage",
        }
    assert "no leak shown" in named(privacy_attack.function(plain), "loss_attack_advantage").detail


def test_leakage_is_judged_in_every_group(overfitted: Subject):
    """Both groups answer to the bound, at a level for four comparisons, with rows of either table counted."""
    found = privacy_attack.function(overfitted, max_advantage=0.2, sensitive=("group",))
    small = named(found, "loss_attack_advantage", "group=b")
    assert small.bound == "max_advantage"
    assert small.n == int((TRAIN["group"] == "b").sum() + (TEST["group"] == "b").sum())
    assert small.interval is not None
    assert small.interval.confidence == pytest.approx(1 - 0.025 / 4 - 0.025)
    assert small.value == pytest.approx(named(found, "loss_attack_advantage", "group=a").value, abs=0.15)


def test_a_group_without_test_rows_enough_is_not_a_pass():
    """Five test rows of a group leave its advantage unmeasured, with the counts, and block."""
    test = TEST.assign(group=["b"] * 5 + ["a"] * 995)
    found = privacy_attack.function(
        subject(fit(LogisticRegression(), TRAIN), TRAIN, test, sensitive=("group",)),
        max_advantage=0.9,
        sensitive=("group",),
    )
    few = named(found, "loss_attack_advantage", "group=b")
    assert (few.value, few.grade) == (None, Grade.MISSING)
    assert "5 test rows" in few.detail
    assert Verdict.NOT_RUN in verdicts(found, "max_advantage", 0.9)


def test_the_roc_and_the_figures_beside_it(overfitted: Subject):
    """AUC, rates at few false alarms and the attack's strength are reported; curves run corner to corner."""
    found = privacy_attack.function(overfitted)
    assert (named(found, "attack_auc").value or 0) > 0.7
    assert named(found, "recognised_at_0.01_false_alarms").interval is not None
    assert "no bound on it" in named(found, "attack_strength").detail
    assert all(m.bound is None for m in found.measurements)
    (chart,) = found.charts
    for series in chart.series:
        assert (series.x[0], series.y[0], series.x[-1], series.y[-1]) == (0, 0, 1, 1)


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_amounts_and_several_classes_are_attacked_too(task: str):
    """A forest that memorises 600 amounts, or classes, is recognised; amounts by their squared errors."""
    train, test = rows(600, 2, classes=3), rows(600, 3, classes=3)
    if task == "regression":
        for frame in (train, test):
            frame["label"] = frame["x0"] + np.random.default_rng(len(frame)).normal(size=len(frame))
    kinds = {
        "regression": RandomForestRegressor(30, random_state=0, bootstrap=False, max_features=3),
        "multiclass": forest(),
    }
    found = privacy_attack.function(subject(fit(kinds[task], train), train, test, task), max_advantage=0.3)
    assert verdicts(found, "max_advantage", 0.3) == {Verdict.FAIL}
    assert found.assumptions is not None
    assert found.assumptions["loss"].startswith("squared" if task == "regression" else "cross")


def test_a_row_in_both_tables_is_an_error_or_left_out():
    """Three shared rows are named; with overlap='leave_out' they are not counted among the others."""
    test = pd.concat([TEST, TRAIN.iloc[:3]], ignore_index=True)
    shared = subject(fit(LogisticRegression(), TRAIN), TRAIN, test)
    with pytest.raises(CheckError, match=r"3 of 1,003 test rows have .*\(at 1000, 1001, 1002\)"):
        privacy_attack.function(shared, max_advantage=0.1)
    found = privacy_attack.function(shared, max_advantage=0.1, overlap="leave_out")
    assert named(found, "loss_attack_advantage").n == 3000
    assert found.assumptions is not None
    assert found.assumptions["left out"].startswith("3 ")


def test_data_that_cannot_be_attacked_is_refused(plain: Subject):
    """No training table, NaN answers, ten test rows, a delta of 0: named errors, never a figure."""
    fitted = LogisticRegression().fit(TRAIN[list(FEATURES)].to_numpy(), TRAIN["label"])
    with pytest.raises(CheckError, match="needs the training table"):
        privacy_attack.function(subject(fitted, None, TEST), max_advantage=0.1)
    with pytest.raises(CheckError, match="needs 20 of each"):
        privacy_attack.function(subject(fitted, TRAIN, TEST.iloc[:10]), max_advantage=0.1)
    with pytest.raises(CheckError, match="delta=0"):
        privacy_attack.function(plain, max_epsilon_lower_bound=1, delta=0)

    class Broken:
        def predict_proba(self, m: np.ndarray) -> np.ndarray:
            return np.full((len(m), 2), np.nan)

    with pytest.raises(CheckError, match="NaN or infinity"):
        privacy_attack.function(subject(Broken(), TRAIN, TEST), max_advantage=0.1)


def planted(tmp_path: Path, seed: int, kind: Any) -> tuple[Subject, str]:
    """A model trained on 600 rows and about half of 500 canaries, and the table of all canaries."""
    train, canaries = rows(600, seed), plant(rows(500, seed + 1), "label", seed)
    included = canaries[canaries[INCLUDED]].drop(columns=INCLUDED)
    table = tmp_path / "canaries.csv"
    canaries.to_csv(table, index=False)
    fitted = fit(kind, pd.concat([train, included], ignore_index=True))
    return subject(fitted, train, rows(400, seed + 2)), str(table)


@pytest.mark.parametrize("mechanism", ["any", "dp_sgd"])
def test_canaries_refute_any_claim_below_2_of_an_overfitted_model(tmp_path: Path, mechanism: Any):
    """Asked about its 500 canaries, the forest shows an epsilon above 2, whatever its mechanism."""
    given, table = planted(tmp_path, 10, forest())
    found = privacy_attack.function(
        given, max_epsilon_lower_bound=2.0, delta=1e-4, canaries=table, mechanism=mechanism
    )
    shown = named(found, "epsilon_lower_bound")
    assert (shown.value or 0) > 2
    assert shown.grade is Grade.MEASURED
    assert verdicts(found, "max_epsilon_lower_bound", 2.0) == {Verdict.FAIL}
    assert "at 97.5% confidence the true epsilon is larger" in shown.detail
    assert found.charts[1].series[0].x == ("claimed", "f-DP", "Steinke et al.")


def test_canaries_show_no_leak_of_a_model_that_remembers_none(tmp_path: Path):
    """A logistic regression shows next to nothing; the words claim no more than that."""
    given, table = planted(tmp_path, 20, LogisticRegression())
    found = privacy_attack.function(given, max_epsilon_lower_bound=1.0, canaries=table)
    shown = named(found, "epsilon_lower_bound")
    assert (shown.value or 0) < 0.5
    assert verdicts(found, "max_epsilon_lower_bound", 1.0) == {Verdict.PASS}
    assert "proves no epsilon" in shown.detail


def phantoms(noise: float, seed: int) -> CanaryScores:
    """Scores of 1,000 phantoms of 200 steps at rate 0.1, summed rather than weighed."""
    random = np.random.default_rng(seed)
    included = random.random(1000) < 0.5
    scores = included * random.binomial(200, 0.1, 1000) + noise * np.sqrt(200) * random.normal(size=1000)
    return CanaryScores(
        scores=tuple(scores.tolist()), included=tuple(included.tolist()), sampling_rate=0.1, steps=200
    )


def test_phantoms_from_a_file_refute_a_claim(tmp_path: Path, plain: Subject):
    """The claim of 4 fails at a third of its noise, passes at its noise; unsealed numbers do not count."""
    family = SampledGaussian(1e-4, 0.1, 200)
    honest = 1 / float(brentq(lambda leak: family.epsilon(leak) - 4, 0.3, 1.5, xtol=1e-3))
    path = tmp_path / "canaries.json"
    parameters: dict[str, Any] = {"max_epsilon_lower_bound": 4.0, "delta": 1e-4, "canaries": str(path)}
    for noise, verdict in ((honest / 3, Verdict.FAIL), (honest, Verdict.PASS)):
        phantoms(noise, 0).write(path)
        found = privacy_attack.function(plain, **parameters)
        assert verdicts(found, "max_epsilon_lower_bound", 4.0) == {verdict}
    path.write_bytes(path.read_bytes().replace(phantoms(honest, 0).sealed().seal.encode(), b""))
    found = privacy_attack.function(plain, **parameters)
    assert named(found, "epsilon_lower_bound").grade is Grade.DECLARED
    assert verdicts(found, "max_epsilon_lower_bound", 4.0) == {Verdict.NOT_RUN}


def test_phantoms_need_no_training_table(tmp_path: Path):
    """Without a training table canaries answer alone, and the report says that nothing else was attacked."""
    path = tmp_path / "canaries.json"
    phantoms(1.0, 0).write(path)
    fitted = fit(LogisticRegression(), TRAIN)
    found = privacy_attack.function(
        subject(fitted, None, TEST), max_epsilon_lower_bound=50.0, canaries=str(path)
    )
    assert verdicts(found, "max_epsilon_lower_bound", 50.0) == {Verdict.PASS}
    assert any("no training table" in text for text in found.not_covered)
    with pytest.raises(CheckError, match="canary table"):
        privacy_attack.function(
            subject(fitted, None, TEST), max_epsilon_lower_bound=50.0, canaries=str(tmp_path / "none.csv")
        )


def test_a_claim_without_canaries_is_not_run(plain: Subject):
    """A claim that nothing attacked blocks, and says what to do."""
    found = privacy_attack.function(plain, max_epsilon_lower_bound=4.0)
    assert verdicts(found, "max_epsilon_lower_bound", 4.0) == {Verdict.NOT_RUN}
    assert "PhantomCanaries" in named(found, "epsilon_lower_bound").detail


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=INCLUDED), "has no column 'canary_included'"),
        (lambda t: t.assign(canary_included=3), "must be true or false in every row"),
        (lambda t: t.assign(canary_included=True), "500 of 500 .* a fair coin"),
        (lambda t: t.head(10), "has 10; 20 or more"),
        (lambda t: t.assign(label=7), "label 7 is none of the classes"),
    ],
)
def test_canaries_that_cannot_be_used_are_refused(tmp_path: Path, plain: Subject, change: Any, message: str):
    """A missing or strange column, coins that were not tossed, too few rows, and unknown labels."""
    table = tmp_path / "canaries.csv"
    change(plant(rows(500, 5), "label", 0)).to_csv(table, index=False)
    with pytest.raises(CheckError, match=message):
        privacy_attack.function(plain, max_epsilon_lower_bound=1.0, canaries=str(table))


def test_two_thousand_rows_take_seconds(tmp_path: Path, overfitted: Subject):
    """Everything at once on 2,000 training rows: under 10 seconds."""
    path = tmp_path / "canaries.json"
    phantoms(0.5, 1).write(path)
    start = time.perf_counter()
    privacy_attack.function(
        overfitted, max_advantage=0.1, max_epsilon_lower_bound=4.0, canaries=str(path), sensitive=("group",)
    )
    assert time.perf_counter() - start < 10
