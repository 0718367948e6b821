"""The short Markdown that a CI job shows: the decision, its reasons and one table."""

from __future__ import annotations

from pytest_mlgate.evidence import Run
from pytest_mlgate.view import view

from ._context import context
from ._environment import render_markdown


@view("summary.md")
def summary(run: Run) -> str:
    """Render the summary; long lists are cut, and say so, because a job summary holds one mebibyte."""
    return render_markdown("summary.md.j2", **context(run))
