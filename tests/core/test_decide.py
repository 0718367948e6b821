"""From verdicts to the decision: everything that is missing blocks, and says what it is."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mlgate.decision import acceptable, decide, waive
from pytest_mlgate.evidence import (
    SEVERITY,
    CheckEvidence,
    Interval,
    Judgement,
    Measurement,
    Requirement,
    Session,
    Verdict,
    Waiver,
    worst,
)

REQUIREMENT = Requirement(
    id="drift.max", check="drift", parameter="max", comparator="<=", bound=0.1, source="mlgate.toml:3"
)
MEASUREMENT = Measurement(
    metric="distance",
    value=0.05,
    unit="",
    n=10,
    interval=Interval(low=0.0, high=0.1, confidence=0.95),
    method="test",
    bound="max",
)


def judgement(verdict="pass", **changes) -> Judgement:
    fields = {"requirement": "drift.max", "scope": "", "message": f"drift: {verdict}", "measurement": 0}
    return Judgement(**{**fields, "verdict": Verdict(verdict), **changes})


def evidence(*judgements: Judgement, **changes) -> CheckEvidence:
    fields = {
        "id": "drift",
        "check": "drift",
        "version": "sha256:0",
        "parameters": {"max": 0.1},
        "source": "mlgate.toml:3",
        "tests": ("test_it",),
        "requirements": (REQUIREMENT,),
        "measurements": (MEASUREMENT,),
        "judgements": judgements,
        "tables": (),
        "assumptions": {},
        "not_covered": (),
        "seed": 0,
        "duration_s": 0.1,
        "made_at": "2026-01-01T00:00:00+00:00",
    }
    return CheckEvidence(**{**fields, **changes})


def waiver(**changes) -> Waiver:
    fields = {
        "requirement": "drift.max",
        "owner": "ana",
        "approver": "ben",
        "reason": "known",
        "scope": "any",
        "expires": "2030-01-01",
    }
    return Waiver(**{**fields, **changes})


PASSED = Session(tests={"test_it": "passed"})


def decided(*items, required=("drift",), waivers=(), session=PASSED):
    return decide(required=required, evidence=items, waivers=waivers, session=session, holdout=None)


def test_everything_passed_is_a_release():
    """A passing check that is required, with its test passed, is a release without reasons."""
    decision = decided(evidence(judgement()))
    assert (decision.outcome, decision.reasons, decision.warnings) == ("release", (), ())


@pytest.mark.parametrize("verdict", ["fail", "inconclusive", "not_run", "error"])
def test_every_other_verdict_blocks(verdict):
    """A verdict other than pass blocks, with its own message as the reason."""
    decision = decided(evidence(judgement(), judgement(verdict)))
    assert decision.outcome == "blocked"
    assert [(r.verdict, r.text) for r in decision.reasons] == [(verdict, f"drift: {verdict}")]


def test_required_but_undeclared_blocks():
    """A required check that nobody declares blocks although all other checks pass."""
    decision = decided(evidence(judgement()), required=("drift", "fairness"))
    assert decision.outcome == "blocked"
    assert decision.reasons[0].text.startswith("fairness: required by the policy, but no test")


def test_no_evidence_at_all_blocks():
    """A run without any evidence blocks even if the policy requires nothing of it."""
    decision = decided(required=(), session=Session(tests={}))
    assert decision.outcome == "blocked"
    assert "nothing ran" in decision.reasons[0].text


def test_evidence_without_judgements_blocks():
    """A check that is present but judged nothing blocks."""
    decision = decided(evidence())
    assert decision.outcome == "blocked"
    assert "declares no bound" in decision.reasons[0].text


@pytest.mark.parametrize(
    "state", ["failed", "skipped", "xfailed", "deselected", "crashed", "error", "not_run", "xpassed", ""]
)
def test_a_test_that_did_not_pass_blocks(state):
    """A test that carries requirements and ended in anything but passed blocks, though its checks pass."""
    decision = decided(evidence(judgement()), session=Session(tests={"test_it": state}))
    assert decision.outcome == "blocked"
    assert decision.reasons[0].text == f"test_it carries requirements and was {state}"
    assert decision.reasons[0].verdict is not Verdict.PASS


def test_a_failed_test_is_not_named_twice():
    """A test that failed because its requirement failed adds no second reason."""
    decision = decided(evidence(judgement("fail")), session=Session(tests={"test_it": "failed"}))
    assert [r.subject for r in decision.reasons] == ["drift.max"]


def test_session_problems_block():
    """A file that could not be collected blocks: whatever it required is unknown."""
    session = Session(tests={"test_it": "passed"}, problems=("test_b.py could not be collected",))
    decision = decided(evidence(judgement()), session=session)
    assert decision.outcome == "blocked"
    assert decision.reasons[0].text == "test_b.py could not be collected"


@pytest.mark.parametrize(
    ("state", "word"), [("expired", "expired on 2030-01-01"), ("orphaned", "nobody declares")]
)
def test_expired_and_orphaned_waivers_block(state, word):
    """A waiver that has run out or that covers nothing blocks until it is removed, though all checks pass."""
    decision = decided(evidence(judgement()), waivers=[waiver(state=state)])
    assert decision.outcome == "blocked"
    assert word in decision.reasons[0].text
    assert "ana" in decision.reasons[0].text


@pytest.mark.parametrize("verdict", ["fail", "inconclusive", "not_run"])
def test_a_waiver_in_force_releases_and_warns(verdict):
    """A covered verdict becomes waived, names the approver and the reason, and stays a warning."""
    item = evidence(judgement(verdict))
    waived = dataclasses.replace(item, judgements=waive(item, [waiver()], None))
    decision = decided(waived, waivers=[waiver()])
    assert decision.outcome == "release"
    assert [w.verdict for w in decision.warnings] == [Verdict.WAIVED]
    assert "waived until 2030-01-01 by ben: known" in decision.warnings[0].text


def test_an_error_is_never_waived():
    """A check that broke says nothing about the model, so no waiver covers it."""
    item = evidence(judgement("error"))
    assert waive(item, [waiver()], "sha256:1") == item.judgements


@pytest.mark.parametrize(
    "other",
    [
        waiver(requirement="fairness.max"),
        waiver(requirement="drift"),
        waiver(scope="sex"),
        waiver(scope="sha256:other"),
        waiver(state="expired"),
        waiver(state="orphaned"),
    ],
)
def test_a_waiver_for_something_else_does_not_apply(other):
    """Another requirement, another scope, another artifact or a waiver out of force changes nothing."""
    item = evidence(judgement("fail", scope="age"))
    assert waive(item, [other], "sha256:this") == item.judgements


@pytest.mark.parametrize("scope", ["any", "age", "sha256:this"])
def test_a_waiver_applies_to_its_scope(scope):
    """A waiver covers everything, one scope, or one artifact, as it says."""
    item = evidence(judgement("fail", scope="age"), judgement("pass", scope="sex"))
    found = waive(item, [waiver(scope=scope)], "sha256:this")
    assert [j.verdict for j in found] == [Verdict.WAIVED, Verdict.PASS]


def test_no_artifact_matches_no_digest_scope():
    """Where nothing was built, a waiver for an artifact covers nothing."""
    item = evidence(judgement("not_run"))
    assert waive(item, [waiver(scope="sha256:this")], None) == item.judgements


def test_a_tolerated_inconclusive_warns():
    """An inconclusive verdict that the policy accepts in writing is a warning, not a reason."""
    decision = decided(evidence(judgement("inconclusive", tolerated=True)))
    assert decision.outcome == "release"
    assert [w.verdict for w in decision.warnings] == [Verdict.INCONCLUSIVE]


@pytest.mark.parametrize("verdict", ["fail", "not_run", "error"])
def test_only_inconclusive_can_be_tolerated(verdict):
    """The mark `tolerated` on any other verdict changes nothing."""
    assert not acceptable(judgement(verdict, tolerated=True))
    assert decided(evidence(judgement(verdict, tolerated=True))).outcome == "blocked"


def test_reasons_stand_worst_first_and_once():
    """Reasons are sorted by severity, and the same reason is said once."""
    decision = decided(
        evidence(judgement("inconclusive"), judgement("fail"), judgement("fail"), judgement("error")),
        required=("drift", "budget"),
    )
    found = [r.verdict for r in decision.reasons]
    assert found == [Verdict.ERROR, Verdict.FAIL, Verdict.NOT_RUN, Verdict.INCONCLUSIVE]


verdicts = st.sampled_from([v.value for v in Verdict])


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    st.lists(st.tuples(verdicts, st.booleans()), max_size=5),
    st.sets(st.sampled_from(["drift", "budget"]), max_size=2),
    st.sampled_from(["passed", "failed", "skipped"]),
)
def test_a_release_rests_on_nothing_but_acceptable_judgements(pairs, required, state):
    """The outcome is a release exactly if everything is declared, judged, acceptable and passed."""
    item = evidence(*(judgement(v, tolerated=t) for v, t in pairs))
    decision = decided(item, required=sorted(required), session=Session(tests={"test_it": state}))
    good = all(acceptable(j) for j in item.judgements)
    expected = bool(pairs) and good and required <= {"drift"} and state == "passed"
    assert (decision.outcome == "release") == expected
    assert bool(decision.reasons) == (not expected)


def test_worst_of_nothing_is_not_run():
    """No verdict at all counts as not run, and otherwise the most severe one counts."""
    assert worst([]) is Verdict.NOT_RUN
    assert evidence().verdict is Verdict.NOT_RUN
    for position, verdict in enumerate(SEVERITY):
        assert worst(list(SEVERITY[position:])[::-1]) is verdict
