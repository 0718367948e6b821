"""Columns that say nothing, that changed between the tables, and groups that are not there in their share."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pytest_mlgate.evidence import Cell, Table
from pytest_mlgate.statistics import absolute_interval, clopper_pearson, difference_interval

from ._faults import Count
from ._quality_measures import Effect
from ._quality_tables import Tables, categories, finite, kind_of, of_kind

#: A column that varies in training may be constant in a test table this improbably, and no less.
_BY_CHANCE = 1e-3


def constant(tables: Tables, columns: list[str]) -> Effect:
    """Return how many columns hold one value, or none at all, in every row of a table.

    A flag that is rare in training may be absent from a small test table: what chance explains (a
    probability of 0.001 or more of drawing the most frequent value only) is not counted.
    """
    found = []
    for column in columns:
        single = {role: _is_single(t[column]) for role, t in tables.items()}
        if "train" in single and not single["train"] and single["test"]:
            values = tables["test"][column].dropna()
            known = tables["train"][column].dropna()
            # Of a value that training never shows, one row more is allowed for.
            share = (int((known == values.iloc[0]).sum()) + 1) / (len(known) + 1) if len(values) else 0.0
            single["test"] = share ** len(values) < _BY_CHANCE or not len(values)
        where = [role for role, alone in single.items() if alone]
        found += [f"{column} ({' and '.join(where)})"] * bool(where)
    n = min(len(t) for t in tables.values())
    return Effect(scope="", value=float(len(found)), n=n, detail=_listed(found))


def dominant(tables: Tables, columns: list[str]) -> Iterator[Count]:
    """Yield, for every column of every table, the cells that hold its most frequent value."""
    for role, table in tables.items():
        for column in columns:
            counts = table[column].value_counts(dropna=True)
            scope = f"column {column} ({role})"
            n = int(counts.sum())
            if not n:
                yield Count(scope=scope, count=None, n=len(table), detail="no values at all")
                continue
            yield Count(scope=scope, count=int(counts.iloc[0]), n=n, detail=f"value {counts.index[0]!r}")


def missing_change(tables: Tables, columns: list[str]) -> Iterator[Effect]:
    """Yield, for every column, how far the shares of empty cells of train and test are apart."""
    if "train" not in tables:
        yield _no_train("", len(tables["test"]))
        return
    train, test = tables["train"], tables["test"]
    for column in columns:
        before, after = int(train[column].isna().sum()), int(test[column].isna().sum())
        change = functools.partial(difference_interval, after, len(test), before, len(train))
        yield Effect(
            scope=f"column {column}",
            value=abs(after / len(test) - before / len(train)),
            n=min(len(train), len(test)),
            ends=functools.partial(absolute_interval, change),
            detail=f"{before / len(train):.3g} of train and {after / len(test):.3g} of test are empty",
        )


def unseen(tables: Tables, columns: list[str]) -> Iterator[Count]:
    """Yield, for every column of categories, the test cells whose category training never shows."""
    if "train" not in tables:
        yield Count(scope="", count=None, n=len(tables["test"]), detail=_NO_TRAIN)
        return
    for column in columns:
        if not any(kind_of(t[column]) == "categories" for t in tables.values()):
            continue
        seen, met = categories(tables["train"][column]), categories(tables["test"][column])
        scope = f"column {column} (test)"
        if not len(met):
            yield Count(scope=scope, count=None, n=len(tables["test"]), detail="no values at all")
            continue
        new = met[~met.index.isin(seen.index)]
        listed = _listed([f"{name!r} {count:,} times" for name, count in new.head(5).items()], len(new))
        yield Count(scope=scope, count=int(new.sum()), n=int(met.sum()), detail=listed, table="test")


def mixed(tables: Tables, columns: list[str]) -> Iterator[Count]:
    """Yield, for every column of Python objects, the cells of a type that few of its cells have."""
    for role, table in tables.items():
        for column in columns:
            if table[column].dtype != object:
                continue
            counts = table[column].dropna().map(_type).value_counts()
            n = int(counts.sum())
            few = n - int(counts.max()) if n else 0
            detail = ", ".join(f"{count:,} {name}" for name, count in counts.items()) if few else ""
            scope = f"column {column} ({role})"
            if n:
                yield Count(scope=scope, count=few, n=n, detail=detail, table=role)


def class_shares(tables: Tables, label: str) -> Iterator[Count]:
    """Yield, for every table, the rows of the rarest of the label's classes."""
    every = {role: categories(t[label]) for role, t in tables.items()}
    names = sorted({name for counts in every.values() for name in counts.index})
    for role, counts in every.items():
        rows = {name: int(counts.get(name, 0)) for name in names}
        rarest = min(names, key=lambda name: rows[name])
        detail = f"class {rarest} is the rarest of {len(names):,}"
        yield Count(scope=f"{role} table", count=rows[rarest], n=int(counts.sum()), detail=detail)


