"""How differently the release artifact treats groups of people, alone and at their intersections."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from pytest_mlgate.contract import AtLeast, AtMost, GroupColumns, check
from pytest_mlgate.errors import CheckError, MissingExtra
from pytest_mlgate.evidence import Comparator, Findings, Grade, Interval, Measurement, Table
from pytest_mlgate.levels import Levels, Tails
from pytest_mlgate.statistics import difference_interval, ratio_interval
from pytest_mlgate.subject import Subject

from ._groups import OF, Group, group_table, groups_of

#: The rates whose largest gap (or smallest ratio) between two groups is the metric.
_RATES: dict[str, tuple[str, ...]] = {
    "demographic_parity_difference": ("selection rate",),
    "demographic_parity_ratio": ("selection rate",),
    "equal_opportunity_difference": ("true-positive rate",),
    "equalized_odds_difference": ("true-positive rate", "false-positive rate"),
}


@check("fairness")
def fairness(
    subject: Subject,
    *,
    metric: Literal[
        "demographic_parity_difference",
        "demographic_parity_ratio",
        "equal_opportunity_difference",
        "equalized_odds_difference",
    ],
    sensitive: GroupColumns,
    max: AtMost = None,
    min: AtLeast = None,
    intersections: bool = True,
    min_group_share: float = 0.0,
) -> Findings:
    """Largest difference (or smallest ratio) of a rate between two groups, per column and intersection.

    `max` bounds a difference, `min` the ratio, both as fractions. Binary models only. Points are fairlearn's
    own metric functions; intervals cover all pairs of groups at once. A group in which a rate has no rows to
    stand on makes the metric not measurable rather than 0. Groups with less than `min_group_share` of the
    test rows are shown and not judged (New York City's 6 RCNY 5-301 allows that below 0.02).

    Raises:
        CheckError: the bound does not fit the metric, the model or the label is not binary, a column has too
            many groups, or the share is not in 0 to 1.
        MissingExtra: fairlearn is not installed.
    """
    ratio = metric.endswith("_ratio")
    if (ratio and max is not None) or (not ratio and min is not None):
        raise CheckError(f"{metric} takes the bound {'min' if ratio else 'max'}=, not the other one")
    if not 0 <= min_group_share < 1:
        raise CheckError(f"min_group_share={min_group_share:g} is outside 0 to 1")
    if not sensitive:
        raise CheckError("sensitive names no column, so that there are no groups to compare")
    if len(subject.data.classes) > 2:
        raise CheckError(f"the label has {len(subject.data.classes)} classes; fairness needs a binary label")
    bound = None if max is None and min is None else "min" if ratio else "max"
    columns = tuple(dict.fromkeys(sensitive))
    scopes: list[tuple[str, ...]] = [(name,) for name in columns]
    if intersections and len(columns) > 1:
        scopes.append(columns)
    measurements: list[Measurement] = []
    tables: list[Table] = []
    left_out: list[str] = []
    for scope in scopes:
        groups = groups_of(subject, subject.release, scope, min_group_share)
        levels = subject.levels.split(len(scopes))
        found = _measure(metric, bound, "*".join(scope), groups, levels)
        measurements.append(found)
        if subject.parent.identity.digest != subject.release.identity.digest:
            before = groups_of(subject, subject.parent, scope, min_group_share)
            measurements.append(_change(metric, found, before))
        tables.append(group_table("*".join(scope), groups))
        left_out += [
            f"{g.title} (n={g.n:,}, {g.share:.1%} of the rows): under min_group_share={min_group_share:g}, "
            "shown but not judged"
            for g in groups
            if not g.judged
        ]
    return Findings(
        measurements=tuple(measurements),
        tables=tuple(tables),
        assumptions={
            "rows": "the test rows are independent of each other and drawn like the rows to come",
            "groups": "as recorded in the data; a missing value is the group `unknown`",
            "decision": f"positive from a probability of {subject.release.threshold:g} on",
            "family": f"{len(scopes)} groupings; any pair of groups in any of them may fail the requirement",
        },
        not_covered=(
            *left_out,
            "groups without rows in the test table, and attributes that were not recorded",
            "whether the labels themselves are fair, and what follows from the decisions",
        ),
    )


def _why_undefined(metric: str, groups: Sequence[Group]) -> str:
    """Return why the metric has no value for these groups; empty where it has one."""
    judged = [g for g in groups if g.judged]
    if len(judged) < 2:
        return f"{len(judged)} of {len(groups)} groups are large enough to be judged, and a gap needs two"
    for rate in _RATES[metric]:
        empty = [g for g in judged if not g.counts(rate)[1]]
        if empty:
            names = ", ".join(f"{g.title} (n={g.n:,})" for g in empty)
            return f"{names}: no{OF[rate]} among the test rows, so that the {rate} is undefined there"
    if metric.endswith("_ratio") and not any(g.counts(_RATES[metric][0])[0] for g in judged):
        return "no row of any group is selected, so that the ratio of the selection rates is undefined"
    return ""


def _point(metric: str, groups: Sequence[Group]) -> float:
    """Return fairlearn's value; it is given each kind of row once, weighted by how often it occurs.

    That is the same number (its rates are weighted means), without its loop over all rows.
    """
    try:
        from fairlearn import metrics
    except ImportError:
        raise MissingExtra("fairlearn", "fairness") from None
    rows: list[tuple[int, int, int, int]] = []
    for i, g in enumerate(g for g in groups if g.judged):
        negatives = g.n - g.positives
        rows += [
            (i, 1, 1, g.true_positives),
            (i, 1, 0, g.positives - g.true_positives),
            (i, 0, 1, g.false_positives),
            (i, 0, 0, negatives - g.false_positives),
        ]
    group, label, answer, weight = np.asarray([row for row in rows if row[-1]]).T
    function: Any = getattr(metrics, metric)
    return float(function(label, answer, sensitive_features=group, sample_weight=weight))


def _measure(
    metric: str, bound: str | None, scope: str, groups: Sequence[Group], levels: Levels
) -> Measurement:
    comparator: Comparator = ">=" if metric.endswith("_ratio") else "<="
    judged = [g for g in groups if g.judged]
    reason = _why_undefined(metric, groups)
    interval = None
    if not reason:
        pairs = len(_RATES[metric]) * math.comb(len(judged), 2)
        low, high = _interval(metric, judged, levels.split(pairs).tails(comparator))
        interval = Interval(low=low, high=high, confidence=levels.tails(comparator).confidence)
    return Measurement(
        metric=metric,
        value=None if reason else _point(metric, groups),
        unit="",
        n=sum(g.n for g in judged),
        interval=interval,
        method=f"fairlearn.metrics.{metric}; {'MOVER-R' if comparator == '>=' else 'Newcombe'} intervals of "
        "all pairs of groups, the releasing end that of the worst pair (intersection-union), the failing end "
        "simultaneous over pairs and rates (Bonferroni)",
        grade=Grade.MISSING if reason else Grade.MEASURED,
        scope=scope,
        bound=bound,
        detail=reason or _worst_pair(metric, judged),
    )


def _pairs(metric: str, groups: Sequence[Group]) -> Iterator[tuple[str, Group, Group]]:
    """Yield every rate with both orders of every pair of groups."""
    for rate in _RATES[metric]:
        for a, b in itertools.permutations(groups, 2):
            yield rate, a, b


def _interval(metric: str, groups: Sequence[Group], tails: Tails) -> tuple[float, float]:
    """Return the interval of the largest gap, or of the smallest ratio, over all pairs of groups.

    The side on which a release rests is that of the worst pair at the full level: if the true gap of some
    pair exceeds the bound, that very pair's end has to miss it (intersection-union test; Berger 1982,
    Technometrics 24:295). The other side holds for all pairs at once. Both orders of a pair are looked at,
    so that its gap is covered whatever its sign; only at a true gap near 0 can both orders err, and there
    the releasing end cannot, so that the stated coverage holds.
    """
    if metric.endswith("_ratio"):
        ends = [ratio_interval(*a.counts(r), *b.counts(r), tails) for r, a, b in _pairs(metric, groups)]
        low = min(low for low, _ in ends)
        high = min(math.inf if high is None else high for _, high in ends)
        return min(1.0, low), min(1.0, high)
    gaps = [difference_interval(*a.counts(r), *b.counts(r), tails) for r, a, b in _pairs(metric, groups)]
    return max(0.0, *(low for low, _ in gaps)), max(high for _, high in gaps)


def _worst_pair(metric: str, groups: Sequence[Group]) -> str:
    rate, low, high = max(_pairs(metric, groups), key=lambda pair: _gap(metric, *pair))
    return f"{rate}: {low.describe(rate)} against {high.describe(rate)}"


def _gap(metric: str, rate: str, low: Group, high: Group) -> float:
    (k1, n1), (k2, n2) = low.counts(rate), high.counts(rate)
    if metric.endswith("_ratio"):
        return 1 - (k1 / n1) / (k2 / n2) if k2 else -math.inf
    return k2 / n2 - k1 / n1


def _change(metric: str, release: Measurement, parent_groups: Sequence[Group]) -> Measurement:
    reason = release.detail if release.value is None else _why_undefined(metric, parent_groups)
    before = None if reason else _point(metric, parent_groups)
    value = None if release.value is None or before is None else release.value - before
    return Measurement(
        metric=f"{metric}_change",
        value=value,
        unit="",
        n=release.n,
        interval=None,
        method="value of the release artifact minus that of its float parent on the same rows; a point",
        grade=Grade.MISSING if value is None else Grade.MEASURED,
        scope=release.scope,
        detail=reason or f"float parent {before:.3g}, release artifact {release.value:.3g}",
    )
