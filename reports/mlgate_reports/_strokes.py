"""Turns the points of one series, already in pixels, into the paths of its drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[int, int]
_Ends = Sequence[int | None]

#: A line with more points than this shows every second, third, ... of its marks.
_MOST_MARKS = 12
#: Half the length of the end of an interval, and half the height of a bar.
_CAP, _BAR = 3, 4


@dataclass(frozen=True, slots=True)
class Stroke:
    """One series as path data, empty where it has no such part.

    Its mark, its dashes and its colour follow from its position, from 0 on, so that it is told from the
    others without colour.
    """

    position: int
    line: str = ""
    #: The area between the ends of the intervals.
    band: str = ""
    whiskers: str = ""
    bars: str = ""
    marks: str = ""


def stroke(
    kind: str, position: int, along: Sequence[int], ends: Sequence[_Ends], zero: int | None = None
) -> Stroke:
    """Return the paths of one series.

    Args:
        kind: that of the chart.
        position: which of the chart's series it is, from 0 on.
        along: pixels along the axis of x, or down the categories of bars.
        ends: pixels of the values and of both ends of their intervals; these may be empty.
        zero: where bars begin.
    """
    values, lows, highs = ends
    points = [(x, y) for x, y in zip(along, values, strict=True) if y is not None]
    if kind == "bars":
        assert zero is not None
        bars = "".join(f"M{zero} {x - _BAR}H{y}v{2 * _BAR}H{zero}z" for x, y in points)
        whiskers = "".join(_lying(x, *two) for x, two in _intervals(along, values, lows, highs))
        return Stroke(
            position, bars=bars, whiskers=whiskers, marks=_marks(position, [(y, x) for x, y in points])
        )
    if kind == "points":
        whiskers = "".join(_standing(x, *two) for x, two in _intervals(along, values, lows, highs))
        return Stroke(position, whiskers=whiskers, marks=_marks(position, points))
    corners = _steps if kind == "steps" else list
    runs = _runs(along, values)
    lower, upper = (_runs(along, e) for e in _both(lows, highs))
    band = "".join(
        _path([*corners(low), *reversed(corners(high))]) + "z" for low, high in zip(lower, upper, strict=True)
    )
    # Every series has its marks at other points, lest they cover each other.
    every = -(-len(points) // _MOST_MARKS)
    marked = points[position % every :: every] if every else []
    alone = [run[0] for run in runs if len(run) == 1]
    return Stroke(
        position,
        line="".join(_path(corners(run)) for run in runs),
        band=band,
        marks=_marks(position, list(dict.fromkeys([*marked, *alone]))),
    )


def marker(position: int, x: int, y: int) -> str:
    """Return the mark of a series at a point: disc, square, diamond, triangle; from the fifth on hollow."""
    shapes = (
        f"M{x - 4} {y}a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
        f"M{x - 4} {y - 4}h8v8h-8z",
        f"M{x} {y - 5}l5 5l-5 5l-5-5z",
        f"M{x} {y - 5}l5 9h-10z",
    )
    return shapes[position % len(shapes)]


def _marks(position: int, points: Sequence[Point]) -> str:
    return "".join(marker(position, x, y) for x, y in points)


def _runs(along: Sequence[int], values: _Ends) -> list[list[Point]]:
    """Return the points without those that have no value, parted where one is missing."""
    runs: list[list[Point]] = [[]]
    for x, y in zip(along, values, strict=False):
        if y is not None:
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _both(lows: _Ends, highs: _Ends) -> tuple[_Ends, _Ends]:
    """Return the ends of the intervals that have two."""
    pairs = [
        (a, b) if a is not None and b is not None else (None, None) for a, b in zip(lows, highs, strict=False)
    ]
    return [a for a, _ in pairs], [b for _, b in pairs]


def _steps(points: Sequence[Point]) -> list[Point]:
    """Return the corners of a line that holds each value until the next point."""
    corners: list[Point] = []
    for x, y in points:
        corners += [(x, corners[-1][1]), (x, y)] if corners else [(x, y)]
    return corners


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in points)


def _intervals(
    along: Sequence[int], values: _Ends, lows: _Ends, highs: _Ends
) -> list[tuple[int, tuple[int | None, int | None, int | None]]]:
    """Return the positions that have an end of an interval, with value, low and high."""
    none = [None] * len(along)
    rows = zip(along, values, lows or none, highs or none, strict=True)
    return [(x, (v, low, high)) for x, v, low, high in rows if low is not None or high is not None]


def _standing(x: int, value: int | None, low: int | None, high: int | None) -> str:
    ends = [end for end in (low, high) if end is not None]
    start, end = (ends[0], ends[-1]) if len(ends) == 2 else (ends[0] if value is None else value, ends[0])
    return f"M{x} {start}V{end}" + "".join(f"M{x - _CAP} {e}h{2 * _CAP}" for e in ends)


def _lying(y: int, value: int | None, low: int | None, high: int | None) -> str:
    ends = [end for end in (low, high) if end is not None]
    start, end = (ends[0], ends[-1]) if len(ends) == 2 else (ends[0] if value is None else value, ends[0])
    return f"M{start} {y}H{end}" + "".join(f"M{e} {y - _CAP}v{2 * _CAP}" for e in ends)
