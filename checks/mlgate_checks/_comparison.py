"""The comparison of one quantity in two tables: its distance, its extremes, and what can be drawn of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.evidence import Chart, Series
from pytest_mlgate.statistics.extremes import ExtremeShare, extreme_share
from pytest_mlgate.statistics.shift import Distance, TotalVariation, kolmogorov_smirnov

from ._drift_columns import Column, Pair
from ._drift_text import text_properties

Floats = NDArray[np.float64]

#: Whole numbers with at most this many distinct values are codes, not amounts.
LARGEST_CODE_SET = 10
#: With fewer rows than this for each category, chance alone keeps two samples of one source apart.
FEWEST_ROWS_PER_CATEGORY = 10
#: Bins of a drawn histogram, categories of a drawn bar chart.
BINS = 40
BARS = 12
#: A histogram is drawn between these shares of the rows; what lies beyond is said in words.
DRAWN = (0.005, 0.995)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """What was found of one quantity; it holds none of the rows."""

    scope: str
    kind: str
    #: Rows with a value in the table that has fewer of them.
    rows: int
    #: The column whose values these are; empty for a missing share, a property of prose, a label, a score.
    column: str = ""
    distance: Distance | None = None
    extremes: ExtremeShare | None = None
    #: Wasserstein distance over the standard deviation of the reference.
    in_sigmas: float | None = None
    #: Why the two cannot be compared; empty if they can.
    problem: str = ""
    #: What moved, for a person to read.
    moved: str = ""
    sketch: Chart | None = None


def not_compared(scope: str, problem: str, rows: int = 0) -> Comparison:
    """Return a comparison that could not be made."""
    return Comparison(scope=scope, kind="not compared", rows=rows, problem=problem)


def compare(pair: Pair, roles: tuple[str, str], seed: int) -> Iterator[Comparison]:
    """Yield the comparison of a column's values (of prose: of its properties) and of its missing share."""
    scope = f"column {pair.name}"
    present = pair.reference.present, pair.current.present
    counts = [int(p.sum()) for p in present]
    if all(counts) and pair.kind == "text":
        for name, first, second in text_properties(pair, seed):
            yield compare_numbers(f"{scope}: {name}", first, second, roles, kind="text")
    else:
        yield replace(compare_values(pair, scope, roles), column=pair.name)
    missing = [len(p) - k for p, k in zip(present, counts, strict=True)]
    if any(missing):
        tallies = [np.asarray([k, m]) for k, m in zip(counts, missing, strict=True)]
        yield of_counts(f"{scope}: missing", "missing", tallies, ("present", "missing"), roles)


def compare_values(pair: Pair, scope: str, roles: tuple[str, str], note: str = "") -> Comparison:
    """Return the comparison of the values that are present."""
    empty = [
        role
        for role, c in zip(roles, (pair.reference, pair.current), strict=True)
        if not bool(c.present.any())
    ]
    if empty:
        return not_compared(scope, f"no values at all in the {' and the '.join(empty)} table")
    first, second = (c.cells[c.present] for c in (pair.reference, pair.current))
    if pair.reference.numbers is not None:
        return compare_numbers(scope, first, second, roles, kind=pair.kind, note=note)
    if pair.kind == "ordinal":
        first, second = first.astype(np.float64), second.astype(np.float64)
        return compare_numbers(scope, first, second, roles, kind="ordinal", note=note)
    levels = pair.reference.levels
    tallies = [np.bincount(v, minlength=len(levels)).astype(np.int64) for v in (first, second)]
    return of_counts(scope, pair.kind, tallies, levels, roles, note)


