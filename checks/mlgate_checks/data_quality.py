"""Faults of the tables themselves: duplicates, leaked rows, missing cells, sentinel codes, broken columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pytest_mlgate.contract import AtMost, check
from pytest_mlgate.dataset import Dataset, Frame
from pytest_mlgate.errors import CheckError, MissingExtra
from pytest_mlgate.evidence import Findings, Grade, Interval, Measurement, Table
from pytest_mlgate.levels import Levels
from pytest_mlgate.statistics import wilson
from pytest_mlgate.subject import Subject

from . import _deepchecks, _faults
from ._faults import Count


@check("data_quality")
def data_quality(
    subject: Subject,
    *,
    max_failed_conditions: AtMost = None,
    max_duplicate_share: AtMost = None,
    max_leaked_share: AtMost = None,
    max_missing_share: AtMost = None,
    max_extreme_share: AtMost = None,
) -> Findings:
    """Faults of the test and training tables, counted, and deepchecks' conditions on both.

    `max_failed_conditions` bounds how many conditions of deepchecks fail, a warning being a failure; below
    1 every condition is judged, and can be waived, by itself. The others are fractions of 1:
    `max_duplicate_share` bounds the rows of a table that repeat an earlier row, `max_leaked_share` the rows
    of test that also occur in train (features and label), `max_missing_share` the empty cells of each
    column, `max_extreme_share` the cells of each numeric column that lie beyond a tenfold gap from all
    others: sentinel codes and wrong units. A share bounded by 0 speaks of these very rows and is judged
    exactly; by any other number, of the source they come from, and is judged by its Wilson interval.

    Raises:
        CheckError: a table lacks a column, or the bound of a share is not a fraction.
        MissingExtra: pandas or deepchecks is not installed.

    Source: deepchecks for the conditions, with its own limits but for three (see `_deepchecks`).
    """
    data = subject.data
    tables: dict[str, Any] = {
        role: _pandas(data.tables[role]) for role in ("test", "train") if role in data.tables
    }
    columns = _require_columns(data, tables)
    measurements: list[Measurement] = []
    reported: list[Table] = []
    not_covered = [
        "near duplicates, wrong labels, and placeholders such as '?' in text columns",
        "values that are too small, or too large by less than a factor of about ten",
        "the current table: only the drift check reads it",
    ]

    def share(
        parameter: str, bound: float | None, count: Callable[..., Iterable[Count]], on: list[str]
    ) -> None:
        metric = parameter.removeprefix("max_")
        if bound is None:
            not_covered.append(f"{metric.replace('_', ' ')}: no bound was set ({parameter})")
        elif not 0 <= bound < 1:
            raise CheckError(f"{parameter}={bound:g} is not a share from 0 to below 1 (5% is written 0.05)")
        else:
            found = _measure(list(count(tables, on)), metric, parameter, bound, subject.levels)
            measurements.extend(found)

    if max_failed_conditions is None:
        not_covered.append("deepchecks' conditions: no bound was set (max_failed_conditions)")
    else:
        outcomes, left_out = _deepchecks.run(tables, data.feature_names, data.label)
        measurements.extend(_conditions(outcomes, max_failed_conditions))
        reported.append(_table(outcomes))
        not_covered.extend(left_out)
    model_columns = [*data.feature_names, data.label]
    share("max_duplicate_share", max_duplicate_share, _faults.duplicates, model_columns)
    share("max_leaked_share", max_leaked_share, _faults.leaked, model_columns)
    share("max_missing_share", max_missing_share, _faults.missing, columns)
    share("max_extreme_share", max_extreme_share, _faults.extremes, [c for c in columns if c != data.label])
    return Findings(
        measurements=tuple(measurements),
        tables=tuple(reported),
        assumptions={
            "same row": "two rows are the same if features and label are; in a table of few coarse columns "
            "two people can be alike",
            "extreme": f"{_faults.GAP} times as far from the column's median as the next nearer value, and "
            "held by fewer rows than vary on this side of that gap",
            "share": "a bound of 0 is judged on the count; any other takes the rows for independent draws",
        },
        not_covered=tuple(not_covered),
    )


def _measure(
    counts: list[Count], metric: str, parameter: str, bound: float, levels: Levels
) -> list[Measurement]:
    """Return one measurement per count, worst first; columns without the fault share one."""
    tails = levels.split(len(counts)).tails("<=")
    exact = bound == 0
    found = []
    for c in _together(counts):
        value = interval = None
        if c.count is not None:
            value = c.count / c.n
            low, high = (value, value) if exact else wilson(c.count, c.n, tails)
            interval = Interval(low=low, high=high, confidence=1.0 if exact else tails.confidence)
        m = Measurement(
            metric=metric,
            value=value,
            unit="",
            n=c.n,
            interval=interval,
            method="count of all rows" if exact else "count of all rows; Wilson interval of the share",
            grade=Grade.MISSING if value is None else Grade.MEASURED,
            scope=c.scope,
            bound=parameter,
            detail=c.detail,
        )
        found.append(m)
    return sorted(found, key=_worst_first)


def _together(counts: list[Count]) -> list[Count]:
    """Return the counts with the columns of one table that have no fault merged into one."""
    clean: dict[str, list[Count]] = {}
    for c in counts:
        if c.table and c.count == 0:
            clean.setdefault(c.table, []).append(c)
    merged = [
        Count(
            scope=f"other columns ({table})",
            count=0,
            n=min(c.n for c in members),
            detail=f"{len(members)} columns without any",
            table=table,
        )
        for table, members in clean.items()
    ]
    return [c for c in counts if not c.table or c.count != 0] + merged


def _conditions(outcomes: list[_deepchecks.Outcome], bound: float) -> list[Measurement]:
    """Return one measurement per condition, and their total where the bound allows some to fail.

    A condition that was not evaluated answers to the bound in either case: it is never a pass.
    """
    each = bound < 1
    method = "deepchecks condition; 1: not met (a warning is not met), 0: met"
    found = [
        _exact(
            None if o.failed is None else float(o.failed),
            scope=f"{o.check}: {o.condition} ({o.table})",
            n=o.rows,
            method=method,
            detail=f"{o.category}: {o.detail}",
            answers=each or o.failed is None,
        )
        for o in outcomes
    ]
    if not each:
        failed = [o for o in outcomes if o.failed]
        names = "; ".join(f"{o.check} ({o.table})" for o in failed)
        rows = min(o.rows for o in outcomes)
        method = "number of deepchecks conditions that are not met"
        found.append(
            _exact(
                float(len(failed)), scope="all conditions", n=rows, method=method, detail=names, answers=True
            )
        )
    return sorted(found, key=_worst_first)


def _exact(
    value: float | None, *, scope: str, n: int, method: str, detail: str, answers: bool
) -> Measurement:
    return Measurement(
        metric="failed_conditions",
        value=value,
        unit="",
        n=n,
        interval=None if value is None else Interval(low=value, high=value, confidence=1.0),
        method=method,
        grade=Grade.MISSING if value is None else Grade.MEASURED,
        scope=scope,
        bound="max_failed_conditions" if answers else None,
        detail=detail,
    )


def _worst_first(m: Measurement) -> float:
    return float("-inf") if m.value is None else -m.value


def _table(outcomes: list[_deepchecks.Outcome]) -> Table:
    order = {"NOT RUN": 0, "FAIL": 1, "WARN": 2, "PASS": 3}
    listed = sorted(outcomes, key=lambda o: order[o.category])
    return Table(
        title="deepchecks conditions",
        columns=("check", "condition", "table", "result", "detail"),
        rows=tuple((o.check, o.condition, o.table, o.category, o.detail) for o in listed),
        note="limits are deepchecks' own, but for predictive power, its change, and conflicting labels",
    )


def _require_columns(data: Dataset, tables: dict[str, Any]) -> list[str]:
    columns = list(dict.fromkeys([*data.feature_names, *data.sensitive, data.label]))
    for role, frame in tables.items():
        lacking = [c for c in columns if c not in frame.columns]
        if lacking:
            raise CheckError(f"data_quality: the {role} table has no column {', '.join(map(repr, lacking))}")
    return columns


def _pandas(frame: Frame) -> Any:
    try:
        return frame.to_pandas().reset_index(drop=True)
    except ImportError:
        raise MissingExtra("pandas (with pyarrow for polars tables)", "data") from None
