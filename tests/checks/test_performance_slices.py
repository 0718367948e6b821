"""The performance check in slices: declared groups as one family, and a search for weak ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from mlgate_checks._partitions import partitions_of
from mlgate_checks._weak_search import search
from mlgate_checks.performance import performance
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Findings, Grade, Identity, Measurement, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.subject import Subject

FEATURES = ("kind", "size", "colour")


class ReadsScore:
    """A model whose score is a column of the table."""

    threshold = 0.5
    identity = Identity(name="score", kind="test", digest="sha256:score")

    def predict_proba(self, frame: Any) -> np.ndarray:
        return np.asarray(frame["score"].to_numpy(), np.float64)


def table(rows: int, seed: int = 0, weak: float = 0.0, where: str = "pair") -> pd.DataFrame:
    """Rows that are answered rightly with 0.85, and `weak` less in a slice of one column or of two."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "kind": rng.choice(["a", "b", "c", "d"], rows),
            "size": rng.normal(size=rows),
            "colour": rng.integers(0, 3, rows),
            "label": rng.integers(0, 2, rows),
        }
    )
    inside = frame["kind"] == "a"
    if where == "pair":
        inside &= frame["colour"] == 1
    right = rng.random(rows) < 0.85 - weak * inside
    answer = np.where(right, frame["label"], 1 - frame["label"])
    return frame.assign(score=np.clip(0.5 + (answer - 0.5) * rng.random(rows), 0.01, 0.99))


def subject(frame: pd.DataFrame, seed: int = 0) -> Subject:
    model = ReadsScore()
    data = Dataset(test=frame, label="label", features=FEATURES)
    return Subject(model, model, None, data, None, levels_for(0.05, 1), seed)


def check(frame: pd.DataFrame, metric: str = "accuracy", seed: int = 0, **parameters: Any) -> Findings:
    return performance.function(subject(frame, seed), metric=metric, **parameters)


def verdicts(found: Findings, parameter: str, bound: float) -> dict[str, Verdict]:
    comparator = ">=" if parameter.startswith("min") else "<="
    requirement = Requirement(
        id="p", check="performance", parameter=parameter, comparator=comparator, bound=bound, source="test"
    )
    return {j.scope: j.verdict for j in judge([requirement], found.measurements)}


def of(found: Findings, bound: str) -> dict[str, Measurement]:
    return {m.scope: m for m in found.measurements if m.bound == bound}


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc"])
def test_every_group_of_every_column_is_measured(metric: str):
    """The figures by group are scikit-learn's on the group's rows, and none is missing."""
    frame = table(800)
    found = of(check(frame, metric, slices=("kind", "colour"), min_slice=0.5), "min_slice")
    groups = [(c, g) for c in ("kind", "colour") for g in frame[c].unique()]
    assert set(found) == {f"{c}={g}" for c, g in groups}
    for column, group in groups:
        mine = frame[frame[column] == group]
        value = (
            accuracy_score(mine["label"], mine["score"] >= 0.5)
            if metric == "accuracy"
            else roc_auc_score(mine["label"], mine["score"])
        )
        assert found[f"{column}={group}"].value == pytest.approx(value, abs=1e-12)


def test_a_weak_group_fails_and_the_others_pass():
    """The floor is judged for each group by itself, and the message names the group."""
    frame = table(4_000, weak=0.3, where="single")
    found = check(frame, slices=("kind",), min_slice=0.75)
    assert verdicts(found, "min_slice", 0.75) == {
        "kind=a": Verdict.FAIL,
        "kind=b": Verdict.PASS,
        "kind=c": Verdict.PASS,
        "kind=d": Verdict.PASS,
    }


def test_a_small_group_stays_open_and_asks_for_rows_of_its_own():
    """Ten rows decide nothing; the message says how many more of that group would."""
    frame = table(2_000)
    frame.loc[:9, "kind"] = "rare"
    found = check(frame, slices=("kind",), min_slice=0.8)
    rare = of(found, "min_slice")["kind=rare"]
    assert rare.n == 10
    assert rare.more_rows["kind=rare"] > 0
    requirement = Requirement(
        id="p", check="performance", parameter="min_slice", comparator=">=", bound=0.8, source="test"
    )
    told = next(j for j in judge([requirement], found.measurements) if j.scope == "kind=rare")
    assert told.verdict is Verdict.INCONCLUSIVE
    assert "more rows with kind=rare" in told.message


@pytest.mark.parametrize("rows", [1, 3])
def test_a_group_of_one_class_is_not_measured_and_says_why(rows: int):
    """A ranking of one class has no value: the group blocks as not run, with its rows and the reason."""
    frame = table(600)
    frame.loc[: rows - 1, ["kind", "label"]] = ["rare", 1]
    found = of(check(frame, "roc_auc", slices=("kind",), min_slice=0.5), "min_slice")["kind=rare"]
    assert (found.value, found.interval, found.grade, found.n) == (None, None, Grade.MISSING, rows)
    assert "one class only" in found.detail


def test_missing_values_are_a_group_of_their_own():
    """Rows without a value do not vanish."""
    frame = table(300)
    frame.loc[:49, "kind"] = None
    assert of(check(frame, slices=("kind",), min_slice=0.5), "min_slice")["kind=unknown"].n == 50


def test_a_column_of_identifiers_is_refused():
    """5,000 groups leave none with rows enough, and the way out is named."""
    frame = table(10_000)
    frame["kind"] = [f"id{i % 5_000}" for i in range(len(frame))]
    with pytest.raises(CheckError, match=r"5,000 groups.*bins"):
        check(frame, slices=("kind",), min_slice=0.5)


