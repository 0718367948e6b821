"""What the GitHub Action runs: the summary, the outputs, and an exit code that fails closed."""

import json
from pathlib import Path

import pytest

from pytest_mlgate import ci, codec


@pytest.fixture
def action(project, monkeypatch):
    """The action's step in a project, run in a process of its own as the action does."""
    outputs, summary = project.folder / "outputs", project.folder / "summary"
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    def run() -> tuple[int, dict[str, str], str]:
        import sys

        result = project.pytester.run(sys.executable, "-m", "pytest_mlgate.ci", "--report", "out")
        pairs = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
        return int(result.ret), pairs, summary.read_text()

    return run


def test_a_release_is_green_and_its_evidence_is_named(project, action):
    """Decision, report path and the digest of the evidence are the step's outputs."""
    project.policy('required = ["performance"]\n')
    code, outputs, summary = action()
    assert code == 0
    assert outputs["decision"] == "release"
    evidence = Path(outputs["report-path"]) / "evidence.json"
    assert outputs["evidence-digest"] == codec.digest(evidence.read_bytes())
    assert "release" in summary.lower()


def test_a_blocked_model_is_red_and_the_summary_says_why(project, action):
    """The job summary is the report's own."""
    project.policy('required = ["performance", "drift"]\n')
    code, outputs, summary = action()
    assert code == 1
    assert outputs["decision"] == "blocked"
    assert "drift" in summary


def test_without_a_policy_the_step_is_red(action):
    """A missing policy is misuse, and the outputs say so."""
    code, outputs, summary = action()
    assert code == 2
    assert outputs == {**outputs, "decision": "misuse", "evidence-digest": ""}
    assert "No report was written" in summary


def test_an_old_report_does_not_speak_for_a_run_that_wrote_none(project, action):
    """A release left over from an earlier run is neither summarised nor named."""
    project.policy('required = ["performance"]\n')
    assert action()[0] == 0
    project.policy("required = [\n")
    for name in ("outputs", "summary"):
        (project.folder / name).unlink()
    code, outputs, summary = action()
    assert code == 2
    assert outputs["evidence-digest"] == ""
    assert "release" not in summary.lower()


def test_a_green_exit_code_without_a_release_in_the_evidence_is_not_believed(tmp_path):
    """The evidence that was written has the last word."""
    assert ci._checked(0, tmp_path, "") == 3
    (tmp_path / "evidence.json").write_text(json.dumps({}))
    with pytest.raises(ValueError, match="Object missing required field"):
        ci._checked(0, tmp_path, "sha256:0")
