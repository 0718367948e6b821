"""The Markdown views: the model card with its front matter, and the summary."""

from __future__ import annotations

import dataclasses
import importlib
import re

import pytest
import yaml

from mlgate_reports.model_card import model_card
from mlgate_reports.summary import summary
from pytest_mlgate.evidence import Decision, Findings, Reason, Verdict, Waiver

VIEWS = pytest.mark.parametrize("view", [model_card, summary], ids=lambda view: view.name)


def body(text: str) -> str:
    """Return the text after the front matter, if there is one."""
    return text.split("\n---\n", 1)[1] if text.startswith("---\n") else text


def front_matter(text: str) -> dict:
    """Return the parsed front matter."""
    return yaml.safe_load(text.split("\n---\n", 1)[0].removeprefix("---\n"))


@VIEWS
def test_hostile_text_stays_text(view, hostile):
    """Rendered as CommonMark with tables and HTML on, no text of the evidence becomes an element."""
    markdown_it = importlib.import_module("markdown_it")
    parser = markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    html = parser.render(body(view.render(hostile)))
    elements = set(re.findall(r"<([a-z0-9]+)", html))
    structure = {"h1", "h2", "h3", "p", "ul", "li", "strong", "code", "pre", "sub"}
    assert elements <= structure | {"table", "thead", "tbody", "tr", "th", "td"}
    assert "&lt;!--" in html or "<!--" not in html
    assert re.findall(r"<h\d>heading", html) == []


@VIEWS
def test_hostile_text_breaks_no_table(view, hostile):
    """Every row of a table has as many cells as its header."""
    rows = 0
    width = None
    for line in body(view.render(hostile)).splitlines():
        if not line.startswith("|"):
            width = None
            continue
        cells = len(re.findall(r"(?<!\\)\|", line)) - 1
        width = width or cells
        assert cells == width, line
        rows += 1
    assert rows > 10


@VIEWS
def test_hidden_characters_do_not_reach_the_file(view, hostile):
    """No control, direction or zero-width character and no surrogate is in the file."""
    text = view.render(hostile)
    text.encode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069]", text)
    assert "N" * 2_001 not in text


@VIEWS
def test_a_blocked_run_says_so_first(view, blocked):
    """The decision and its worst reason come before any table."""
    text = body(view.render(blocked))
    assert text.index("Blocked.** robustness: the check itself broke") < text.index("| verdict |")


@VIEWS
def test_requirements_are_worst_first(view, blocked):
    """The table goes from error to pass."""
    table = body(view.render(blocked)).split("| verdict |", 1)[1].split("\n\n", 1)[0]
    verdicts = re.findall(r"^\| \S (\w+(?: \w+)?) \|", table, re.MULTILINE)
    assert verdicts[:6] == ["error", "fail", "fail", "not run", "inconclusive", "waived"]
    assert set(verdicts[6:]) == {"pass"}


@VIEWS
@pytest.mark.parametrize("run", ["released", "blocked", "empty"])
def test_nothing_is_shown_as_none_or_nan(view, run, request):
    """What was not computed is a dash, a word or a reason."""
    text = view.render(request.getfixturevalue(run))
    assert not re.search(r"\b(None|nan|NaN|inf|null|Undefined)\b", text)


@pytest.mark.parametrize("run", ["released", "blocked", "empty"])
def test_the_front_matter_is_what_hugging_face_reads(run, request):
    """The card parses with their library, and its results come back as they were written."""
    hub = importlib.import_module("huggingface_hub")
    card = hub.ModelCard(model_card.render(request.getfixturevalue(run)), ignore_metadata_errors=False)
    assert "pytest-mlgate" in card.data.tags
    if run == "empty":
        assert card.data.eval_results is None
        return
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "onnx"
    auc = {r.metric_name: r for r in card.data.eval_results if r.metric_type == "roc_auc"}
    assert {name: r.metric_value for name, r in auc.items()} == {
        "roc_auc": 0.846,
        "roc_auc (97.1% CI low)": 0.803,
        "roc_auc (97.1% CI high)": 0.884,
    }
    assert auc["roc_auc"].task_type == "tabular-classification"
    assert auc["roc_auc"].dataset_revision == "sha256:" + "ab10" * 16
    assert not any(r.verified for r in card.data.eval_results)


