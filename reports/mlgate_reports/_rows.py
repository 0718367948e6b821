"""Flattens the evidence into what every report lists: one row per judgement, worst first."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_mlgate.evidence import (
    SEVERITY,
    CheckEvidence,
    Grade,
    Judgement,
    Measurement,
    Reason,
    Requirement,
    Run,
    Verdict,
)
from pytest_mlgate.overview import overview
from pytest_mlgate.text import clean

from ._text import ABSENT, NAME_LIMIT, number


@dataclass(frozen=True, slots=True)
class Row:
    """One judgement with its requirement, its measurement, and the check that both belong to."""

    evidence: CheckEvidence
    judgement: Judgement
    #: `None` only in evidence that does not agree with itself; such a folder must still be readable.
    requirement: Requirement | None
    measurement: Measurement | None
    #: How many more passes of the same requirement this row stands for.
    alike: int = 0

    @property
    def verdict(self) -> Verdict:
        """The verdict of the judge."""
        return self.judgement.verdict

    @property
    def observed(self) -> str:
        """The value with its unit."""
        return observed(self.measurement)

    @property
    def interval(self) -> str:
        """The ends of the confidence interval."""
        return interval(self.measurement)

    @property
    def bound(self) -> str:
        """The comparator and the bound, in the unit of the measurement."""
        if self.requirement is None:
            return ABSENT
        sign = "≤" if self.requirement.comparator == "<=" else "≥"
        unit = f" {self.measurement.unit}" if self.measurement and self.measurement.unit else ""
        return f"{sign} {self.requirement.bound:g}{unit}"

    @property
    def reason(self) -> str:
        """Why there is no number, where there is none; empty otherwise."""
        m = self.measurement
        if m is not None and m.value is not None and not m.unbounded:
            return ""
        return (self.measurement.detail if self.measurement else "") or self.judgement.message

    @property
    def n(self) -> int | None:
        """How many rows or runs the value rests on."""
        return self.measurement.n if self.measurement else None

    @property
    def grade(self) -> Grade:
        """How the value was come by."""
        return self.measurement.grade if self.measurement else Grade.MISSING

    @property
    def source(self) -> str:
        """Where the bound was written."""
        return self.requirement.source if self.requirement else self.evidence.source


def rows(run: Run) -> tuple[Row, ...]:
    """Return one row per judgement, the worst verdict first, then by requirement and scope."""
    found = [_row(item, judgement) for item in run.evidence for judgement in item.judgements]
    return tuple(sorted(found, key=_order))


def overview_rows(run: Run) -> tuple[Row, ...]:
    """Return all rows that do not pass, and one for the passes of each requirement, worst first."""
    found = [
        dataclasses.replace(_row(item, judgement), alike=alike)
        for item in run.evidence
        for judgement, alike in overview(item)
    ]
    return tuple(sorted(found, key=_order))


def counts(listed: Sequence[Row]) -> tuple[tuple[Verdict, int], ...]:
    """Return how many rows have each verdict that occurs, worst first."""
    verdicts = [row.verdict for row in listed]
    return tuple((v, verdicts.count(v)) for v in SEVERITY if v in verdicts)


def headline(run: Run) -> str:
    """Return in one sentence why the release is blocked, or what it rests on."""
    if run.decision.outcome == "blocked":
        return _blocked_by(run.decision.reasons)
    listed = rows(run)
    asked = len({row.judgement.requirement for row in listed})
    on = f" on {clean(run.release.name, NAME_LIMIT)}" if run.release else ""
    exceptions = {
        "by a waiver": sum(row.verdict is Verdict.WAIVED for row in listed),
        "inconclusive and accepted in writing": sum(row.judgement.tolerated for row in listed),
    }
    but = " and ".join(f"{count:,} {how}" for how, count in exceptions.items() if count)
    return f"{_count(asked, 'requirement')} met{on}{f', with {but}' if but else ''}."


def _blocked_by(reasons: Sequence[Reason]) -> str:
    if not reasons:
        return "The evidence names no reason."
    more = f" (and {_count(len(reasons) - 1, 'more reason')})" if len(reasons) > 1 else ""
    return f"{clean(reasons[0].text).rstrip('.')}{more}."


def observed(m: Measurement | None) -> str:
    """Return the value with its unit and any grade weaker than `measured`, or that there is no value."""
    if m is None or (m.value is None and not m.unbounded):
        return "not measured"
    value = "infinite" if m.unbounded or m.value is None else f"{number(m.value)} {m.unit}".rstrip()
    return value if m.grade is Grade.MEASURED else f"{value} ({m.grade})"


def behind(m: Measurement) -> tuple[str, ...]:
    """Return what stands behind a value: what ran elsewhere than on the target, and the check's detail."""
    elsewhere = f"not on the declared target: {m.off_target}" if m.off_target else ""
    return tuple(text for text in (elsewhere, m.detail) if text)


def common_machine(items: Sequence[Measurement]) -> str:
    """Return the machine of all figures that depend on one, empty where there is none or several."""
    machines = {m.machine for m in items if m.machine}
    return machines.pop() if len(machines) == 1 else ""


def interval(m: Measurement | None) -> str:
    """Return the ends of the confidence interval with its confidence, or `exact`."""
    if m is None or m.interval is None:
        return ABSENT
    low, high = m.interval.low, m.interval.high
    if low is not None and low == high:
        return "exact"
    ends = f"{'unbounded' if low is None else number(low)} to {'unbounded' if high is None else number(high)}"
    return f"{ends} ({m.interval.confidence * 100:.3g}% CI)"


def informative(item: CheckEvidence) -> tuple[Measurement, ...]:
    """Return the measurements of a check that no bound answers to."""
    return tuple(m for m in item.measurements if m.bound is None)


def _row(item: CheckEvidence, judgement: Judgement) -> Row:
    position = judgement.measurement
    known = position is not None and 0 <= position < len(item.measurements)
    return Row(
        evidence=item,
        judgement=judgement,
        requirement=next((r for r in item.requirements if r.id == judgement.requirement), None),
        measurement=item.measurements[position] if known and position is not None else None,
    )


def _order(row: Row) -> tuple[int, str, str]:
    return SEVERITY.index(row.verdict), row.judgement.requirement, row.judgement.scope


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