def representation(tables: Tables, population: Mapping[str, Mapping[str, float]]) -> Iterator[Effect]:
    """Yield, for every declared group and table, how far its share is from that in the population."""
    for role, table in tables.items():
        for column, shares in population.items():
            counts = categories(table[column])
            n = int(counts.sum())
            undeclared = n - int(sum(counts.get(str(g), 0) for g in shares))
            for group, share in shares.items():
                scope = f"{column}={group} ({role})"
                if not n:
                    yield Effect(scope=scope, value=None, n=0, detail=f"{column} is empty in {role}")
                    continue
                k = int(counts.get(str(group), 0))
                aside = f"; {undeclared:,} rows are in no declared group" if undeclared else ""

                def apart(tails: Any, k: int = k, n: int = n, share: float = share) -> tuple[float, float]:
                    low, high = clopper_pearson(k, n, tails)
                    return low - share, high - share

                yield Effect(
                    scope=scope,
                    value=abs(k / n - share),
                    n=n,
                    ends=functools.partial(absolute_interval, apart),
                    detail=f"{k / n:.3g} of the table, {share:.3g} of the population{aside}",
                )


def ranges(tables: Tables, columns: list[str]) -> Table | None:
    """Return the numeric columns of test with values outside of training's range, farthest first.

    A range seen in n rows is left by about 2 of n new ones, so this is told and not judged: declare a
    schema for that. How far is in interquartile ranges of training (standard deviations where that is 0).
    """
    if "train" not in tables:
        return None
    rows: list[tuple[Cell, ...]] = []
    for column in of_kind(tables, columns, "numbers"):
        train, test = finite(tables["train"][column]), finite(tables["test"][column])
        if not len(train) or not len(test):
            continue
        low, high = float(train.min()), float(train.max())
        outside = int(np.sum((test < low) | (test > high)))
        quarter, three_quarters = np.quantile(train, [0.25, 0.75])
        spread = float(three_quarters - quarter) or float(train.std()) or 1.0
        far = max(low - float(test.min()), float(test.max()) - high) / spread
        if outside:
            seen = (low, high, float(test.min()), float(test.max()))
            rows.append((column, *(float(f"{v:.6g}") for v in seen), outside, float(f"{far:.3g}")))
    rows.sort(key=lambda row: -float(row[-1] or 0))
    return Table(
        title="Values outside of the range in training",
        columns=("column", "train from", "train to", "test from", "test to", "cells outside", "how far"),
        rows=tuple(rows[:_MOST_SHOWN]),
        note="for information: a few new values beyond any range are normal. how far: beyond the range, in "
        "interquartile ranges of training",
    )


_MOST_SHOWN = 30
_NO_TRAIN = "no training table was given: give Dataset(train=...) or [data] train"


def _no_train(scope: str, n: int) -> Effect:
    return Effect(scope=scope, value=None, n=n, detail=_NO_TRAIN)


def _is_single(series: Any) -> bool:
    return all(int(part.nunique(dropna=True)) <= 1 for part in (series.iloc[:1000], series))


def _type(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "flags"
    if isinstance(value, int | float | np.number):
        return "numbers"
    return "texts" if isinstance(value, str) else f"{type(value).__name__} objects"


def _listed(names: list[str], of: int | None = None) -> str:
    """Return the first names, and how many more there are."""
    more = (len(names) if of is None else of) - 5
    return ", ".join(names[:5]) + (f" and {more:,} more" if more > 0 else "")
