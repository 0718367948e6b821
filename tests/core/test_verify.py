"""A report folder against itself: whatever is edited, missing or added is named."""

import dataclasses
import json

import pytest

from pytest_mlgate import codec, discovery
from pytest_mlgate.evidence import Decision, Run, Session, Verdict
from pytest_mlgate.verify import problems


@pytest.fixture
def report(build):
    """The folder of a run that is a release."""
    built = build()
    assert problems(built.folder) == []
    return built.folder


def edit(folder, change) -> list[str]:
    """Apply a change to the parsed evidence, write it back in canonical form, and verify."""
    evidence = json.loads((folder / "evidence.json").read_text())
    change(evidence)
    run = codec.from_json(json.dumps(evidence).encode(), Run)
    (folder / "evidence.json").write_bytes(codec.to_json(run))
    return [p for p in problems(folder) if p.split(":")[0] not in discovery.views()]


@pytest.mark.parametrize("outcome", ["release", "blocked", "partly run"])
def test_a_report_as_written_verifies(build, outcome):
    """A release, a blocked run and a run whose tests stopped short all agree with themselves."""
    text = 'required = ["accuracy"]\n[checks.accuracy]\nmin = 0.999\n'
    states = {"test_it": "skipped" if outcome == "partly run" else "passed"}
    built = build(session=Session(tests=states)) if outcome != "blocked" else build(text)
    assert (built.run.decision.outcome == "release") == (outcome == "release")
    assert problems(built.folder) == []


def test_a_run_with_waivers_verifies(build):
    """Waived verdicts follow from the measurements and the waivers of the report."""
    waivers = "".join(
        f'[[waivers]]\nrequirement = "{r}"\nowner = "a"\napprover = "b"\nreason = "c"\nexpires = 2999-01-01\n'
        for r in ("accuracy.min", "width.max")
    )
    text = 'required = ["accuracy"]\n[checks.accuracy]\nmin = 0.999\n[checks.width]\nmax = 3\n' + waivers
    built = build(text)
    assert [w.state for w in built.run.waivers] == ["in_force", "not_needed"]
    assert built.run.decision.outcome == "release"
    assert problems(built.folder) == []


def test_reused_evidence_verifies(build):
    """A report that rests on evidence of an earlier run agrees with itself."""
    build(folder="one")
    assert problems(build(folder="two").folder) == []


def test_every_single_file_is_protected(report):
    """One changed byte in any file, or one byte more, is noticed and attributed to that file."""
    for path in sorted(report.iterdir()):
        whole = path.read_bytes()
        for changed in (bytes([whole[0] ^ 1]) + whole[1:], whole[:-1], whole + b"\n"):
            path.write_bytes(changed)
            found = problems(report)
            assert any(p.startswith(f"{path.name}: ") for p in found), (path.name, found)
        path.write_bytes(whole)
    assert problems(report) == []


def test_every_missing_file_is_named(report):
    """A file that is gone is named."""
    for path in sorted(report.iterdir()):
        whole = path.read_bytes()
        path.unlink()
        assert any(p.startswith(f"{path.name}: ") for p in problems(report)), path.name
        path.write_bytes(whole)


def test_every_extra_file_is_named(report):
    """A file or folder that does not belong to the report is named."""
    (report / "approved.txt").write_text("yes")
    (report / "more").mkdir()
    assert problems(report) == [
        "approved.txt: does not belong to the report",
        "more: does not belong to the report",
    ]


def test_a_byte_anywhere_in_the_evidence_is_noticed(report):
    """Changing any one character of the evidence, at a hundred places, never goes unnoticed."""
    path = report / "evidence.json"
    whole = path.read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 100)):
        changed = bytearray(whole)
        changed[position] = (
            ord("7") if chr(whole[position]).isdigit() and whole[position] != ord("7") else ord("x")
        )
        if changed == whole:
            continue
        path.write_bytes(bytes(changed))
        if not problems(report):
            unnoticed = whole[max(0, position - 60) : position + 20].decode()
            allowed = (
                "duration_s",
                "made_at",
                "started_at",
                "tool",
                "method",
                "detail",
                "version",
                "unit",
                "seed",
            )
            assert any(
                word in unnoticed for word in (*allowed, "processor", "system", "packages", "python")
            ), unnoticed


def _first(evidence):
    return evidence["evidence"][0]


def _verdict(value):
    def change(evidence):
        for judgement in _first(evidence)["judgements"]:
            judgement["verdict"] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_verdict("fail"), "the verdicts of accuracy do not follow from its measurements"),
        (_verdict("waived"), "the verdicts of accuracy do not follow"),
        (
            lambda e: _first(e)["judgements"][0].update(message="fine"),
            "the verdicts of accuracy do not follow",
        ),
        (lambda e: _first(e)["judgements"].clear(), "accuracy.min was not judged"),
        (
            lambda e: _first(e)["measurements"].clear(),
            "the verdicts of accuracy do not follow from its measurements",
        ),
        (
            lambda e: _first(e)["measurements"][0]["interval"].update(low=0.1),
            "the verdicts of accuracy do not follow",
        ),
        (lambda e: _first(e)["requirements"][0].update(bound=0.1), "the verdicts of accuracy do not follow"),
        (lambda e: e["decision"].update(outcome="blocked"), "the decision 'blocked' does not follow"),
        (lambda e: e["policy"]["required"].append("fairness"), "the decision 'release' does not follow"),
        (lambda e: e["session"]["tests"].update(test_it="skipped"), "the decision 'release' does not follow"),
        (lambda e: e["session"]["problems"].append("x"), "the decision 'release' does not follow"),
        (lambda e: e["evidence"].pop(), "mlgate.lock: policy, alpha, requirements, candidate or data differ"),
        (
            lambda e: e["policy"].update(alpha=0.5),
            "mlgate.lock: policy, alpha, requirements, candidate or data differ",
        ),
        (
            lambda e: e["candidate"].update(digest="sha256:0"),
            "mlgate.lock: policy, alpha, requirements, candidate",
        ),
        (
            lambda e: e["data"][0].update(digest="sha256:0"),
            "mlgate.lock: policy, alpha, requirements, candidate",
        ),
        (lambda e: e["release"].update(digest="sha256:0"), "is not the release artifact that was measured"),
        (lambda e: e.update(lock="sha256:0"), "mlgate.lock: is not the one that the evidence names"),
        (lambda e: e.update(schema="v2"), "schema is 'v2'"),
        (lambda e: e.update(release_file="../report/release-artifact.onnx"), "is missing"),
        (lambda e: e.update(release_file=""), "release-artifact.onnx: does not belong to the report"),
    ],
)
def test_edited_evidence_contradicts_itself(report, change, message):
    """An edit of a verdict, measurement, bound, decision or digest is named even in canonical form."""
    assert any(message in p for p in edit(report, change)), problems(report)


