"""The ledger in whole runs: each is counted, the cap blocks, and a ledger that cannot be trusted blocks."""

import sqlite3

import pytest

from pytest_mlgate import codec
from pytest_mlgate.ledger import Ledger

ONE_USE = 'required = ["performance"]\n[holdout]\nmax_uses = 1\n'
CONFTEST_OF_ANOTHER = "3 * x[:, 0]", "2 * x[:, 0]"


def ledger(project) -> Ledger:
    return Ledger(project.folder / ".mlgate" / "ledger.sqlite")


def another_candidate(project) -> None:
    path = project.folder / "conftest.py"
    project.write("conftest.py", path.read_text().replace(*CONFTEST_OF_ANOTHER))


def test_the_cap_turns_a_release_into_blocked(project):
    """A second candidate that meets every bound is blocked where one is allowed, and told what to do."""
    project.policy(ONE_USE)
    assert project.run().ret == 0
    another_candidate(project)
    result = project.run()
    assert result.ret == 1
    assert project.outcome == "blocked"
    assert set(project.verdicts.values()) == {"pass"}
    assert "candidate number 2" in project.reasons
    assert "Collect new test rows" in project.reasons


def test_the_same_candidate_again_is_no_further_use(project):
    """A second run of the same candidate on the same rows is released as the first was."""
    project.policy(ONE_USE)
    assert [project.run().ret for _ in range(2)] == [0, 0]
    holdout = project.evidence["holdout"]
    assert (holdout["number"], holdout["candidates"], holdout["runs"]) == (1, 1, 2)


def test_every_run_is_recorded_before_and_after(project):
    """A run adds its use and its decision, which names the evidence that was written."""
    project.policy('required = ["performance", "drift"]\n')
    assert project.run().ret == 1
    use, decision = ledger(project).verify()
    assert (use.kind, decision.kind) == ("use", "decision")
    assert use.digest == project.evidence["holdout"]["entry"]
    assert use.content["run"] == decision.content["run"]
    assert decision.content["outcome"] == "blocked"
    written = (project.folder / "mlgate-report" / "evidence.json").read_bytes()
    assert decision.content["evidence"] == codec.digest(written)


def test_a_run_that_dies_was_counted(project):
    """Whoever breaks a run off after the candidate was opened has used the table."""
    project.policy('required = ["performance"]\n')
    project.write(
        "test_gate.py", "import os\n" + (project.folder / "test_gate.py").read_text() + "    os._exit(7)\n"
    )
    project.run_alone()
    assert [entry.kind for entry in ledger(project).verify()] == ["use"]


def test_a_run_without_a_candidate_is_recorded_too(project):
    """Where nothing was opened the decision is recorded without a use."""
    project.policy('required = ["performance"]\n')
    assert project.run("-k", "nothing").ret == 1
    (decision,) = ledger(project).verify()
    assert (decision.kind, decision.content["test"], decision.content["outcome"]) == (
        "decision",
        "",
        "blocked",
    )
    assert project.evidence["holdout"] is None


def test_two_workers_are_one_use(project):
    """With several processes a run is counted once."""
    project.policy('required = ["performance"]\n[holdout]\ntighten = true\n')
    project.write(
        "test_gate.py",
        "from pytest_mlgate import performance\n\n"
        "@performance(metric='accuracy', min=0.7)\ndef test_accuracy(mlgate): pass\n\n"
        "@performance(metric='roc_auc', min=0.7)\ndef test_ranking(mlgate): pass\n",
    )
    assert project.run_alone("-n", "2").ret == 0
    assert [entry.kind for entry in ledger(project).verify()] == ["use", "decision"]
    assert project.evidence["holdout"]["release_share"] == 0.5


def test_a_tampered_ledger_blocks(project):
    """An edited entry is an error of every requirement, and nothing is measured."""
    project.policy('required = ["performance"]\n')
    assert project.run().ret == 0
    with sqlite3.connect(ledger(project).path) as connection:
        connection.execute("DROP TRIGGER never_update")
        connection.execute("UPDATE entries SET entry = replace(entry, 'use', 'usd') WHERE number = 1")
    connection.close()
    assert project.run().ret == 1
    assert project.outcome == "blocked"
    assert set(project.verdicts.values()) == {"error"}
    assert "was changed by something other than the gate: entry 1" in project.reasons


@pytest.mark.parametrize("harm", ["os.remove(path)", "os.remove(path); os.mkdir(path)"])
def test_a_ledger_that_goes_away_during_the_run_blocks(project, harm):
    """A test that takes the ledger away gets no release, although every requirement holds."""
    project.policy('required = ["performance"]\n')
    project.write(
        "test_gate.py",
        (project.folder / "test_gate.py").read_text()
        + f"    import os\n    path = {str(ledger(project).path)!r}\n    {harm}\n",
    )
    assert project.run().ret == 1
    assert project.outcome == "blocked"
    assert "ledger.sqlite" in project.reasons
