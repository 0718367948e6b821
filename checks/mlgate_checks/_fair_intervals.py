"""The value of a fairness metric with its interval, and the rows that would decide its bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_mlgate.levels import Levels
from pytest_mlgate.statistics.simultaneous import (
    Floats,
    Limits,
    all_groups_tail,
    all_pairs_tail,
    gap_ends,
    largest_gap,
    ratio_ends,
    smallest_ratio,
)

from ._fair_metrics import Kind
from ._fair_parts import Bools, Ints, Part

#: No group is asked for more rows than this.
_MOST_ROWS = 10_000_000
#: Of more undecided pairs than this, those farthest from their bound are looked at.
_MOST_PAIRS = 100


@dataclass(frozen=True, slots=True)
class Worst:
    """The comparison that makes the value: part, and one group or two (`first` is the lower)."""

    value: float
    part: int
    first: int
    second: int


def why_undefined(kind: Kind, parts: Sequence[Part], titles: Sequence[str], rows: Sequence[int]) -> str:
    """Return why the metric has no value for these groups; empty where it has one."""
    for part in parts:
        empty = [i for i, n in enumerate(part.sizes) if not n]
        if empty:
            names = ", ".join(f"{titles[i]} (n={rows[i]:,})" for i in empty)
            return f"{names}: no{part.of} among the test rows, so that the {part.name} is undefined there"
        if part.without_spread:
            return f"all rows have the same {part.name}: nothing shows how far the next may lie from it"
        if kind == "ratio" and not part.values().any():
            share = "is selected" if part.name == "selection rate" else f"counts in the {part.name}"
            return f"no row of any group {share}, so that its ratio is undefined"
    return ""


def worst_of(kind: Kind, parts: Sequence[Part]) -> Worst:
    """Return the metric's value and where it comes from."""
    found: list[Worst] = []
    for i, part in enumerate(parts):
        values = part.values()
        least, most = int(np.argmin(values)), int(np.argmax(values))
        low, high = float(values[least]), float(values[most])
        value = {"difference": high - low, "lowest": low, "highest": high}.get(kind)
        found.append(Worst(low / high if value is None else value, i, least, most))
    lower_is_worse = kind in ("ratio", "lowest")
    return min(found, key=lambda w: w.value) if lower_is_worse else max(found, key=lambda w: w.value)


def interval_of(kind: Kind, parts: Sequence[Part], levels: Levels) -> tuple[float, float]:
    """Return the interval of the metric's value: its failing end holds for all comparisons at once."""
    tail = failing_tail(kind, parts, levels)
    ends = [_ends(kind, part.limits(tail), part.limits(levels.release)) for part in parts]
    lows, highs = zip(*ends, strict=True)
    if kind in ("ratio", "lowest"):
        return min(lows), min(highs)
    largest = max(part.largest for part in parts) if kind == "difference" else math.inf
    return max(lows), min(largest, max(highs))


def failing_tail(kind: Kind, parts: Sequence[Part], levels: Levels) -> float:
    """Return the level of a single limit at which the failing end holds for the whole family."""
    groups = len(parts[0].sizes)
    if kind in ("difference", "ratio"):
        return all_pairs_tail(groups, len(parts), levels.fail)
    return all_groups_tail(groups, levels.fail / len(parts))


def _ends(kind: Kind, simultaneous: Limits, single: Limits) -> tuple[float, float]:
    if kind == "difference":
        return largest_gap(simultaneous, single)
    if kind == "ratio":
        return smallest_ratio(simultaneous, single)
    if kind == "lowest":
        return float(np.min(single.low)), float(np.min(simultaneous.high))
    return float(np.max(simultaneous.low)), float(np.max(single.high))


def more_rows(
    kind: Kind, parts: Sequence[Part], rows: Floats, bound: float, levels: Levels
) -> dict[int, int]:
    """Return how many more rows of which groups would decide the bound, if every estimate stayed.

    A value on the good side needs every pair that is still undecided to reach the bound with its releasing
    end; a value on the wrong side needs its worst pair to reach it with the failing one. The smaller group
    of a pair grows, and from the larger one's size on both do, on the very interval that decides.
    """
    worst = worst_of(kind, parts)
    lower_is_worse = kind in ("ratio", "lowest")
    if worst.value == bound:
        return {}
    wrong = (worst.value < bound) == lower_is_worse
    tail = failing_tail(kind, parts, levels) if wrong else levels.release
    found: dict[int, int] = {}
    for p, part in enumerate(parts):
        if not wrong:
            pairs = _undecided(kind, part, bound, tail)
        elif p == worst.part:
            first = worst.second if kind == "highest" else worst.first
            pairs = np.asarray([[first], [first if kind == "lowest" else worst.second]])
        else:
            continue
        for group, size in _sizes_needed(kind, part, pairs, bound, tail, wrong=wrong).items():
            more = math.ceil((size - part.sizes[group]) * rows[group] / part.sizes[group])
            found[group] = max(found.get(group, 0), more)
    return found


def _undecided(kind: Kind, part: Part, bound: float, tail: float) -> Ints:
    """Return the comparisons whose releasing end misses the bound, shape (2, m); single groups twice."""
    groups = np.arange(len(part.sizes))
    first, second = np.meshgrid(groups, groups, indexing="ij")
    keep = first != second if kind in ("difference", "ratio") else first == second
    pairs = np.stack([first[keep], second[keep]])
    distance = _beyond(kind, part, pairs, part.sizes[pairs], tail, wrong=False) - bound
    if kind in ("ratio", "lowest"):
        distance = -distance
    farthest = np.argsort(-distance, kind="stable")[:_MOST_PAIRS]
    return np.asarray(pairs[:, farthest[distance[farthest] > 0]])


def _beyond(kind: Kind, part: Part, pairs: Ints, sizes: Floats, tail: float, *, wrong: bool) -> Floats:
    """Return the end that has to reach the bound, shape (m,), of every comparison at these sizes.

    Of a difference the higher group comes second (the gap is second - first), of a ratio too.
    """
    first = part.limits(tail, pairs[0], sizes[0])
    second = part.limits(tail, pairs[1], sizes[1])
    if kind == "difference":
        low, high = gap_ends(second, first)
        return low if wrong else high
    if kind == "ratio":
        low, high = ratio_ends(first, second)
        return high if wrong else low
    if kind == "lowest":
        return first.high if wrong else first.low
    return first.low if wrong else first.high


def _sizes_needed(
    kind: Kind, part: Part, pairs: Ints, bound: float, tail: float, *, wrong: bool
) -> dict[int, float]:
    """Return the size that each group needs, by bisection over the size to which a pair is filled up."""
    now = part.sizes[pairs]
    low, high = np.min(now, axis=0), np.full(pairs.shape[1], float(_MOST_ROWS))

    def decided(filled: Floats) -> Bools:
        end = _beyond(kind, part, pairs, np.maximum(now, filled), tail, wrong=wrong)
        above = (kind in ("ratio", "lowest")) != wrong
        return np.asarray(end >= bound if above else end <= bound)

    possible = decided(high)
    for _ in range(40):
        middle = np.sqrt(low * high)
        enough = decided(middle)
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    found: dict[int, float] = {}
    for j in np.flatnonzero(possible):
        for group, size in zip(pairs[:, j].tolist(), now[:, j].tolist(), strict=True):
            if size < high[j]:
                found[group] = max(found.get(group, 0.0), float(high[j]))
    return found
