"""The gate as a whole: locked before measured, one candidate, and a check that breaks blocks."""

import dataclasses

import numpy as np
import pytest

from pytest_mlgate import policy
from pytest_mlgate.candidate import Candidate, OnnxModel
from pytest_mlgate.contract import AtMost, check
from pytest_mlgate.errors import CheckError, MissingExtra, Misuse
from pytest_mlgate.evidence import Findings, Interval, Measurement, Session, Table, Verdict
from pytest_mlgate.gate import Gate, Places
from pytest_mlgate.plan import make_plan


@pytest.fixture
def gate(tmp_path):
    """A function that makes a gate over checks of its own."""

    def make(checks, text="", say=lambda _: None):
        path = tmp_path / "mlgate.toml"
        sections = "".join(f"[checks.{name}]\nmax = 1\n" for name in checks)
        path.write_text(f"required = [{', '.join(repr(c) for c in checks)}]\n{text}{sections}")
        plan = make_plan(policy.load(path), [], checks)
        return Gate(plan=plan, checks=checks, places=Places(tmp_path / "c", tmp_path / "s"), say=say), plan

    return make


def opened(gate_and_plan, data, candidate):
    gate, plan = gate_and_plan
    gate.open(data=data, candidate=candidate, baseline=None, training_record=None)
    return {request.id: gate.run(request) for request in plan.requests}


def breaking(error):
    @check("broken")
    def broken(subject, *, max: AtMost = None):
        """Breaks."""
        raise error

    return broken


@pytest.mark.parametrize(
    ("error", "verdict", "message"),
    [
        (CheckError("the rows hold NaN"), Verdict.ERROR, "the rows hold NaN"),
        (MissingExtra("fairlearn", "fairness"), Verdict.NOT_RUN, "pip install 'pytest-mlgate[fairness]'"),
        (ZeroDivisionError("division by zero"), Verdict.ERROR, "the check itself broke: ZeroDivisionError"),
        (AssertionError("no"), Verdict.ERROR, "the check itself broke: AssertionError: no"),
    ],
)
def test_a_check_that_breaks_blocks_and_says_why(gate, data, model_path, error, verdict, message):
    """Whatever a check raises becomes a verdict that blocks, on every one of its requirements."""
    found = opened(gate({"broken": breaking(error)}), data, model_path)["broken"]
    assert [j.verdict for j in found.judgements] == [verdict]
    assert message in found.judgements[0].message
    assert message in found.error


def test_a_broken_check_is_not_kept(gate, data, model_path):
    """Evidence of a check that broke is never reused."""
    made = gate({"broken": breaking(CheckError("once"))})
    opened(made, data, model_path)
    again = opened(gate({"broken": breaking(CheckError("twice"))}), data, model_path)["broken"]
    assert not again.reused
    assert again.error == "twice"


def test_the_lock_is_written_before_anything_is_measured(gate, data, tmp_path):
    """When a check runs, the lock already stands; the candidate's first answers come after it, too."""
    seen = []

    @check("looks")
    def looks(subject, *, max: AtMost = None):
        """Looks for the lock."""
        seen.append((tmp_path / "s" / "mlgate.lock").is_file())
        raise CheckError("enough")

    opened(gate({"looks": looks}), data, lambda rows: np.full(len(rows), 0.5))
    assert seen == [True]


def test_a_second_candidate_or_data_set_is_misuse(gate, data, model_path, linear_onnx, tmp_path):
    """A session decides on one candidate and one data set; the same ones again are accepted."""
    made = gate({"broken": breaking(CheckError("x"))})
    opened(made, data, model_path)
    opened(made, dataclasses.replace(data), str(model_path))
    other = tmp_path / "other.onnx"
    other.write_bytes(linear_onnx(1.0))
    with pytest.raises(Misuse, match="in one session"):
        opened(made, data, other)
    with pytest.raises(Misuse, match="in one session"):
        opened(made, dataclasses.replace(data, test=data.test[:-1]), model_path)


def test_nothing_is_measured_before_a_candidate_is_opened(gate):
    """A gate without a candidate has no subject and no facts."""
    made, _ = gate({"broken": breaking(CheckError("x"))})
    assert made.facts is None
    with pytest.raises(Misuse, match="no candidate was opened"):
        _ = made.subject


def test_the_release_artifact_is_kept_under_its_digest(build):
    """The report holds exactly the bytes that were measured."""
    built = build()
    release = built.gate.subject.release
    assert isinstance(release, OnnxModel)
    assert (built.folder / "release-artifact.onnx").read_bytes() == release.onnx
    assert built.run.release.digest == release.identity.digest


def test_a_clean_run_is_a_release(build):
    """Two requirements that hold, measured in a run without problems, are a release."""
    run = build().run
    assert run.decision.outcome == "release", run.decision.reasons
    assert [e.verdict for e in run.evidence] == [Verdict.PASS, Verdict.PASS]
    assert [d.role for d in run.data] == ["test", "train"]


@pytest.mark.parametrize("state", ["skipped", "xfailed", "deselected", "crashed", "not_run"])
def test_evidence_of_a_test_that_stopped_is_not_a_pass(build, state):
    """Although everything was measured and passes, a test that stopped short leaves `not_run` evidence."""
    run = build(session=Session(tests={"test_it": state})).run
    assert run.decision.outcome == "blocked"
    assert {e.verdict for e in run.evidence} == {Verdict.NOT_RUN}
    assert f"test_it was {state}" in run.evidence[0].judgements[0].message


def test_a_failed_bound_blocks_with_the_message(build):
    """A bound that does not hold blocks, and the reason has value, interval, n and bound."""
    run = build('required = ["accuracy"]\n[checks.accuracy]\nmin = 0.999\n').run
    assert run.decision.outcome == "blocked"
    assert "accuracy: accuracy 0." in run.decision.reasons[0].text
    assert "is below min=0.999" in run.decision.reasons[0].text


