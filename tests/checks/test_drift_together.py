"""The parts of drift beyond single columns: tails, pairs, groups, prose, quality, attribution, time."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mlgate_checks._drift_attribution import exchanged_rows
from mlgate_checks._drift_columns import Column, Pair
from mlgate_checks.drift import drift
from pytest_mlgate.candidate.model import BlackBox
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Grade, Requirement, Verdict, worst
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.subject import Subject


def half(x):
    return np.full(len(x), 0.5)


def subject(train, test, current=None, *, score=half, output="probability", **meaning) -> Subject:
    """A subject whose model answers with `score` of the feature matrix."""
    data = Dataset(test=test, train=train, current=current, label="y", **meaning)
    model = BlackBox(score, "scores", data.feature_names, "sha256:0", output=output)
    return Subject(
        release=model,
        parent=model,
        baseline=None,
        data=data,
        training_record=None,
        levels=levels_for(0.05, 1),
        seed=0,
    )


def judged(found, parameter, bound):
    """The judge's verdict for every scope that answers to the bound."""
    requirement = Requirement(
        id=parameter, check="drift", parameter=parameter, comparator="<=", bound=bound, source="test"
    )
    return {j.scope: j.verdict for j in judge([requirement], found.measurements)}


def rows(rng, n, correlation=0.3):
    """Two dependent columns, one that follows a category, one with a heavy tail, and a flag."""
    a = rng.normal(size=n)
    b = correlation * a + np.sqrt(1 - correlation**2) * rng.normal(size=n)
    kind = rng.choice(list("uvw"), n)
    return pd.DataFrame(
        {
            "a": a,
            "b": b,
            "kind": kind,
            "follows": rng.normal(size=n) + 0.8 * (kind == "u"),
            "heavy": np.exp(1.5 * rng.normal(size=n)),
            "flag": rng.random(n) < 0.3,
            "y": rng.integers(0, 2, n),
        }
    )


def test_one_percent_in_the_wrong_unit_fails_the_tail_and_clean_heavy_tails_do_not():
    """A thousandfold value in 1% of the rows fails by name; heavy tails of one source never do."""
    rng = np.random.default_rng(1)
    caught = 0
    for _ in range(20):
        train, test = rows(rng, 5000), rows(rng, 5000)
        clean = judged(drift.function(subject(train, test), max_tail_shift=0.002), "max_tail_shift", 0.002)
        assert Verdict.FAIL not in clean.values()
        wrong = test.assign(heavy=np.where(rng.random(5000) < 0.01, test.heavy * 1000, test.heavy))
        found = judged(drift.function(subject(train, wrong), max_tail_shift=0.002), "max_tail_shift", 0.002)
        caught += [scope for scope, v in found.items() if v is Verdict.FAIL] == ["column heavy"]
    assert caught >= 19


def test_tails_are_asked_of_amounts_only():
    """Without a column of amounts a bound on tails is not run; it is not silently met."""
    train = pd.DataFrame({"k": ["a", "b"] * 50, "y": [0, 1] * 50})
    found = drift.function(subject(train, train), max_tail_shift=0.1)
    assert list(judged(found, "max_tail_shift", 0.1).values()) == [Verdict.NOT_RUN]


def test_a_pair_that_lost_its_dependence_fails_and_no_column_does():
    """Correlations are judged pair by pair: the marginals did not move, the pair did, and is named first."""
    rng = np.random.default_rng(2)
    train, test = rows(rng, 5000), rows(rng, 5000, correlation=0.65)
    found = drift.function(subject(train, test), max_shift=0.1, max_dependence_shift=0.1)
    pairs = judged(found, "max_dependence_shift", 0.1)
    assert [scope for scope, v in pairs.items() if v is Verdict.FAIL] == ["a and b"]
    assert Verdict.FAIL not in judged(found, "max_shift", 0.1).values()
    shown = next(t for t in found.tables if "dependence" in t.title)
    assert shown.rows[0][0] == "a and b"
    others = next(m for m in found.measurements if m.scope.startswith("the other"))
    assert others.interval.high >= others.value > 0


def test_a_number_that_no_longer_follows_a_category_fails():
    """A category takes part as a flag, so that its pull on a number is seen."""
    rng = np.random.default_rng(3)
    train, test = rows(rng, 5000), rows(rng, 5000)
    shuffled = test.assign(follows=rng.permutation(test.follows))
    found = drift.function(subject(train, shuffled), max_dependence_shift=0.1)
    failed = [scope for scope, v in judged(found, "max_dependence_shift", 0.1).items() if v is Verdict.FAIL]
    assert any(scope in ("kind=u and follows", "follows and kind=u") for scope in failed)


