"""Every column compared within one group of rows: a shift there is diluted in the whole table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError

from ._comparison import Comparison, compare_values, not_compared
from ._drift_columns import Pair

#: Beyond this a column holds amounts or identifiers, and no group of it has rows enough.
MOST_GROUPS = 50


class Slices:
    """The rows of every group of the named columns in two tables.

    Raises:
        CheckError: a column has more than `MOST_GROUPS` groups.
    """

    def __init__(self, data: Dataset, columns: Sequence[str], role: str) -> None:
        self._rows: dict[str, tuple[str, NDArray[np.intp], NDArray[np.intp]]] = {}
        for column in dict.fromkeys(columns):
            names, codes = data.group_codes(column, "train")
            others, current = data.group_codes(column, role)
            groups = sorted({*names, *others})
            if len(groups) > MOST_GROUPS:
                raise CheckError(
                    f"drift: column {column!r} has {len(groups):,} groups; at most {MOST_GROUPS} can be "
                    "compared: join values, or cut a numeric column with Dataset(bins={...})"
                )
            for group in groups:
                self._rows[f"{column}={group}"] = (
                    column,
                    _rows_of(group, names, codes),
                    _rows_of(group, others, current),
                )

    def compare(self, pair: Pair, roles: tuple[str, str]) -> Iterator[tuple[str, Comparison]]:
        """Yield for every group its name and the comparison of a column within it; prose is left out."""
        if pair.kind == "text":
            return
        for group, (column, first, second) in self._rows.items():
            if column == pair.name:
                continue
            empty = [role for role, rows in zip(roles, (first, second), strict=True) if not len(rows)]
            if empty:
                yield group, not_compared(group, f"no row of the {empty[0]} table is in this group")
            else:
                scope = f"column {pair.name}"
                yield group, compare_values(pair.take(first, second), scope, roles)


def _rows_of(group: str, names: Sequence[str], codes: NDArray[np.intp]) -> NDArray[np.intp]:
    if group not in names:
        return np.zeros(0, np.intp)
    return np.flatnonzero(codes == names.index(group))
