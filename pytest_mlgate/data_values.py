"""The distinct values of a column and which of them every row holds: a million rows in tens of milliseconds.

Everything that is asked of a label or of a group of people is asked of its few distinct values, and
spread over the rows by number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

#: What pandas calls columns of objects whose values are equal exactly where they look alike.
_UNIFORM = {"string", "boolean", "integer", "empty"}


@dataclass(frozen=True, slots=True, eq=False)
class Distinct:
    """The distinct values of a column, as Python objects in no particular order, and the number of each row.

    `numbers` has shape (n,); -1 is a missing value, and no value is without a row.
    """

    values: tuple[Any, ...]
    numbers: NDArray[np.intp]

    @property
    def missing(self) -> int:
        """How many rows hold no value."""
        return int(np.count_nonzero(self.numbers < 0))

    def spread(self, of_values: Sequence[Any], of_missing: Any, dtype: Any) -> NDArray[Any]:
        """Return what belongs to the value of every row, shape (n,)."""
        return np.asarray([*of_values, of_missing], dtype=dtype)[self.numbers]


def distinct(series: nw.Series[Any]) -> Distinct:
    """Return the distinct values of a column of any table library.

    Values of one type that look alike are one value; those of different types never are, so that 1, True
    and "1" in a column of objects stay three.
    """
    if series.dtype.is_nested():
        return _one_by_one(series.to_list())
    if series.implementation.is_pandas():
        return _of_pandas(series)
    if series.dtype.is_float():
        return _of_floats(np.asarray(series.to_numpy(), dtype=np.float64))
    if series.implementation.is_polars() and series.dtype != nw.Object:
        return _of_polars(series.to_native())
    if series.implementation.is_pyarrow():
        return _of_arrow(series)
    return _one_by_one(series.to_list())


def is_missing(value: Any) -> bool:
    """Return whether a cell holds no value: None, NaN or NaT."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or _differs_from_itself(value)


def as_text(value: Any) -> str:
    """Return a value as the name of a group: whole numbers have no point, so 1.0 reads as 1."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _differs_from_itself(value: Any) -> bool:
    other = value
    try:
        return bool(value != other)
    except TypeError:  # pandas' NA refuses to be true or false
        return True
    except ValueError:  # arrays compare cell by cell
        return False


def _of_pandas(series: nw.Series[Any]) -> Distinct:
    import pandas as pd

    native = series.to_native()
    if native.dtype == object and pd.api.types.infer_dtype(native, skipna=True) not in _UNIFORM:
        return _one_by_one(native.tolist())
    numbers, values = pd.factorize(native)
    return Distinct(tuple(values.tolist()), np.asarray(numbers, np.intp))


def _of_floats(cells: NDArray[np.float64]) -> Distinct:
    values, numbers = np.unique(cells, return_inverse=True)
    return _without_missing(values.tolist(), np.asarray(numbers, np.intp).reshape(-1))


def _of_polars(native: Any) -> Distinct:
    column, number = "value", "number"
    values = native.drop_nulls().unique(maintain_order=True).alias(column)
    numbered = (
        native.alias(column)
        .to_frame()
        .join(values.to_frame().with_row_index(number), on=column, how="left", maintain_order="left")
    )
    return _without_missing(values.to_list(), numbered[number].fill_null(-1).to_numpy())


def _of_arrow(series: nw.Series[Any]) -> Distinct:
    native = series.to_native()
    if series.dtype == nw.Categorical:  # its dictionary may hold values that no row has
        native = native.cast(native.type.value_type)
    chunks = native.dictionary_encode().unify_dictionaries().chunks
    if not chunks:
        return Distinct((), np.zeros(0, np.intp))
    numbers = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in chunks]
    return _without_missing(chunks[0].dictionary.to_pylist(), np.concatenate(numbers))


def _one_by_one(cells: Sequence[Any]) -> Distinct:
    # Values may be unhashable, and equal ones may look different (Decimal 1.0 and 1.00): the text tells.
    places: dict[tuple[type, str], int] = {}
    looks = zip(map(type, cells), map(str, cells), strict=True)
    numbers = np.asarray([places.setdefault(look, len(places)) for look in looks], np.intp)
    _, first_rows = np.unique(numbers, return_index=True)
    return _without_missing([cells[row] for row in first_rows.tolist()], numbers)


def _without_missing(values: Sequence[Any], numbers: NDArray[Any]) -> Distinct:
    """Return the values that are some, numbered anew."""
    kept = [i for i, value in enumerate(values) if not is_missing(value)]
    renumbered = np.full(len(values) + 1, -1, np.intp)
    renumbered[kept] = np.arange(len(kept))
    return Distinct(tuple(values[i] for i in kept), renumbered[np.asarray(numbers, np.int64)])
