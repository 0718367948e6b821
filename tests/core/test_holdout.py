"""Every candidate that is judged on a test table is counted before it is measured, and pays for its turn."""

import concurrent.futures
import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mlgate import policy
from pytest_mlgate.decision import decide
from pytest_mlgate.errors import CheckError, Misuse
from pytest_mlgate.evidence import HoldoutUse, Session, Verdict
from pytest_mlgate.holdout import levels_of, record_decision, record_use, share_of
from pytest_mlgate.ledger import Ledger, LedgerError
from pytest_mlgate.levels import levels_for
from pytest_mlgate.verify import problems

CAP = "[holdout]\nmax_uses = {}\n"


@pytest.fixture
def use(tmp_path):
    """A function that records the use of a table by a candidate, each time in a run of its own."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    runs = iter(range(1000))

    def record(candidate="c1", *, test="t1", run=None, max_uses=None, tighten=False) -> HoldoutUse:
        name = f"run{next(runs)}" if run is None else run
        return record_use(
            ledger, run=name, test=test, candidate=candidate, max_uses=max_uses, tighten=tighten
        )

    return record


def test_distinct_candidates_are_counted_by_table(use):
    """A new candidate is a use; the same again, or another table, is not."""
    found = [use("c1"), use("c2"), use("c1"), use("c3", test="t2"), use("c3")]
    assert [u.number for u in found] == [1, 2, 1, 1, 3]
    assert [u.candidates for u in found] == [1, 2, 2, 1, 3]
    assert [u.runs for u in found] == [1, 2, 3, 1, 4]
    assert [u.ledger_is_new for u in found] == [True, False, False, False, False]
    assert {u.known_since for u in found} == {found[0].known_since}


def test_every_process_of_a_run_has_the_same_answer(use):
    """A second worker of a run sees what the first saw, although another run came between."""
    first = use("c1", run="a", tighten=True)
    use("c2", run="b")
    assert use("c1", run="a", tighten=True) == first


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=12))
def test_a_candidate_keeps_its_number(tmp_path_factory, candidates):
    """A candidate's number is its place among the distinct ones, in whatever order runs repeat them."""
    ledger = Ledger(tmp_path_factory.mktemp("l") / "ledger.sqlite")
    for position, candidate in enumerate(candidates):
        found = record_use(
            ledger, run=str(position), test="t", candidate=candidate, max_uses=None, tighten=True
        )
        seen = list(dict.fromkeys(candidates[: position + 1]))
        assert (found.number, found.candidates, found.runs) == (
            seen.index(candidate) + 1,
            len(seen),
            position + 1,
        )
        assert found.release_share == share_of(found.number)


def test_the_shares_of_all_candidates_sum_to_one():
    """However many candidates are tried, together they spend no more than one alone."""
    total = sum(share_of(number) for number in range(1, 10_001))
    assert 0.999 < total < 1
    assert [share_of(n) for n in (1, 2, 3)] == pytest.approx([1 / 2, 1 / 6, 1 / 12])


def test_only_the_releasing_side_pays(use):
    """Later candidates are released less easily, and blocked by chance no more often."""
    levels = levels_for(0.05, 4)
    use("c1")
    tightened = levels_of(use("c2", tighten=True), levels)
    assert tightened.fail == levels.fail
    assert tightened.release == pytest.approx(levels.release / 6)
    assert levels_of(use("c3"), levels) == levels


@pytest.mark.parametrize(("number", "outcome"), [(3, "release"), (4, "blocked")])
def test_a_candidate_beyond_the_cap_is_blocked(build, number, outcome):
    """The cap itself is allowed; beyond it the reason names count, table, cap and the next step."""
    run = build().run
    use = dataclasses.replace(run.holdout, number=number, candidates=5, runs=9, max_uses=3)
    decision = decide(
        required=run.policy.required, evidence=run.evidence, waivers=(), session=run.session, holdout=use
    )
    assert decision.outcome == outcome
    if outcome == "blocked":
        (reason,) = decision.reasons
        assert (reason.subject, reason.verdict) == ("holdout", Verdict.FAIL)
        for words in ("number 4", use.test[:19], "allows 3", "Collect new test rows"):
            assert words in reason.text


def test_the_cap_of_the_policy_turns_a_release_into_blocked(build, linear_onnx, tmp_path, policy_text):
    """The second candidate on a table that allows one is blocked; the first stays releasable."""

    def candidate(weight):
        path = tmp_path / f"w{weight}.onnx"
        path.write_bytes(linear_onnx(weight))
        return path

    text = policy_text + CAP.format(1)
    assert build(text, candidate=candidate(3.0), folder="a").run.decision.outcome == "release"
    second = build(text, candidate=candidate(2.0), folder="b")
    assert second.run.decision.outcome == "blocked"
    assert problems(second.folder) == []
    again = build(text, candidate=candidate(3.0), folder="c")
    assert (again.run.decision.outcome, again.run.holdout.runs) == ("release", 3)
    assert problems(again.folder) == []


