"""Each part of the data-quality check on tables of known truth, and on input that breaks such checks."""

from __future__ import annotations

import importlib.util

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlgate_checks import _faults, _quality_codes, _quality_rows
from mlgate_checks._quality_spelling import slips_of
from mlgate_checks.data_quality import data_quality
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Grade, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.subject import Subject

OFF = {"max_constant_columns": None, "max_swapped_columns": None, "max_predictive_power": None}


def people(rows, seed):
    """Amounts, a code, text and a label that two of them explain in part."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "income": rng.lognormal(3, 0.5, rows),
            "age": rng.normal(40, 8, rows),
            "city": rng.choice(["Hamburg", "Bremen", "Kiel"], rows, p=[0.6, 0.3, 0.1]),
            "flag": rng.integers(0, 2, rows),
        }
    )
    chance = 1 / (1 + np.exp(-(table.age - 40) / 4 - (np.log(table.income) - 3)))
    return table.assign(label=(rng.random(rows) < chance).astype(int))


TRAIN, TEST = people(2000, 0), people(2000, 1)


def judged(train, test, parameter, bound, **settings_):
    """The judge's verdict, and the measurement, for every scope that answers to the bound."""
    task = settings_.pop("task", "binary")
    data = Dataset(test=test, train=train, label="label", task=task, features=settings_.pop("features", None))
    subject = Subject(None, None, None, data, None, levels_for(0.05, 10), 0)
    found = data_quality.function(subject, **{**OFF, parameter: bound}, **settings_)
    requirement = Requirement(
        id=parameter,
        check="data_quality",
        parameter=parameter,
        comparator=data_quality.bounds[parameter],
        bound=bound,
        source="test",
    )
    judgements = judge([requirement], found.measurements)
    return {j.scope: (j.verdict, found.measurements[j.measurement]) for j in judgements}


def verdicts(*args, **kwargs):
    """The verdict for every scope."""
    return {scope: verdict for scope, (verdict, _) in judged(*args, **kwargs).items()}


# Rows


