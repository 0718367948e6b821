"""The measurements of the fairness check: the metric in every grouping, and its change between models."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_mlgate.candidate import Model
from pytest_mlgate.candidate.model import reading
from pytest_mlgate.evidence import Grade, Interval, Measurement
from pytest_mlgate.levels import Levels
from pytest_mlgate.subject import Subject

from ._fair_change import why_incomparable, worsening
from ._fair_intervals import Worst, interval_of, more_rows, why_undefined, worst_of
from ._fair_metrics import Definition, Metric
from ._fair_parts import Part, at_groups
from ._fair_rows import Count, counter
from ._fair_tables import which_errors
from ._groups import Grouping

_METHODS = {
    "difference": "limits of every group (Wilson, exact under 5; means: Hall; calibration: labels at "
    "their effective number), combined for all pairs "
    "(Newcombe, MOVER); the failing end at the quantile of the studentized range, the releasing end that of "
    "the worst pair (intersection-union)",
    "ratio": "limits of every group (Wilson, exact under 5), combined for all pairs (MOVER-R); the failing "
    "end at the quantile of the studentized range, the releasing end that of the worst pair "
    "(intersection-union)",
    "lowest": "Wilson limits, exact under 5, of every group; the failing end for all groups (Sidak), the "
    "releasing end that of the worst (intersection-union)",
    "highest": "limits of every mean (Hall); the failing end for all groups (Sidak), the releasing end that "
    "of the worst (intersection-union)",
}


@dataclass(frozen=True, eq=False)
class Comparison:
    """What the metric compares in one grouping: its judged groups, and why it has no value if it has none."""

    grouping: Grouping
    parts: list[Part]
    missing: str
    worst: Worst | None


def compare(definition: Definition, grouping: Grouping, count: Count) -> Comparison:
    judged = grouping.judged_groups
    if len(judged) < 2:
        of = len(grouping.names)
        reason = f"{len(judged)} of {of} groups are large enough to be judged, and a gap needs two"
        return Comparison(grouping, [], reason, None)
    parts = [at_groups(part, judged) for part in count(grouping)]
    titles = [grouping.title(int(g)) for g in judged]
    missing = why_undefined(definition.kind, parts, titles, [int(n) for n in grouping.rows[judged]])
    return Comparison(grouping, parts, missing, None if missing else worst_of(definition.kind, parts))


def measure(
    metric: Metric,
    definition: Definition,
    compared: Comparison,
    bound: float | None,
    levels: Levels,
    errors: Count | None,
) -> Measurement:
    """Return the metric in one grouping; beyond the bound it says which kind of error differs most."""
    grouping, worst = compared.grouping, compared.worst
    found = Measurement(
        metric=metric,
        value=None,
        unit="",
        n=int(grouping.rows[grouping.judged].sum()),
        interval=None,
        method=_METHODS[definition.kind],
        grade=Grade.MISSING,
        scope=grouping.scope,
        bound=None if bound is None else definition.bound,
        detail=compared.missing,
    )
    if worst is None:
        return found
    low, high = interval_of(definition.kind, compared.parts, levels)
    detail = _who(definition, compared, worst)
    if errors is not None and is_beyond(definition, compared, bound):
        detail += which_errors(worst, grouping, errors(grouping))
    asked: dict[str, int] = {}
    if bound is not None and low < bound < high:
        rows = grouping.rows[grouping.judged_groups].astype(float)
        needed = more_rows(definition.kind, compared.parts, rows, bound, levels)
        asked = {grouping.title(int(grouping.judged_groups[g])): more for g, more in needed.items()}
    return dataclasses.replace(
        found,
        value=worst.value,
        interval=_interval(low, high, levels.tails(definition.comparator).confidence),
        grade=Grade.MEASURED,
        detail=detail,
        more_rows=asked,
    )


def _interval(low: float, high: float, confidence: float) -> Interval:
    ends = [end if np.isfinite(end) else None for end in (low, high)]
    return Interval(low=ends[0], high=ends[1], confidence=confidence)


def _who(definition: Definition, compared: Comparison, worst: Worst) -> str:
    """Return which groups make the value, with their rows and values."""
    grouping, part = compared.grouping, compared.parts[worst.part]
    groups = [int(g) for g in grouping.judged_groups]

    def said(group: int) -> str:
        n, value = int(part.sizes[group]), float(part.values()[group])
        return f"{grouping.title(groups[group])} (n={n:,}{part.of}) {value:.3g}"

    if definition.kind in ("lowest", "highest"):
        group = worst.first if definition.kind == "lowest" else worst.second
        return f"{part.name}: {said(group)}, the {definition.kind} of {len(groups)} groups"
    return f"{part.name}: {said(worst.first)} against {said(worst.second)}"


def measure_worsening(
    subject: Subject,
    metric: Metric,
    definition: Definition,
    compared: Sequence[Comparison],
    levels: Levels,
    role: str,
    other: Model | None,
    *,
    bounded: bool,
) -> list[Measurement]:
    """Return by how much the metric is worse than that of the other model, in every grouping."""
    parameter = f"max_worsening_from_{role}"
    same = other is not None and _answers_alike(other, subject.release)
    if not bounded and (other is None or same):
        return []
    count = None if other is None or same else counter(subject, definition, [subject.release, other])
    found = []
    for one in compared:
        empty = Measurement(
            metric=f"{metric}_worsening_from_{role}",
            value=None,
            unit="",
            n=int(one.grouping.rows[one.grouping.judged].sum()),
            interval=None,
            method="change of the worst comparison on the same rows (of a ratio the share that was lost); "
            "covariance of both models from their joint counts, the releasing end that of the worst pair "
            "(intersection-union), the failing end simultaneous over all (Bonferroni)",
            grade=Grade.MISSING,
            scope=one.grouping.scope,
            bound=parameter if bounded else None,
            detail="no baseline was given: provide the mlgate_baseline fixture, or baseline in the policy",
        )
        if other is None:
            found.append(empty)
        elif same:
            found.append(_unchanged(empty, one.missing, role))
        else:
            assert count is not None
            found.append(_changed(empty, definition, one, count, levels, role))
    return found


def is_beyond(definition: Definition, compared: Comparison, bound: float | None) -> bool:
    """Return whether the point estimate lies on the wrong side of the bound."""
    if bound is None or compared.worst is None:
        return False
    value = compared.worst.value
    return value > bound if definition.comparator == "<=" else value < bound


def _answers_alike(first: Model, second: Model) -> bool:
    return first.identity.digest == second.identity.digest and reading(first) == reading(second)


def _unchanged(empty: Measurement, missing: str, role: str) -> Measurement:
    if missing:
        return dataclasses.replace(empty, detail=missing)
    return dataclasses.replace(
        empty,
        value=0.0,
        interval=Interval(low=0.0, high=0.0, confidence=1.0),
        grade=Grade.MEASURED,
        method="counted: both are the same model",
        detail=f"the release artifact is the {role}",
    )


def _changed(
    empty: Measurement, definition: Definition, one: Comparison, count: Count, levels: Levels, role: str
) -> Measurement:
    if one.missing:
        return dataclasses.replace(empty, detail=one.missing)
    grouping = one.grouping
    parts = [at_groups(part, grouping.judged_groups) for part in count(grouping)]
    titles = [grouping.title(int(g)) for g in grouping.judged_groups]
    rows = [int(n) for n in grouping.rows[grouping.judged_groups]]
    if reason := why_incomparable(definition.kind, parts, titles, rows, role):
        return dataclasses.replace(empty, detail=reason)
    change = worsening(definition.kind, parts, levels)
    return dataclasses.replace(
        empty,
        value=change.value,
        interval=Interval(low=change.low, high=change.high, confidence=levels.tails("<=").confidence),
        grade=Grade.MEASURED,
        detail=f"{role} {change.before:.3g}, release artifact {change.after:.3g}",
    )
