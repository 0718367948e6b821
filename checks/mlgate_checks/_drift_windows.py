"""The shift over time: the current rows in windows, each against the whole reference. For information."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import MOST_SERIES, Cell, Chart, Series, Table
from pytest_mlgate.subject import Subject

from ._comparison import compare_values
from ._drift_columns import Unreadable, read_pair

MOST_WINDOWS = 12
#: A window of fewer rows shows little but chance.
FEWEST_ROWS = 100
_DAY = 86_400_000.0


def windows(
    subject: Subject, time_column: str, names: Sequence[str], role: str, bound: float | None
) -> tuple[Chart, Table]:
    """Return the effect of the worst columns in windows of equally many rows, from the oldest to the newest.

    Raises:
        CheckError: the time column is missing, has no order, or holds one moment only.
    """
    data = subject.data
    train, current = data.tables["train"], data.tables[role]
    if time_column not in current.columns:
        raise CheckError(f"drift: time_column={time_column!r} is not in the {role} table")
    try:
        time = read_pair(time_column, {role: current, "same": current}).reference
    except Unreadable as problem:
        raise CheckError(f"drift: time_column: {problem}") from None
    if time.numbers is None:
        raise CheckError(f"drift: time_column={time_column!r} holds neither times nor numbers")
    rows = np.flatnonzero(time.present)
    rows = rows[np.argsort(time.numbers[rows], kind="stable")]
    count = min(MOST_WINDOWS, len(rows) // FEWEST_ROWS)
    if count < 2:
        raise CheckError(f"drift: {len(rows):,} rows with a time make no two windows of {FEWEST_ROWS} rows")
    parts = np.array_split(rows, count)
    middles = [float(np.median(time.numbers[part])) for part in parts]
    is_time = time.kind == "datetime"
    x = tuple((m - middles[0]) / _DAY if is_time else m for m in middles)
    series: list[Series] = []
    listed: list[tuple[float, str, str, int]] = []
    everything = np.arange(len(train))
    for name in names[:MOST_SERIES]:
        try:
            pair = read_pair(name, {"train": train, role: current})
        except Unreadable:
            continue  # already reported as not compared
        effects = []
        for part in parts:
            c = compare_values(pair.take(everything, part), name, ("train", role))
            effects.append(None if c.distance is None else c.distance.value)
        known = [(e, i) for i, e in enumerate(effects) if e is not None]
        if known:
            series.append(Series(name=name, x=x, y=tuple(effects)))
            most, at = max(known)
            listed.append((round(most, 4), name, _moment(middles[at], is_time), len(parts[at])))
    if not series:
        raise CheckError("drift: no column has values in any window of time")
    unit = f"days since {_moment(middles[0], True)}" if is_time else time_column
    rows_listed: list[tuple[Cell, ...]] = [*sorted(listed, reverse=True)]
    return (
        Chart(
            title="Shift over time",
            kind="lines",
            x_label=unit,
            y_label="effect",
            series=tuple(series),
            bound=bound,
            note=f"{count} windows of about {len(parts[0]):,} rows each, against all training rows",
        ),
        Table(
            title="The window that moved most",
            columns=("effect", "column", "middle of the window", "rows"),
            rows=tuple(rows_listed),
            note="for information: the largest of several windows is larger than any one of them by chance",
        ),
    )


def _moment(value: float, is_time: bool) -> str:
    return str(np.datetime64(round(value), "ms"))[:16] if is_time else f"{value:.6g}"
