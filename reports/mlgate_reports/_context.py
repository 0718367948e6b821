"""What every template is given: the run, and the same facts in the order in which reports tell them."""

from __future__ import annotations

from typing import Any

from pytest_mlgate.decision import acceptable
from pytest_mlgate.evidence import CheckEvidence, Run

from ._chart import WIDTH, bar_width, interval_chart
from ._holdout import holdout_sentence
from ._pareto import WIDTHS, pareto_chart
from ._plot import description, figures, listed, plots, reading
from ._rows import (
    behind,
    common_machine,
    counts,
    headline,
    informative,
    interval,
    observed,
    overview_rows,
    rows,
)
from ._strokes import marker
from ._tables import group_measurements, group_tables, table_of, tables_of
from ._untested import not_tested
from ._variants import compression, share, shown_variants

#: What each verdict means, in the words of the judge's rules.
MEANINGS = {
    "pass": "the whole interval is on the right side of the bound",
    "fail": "the whole interval is on the wrong side of the bound",
    "inconclusive": "the interval contains the bound",
    "not_run": "nothing was measured that the bound could be compared with",
    "error": "the check broke, or its value is not a usable number",
    "waived": "not met, and excepted in writing",
}
#: A sign beside the word, so that no verdict is told by colour alone.
SIGNS = {"pass": "✓", "fail": "✗", "inconclusive": "?", "not_run": "○", "error": "!", "waived": "◇"}


def context(run: Run) -> dict[str, Any]:
    """Return what the templates show."""
    listed = rows(run)
    return {
        "run": run,
        "blocked": run.decision.outcome == "blocked",
        "headline": headline(run),
        "rows": overview_rows(run),
        "judged": len(listed),
        "counts": counts(listed),
        "identities": identities(run),
        "group_tables": group_tables(run),
        "group_measurements": group_measurements(run),
        "gaps": not_tested(run),
        "holdout": holdout_sentence(run),
        "compression": compression(run),
        "variants": shown_variants(run),
        "pareto": [chart for width in WIDTHS if (chart := pareto_chart(run, width))],
    }


def functions() -> dict[str, Any]:
    """Return the pure functions and constants that the templates' macros call."""
    return {
        "tables_of": tables_of,
        "informative": informative,
        "observed": observed,
        "behind": behind,
        "common_machine": common_machine,
        "share": share,
        "interval": interval,
        "holds": holds,
        "interval_chart": interval_chart,
        "bar_width": bar_width,
        "plots": plots,
        "description": description,
        "reading": reading,
        "marker": marker,
        "listed": listed,
        "figures": lambda item, chart: table_of(item.id, figures(chart)),
        "chart_width": WIDTH,
        "meanings": MEANINGS,
        "signs": SIGNS,
    }


def holds(item: CheckEvidence) -> bool:
    """Return whether a release may rest on every judgement of a check."""
    return bool(item.judgements) and all(map(acceptable, item.judgements))


def identities(run: Run) -> tuple[tuple[str, Any], ...]:
    """Return the models of the run by role; what is absent is `None`."""
    return (
        ("release artifact", run.release),
        ("candidate", run.candidate),
        ("baseline", run.baseline),
    )
