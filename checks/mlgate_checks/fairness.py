"""How differently the release artifact treats groups of people, alone and at their intersections."""

from __future__ import annotations

from typing import Annotated

from pytest_mlgate.contract import AtLeast, AtMost, Columns, check
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Findings
from pytest_mlgate.subject import Subject

from ._fair_measure import compare, measure, measure_worsening
from ._fair_metrics import Metric, require_fit
from ._fair_rows import counter, error_counter
from ._fair_shown import shown
from ._groups import MOST_GROUPS, Grouping, grouping_of

Sensitive = Annotated[tuple[str, ...], Columns(as_groups=True, most=MOST_GROUPS)]


@check("fairness")
def fairness(
    subject: Subject,
    *,
    metric: Metric,
    sensitive: Sensitive,
    max: AtMost = None,
    min: AtLeast = None,
    max_worsening_from_parent: AtMost = None,
    max_worsening_from_baseline: AtMost = None,
    intersections: bool = True,
    min_group_share: float = 0.0,
) -> Findings:
    """Largest gap (or smallest ratio, or worst value) between groups, per sensitive column and intersection.

    `max` bounds a gap or an error, `min` a ratio or an accuracy. `max_worsening_from_parent` and
    `max_worsening_from_baseline` bound by how much the metric may be worse than that of the float model
    before compression, and of the model in production, on the same rows (of a ratio: which share of it may
    be lost). Definitions are fairlearn's where it has the metric; rates are fractions, errors in the unit
    of the label. Intervals cover all pairs of groups at once. A group in which a rate has no rows to stand
    on makes the metric not measurable rather than 0; small groups leave it undecided. Groups with less than
    `min_group_share` of the test rows are shown and not judged (New York City's 6 RCNY 5-301 allows that
    below 0.02).

    Raises:
        CheckError: the metric does not suit the label or the bound, a column has too many groups, the share
            is not in 0 to 1, or a model answers with something that cannot be compared.
    """
    definition = require_fit(metric, subject.data.task, has_max=max is not None, has_min=min is not None)
    if not 0 <= min_group_share < 1:
        raise CheckError(f"min_group_share={min_group_share:g} is outside 0 to 1")
    if not sensitive:
        raise CheckError("sensitive names no column, so that there are no groups to compare")
    bound = min if max is None else max
    columns = tuple(dict.fromkeys(sensitive))
    scopes: list[tuple[str, ...]] = [(name,) for name in columns]
    if intersections and len(columns) > 1:
        scopes.append(columns)
    groupings = [grouping_of(subject.data, scope, min_group_share) for scope in scopes]
    levels = subject.levels.split(len(scopes))
    count = counter(subject, definition, [subject.release])
    compared = [compare(definition, grouping, count) for grouping in groupings]
    errors = error_counter(subject, definition)
    measurements = [measure(metric, definition, one, bound, levels, errors) for one in compared]
    others = (
        ("parent", subject.parent, max_worsening_from_parent is not None),
        ("baseline", subject.baseline, max_worsening_from_baseline is not None),
    )
    for role, other, bounded in others:
        measurements += measure_worsening(
            subject, metric, definition, compared, levels, role, other, bounded=bounded
        )
    tables, charts, unsaid = shown(subject, metric, definition, compared, count, bound)
    return Findings(
        measurements=tuple(measurements),
        tables=tables,
        charts=charts,
        assumptions=_assumptions(subject, len(scopes)),
        not_covered=(
            *(text for grouping in groupings for text in _left_out(grouping, min_group_share)),
            *unsaid,
            "groups without rows in the test table, and attributes that were not recorded",
            "whether the labels themselves are fair, and what follows from the decisions",
        ),
    )


def _assumptions(subject: Subject, groupings: int) -> dict[str, str]:
    common = {
        "rows": "the test rows are independent of each other and drawn like the rows to come",
        "groups": "as recorded in the data; a missing value is the group `unknown`",
        "family": f"{groupings} groupings; any pair of groups in any of them may fail the requirement",
    }
    if subject.data.task == "binary":
        common["decision"] = f"positive from a score of {subject.release.threshold:g} on"
    return common


def _left_out(grouping: Grouping, least_share: float) -> list[str]:
    return [
        f"{grouping.title(g)} (n={grouping.rows[g]:,}, {grouping.share(g):.1%} of the rows): under "
        f"min_group_share={least_share:g}, shown but not judged"
        for g in range(len(grouping.names))
        if not grouping.judged[g]
    ]
