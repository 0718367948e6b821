"""The variants of the search: their table, their chart, and the sentence on the card."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re

import pytest

from mlgate_reports._labels import Wanted, place, text_width
from mlgate_reports._pareto import WIDTHS, pareto_chart
from mlgate_reports._scale import scale
from mlgate_reports._variants import compression, shown_variants
from mlgate_reports.audit_report import audit_report
from mlgate_reports.model_card import model_card
from mlgate_reports.model_card_html import model_card_html
from pytest_mlgate.evidence import Identity, QuickFigures, Run, Variant


def variant(recipe: str, ratio, accuracy, front=False, size: int | None = 5_000, **more) -> Variant:
    """Return a variant that was made, with what the search saw of it."""
    identity = Identity(name=recipe, kind="ONNX", digest=f"sha256:{recipe}", size_bytes=size)
    figures = QuickFigures(
        latency_ratio=ratio,
        latency_us=ratio and ratio * 100,
        accuracy=accuracy,
        on_front=front,
    )
    status = more.pop("status", "not_needed")
    return Variant(recipe=recipe, identity=identity, status=status, reason="", figures=figures, **more)


def with_variants(run: Run, *variants: Variant) -> Run:
    """Return the run after another search."""
    return dataclasses.replace(run, variants=variants)


def section(run: Run) -> str:
    """Return the part of the audit report that is about the variants."""
    html = audit_report.render(run)
    return html[html.index('<section id="variants">') : html.index('<section id="waivers">')]


def plain(html: str) -> str:
    """Return the words of a piece of a page."""
    return re.sub(r"\s+", " ", re.sub("<wbr>", "", re.sub(r"<(?!wbr)[^>]*>", " ", html)))


def test_every_figure_of_a_variant_is_in_the_table(released):
    """A row has number, recipe, status, size, time, ratio, accuracy, front, reason and digest."""
    rows = [plain(row) for row in re.findall(r"<tr>(.*?)</tr>", section(released), re.DOTALL)[1:]]
    assert len(rows) == len(released.variants)
    digest = released.candidate.digest
    assert rows[1].split()[:8] == ["2", "int8-static", "ships", "31,744", "6.81", "0.71", "0.8894", "yes"]
    assert rows[2].endswith(f" larger than the release artifact; not measured {digest} ")
    assert rows[4].split() == [
        *("5", "distillation", "forbidden", "—", "—", "—", "—"),
        *("forbidden", "by", "the", "policy", "([compress]", "forbid)", "not", "made"),
    ]


def test_the_chart_holds_nothing_that_the_table_does_not(released):
    """Every label of a point is the name or the number of a row."""
    known = {s.variant.recipe for s in shown_variants(released)} | {
        str(s.number) for s in shown_variants(released)
    }
    for width in WIDTHS:
        chart = pareto_chart(released, width)
        assert chart is not None
        assert {mark.label.text for mark in chart.marks if mark.label} <= known
        assert len(chart.marks) == 3


def test_the_release_artifact_and_the_float_model_are_told_by_shape(released):
    """Each has a mark of its own, whatever its colour."""
    chart = pareto_chart(released, WIDTHS[0])
    assert chart is not None
    shapes = {mark.shown.variant.recipe: mark.shape for mark in chart.marks}
    assert shapes == {"int8-dynamic": "disc", "int8-static": "diamond", "as given": "square"}
    assert chart.marks[-1].shape == "diamond"


def test_the_front_is_joined_from_the_cheapest_on(released):
    """The line goes through the marked variants, rising with their cost."""
    chart = pareto_chart(released, WIDTHS[0])
    assert chart is not None
    corners = [tuple(map(int, pair.split())) for pair in chart.front[1:].split("L")]
    assert corners == sorted(corners)
    assert [y for _, y in corners] == sorted((y for _, y in corners), reverse=True)
    assert chart.on_front == ("int8-dynamic", "int8-static", "as given")


def test_the_chart_says_what_it_shows(released):
    """Axes have titles with units, the caption says what the figures are good for."""
    html = section(released)
    assert "<title>Variants by time for one row and accuracy</title>" in html
    assert "The release artifact is int8-static." in html
    words = plain(html)
    assert "Time for one row relative to the float model (1 = as fast)" in words
    assert "Accuracy on the training rows (share of rows)" in words
    assert "quick figures that put the variants in order, while bounds were judged on the budget's" in words
    assert html.count("<svg") == len(WIDTHS)


def test_without_times_the_chart_is_of_sizes(released):
    """Where no time was taken the cost is the size of the file, in a unit that fits."""
    run = with_variants(
        released,
        variant("a", None, 0.8, front=True, size=1_000_000),
        variant("b", None, 0.9, front=True, size=4_000_000),
    )
    chart = pareto_chart(run, WIDTHS[0])
    assert chart is not None
    assert (chart.cost, chart.title, chart.parity) == ("file size", "File size (MB)", None)
    assert "4.0" in [text for _, text in chart.x_ticks]


def test_a_front_in_size_is_not_drawn_as_one_in_time(released):
    """What the search minimised is the axis where the marked front is none in the other."""
    run = with_variants(
        released,
        variant("small and slow", 2.0, 0.9, front=True, size=1_000),
        variant("large and fast", 0.5, 0.9, size=9_000),
    )
    chart = pareto_chart(run, WIDTHS[0])
    assert chart is not None
    assert chart.cost == "file size"


def test_marks_that_are_a_front_in_nothing_are_not_joined(released):
    """Evidence that does not agree with itself gets no line that says it does."""
    run = with_variants(
        released,
        variant("beaten", 2.0, 0.8, front=True, size=9_000),
        variant("also beaten", 2.5, 0.85, front=True, size=9_500),
        variant("best", 0.5, 0.9, size=1_000),
    )
    chart = pareto_chart(run, WIDTHS[0])
    assert chart is not None
    assert (chart.cost, chart.front) == ("time for one row", "")
    assert "joined by the line" not in section(run)


@pytest.mark.parametrize(
    "variants",
    [
        (),
        (variant("alone", 1.0, 0.9),),
        (variant("a", 1.0, 0.9), variant("no labels", 0.5, None)),
        (variant("a", None, 0.9, size=None), variant("b", None, 0.8, size=None)),
        (variant("a", math.inf, 0.9, size=None), variant("b", math.nan, 0.8, size=None)),
        (variant("a", 1e300, 0.9), variant("b", 1.0, 0.8, size=None)),
        (variant("a", 1.0, -3.0), variant("b", 0.5, 0.5)),
    ],
)
def test_there_is_no_chart_without_two_usable_points(released, variants):
    """Fewer than two variants with figures, or figures that no drawing holds: the table stands alone."""
    run = with_variants(released, *variants)
    assert pareto_chart(run, WIDTHS[0]) is None
    assert "<svg" not in section(run)


def test_equal_accuracies_are_not_blown_up(released):
    """A difference of one row in thousands is drawn as a small one."""
    run = with_variants(
        released, variant("a", 1.0, 0.8984, front=True), variant("b", 1.2, 0.8994, front=True)
    )
    chart = pareto_chart(run, WIDTHS[0])
    assert chart is not None
    _, top, _, bottom = chart.plane
    assert abs(chart.marks[0].y - chart.marks[1].y) < (bottom - top) / 8


@pytest.mark.parametrize("width", WIDTHS)
def test_labels_of_many_points_lie_on_nothing(released, width):
    """Thirty variants close together: those that matter by name, the others by number, none on another."""
    crowd = [variant(f"recipe-{i}", 1 + (i * 7 % 30) / 600, 0.9 + i % 5 / 2_000) for i in range(30)]
    crowd[4] = variant("recipe-4", 1.0, 0.902, front=True, status="release")
    chart = pareto_chart(with_variants(released, *crowd), width)
    assert chart is not None
    labels = [mark.label for mark in chart.marks if mark.label]
    assert [label.text for label in labels if not label.text.isdigit()] == ["recipe-4"]
    assert len(labels) >= 20
    boxes = []
    for label in labels:
        wide = text_width(label.text)
        left = label.x - {"start": 0, "middle": wide / 2, "end": wide}[label.anchor]
        boxes.append((left, label.y - 8, left + wide, label.y + 2))
    for one, other in itertools.combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)


def test_a_name_without_room_becomes_a_number():
    """A label that fits nowhere gives way to the shorter one, and that to none."""
    area = (0.0, 0.0, 60.0, 60.0)
    assert [label and label.text for label in place([Wanted(30, 30, ("x" * 30, "7"))], area)] == ["7"]
    assert place([Wanted(30, 30, ("x" * 30,))], area) == [None]


def test_labels_keep_off_the_line():
    """A line to the right of the point moves its label to another side."""
    area = (0.0, 0.0, 200.0, 200.0)
    (free,) = place([Wanted(100, 100, ("name",))], area)
    (moved,) = place([Wanted(100, 100, ("name",))], area, [(100, 100), (190, 100)])
    assert free is not None
    assert moved is not None
    assert (free.anchor, moved.anchor) == ("start", "middle")


@pytest.mark.parametrize(
    ("values", "most"), [([0.8984, 0.8994], 1.0), ([1.0, 1.0], 1.0), ([0.02, 41.0], 9e9)]
)
def test_axes_have_round_numbers_in_range(values, most):
    """Two to twelve marks, all on the axis, and nothing beyond what the quantity can be."""
    axis = scale(values, 0.01, most, (300, 20))
    assert axis is not None
    assert axis.high <= most
    assert all(axis.holds(value) for value in values)
    ticks = axis.ticks(6)
    assert 2 <= len(ticks) <= 12
    assert all(20 <= pixel <= 300 for pixel, _ in ticks)


def test_the_card_says_how_the_release_artifact_was_made(released):
    """Recipe, variants and size against the float model stand with the artifact, in both cards."""
    sentence = (
        "Recipe int8-static, one of 3 variants made from 4 recipes tried, "
        "3.1 times smaller than the float model (31,744 against 98,304 bytes)."
    )
    assert compression(released) == sentence
    html = model_card_html.render(released)
    assert sentence in plain(html[: html.index("<dt>Candidate</dt>")])
    assert f"- **Compression**: {sentence}" in model_card.render(released)


@pytest.mark.parametrize(
    ("release", "candidate", "size"),
    [
        (2_000, 1_000, ", 2 times larger than the float model (2,000 against 1,000 bytes)"),
        (1_000, 1_001, ", about as large as the float model (1,000 against 1,001 bytes)"),
        (1_000, None, ""),
        (0, 1_000, ""),
    ],
)
def test_sizes_are_compared_only_where_both_are_known(released, release, candidate, size):
    """Larger and equal are said as they are; an unknown size is not mentioned."""
    run = dataclasses.replace(
        released,
        release=dataclasses.replace(released.release, size_bytes=release),
        candidate=dataclasses.replace(released.candidate, size_bytes=candidate),
    )
    assert compression(run) == f"Recipe int8-static, one of 3 variants made from 4 recipes tried{size}."


def test_an_uncompressed_release_is_the_float_model(released, empty):
    """Where nothing was tried the sentence says so; where nothing was measured there is none."""
    given = Variant(recipe="as given", identity=released.candidate, status="release", reason="no budget")
    run = dataclasses.replace(released, variants=(given,), release=released.candidate)
    assert compression(run) == "Recipe as given, the only variant, the float model itself."
    assert compression(empty) == ""
    assert compression(dataclasses.replace(released, variants=())) == ""


def test_the_variant_that_was_measured_is_marked_though_it_does_not_ship(released):
    """After a search in which nothing met the budget, the artifact of the checks is found by its digest."""
    variants = [
        dataclasses.replace(v, status="rejected") if v.status == "release" else v for v in released.variants
    ]
    marked = [s for s in shown_variants(with_variants(released, *variants)) if s.is_release]
    assert [(s.variant.recipe, s.outcome) for s in marked] == [("int8-static", "rejected")]


def test_a_hostile_recipe_is_only_a_label(released, hostile_text):
    """A recipe's name in chart, table and sentence is text, of limited length and without hidden signs."""
    variants = [dataclasses.replace(v, recipe=hostile_text, reason=hostile_text) for v in released.variants]
    html = section(with_variants(released, *variants))
    assert html.count("<svg") == len(WIDTHS)
    assert html.count("<text") < 60
    assert not re.search(r"<(script|img|b)\b|<[^>]*\son\w+=", html.replace("<br>", ""))
    assert "N" * 2_001 not in html
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u200b\u202a-\u202e\u2066-\u2069]", html)
