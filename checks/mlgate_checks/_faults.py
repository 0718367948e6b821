"""Counts the faults of pandas tables exactly: repeated and leaked rows, empty cells, extreme values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: A value this many times as far from the median as the next nearer one begins a gap.
GAP = 10
#: With more than this share of a column beyond the gap, the column has two kinds of rows, not a fault.
LARGEST_EXTREME_SHARE = 0.2
#: Fewer values do not show where a column ends.
FEWEST_VALUES = 20

#: pandas tables by role.
Tables = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many of n rows or cells have a fault; `None` where that cannot be told."""

    scope: str
    count: int | None
    n: int
    detail: str = ""
    #: The table whose columns are counted; columns without the fault are reported together.
    table: str = ""


#: One key per row, by table (see `row_keys`).
Keys = Mapping[str, NDArray[np.uint64]]


def duplicates(keys_of: Keys) -> Iterator[Count]:
    """Yield, for every table, the rows that repeat an earlier row of the same table."""
    for role, keys in keys_of.items():
        _, first = np.unique(keys, return_index=True)
        repeats = np.ones(len(keys), dtype=np.bool_)
        repeats[first] = False
        yield Count(scope=f"{role} table", count=int(repeats.sum()), n=len(keys), detail=shown_rows(repeats))


def leaked(keys: Keys) -> Iterator[Count]:
    """Yield the rows of test that also occur in train."""
    rows = len(keys["test"])
    if "train" not in keys:
        why = "no training table was given: give Dataset(train=...) or [data] train"
        yield Count(scope="test rows in train", count=None, n=rows, detail=why)
        return
    found = np.isin(keys["test"], keys["train"])
    yield Count(scope="test rows in train", count=int(found.sum()), n=rows, detail=shown_rows(found))


def missing(tables: Tables, columns: list[str]) -> Iterator[Count]:
    """Yield, for every column of every table, the empty cells."""
    for role, frame in tables.items():
        for column in columns:
            empty = int(frame[column].isna().sum())
            yield Count(scope=f"column {column} ({role})", count=empty, n=len(frame), table=role)


def extremes(tables: Tables, columns: list[str]) -> Iterator[Count]:
    """Yield, for every numeric column of every table, the cells that lie beyond a gap from all others."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    for role, frame in tables.items():
        for column in columns:
            series = frame[column]
            scope = f"column {column} ({role})"
            if not series.notna().any():
                yield Count(scope=scope, count=None, n=len(series), detail="no values at all", table=role)
            elif is_numeric_dtype(series) and not is_bool_dtype(series):
                values = series.to_numpy(dtype=np.float64, na_value=np.nan)
                yield _count_extremes(scope, values[~np.isnan(values)], role)


def is_extreme(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which values lie beyond a tenfold gap, shape (n,); infinite ones always do.

    The gap is looked for in the distances from the median. It counts if at most a fifth of the values lie
    beyond it, and fewer than lie on this side without being the median itself: a rare 1 in a column of
    zeros is no fault. A heavy tail has no gap: its values thin out, each a little farther than the last.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.ones(len(values), dtype=np.bool_)
    distances = np.abs(values - np.median(finite))
    steps, counts = np.unique(distances[np.isfinite(values) & (distances > 0)], return_counts=True)
    within = np.cumsum(counts)[:-1]
    beyond = len(finite) - int(np.sum(distances == 0)) - within
    gap = (steps[1:] >= GAP * steps[:-1]) & (beyond < within)
    gap &= beyond <= LARGEST_EXTREME_SHARE * len(finite)
    limit = steps[1:][gap][0] if gap.any() else np.inf
    return np.asarray(distances >= limit)


def _count_extremes(scope: str, values: NDArray[np.float64], role: str) -> Count:
    if len(values) < FEWEST_VALUES:
        why = f"which values are extreme cannot be seen from fewer than {FEWEST_VALUES}"
        return Count(scope=scope, count=None, n=len(values), detail=why, table=role)
    far = is_extreme(values)
    detail = ""
    if far.any() and not far.all():
        low, high, least, most = (f(values[m]) for m in (far, ~far) for f in (np.min, np.max))
        held = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        detail = f"{int(far.sum()):,} cells hold {held}, all others lie within {least:g} to {most:g}"
    return Count(scope=scope, count=int(far.sum()), n=len(values), detail=detail, table=role)


def row_keys(tables: Tables, columns: list[str]) -> dict[str, NDArray[np.uint64]]:
    """Return one 64-bit key per row; equal rows have equal keys in all tables, whatever their types."""
    from pandas.api.types import is_numeric_dtype

    keys = {role: np.full(len(t), _STEP, np.uint64) for role, t in tables.items()}
    for column in columns:
        dtypes = [t[column].dtype for t in tables.values()]
        if all(is_numeric_dtype(dtype) for dtype in dtypes):
            narrow = any(str(dtype).lower() == "float32" for dtype in dtypes)
            cells = {role: _bits(t[column], narrow) for role, t in tables.items()}
        else:
            cells = {role: _hashed_texts(t[column]) for role, t in tables.items()}
        for role, key in keys.items():
            mix(key, cells[role])
    return keys


def mix(keys: NDArray[np.uint64], cells: NDArray[np.uint64]) -> None:
    """Take one more cell of every row into its key, in place (a round of the SplitMix64 generator)."""
    keys ^= cells
    keys ^= keys >> np.uint64(30)
    keys *= _FIRST
    keys ^= keys >> np.uint64(27)
    keys *= _SECOND
    keys += _STEP


_STEP, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _bits(series: Any, narrow: bool) -> NDArray[np.uint64]:
    """Return numbers as 64-bit patterns, the same for a value in all tables; 0.0 and -0.0 are one value."""
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    if narrow:
        values = values.astype(np.float32).astype(np.float64)
    values = values + 0.0
    values[np.isnan(values)] = np.nan
    return np.asarray(values.view(np.uint64))


def _hashed_texts(series: Any) -> NDArray[np.uint64]:
    """Return a key of every cell's text, each distinct value read once; one key for all missing ones."""
    import pandas as pd

    cells = series.astype(object).where(series.notna(), None)
    try:
        codes, values = pd.factorize(cells)
        distinct = [*map(_text_of, values), None]
    except TypeError:  # lists and tables are no keys
        distinct = [*cells.map(_text_of), None]
        codes = np.arange(len(cells))
    texts = np.array(["\x00" if text is None else text for text in distinct], dtype=object)
    return np.asarray(pd.util.hash_array(texts), np.uint64)[codes]


def _text_of(value: Any) -> str | None:
    """Return a cell as text, the same for 1, 1.0 and "1": a type must not hide that two rows are one."""
    if value is None:
        return None
    text = str(value).strip()
    try:
        return repr(float(text) + 0.0)
    except ValueError:
        return text


def shown_rows(chosen: NDArray[np.bool_]) -> str:
    """Return the positions of the first rows that were chosen, for a person to look them up."""
    positions = np.flatnonzero(chosen)[:5].tolist()
    return f"first at row {', '.join(map(str, positions))} (counted from 0)" if positions else ""
