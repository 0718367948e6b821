"""Decides how the tables that checks report are shown: which are about groups, which columns get bars."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pytest_mlgate.evidence import Cell, CheckEvidence, Measurement, Run, Table

NUMERIC = (int, float)
#: More bars beside each other tell less than the numbers alone.
_MOST_BARS = 3
#: Numbers between 0 and 1 that are no rate of their row.
_NO_RATES = {"low", "high", "p", "corrected p", "share"}
#: A time is no share, and where two models are compared the difference is too small for a bar's length.
_NO_RATE_ENDS = (", ms", "in float", "as released")


@dataclass(frozen=True, slots=True)
class ShownTable:
    """One table with the check it comes from and how its columns are drawn."""

    check: str
    table: Table
    #: For each column whether it holds numbers only.
    numeric: tuple[bool, ...]
    #: For each column whether a bar stands beside every number.
    bars: tuple[bool, ...]

    @property
    def by_group(self) -> bool:
        """Whether the rows are groups of people."""
        return self.table.columns[0].lower() == "group"

    @property
    def not_judged(self) -> tuple[Cell, ...]:
        """The groups that the check says it did not judge."""
        if not self.by_group or "judged" not in self.table.columns:
            return ()
        at = self.table.columns.index("judged")
        return tuple(row[0] for row in self.table.rows if len(row) > at and row[at] == "no")


def tables_of(item: CheckEvidence) -> tuple[ShownTable, ...]:
    """Return the tables of one check as they are shown."""
    return tuple(_shown(item.id, table) for table in item.tables if table.columns)


def table_of(check: str, table: Table) -> ShownTable:
    """Return a table that a report made itself, without bars: what it holds is drawn already."""
    return dataclasses.replace(_shown(check, table), bars=(False,) * len(table.columns))


def group_tables(run: Run) -> tuple[ShownTable, ...]:
    """Return all tables whose rows are groups of people."""
    return tuple(shown for item in run.evidence for shown in tables_of(item) if shown.by_group)


def group_measurements(run: Run) -> tuple[tuple[CheckEvidence, Measurement], ...]:
    """Return all measurements that are about a part of the rows, by checks that report groups of people."""
    checks = [item for item in run.evidence if any(shown.by_group for shown in tables_of(item))]
    return tuple((item, m) for item in checks for m in item.measurements if m.scope)


def _is_rate(name: str) -> bool:
    return name.lower() not in _NO_RATES and not name.lower().endswith(_NO_RATE_ENDS)


def _shown(check: str, table: Table) -> ShownTable:
    columns = [[row[i] if i < len(row) else None for row in table.rows] for i in range(len(table.columns))]
    bars: list[bool] = []
    for name, cells in zip(table.columns, columns, strict=True):
        wanted = len(table.rows) > 1 and _is_rate(name) and _are_shares(cells)
        bars.append(wanted and sum(bars) < _MOST_BARS)
    return ShownTable(check=check, table=table, numeric=tuple(map(_are_numbers, columns)), bars=tuple(bars))


def _are_numbers(cells: list[Cell]) -> bool:
    given = [cell for cell in cells if cell is not None]
    return bool(given) and all(isinstance(c, NUMERIC) and not isinstance(c, bool) for c in given)


def _are_shares(cells: list[Cell]) -> bool:
    given = [cell for cell in cells if isinstance(cell, float)]
    return _are_numbers(cells) and bool(given) and all(0 <= share <= 1 for share in given)
