"""Lays out the charts that checks report: where every line, mark, interval and label is drawn, in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_mlgate.evidence import Chart, Series, Table
from pytest_mlgate.text import clean

from ._labels import fitted, text_width
from ._scale import Scale, around
from ._strokes import Point, Stroke, stroke
from ._text import ABSENT, NAME_LIMIT, number, shown

#: A chart is drawn twice, for desks and for phones; a page shows the one that fits.
PLOT_WIDTHS = (720, 340)
_HEIGHT = 330
_RIGHT, _TOP, _BOTTOM = 16, 30, 46
#: Bars lie: a category has a line for its name, and a line for each series.
_NAME_LINE, _BAR_LINE, _BAR_GAP = 16, 13, 8
#: More categories than this are a table, not a drawing.
MOST_CATEGORIES = 40
#: With more figures than this Markdown points to the drawing instead of listing them.
_MOST_LISTED = 24


@dataclass(frozen=True, slots=True)
class Category:
    """The name of one category of a bar chart, and its figures where they fit beside it."""

    y: int
    name: str
    figures: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Everything that the template draws, in pixels."""

    width: int
    height: int
    #: Left, top, right and bottom of the plane.
    plane: tuple[int, int, int, int]
    #: The text above the plane and the one below it.
    above: str
    below: str
    x_ticks: list[tuple[int, str, str]]
    y_ticks: list[tuple[int, str]]
    strokes: tuple[Stroke, ...]
    categories: tuple[Category, ...]
    #: Both ends of the line y = x and of the bound; `None` where there is none in the plane.
    diagonal: tuple[Point, Point] | None
    bound: tuple[Point, Point] | None


def plots(chart: Chart) -> list[Plot]:
    """Return the drawing in every width; none where there is no number to draw, or none that has room."""
    drawn = [_bars(chart, width) if chart.kind == "bars" else _plane(chart, width) for width in PLOT_WIDTHS]
    return [plot for plot in drawn if plot is not None]


def figures(chart: Chart) -> Table:
    """Return the numbers behind a chart as a table."""
    several, ranged = len(chart.series) > 1, any(s.low or s.high for s in chart.series)
    columns = (*("series",) * several, chart.x_label or "x", chart.y_label or "y", *("low", "high") * ranged)
    rows = [
        (*(s.name,) * several, x, y, *((_at(s.low, i), _at(s.high, i)) if ranged else ()))
        for s in chart.series
        for i, (x, y) in enumerate(zip(s.x, s.y, strict=True))
    ]
    return Table(title=chart.title, columns=columns, rows=tuple(rows), note=chart.note)


def listed(chart: Chart) -> bool:
    """Return whether a chart has so few figures that a reader without drawings wants to see them."""
    return sum(len(s.x) for s in chart.series) <= _MOST_LISTED


def description(chart: Chart) -> str:
    """Return in words what is drawn, for those who cannot see it."""
    over = f"{chart.y_label or 'values'} over {chart.x_label or 'x'}"
    names = ", ".join(clean(s.name, NAME_LIMIT) or "unnamed" for s in chart.series)
    parts = [f"{chart.kind.capitalize()}: {over}. Series: {names}."]
    ends = [(y, x) for s in chart.series for x, y in zip(s.x, s.y, strict=True) if y is not None]
    if ends:
        low, high = min(ends, key=lambda end: end[0]), max(ends, key=lambda end: end[0])
        parts.append(
            f"Lowest {number(low[0])} at {shown(low[1])}, highest {number(high[0])} at {shown(high[1])}."
        )
    parts += ["Drawn with the line y = x."] * chart.diagonal
    if chart.bound is not None:
        parts.append(f"Bound {number(chart.bound)}.")
    return clean(" ".join(parts))


def reading(chart: Chart) -> list[str]:
    """Return what a reader must know to read the drawing."""
    said = []
    if any(s.low or s.high for s in chart.series):
        joined = chart.kind in {"lines", "steps"}
        said.append(f"{'Shaded' if joined else 'Lines with end bars'}: the interval around each value.")
    if chart.bound is not None:
        said.append(
            f"{'Upright' if chart.kind == 'bars' else 'Level'} line: the bound, {number(chart.bound)}."
        )
    said += ["Dashed: where both axes are equal."] * chart.diagonal
    categories = {shown(x) for s in chart.series for x in s.x} if chart.kind == "bars" else set()
    if len(categories) > MOST_CATEGORIES:
        said.append(f"The first {MOST_CATEGORIES} of {len(categories):,}; all of them are in evidence.json.")
    return said


