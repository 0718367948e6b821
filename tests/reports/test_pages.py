"""The two HTML pages: safe, readable without colour, complete for any run."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import pytest
from jinja2 import UndefinedError

from mlgate_reports import _environment
from mlgate_reports._context import SIGNS
from mlgate_reports.audit_report import audit_report
from mlgate_reports.model_card_html import model_card_html
from pytest_mlgate.evidence import SEVERITY, Verdict

PAGES = pytest.mark.parametrize("page", [audit_report, model_card_html], ids=lambda view: view.name)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
#: Every element that the templates use; anything else came from the evidence.
ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "nav", "footer", "div"),
    *("h1", "h2", "h3", "p", "ul", "ol", "li", "dl", "dt", "dd", "details", "summary", "pre", "br", "wbr"),
    *("a", "span", "strong", "em", "code", "table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("svg", "defs", "pattern", "line", "rect", "circle", "path", "text", "desc"),
    *("figure", "figcaption"),
}
VOID = {"meta", "br", "wbr"}


class Page(HTMLParser):
    """The elements, attributes and text of a page; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@PAGES
def test_a_page_loads_and_runs_nothing(page, hostile):
    """Whatever the evidence says, a page has no script, no handler, no address and no foreign element."""
    text = page.render(hostile)
    parsed = Page(text)
    assert "<script" not in text.lower()
    assert {tag for tag, _ in parsed.elements} <= ELEMENTS
    for tag, attributes in parsed.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert not {"src", "srcset", "style", "action", "formaction", "data"} & set(attributes)
        href = attributes.get("href")
        assert href is None or re.fullmatch(r"#[a-z]+", href)
    assert "url(" not in text.replace("url(#hatch)", "")
    assert "@import" not in text


@PAGES
def test_hidden_characters_do_not_reach_a_page(page, hostile):
    """No control, direction or zero-width character and no surrogate is in the page."""
    text = page.render(hostile)
    text.encode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069]", text)


@PAGES
def test_a_long_name_is_cut(page, hostile):
    """No name fills a page."""
    assert "N" * 2_001 not in page.render(hostile)


@PAGES
def test_a_page_declares_what_it_may_do(page, released):
    """The policy of the page forbids everything but its own style."""
    metas = Page(page.render(released)).named("meta")
    assert [m["content"] for m in metas if m.get("http-equiv") == "Content-Security-Policy"] == [POLICY]
    assert any(m.get("name") == "viewport" for m in metas)


@PAGES
@pytest.mark.parametrize("run", ["released", "blocked", "empty"])
def test_a_page_is_well_formed(page, run, request):
    """One h1, a language, a caption for every table, a scope for every header, a name for every drawing."""
    parsed = Page(page.render(request.getfixturevalue(run)))
    assert parsed.named("html") == [{"lang": "en"}]
    assert len(parsed.named("h1")) == 1
    assert len(parsed.named("caption")) == len(parsed.named("table"))
    assert all(th.get("scope") in {"row", "col"} for th in parsed.named("th"))
    drawings = [svg for svg in parsed.named("svg") if svg.get("role") == "img"]
    assert len(parsed.named("desc")) == len(drawings)
    assert all(svg.get("aria-hidden") == "true" for svg in parsed.named("svg") if svg not in drawings)


@PAGES
@pytest.mark.parametrize("run", ["released", "blocked", "empty"])
def test_nothing_is_shown_as_none_or_nan(page, run, request):
    """What was not computed is a dash, a word or a reason."""
    text = Page(page.render(request.getfixturevalue(run))).text
    assert not re.search(r"\b(None|nan|NaN|inf|Undefined)\b", text)


@PAGES
def test_what_was_not_measured_says_why(page, blocked):
    """An absent, an infinite and a broken value each stand with the reason."""
    text = Page(page.render(blocked)).text
    assert "no NPU on this machine; an estimate will not do" in text
    assert "infinite" in text
    assert "the record says noise_multiplier=0" in text
    assert "operands could not be broadcast together" in text


@PAGES
def test_a_blocked_page_begins_with_the_reason(page, blocked):
    """The banner says blocked and why, before anything else but the name."""
    text = Page(page.render(blocked)).text
    assert text.index("Blocked") < text.index("the check itself broke") < text.index("Release artifact")


