"""Ways of cutting the test rows into slices: by the values or the quartiles of a column, or of two."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.dataset import Dataset

#: A numeric column with more distinct values than this is cut at its quartiles.
_MOST_VALUES = 8
_QUANTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True, eq=False)
class Partition:
    """Slices that hold every row once: their names, and the slice of every row, shape (n,); -1 is none."""

    names: tuple[str, ...]
    codes: NDArray[np.int32]

    def with_rows(self, rows: NDArray[Any]) -> Partition:
        """Return the same slices over some of the rows."""
        return Partition(self.names, self.codes[rows])

    def crossed(self, other: Partition) -> Partition:
        """Return the slices that both make together."""
        names = tuple(f"{one} and {two}" for one in self.names for two in other.names)
        both = self.codes * np.int32(len(other.names)) + other.codes
        outside = (self.codes < 0) | (other.codes < 0)
        return Partition(names, np.where(outside, np.int32(-1), both))


def partitions_of(data: Dataset, columns: Sequence[str]) -> Iterator[Partition]:
    """Yield how each column cuts the test rows: at its quartiles, or by its (most frequent) values."""
    for column in columns:
        series = data.tables["test"][column]
        kind = series.dtype
        if kind.is_numeric():
            values = np.asarray(series.to_numpy(), np.float64)
            known = values[np.isfinite(values)]
            if len(known) and column not in data.bins and _has_many_values(known):
                yield _quartiles(column, values, known)
                continue
        yield _values(column, *data.group_codes(column))


def _has_many_values(known: NDArray[np.float64]) -> bool:
    return len(np.unique(known[:1000])) > _MOST_VALUES or len(np.unique(known)) > _MOST_VALUES


def _quartiles(column: str, values: NDArray[np.float64], known: NDArray[np.float64]) -> Partition:
    edges = np.unique(np.quantile(known, _QUANTILES))
    edges = edges[(edges > known.min()) & (edges <= known.max())]
    texts = [f"{edge:.4g}" for edge in edges]
    names = [f"{column} < {texts[0]}"] if texts else [f"{column} present"]
    names += [f"{low} <= {column} < {high}" for low, high in itertools.pairwise(texts)]
    names += [f"{column} >= {texts[-1]}"] * bool(texts)
    codes = np.searchsorted(edges, values, side="right").astype(np.int32)
    codes[np.isnan(values)] = len(names)
    return Partition((*names, f"{column} missing"), codes)


def _values(column: str, names: tuple[str, ...], codes: NDArray[np.intp]) -> Partition:
    if len(names) <= _MOST_VALUES:
        return Partition(tuple(f"{column}={name}" for name in names), codes.astype(np.int32))
    frequent = np.argsort(-np.bincount(codes, minlength=len(names)), kind="stable")[:_MOST_VALUES]
    place = np.full(len(names), -1, np.int32)
    place[frequent] = np.arange(len(frequent), dtype=np.int32)
    return Partition(tuple(f"{column}={names[i]}" for i in frequent), place[codes])
