"""Rows that are nearly the same, and rows that are the same and carry different labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._faults import Count, Keys, mix, row_keys, shown_rows
from ._quality_tables import Floats, Tables, numbers, of_kind

#: Amounts differ by at most this share of their column's spread in rows that are nearly the same.
TOLERANCE = 0.01
#: A numeric column of fewer different values is a code or a count and must be equal.
FEWEST_AMOUNTS = 50
#: Cells of a grid, moved by another offset in each round, hold rows that are to be compared.
_ROUNDS = 4
_NEIGHBOURS = 4
_MOST_GRID = 8
_MOST_READ = 20_000
_LAST_CELL, _NO_CELL = 1e15, -7e14


def near_duplicates(tables: Tables, columns: list[str], keys: Keys, seed: int) -> Iterator[Count]:
    """Yield the rows that nearly repeat another one, in every table and between test and train.

    Two rows are nearly the same if every amount (a numeric column of 50 values or more) differs by at most
    1% of the column's spread (its interquartile range over 1.35), all other columns are equal, and the
    rows are not the same. Candidates share a cell of a randomly shifted grid (Indyk and Motwani 1998, STOC,
    604) and are compared in full, so a pair is found with a probability of 0.97 or more (0.99 for
    differences half as large). `keys` are those of the whole rows.
    """
    import pandas as pd

    lengths = {role: len(t) for role, t in tables.items()}
    amounts = [
        c for c in of_kind(tables, columns, "numbers") if all(_is_amount(t[c]) for t in tables.values())
    ]
    if not amounts:
        why = f"no column is an amount (a number with {FEWEST_AMOUNTS} different values or more)"
        for role, rows in lengths.items():
            yield Count(scope=f"{role} table", count=None, n=rows, detail=why)
        return
    equal = np.concatenate(list(row_keys(tables, [c for c in columns if c not in amounts]).values()))
    # One row stands for all that equal it: those are duplicates, which have a bound of their own.
    inverse, _ = pd.factorize(np.concatenate(list(keys.values())))
    first = np.unique(inverse, return_index=True)[1]
    values = [np.concatenate([numbers(t[c]) for t in tables.values()])[first] for c in amounts]
    pairs = near_pairs(values, equal[first], seed)
    within = np.zeros((len(tables), len(first)), np.bool_)
    within[np.repeat(np.arange(len(tables)), list(lengths.values())), inverse] = True
    starts = np.cumsum([0, *lengths.values()])
    for i, role in enumerate(lengths):
        both = within[i, pairs[:, 0]] & within[i, pairs[:, 1]]
        repeats = np.zeros(len(first), np.bool_)
        repeats[pairs[both, 1]] = True
        yield _count(f"{role} table", repeats[inverse[starts[i] : starts[i + 1]]])
    if "train" in lengths:
        test, train = (list(lengths).index(role) for role in ("test", "train"))
        leaked = np.zeros(len(first), np.bool_)
        for one, other in ((0, 1), (1, 0)):
            leaked[pairs[within[train, pairs[:, other]] & within[test, pairs[:, one]], one]] = True
        yield _count("test rows near a train row", leaked[inverse[starts[test] : starts[test + 1]]])


def near_pairs(amounts: list[Floats], equal: NDArray[np.uint64], seed: int) -> NDArray[np.intp]:
    """Return the pairs of rows, shape (pairs, 2) and the earlier first, that are nearly the same.

    Each of the amounts has shape (n,); `equal`, shape (n,), is a key of all that must be equal.
    """
    steps = [TOLERANCE * _spread(a) for a in amounts]
    rng = np.random.default_rng(seed)
    # A few columns tell nearly all rows apart. The more, the wider the cells, so that pairs stay in one.
    chosen = rng.permutation(len(amounts))[:_MOST_GRID]
    width = 2.0 * len(chosen) + 2
    found = [np.zeros((0, 2), np.intp)]
    for _ in range(_ROUNDS):
        key = equal.copy()
        for j in chosen.tolist():
            place = np.nan_to_num(amounts[j] / (width * steps[j]) + rng.uniform(), nan=_NO_CELL)
            np.clip(place, -_LAST_CELL, _LAST_CELL, out=place)
            mix(key, np.floor(place, out=place).astype(np.int64).view(np.uint64))
        order = np.argsort(key)
        ranked = key[order]
        for step in range(1, _NEIGHBOURS + 1):
            same = np.flatnonzero(ranked[step:] == ranked[:-step])
            if not len(same):
                break
            one, other = order[same], order[same + step]
            alike = equal[one] == equal[other]
            for a, tolerance in zip(amounts, steps, strict=True):
                one, other, alike = one[alike], other[alike], _near(a[one[alike]], a[other[alike]], tolerance)
            found.append(np.stack([one[alike], other[alike]], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.asarray(np.unique(pairs, axis=0), np.intp)


def conflicting(by_features: Keys, by_both: Keys) -> Iterator[Count]:
    """Yield, for every table, the rows that equal another one in all features and not in the label.

    The keys are those of the features alone, and of features and label.
    """
    for role in by_both:
        yield _count(f"{role} table", _conflict(by_features[role], by_both[role]))


def _conflict(features: NDArray[np.uint64], both: NDArray[np.uint64]) -> NDArray[np.bool_]:
    import pandas as pd

    codes, _ = pd.factorize(features)
    first = np.unique(codes, return_index=True)[1]
    differs = both != both[first][codes]
    return np.asarray(np.bincount(codes, weights=differs)[codes] > 0)


def _near(one: Floats, other: Floats, tolerance: float) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):  # infinity minus itself
        near = np.abs(one - other) <= tolerance
    return np.asarray(near | (one == other) | (np.isnan(one) & np.isnan(other)))


def _spread(amounts: Floats) -> float:
    known = amounts[np.isfinite(amounts)]
    known = known[:: max(1, len(known) // _MOST_READ)]
    if not len(known):
        return 1.0
    quarter, three_quarters = np.quantile(known, [0.25, 0.75])
    return float((three_quarters - quarter) / 1.35 or np.std(known) or 1.0)


def _is_amount(series: Any) -> bool:
    head = series.iloc[:: max(1, len(series) // _MOST_READ)]
    return int(head.nunique()) >= FEWEST_AMOUNTS


def _count(scope: str, chosen: NDArray[np.bool_]) -> Count:
    return Count(scope=scope, count=int(chosen.sum()), n=len(chosen), detail=shown_rows(chosen))
