"""What the reports show beside the verdicts: groups, gaps, and thresholds that would narrow them."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_mlgate.candidate.model import decisions, positive_scores
from pytest_mlgate.evidence import Chart, Table
from pytest_mlgate.subject import Subject

from ._fair_measure import Comparison, is_beyond
from ._fair_metrics import METRICS, Definition, Metric
from ._fair_mitigation import suggestion
from ._fair_rows import BINARY_RATES, Count, counter, rate_counter
from ._fair_tables import gap_table, group_chart, group_table


def shown(
    subject: Subject,
    metric: Metric,
    definition: Definition,
    compared: Sequence[Comparison],
    count: Count,
    bound: float | None,
) -> tuple[tuple[Table, ...], tuple[Chart, ...], tuple[str, ...]]:
    """Return the tables and charts of all groupings, and what could not be suggested, with the reason."""
    tables: list[Table] = []
    charts: list[Chart] = []
    of_errors = _beside(subject, definition)
    binary_gap = subject.data.task == "binary" and definition.kind in ("difference", "ratio")
    beyond = [one for one in compared if is_beyond(definition, one, bound)]
    for one in compared:
        beside = of_errors(one.grouping)
        tables.append(group_table(one.grouping, beside, count(one.grouping)))
        if one.worst is None:
            continue
        level = bound if definition.kind in ("lowest", "highest") else None
        charts.append(group_chart(one.grouping, metric, one.parts, subject.levels, level))
        if one in beyond and binary_gap:
            tables.append(gap_table(one.grouping, metric, one.worst, beside))
    if not beyond or not binary_gap:
        return tuple(tables), tuple(charts), ()
    # One suggestion is enough to act on: for the grouping whose value is farthest from the bound.
    farthest = max(beyond, key=lambda one: abs((one.worst.value if one.worst else 0.0) - (bound or 0.0)))
    scores = positive_scores(subject.scores())
    labels, answers = subject.data.labels(), decisions(subject.release, scores)
    found = suggestion(metric, farthest.grouping, labels, scores, answers, subject.seed)
    if isinstance(found, Table):
        return (*tables, found), tuple(charts), ()
    return tuple(tables), tuple(charts), (f"thresholds by {farthest.grouping.scope}: {found}",)


def _beside(subject: Subject, definition: Definition) -> Count:
    """Return the counter of what the tables show beside the metric's own values."""
    if subject.data.task == "binary":
        return rate_counter(
            BINARY_RATES, subject.data.labels(), [decisions(subject.release, subject.scores())]
        )
    if subject.data.task == "regression":
        both = METRICS["mean_error_difference"], METRICS["mae_difference"]
        counters = [counter(subject, one, [subject.release]) for one in both if one.parts != definition.parts]
    else:
        accuracy = METRICS["accuracy_difference"]
        counters = (
            [] if accuracy.parts == definition.parts else [counter(subject, accuracy, [subject.release])]
        )
    return lambda grouping: [part for count in counters for part in count(grouping)]
