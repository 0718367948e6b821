"""How a figure was come by and where: the grade, the machine and the conditions beside the number."""

from __future__ import annotations

import dataclasses
import re

import pytest

from mlgate_reports.audit_report import audit_report
from mlgate_reports.model_card import model_card
from mlgate_reports.model_card_html import model_card_html
from mlgate_reports.summary import summary
from pytest_mlgate.evidence import Findings, Grade

VIEWS = [audit_report, model_card_html, model_card, summary]
ON = "architecture x86_64; cores 2; processor AMD EPYC"


@pytest.fixture
def one(make_run, make_check, make_measurement):
    """How to make a run of one latency with these fields, and another of these."""

    def run(*fields):
        found = [
            make_measurement("latency_p99", 0.4, 0.3, 0.5, unit="ms", **{"bound": "latency_ms", **more})
            for more in fields
        ]
        return make_run([make_check("budget", {"latency_ms": ("<=", 5.0)}, Findings(measurements=(*found,)))])

    return run


def words(text: str) -> str:
    """Return the text of a page without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", text))


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
@pytest.mark.parametrize("grade", [Grade.EMULATED, Grade.ESTIMATED, Grade.DECLARED])
def test_a_weaker_grade_stands_beside_the_number(view, grade, one):
    """Whoever reads only the figure reads that it was not measured."""
    assert f"0.4 ms ({grade})" in words(view.render(one({"grade": grade})))


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_measured_number_stands_alone(view, one):
    """The grade is repeated beside the number only where it weakens it."""
    assert "(measured) |" not in view.render(one({}))
    assert "0.4 ms (" not in words(view.render(one({}))).replace("0.4 ms (97.1% CI", "")


def test_the_front_matter_names_the_grade(one):
    """The Hub shows name and value, so that the name has to carry it."""
    head = model_card.render(one({"grade": Grade.ESTIMATED})).split("\n---\n")[0]
    assert "name: latency_p99 in ms (estimated)\n" in head
    assert "name: latency_p99 in ms (estimated) (97.1% CI low)\n" in head


def test_the_audit_report_names_a_machine_once(one):
    """Where all figures of a check are from one machine it is said above them, conditions with each."""
    run = one(
        {"machine": ON, "conditions": "threads 1"}, {"machine": ON, "conditions": "threads 2", "bound": None}
    )
    text = words(audit_report.render(run))
    assert text.count(ON) == 1
    assert f"was taken on: {ON}" in text
    assert "threads 1" in text
    assert "threads 2" in text


def test_figures_of_two_machines_each_name_theirs(one):
    """Nothing is said of all where it does not hold for all."""
    text = words(audit_report.render(one({"machine": ON}, {"machine": "another", "bound": None})))
    assert "was taken on" not in text
    assert f"on {ON}" in text
    assert "on another" in text


@pytest.mark.parametrize("view", [model_card_html, model_card], ids=lambda view: view.name)
def test_the_card_names_the_machine_beside_a_latency(view, one):
    """A latency does not travel without the machine it was taken on; conditions stay in the audit report."""
    text = words(view.render(one({"machine": ON, "conditions": "threads 1"})))
    assert f"on {ON}" in text
    assert "threads 1" not in text


@pytest.mark.parametrize("view", VIEWS[:3], ids=lambda view: view.name)
def test_what_ran_elsewhere_is_named(view, one):
    """A figure that was not taken on the target says so where it is explained."""
    text = words(view.render(one({"off_target": "3 of 9 nodes ran on the CPU"})))
    assert "not on the declared target: 3 of 9 nodes ran on the CPU" in text


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_hostile_machine_is_only_text(view, one, hostile_text):
    """Machine and conditions come from the system and are escaped like any other text."""
    run = one({"machine": hostile_text, "conditions": hostile_text, "off_target": hostile_text})
    again = one({"machine": hostile_text}, {"machine": "another", "bound": None})
    for text in (view.render(run), view.render(dataclasses.replace(again, description={}))):
        assert not re.search(r"<(script|img|b)\b|<[^>]*\son\w+=", text.replace("<br>", ""))
        assert "<!-- hidden" not in text
        assert "N" * 2_001 not in text
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u200b\u202a-\u202e\u2066-\u2069]", text)
