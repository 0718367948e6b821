"""Codes that stand for a missing value and are stored as one: 999, -1, 666, `?`, `N/A`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ._faults import Count
from ._quality_tables import Floats, Tables, categories, finite, kind_of

#: Texts that stand for nothing, in lower case. `none` and `unknown` are left out: they can be answers.
PLACEHOLDERS = frozenset(
    {"", "?", "-", "--", ".", "n/a", "na", "#n/a", "nan", "nil", "null", "missing", "undefined", "tbd"}
    | {"(blank)", "<na>", "#value!", "#ref!"}
)
_CODES = np.array([666, *(10**k - 1 for k in range(2, 16)), -1, *(1 - 10**k for k in range(1, 6))], float)
_NEGATIVE = (-1.0, -9.0, -99.0, -999.0, -9999.0, -99999.0)
#: A code at the end of a column is at least this much larger than the largest other value ...
_APART = 2
#: ... and this much if a single cell holds it.
_FAR_APART = 10
#: Inside of a column, a code is this much more frequent than the values around it.
_SPIKE = 10
_FEWEST_SPIKE, _AROUND, _FEWEST_DISTINCT = 20, 20, 50


def sentinels(tables: Tables, columns: list[str]) -> Iterator[Count]:
    """Yield, for every column of numbers or categories of every table, the cells that hold a code."""
    for role, table in tables.items():
        for column in columns:
            kind, scope = kind_of(table[column]), f"column {column} ({role})"
            if kind == "categories":
                counts = categories(table[column])
                found = counts[[name.strip().casefold() in PLACEHOLDERS for name in counts.index]]
                listed = [f"{n!r} {k:,} times" for n, k in found.items()]
                held, n = int(found.sum()), int(counts.sum())
            elif kind == "numbers":
                cells = finite(table[column])
                if not np.isin(np.trunc(cells), _CODES).any():
                    yield Count(scope=scope, count=0, n=len(cells), table=role)
                    continue
                values, times = np.unique(cells, return_counts=True)
                coded = codes(values, times)
                listed = [f"{v:.10g} {k:,} times" for v, k in zip(values[coded], times[coded], strict=True)]
                held, n = int(times[coded].sum()), int(times.sum())
            else:
                continue
            if n:
                yield Count(scope=scope, count=held, n=n, detail=", ".join(listed), table=role)


def codes(values: Floats, times: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of the distinct values, ascending, stand for a missing one, shape (k,).

    A number written with nines (99 and longer, and 999999.4) or as 666 that is the largest of its column,
    twice the next one if it occurs more than once, ten times if not; one inside a column of 50 values and
    more that occurs ten times as often as those around it; and a negative code (-1, -9, -99 ...) that is
    the only negative value among five others or more and occurs more than once.
    """
    found = np.zeros(len(values), np.bool_)
    written = np.array([_is_nines(v) for v in values]) if len(values) else found
    others = values[~written]
    if len(others):
        apart = written & (values > _APART * max(others[-1], 1.0)) & (times > 1)
        apart |= written & (values > _FAR_APART * max(others[-1], 1.0))
        found |= apart
    if len(values) >= _FEWEST_DISTINCT:
        for i in np.flatnonzero(written & ~found & (times >= _FEWEST_SPIKE)):
            around = np.r_[times[max(0, i - _AROUND) : i], times[i + 1 : i + 1 + _AROUND]]
            found[i] = times[i] >= _SPIKE * np.max(around)
    negative = values < 0
    if negative.sum() == 1 and values[0] in _NEGATIVE and times[0] > 1 and len(values) > 5:
        found[0] = True
    return found


def _is_nines(value: float) -> bool:
    whole = str(int(value)) if 0 <= value < 1e15 else ""
    return whole == "666" or (len(whole) >= 2 and set(whole) == {"9"})
