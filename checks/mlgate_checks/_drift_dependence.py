"""How the dependence between columns changed: rank correlations of all pairs, in two tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.evidence import Cell, Interval, Measurement, Table
from pytest_mlgate.levels import Levels
from pytest_mlgate.statistics.dependence import (
    FEWEST_ROWS,
    RankCorrelations,
    correlation_change,
    rank_correlations,
)

from ._comparison import with_values
from ._drift_columns import Pair
from ._drift_family import missing

#: More rows than these narrow an interval of +-0.02 no further than anybody needs.
MOST_ROWS = 50_000
#: The pairs of more variables than these are too many to be read, let alone judged at once.
MOST_VARIABLES = 200
#: A category takes part as a flag if the reference has it in this share of rows, and only the most frequent.
LEAST_SHARE = 0.05
MOST_LEVELS = 5
#: What differs in fewer rows than this share has no correlation whose error could be trusted.
RARE = 0.005
#: Pairs that are measurements of their own; all others are one together.
NAMED = 5
SHOWN = 15

_METHOD = (
    "largest absolute change of Spearman's rank correlation over all pairs; Fisher's z with the jackknife "
    "error of each pair, judged at once over {pairs:,} pairs"
)


@dataclass(slots=True, eq=False)
class Variables:
    """The numbers of a sample of rows of either table, collected column by column."""

    rows: tuple[NDArray[np.intp], NDArray[np.intp]]
    seed: int
    names: list[str] = field(default_factory=list)
    #: Which column a variable comes from: flags of one column exclude each other, which is no dependence.
    sources: list[str] = field(default_factory=list)
    reference: list[NDArray[np.float64]] = field(default_factory=list)
    current: list[NDArray[np.float64]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    went_flat: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def add(self, pair: Pair) -> None:
        """Take a column in: as it is, or a flag for each of its frequent categories."""
        sampled = pair.take(*self.rows)
        first, second = with_values(sampled.reference), with_values(sampled.current)
        if pair.kind in ("numeric", "datetime", "boolean", "ordinal"):
            self._append(pair.name, pair.name, first, second)
            return
        if pair.kind == "text":
            self.left_out.append(f"{pair.name} (prose)")
            return
        counts = np.bincount(
            sampled.reference.cells[sampled.reference.present], minlength=len(pair.reference.levels)
        )
        order = np.argsort(-counts, kind="stable")
        frequent = [i for i in order[:MOST_LEVELS] if counts[i] >= LEAST_SHARE * len(first)]
        if len(frequent) == 2 == np.count_nonzero(counts):
            frequent = frequent[:1]
        rare = np.count_nonzero(counts) - len(frequent)
        if rare > 0 and len(frequent) != 1:
            self.left_out.append(f"{rare:,} rarer categories of {pair.name}")
        for i in frequent:
            name = f"{pair.name}={pair.reference.levels[i]}"
            flags = (np.where(np.isnan(v), np.nan, v == i) for v in (first, second))
            self._append(name, pair.name, *flags)

    def _append(
        self, name: str, source: str, first: NDArray[np.float64], second: NDArray[np.float64]
    ) -> None:
        if not all(_varies(v, 0.0) for v in (first, second)):
            # A flag that vanished is a shift of its column; a column that went flat has lost its dependence.
            went_flat = name == source and any(_varies(v, 0.0) for v in (first, second))
            lost = self.went_flat if went_flat else self.left_out
            lost.append(f"{name} (the same in all rows of a table)")
            return
        if not all(_varies(v, RARE) for v in (first, second)):
            self.left_out.append(f"{name} (nearly the same in all rows of a table)")
            return
        self.names.append(name)
        self.sources.append(source)
        self.reference.append(first)
        self.current.append(second)


def sample_rows(counts: tuple[int, int], seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of either table that stand for it: all, or a random draw in their order."""
    rng = np.random.default_rng(seed)
    drawn = [
        np.arange(n) if n <= MOST_ROWS else np.sort(rng.choice(n, MOST_ROWS, replace=False)) for n in counts
    ]
    return drawn[0].astype(np.intp), drawn[1].astype(np.intp)


