"""What gives the label away: one column alone, the order of the rows, or rows from the future."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import difference_interval, wilson

from ._faults import Count
from ._quality_measures import Effect, Ends
from ._quality_tables import Tables, kind_of, numbers, sampled

#: Rows read of each table.
MOST_ROWS = 100_000
_BINS = 64
_FEWEST = 20
#: A label of more classes has too few rows in each.
MOST_CLASSES = 100

Codes = NDArray[np.intp]


def label_codes(tables: Tables, label: str, is_amount: bool) -> tuple[dict[str, Codes], list[str]]:
    """Return the class of every row of every table, -1 where there is none, and the classes' names.

    Amounts become two classes: up to the median of the first table, and above it.
    """
    import pandas as pd

    joined = pd.concat([t[label] for t in tables.values()], ignore_index=True)
    if is_amount:
        values = numbers(joined)
        middle = float(np.nanmedian(numbers(next(iter(tables.values()))[label])))
        codes = np.where(np.isnan(values), -1, values > middle).astype(np.intp)
        names = [f"up to {middle:g}", f"above {middle:g}"]
    else:
        found, distinct = pd.factorize(joined, sort=False)
        codes, names = np.asarray(found, np.intp), [str(v) for v in distinct]
    ends = np.cumsum([len(t) for t in tables.values()])[:-1]
    return dict(zip(tables, np.split(codes, ends), strict=True)), names


def predictive_power(
    tables: Tables, columns: list[str], label: str, is_amount: bool, seed: int
) -> Iterator[Effect]:
    """Yield, for every feature, how well it alone predicts the label on rows that were not learned from.

    The column is cut at 64 quantiles (categories and missing values stand for themselves), and each part
    learns the class that is most frequent in it, classes weighted equally. What train taught is asked of
    test, and the other way round (without train: the even and the odd rows of test). The value is Youden's
    J (1950, Cancer 3:32), the rate of true positives less that of false ones: 0 for a guess, 1 for a column
    that gives the label away. With k classes it is the mean recall m as (m - 1/k) / (1 - 1/k), which for
    two classes is the same.
    """
    y, names = label_codes(tables, label, is_amount)
    if "train" in tables:
        halves = [(role, sampled(len(tables[role]), MOST_ROWS, seed)) for role in ("train", "test")]
    else:
        rows = sampled(len(tables["test"]), MOST_ROWS, seed)
        halves = [("test", rows[::2]), ("test", rows[1::2])]
    labels = [y[role][rows] for role, rows in halves]
    for column in columns:
        one, other = (tables[role][column].iloc[rows] for role, rows in halves)
        scope = f"column {column}"
        if kind_of(one) != kind_of(other):
            why = "numbers in one table and something else in the other"
            yield Effect(scope=scope, value=None, n=len(one) + len(other), detail=why)
            continue
        there, back = _parts(one, other), _parts(other, one)
        first, second = labels
        yield _power(scope, [(*there, first, second), (*back, second, first)], len(names))


def order_power(tables: Tables, label: str, is_amount: bool) -> Iterator[Effect]:
    """Yield, for every table, how well the position of a row predicts its label, as `predictive_power`.

    The even rows are asked what the odd ones taught, and the other way round.
    """
    y, names = label_codes(tables, label, is_amount)
    for role, table in tables.items():
        parts = np.arange(len(table)) * _BINS // max(1, len(table))
        even, odd = ((parts[i::2], y[role][i::2]) for i in (0, 1))
        turns = [(a[0], b[0], a[1], b[1]) for a, b in ((even, odd), (odd, even))]
        yield _power(f"order of the {role} table", turns, len(names))


def _power(scope: str, turns: list[tuple[Codes, Codes, Codes, Codes]], classes: int) -> Effect:
    """Return J over all turns: each the parts to learn from and those to ask, and the labels of both."""
    turns = [(a[y >= 0], b[z >= 0], y[y >= 0], z[z >= 0]) for a, b, y, z in turns]
    counts = [np.bincount(y, minlength=classes) for _, _, y, _ in turns]
    present = np.flatnonzero(np.min(counts, axis=0) > 0)
    fewest, n = min(len(y) for _, _, y, _ in turns), sum(len(z) for *_, z in turns)
    if not 2 <= len(present) <= MOST_CLASSES or fewest < _FEWEST:
        why = f"needs {_FEWEST} labelled rows and 2 to {MOST_CLASSES} classes on either side"
        return Effect(
            scope=scope, value=None, n=n, detail=f"{why}; there are {fewest:,} and {len(present):,}"
        )
    all_hits, all_rows = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    for learn, ask, y_learn, y_ask in turns:
        most = int(max(learn.max(), ask.max())) + 1
        answers = _learned(learn, y_learn, classes, present, most)[ask]
        all_hits += np.bincount(y_ask[answers == y_ask], minlength=classes)
        all_rows += np.bincount(y_ask, minlength=classes)
    hits, rows = all_hits[present], all_rows[present]
    if len(present) == 2:
        (k1, k0), (n1, n0) = (int(h) for h in hits), (int(r) for r in rows)
        ends: Ends = functools.partial(difference_interval, k1, n1, n0 - k0, n0)
        value = k1 / n1 + k0 / n0 - 1
    else:
        chance = 1 / len(present)
        value = (float(np.mean(hits / rows)) - chance) / (1 - chance)
        ends = functools.partial(_mean_recall, hits, rows)
    shown = ", ".join(f"{h / r:.3g}" for h, r in list(zip(hits, rows, strict=True))[:5])
    return Effect(scope=scope, value=value, n=n, ends=ends, detail=f"recalls of the classes {shown}")


def _mean_recall(hits: NDArray[np.int64], rows: NDArray[np.int64], tails: Tails) -> tuple[float, float]:
    """Return the interval of the mean of independent rates, less chance, over what is left of 1.

    Source: MOVER, Zou and Donner 2008, Statistics in Medicine 27:1693, from Wilson limits.
    """
    rates = hits / rows
    ends = np.array([wilson(int(h), int(r), tails) for h, r in zip(hits, rows, strict=True)])
    below = float(np.sqrt(np.sum((rates - ends[:, 0]) ** 2)))
    above = float(np.sqrt(np.sum((ends[:, 1] - rates) ** 2)))
    k, total = len(rates), float(rates.sum())
    low, high = ((total + d) / k for d in (-below, above))
    return (low - 1 / k) / (1 - 1 / k), (min(1.0, high) - 1 / k) / (1 - 1 / k)


def _learned(parts: Codes, y: Codes, classes: int, present: Codes, most: int) -> Codes:
    """Return the class that each part answers."""
    counts = np.bincount(parts * classes + y, minlength=most * classes).reshape(most, classes)
    of_class = np.maximum(1, np.bincount(y, minlength=classes))
    share = np.full((most, classes), -1.0)
    share[:, present] = (counts / of_class)[:, present]
    return np.asarray(share.argmax(axis=1))


def _parts(learn: Any, ask: Any) -> tuple[Codes, Codes]:
    """Return the part of every row: quantile bins of numbers and times, categories as they are."""
    import pandas as pd

    if kind_of(learn) == "categories":
        joined = pd.concat([learn, ask], ignore_index=True).astype(object)
        codes, _ = pd.factorize(joined.where(joined.isna(), joined.map(str)))
        both = np.asarray(codes, np.intp) + 1
        return both[: len(learn)], both[len(learn) :]
    if kind_of(learn) == "times":
        learn, ask = (pd.to_datetime(s, utc=True).astype("int64").where(s.notna()) for s in (learn, ask))
    a, b = numbers(learn), numbers(ask)
    known = a[np.isfinite(a)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1])) if len(known) else known
    cut = [
        np.where(np.isnan(v), 0, 1 + np.searchsorted(edges, v, side="left")).astype(np.intp) for v in (a, b)
    ]
    return cut[0], cut[1]


def time_overlap(tables: Tables, columns: tuple[str, ...]) -> Iterator[Count]:
    """Yield, for every declared time, the test rows that are not later than the latest row of train."""
    import pandas as pd

    rows = len(tables["test"])
    for column in columns:
        scope = f"column {column}"
        if "train" not in tables:
            why = "no training table was given: give Dataset(train=...) or [data] train"
            yield Count(scope=scope, count=None, n=rows, detail=why)
            continue
        train, test = (_times(tables[role][column]) for role in ("train", "test"))
        if isinstance(train, str) or isinstance(test, str):
            why = next(t for t in (train, test) if isinstance(t, str))
            yield Count(scope=scope, count=None, n=rows, detail=why)
            continue
        aware = [getattr(t.dtype, "tz", None) is not None for t in (train, test)]
        if aware[0] != aware[1]:
            why = "one table's times have a time zone and the other's have none: which is earlier is unknown"
            yield Count(scope=scope, count=None, n=rows, detail=why)
            continue
        if train.isna().all() or test.isna().any():
            why = (
                f"{int(test.isna().sum()):,} test rows and {int(train.isna().sum()):,} of train have no time"
            )
            yield Count(scope=scope, count=None, n=rows, detail=why)
            continue
        last = train.max()
        early = int((test <= last).sum())
        shown = last.isoformat() if isinstance(last, pd.Timestamp) else f"{last:g}"
        yield Count(scope=scope, count=early, n=rows, detail=f"train reaches to {shown}")


def _times(series: Any) -> Any:
    """Return a column as times or numbers, or why it is neither."""
    import pandas as pd

    if kind_of(series) != "categories":
        return series
    try:
        return pd.to_datetime(series, errors="raise", format="ISO8601")
    except (ValueError, TypeError) as error:
        return f"cannot be read as times (ISO 8601, all with a zone or all without): {str(error)[:160]}"