@given(st.integers(0, 50), st.integers(1, 12), st.floats(0, 0.45))
@settings(max_examples=40, deadline=None)
def test_pairs_within_the_tolerance_are_found_and_no_others(seed, columns, size):
    """Rows moved by less than the tolerance pair up with their originals; independent rows never do."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(400, columns + 3))
    moved = rows[:40] + rng.uniform(-1, 1, (40, columns + 3)) * size * _quality_rows.TOLERANCE
    stacked = np.concatenate([rows, moved])
    pairs = _quality_rows.near_pairs(list(stacked.T), np.zeros(len(stacked), np.uint64), seed)
    assert set(map(tuple, pairs)) <= {(i, 400 + i) for i in range(40)} | close(stacked)
    assert len(pairs) >= 37


def close(rows):
    """All pairs that lie within the tolerance, one by one."""
    spread = np.subtract(*np.quantile(rows, [0.75, 0.25], axis=0)) / 1.35
    apart = np.abs(rows[:, None] - rows[None]) / spread <= _quality_rows.TOLERANCE
    return {(i, j) for i, j in zip(*np.nonzero(apart.all(axis=2)), strict=True) if i < j}


def test_near_rows_are_told_from_equal_ones_and_seen_across_the_split():
    """Copies with a moved amount are near; exact copies are duplicates and count elsewhere."""
    near = TEST.copy()
    near.loc[:99, :] = TRAIN.loc[:99, :]
    assert Verdict.FAIL not in verdicts(TRAIN, near, "max_near_duplicate_share", 0.01).values()
    near.loc[:99, "income"] *= 1.0005
    found = verdicts(TRAIN, near, "max_near_duplicate_share", 0.01)
    assert {scope for scope, v in found.items() if v is Verdict.FAIL} == {"test rows near a train row"}


def test_without_amounts_nothing_is_near():
    """Codes and text are equal or not: what is near cannot be said, and that blocks."""
    codes = [t[["city", "flag", "label"]] for t in (TRAIN, TEST)]
    assert set(verdicts(*codes, "max_near_duplicate_share", 0.01).values()) == {Verdict.NOT_RUN}


def test_equal_rows_of_different_labels_conflict():
    """Rows with the same features and another label are counted on both sides."""
    twice = pd.concat([TEST, TEST[:50].assign(label=1 - TEST.label[:50])], ignore_index=True)
    found = judged(TRAIN, twice, "max_conflicting_share", 0.01)
    assert found["test table"][0] is Verdict.FAIL
    assert found["test table"][1].value == pytest.approx(100 / 2050)
    assert found["train table"][0] is Verdict.PASS


@given(st.lists(st.sampled_from([0.0, -0.0, 1.5, np.nan, np.inf]), min_size=2, max_size=30))
@settings(max_examples=100, deadline=None)
def test_rows_have_equal_keys_exactly_if_they_are_equal(values):
    """Zero has no sign, one missing value is as good as another, and nothing else is the same."""
    keys = _faults.row_keys({"a": pd.DataFrame({"x": values})}, ["x"])["a"]
    for i, a in enumerate(values):
        for j, b in enumerate(values):
            assert (keys[i] == keys[j]) == (a == b or (a != a and b != b))


# Columns and cells


def test_constant_columns_are_counted_unless_chance_explains_them():
    """A flag of one row in 2,000 may be absent from the next 2,000; one that half of them have may not."""
    rare = TRAIN.assign(flag=(TRAIN.index == 7).astype(int)), TEST.assign(flag=0)
    assert verdicts(*rare, "max_constant_columns", 0) == {"": Verdict.PASS}
    assert verdicts(TRAIN, TEST.assign(flag=0), "max_constant_columns", 0) == {"": Verdict.FAIL}
    both = TRAIN.assign(flag=np.nan), TEST.assign(flag=np.nan)
    assert judged(*both, "max_constant_columns", 0)[""][1].detail == "flag (test and train)"


def test_missing_cells_may_be_many_and_not_change():
    """Half empty on either side is no change; a tenth more on one side is."""
    rng = np.random.default_rng(0)
    half = [t.assign(age=t.age.mask(rng.random(2000) < 0.5)) for t in (TRAIN, TEST)]
    assert verdicts(*half, "max_missing_change", 0.1)["column age"] is Verdict.PASS
    spiked = TEST.assign(age=TEST.age.mask(rng.random(2000) < 0.1))
    assert verdicts(TRAIN, spiked, "max_missing_change", 0.02)["column age"] is Verdict.FAIL


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        (slip, "Hamburg")
        for slip in ("hamburg", "Hambrug", "Hamurg", "Hamburrg", "Ham burg ", "Homburg", "Hamburg-")
    ],
)
def test_slips_are_told_with_what_was_meant(slip, meant):
    """Case, blanks, signs, and one letter lost, added, changed or exchanged."""
    assert slips_of({"Hamburg": 1000, "Bremen": 500, slip: 3}) == {slip: meant}


@pytest.mark.parametrize("counts", [{"9th": 900, "8th": 3}, {"Iran": 40, "Iraq": 12}, {"no": 900, "on": 2}])
def test_other_names_are_no_slips(counts):
    """Numbers, names that are both in use, and words too short to tell are left alone."""
    assert slips_of(counts) == {}


def test_a_hundred_thousand_categories_are_compared_in_seconds():
    """Identifiers are looked up, not compared with one another."""
    names = {f"customer {i:06d} of the house": 1 for i in range(100_000)}
    assert slips_of({**names, "customer of the house": 5000}) == {}
    wide = [t.assign(city=np.arange(len(t)).astype(str)) for t in (people(100_000, 0), people(100_000, 1))]
    found = verdicts(*wide, "max_unseen_share", 0.01)
    assert found == {"other columns (test)": Verdict.PASS}


def test_codes_for_nothing_are_found_among_numbers_and_words():
    """Nines and 666 beyond the rest, a lone -1, a placeholder among words; not a real 99 or a ternary -1."""

    def coded(*values):
        distinct, times = np.unique(np.asarray(values, float), return_counts=True)
        return set(distinct[_quality_codes.codes(distinct, times)])

    ages = list(range(18, 80))
    assert coded(*ages, 999, 999) == {999}
    assert coded(*ages, 999999.4) == {999999.4}
    assert coded(0, 1, 1, 0, 666, 666) == {666}
    assert coded(*ages, -1, -1) == {-1}
    assert coded(*ages, 99, 98, 97) == set()
    assert coded(-1, -1, 0, 0, 1, 1) == set()
    assert coded(*range(0, 2000)) == set()
    assert coded(*range(0, 2000), *[999] * 60) == {999}
    words = TEST.assign(city=TEST.city.where(TEST.index > 30, " N/A"))
    assert verdicts(TRAIN, words, "max_sentinel_share", 0)["column city (test)"] is Verdict.FAIL


@pytest.mark.parametrize("factor", [1000, 100, 0.01, 2.54, 0.453592])
def test_a_column_in_another_unit_is_named_with_the_factor(factor):
    """A whole column in cents, centimetres or kilograms is told; one that moved for itself is not."""
    found = judged(TRAIN, TEST.assign(age=TEST.age * factor), "max_unit_change_share", 0)
    assert [s for s, (v, _) in found.items() if v is Verdict.FAIL] == ["column age (test)"]
    assert "factor" in found["column age (test)"][1].detail
    drifted = TEST.assign(age=TEST.age * 1.3 + 4)
    assert set(verdicts(TRAIN, drifted, "max_unit_change_share", 0).values()) == {Verdict.PASS}


def test_a_few_degrees_of_the_other_kind_are_found():
    """Body temperatures in Fahrenheit among Celsius, 1% of them."""
    rng = np.random.default_rng(0)
    celsius = [t.assign(age=rng.normal(37, 0.7, len(t))) for t in (TRAIN, TEST)]
    mixed = celsius[1].assign(age=celsius[1].age.where(celsius[1].index >= 20, celsius[1].age * 1.8 + 32))
    found = judged(celsius[0], mixed, "max_unit_change_share", 0)
    assert found["column age (test)"][1].detail == "20 cells: Fahrenheit for Celsius"


def test_columns_that_changed_places_are_named_and_a_drift_is_not():
    """Both columns must look like the other one in training."""
    swapped = TEST.assign(age=TEST.income, income=TEST.age)
    found = judged(TRAIN, swapped, "max_swapped_columns", 0)[""]
    assert (found[0], found[1].detail) == (Verdict.FAIL, "income and age")
    drifted = TEST.assign(age=TEST.age + 10, income=TEST.income * 2)
    assert verdicts(TRAIN, drifted, "max_swapped_columns", 0) == {"": Verdict.PASS}


def test_the_rarest_class_and_declared_groups_have_their_shares():
    """A class of 1% fails a bound of 5%; a city at twice its share of the population fails, too."""
    rare = TEST.assign(label=(TEST.index < 20).astype(int))
    assert verdicts(None, rare, "min_class_share", 0.05) == {"test table": Verdict.FAIL}
    population = {"city": {"Hamburg": 0.6, "Bremen": 0.3, "Kiel": 0.1}}
    found = verdicts(None, TEST, "max_representation_gap", 0.06, population=population)
    assert set(found.values()) == {Verdict.PASS}
    population = {"city": {"Hamburg": 0.3, "Bremen": 0.6, "Kiel": 0.1}}
    found = verdicts(None, TEST, "max_representation_gap", 0.05, population=population)
    assert found["city=Hamburg (test)"] is found["city=Bremen (test)"] is Verdict.FAIL
    with pytest.raises(CheckError, match="no shares of one whole"):
        judged(None, TEST, "max_representation_gap", 0.05, population={"city": {"Kiel": 1.5}})


# Labels


def test_what_a_column_tells_of_the_label():
    """A copy of the label tells all, an honest column some, noise nothing; with three classes likewise."""
    copied = [t.assign(copy=t.label * 2.5 - 1) for t in (TRAIN, TEST)]
    found = judged(*copied, "max_predictive_power", 0.9)
    assert found["column copy"][0] is Verdict.FAIL
    assert 0.4 < found["column age"][1].value < 0.8
    assert abs(found["column flag"][1].value) < 0.1
    three = [t.assign(label=np.digitize(t.age, [36, 44]), copy=lambda t: t.label) for t in copied]
    found = judged(*three, "max_predictive_power", 0.8, task="multiclass")
    assert {s for s, (v, _) in found.items() if v is Verdict.FAIL} == {"column age", "column copy"}


def test_an_amount_can_be_given_away_too():
    """A regression's label is told up to its middle and above."""
    amounts = [t.assign(label=t.income + 0.0, copy=t.income * 2) for t in (TRAIN, TEST)]
    found = verdicts(*amounts, "max_predictive_power", 0.9, task="regression", features=["copy", "age"])
    assert found == {"column copy": Verdict.FAIL, "column age": Verdict.PASS}