@pytest.mark.parametrize(
    "judgement",
    [
        {"verdict": "pass"},
        {"verdict": "waived"},
        {"verdict": "waived", "waiver": "accuracy.min"},
        {"verdict": "inconclusive", "tolerated": True},
        {"verdict": "fail", "tolerated": True},
    ],
)
def test_a_release_without_measurements_is_named(report, judgement):
    """Measurements taken away do not leave a pass, a waiver that nobody gave, or a tolerated doubt."""

    def empty(evidence):
        item = _first(evidence)
        item["measurements"].clear()
        item["judgements"][0].update(judgement, measurement=None)

    expected = "evidence.json: the verdicts of accuracy do not follow from its measurements"
    assert expected in edit(report, empty)


def test_a_waiver_of_another_state_or_requirement_covers_nothing(report):
    """An expired waiver, or one for another requirement, does not stand behind an emptied `waived`."""
    for requirement, state in (
        ("accuracy.min", "expired"),
        ("accuracy.min", "not_needed"),
        ("width.max", "in_force"),
    ):

        def forge(evidence, requirement=requirement, state=state):
            item = _first(evidence)
            item["measurements"].clear()
            item["judgements"][0].update(verdict="waived", measurement=None, waiver="accuracy.min")
            texts = {"owner": "a", "approver": "b", "reason": "c", "scope": "any", "expires": "2999-01-01"}
            evidence["waivers"] = [{"requirement": requirement, "state": state, **texts}]

        assert any("the verdicts of accuracy do not follow" in p for p in edit(report, forge))


def test_a_lock_that_was_removed_is_named(report):
    """Evidence that names no lock does not excuse one that is gone, with or without a candidate."""
    (report / "mlgate.lock").unlink()
    assert "mlgate.lock: is missing" in edit(report, lambda e: e.update(lock=""))
    assert "evidence.json: a release without a candidate" in edit(report, lambda e: e.update(candidate=None))


def test_a_release_artifact_that_was_removed_is_named(report):
    """Evidence that names no release file does not excuse an artifact that is gone."""
    (report / "release-artifact.onnx").unlink()
    found = edit(report, lambda e: e.update(release_file=""))
    assert found == ["evidence.json: names no file for the release artifact"]


def test_a_removed_artifact_is_named_although_its_size_was_emptied(report):
    """A release artifact with a content digest needs its file, whatever the evidence says of its size."""
    (report / "release-artifact.onnx").unlink()
    found = edit(report, lambda e: (e.update(release_file=""), e["release"].update(size_bytes=None)))
    assert "evidence.json: names no file for the release artifact" in found


def test_lock_and_artifact_removed_together_are_both_named(report):
    """Both files gone and both names emptied is as bad as each of them."""
    (report / "mlgate.lock").unlink()
    (report / "release-artifact.onnx").unlink()
    found = edit(report, lambda e: e.update(lock="", release_file=""))
    assert "mlgate.lock: is missing" in found
    assert "evidence.json: names no file for the release artifact" in found


def test_a_fail_edited_to_pass_is_named(build):
    """A blocked run whose verdict and decision were both rewritten to a release is found out."""
    built = build('required = ["accuracy"]\n[checks.accuracy]\nmin = 0.999\n')
    item = built.run.evidence[0]
    forged = dataclasses.replace(
        built.run,
        decision=Decision(outcome="release", reasons=(), warnings=()),
        evidence=(
            dataclasses.replace(
                item, judgements=tuple(dataclasses.replace(j, verdict=Verdict.PASS) for j in item.judgements)
            ),
        ),
    )
    (built.folder / "evidence.json").write_bytes(codec.to_json(forged))
    assert "evidence.json: the verdicts of accuracy do not follow from its measurements" in problems(
        built.folder
    )


def test_unknown_fields_and_other_spellings_are_named(report):
    """The same evidence with a field more, or spelled otherwise, is not what the gate wrote."""
    path = report / "evidence.json"
    evidence = json.loads(path.read_text())
    for text in (json.dumps(evidence | {"approved": True}), json.dumps(evidence)):
        path.write_text(text)
        assert any("not in canonical form" in p for p in problems(report))


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"\xff", b"[" * 10_000])
def test_evidence_that_cannot_be_read_is_the_only_problem(report, content):
    """Without readable evidence there is nothing to compare with, and that is what is said."""
    (report / "evidence.json").write_bytes(content)
    (problem,) = problems(report)
    assert problem.startswith("evidence.json: does not fit its schema")


def test_an_absent_folder_has_no_evidence(tmp_path):
    """A folder without evidence has one problem."""
    assert problems(tmp_path) == ["evidence.json: cannot be read: No such file or directory"]