def _plane(chart: Chart, width: int) -> Plot | None:
    right, bottom = width - _RIGHT, _HEIGHT - _BOTTOM
    xs = [x for s in chart.series for x in s.x if not isinstance(x, str)]
    ys = _values(chart)
    if chart.kind == "steps" and ys and min(ys) >= 0:
        ys.append(0.0)  # a histogram without its zero lies about its areas
    if chart.diagonal and xs and ys:
        xs = ys = [*xs, *ys]
    up = around(ys, (bottom, _TOP))
    if up is None or not xs:
        return None
    y_ticks = up.ticks(6)
    left = 12 + round(min(width / 4, max((text_width(text) for _, text in y_ticks), default=0.0)))
    across = around(xs, (left, right))
    if across is None:
        return None
    bound = None if chart.bound is None else up.place(chart.bound)
    return Plot(
        width=width,
        height=_HEIGHT,
        plane=(left, _TOP, right, bottom),
        above=fitted(clean(chart.y_label, NAME_LIMIT), width - 4),
        below=fitted(clean(chart.x_label, NAME_LIMIT), width - 20),
        x_ticks=_anchored(across.ticks(max(3, width // 90)), width),
        y_ticks=y_ticks,
        strokes=tuple(
            stroke(
                chart.kind,
                position,
                [across.place(x) for x in s.x if not isinstance(x, str)],
                [_placed(up, s.y), _placed(up, s.low), _placed(up, s.high)],
            )
            for position, s in enumerate(chart.series)
        ),
        categories=(),
        diagonal=_diagonal(across, up) if chart.diagonal else None,
        bound=None if bound is None else ((left, bound), (right, bound)),
    )


def _bars(chart: Chart, width: int) -> Plot | None:
    names = list(dict.fromkeys(shown(x) for s in chart.series for x in s.x))[:MOST_CATEGORIES]
    values = _values(chart)
    left, right = 8, width - _RIGHT
    across = around([*values, 0.0], (left, right)) if values else None
    if across is None:
        return None
    pitch = _NAME_LINE + _BAR_LINE * len(chart.series) + _BAR_GAP
    top = _TOP - 8
    bottom = top + pitch * len(names)
    tops = {name: top + pitch * position for position, name in enumerate(names)}
    strokes = []
    for position, s in enumerate(chart.series):
        kept = [i for i, x in enumerate(s.x) if shown(x) in tops]
        middle = _NAME_LINE + _BAR_LINE * position + _BAR_LINE // 2
        strokes.append(
            stroke(
                "bars",
                position,
                [tops[shown(s.x[i])] + middle for i in kept],
                [_placed(across, [_at(ends, i) for i in kept]) for ends in (s.y, s.low, s.high)],
                zero=across.place(0.0),
            )
        )
    bound = None if chart.bound is None else across.place(chart.bound)
    return Plot(
        width=width,
        height=bottom + _BOTTOM,
        plane=(left, top, right, bottom),
        above=fitted(clean(chart.x_label, NAME_LIMIT), width - 4),
        below=fitted(clean(chart.y_label, NAME_LIMIT), width - 20),
        x_ticks=_anchored(across.ticks(max(3, width // 90)), width),
        y_ticks=[],
        strokes=tuple(strokes),
        categories=tuple(_category(chart, name, y, right - left) for name, y in tops.items()),
        diagonal=None,
        bound=None if bound is None else ((bound, top), (bound, bottom)),
    )


def _category(chart: Chart, name: str, y: int, room: int) -> Category:
    text = ""
    if len(chart.series) == 1:
        only = chart.series[0]
        text = _figures(only, next(i for i, x in enumerate(only.x) if shown(x) == name))
    return Category(y=y + _NAME_LINE - 4, name=fitted(name, room - text_width(text) - 10), figures=text)


def _figures(s: Series, i: int) -> str:
    value, low, high = (_at(ends, i) for ends in (s.y, s.low, s.high))
    if value is None:
        return ABSENT
    return (
        number(value) if low is None or high is None else f"{number(value)} ({number(low)} to {number(high)})"
    )


def _values(chart: Chart) -> list[float]:
    """Return all numbers that need room on the axis of values, the bound included; none without a value."""
    given = [v for s in chart.series for ends in (s.y, s.low, s.high) for v in ends if v is not None]
    return given if chart.bound is None or not given else [*given, chart.bound]


def _placed(scale: Scale, values: Sequence[float | None]) -> list[int | None]:
    return [None if value is None else scale.place(value) for value in values]


def _at(values: Sequence[float | None], i: int) -> float | None:
    return values[i] if values else None


def _anchored(ticks: list[tuple[int, str]], width: int) -> list[tuple[int, str, str]]:
    """Return the ticks with where their text begins: one at the edge of the drawing is not cut off."""
    return [
        (
            x,
            text,
            "end" if x + text_width(text) / 2 > width else "start" if x < text_width(text) / 2 else "middle",
        )
        for x, text in ticks
    ]


def _diagonal(across: Scale, up: Scale) -> tuple[Point, Point] | None:
    low, high = max(across.low, up.low), min(across.high, up.high)
    return ((across.place(low), up.place(low)), (across.place(high), up.place(high))) if low < high else None
