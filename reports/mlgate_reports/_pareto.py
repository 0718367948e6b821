"""Lays out the chart of the variants: what each costs against its accuracy on the training rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_mlgate.evidence import Run
from pytest_mlgate.text import clean

from ._labels import Label, Wanted, place
from ._scale import scale
from ._variants import ShownVariant, shown_variants, usable

#: The chart is drawn twice, for desks and for phones; a page shows the one that fits.
WIDTHS = (720, 340)
_HEIGHT = 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 16, 30, 46
#: More points than this are labelled by number, but for those that matter.
_MOST_NAMES = 6
_LONGEST_NAME = 40
#: The search does not tell times apart that differ by less; see `pytest_mlgate.compress.screen`.
_ALIKE = 1.055


@dataclass(frozen=True, slots=True)
class Mark:
    """One variant in the drawing."""

    x: int
    y: int
    shown: ShownVariant
    label: Label | None

    @property
    def shape(self) -> str:
        """The release artifact and the float model are told by shape, the front by being filled."""
        return "diamond" if self.shown.is_release else "square" if self.shown.is_float else "disc"


@dataclass(frozen=True, slots=True)
class ParetoChart:
    """Everything that the template draws, in pixels."""

    width: int
    height: int
    #: Left, top, right and bottom of the plane of points.
    plane: tuple[int, int, int, int]
    #: What the horizontal axis shows, in words and as the title with its unit.
    cost: str
    title: str
    x_ticks: list[tuple[int, str]]
    y_ticks: list[tuple[int, str]]
    marks: tuple[Mark, ...]
    #: Path through the Pareto front, from the cheapest on; empty where the axes do not show one.
    front: str
    #: Where the float model's time is.
    parity: int | None

    @property
    def on_front(self) -> tuple[str, ...]:
        """The recipes on the front, from the cheapest on."""
        marks = sorted(self.marks, key=lambda mark: mark.x)
        return tuple(mark.shown.variant.recipe for mark in marks if mark.shown.figures.on_front)


@dataclass(frozen=True, slots=True)
class _Axis:
    cost: str
    title: str
    of: Callable[[ShownVariant], float | None]
    least_span: float


def pareto_chart(run: Run, width: int) -> ParetoChart | None:
    """Return the chart of the variants, `None` where there are not two to compare.

    The evidence marks the front in what the search minimised. Its line is drawn in the time of one row
    where it is a front in that too, and else in the size of the file.
    """
    seen = [s for s in shown_variants(run) if usable(s.figures.accuracy)]
    axes = [axis for axis in _axes(seen) if all(usable(axis.of(s)) for s in seen)]
    if len(seen) < 2 or not axes:
        return None
    axis = next((a for a in axes if _is_front(seen, a)), axes[0])
    costs = [axis.of(s) or 0.0 for s in seen]
    right, bottom = width - _RIGHT, _HEIGHT - _BOTTOM
    across = scale(costs, axis.least_span, math.inf, (_LEFT, right))
    # One point of accuracy, lest a single row look like an abyss.
    up = scale([s.figures.accuracy or 0.0 for s in seen], 0.01, 1.0, (bottom, _TOP))
    if across is None or up is None:
        return None
    # Who matters most is labelled first; the release artifact is drawn last, above the others.
    placed = sorted(
        (
            (across.place(cost), up.place(s.figures.accuracy or 0.0), s)
            for cost, s in zip(costs, seen, strict=True)
        ),
        key=lambda point: _weight(point[2]),
    )
    joined = _is_front(seen, axis)
    line = sorted((x, y) for x, y, s in placed if joined and s.figures.on_front)
    wanted = [Wanted(x, y, _texts(s, len(seen))) for x, y, s in placed]
    labels = place(wanted, (_LEFT + 2, _TOP - 8, width - 2, bottom - 2), line)
    marks = [Mark(x, y, s, label) for (x, y, s), label in zip(placed, labels, strict=True)]
    return ParetoChart(
        width=width,
        height=_HEIGHT,
        plane=(_LEFT, _TOP, right, bottom),
        cost=axis.cost,
        title=axis.title,
        x_ticks=across.ticks(max(3, width // 90)),
        y_ticks=up.ticks(6),
        marks=tuple(reversed(marks)),
        front="M" + "L".join(f"{x} {y}" for x, y in line) if len(line) > 1 else "",
        parity=across.place(1.0) if axis.of is _ratio and across.holds(1.0) else None,
    )


def _axes(seen: Sequence[ShownVariant]) -> list[_Axis]:
    largest = max((s.size or 0 for s in seen), default=0)
    unit, divisor = next(((u, d) for u, d in (("MB", 1e6), ("kB", 1e3)) if largest >= 2 * d), ("bytes", 1.0))

    def size(shown: ShownVariant) -> float | None:
        return None if shown.size is None else shown.size / divisor

    return [
        _Axis("time for one row", "Time for one row relative to the float model (1 = as fast)", _ratio, 0.1),
        _Axis("file size", f"File size ({unit})", size, 0.05 * largest / divisor),
    ]


def _ratio(shown: ShownVariant) -> float | None:
    return shown.figures.latency_ratio


def _is_front(seen: Sequence[ShownVariant], axis: _Axis) -> bool:
    """Return whether those marked are the ones that no other beats in this cost."""
    points = [(axis.of(s) or 0.0, s.figures.accuracy or 0.0, s.figures.on_front) for s in seen]
    front = [(cost, accuracy) for cost, accuracy, marked in points if marked]
    beaten = any(
        other * _ALIKE < cost and its >= accuracy for cost, accuracy in front for other, its, _ in points
    )
    return not beaten and all(
        any(cost <= other * _ALIKE and accuracy >= its for cost, accuracy in front)
        for other, its, marked in points
        if not marked
    )


def _weight(shown: ShownVariant) -> tuple[bool, bool, bool, int]:
    return not shown.is_release, not shown.is_float, not shown.figures.on_front, shown.number


def _texts(shown: ShownVariant, points: int) -> tuple[str, ...]:
    name = clean(shown.variant.recipe)
    matters = shown.is_release or shown.is_float or shown.figures.on_front or points <= _MOST_NAMES
    numbered = str(shown.number)
    return (name, numbered) if matters and 0 < len(name) <= _LONGEST_NAME else (numbered,)