def test_dependence_that_cannot_be_taken_is_not_run():
    """A column that went flat, and one that cannot be read, block by name instead of vanishing."""
    rng = np.random.default_rng(4)
    train, test = rows(rng, 500), rows(rng, 500)
    broken = test.assign(a=1.5, heavy=np.inf)
    found = drift.function(subject(train, broken), max_dependence_shift=0.9)
    lost = next(m for m in found.measurements if m.grade is Grade.MISSING)
    assert "a (the same in all rows" in lost.detail
    assert "heavy" in lost.detail
    verdicts = judged(found, "max_dependence_shift", 0.9)
    assert Verdict.NOT_RUN in verdicts.values()
    few = drift.function(subject(train, test[:10]), max_dependence_shift=0.9)
    assert "10 rows in the smaller table" in few.measurements[0].detail


def test_a_column_that_is_nearly_constant_is_left_out_by_name():
    """A flag that three rows of thousands have is no error and no verdict: it is named as left out."""
    rng = np.random.default_rng(23)
    train, test = (rows(rng, 3000).assign(rare=np.arange(3000) < 3) for _ in "ab")
    found = drift.function(subject(train, test), max_dependence_shift=0.3)
    assert set(judged(found, "max_dependence_shift", 0.3).values()) == {Verdict.PASS}
    assert any("rare (nearly the same" in text for text in found.not_covered)


def test_too_many_pairs_are_named_as_such():
    """Thousands of columns are not silently thinned out."""
    rng = np.random.default_rng(5)
    wide = pd.DataFrame(rng.normal(size=(50, 201)), columns=[f"c{i}" for i in range(201)]).assign(
        y=[0, 1] * 25
    )
    found = drift.function(subject(wide, wide), max_dependence_shift=0.5)
    assert "20,100 pairs" in found.measurements[0].detail
    assert judged(found, "max_dependence_shift", 0.5) == {"": Verdict.NOT_RUN}


def test_a_shift_within_one_group_fails_that_group_only():
    """What moved within a tenth of the rows is diluted in the whole and plain in its group."""
    rng = np.random.default_rng(6)

    def table(shift):
        group = rng.choice(["big", "small"], 8000, p=[0.9, 0.1])
        x = rng.normal(size=8000) + shift * (group == "small")
        return pd.DataFrame({"group": group, "x": x, "y": rng.integers(0, 2, 8000)})

    found = drift.function(subject(table(0), table(1.0)), max_shift=0.15, slices=("group",))
    verdicts = judged(found, "max_shift", 0.15)
    assert [scope for scope, v in verdicts.items() if v is Verdict.FAIL] == ["group=small"]
    assert verdicts["column x"] is Verdict.PASS
    vanished = table(0)
    vanished = vanished[vanished.group == "big"]
    found = drift.function(subject(table(0), vanished), max_shift=0.15, slices=("group",))
    assert judged(found, "max_shift", 0.15)["group=small"] is Verdict.NOT_RUN


def test_prose_is_compared_by_its_properties():
    """Texts that became longer and use new words fail in those properties; equal ones do not."""
    rng = np.random.default_rng(7)
    words = [f"word{i}" for i in range(200)]

    def table(n, length, vocabulary):
        texts = [" ".join(rng.choice(vocabulary, max(3, rng.poisson(length)))) for _ in range(n)]
        return pd.DataFrame({"note": texts, "y": rng.integers(0, 2, n)})

    train = table(1500, 8, words)
    same = judged(drift.function(subject(train, table(1500, 8, words)), max_shift=0.2), "max_shift", 0.2)
    assert "column note: words" in same
    assert worst(list(same.values())) is Verdict.PASS
    longer = table(1500, 14, [*words[:100], *[f"NEW{i}" for i in range(100)]])
    moved = judged(drift.function(subject(train, longer), max_shift=0.2), "max_shift", 0.2)
    failed = {scope.removeprefix("column note: ") for scope, v in moved.items() if v is Verdict.FAIL}
    assert {"length", "words", "share of capitals", "share of unknown words"} <= failed
    assert moved["column note: share outside ASCII"] is Verdict.PASS