@pytest.fixture
def policy_text() -> str:
    """A policy that the linear model meets."""
    return 'required = ["accuracy"]\n[checks.accuracy]\nmin = 0.6\n'


def test_tightening_reaches_what_is_measured_and_the_lock(build, policy_text):
    """The checks' levels, the evidence and the lock all have the candidate's share; `verify` agrees."""
    built = build(policy_text + "[holdout]\ntighten = true\n")
    assert built.run.holdout.release_share == 0.5
    assert built.gate.subject.levels.release == pytest.approx(0.0125)
    assert b'"release_share": 0.5' in (built.folder / "mlgate.lock").read_bytes()
    assert problems(built.folder) == []


def test_a_ledger_that_was_deleted_begins_anew_and_says_so(build, tmp_path, policy_text):
    """The count restarts, and every report says that the ledger began with this run."""
    build(policy_text, folder="a")
    assert build(policy_text, folder="b").run.holdout.runs == 2
    (tmp_path / "ledger.sqlite").unlink()
    built = build(policy_text, folder="c")
    assert (built.run.holdout.runs, built.run.holdout.ledger_is_new) == (1, True)
    for name in ("model-card.md", "model-card.html", "audit-report.html"):
        assert "began with this run" in (built.folder / name).read_text()


def test_a_broken_ledger_stops_the_gate_before_it_measures(build, tmp_path, policy_text):
    """Where uses cannot be counted nothing is measured, and no lock is written."""
    (tmp_path / "ledger.sqlite").write_bytes(b"x" * 4096)
    with pytest.raises(CheckError, match=r"ledger\.sqlite.*cannot be used"):
        build(policy_text, folder="a")
    assert not (tmp_path / "session-a").exists()


def test_a_decision_is_recorded_with_all_digests(build, tmp_path, policy_text):
    """The entry names the run, the outcome and every digest; blocked decisions are entries, too."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    built = build(policy_text, session=Session(tests={"test_it": "skipped"}))
    record_decision(ledger, built.run, name="run", evidence="sha256:e")
    run, last = built.run, ledger.verify()[-1]
    assert last.kind == "decision"
    assert last.content == {
        "run": "run",
        "outcome": "blocked",
        "evidence": "sha256:e",
        "lock": run.lock,
        "test": run.data[0].digest,
        "candidate": run.candidate.digest,
        "release": run.release.digest,
    }


def test_a_decision_is_not_recorded_in_another_ledger(build, tmp_path, policy_text):
    """A ledger that does not hold the run's own use was replaced meanwhile."""
    built = build(policy_text)
    with pytest.raises(LedgerError, match="replaced while the gate ran"):
        record_decision(Ledger(tmp_path / "other.sqlite"), built.run, name="run", evidence="sha256:e")


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "true", '"two"'])
def test_a_cap_that_is_no_number_of_candidates_is_misuse(tmp_path, policy_text, value):
    """A cap is a whole number from 1 on."""
    path = tmp_path / "mlgate.toml"
    path.write_text(policy_text + CAP.format(value))
    with pytest.raises(Misuse, match="max_uses"):
        policy.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": "sha256:0"}, "is not the one that was used"),
        ({"number": 0}, "do not add up"),
        ({"number": 2}, "do not add up"),
        ({"candidates": 2}, "do not add up"),
        ({"release_share": 0.25}, "share of alpha does not follow"),
        ({"release_share": 0.5}, "policy, alpha, requirements"),
        (None, "the use of the test table was not counted"),
    ],
)
def test_verify_notices_an_edited_use(build, policy_text, change, message):
    """What the evidence says of the test table's use must agree with itself and with the lock."""
    from pytest_mlgate import codec

    built = build(policy_text)
    use = None if change is None else dataclasses.replace(built.run.holdout, **change)
    run = dataclasses.replace(built.run, holdout=use)
    (built.folder / "evidence.json").write_bytes(codec.to_json(run))
    assert any(message in problem for problem in problems(built.folder))


def test_runs_at_the_same_time_have_different_numbers(tmp_path):
    """Eight candidates opened at once are numbers 1 to 8: none gets the share or the place of another."""
    ledger = Ledger(tmp_path / "ledger.sqlite")

    def record(i: int) -> HoldoutUse:
        return record_use(ledger, run=f"r{i}", test="t", candidate=f"c{i}", max_uses=4, tighten=True)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(record, range(8)))
    assert sorted(use.number for use in found) == list(range(1, 9))
    assert sum(use.is_exhausted for use in found) == 4
    assert sum(use.release_share for use in found) < 1


def test_another_seed_or_threshold_is_another_use(build, policy_text):
    """Who tries thresholds or seeds until one passes has used the table each time."""
    first = build(policy_text, folder="a").run.holdout
    seed = build("seed = 5\n" + policy_text, folder="b").run.holdout
    again = build(policy_text, folder="c").run.holdout
    assert (first.number, seed.number, again.number) == (1, 2, 1)
