"""The groups of people that sensitive columns form in the test table, alone and at their intersections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError

#: Beyond this the column holds amounts or identifiers, and the pairs of groups run into the ten thousands.
MOST_GROUPS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """The groups that one column, or several together, divide the test rows into."""

    scope: str
    names: tuple[str, ...]
    #: The group of every row, shape (n,).
    codes: NDArray[np.intp]
    #: The rows of every group, shape (g,).
    rows: NDArray[np.int64]
    #: Which groups are large enough to be judged, shape (g,).
    judged: NDArray[np.bool_]

    @property
    def judged_groups(self) -> NDArray[np.intp]:
        """The numbers of the groups that are judged."""
        return np.flatnonzero(self.judged)

    def title(self, group: int) -> str:
        """Return a group as messages name it: `race=black`, `race*sex=black*female`."""
        return f"{self.scope}={self.names[group]}"

    def share(self, group: int) -> float:
        """Return the share of the test rows that are in the group."""
        return int(self.rows[group]) / len(self.codes)


def grouping_of(data: Dataset, columns: Sequence[str], least_share: float) -> Grouping:
    """Return the groups that the columns form together in the test table, in the order of their names.

    Raises:
        CheckError: there are too many groups to be compared in pairs.
    """
    scope = "*".join(columns)
    names: list[str] = [""]
    codes = np.zeros(len(data.tables["test"]), dtype=np.intp)
    for i, column in enumerate(columns):
        more, theirs = data.group_codes(column)
        _require_few(column, len(more))
        codes, present = _compact(codes * len(more) + theirs, len(names) * len(more))
        joined = [f"{a}*{b}" if i else b for a in names for b in more]
        names = [joined[k] for k in present]
        _require_few(scope, len(names))
    rows = np.bincount(codes, minlength=len(names)).astype(np.int64)
    return Grouping(scope, tuple(names), codes, rows, rows >= least_share * len(codes))


def _compact(codes: NDArray[np.intp], most: int) -> tuple[NDArray[np.intp], list[int]]:
    """Return the codes renumbered without gaps, and which of the old ones occur."""
    occur = np.bincount(codes, minlength=most) > 0
    renumbered = np.cumsum(occur) - 1
    return renumbered[codes], [int(k) for k in np.flatnonzero(occur)]


def _require_few(scope: str, groups: int) -> None:
    if groups > MOST_GROUPS:
        raise CheckError(
            f"{scope} has {groups:,} groups; more than {MOST_GROUPS} cannot be compared: join values into "
            "fewer groups, declare bins for a column of numbers, or set intersections=False"
        )
