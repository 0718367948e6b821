"""deepchecks' conditions as measurements and as a table."""

from __future__ import annotations

from pytest_mlgate.evidence import Grade, Interval, Measurement, Table

from ._deepchecks import Outcome


def measured(outcomes: list[Outcome], bound: float) -> list[Measurement]:
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


def table(outcomes: list[Outcome]) -> Table:
    """Return every condition with what became of it, those that were not evaluated first."""
    order = {"NOT RUN": 0, "FAIL": 1, "WARN": 2, "PASS": 3}
    listed = sorted(outcomes, key=lambda o: order[o.category])
    return Table(
        title="deepchecks conditions",
        columns=("check", "condition", "table", "result", "detail"),
        rows=tuple((o.check, o.condition, o.table, o.category, o.detail) for o in listed),
        note="limits are deepchecks' own, but for predictive power, its change, and conflicting labels",
    )