def dependence(
    variables: Variables, bound: str, levels: Levels, roles: tuple[str, str]
) -> tuple[list[Measurement], Table | None]:
    """Return the change of the worst pairs, then of all others together, and a table of the worst."""
    metric, p = "dependence_shift", len(variables.names)
    rows = min(len(r) for r in variables.rows)
    reason = ""
    if p < 2:
        reason = "fewer than two columns vary in both tables"
    elif p > MOST_VARIABLES:
        reason = f"{p:,} columns make {p * (p - 1) // 2:,} pairs; name at most {MOST_VARIABLES} with columns="
    elif rows < FEWEST_ROWS:
        reason = f"{rows} rows in the smaller table; at least {FEWEST_ROWS} are needed"
    if reason:
        return [missing(metric, "", bound, reason, rows, "none: no pairs to compare")], None
    first = rank_correlations(np.column_stack(variables.reference), variables.seed)
    second = rank_correlations(np.column_stack(variables.current), variables.seed)
    one, other = np.triu_indices(p, 1)
    apart = np.asarray(
        [variables.sources[i] != variables.sources[j] for i, j in zip(one, other, strict=True)]
    )
    finite = [np.isfinite(c.value) & np.isfinite(c.error) for c in (first, second)]
    known = (finite[0] & finite[1])[one, other]
    unknown = apart & ~known
    one, other = one[apart & known], other[apart & known]
    if not len(one):
        return [missing(metric, "", bound, "no pair has rows enough with both values", rows, "none")], None
    return _report(variables, first, second, (one, other), int(unknown.sum()), bound, levels, roles)


def _report(
    variables: Variables,
    first: RankCorrelations,
    second: RankCorrelations,
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
    unknown: int,
    bound: str,
    levels: Levels,
    roles: tuple[str, str],
) -> tuple[list[Measurement], Table]:
    tails = levels.split(len(pairs[0])).tails("<=")
    change = correlation_change(first, second, tails)
    value, low, high = (part[pairs] for part in (change.value, change.low, change.high))
    order = np.argsort(-value, kind="stable")
    names = [f"{variables.names[pairs[0][k]]} and {variables.names[pairs[1][k]]}" for k in order[:SHOWN]]
    before, after = first.value[pairs][order], second.value[pairs][order]
    value, low, high = value[order], low[order], high[order]
    named = min(NAMED, len(value))
    groups = [(names[k], slice(k, k + 1)) for k in range(named)]
    if len(value) > named:
        groups.append((f"the other {len(value) - named:,} pairs", slice(named, None)))
    found = [
        Measurement(
            metric="dependence_shift",
            value=float(value[part].max()),
            unit="",
            n=min(first.rows, second.rows),
            interval=Interval(
                low=float(low[part].max()), high=float(high[part].max()), confidence=tails.confidence
            ),
            method=_METHOD.format(pairs=len(value)),
            scope=scope,
            bound=bound,
            detail=f"largest: {names[part.start] if part.start < len(names) else scope}, rank correlation "
            f"{before[part.start]:.3f} in {roles[0]}, {after[part.start]:.3f} in {roles[1]}",
        )
        for scope, part in groups
    ]
    if lost := (*variables.went_flat, *variables.unreadable):
        reason = f"dependence on the others cannot be taken: {', '.join(lost)}"
        found.append(missing("dependence_shift", "columns without dependence", bound, reason, 0, "none"))
    if unknown:
        reason = f"{unknown:,} pairs have too few rows with both values, or values too much alike"
        found.append(missing("dependence_shift", "pairs seldom present together", bound, reason, 0, "none"))
    rows: list[tuple[Cell, ...]] = [
        (names[k], *(round(float(v[k]), 4) for v in (before, after, value, low, high)))
        for k in range(len(names))
    ]
    note = f"rank correlations on {first.rows:,} rows of {roles[0]} and {second.rows:,} of {roles[1]}"
    return found, Table(
        title="Change of dependence between columns",
        columns=("pair", roles[0], roles[1], "change", "low", "high"),
        rows=tuple(rows),
        note=f"{note}; a category takes part as a flag; the {len(rows)} pairs that changed most of "
        f"{len(value):,}",
    )


def _varies(values: NDArray[np.float64], aside: float) -> bool:
    """Return whether values differ when this share of the smallest and of the largest is set aside."""
    present = values[~np.isnan(values)]
    if not len(present):
        return False
    low, high = np.quantile(present, (aside, 1 - aside))
    return bool(low < high)