@PAGES
def test_requirements_are_worst_first(page, blocked):
    """The table goes from error to pass, and shows one row for all passes of a requirement."""
    html = page.render(blocked)
    table = html[html.index('aria-label="Requirements"') :]
    table = table[: table.index("</table>")]
    found = re.findall(r"badge v-(\w+)", table)
    assert found == sorted(found, key=[v.value for v in SEVERITY].index)
    judged = [j for item in blocked.evidence for j in item.judgements]
    passed = [j for j in judged if j.verdict is Verdict.PASS]
    assert len(found) == len(judged) - len(passed) + len({j.requirement for j in passed})
    assert len(found) < len(judged)


@PAGES
def test_a_verdict_is_told_by_word_and_sign(page, blocked):
    """No badge is a colour alone."""
    badges = re.findall(r'badge v-(\w+)"><span aria-hidden="true">(.) </span>([a-z ]+)', page.render(blocked))
    assert badges
    assert all(SIGNS[v] == sign and word.startswith(v.replace("_", " ")) for v, sign, word in badges)


@PAGES
def test_a_typical_page_is_small(page, released, blocked):
    """A run of eleven requirements gives less than 300 kB."""
    assert max(len(page.render(run).encode()) for run in (released, blocked)) < 300_000


def test_the_audit_report_names_the_bytes(blocked):
    """All digests stand in full: artifact, candidate, baseline, data, policy, lock."""
    text = Page(audit_report.render(blocked)).text
    identities = (blocked.release, blocked.candidate, blocked.baseline, *blocked.data, blocked.policy)
    assert all(item.digest in text for item in identities)
    assert blocked.lock in text
    assert "mlgate verify FOLDER" in text
    assert blocked.reproduce in text


def test_the_audit_report_says_what_was_not_tested(blocked):
    """Its sections are in the order in which a reader asks, with a section for what is open."""
    html = audit_report.render(blocked)
    order = re.findall(r'<section id="(\w+)"', html)
    sections = "identity requirements checks groups data variants waivers gaps tests verify rules"
    assert " ".join(order) == sections
    gaps = Page(html[html.index('<section id="gaps">') : html.index('<section id="tests">')]).text
    assert "energy, peak memory, throughput and cold start" in gaps
    assert "cannot be told from max_error=0.05" in gaps


def test_checks_that_block_are_open(blocked):
    """The details of what blocks are unfolded, those of what holds are not."""
    html = audit_report.render(blocked)
    opened = re.findall(r"<details open>\s*<summary>(.*?) <span", html)
    assert [re.sub("<wbr>", "", name) for name in opened] == [
        "fairness[equalized_odds_difference]", "privacy_epsilon", "budget[npu]", "calibration", "robustness",
    ]  # fmt: skip


def test_reused_evidence_says_so(released):
    """Evidence of an earlier run is marked with the time it was made."""
    text = Page(audit_report.render(released)).text
    assert "2026-11-21T09:14:07+00:00, reused from an earlier run" in text


def test_a_dirty_revision_says_so(released):
    """Uncommitted changes are named, and so is not knowing."""
    for dirty, words in (
        (True, "with uncommitted changes"),
        (None, "whether it had uncommitted changes is unknown"),
    ):
        environment = dataclasses.replace(released.environment, dirty=dirty)
        assert words in Page(audit_report.render(dataclasses.replace(released, environment=environment))).text


def test_an_undefined_name_in_a_template_is_an_error():
    """A template that misspells a field breaks in tests and prints no gap."""
    for environment in (_environment.html(), _environment.markdown()):
        with pytest.raises(UndefinedError):
            environment.from_string("{{ missing }}").render()
        assert environment.autoescape is True


def test_colours_have_enough_contrast():
    """Every text colour has a contrast of at least 4.5 on every ground it stands on, light and dark."""
    css = _environment.html().get_template("_style.css.j2").render()
    schemes = [
        dict(re.findall(r"--(\w[\w-]*): (#[0-9a-f]{6})", block.split("}")[0]))
        for block in css.split("prefers-color-scheme")[:2]
    ]
    for colours in schemes:
        texts = ("ink", "quiet", "link", "good", "bad", "open")
        pairs = [(text, ground) for text in texts for ground in ("paper", "card")]
        pairs += [(v, f"{v}-tint") for v in ("good", "bad", "open")]
        pairs += [("ink", f"{v}-tint") for v in ("good", "bad")] + [("ink", "code")]
        pairs += [(v, f"{banner}-tint") for v in ("good", "bad", "open") for banner in ("good", "bad")]
        for text, ground in pairs:
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
