"""Tells one check's evidence as text: what was measured, against what, on what, and what it rests on."""

from __future__ import annotations

from .evidence import CheckEvidence, Run, Table
from .judge import describe
from .text import clean


def explain(run: Run, name: str) -> list[str]:
    """Return the lines that explain a check, a requirement, or a request of the run.

    Raises:
        LookupError: the run has no evidence of that name; the message lists those it has.
    """
    found = [
        item
        for item in run.evidence
        if name in (item.check, item.id) or any(name == r.id for r in item.requirements)
    ]
    if not found:
        have = ", ".join(item.id for item in run.evidence) or "none"
        raise LookupError(f"the report has no evidence for {name!r}. It has: {have}")
    lines = []
    for item in found:
        lines.extend(_one(item, run))
    return [
        f"{line[: len(line) - len(line.lstrip())]}{clean(line)}" if not line.isprintable() else line
        for line in lines
    ]


def _one(item: CheckEvidence, run: Run) -> list[str]:
    artifact = f"{run.release.name} {run.release.digest}" if run.release else "no artifact"
    when = f"reused from {item.made_at}" if item.reused else f"measured {item.made_at or 'never'}"
    lines = [f"{item.id}: {item.verdict}", f"  measured on {artifact}; {when}, in {item.duration_s:g} s"]
    lines += [f"  required at {item.source} by {', '.join(item.tests) or 'the policy alone'}"]
    if item.error:
        lines.append(f"  error: {item.error}")
    lines += [f"  {j.verdict}: {j.message}" for j in item.judgements]
    others = [m for m in item.measurements if m.bound is None]
    if others:
        lines.append("  for information:")
        lines += [
            f"    {m.metric}{f' [{m.scope}]' if m.scope else ''}: {describe(m)} {m.detail}" for m in others
        ]
    for table in item.tables:
        lines += ["", *(f"  {line}" for line in _table(table))]
    lines += [f"  assumes {name}: {text}" for name, text in item.assumptions.items()]
    lines += [f"  not covered: {text}" for text in item.not_covered]
    return [*lines, ""]


def _table(table: Table) -> list[str]:
    rows = [table.columns, *(tuple(_cell(c) for c in row) for row in table.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    body = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [table.title, *body, *([table.note] if table.note else [])]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