def test_hostile_front_matter_is_only_data(hostile, hostile_text):
    """A hostile name can neither end the block nor add a key to it."""
    text = model_card.render(hostile)
    fields = front_matter(text)
    known = {"license", "license_name", "library_name", "language", "tags", "model-index"}
    assert set(fields) <= known
    assert "verified" not in str(fields["model-index"]).replace(hostile_text, "")
    hub = importlib.import_module("huggingface_hub")
    assert hub.ModelCard(text, ignore_metadata_errors=False).data.eval_results


def test_an_unusual_license_is_other(released):
    """The Hub knows licences by a short word; a sentence becomes the name of another one."""
    run = dataclasses.replace(released, description={"License": "Bank internal, no reuse"})
    fields = front_matter(model_card.render(run))
    assert (fields["license"], fields["license_name"]) == ("other", "Bank internal, no reuse")


def test_only_values_that_exist_are_results(blocked):
    """What is infinite or was not measured is no metric of the front matter."""
    types = [
        m["type"] for m in front_matter(model_card.render(blocked))["model-index"][0]["results"][0]["metrics"]
    ]
    assert "epsilon" not in types
    assert types.count("latency_p99") == 3


def test_the_card_marks_what_is_declared_and_what_is_missing(released):
    """The users' words are quoted as declared; a silent section says so."""
    text = model_card.render(released)
    assert "**Intended use** (`declared`): Orders applications" in text
    assert "**Ethical considerations** (`missing`): Not stated." in text
    assert "**Limitations** (`declared`):\n\n- One city, one year.\n- No applications" in text
    assert "**Review board** (`declared`): Approved" in text
    assert "`sha256:9f2c" in text
    assert "(`measured`)" in text


def test_nothing_that_was_declared_is_dropped(released):
    """Nested, numeric and unknown statements all appear."""
    description = {"owners": {"team": "Credit", "size": 4}, "reviewed": True, "Contact": ["a", ["b", "c"]]}
    text = model_card.render(dataclasses.replace(released, description=description))
    assert "- size: 4\n- team: Credit" in text
    assert "**Reviewed** (`declared`): yes" in text
    assert "**Contact** (`declared`):\n\n- a\n- b, c" in text


def test_the_summary_of_thousands_of_judgements_fits(make_run, make_check, make_measurement):
    """Five thousand failures with long names give a summary well under a mebibyte that says what was cut."""
    measurements = tuple(
        make_measurement(
            "shift", 0.5, 0.4, 0.6, scope=f"column {i} {'x' * 3_000}", bound="max", detail="y" * 500
        )
        for i in range(5_000)
    )
    run = make_run([make_check("drift", {"max": ("<=", 0.1)}, Findings(measurements=measurements))])
    text = summary.render(run)
    assert len(text.encode()) < 300_000
    assert "4,800 more judgements" in text
    assert run.decision.reasons[0].text.endswith("(and 4999 more like it)")


def test_a_long_list_of_reasons_is_cut(make_run, make_check, make_measurement):
    """Hundreds of failed requirements are counted, and the first of them shown."""
    failed = make_measurement("shift", 0.5, 0.4, 0.6, bound="max")
    checks = [
        make_check("drift", {"max": ("<=", 0.1)}, Findings(measurements=(failed,)), id=f"drift#{i}")
        for i in range(500)
    ]
    run = make_run(checks)
    assert len(run.decision.reasons) >= 500
    assert re.search(r"- and 48\d more", summary.render(run))


def test_long_lists_of_warnings_and_waivers_are_cut(released):
    """Waivers and warnings are capped like rows, and say so."""
    waivers = tuple(
        Waiver(
            requirement=f"r{i}",
            owner="o",
            approver="a",
            reason="z" * 2_000,
            scope="any",
            expires="2027-01-01",
        )
        for i in range(1_000)
    )
    warnings = tuple(Reason(verdict=Verdict.WAIVED, subject=f"r{i}", text="w" * 5_000) for i in range(1_000))
    decision = Decision(outcome="release", reasons=(), warnings=warnings)
    text = summary.render(dataclasses.replace(released, waivers=waivers, decision=decision))
    assert len(text.encode()) < 300_000
    assert "950 more are in" in text
    assert "and 980 more" in text


def test_waivers_and_warnings_are_in_the_summary(blocked):
    """Every exception is named with who approved it and until when."""
    text = summary.render(blocked)
    assert "| `performance[accuracy].min` | in force | any | the bound is for the next model |" in text
    assert "Risk committee | 2026-12-31 |" in text
    assert "- **waived**: performance" in text
