"""Charts of checks as drawings: every number where it belongs, every text inert, every series told apart."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlgate_reports._environment import html
from mlgate_reports._plot import MOST_CATEGORIES, PLOT_WIDTHS, description, figures, listed, plots
from mlgate_reports._strokes import marker, stroke
from mlgate_reports.audit_report import audit_report
from mlgate_reports.model_card import model_card
from mlgate_reports.model_card_html import model_card_html
from pytest_mlgate.evidence import Chart, Findings, Series

finite = st.floats(allow_nan=False, allow_infinity=False) | st.floats(0, 1)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
PAGES = pytest.mark.parametrize("page", [audit_report, model_card_html], ids=lambda view: view.name)


def chart(*series: Series, kind="lines", **more) -> Chart:
    fields = {"title": "A title", "x_label": "the x", "y_label": "the y", **more}
    return Chart(kind=kind, series=series, **fields)


def line(y, x=None, name="s", **ends) -> Series:
    return Series(name=name, x=tuple(range(len(y))) if x is None else x, y=tuple(y), **ends)


@st.composite
def charts(draw):
    kind = draw(st.sampled_from(["lines", "points", "bars", "steps"]))
    series = []
    for _ in range(draw(st.integers(1, 8))):
        n = draw(st.integers(0, 15))
        x = names | finite if kind == "bars" else finite
        columns = [
            tuple(draw(st.lists(values, min_size=n, max_size=n)))
            for values in (x, st.none() | finite, st.none() | finite, st.none() | finite)
        ]
        ranged = draw(st.booleans())
        low, high = columns[2:] if ranged else ((), ())
        series.append(Series(name=draw(names), x=columns[0], y=columns[1], low=low, high=high))
    return chart(*series, kind=kind, diagonal=draw(st.booleans()), bound=draw(st.none() | finite))


def numbers(path: str) -> list[int]:
    """Return the absolute coordinates of moves and lines in a path."""
    return [int(n) for command in re.findall(r"[MLHV](-?\d+(?: -?\d+)?)", path) for n in command.split()]


def drawn(item: Chart) -> str:
    template = html().from_string('{% import "_plot.html.j2" as plots %}{{ plots.plot(chart) }}')
    return template.render(chart=item)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(charts())
def test_any_chart_is_drawn_within_its_frame_or_not_at_all(item):
    """Whatever numbers a check reports, no coordinate leaves the drawing and no template breaks."""
    for plot, width in zip(plots(item), PLOT_WIDTHS, strict=False):
        assert plot.width == width
        limit = max(plot.width, plot.height)
        for s in plot.strokes:
            for path in (s.line, s.band, s.whiskers, s.bars, s.marks):
                assert all(-10 <= n <= limit + 10 for n in numbers(path))
    text = drawn(item)
    assert "nan" not in re.sub(r"<(title|desc|text|li|strong)[^>]*>.*?</\1>", "", text)
    assert text.count("<svg role") == len(plots(item)) in (0, 2)


def test_a_line_goes_through_its_points():
    """The lowest number is at the bottom, the highest at the top, and in between linearly."""
    plot = plots(chart(line((0.0, 10.0, 5.0)), kind="lines"))[0]
    (x0, y0), (x1, y1), (x2, y2) = [
        tuple(map(int, p.split())) for p in plot.strokes[0].line.removeprefix("M").split("L")
    ]
    left, top, right, bottom = plot.plane
    assert left <= x0 < x1 < x2 <= right
    assert x1 - x0 == pytest.approx(x2 - x1, abs=1)
    assert top <= y1 < y2 < y0 <= bottom
    assert y2 == pytest.approx((y0 + y1) / 2, abs=1)


def test_a_gap_parts_the_line_and_a_point_between_gaps_has_its_mark():
    """What does not exist is not joined over, and a value alone is seen."""
    s = plots(chart(line((1.0, 2.0, None, 3.0, None, 4.0, 5.0))))[0].strokes[0]
    assert s.line.count("M") == 3
    alone = re.search(r"L\d+ \d+M(\d+) (\d+)M", s.line)
    assert alone
    assert marker(0, int(alone[1]), int(alone[2])) in s.marks


def test_steps_hold_each_value_until_the_next():
    """Between two points there is a corner at the height of the first."""
    s = stroke("steps", 0, [0, 10, 20], [[5, 7, 6], [], []])
    assert s.line == "M0 5L10 5L10 7L20 7L20 6"


def test_a_histogram_stands_on_zero():
    """The axis of steps that are not negative shows zero; that of points need not."""
    y = (0.8, 0.9, 0.85)
    assert "0.0" in [text for _, text in plots(chart(line(y), kind="steps"))[0].y_ticks]
    assert "0.0" not in [text for _, text in plots(chart(line(y), kind="points"))[0].y_ticks]


def test_intervals_reach_from_low_to_high():
    """Points and bars have whiskers, with one end where one is known; lines have an area."""
    ends = {"low": (1.0, None, 3.0), "high": (3.0, 4.0, None)}
    points = stroke("points", 0, [5, 6, 7], [[20, 30, 40], [10, None, 35], [25, 33, None]])
    assert points.whiskers == "M5 10V25M2 10h6M2 25h6M6 30V33M3 33h6M7 40V35M4 35h6"
    bars = stroke("bars", 0, [5], [[20], [10], [25]], zero=0)
    assert (bars.bars, bars.whiskers) == ("M0 1H20v8H0z", "M10 5H25M10 2v6M25 2v6")
    lines = plots(chart(line((2.0, 3.0, 3.5), **ends)))[0].strokes[0]
    assert lines.band.endswith("z")
    assert lines.band.count("L") == 1  # only the first point has both ends
    assert lines.whiskers == ""


def test_bars_begin_at_zero_whatever_their_sign():
    """A negative bar lies on the other side of zero."""
    plot = plots(chart(line((-2.0, 4.0), x=("a", "b")), kind="bars"))[0]
    (zero, first), (also_zero, second) = re.findall(r"M(\d+) \d+H(\d+)", plot.strokes[0].bars)
    assert zero == also_zero
    assert int(first) < int(zero) < int(second)
    assert "0" in [text for _, text, _ in plot.x_ticks]


def test_categories_have_their_names_and_series_their_place():
    """Categories of all series are drawn once, in order of appearance; each series has its own line."""
    one, two = line((1.0, 2.0), x=("a", "b"), name="one"), line((3.0, 4.0), x=("b", "c"), name="two")
    plot = plots(chart(one, two, kind="bars"))[0]
    assert [c.name for c in plot.categories] == ["a", "b", "c"]
    starts = [[int(y) for y in re.findall(r"M\d+ (\d+)H", s.bars)] for s in plot.strokes]
    b_of_one, b_of_two = starts[0][1], starts[1][0]
    assert 0 < b_of_two - b_of_one < starts[0][1] - starts[0][0]


def test_a_long_name_is_cut_to_the_drawing_and_whole_in_the_figures(make_run, make_check):
    """A name of any length leaves room for its figures; the audit report has it whole."""
    name = "race=" + "very " * 20 + "long"
    item = chart(line((0.25,), x=(name,), low=(0.1,), high=(0.4,)), kind="bars")
    for plot in plots(item):
        (category,) = plot.categories
        assert category.name.endswith("…")
        assert category.figures == "0.25 (0.1 to 0.4)"
        assert 6.4 * (len(category.name) + len(category.figures)) <= plot.width
    run = make_run([make_check("drift", {}, Findings(measurements=(), charts=(item,)))])
    assert name in re.sub("<wbr>", "", audit_report.render(run))


def test_more_categories_than_fit_are_counted():
    """A chart of hundreds of groups shows the first, and says so."""
    item = chart(line((1.0,) * 150, x=tuple(f"g{i}" for i in range(150))), kind="bars")
    assert len(plots(item)[0].categories) == MOST_CATEGORIES
    assert f"The first {MOST_CATEGORIES} of 150" in drawn(item)


def test_the_diagonal_is_where_both_axes_are_equal():
    """A reliability diagram has one range on both axes, and its diagonal goes from corner to corner."""
    item = chart(line((0.1, 0.95), x=(0.0, 1.0)), kind="points", diagonal=True)
    plot = plots(item)[0]
    left, top, right, bottom = plot.plane
    assert plot.diagonal == ((left, bottom), (right, top))
    assert "both axes are equal" in drawn(item)


def test_the_bound_is_drawn_and_named():
    """The bound has its line, even where it lies beyond all values; in bars it stands upright."""
    level = plots(chart(line((0.1, 0.2)), bound=0.9))[0]
    assert level.bound[0][1] == level.bound[1][1]
    assert level.plane[1] <= level.bound[0][1] < min(numbers(level.strokes[0].line)[1::2])
    upright = plots(chart(line((0.1,), x=("a",)), kind="bars", bound=0.9))[0]
    assert upright.bound[0][0] == upright.bound[1][0]
    assert "Level line: the bound, 0.9." in drawn(chart(line((0.1, 0.2)), bound=0.9))


def test_series_are_told_apart_without_colour():
    """Eight series have eight pairs of mark and fill and eight patterns of dashes; one has no legend."""
    style = html().get_template("_style.css.j2").render()
    eight = chart(*(line((1.0, 2.0), name=f"n{i}") for i in range(8)))
    text = drawn(eight)
    assert text.count("<li>") == 8
    shapes = [re.sub(r"\d+", "", marker(i, 10, 10)) for i in range(8)]
    assert shapes[:4] == shapes[4:]
    assert len(set(shapes[:4])) == 4
    assert all(f".k{i}.k-marks" in style for i in range(5, 9))
    dashes = re.findall(r"\.k(\d)\.k-line \{ stroke-dasharray: ([\d ]+); \}", style)
    assert [int(i) for i, _ in dashes] == list(range(2, 9))
    assert len({pattern for _, pattern in dashes}) == 7
    assert "<li>" not in drawn(chart(line((1.0, 2.0))))


@pytest.mark.parametrize(
    "series", [line(()), line((None, None)), line((1e308, -1e308)), line((5e-324, 0.0), x=(0.0, 5e-324))]
)
def test_what_cannot_be_drawn_says_so(series):
    """No value, or numbers beyond any axis: a sentence, not an empty frame."""
    text = drawn(chart(series))
    assert "<svg role" not in text
    assert "nothing to draw" in text


class _Drawings(HTMLParser):
    """The names and descriptions of drawings, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {"title": [], "desc": []}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in {"br", "wbr"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Count nothing: it is closed."""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in self.texts:
            self.texts[self.open[-1]].append(data)


def test_a_drawing_has_a_name_and_a_description():
    """Who cannot see the drawing hears what is on it: kind, axes, series, extremes, bound."""
    item = chart(line((0.1, 0.9, 0.5), name="all rows"), bound=0.3, diagonal=True)
    parsed = _Drawings(drawn(item))
    assert parsed.texts["title"] == ["A title"] * 2
    assert parsed.texts["desc"] == [description(item)] * 2
    assert description(item) == (
        "Lines: the y over the x. Series: all rows. Lowest 0.1 at 0, highest 0.9 at 1. "
        "Drawn with the line y = x. Bound 0.3."
    )
    assert parsed.open == []


@pytest.mark.parametrize("kind", ["lines", "bars"])
def test_hostile_text_in_a_chart_stays_text(hostile_text, kind):
    """Title, labels, names, note and categories are drawn letter by letter."""
    x = (hostile_text, "b") if kind == "bars" else (0.0, 1.0)
    item = chart(
        line((0.2, 0.3), x=x, name=hostile_text),
        line((0.3, 0.4), x=x, name=hostile_text),
        kind=kind,
        title=hostile_text,
        x_label=hostile_text,
        y_label=hostile_text,
        note=hostile_text,
    )
    text = drawn(item)
    allowed = {
        "figure",
        "figcaption",
        "svg",
        "title",
        "desc",
        "line",
        "text",
        "path",
        "strong",
        "span",
        "ul",
        "li",
    }
    assert set(re.findall(r"<(\w+)", text)) <= {*allowed, "br", "wbr"}
    assert not re.search(r"<[^>]*\son\w+=", text)
    assert not re.search("[\x00-\x08\x1b\u202e\u2066\u200b\ud800]", text)
    assert _Drawings(text).open == []


@PAGES
def test_every_chart_stands_under_its_check(page, released):
    """All charts of the run are drawn, after the heading of the check that made them."""
    text = page.render(released)
    start = text.index("Checks in detail" if page is audit_report else "Quantitative analyses")
    for item in released.evidence:
        start = text.index(f"{item.check}", start)
        for made in item.charts:
            start = text.index(f"<title>{made.title}</title>", start)
            assert f"<desc>{description(made)}</desc>" in text[start : start + 2000]
    assert sum(len(item.charts) for item in released.evidence) == 4


def test_the_audit_report_lists_the_figures_of_a_chart(released):
    """Under each drawing are its numbers, for those who cannot see it or want to check."""
    text = audit_report.render(released)
    assert text.count("<summary>The figures of") == 4
    assert "0.333</td><td" in re.sub(r">\s+<", "><", text)


def test_markdown_lists_few_figures_and_points_to_the_drawing_of_many(released):
    """A handful of numbers is a table; hundreds are one sentence."""
    text = model_card.render(released)
    by_title = {c.title: c for item in released.evidence for c in item.charts}
    assert [listed(c) for c in by_title.values()] == [True, True, True, False]
    assert "| mean predicted probability | share approved | low | high |" in text
    assert "Accuracy by share of rows answered**: drawn in `model-card.html`. Lines: accuracy over" in text


def test_figures_hold_every_number():
    """The table has a row for each point, and columns only for what there is."""
    item = chart(line((1.0, None), low=(0.5, None), high=(1.5, 2.0)))
    assert figures(item).columns == ("the x", "the y", "low", "high")
    assert figures(item).rows == ((0, 1.0, 0.5, 1.5), (1, None, None, 2.0))
    two = chart(line((1.0,), name="a"), line((2.0,), name="b"))
    assert figures(two).columns == ("series", "the x", "the y")
    assert figures(two).rows == (("a", 0, 1.0), ("b", 0, 2.0))


def test_path_data_that_is_no_path_is_an_error():
    """The one filter that trusts its input takes commands and numbers only."""
    with pytest.raises(ValueError, match="not the data of a path"):
        html().from_string("{{ text|path }}").render(text='M0 0"/><script>')


@PAGES
def test_a_page_says_how_often_the_test_table_was_used(page, released, empty):
    """Count, cap, share of alpha and the limits of what is known; nothing where nothing was opened."""
    text = re.sub(r"\s+", " ", page.render(released))
    assert "candidate number 3 of 4" in text
    assert "in 9 runs including this one" in text
    assert "The policy allows 10 candidates." in text
    assert "had 0.0833 of its alpha" in text
    assert "uses before or elsewhere are not counted" in text
    assert "the test table was not used" in page.render(empty)


def test_a_first_use_says_that_nothing_else_is_known(released):
    """Where the ledger began with the run, a count of one is not sold as knowledge."""
    use = dataclasses.replace(
        released.holdout, number=1, candidates=1, runs=1, ledger_is_new=True, release_share=1.0, max_uses=None
    )
    text = model_card.render(dataclasses.replace(released, holdout=use))
    assert "No earlier use of this test table is known" in text
    assert "every run says this" in text
    assert "The policy sets no limit" in text
    assert "tightens" not in text


def test_an_exhausted_table_is_named(released):
    """Beyond the cap the page says that nothing can be released."""
    use = dataclasses.replace(released.holdout, max_uses=2)
    text = model_card.render(dataclasses.replace(released, holdout=use))
    assert "The policy allows 2 candidates, so this one cannot be released on it." in text
