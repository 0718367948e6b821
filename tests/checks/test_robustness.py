"""The robustness check: violation rates by a sweep, counterexamples by Hypothesis."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from mlgate_checks.robustness import robustness
from pytest_mlgate.candidate.model import BlackBox
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Findings, Grade, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.statistics import clopper_pearson
from pytest_mlgate.subject import Subject

FEATURES = ("debt", "income", "kind")


def table(rows: int = 1_000, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "debt": rng.integers(0, 60, rows),
            "income": rng.normal(50, 12, rows).round(2),
            "kind": rng.integers(0, 3, rows),
            "label": rng.integers(0, 2, rows),
            "sex": rng.choice(["female", "male"], rows),
        }
    )


def honest(matrix: np.ndarray) -> np.ndarray:
    """More debt never helps, more income never hurts, and the kind plays no part."""
    return 1 / (1 + np.exp(0.08 * (matrix[:, 0] - 30) - 0.05 * (matrix[:, 1] - 50)))


def subject(function: Any, frame: Any = None, seed: int = 0, train: Any = None) -> Subject:
    model = BlackBox(function=function, name="model", features=FEATURES, digest="sha256:1")
    test = table() if frame is None else frame
    data = Dataset(test=test, label="label", features=FEATURES, train=train)
    return Subject(
        release=model,
        parent=model,
        baseline=None,
        data=data,
        training_record=None,
        levels=levels_for(0.05, 1),
        seed=seed,
    )


def check(on: Subject, **parameters: Any) -> Findings:
    return robustness.function(on, **parameters)


def verdicts(findings: Findings, bound: float) -> list[Verdict]:
    requirement = Requirement(
        id="r", check="robustness", parameter="max_violation_rate", comparator="<=", bound=bound, source="t"
    )
    return [j.verdict for j in judge([requirement], findings.measurements)]


def planted(matrix: np.ndarray) -> np.ndarray:
    """In about 1% of the rows (an income near 50), debt from 20 on helps."""
    odd = np.abs(matrix[:, 1] - 50) < 0.16
    return np.where(odd & (matrix[:, 0] >= 20), 0.99, honest(matrix))


def test_a_violation_in_one_percent_of_the_rows_is_caught_with_every_seed():
    """A violation planted in 1% of the rows fails a bound of 0.1% with each of 20 seeds."""
    share = float((np.abs(table()["income"] - 50) < 0.16).mean())
    assert share == pytest.approx(0.01, abs=0.003)
    for seed in range(20):
        findings = check(subject(planted, seed=seed), decreasing=("debt",), max_violation_rate=0.001)
        assert verdicts(findings, 0.001) == [Verdict.FAIL]
        assert findings.tables[0].rows[0][3] == "20", "shrunk to where the violation begins"


def test_an_honest_model_passes_and_never_fails():
    """A model that keeps all its relations passes with each of 10 seeds and has no counterexample."""
    for seed in range(10):
        findings = check(
            subject(honest, seed=seed),
            decreasing=("debt",),
            increasing=("income",),
            invariant=("kind",),
            max_violation_rate=0.001,
            pairs=20_000,
        )
        assert verdicts(findings, 0.001) == [Verdict.PASS] * 3
        assert findings.tables[0].rows == ()


def test_the_counterexample_changes_one_column_of_one_row_by_as_little_as_shows_the_violation():
    """The reported row, changed as reported and in nothing else, gives the reported probabilities."""
    findings = check(subject(planted), decreasing=("debt",), max_violation_rate=0.001)
    (relation, row, before_value, after_value, before, after, by) = findings.tables[0].rows[0]
    original = table().loc[[row], list(FEATURES)]
    changed = original.assign(debt=int(after_value))
    assert relation == "decreasing debt"
    assert by == "sweep, shrunk by Hypothesis"
    assert int(original["debt"].iloc[0]) == int(before_value)
    assert int(after_value) == 20, "debt helps from 20 on"
    assert planted(original.to_numpy(dtype=np.float32))[0] == pytest.approx(before)
    assert planted(changed.to_numpy(dtype=np.float32))[0] == pytest.approx(after)
    assert after - before > 0.01
    expected = f"row {row}: debt {before_value} -> 20 moves p(positive) {before:.3f} -> {after:.3f}"
    assert findings.measurements[0].detail.startswith(expected)


def test_hypothesis_reports_a_violation_between_the_values_that_occur():
    """Where no value that occurs violates, but one between them does, the detail and the table say so."""

    def gap(matrix: np.ndarray) -> np.ndarray:
        return np.where((matrix[:, 0] > 30) & (matrix[:, 0] < 70), 0.9, 0.5)

    frame = table()
    frame["debt"] = np.where(frame["debt"] < 30, frame["debt"], 70 + frame["debt"])
    findings = check(subject(gap, frame), decreasing=("debt",), max_violation_rate=0.001)
    assert findings.measurements[0].value == 0
    assert "Hypothesis found one: row " in findings.measurements[0].detail
    (row,) = findings.tables[0].rows
    assert row[3] == "31"
    assert row[-1] == "Hypothesis alone"


@pytest.mark.parametrize("kind", ["increasing", "invariant"])
def test_each_kind_of_relation_fails_a_model_that_breaks_it(kind: str):
    """A model whose score falls with debt fails both increasing=debt and invariant=debt."""
    findings = check(subject(honest), **{kind: ("debt",)}, max_violation_rate=0.01)
    assert verdicts(findings, 0.01) == [Verdict.FAIL]
    assert findings.tables[0].rows[0][0] == f"{kind} debt"


def test_a_move_within_the_tolerance_is_no_violation():
    """A tolerance above the largest move makes the same model pass."""
    findings = check(subject(honest), increasing=("debt",), tolerance=0.99, max_violation_rate=0.01)
    assert verdicts(findings, 0.01) == [Verdict.PASS]


def test_an_invariant_on_a_column_the_model_does_not_read_says_that_it_is_trivial():
    """A text column outside the features holds trivially, and the detail says why."""
    findings = check(subject(honest), invariant=("sex",), max_violation_rate=0.001)
    assert findings.measurements[0].value == 0
    assert findings.measurements[0].detail == "holds trivially: the model does not read column 'sex'"


def test_a_text_column_that_the_model_reads_is_swapped_for_values_that_occur():
    """An invariant on text finds the model that reads it, and names the two values."""

    class Reader:
        identity = subject(honest).release.identity
        threshold = 0.5

        def predict_proba(self, frame: Any) -> np.ndarray:
            return np.where(np.asarray(frame["sex"].to_list()) == "male", 0.8, 0.6)

    base = subject(honest)
    data = Dataset(test=table(), label="label", features=(*FEATURES, "sex"))
    on = Subject(Reader(), Reader(), None, data, None, base.levels, 0)
    findings = check(on, invariant=("sex",), max_violation_rate=0.01)
    assert findings.measurements[0].value == 1
    assert set(findings.tables[0].rows[0][2:4]) == {"female", "male"}


def test_a_constant_column_is_not_measured_and_the_reason_given():
    """Where no row allows a change, there is no value, so that the requirement is not run."""
    findings = check(subject(honest, table().assign(debt=3)), decreasing=("debt",), max_violation_rate=0.1)
    assert findings.measurements[0].value is None
    assert findings.measurements[0].grade is Grade.MISSING
    assert "has no greater value" in findings.measurements[0].detail
    assert verdicts(findings, 0.1) == [Verdict.NOT_RUN]


def test_new_values_come_from_the_training_table_too():
    """A column that is constant in the test table is changed to values of the training table."""
    frame = table().assign(debt=3)
    findings = check(
        subject(honest, frame, train=table(seed=2)), increasing=("debt",), max_violation_rate=0.1
    )
    assert verdicts(findings, 0.1) == [Verdict.FAIL]


def test_missing_values_are_left_alone_by_raises():
    """Rows whose cell is missing are not raised, and no row is raised to a missing value."""
    frame = table()
    frame.loc[::3, "income"] = np.nan

    def careful(matrix: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(matrix[:, 1]), 0.0, honest(np.nan_to_num(matrix)))

    findings = check(subject(careful, frame), increasing=("income",), max_violation_rate=0.001)
    assert verdicts(findings, 0.001) == [Verdict.PASS]


def test_a_polars_table_gives_the_same_rate_as_a_pandas_table():
    """The table library changes nothing in the findings."""
    first = check(subject(planted), decreasing=("debt",), max_violation_rate=0.001)
    second = check(subject(planted, pl.from_pandas(table())), decreasing=("debt",), max_violation_rate=0.001)
    assert first.measurements == second.measurements
    assert first.tables == second.tables


def test_the_same_seed_gives_the_same_findings_and_another_seed_other_pairs():
    """Findings are a function of the seed."""
    parameters: dict[str, Any] = {"decreasing": ("debt",), "max_violation_rate": 0.001}
    assert check(subject(planted, seed=3), **parameters) == check(subject(planted, seed=3), **parameters)
    values = {check(subject(planted, seed=s), **parameters).measurements[0].value for s in range(3)}
    assert len(values) > 1


def test_the_failing_side_is_divided_over_the_relations_and_the_passing_side_is_not():
    """A second relation widens the lower end of the first one's interval and leaves the upper end."""
    alone = check(subject(planted), decreasing=("debt",)).measurements[0]
    both = check(subject(planted), decreasing=("debt",), invariant=("sex",)).measurements[0]
    tails = levels_for(0.05, 1).split(2).tails("<=")
    assert alone.value == both.value
    assert both.interval is not None
    assert (both.interval.low, both.interval.high) == clopper_pearson(
        round((both.value or 0) * both.n), both.n, tails
    )
    assert both.interval.high == alone.interval.high
    assert both.interval.low < alone.interval.low


