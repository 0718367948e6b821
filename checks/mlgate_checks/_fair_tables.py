"""What the reports show of the groups: their rates with intervals, and what the largest gap is made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_mlgate.evidence import Cell, Chart, Series, Table
from pytest_mlgate.levels import Levels

from ._fair_intervals import Worst
from ._fair_parts import Part
from ._groups import Grouping

#: A chart holds no more series, and none of its series more points.
_MOST_SERIES = 8
_MOST_POINTS = 200


def group_table(grouping: Grouping, parts: Sequence[Part], compared: Sequence[Part]) -> Table:
    """Return every group with its rows and values, whether judged or not.

    `parts` are shown as they are; those that the metric compares come with what stands in their denominator.
    """
    names = [part.name for part in compared]
    shown = [*compared, *(part for part in parts if part.name not in names)]
    counted = [part for part in compared if part.of]
    rows: list[tuple[Cell, ...]] = [
        (
            grouping.names[g],
            int(grouping.rows[g]),
            grouping.share(g),
            *(int(part.sizes[g]) for part in counted),
            *(_value(part, g) for part in shown),
            "yes" if grouping.judged[g] else "no",
        )
        for g in range(len(grouping.names))
    ]
    counts = tuple(f"{part.of.strip()} ({part.name})" for part in counted)
    return Table(
        title=f"Groups by {grouping.scope}",
        columns=("group", "n", "share", *counts, *(part.name for part in shown), "judged"),
        rows=tuple(rows),
        note="a rate without rows to stand on is empty",
    )


def _value(part: Part, group: int) -> float | None:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(part.values()[group]) if part.sizes[group] else None


def group_chart(
    grouping: Grouping, metric: str, parts: Sequence[Part], levels: Levels, bound: float | None
) -> Chart:
    """Return bars of every compared value in every judged group, with the interval of each alone.

    `bound` is drawn where it bounds the values themselves, not their gap.
    """
    groups = grouping.judged_groups[:_MOST_POINTS]
    widest = sorted(parts, key=lambda part: -float(np.ptp(part.values())))[:_MOST_SERIES]
    series = []
    for part in widest:
        limits = part.limits(levels.release)
        low, high = (tuple(_drawn(v) for v in ends[: len(groups)]) for ends in (limits.low, limits.high))
        y = tuple(float(v) for v in limits.value[: len(groups)])
        x = tuple(grouping.names[g] for g in groups)
        series.append(Series(name=part.name, x=x, y=y, low=low, high=high))
    more = len(parts) - len(widest)
    note = f"whiskers: {1 - 2 * levels.release:.0%} interval of each value alone"
    return Chart(
        title=f"{metric} by {grouping.scope}",
        kind="bars",
        x_label=grouping.scope,
        y_label=parts[0].name if len(parts) == 1 else "rate",
        series=tuple(series),
        bound=bound,
        note=note + (f"; {more} more with smaller gaps are not drawn" if more > 0 else ""),
    )


def _drawn(end: float) -> float | None:
    return float(end) if np.isfinite(end) else None


def gap_table(grouping: Grouping, metric: str, worst: Worst, rates: Sequence[Part]) -> Table:
    """Return all rates of the two groups behind the value, and by how much each rate differs."""
    pair = grouping.judged_groups[[worst.first, worst.second]]
    rows: list[tuple[Cell, ...]] = []
    for part in rates:
        first, second = (_value(part, int(g)) for g in pair)
        gap = None if first is None or second is None else second - first
        rows.append((part.name, first, second, gap))
    names = [grouping.title(int(g)) for g in pair]
    return Table(
        title=f"What stands behind {metric} by {grouping.scope}",
        columns=("rate", *names, "difference"),
        rows=tuple(rows),
        note="the two groups that make the value; a rate without rows to stand on is empty",
    )


def which_errors(worst: Worst, grouping: Grouping, rates: Sequence[Part]) -> str:
    """Return which of the rates differs most between the two groups behind the value, as messages add it."""
    pair = grouping.judged_groups[[worst.first, worst.second]]
    gaps: list[tuple[float, str, float, float]] = []
    for part in rates:
        first, second = (_value(part, int(g)) for g in pair)
        if first is not None and second is not None:
            gaps.append((abs(second - first), part.name, first, second))
    if not gaps:
        return ""
    _, name, first, second = max(gaps)
    return f"; of its errors the {name} differs most, {first:.3g} against {second:.3g}"