def test_the_order_of_the_rows_can_give_the_label_away():
    """A table sorted by its label fails; the same rows in any order pass."""
    found = verdicts(TRAIN, TEST.sort_values("label"), "max_order_power", 0.3)
    assert found == {"order of the test table": Verdict.FAIL, "order of the train table": Verdict.PASS}


def test_test_rows_from_the_time_of_training_are_counted():
    """By times, by years, and by text; a mixture of time zones cannot be compared, and says so."""
    days = pd.Series(pd.date_range("2024-01-01", periods=2000, freq="h"))
    train, test = TRAIN.assign(day=days), TEST.assign(day=days + pd.Timedelta(days=100))
    late = test.assign(day=test.day.where(test.index > 9, days[5]))
    for change in (lambda s: s, lambda s: s.astype(str), lambda s: s.astype("int64"), dt_utc):
        tables = [t.assign(day=change(t.day)) for t in (train, test, late)]
        assert verdicts(*tables[:2], "max_time_overlap_share", 0, time=("day",)) == {
            "column day": Verdict.PASS
        }
        found = judged(tables[0], tables[2], "max_time_overlap_share", 0, time=("day",))["column day"]
        assert (found[0], found[1].value) == (Verdict.FAIL, 10 / 2000)
    mixed = judged(train, test.assign(day=dt_utc(test.day)), "max_time_overlap_share", 0, time=("day",))
    verdict, measurement = mixed["column day"]
    assert verdict is Verdict.NOT_RUN
    assert "time zone" in measurement.detail
    broken = judged(train, test.assign(day="soon"), "max_time_overlap_share", 0, time=("day",))
    assert broken["column day"][0] is Verdict.NOT_RUN


