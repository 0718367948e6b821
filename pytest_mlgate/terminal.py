"""What a person sees in the terminal: progress while it runs, and one table at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .evidence import SEVERITY, CheckEvidence, Judgement, Measurement, Run, Verdict
from .judge import significant
from .overview import overview
from .text import clean

_COLOURS = {
    Verdict.PASS: {"green": True},
    Verdict.FAIL: {"red": True, "bold": True},
    Verdict.ERROR: {"red": True, "bold": True},
    Verdict.NOT_RUN: {"yellow": True, "bold": True},
    Verdict.INCONCLUSIVE: {"yellow": True},
    Verdict.WAIVED: {"yellow": True},
}
_LONGEST_SCOPE = 43
_Row = tuple[str, str, str, str, str]
_HEADER = ("requirement", "measured", "interval", "bound", "verdict")


class Progress:
    """A bar on a terminal, plain lines everywhere else."""

    def __init__(self, config: Any) -> None:
        self._config = config
        self._done = 0
        self.total = 0

    def __call__(self, text: str) -> None:
        """Show one step."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or self._config.get_verbosity() < 0:
            return
        self._done += 1
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if capture is None:
            self._write(reporter, text)
            return
        with capture.global_and_fixture_disabled():
            self._write(reporter, text)

    def _write(self, reporter: Any, text: str) -> None:
        if reporter.isatty():
            full = max(self.total, self._done)
            bar = ("#" * round(20 * self._done / full)).ljust(20, ".")
            reporter.rewrite(f"mlgate [{bar}] {text}"[: reporter._tw.fullwidth - 1], erase=True)
        else:
            reporter.ensure_newline()
            reporter.write_line(f"mlgate: {text}")
        reporter._tw.flush()


def write_summary(reporter: Any, run: Run, report: str) -> None:
    """Print the requirements worst first, what blocks, what only warns, and where the report is."""
    reporter.section("mlgate", sep="=")
    rows = _rows(run)
    widths = [max(len(r[i]) for r in [_HEADER, *(row for row, _ in rows)]) for i in range(len(_HEADER))]
    reporter.write_line("  ".join(h.ljust(w) for h, w in zip(_HEADER, widths, strict=True)).rstrip())
    for row, verdict in rows:
        *cells, last = (cell.ljust(w) for cell, w in zip(row, widths, strict=True))
        reporter.write("  ".join(cells) + "  ")
        reporter.write_line(last.rstrip(), **_COLOURS[verdict])
    for reason in run.decision.warnings:
        reporter.write_line(f"warning: {clean(reason.text)}", yellow=True)
    blocked = run.decision.outcome == "blocked"
    for reason in run.decision.reasons:
        reporter.write_line(f"blocks: {clean(reason.text)}", red=True)
    artifact = f" {clean(run.release.name)} {run.release.digest[:19]}" if run.release else ""
    reporter.write_line(
        f"decision: {run.decision.outcome}{artifact}", bold=True, red=blocked, green=not blocked
    )
    reporter.write_line(f"report: {report}")


def failure_text(judgements: Sequence[Judgement], evidence: CheckEvidence, artifact: str) -> str:
    """Return the message of a failed requirement: measured, bound, where, and what to do next."""
    lines = [clean(j.message) for j in judgements]
    return "\n".join(
        [
            *lines,
            f"  required at {evidence.source}; release artifact {artifact}",
            f"  next: mlgate explain {evidence.check}",
        ]
    )


def _rows(run: Run) -> list[tuple[_Row, Verdict]]:
    rows = [(_row(e, j, alike), j.verdict) for e in run.evidence for j, alike in overview(e)]
    return sorted(rows, key=lambda row: SEVERITY.index(row[1]))


def _row(evidence: CheckEvidence, judgement: Judgement, alike: int) -> _Row:
    requirement = next((r for r in evidence.requirements if r.id == judgement.requirement), None)
    m = evidence.measurements[judgement.measurement] if judgement.measurement is not None else None
    scope = clean(judgement.scope)
    scope = scope if len(scope) <= _LONGEST_SCOPE else f"...{scope[3 - _LONGEST_SCOPE :]}"
    name = f"{judgement.requirement}{f' [{scope}]' if scope else ''}{f' and {alike} more' if alike else ''}"
    bound = f"{requirement.comparator} {requirement.bound:g}" if requirement else "-"
    verdict = f"{judgement.verdict}{' (warns)' if judgement.tolerated else ''}"
    return name, _value(m), _interval(m), bound, verdict


def _value(m: Measurement | None) -> str:
    if m is None:
        return "-"
    if m.unbounded:
        return "infinite"
    return "-" if m.value is None else f"{significant(m.value)} {m.unit}".rstrip()


def _interval(m: Measurement | None) -> str:
    if m is None or m.interval is None:
        return "-"
    if m.interval.low is not None and m.interval.low == m.interval.high:
        return "exact"
    low = "-inf" if m.interval.low is None else significant(m.interval.low)
    high = "inf" if m.interval.high is None else significant(m.interval.high)
    return f"{low} to {high}"