WAIVER = '[[waivers]]\nrequirement = "{}"\nowner = "ana"\napprover = "ben"\nreason = "known"\nexpires = {}\n'


@pytest.mark.parametrize(
    ("requirement", "expires", "outcome", "state"),
    [
        ("accuracy.min", "2999-01-01", "release", "in_force"),
        ("accuracy.min", "2020-01-01", "blocked", "expired"),
        ("accuracy.max", "2999-01-01", "blocked", "orphaned"),
    ],
)
def test_waivers_of_the_policy_reach_the_decision(build, requirement, expires, outcome, state):
    """A waiver in force releases a failed bound; an expired or orphaned one blocks and is listed as such."""
    text = 'required = ["accuracy"]\n[checks.accuracy]\nmin = 0.999\n' + WAIVER.format(requirement, expires)
    run = build(text).run
    assert run.decision.outcome == outcome
    assert [w.state for w in run.waivers] == [state]


def test_a_waiver_that_was_not_needed_is_listed_as_such(build):
    """A waiver for a requirement that holds stays on the record as not needed."""
    text = 'required = ["accuracy"]\n[checks.accuracy]\nmin = 0.6\n' + WAIVER.format(
        "accuracy.min", "2999-01-01"
    )
    run = build(text).run
    assert run.decision.outcome == "release"
    assert [w.state for w in run.waivers] == ["not_needed"]


def test_progress_names_every_request(gate, data, model_path):
    """Each request is announced before it is measured."""
    said = []
    opened(gate({"broken": breaking(CheckError("x"))}, say=said.append), data, model_path)
    assert said == ["broken"]


def _finding(value, n=100, **changes):
    interval = Interval(low=value, high=value, confidence=0.95)
    return Measurement(
        metric="m", value=value, unit="", n=n, interval=interval, method="t", bound="max", **changes
    )


def test_numbers_of_numpy_are_stored_as_plain_numbers(gate, data, model_path):
    """A check may report numpy scalars; what is judged and kept are Python's own numbers."""

    @check("numpy")
    def from_numpy(subject, *, max: AtMost = None):
        """Reports scalars of numpy."""
        measurement = _finding(np.float32(0.5), n=np.int64(100), unbounded=np.bool_(False))
        rows = ((np.int32(1), np.float32(0.25), np.bool_(True), np.str_("x")),)
        table = Table(title="t", columns=("a", "b", "c", "d"), rows=rows)
        return Findings(measurements=(measurement,), tables=(table,))

    evidence = opened(gate({"numpy": from_numpy}), data, model_path)["numpy"]
    assert [j.verdict for j in evidence.judgements] == [Verdict.PASS], evidence.error
    (m,) = evidence.measurements
    assert [type(v) for v in (m.value, m.n, m.interval.low, m.unbounded)] == [float, int, float, bool]
    assert [type(v) for v in evidence.tables[0].rows[0]] == [int, float, bool, str]
    assert evidence.tables[0].rows[0] == (1, 0.25, True, "x")


@pytest.mark.parametrize("broken", [np.nan, np.float32("nan"), np.inf, object(), "0.5"])
def test_findings_that_are_no_evidence_are_an_error_and_the_next_check_goes_on(
    gate, data, model_path, broken
):
    """A value that JSON or the data model cannot hold makes that check an error, and that check alone."""

    @check("bad")
    def bad(subject, *, max: AtMost = None):
        """Reports what is no number."""
        return Findings(measurements=(dataclasses.replace(_finding(0.5), value=broken),))

    @check("good")
    def good(subject, *, max: AtMost = None):
        """Reports a number."""
        return Findings(measurements=(_finding(0.5),))

    found = opened(gate({"bad": bad, "good": good}), data, model_path)
    assert [j.verdict for j in found["bad"].judgements] == [Verdict.ERROR]
    assert "the check itself broke" in found["bad"].error
    assert found["bad"].measurements == ()
    assert [j.verdict for j in found["good"].judgements] == [Verdict.PASS]


def test_nan_in_a_table_is_an_error(gate, data, model_path):
    """NaN beside the measurements makes an error as well: the report could not be written with it."""

    @check("table")
    def in_table(subject, *, max: AtMost = None):
        """Reports NaN in a table."""
        table = Table(title="t", columns=("a",), rows=((float("nan"),),))
        return Findings(measurements=(_finding(0.5),), tables=(table,))

    evidence = opened(gate({"table": in_table}), data, model_path)["table"]
    assert [j.verdict for j in evidence.judgements] == [Verdict.ERROR]


@pytest.mark.parametrize("other", [{"threshold": 0.9}, {"output": "logit"}, {"features": ("b", "a")}])
def test_the_same_file_read_otherwise_is_a_second_candidate(gate, data, model_path, other):
    """One ONNX file with another threshold, output or order of features is not the session's candidate."""
    made = gate({"broken": breaking(CheckError("x"))})
    opened(made, data, model_path)
    with pytest.raises(Misuse, match="in one session"):
        opened(made, data, Candidate(model_path, **other))


@pytest.mark.parametrize(
    "other", [{"positive": 0}, {"features": ("b", "a")}, {"label": "g", "positive": "m"}]
)
def test_the_same_tables_with_another_meaning_are_second_data(gate, data, model_path, other):
    """The same rows with another positive class, order of features or label are not the session's data."""
    made = gate({"broken": breaking(CheckError("x"))})
    opened(made, data, model_path)
    with pytest.raises(Misuse, match="in one session"):
        opened(made, dataclasses.replace(data, **{"features": ("a", "b"), **other}), model_path)