def dt_utc(series):
    """The times with a zone."""
    return series.dt.tz_localize("UTC")


def test_labels_of_other_rows_are_seen_and_honest_ones_are_not():
    """Shuffled labels have no signal; honest ones of both tables have it, and agree."""
    assert set(verdicts(TRAIN, TEST, "min_label_signal", 0.7).values()) == {Verdict.PASS}
    assert set(verdicts(TRAIN, TEST, "max_label_disagreement_change", 0.1).values()) == {Verdict.PASS}
    shuffled = TEST.assign(label=TEST.label.sample(frac=1, random_state=0).to_numpy())
    found = verdicts(TRAIN, shuffled, "min_label_signal", 0.7)
    assert found == {"test labels": Verdict.FAIL, "train labels": Verdict.PASS}


@pytest.mark.parametrize(
    ("library", "parameter", "settings_"),
    [("cleanlab", "max_label_error_share", {}), ("pandera", "max_invalid_share", {"schema": "schema.yaml"})],
)
def test_what_an_absent_library_would_tell_is_not_run(library, parameter, settings_):
    """Without the library nothing is estimated by other means; the message says how to install it."""
    if importlib.util.find_spec(library):
        pytest.skip(f"{library} is installed")
    ((verdict, measurement),) = judged(TRAIN, TEST, parameter, 0.05, **settings_).values()
    assert (verdict, measurement.grade) == (Verdict.NOT_RUN, Grade.MISSING)
    assert f"{library} is not installed" in measurement.detail
    assert "pip install" in measurement.detail


def test_cleanlab_estimates_wrong_labels():
    """Its estimate rises with flipped labels, and is graded as an estimate."""
    pytest.importorskip("cleanlab")
    flipped = TEST.assign(label=TEST.label.where(TEST.index > 400, 1 - TEST.label))
    honest = judged(TRAIN, TEST, "max_label_error_share", 0.05)["test labels"][1]
    wrong = judged(TRAIN, flipped, "max_label_error_share", 0.05)["test labels"][1]
    assert honest.grade is wrong.grade is Grade.ESTIMATED
    assert wrong.value > honest.value + 0.05


def test_a_schema_that_is_declared_holds_or_not(tmp_path):
    """Rows beyond a declared range are counted by column; a column that is not there breaks every row."""
    pytest.importorskip("pandera")
    path = tmp_path / "schema.yaml"
    path.write_text(SCHEMA)
    found = judged(TRAIN, TEST, "max_invalid_share", 0.01, schema=str(path))
    assert found["column income (test)"][1].value == pytest.approx((TEST.income > 50).mean())
    assert found["column income (test)"][0] is found["column height (test)"][0] is Verdict.FAIL


SCHEMA = """
schema_type: dataframe
columns:
  income:
    dtype: float64
    in_range: {min_value: 0, max_value: 50, include_min: true, include_max: true}
  height: {dtype: float64}
"""


