"""Values in another unit than the rest, and columns that changed places, seen against the other table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ._faults import Count
from ._quality_measures import Effect
from ._quality_tables import Floats, Tables, categories, finite, numbers, of_kind, sampled

#: Rows read of each table.
MOST_ROWS = 20_000
#: A distribution that moved less than this (Kolmogorov-Smirnov or total variation) did not change its unit.
LEAST_MOVE = 0.25
#: What undoes a change leaves at most this share of the move.
_LEFT_OVER = 0.35
_FEWEST = 20
#: One or two values far beyond a range are normal in a heavy tail, and some factor brings them back.
_FEWEST_CELLS = 3


@dataclass(frozen=True, slots=True)
class Unit:
    """The values in the other unit are `factor` times those in this one, plus `offset`."""

    name: str
    factor: float
    offset: float = 0.0

    def undone(self, values: Floats) -> Floats:
        """Return the values in this unit."""
        return np.asarray((values - self.offset) / self.factor)


_FACTORS = {
    "ten": 10.0,
    "a hundred": 100.0,
    "a thousand": 1e3,
    "a million": 1e6,
    "inches and centimetres": 2.54,
    "feet and metres": 0.3048,
    "pounds and kilograms": 0.45359237,
    "miles and kilometres": 1.609344,
    "months and years": 12.0,
    "hours and minutes": 60.0,
    "hours and seconds": 3600.0,
    "degrees and radians": math.pi / 180,
}
UNITS = (
    *(Unit(f"factor {name}", f) for name, f in _FACTORS.items()),
    *(Unit(f"factor {name}, the other way", 1 / f) for name, f in _FACTORS.items()),
    Unit("Fahrenheit for Celsius", 1.8, 32.0),
    Unit("Celsius for Fahrenheit", 1 / 1.8, -32 / 1.8),
)


def unit_changes(tables: Tables, columns: list[str], seed: int) -> Iterator[Count]:
    """Yield, for every numeric column of every table, the cells in another unit than the other table's.

    A whole column: its distribution is 0.25 or more away from the other table's (Kolmogorov-Smirnov), and
    undoing one of the known factors brings it to a third of that and below 0.1. Single cells: those
    outside the other table's range by at least the root of the factor that come to lie between its 1% and
    99% quantiles once it is undone; three of them or more, and for factors of ten and more or an offset.
    """
    if "train" not in tables:
        why = "no training table was given: give Dataset(train=...) or [data] train"
        yield Count(scope="", count=None, n=len(tables["test"]), detail=why)
        return
    for column in of_kind(tables, columns, "numbers"):
        for role, other in (("test", "train"), ("train", "test")):
            scope = f"column {column} ({role})"
            here, there = finite(tables[role][column]), finite(tables[other][column])
            if min(len(here), len(there)) < _FEWEST:
                why = f"fewer than {_FEWEST} values in a table show no unit"
                yield Count(scope=scope, count=None, n=len(here), detail=why)
                continue
            whole = _of_column(*(v[sampled(len(v), MOST_ROWS, seed)] for v in (here, there)))
            if whole is None:
                count, unit = _of_cells(here, there)
            else:
                # Which of the two tables is wrong nobody can tell: it is said of test.
                count, unit = (len(here), whole) if role == "test" else (0, None)
            detail = f"{count:,} cells: {unit.name}" if unit else ""
            yield Count(scope=scope, count=count, n=len(here), detail=detail, table=role)


def _of_column(here: Floats, there: Floats) -> Unit | None:
    here, there = np.sort(here), np.sort(there)
    moved = _apart(here, there)
    if moved < LEAST_MOVE or len(np.unique(there)) < _FEWEST:
        return None
    left = {unit: _apart(np.sort(unit.undone(here)), there) for unit in UNITS}
    unit = min(left, key=lambda u: left[u])
    noise = 1.6 * math.sqrt(1 / len(here) + 1 / len(there))
    return unit if left[unit] <= min(_LEFT_OVER * moved, max(0.1, noise)) else None


def _of_cells(here: Floats, there: Floats) -> tuple[int, Unit | None]:
    low, high = float(there.min()), float(there.max())
    first, last = np.quantile(there, [0.01, 0.99])
    best: tuple[int, Unit | None] = (0, None)
    if low == high:
        return best
    for unit in UNITS:
        if unit.offset:
            margin = (high - low) / 2
            outside = here[(here > high + margin) | (here < low - margin)]
        elif 0.1 < unit.factor < 10:
            continue
        elif unit.factor > 1:
            reach = math.sqrt(unit.factor)
            outside = here[(here > max(high, 0) * reach) | (here < min(low, 0) * reach)]
        elif low > 0:
            outside = here[(here > 0) & (here < low * math.sqrt(unit.factor))]
        else:
            continue
        undone = unit.undone(outside[outside != 0])
        count = int(np.sum((undone >= first) & (undone <= last)))
        if count >= _FEWEST_CELLS and count > best[0]:
            best = count, unit
    return best


def swapped(tables: Tables, columns: list[str], seed: int) -> Effect:
    """Return how many pairs of columns hold in the test table what the other one holds in training.

    Both columns moved by 0.25 or more, and exchanging them leaves a third of that at most.
    """
    n = min(len(t) for t in tables.values())
    if "train" not in tables:
        why = "no training table was given: give Dataset(train=...) or [data] train"
        return Effect(scope="", value=None, n=n, detail=why)
    train, test = tables["train"], tables["test"]
    rows = {role: sampled(len(t), MOST_ROWS, seed) for role, t in tables.items()}
    found = []
    for kind in ("numbers", "categories"):
        names = of_kind({"train": train, "test": test}, columns, "numbers" if kind == "numbers" else kind)
        if kind == "numbers":
            read = {
                role: {c: np.sort(_known(numbers(t[c].iloc[rows[role]]))) for c in names}
                for role, t in tables.items()
            }
            apart = _apart
        else:
            read = {role: {c: categories(t[c].iloc[rows[role]]) for c in names} for role, t in tables.items()}
            apart = _total_variation
        here, there = read["test"], read["train"]
        usable = [c for c in names if min(len(here[c]), len(there[c])) > 0]
        own = {c: apart(here[c], there[c]) for c in usable}
        moved = [c for c in usable if own[c] >= LEAST_MOVE]
        for a, b in itertools.combinations(moved, 2):
            crossed = max(apart(here[a], there[b]), apart(here[b], there[a]))
            if crossed <= _LEFT_OVER * min(own[a], own[b]):
                found.append(f"{a} and {b}")
    return Effect(scope="", value=float(len(found)), n=n, detail="; ".join(found[:5]))


def _known(values: Floats) -> Floats:
    return np.asarray(values[np.isfinite(values)])


def _apart(here: Floats, there: Floats) -> float:
    """Return the Kolmogorov-Smirnov distance of two sorted samples."""
    cuts = np.concatenate([here, there])
    below = [np.searchsorted(v, cuts, side="right") / len(v) for v in (here, there)]
    return float(np.max(np.abs(below[0] - below[1])))


def _total_variation(here: object, there: object) -> float:
    import pandas as pd

    shares = pd.concat([here / here.sum(), there / there.sum()], axis=1).fillna(0.0)  # type: ignore[attr-defined, call-overload]
    return float((shares.iloc[:, 0] - shares.iloc[:, 1]).abs().sum() / 2)