def compare_numbers(
    scope: str, reference: Floats, current: Floats, roles: tuple[str, str], *, kind: str, note: str = ""
) -> Comparison:
    """Return the comparison of two samples of numbers, none missing; few whole ones are codes."""
    first, second = np.sort(reference), np.sort(current)
    if kind == "numeric" and (codes := _as_codes(first, second)) is not None:
        tallies = [np.diff(np.searchsorted(v, np.append(codes, np.inf))) for v in (first, second)]
        return of_counts(scope, "codes", tallies, tuple(f"{c:g}" for c in codes), roles, note)
    found = kolmogorov_smirnov(first, second)
    with np.errstate(all="ignore"):  # a constant reference, or values near the largest number
        sigmas = np.float64(np.nan if found.wasserstein is None else found.wasserstein) / np.std(first)
    middles = [_shown(float(v[(len(v) - 1) // 2]), kind) for v in (first, second)]
    moved = f"median {middles[0]} in {roles[0]}, {middles[1]} in {roles[1]}"
    return Comparison(
        scope=scope,
        kind=kind,
        rows=min(len(first), len(second)),
        distance=found,
        extremes=extreme_share(first, second) if kind == "numeric" else None,
        in_sigmas=float(sigmas) if np.isfinite(sigmas) else None,
        moved="; ".join(part for part in (moved, note) if part),
        sketch=_histogram(scope, first, second, roles, kind),
    )


def with_values(c: Column) -> Floats:
    """Return a column as numbers, NaN where missing: codes of levels stand for themselves."""
    if c.numbers is not None:
        return c.numbers
    return np.where(c.cells < 0, np.nan, c.cells).astype(np.float64)


def _as_codes(first: Floats, second: Floats) -> Floats | None:
    """Return the distinct values of two sorted samples if they are few and whole."""
    found: set[float] = set()
    for values in (first, second):
        # A glance at the start spares most columns the full count.
        for part in (values[:1000], values):
            distinct = part[np.append(True, part[1:] != part[:-1])]
            if len(distinct) > LARGEST_CODE_SET:
                return None
        found.update(distinct.tolist())
    if len(found) > LARGEST_CODE_SET or any(v != np.floor(v) for v in found):
        return None
    return np.asarray(sorted(found))


def of_counts(
    scope: str,
    kind: str,
    tallies: list[NDArray[np.int64]],
    levels: tuple[str, ...],
    roles: tuple[str, str],
    note: str = "",
) -> Comparison:
    """Return the comparison of how often each level occurs in the two tables."""
    rows = min(int(t.sum()) for t in tallies)
    shares = [t / t.sum() for t in tallies]
    gaps = np.abs(shares[0] - shares[1])
    most = int(np.argmax(gaps))
    moved = f"{levels[most]!r} {shares[0][most]:.1%} of {roles[0]}, {shares[1][most]:.1%} of {roles[1]}"
    used = int(np.count_nonzero(tallies[0] + tallies[1]))
    unseen = int(tallies[1][tallies[0] == 0].sum())
    notes = (
        moved,
        note,
        f"{unseen:,} rows of {roles[1]} in categories that {roles[0]} does not have" if unseen else "",
        f"{used:,} categories in {rows:,} rows: part of this distance is chance"
        if used * FEWEST_ROWS_PER_CATEGORY > rows
        else "",
    )
    drawn = np.argsort(-gaps, kind="stable")[:BARS]
    names = tuple(levels[i][:40] for i in drawn)
    bars = tuple(
        Series(name=role, x=names, y=tuple(float(s[i]) for i in drawn))
        for role, s in zip(roles, shares, strict=True)
    )
    return Comparison(
        scope=scope,
        kind=kind,
        rows=rows,
        distance=TotalVariation(*tallies),
        moved="; ".join(n for n in notes if n),
        sketch=Chart(
            title=scope,
            kind="bars",
            x_label="category",
            y_label="share of rows",
            series=bars,
            note=f"the {BARS} categories that moved most, of {used:,}" if used > BARS else "",
        ),
    )


def _histogram(scope: str, first: Floats, second: Floats, roles: tuple[str, str], kind: str) -> Chart | None:
    ends = [[float(v[round(q * (len(v) - 1))]) for q in DRAWN] for v in (first, second)]
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    if not abs(high) + abs(low) < np.finfo(np.float64).max or high <= low:
        return None
    edges = np.linspace(low, high, BINS + 1)
    lines, outside = [], []
    for role, values in zip(roles, (first, second), strict=True):
        at = np.searchsorted(values, edges, side="left")
        at[-1] = np.searchsorted(values, high, side="right")
        shares = np.append(np.diff(at), 0) / len(values)
        lines.append(Series(name=role, x=tuple(edges.tolist()), y=tuple(shares.tolist())))
        outside.append(f"{1 - (at[-1] - at[0]) / len(values):.2%} of {role}")
    return Chart(
        title=scope,
        kind="steps",
        x_label="milliseconds since 1970" if kind == "datetime" else "value",
        y_label="share of rows",
        series=tuple(lines),
        note=f"not drawn: {' and '.join(outside)}, beyond either end",
    )


def _shown(value: float, kind: str) -> str:
    if kind == "datetime":
        return str(np.datetime64(round(value), "ms"))[:16]
    return f"{value:.4g}"
