"""Which slices of the rows look weakest: of single columns and of pairs of columns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._answers import Floats
from ._partitions import Partition

#: Pairs are made of the columns on which single slices are weakest.
_MOST_PAIRED = 12
#: Rows of either class without which a ranking or a rate in a slice says nothing.
_LEAST_OF_A_CLASS = 10
#: Slices are put in order by how much worse they are, less so many standard errors. Of hundreds of slices
#: some are two standard errors out by chance; with 3 instead of 1, slices that are weak are found more often
#: (82% against 57% of samples: 5,000 rows, a quarter of them 0.15 less accurate) and clean models pass more
#: often (77% against 42%: 2,000 rows, bound 0.1), since larger slices are chosen.
_DEDUCTION = 3.0


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice of one column, or of two: which, and how it looked where it was found."""

    columns: tuple[int, ...]
    code: int
    name: str
    n: int
    #: Mean badness in the slice minus that of all rows.
    worse_by: float
    #: The same less what chance explains.
    surely: float

    def holds(self, cuts: Sequence[Partition]) -> NDArray[np.bool_]:
        """Return which rows of the given cuts are in the slice, shape (n,)."""
        return np.asarray(_cut(cuts, self.columns).codes == self.code)


@dataclass(frozen=True, slots=True)
class Found:
    """The slices that were looked at, the weakest first, and over how many columns pairs were made."""

    slices: tuple[Slice, ...]
    paired: int


def search(
    badness: tuple[Floats, Floats],
    positive: NDArray[np.bool_] | None,
    cuts: Sequence[Partition],
    least: int,
) -> Found:
    """Return all slices of at least `least` rows, those that are most surely worse than the whole first.

    Args:
        badness: numerators and denominators whose ratio of sums is the badness of any rows, shape (n,) each.
        positive: which rows are of the positive class, shape (n,), where slices need rows of both.
        cuts: how each column cuts the rows.
        least: the rows a slice needs.
    """
    top, bottom = badness
    if not bottom.any():
        return Found((), 0)
    excess = top - float(top.sum() / bottom.sum()) * bottom
    sums = excess, np.square(excess), bottom
    single = [list(_slices(sums, positive, cuts, (i,), least)) for i in range(len(cuts))]
    strength = [max((s.surely for s in slices), default=-math.inf) for slices in single]
    chosen = sorted(sorted(range(len(cuts)), key=lambda i: -strength[i])[:_MOST_PAIRED])
    double = [list(_slices(sums, positive, cuts, pair, least)) for pair in itertools.combinations(chosen, 2)]
    everything = itertools.chain(*single, *double)
    return Found(tuple(sorted(everything, key=lambda s: -s.surely)), len(chosen))


def _slices(
    sums: tuple[Floats, Floats, Floats],
    positive: NDArray[np.bool_] | None,
    cuts: Sequence[Partition],
    columns: tuple[int, ...],
    least: int,
) -> Iterator[Slice]:
    cut = _cut(cuts, columns)
    codes, k = cut.codes + 1, len(cut.names) + 1  # rows of no slice come first, and are dropped
    excess, squares, mass = (np.bincount(codes, values, minlength=k)[1:] for values in sums)
    rows = np.bincount(codes, minlength=k)[1:]
    eligible = (rows >= least) & (rows < len(codes)) & (mass > 0)
    if positive is not None:
        events = np.bincount(codes[positive], minlength=k)[1:]
        eligible &= (events >= _LEAST_OF_A_CLASS) & (rows - events >= _LEAST_OF_A_CLASS)
    for code in np.flatnonzero(eligible).tolist():
        gap = float(excess[code] / mass[code])
        spread = max(0.0, float(squares[code] - excess[code] ** 2 / rows[code]))
        error = math.sqrt(spread) / float(mass[code])
        yield Slice(columns, code, cut.names[code], int(rows[code]), gap, gap - _DEDUCTION * error)


def _cut(cuts: Sequence[Partition], columns: tuple[int, ...]) -> Partition:
    first = cuts[columns[0]]
    return first if len(columns) == 1 else first.crossed(cuts[columns[1]])
