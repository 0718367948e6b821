"""The audit report: everything that was decided, on which bytes, from which figures, and what is open."""

from __future__ import annotations

from pytest_mlgate.evidence import Run
from pytest_mlgate.view import view

from ._context import context
from ._environment import html


@view("audit-report.html")
def audit_report(run: Run) -> str:
    """Render the report as one self-contained page without scripts."""
    return html().get_template("audit-report.html.j2").render(**context(run))
