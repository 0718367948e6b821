"""How much less fair the release artifact is than another model on the same rows, with an interval.

A metric is the worst of many comparisons (the largest gap over pairs of groups and rates), so its change is
a difference of two maxima, and neither maximum need be at the same pair. With a_i the comparison i of the
release artifact and b_i that of the other model, both signed so that larger is worse, the change is

    W = max a - max b = max_i min_j (a_i - b_j).

Releasing end: with i the release's own worst comparison, W <= a_i - b_i. Whichever i that is, its end at its
full level covers, so that the largest such end is valid without a correction (intersection-union; Berger
1982, Technometrics 24:295). Failing end: for every i, W >= min_j (a_i - b_j), which by the same argument
over j needs no correction; i may be chosen by the data because it is taken at Bonferroni's level for all.
All differences are taken on the same rows, so that their variances hold the covariance of the two models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from pytest_mlgate.levels import Levels
from pytest_mlgate.statistics.simultaneous import Floats

from ._fair_metrics import Kind
from ._fair_parts import Bools, Ints, Part, RatePart

#: Of the release's comparisons those that are worst for certain are taken for the failing end.
_MOST_CHOSEN = 20


@dataclass(frozen=True, slots=True)
class Worsening:
    """By how much the metric got worse (positive: less fair), with its interval."""

    value: float
    low: float | None
    high: float | None
    before: float
    after: float


@dataclass(frozen=True, slots=True, eq=False)
class _Items:
    """All comparisons of all parts, linear in the values of two groups; arrays have shape (m,)."""

    part: Ints
    first: Ints
    second: Ints
    #: Value, signed so that larger is worse, and weights of both groups, for either model (2, m).
    value: Floats
    on_first: Floats
    on_second: Floats


def why_incomparable(
    kind: Kind, parts: Sequence[Part], titles: Sequence[str], rows: Sequence[int], role: str
) -> str:
    """Return why the two models cannot be compared in these groups; empty where they can."""
    for part in parts:
        if isinstance(part, RatePart):
            for i, n in enumerate(part.counts(1)[1]):
                if not n:
                    return (
                        f"{titles[i]} (n={rows[i]:,}): no{part.of} by the {role}, so that its {part.name} is "
                        "undefined there"
                    )
        for i, zero in enumerate((part.values(0) == 0) | (part.values(1) == 0)):
            if zero and kind == "ratio":
                return (
                    f"{titles[i]} (n={rows[i]:,}): the {part.name} of the {role} or of the release is 0, "
                    "and a change of such a ratio has no size"
                )
    return ""


def worsening(kind: Kind, parts: Sequence[Part], levels: Levels) -> Worsening:
    """Return how much worse the metric became; of a ratio, which share of it was lost.

    Every group needs a denominator in both models, and for a ratio rates above 0.
    """
    items = _items(kind, parts)
    after, before = float(np.max(items.value[0])), float(np.max(items.value[1]))
    low, high = _failing_end(items, parts, levels.fail), _releasing_end(items, parts, levels.release)
    if kind == "ratio":
        lost = [-math.expm1(-x) for x in (after - before, low, high)]
        return Worsening(lost[0], lost[1], lost[2], math.exp(-before), math.exp(-after))
    sign = -1.0 if kind == "lowest" else 1.0
    return Worsening(after - before, _finite(low), _finite(high), sign * before, sign * after)


def _finite(end: float) -> float | None:
    return end if math.isfinite(end) else None


def _items(kind: Kind, parts: Sequence[Part]) -> _Items:
    found = [_items_of(kind, p, part) for p, part in enumerate(parts)]
    joined = [np.concatenate(columns, axis=-1) for columns in zip(*found, strict=True)]
    return _Items(*joined)


def _items_of(kind: Kind, number: int, part: Part) -> tuple[Ints, Ints, Ints, Floats, Floats, Floats]:
    values = np.stack([part.values(0), part.values(1)])
    groups = np.arange(values.shape[1])
    if kind in ("lowest", "highest"):
        sign = -1.0 if kind == "lowest" else 1.0
        weight = np.full(values.shape, sign)
        return np.full(len(groups), number), groups, groups, sign * values, weight, np.zeros(values.shape)
    first, second = np.meshgrid(groups, groups, indexing="ij")
    apart = first != second
    i, j = first[apart], second[apart]
    if kind == "difference":
        ones = np.ones((2, len(i)))
        return np.full(len(i), number), i, j, values[:, i] - values[:, j], ones, -ones
    low, high = values[:, i], values[:, j]
    return np.full(len(i), number), i, j, np.log(high) - np.log(low), -1 / low, 1 / high


def _releasing_end(items: _Items, parts: Sequence[Part], tail: float) -> float:
    everything = np.arange(len(items.part))
    spread = np.sqrt(_variance(items, parts, _covariances(parts, tail), everything, everything))
    return float(np.max(items.value[0] - items.value[1] - float(ndtri(tail)) * spread))


def _failing_end(items: _Items, parts: Sequence[Part], fail: float) -> float:
    tail = fail / len(items.part)
    z = float(-ndtri(tail))
    covariances = _covariances(parts, tail)
    everything = np.arange(len(items.part))
    certain = items.value[0] - z * np.sqrt(_own_variance(items, covariances, 0))
    ends = []
    for i in np.argsort(-certain, kind="stable")[:_MOST_CHOSEN].tolist():
        spread = np.sqrt(_variance(items, parts, covariances, np.full_like(everything, i), everything))
        ends.append(float(np.min(items.value[0][i] - items.value[1] - z * spread)))
    return max(ends)


def _covariances(parts: Sequence[Part], tail: float) -> Floats:
    """Return the covariance matrices of all parts, shape (parts, groups, 2, 2)."""
    return np.stack([part.covariances(tail) for part in parts])


def _own_variance(items: _Items, covariances: Floats, model: int) -> Floats:
    """Return the variance of every comparison of one model, shape (m,)."""
    total = np.zeros(len(items.part))
    for groups, weights in ((items.first, items.on_first), (items.second, items.on_second)):
        variance = covariances[items.part, groups, model, model]
        total += weights[model] ** 2 * np.where(weights[model] == 0, 0.0, variance)
    return total


def _variance(items: _Items, parts: Sequence[Part], covariances: Floats, left: Ints, right: Ints) -> Floats:
    """Return the variance of comparison `left` of the release minus `right` of the other model, shape (m,).

    Two parts that no row shares (true- and false-positive rate) are independent given the labels; between
    others (two classes) the largest possible covariance is taken.
    """
    mine, theirs = _own_variance(items, covariances, 0)[left], _own_variance(items, covariances, 1)[right]
    shared = np.zeros(len(left))
    for groups, weights in ((items.first, items.on_first), (items.second, items.on_second)):
        for others, their_weights in ((items.first, items.on_first), (items.second, items.on_second)):
            same = groups[left] == others[right]
            covariance = covariances[items.part[left], groups[left], 0, 1]
            shared += np.where(same, weights[0][left] * their_weights[1][right] * covariance, 0.0)
    together = np.maximum(0.0, mine + theirs - 2 * shared)
    most = np.sqrt(mine * theirs) * _overlap(parts)[items.part[left], items.part[right]]
    return np.where(items.part[left] == items.part[right], together, mine + theirs + 2 * most)


def _overlap(parts: Sequence[Part]) -> Bools:
    """Return which parts have rows in common in their denominators, shape (parts, parts)."""
    among = [p.denominator.any(axis=0) if isinstance(p, RatePart) else np.ones(1, dtype=bool) for p in parts]
    return np.asarray([[bool((a & b).any()) for b in among] for a in among])