def test_the_serving_path_must_answer_alike(tmp_path):
    """Rounding in 32 bits is no skew; a tenth of other values is; rows that are not served are counted."""
    keyed = TEST.assign(id=np.arange(2000))
    served = keyed.sample(frac=1, random_state=0).astype({"income": np.float32}).drop(columns="label")
    path = tmp_path / "served.csv"

    def found(table):
        table.to_csv(path, index=False)
        asked = {"serving": str(path), "key": ("id",), "features": ["income", "age", "city"]}
        return verdicts(None, keyed, "max_serving_skew_share", 0.01, **asked)

    assert set(found(served).values()) == {Verdict.PASS}
    skewed = served.assign(age=served.age.where(served.id > 200, served.age + 1))
    assert found(skewed)["column age"] is Verdict.FAIL
    assert found(served[:1500])["rows that are not served"] is Verdict.FAIL
    with pytest.raises(CheckError, match="repeat the key"):
        found(pd.concat([served, served[:3]]))


# Bad input


@pytest.mark.parametrize("parameter", [p for p, c in data_quality.bounds.items() if p not in OFF])
def test_one_row_proves_nothing(parameter):
    """No bound passes on the strength of a single row of test, and none breaks on it."""
    if parameter in ("max_failed_conditions", "max_mixed_type_share", "max_misspelt_share"):
        pytest.skip("counts conditions, or the cells of other tables, too")
    bound = 0.5 if parameter.startswith("min") else 0.02
    found = judged(TRAIN, TEST[:1], parameter, bound)
    of_test = {v for s, (v, _) in found.items() if "train" not in s}
    assert Verdict.PASS not in of_test
    assert Verdict.ERROR not in of_test


def test_disjoint_columns_are_refused_by_name():
    """A training table of other columns is an error that names those it lacks."""
    with pytest.raises(CheckError, match="the train table has no column 'income', 'age'"):
        judged(TRAIN.rename(columns={"income": "a", "age": "b"}), TEST, "max_missing_share", 0.1)


def test_an_empty_column_is_never_silence():
    """All cells missing: constant, missing, and not run where values are needed."""
    empty = TEST.assign(age=np.nan)
    assert verdicts(TRAIN, empty, "max_constant_columns", 0) == {"": Verdict.FAIL}
    assert verdicts(TRAIN, empty, "max_missing_change", 0.1)["column age"] is Verdict.FAIL
    found = judged(TRAIN, empty, "max_unit_change_share", 0)["column age (test)"]
    assert found[0] is Verdict.NOT_RUN
    assert "fewer than 20 values" in found[1].detail
    assert verdicts(TRAIN, empty, "max_dominant_share", 0.9)["column age (test)"] is Verdict.NOT_RUN


def test_mixed_types_are_counted_and_do_not_stop_the_rest():
    """Numbers among words are told by type; numbers in train and words in test by column."""
    mixed = TEST.assign(city=TEST.city.where(TEST.index > 100, 7))
    found = judged(TRAIN, mixed, "max_mixed_type_share", 0.01)["column city (test)"]
    assert (found[0], found[1].detail) == (Verdict.FAIL, "1,899 texts, 101 numbers")
    worded = TEST.assign(age=TEST.age.astype(str))
    found = judged(TRAIN, worded, "max_predictive_power", 0.9)["column age"]
    assert found[0] is Verdict.NOT_RUN
    assert "numbers in one table" in found[1].detail


def test_infinities_and_a_repeated_index_change_nothing_else():
    """An infinite cell is extreme; no other bound breaks on it, nor on an index that repeats."""
    odd = TEST.assign(age=TEST.age.where(TEST.index != 3, np.inf)).set_axis([1] * len(TEST))
    bounds = {p: (0.5 if p.startswith("min") else 0.02) for p in data_quality.bounds if p not in OFF}
    for parameter in set(bounds) - {"max_failed_conditions"}:
        found = judged(TRAIN, odd, parameter, bounds[parameter])
        assert all(v is not Verdict.ERROR for v, _ in found.values()), parameter
    assert verdicts(TRAIN, odd, "max_extreme_share", 0)["column age (test)"] is Verdict.FAIL


def test_what_was_not_declared_is_not_run():
    """A bound on times, groups, a schema or serving without its declaration blocks and says what to write."""
    for parameter, name in {
        "max_time_overlap_share": "time",
        "max_representation_gap": "population",
        "max_invalid_share": "schema",
        "max_serving_skew_share": "serving",
    }.items():
        ((verdict, measurement),) = judged(TRAIN, TEST, parameter, 0.01).values()
        assert verdict is Verdict.NOT_RUN
        assert f"{name}=..." in measurement.detail