@pytest.mark.parametrize("parameter", ["min_slice", "max_slice"])
def test_a_bound_on_slices_needs_slices(parameter: str):
    """A bound that would silently apply to nothing is refused."""
    metric = "accuracy" if parameter == "min_slice" else "brier"
    with pytest.raises(CheckError, match="none is named"):
        check(table(100), metric, **{parameter: 0.5})


def test_more_slices_do_not_mean_more_false_alarms():
    """With every group exactly at its floor, some group of 40 fails wrongly in at most 5% of samples."""
    blocked = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        frame = table(2_000, seed)
        frame["kind"] = rng.integers(0, 40, 2_000).astype(str)
        found = check(frame, slices=("kind",), min_slice=0.85)
        blocked += Verdict.FAIL in verdicts(found, "min_slice", 0.85).values()
    assert blocked <= 8


@pytest.mark.parametrize("where", ["single", "pair"])
def test_the_planted_slice_is_found_and_fails(where: str):
    """A slice of one column, or of two, in which the model is 0.35 worse is found, named and judged."""
    found = check(table(6_000, weak=0.35, where=where), max_weak_slice_drop=0.1)
    ((scope, verdict),) = verdicts(found, "max_weak_slice_drop", 0.1).items()
    assert verdict is Verdict.FAIL
    assert "kind=a" in scope
    assert where == "single" or "colour=1" in scope
    table_of_slices = found.tables[-1]
    assert table_of_slices.title == "Weakest slices"
    assert f"slice {table_of_slices.rows[0][0]}" == scope


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "balanced_accuracy", "f1", "average_precision"])
def test_a_clean_model_passes_or_stays_open(metric: str):
    """Where no slice is weak none fails, and with rows enough the weakest passes."""
    told = [
        list(
            verdicts(
                check(table(6_000, s), metric, s, max_weak_slice_drop=0.15), "max_weak_slice_drop", 0.15
            ).values()
        )
        for s in range(6)
    ]
    assert [Verdict.FAIL] not in told
    assert told.count([Verdict.PASS]) >= 3


def test_searching_does_not_make_false_alarms():
    """What looked weakest by chance is not blamed: at most 5% of clean models fail at a bound of 0."""
    failed = 0
    for seed in range(150):
        found = check(table(600, seed), seed=seed, max_weak_slice_drop=0.0)
        failed += list(verdicts(found, "max_weak_slice_drop", 0.0).values()) == [Verdict.FAIL]
    assert failed <= 10


def test_the_judging_rows_did_not_choose():
    """Changing only rows of the judging half leaves the chosen slice as it was."""
    frame = table(1_000)
    first = check(frame, max_weak_slice_drop=0.1)
    judging = np.sort(np.random.default_rng(0).permutation(1_000)[500:])
    changed = frame.copy()
    changed.loc[judging, "score"] = 1 - changed.loc[judging, "score"]
    second = check(changed, max_weak_slice_drop=0.1)
    scopes = [next(iter(of(found, "max_weak_slice_drop"))) for found in (first, second)]
    assert scopes[0] == scopes[1]
    values = [of(found, "max_weak_slice_drop")[scopes[0]].value for found in (first, second)]
    assert values[0] != values[1]


def test_too_few_rows_to_search_are_told():
    """Thirty rows hold no slice of twenty in either half."""
    found = of(check(table(30), max_weak_slice_drop=0.1), "max_weak_slice_drop")[""]
    assert (found.value, found.grade) == (None, Grade.MISSING)
    assert "no slice has" in found.detail


@pytest.mark.parametrize("share", [0.0, 0.5, -1.0])
def test_the_share_of_a_slice_is_between_0_and_a_half(share: float):
    """A share that no slice can have, or that every row has, is refused."""
    with pytest.raises(CheckError, match="min_weak_slice_share"):
        check(table(100), max_weak_slice_drop=0.1, min_weak_slice_share=share)


def test_numbers_are_cut_at_quartiles_and_values_kept():
    """Every row is in one slice of each column, missing numbers in one of their own."""
    frame = table(400)
    frame.loc[:9, "size"] = np.nan
    frame["code"] = [f"c{i % 30}" for i in range(400)]
    data = Dataset(test=frame, label="label", features=("kind", "size", "colour", "code"))
    kind, size, colour, code = partitions_of(data, data.feature_names)
    assert kind.names == ("kind=a", "kind=b", "kind=c", "kind=d")
    assert [int((size.codes == i).sum()) for i in range(5)][-1] == 10
    assert (np.bincount(size.codes[10:]) > 80).all()
    assert colour.names == ("colour=0", "colour=1", "colour=2")
    assert len(code.names) == 8
    assert (code.codes == -1).sum() == sum(i % 30 >= 8 for i in range(400))


def test_the_search_measures_each_slice_as_its_rows_do():
    """The excess badness of every slice found is that of its own rows."""
    frame = table(500)
    data = Dataset(test=frame, label="label", features=FEATURES)
    cuts = list(partitions_of(data, FEATURES))
    wrong = ((frame["score"] >= 0.5) != frame["label"]).to_numpy().astype(float)
    found = search((wrong, np.ones(500)), None, cuts, 20)
    assert len(found.slices) > 20
    for one in found.slices:
        rows = one.holds(cuts)
        assert one.n == rows.sum()
        assert one.worse_by == pytest.approx(wrong[rows].mean() - wrong.mean(), abs=1e-12)
