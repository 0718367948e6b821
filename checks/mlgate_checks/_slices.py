"""The metric in every group of declared columns, as one family any member of which can fail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Cell, Grade, Interval, Measurement, Table
from pytest_mlgate.levels import Tails
from pytest_mlgate.subject import Subject

from ._answers import Answers, Rows, Undefined
from ._influence import Estimate
from ._metrics import Metric
from ._rows_needed import with_rows_needed

#: Beyond this a column holds amounts or identifiers, and no group of it has rows enough to be judged.
MOST_GROUPS = 200


def members_of(subject: Subject, columns: Sequence[str], role: str = "test") -> list[tuple[str, Rows]]:
    """Return every group of every column as "column=group" with the positions of its rows.

    Raises:
        CheckError: a column has more than `MOST_GROUPS` groups.
    """
    members = []
    for column in dict.fromkeys(columns):
        names, codes = subject.data.group_codes(column, role)
        if len(names) > MOST_GROUPS:
            raise CheckError(
                f"column {column!r} has {len(names):,} groups; more than {MOST_GROUPS} leave none with rows "
                "enough to be judged: join values, or cut a numeric column with Dataset(bins={...})"
            )
        order = np.argsort(codes.astype(np.uint16), kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(names)))
        parts = np.split(order, ends[:-1])
        members += [(f"{column}={name}", rows) for name, rows in zip(names, parts, strict=True)]
    return members


def by_slice(
    subject: Subject,
    metric: Metric,
    answers: Answers,
    columns: Sequence[str],
    bound: tuple[str, float] | None,
) -> tuple[list[Measurement], Table]:
    """Return the metric in every group of the columns, at the level of one of so many.

    `bound` is the parameter that the groups answer to, with its value; `None` where none was written.
    """
    members = members_of(subject, columns)
    tails = subject.levels.split(len(members)).tails(">=" if metric.higher_is_better else "<=")
    found = []
    for name, rows in members:
        estimate, reason = _estimate(metric, answers.take(rows), tails)
        m = Measurement(
            metric=metric.name,
            value=None if estimate is None else estimate[0],
            unit="",
            n=len(rows),
            interval=None
            if estimate is None
            else Interval(low=estimate[1][0], high=estimate[1][1], confidence=tails.confidence),
            method=f"{metric.method}; one of {len(members)} slices, any of which can fail",
            grade=Grade.MISSING if estimate is None else Grade.MEASURED,
            scope=name,
            bound=None if bound is None else bound[0],
            detail=reason,
        )
        found.append(with_rows_needed(m, None if bound is None else bound[1], name))
    return found, _table(metric, found)


def _estimate(metric: Metric, answers: Answers, tails: Tails) -> tuple[Estimate | None, str]:
    try:
        return metric.level(answers, tails), ""
    except Undefined as error:
        return None, str(error)


def _table(metric: Metric, found: Sequence[Measurement]) -> Table:
    worst_first = sorted(
        found, key=lambda m: (m.value is None, m.value if metric.higher_is_better else -(m.value or 0.0))
    )
    rows: list[tuple[Cell, ...]] = [
        (m.scope, m.n, m.value, *((None, None) if m.interval is None else (m.interval.low, m.interval.high)))
        for m in worst_first
    ]
    return Table(
        title=f"{metric.name} by slice",
        columns=("slice", "n", metric.name, "low", "high"),
        rows=tuple(rows),
        note="worst first; the ends hold for all slices at once on the side that fails",
    )
