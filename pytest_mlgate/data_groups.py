"""The groups that a sensitive column forms: by its values, or by declared bins where it is numeric."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from .data_values import as_text, distinct
from .errors import CheckError, Misuse

#: The group of the rows that have no value.
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The names of the groups that have rows, and the number of the group of each row, shape (n,)."""

    names: tuple[str, ...]
    codes: NDArray[np.intp]


def groups_of(series: nw.Series[Any], edges: Sequence[float] | None) -> Groups:
    """Return the groups of a column: in order of their names, or from low to high where edges cut it.

    Raises:
        CheckError: edges are given and the column is not numeric.
    """
    if edges is not None:
        return _binned(series, edges)
    found = distinct(series)
    texts = [as_text(value) for value in found.values]
    missing = UNKNOWN
    while missing in texts:  # a group that is called so is another one than that of the missing values
        missing += " (missing)"
    names = sorted({*texts, missing} if found.missing else set(texts))
    place = {name: i for i, name in enumerate(names)}
    codes = found.spread([place[text] for text in texts], place.get(missing, -1), np.intp)
    return Groups(tuple(names), codes)


def bin_names(edges: Sequence[float]) -> tuple[str, ...]:
    """Return how the groups between the edges are called: `<25`, `25 to <40`, `>=40`."""
    texts = [as_text(float(edge)) for edge in edges]
    between = [f"{low} to <{high}" for low, high in itertools.pairwise(texts)]
    return (f"<{texts[0]}", *between, f">={texts[-1]}")


def require_edges(bins: Mapping[str, Sequence[float]]) -> None:
    """Refuse edges that do not cut a column into groups.

    Raises:
        Misuse: with the column, what was written, and what is accepted.
    """
    if not isinstance(bins, Mapping):
        raise Misuse(f"data: bins={bins!r}. Accepted: edges by column, such as {{'age': [25, 40]}}")
    for column, edges in bins.items():
        given = f"data: bins of {column!r} are {edges!r}"
        accepted = (
            "Accepted: one or more finite numbers, each larger than the one before, such as [25, 40, 60]"
        )
        if isinstance(edges, str) or not isinstance(edges, Sequence | np.ndarray) or not len(edges):
            raise Misuse(f"{given}. {accepted}")
        numbers = list(edges)
        if not all(_is_number(edge) and math.isfinite(edge) for edge in numbers):
            raise Misuse(f"{given}, and not every edge is a finite number. {accepted}")
        if any(low >= high for low, high in itertools.pairwise(numbers)):
            raise Misuse(f"{given}, which do not rise from edge to edge. {accepted}")


def require_numeric(series: nw.Series[Any], column: str) -> None:
    """Refuse a column that edges cannot cut.

    Raises:
        CheckError: with what the column holds.
    """
    if not series.dtype.is_numeric():
        raise CheckError(
            f"bins of {column!r}: the column holds {series.dtype}, and only numbers can be cut into bins; "
            "leave the column out of bins, or give it as numbers"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _binned(series: nw.Series[Any], edges: Sequence[float]) -> Groups:
    require_numeric(series, series.name)
    cells = np.asarray(series.to_numpy(), dtype=np.float64)
    names = [*bin_names(edges), UNKNOWN]
    bins = np.searchsorted(np.asarray(edges, np.float64), cells, side="right")
    bins[np.isnan(cells)] = len(names) - 1
    # Bins without rows are no groups: nobody is in them.
    filled = np.flatnonzero(np.bincount(bins, minlength=len(names)))
    numbers = np.full(len(names), -1, np.intp)
    numbers[filled] = np.arange(len(filled))
    return Groups(tuple(names[i] for i in filled), numbers[bins])
