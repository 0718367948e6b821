"""A family of comparisons, any of which can fail its bound: simultaneous intervals, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_mlgate.evidence import Cell, Grade, Interval, Measurement, Table
from pytest_mlgate.levels import Levels

from ._comparison import Comparison

_METHODS = {
    "counts": "total variation distance of the shares of categories",
    "numbers": "Kolmogorov-Smirnov distance of the values that are present",
    "none": "none: nothing to compare",
}
_COUNTED = ("categorical", "codes", "boolean", "missing")
EXTREMES = (
    "share of rows beyond the outermost 0.05% of the reference on either side, minus that share of the "
    "reference; exact limits, whatever the distribution"
)


@dataclass(frozen=True, slots=True)
class Judged:
    """A comparison, its measurement, and the corrected p-value of the test of no difference at all."""

    comparison: Comparison
    measurement: Measurement
    p: float | None


def shifts(
    comparisons: Sequence[Comparison], metric: str, bound: str, levels: Levels, beside: int = 0
) -> list[Judged]:
    """Return the distance of every comparison with its simultaneous interval, worst first.

    `beside` counts the comparisons that answer to the same bound elsewhere.
    """
    family = compared(comparisons) + beside
    tails = levels.split(family).tails("<=")
    found = []
    for c in comparisons:
        name = "none" if c.distance is None else "counts" if c.kind in _COUNTED else "numbers"
        method = f"{_METHODS[name]}; one of {family} that are judged at once"
        if c.distance is None:
            found.append(Judged(c, missing(metric, c.scope, bound, c.problem, c.rows, method), None))
            continue
        value, (low, high) = c.distance.value, c.distance.interval(tails)
        m = Measurement(
            metric=metric,
            value=value,
            unit="",
            n=c.rows,
            interval=Interval(low=min(low, value), high=max(high, value), confidence=tails.confidence),
            method=method,
            scope=c.scope,
            bound=bound,
            detail=c.moved,
        )
        found.append(Judged(c, m, min(1.0, c.distance.p_value() * family)))
    return sorted(found, key=_worst_first)


def compared(comparisons: Sequence[Comparison]) -> int:
    """Return how many comparisons have a distance."""
    return sum(c.distance is not None for c in comparisons)


def extremes(comparisons: Sequence[Comparison], bound: str, levels: Levels, role: str) -> list[Measurement]:
    """Return the rise of the share of extreme values of every column of numbers, worst first."""
    having = [(c, c.extremes) for c in comparisons if c.extremes is not None]
    tails = levels.split(len(having)).tails("<=")
    metric = "tail_shift"
    found = [missing(metric, c.scope, bound, c.problem, c.rows, EXTREMES) for c in comparisons if c.problem]
    if not having and not found:
        found.append(
            missing(metric, "", bound, "no column holds amounts, which alone have tails", 0, EXTREMES)
        )
    measured = []
    for c, e in having:
        low, high = e.interval(tails)
        beyond = (
            f"{e.current[0]:,} of {e.current[1]:,} rows of {role} are below {e.low:.4g} or above {e.high:.4g}"
        )
        m = Measurement(
            metric=metric,
            value=e.value,
            unit="",
            n=c.rows,
            interval=Interval(low=low, high=high, confidence=tails.confidence),
            method=f"{EXTREMES}; one of {len(having)} that are judged at once",
            scope=c.scope,
            bound=bound,
            detail=f"{beyond}; in the reference {e.reference[0]:,} of {e.reference[1]:,}",
        )
        measured.append(m)
    return found + sorted(measured, key=lambda m: -(m.value or 0.0))


def worst_of(
    members: Sequence[Comparison], scope: str, metric: str, bound: str, levels: Levels
) -> Measurement:
    """Return one measurement for several comparisons, which is judged as all of them together would be.

    It lies above the bound with certainty where one of them does, and below where all of them do: its ends
    are the largest of theirs. `levels` are those of a single comparison of the whole family.
    """
    tails = levels.tails("<=")
    seen = [(c, c.distance, c.distance.interval(tails)) for c in members if c.distance is not None]
    broken = [c for c in members if c.problem]
    if not seen or broken:
        reason = f"{broken[0].scope}: {broken[0].problem}" if broken else "nothing to compare"
        return missing(metric, scope, bound, reason, 0, _METHODS["none"])
    worst, distance, _ = max(seen, key=lambda item: item[1].value)
    return Measurement(
        metric=metric,
        value=distance.value,
        unit="",
        n=min(c.rows for c, _, _ in seen),
        interval=Interval(
            low=min(distance.value, max(i[0] for _, _, i in seen)),
            high=max(distance.value, *(i[1] for _, _, i in seen)),
            confidence=tails.confidence,
        ),
        method=f"the largest of {len(seen)} distances within these rows; judged as all of them are",
        scope=scope,
        bound=bound,
        detail=f"{worst.scope}: {worst.moved}",
    )


def missing(metric: str, scope: str, bound: str | None, reason: str, n: int, method: str) -> Measurement:
    """Return a measurement that could not be taken, with the reason."""
    return Measurement(
        metric=metric,
        value=None,
        unit="",
        n=n,
        interval=None,
        method=method,
        grade=Grade.MISSING,
        scope=scope,
        bound=bound,
        detail=reason,
    )


def table(judged: Sequence[Judged], reference: str, level: float) -> Table:
    """Return all effects, largest first, with what the test of no difference at all says beside them."""
    rows: list[tuple[Cell, ...]] = []
    for j in judged:
        m, c = j.measurement, j.comparison
        if m.value is None or m.interval is None:
            rows.append((c.scope, c.kind, None, None, None, None, None, None, c.problem))
            continue
        ends = (m.value, m.interval.low, m.interval.high)
        rows.append(
            (
                c.scope,
                c.kind,
                *(None if v is None else round(v, 4) for v in ends),
                None if c.in_sigmas is None else float(f"{c.in_sigmas:.3g}"),
                None if c.extremes is None else round(c.extremes.value, 5),
                None if j.p is None else float(f"{j.p:.3g}"),
                "not tested" if j.p is None else "yes" if j.p < level else "no",
            )
        )
    return Table(
        title=f"Shift against the {reference} table",
        columns=("what", "kind", "effect", "low", "high", "sigmas", "extremes", "corrected p", "differs"),
        rows=tuple(rows),
        note="effect: Kolmogorov-Smirnov distance (numbers, times, ordered levels) or total variation "
        "(categories, codes, flags) with its simultaneous interval, which the bound is compared with. "
        "sigmas: Wasserstein distance in standard deviations of the reference. extremes: rise of the share "
        "of rows beyond the outermost of the reference. corrected p: Kolmogorov-Smirnov or chi-squared test, "
        f"Bonferroni over the family; differs: corrected p below {level:.3g}. With many rows a negligible "
        "effect differs, too",
    )


def _worst_first(judged: Judged) -> float:
    return -2.0 if judged.measurement.value is None else -judged.measurement.value
