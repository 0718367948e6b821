"""Lays out the two kinds of chart, as coordinates that the templates draw; nothing here is a statistic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ._rows import Row
from ._tables import NUMERIC

WIDTH = 190
#: Room at either end for markers and arrows.
_MARGIN = 10.0
#: How far the axis goes beyond the outermost point, as a share of the span.
_PADDING = 0.12


@dataclass(frozen=True, slots=True)
class IntervalChart:
    """Where the interval, the estimate, the bound and the wrong side of it are drawn, in pixels."""

    value: float
    low: float
    high: float
    bound: float
    wrong_from: float
    wrong_width: float
    #: The interval goes on beyond the edge.
    open_low: bool
    open_high: bool
    label_anchor: str


def interval_chart(row: Row) -> IntervalChart | None:
    """Return the chart of one judged measurement, `None` where there is no interval to draw."""
    m, requirement = row.measurement, row.requirement
    if m is None or requirement is None or m.value is None or m.interval is None or m.unbounded:
        return None
    ends = [end for end in (m.interval.low, m.interval.high) if end is not None]
    points = [m.value, requirement.bound, *ends]
    if not all(map(math.isfinite, points)):
        return None
    first, last = _axis(points)
    if not math.isfinite(last - first):
        return None

    def place(x: float) -> float:
        return round(_MARGIN + (x - first) / (last - first) * (WIDTH - 2 * _MARGIN), 1)

    bound = place(requirement.bound)
    at_most = requirement.comparator == "<="
    return IntervalChart(
        value=place(m.value),
        low=0.0 if m.interval.low is None else place(m.interval.low),
        high=float(WIDTH) if m.interval.high is None else place(m.interval.high),
        bound=bound,
        wrong_from=bound if at_most else 0.0,
        wrong_width=round(WIDTH - bound if at_most else bound, 1),
        open_low=m.interval.low is None,
        open_high=m.interval.high is None,
        label_anchor="start" if bound < 40 else "end" if bound > WIDTH - 40 else "middle",
    )


def bar_width(cell: object, full: float) -> float:
    """Return the length of the bar for a share between 0 and 1, 0 for a cell that is no number."""
    return round(float(cell) * full, 1) if isinstance(cell, NUMERIC) else 0.0


def _axis(points: list[float]) -> tuple[float, float]:
    low, high = min(points), max(points)
    pad = (high - low) * _PADDING or abs(high) * _PADDING or 1.0
    # An axis of quantities that cannot be negative does not show negative ones.
    return (max(0.0, low - pad) if low >= 0 and low != high else low - pad), high + pad
