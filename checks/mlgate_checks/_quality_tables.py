"""What the columns of the tables hold, the same question for every fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Kind = Literal["numbers", "times", "categories"]

#: pandas tables by role.
Tables = Mapping[str, Any]


def kind_of(series: Any) -> Kind:
    """Return what a pandas column holds; flags, text and objects are categories."""
    from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

    if is_numeric_dtype(series) and not is_bool_dtype(series):
        return "numbers"
    return "times" if is_datetime64_any_dtype(series) else "categories"


def of_kind(tables: Tables, columns: list[str], kind: Kind) -> list[str]:
    """Return the columns that hold this kind of value in every table."""
    return [c for c in columns if all(kind_of(t[c]) == kind for t in tables.values())]


def unlike_kinds(tables: Tables, columns: list[str]) -> dict[str, str]:
    """Return the columns that hold different kinds of values in different tables, with the reason."""
    found = {}
    for column in columns:
        kinds = {role: kind_of(t[column]) for role, t in tables.items()}
        if len(set(kinds.values())) > 1:
            found[column] = "holds " + ", ".join(f"{kind} in {role}" for role, kind in kinds.items())
    return found


def numbers(series: Any) -> Floats:
    """Return a numeric column as 64-bit floats, missing values NaN, infinite ones as they are."""
    return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))


def finite(series: Any) -> Floats:
    """Return the finite values of a numeric column."""
    values = numbers(series)
    return np.asarray(values[np.isfinite(values)])


def categories(series: Any) -> Any:
    """Return how often each category occurs, as a pandas Series by its text, most frequent first."""
    counts = series.value_counts(dropna=True)
    counts.index = [str(value) for value in counts.index]
    counts = counts[counts > 0]
    return counts.groupby(level=0).sum().sort_values(ascending=False, kind="stable")


def sampled(rows: int, most: int, seed: int) -> NDArray[np.intp]:
    """Return the positions of all rows, or of `most` drawn without replacement, in their order."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