def test_nothing_is_printed_and_no_folder_is_left(tmp_path: Path):
    """Hypothesis leaves neither output nor its `.hypothesis` folder, not even in a fresh process."""
    source = Path(__file__)
    script = (
        f"import sys; sys.path.insert(0, {str(source.parent)!r})\n"
        f"from {source.stem} import check, honest, planted, subject\n"
        "check(subject(planted), decreasing=('debt',), increasing=('income',), invariant=('kind',))\n"
        "check(subject(honest), decreasing=('debt',), increasing=('income',), invariant=('kind',))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_six_relations_take_less_than_ten_seconds():
    """Six relations at the default number of pairs stay under 10 s."""
    rng = np.random.default_rng(0)
    frame = table().assign(**{f"x{i}": rng.normal(size=1_000) for i in range(6)})
    started = time.monotonic()
    findings = check(
        subject(honest, frame),
        decreasing=("debt", "x0", "x1"),
        increasing=("income", "x2"),
        invariant=("kind",),
    )
    assert time.monotonic() - started < 10
    assert len(findings.measurements) == 6


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "no relation was named"),
        ({"decreasing": ("debt",), "tolerance": -0.1}, "tolerance=-0.1 is outside"),
        ({"decreasing": ("debt",), "tolerance": float("nan")}, "tolerance=nan is outside"),
        ({"decreasing": ("debt",), "tolerance": 1.0}, "tolerance=1 is outside"),
        ({"decreasing": ("debt",), "pairs": 0}, "pairs=0"),
        ({"decreasing": ("debt",), "increasing": ("debt",)}, "named as increasing and decreasing"),
        ({"increasing": ("sex",)}, "column 'sex' holds no numbers"),
    ],
)
def test_unusable_parameters_are_refused(parameters: dict[str, Any], message: str):
    """A relation that cannot be tested is refused with what is wrong."""
    with pytest.raises(CheckError, match=message):
        check(subject(honest), **parameters)


def test_a_model_of_several_classes_is_refused():
    """A probability of the positive class needs a binary model."""
    with pytest.raises(CheckError, match="3 classes"):
        check(subject(lambda m: np.full((len(m), 3), 1 / 3)), decreasing=("debt",))