def test_ordered_levels_are_compared_in_their_order():
    """Levels with a declared order are at the distance of their distribution functions."""
    levels = ["low", "middle", "high"]

    def table(counts):
        values = pd.Categorical(np.repeat(levels, counts), categories=levels, ordered=True)
        return pd.DataFrame({"grade": values, "y": [0, 1] * (sum(counts) // 2)})

    found = drift.function(subject(table([40, 40, 20]), table([20, 40, 40])), max_shift=0.5)
    (m,) = found.measurements
    assert m.value == pytest.approx(0.2)
    assert "Kolmogorov-Smirnov" in m.method


def learned(rng, n, flip=0.1):
    """A column that decides the label, but for some rows."""
    x = rng.normal(size=n)
    return pd.DataFrame(
        {"x": x, "z": rng.normal(size=n), "y": ((x > 0) ^ (rng.random(n) < flip)).astype(int)}
    )


def by_x(matrix):
    return 1 / (1 + np.exp(-4 * matrix[:, 0]))


def test_quality_that_dropped_on_new_labels_fails_and_kept_quality_passes():
    """Labels that turned around in a third of the new rows fail; the same noise as before passes."""
    rng = np.random.default_rng(8)
    train, test = learned(rng, 2000), learned(rng, 2000)
    same = learned(rng, 2000)
    same["y"] = same.y.where(same.index % 4 != 0)
    on = subject(train, test, same, score=by_x)
    found = drift.function(on, max_quality_drop=0.05)
    assert judged(found, "max_quality_drop", 0.05) == {"accuracy": Verdict.PASS}
    assert "500 rows without a label left out" in found.measurements[0].detail
    worse = subject(train, test, learned(rng, 2000, flip=0.35), score=by_x)
    for metric, bound in (("accuracy", 0.05), ("roc_auc", 0.05), ("log_loss", 0.05)):
        found = drift.function(worse, max_quality_drop=bound, metric=metric)
        assert judged(found, "max_quality_drop", bound) == {metric: Verdict.FAIL}


def test_clean_labels_seldom_seem_worse():
    """The interval of the drop of two independent samples covers 0 as often as it says."""
    rng = np.random.default_rng(9)
    low, high = 0, 0
    for _ in range(150):
        on = subject(learned(rng, 300), learned(rng, 300), learned(rng, 200), score=by_x)
        (m,) = drift.function(on, max_quality_drop=0.05).measurements
        low += m.interval.low > 0
        high += m.interval.high < 0
    assert max(low, high) <= 10


def test_amounts_are_judged_by_their_errors():
    """A regression's mean absolute error that doubled fails; its labels are compared as numbers."""
    rng = np.random.default_rng(10)

    def table(n, noise):
        x = rng.normal(size=n)
        return pd.DataFrame({"x": x, "y": x + noise * rng.normal(size=n)})

    on = subject(
        table(1000, 1),
        table(1000, 1),
        table(1000, 2),
        score=lambda m: m[:, 0],
        output="value",
        task="regression",
    )
    found = drift.function(on, max_quality_drop=0.3, max_label_shift=0.05, max_shift=0.2)
    assert judged(found, "max_quality_drop", 0.3) == {"mae": Verdict.FAIL}
    assert judged(found, "max_label_shift", 0.05) == {"label y": Verdict.FAIL}


def test_without_labels_the_drop_is_an_estimate_and_graded_as_one():
    """Confidence that fell gives an estimate that does not pass a bound by itself."""
    rng = np.random.default_rng(11)
    train, test = learned(rng, 2000), learned(rng, 2000)
    unsure = learned(rng, 2000).drop(columns="y")
    unsure["x"] = unsure.x / 4
    (m,) = drift.function(subject(train, test, unsure, score=by_x), max_quality_drop=0.05).measurements
    assert m.grade is Grade.ESTIMATED
    assert m.value > 0.1
    assert judged(
        drift.function(subject(train, test, unsure, score=by_x), max_quality_drop=0.5),
        "max_quality_drop",
        0.5,
    ) == {"accuracy": Verdict.NOT_RUN}
    found = drift.function(subject(train, test, unsure, score=by_x), max_quality_drop=0.5, metric="roc_auc")
    assert found.measurements[0].grade is Grade.MISSING
    found = drift.function(subject(train, test, score=by_x), max_quality_drop=0.5)
    assert "no current table" in found.measurements[0].detail


def test_a_class_that_test_does_not_have_stops_the_quality():
    """No metric can judge a class that the reference never shows."""
    rng = np.random.default_rng(12)
    strange = learned(rng, 200)
    strange.loc[:4, "y"] = 7
    on = subject(learned(rng, 200), learned(rng, 200), strange, score=by_x)
    with pytest.raises(CheckError, match="5 of 200 labelled rows"):
        drift.function(on, max_quality_drop=0.1)


def as_arrow(table):
    return pytest.importorskip("pyarrow").Table.from_pandas(table)


def as_polars(table):
    return pytest.importorskip("polars").from_pandas(table)


@pytest.mark.parametrize("library", [pd.DataFrame, as_polars, as_arrow])
def test_what_drift_does_to_the_model_is_attributed_to_the_column_that_does_it(library):
    """A column that the model reads moves scores and decisions; one that it ignores moves nothing."""
    rng = np.random.default_rng(13)
    train = learned(rng, 3000)
    moved = learned(rng, 3000)
    moved["x"], moved["z"] = moved.x + 1, moved.z + 2
    found = drift.function(subject(library(train), library(moved), score=by_x), max_shift=0.1)
    shown = next(t for t in found.tables if t.title.startswith("What the drift"))
    rows_by_name = {row[0]: row[1:] for row in shown.rows}
    assert rows_by_name["z"][1:] == (0, 0, 0, 0)
    _, mean, size, decisions, accuracy = rows_by_name["x"]
    direct = by_x(train[["x"]].to_numpy() + 1).mean() - by_x(train[["x"]].to_numpy()).mean()
    assert mean == pytest.approx(direct, abs=0.02)
    assert size >= mean
    assert 0.25 < decisions < 0.42
    assert accuracy < -0.15


def test_categories_are_exchanged_in_as_few_rows_as_needed():
    """Of categories, as many rows change as the total variation says, and the shares then agree."""
    codes = [np.repeat([0, 1, 2], counts) for counts in ([500, 300, 200], [300, 300, 400])]
    pair = Pair("k", *(Column("categorical", codes=c, levels=("a", "b", "c")) for c in codes))
    at, source = exchanged_rows(pair, np.random.default_rng(0))
    assert len(at) == 200
    after = codes[0].copy()
    after[at] = codes[1][source]
    assert np.bincount(after).tolist() == [300, 300, 400]


def test_a_model_that_cannot_be_asked_is_said_to_be():
    """Where the model refuses the moved rows, the shift is judged all the same and the report says why."""

    def refuse(matrix):
        raise ValueError("no")

    rng = np.random.default_rng(14)
    found = drift.function(subject(learned(rng, 200), learned(rng, 200), score=refuse), max_shift=0.3)
    assert {m.scope for m in found.measurements} == {"column x", "column z"}
    assert any("broke on" in text for text in found.not_covered)


def test_the_worst_window_of_time_is_where_the_shift_began():
    """A shift in the last third of the days shows in the last windows, by date."""
    rng = np.random.default_rng(15)
    day = pd.date_range("2024-01-01", periods=3000, freq="h")
    train = learned(rng, 3000).assign(day=day)
    current = learned(rng, 3000).assign(day=day)
    current.loc[2000:, "x"] += 2
    found = drift.function(subject(train, train, current), max_shift=0.5, time_column="day")
    assert "column day" not in {m.scope for m in found.measurements}
    chart = next(c for c in found.charts if c.title == "Shift over time")
    (line,) = (s for s in chart.series if s.name == "x")
    assert max(line.y[:7]) < 0.2 < 0.5 < min(line.y[9:])
    shown = next(t for t in found.tables if "window" in t.title)
    assert shown.rows[0][1] == "x"
    assert shown.rows[0][2] > "2024-03-20"
    with pytest.raises(CheckError, match="not in the current table"):
        drift.function(subject(train, train, current), max_shift=0.5, time_column="hour")


def test_a_classifier_tells_changed_tables_apart_and_equal_ones_not():
    """The AUC of a two-sample classifier is near one half on rows of one source, and high on others."""
    rng = np.random.default_rng(16)
    train, test = rows(rng, 1500), rows(rng, 1500)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = drift.function(subject(train, test), max_two_sample_auc=0.6)
    assert judged(found, "max_two_sample_auc", 0.6) == {"": Verdict.PASS}
    far = test.assign(a=test.a + 1)
    found = drift.function(subject(train, far), max_two_sample_auc=0.6)
    assert judged(found, "max_two_sample_auc", 0.6) == {"": Verdict.FAIL}
    assert drift.function(subject(train, far), max_two_sample_auc=0.6) == found


def test_the_maximum_mean_discrepancy_is_shown_for_information():
    """MMD has a p-value beside it, answers to no bound, and is the same in every run."""
    rng = np.random.default_rng(17)
    train, far = rows(rng, 400), rows(rng, 400).assign(a=lambda t: t.a + 1)
    found = drift.function(subject(train, far), max_dependence_shift=0.9, multivariate="mmd")
    (m,) = (m for m in found.measurements if m.metric == "squared_mmd")
    assert m.bound is None
    assert m.value > 0
    assert "p=0 of no difference" in m.detail
    assert found == drift.function(subject(train, far), max_dependence_shift=0.9, multivariate="mmd")


def test_images_and_embeddings_are_tables_of_their_cells():
    """Arrays of any shape are flattened: a brighter image fails, and the classifier sees it."""
    rng = np.random.default_rng(18)

    def images(n, brighter=0.0):
        return rng.uniform(size=(n, 4, 4)) + brighter

    train, test = images(600), images(600, 0.3)
    flat = [np.column_stack([t.reshape(len(t), -1), np.arange(len(t)) % 2]) for t in (train, test)]
    names = [f"x{i}" for i in range(16)]
    on = subject(*(pd.DataFrame(t, columns=[*names, "y"]) for t in flat))
    arrays = Dataset(train=flat[0], test=flat[1], label="x16")
    on = replace(on, data=arrays)
    found = drift.function(on, max_shift=0.1, max_two_sample_auc=0.6)
    assert len(judged(found, "max_shift", 0.1)) == 16
    assert set(judged(found, "max_shift", 0.1).values()) == {Verdict.FAIL}
    assert judged(found, "max_two_sample_auc", 0.6) == {"": Verdict.FAIL}


def test_without_alibi_detect_columns_and_pairs_are_judged_all_the_same(monkeypatch):
    """What alibi-detect alone can do is not run, with the way to install it; the rest needs it not."""
    monkeypatch.setitem(sys.modules, "alibi_detect.cd", None)
    monkeypatch.setitem(sys.modules, "alibi_detect", None)
    rng = np.random.default_rng(19)
    train, test = rows(rng, 800), rows(rng, 800)
    found = drift.function(
        subject(train, test),
        max_shift=0.2,
        max_dependence_shift=0.4,
        max_two_sample_auc=0.7,
        multivariate="mmd",
    )
    assert set(judged(found, "max_shift", 0.2).values()) == {Verdict.PASS}
    assert set(judged(found, "max_dependence_shift", 0.4).values()) == {Verdict.PASS}
    assert judged(found, "max_two_sample_auc", 0.7) == {"": Verdict.NOT_RUN}
    lost = [m for m in found.measurements if m.grade is Grade.MISSING]
    assert {m.metric for m in lost} == {"two_sample_auc", "squared_mmd"}
    assert all("pip install 'pytest-mlgate[drift]'" in m.detail for m in lost)


def test_where_a_shift_is_needs_a_bound_on_the_shift():
    """Slices and windows of a shift that nobody bounds would be silently ignored: they are refused."""
    rng = np.random.default_rng(21)
    table = learned(rng, 100)
    for option in ({"slices": ("y",)}, {"time_column": "x"}):
        with pytest.raises(CheckError, match="declare max_shift"):
            drift.function(subject(table, table), max_tail_shift=0.1, **option)


def test_an_inconclusive_shift_says_how_many_rows_would_decide():
    """Three hundred rows cannot tell small shifts from a bound of 0.05, and the judge says how many can."""
    rng = np.random.default_rng(22)
    train, test = learned(rng, 300), learned(rng, 300)
    found = drift.function(subject(train, test.assign(x=test.x + 0.3)), max_shift=0.05)
    requirement = Requirement(
        id="max_shift", check="drift", parameter="max_shift", comparator="<=", bound=0.05, source="test"
    )
    unsure = [j for j in judge([requirement], found.measurements) if j.verdict is Verdict.INCONCLUSIVE]
    assert unsure
    assert all(j.n_needed is None or j.n_needed > 300 for j in unsure)
    assert any(j.n_needed for j in unsure)


def test_both_distributions_of_the_worst_are_drawn():
    """The worst columns come with a drawing of both tables, numbers as histograms, categories as bars."""
    rng = np.random.default_rng(20)
    train, test = rows(rng, 500), rows(rng, 500)
    moved = test.assign(a=test.a + 1, kind="u")
    found = drift.function(subject(train, moved), max_shift=0.1)
    assert [c.title for c in found.charts[:2]] == ["column kind", "column a"]
    assert [c.kind for c in found.charts[:2]] == ["bars", "steps"]
    for chart in found.charts[:2]:
        assert [s.name for s in chart.series] == ["train", "test"]
    assert sum(found.charts[1].series[0].y) == pytest.approx(1, abs=0.011)
