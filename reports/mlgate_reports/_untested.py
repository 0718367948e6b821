"""Collects what a run did not establish, so that no reader takes silence for evidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pytest_mlgate.evidence import Run, Verdict

from ._rows import informative, rows
from ._tables import group_tables, tables_of
from ._text import shown

_UNSETTLED = (Verdict.ERROR, Verdict.NOT_RUN, Verdict.INCONCLUSIVE)


@dataclass(frozen=True, slots=True)
class Gap:
    """One thing that was not tested: what it is about, and why or what exactly."""

    subject: str
    text: str


def not_tested(run: Run) -> tuple[Gap, ...]:
    """Return everything that this run leaves open, the unsettled requirements first."""
    return tuple(dict.fromkeys(_gaps(run)))


def _gaps(run: Run) -> Iterator[Gap]:
    if run.candidate is None:
        yield Gap("candidate", "no candidate was opened, so no model was measured")
    for row in rows(run):
        if row.verdict in _UNSETTLED:
            scope = f" [{row.judgement.scope}]" if row.judgement.scope else ""
            yield Gap(
                f"{row.judgement.requirement}{scope}",
                f"{row.verdict.replace('_', ' ')}: {row.judgement.message}",
            )
    declared = {item.check for item in run.evidence}
    for name in run.policy.required:
        if name not in declared:
            yield Gap(name, "required by the policy, and declared by no test and no policy section")
    for item in run.evidence:
        for m in informative(item):
            if m.value is None and not m.unbounded:
                what = f"{m.metric} [{m.scope}]" if m.scope else m.metric
                yield Gap(item.id, f"{what} was not measured: {m.detail or 'the check gave no reason'}")
        for table in tables_of(item):
            for group in table.not_judged:
                yield Gap(item.id, f"{table.table.title}: group {shown(group)} was not judged")
        for text in item.not_covered:
            yield Gap(item.id, text)
    if not group_tables(run):
        yield Gap("groups of people", "nothing was measured by group")
