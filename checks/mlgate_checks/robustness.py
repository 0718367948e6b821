"""Whether the release artifact answers to changed inputs as it should, with the smallest counterexample."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from pytest_mlgate.candidate.model import positive_scores
from pytest_mlgate.contract import AtMost, ColumnNames, check
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Cell, Findings, Grade, Interval, Measurement, Table
from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import clopper_pearson
from pytest_mlgate.subject import Subject

from ._counterexample import Change, smallest_change
from ._metamorphic import Relation, Sweep, column_of, sweep


@check("robustness")
def robustness(
    subject: Subject,
    *,
    increasing: ColumnNames = (),
    decreasing: ColumnNames = (),
    invariant: ColumnNames = (),
    max_violation_rate: AtMost = None,
    tolerance: float = 0.01,
    pairs: int = 20_000,
) -> Findings:
    """Share of changes to one column that move the model the wrong way, with the smallest counterexample.

    Raising a column named in `increasing` must not lower the probability of the positive class by more than
    `tolerance` (a difference of probabilities); in `decreasing`, must not raise it; changing one named in
    `invariant` must not move it. `pairs` random changes of test rows are tried for each relation, so that
    the smallest bound that can be met is about 3.7 / pairs. Binary models only.

    Raises:
        CheckError: no relation is named, a column is named in contradictory ways or holds no numbers, the
            tolerance is not in 0 to 1, or the model is not binary.
        MissingExtra: Hypothesis is not installed.
    """
    relations = _relations(increasing, decreasing, invariant)
    if not 0 <= tolerance < 1:
        raise CheckError(f"tolerance={tolerance:g} is outside 0 to 1: it is a difference of probabilities")
    if pairs < 1:
        raise CheckError(f"pairs={pairs} is not a number of changes to try")
    tails = subject.levels.split(len(relations)).tails("<=")
    bound = None if max_violation_rate is None else "max_violation_rate"
    measurements: list[Measurement] = []
    examples: list[tuple[Cell, ...]] = []
    for position, relation in enumerate(relations):
        seed = subject.seed * len(relations) + position
        found, example = _measure(subject, relation, tails, tolerance, pairs, seed)
        measurements.append(dataclasses.replace(found, bound=bound))
        examples += example
    return Findings(
        measurements=tuple(measurements),
        tables=(
            Table(
                title="Counterexamples",
                columns=("relation", "row", "from", "to", "p before", "p after", "found by"),
                rows=tuple(examples),
                note="rows of the test table, counted from 0; the other columns of the row stay as they are",
            ),
        ),
        assumptions={
            "violation": f"the probability moves the wrong way by more than {tolerance:g}",
            "rate": "over changes of the rows of this test table; the interval is for the draw of changes, "
            "not for the draw of rows",
            "new values": "drawn as often as they occur in the test and training table",
        },
        not_covered=(
            "changes of several columns at once, and columns that stand in for one another",
            "values outside the range that occurs in the data",
        ),
    )


def _relations(
    increasing: tuple[str, ...], decreasing: tuple[str, ...], invariant: tuple[str, ...]
) -> list[Relation]:
    named: dict[Literal["increasing", "decreasing", "invariant"], tuple[str, ...]] = {
        "increasing": increasing,
        "decreasing": decreasing,
        "invariant": invariant,
    }
    relations = [Relation(kind, name) for kind, names in named.items() for name in dict.fromkeys(names)]
    if not relations:
        raise CheckError(
            "no relation was named: give columns as increasing=[...], decreasing=[...] or invariant=[...]"
        )
    columns = [relation.column for relation in relations]
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        kinds = " and ".join(r.kind for r in relations if r.column == twice)
        raise CheckError(f"column {twice!r} is named as {kinds}: one relation per column")
    return relations


def _measure(
    subject: Subject, relation: Relation, tails: Tails, tolerance: float, pairs: int, seed: int
) -> tuple[Measurement, list[tuple[Cell, ...]]]:
    model, frame = subject.release, subject.data.tables["test"]
    column = column_of(subject.data, relation)
    before = positive_scores(subject.scores())
    swept = sweep(model, frame, before, relation, column, pairs, seed)
    measured = Measurement(
        metric="violation_rate",
        value=None,
        unit="",
        n=pairs,
        interval=None,
        method=f"{pairs:,} random changes of one column of one row; Clopper-Pearson interval, failing side "
        "divided over the relations; Hypothesis for the smallest change",
        grade=Grade.MISSING,
        scope=relation.name,
        detail=f"no test row allows the change: column {relation.column!r} has no "
        f"{'other' if relation.kind == 'invariant' else 'greater'} value for any of them",
    )
    if swept is None:
        return dataclasses.replace(measured, n=0), []
    change = smallest_change(model, frame, before, relation, column, swept, tolerance, seed)
    violations = int(np.sum(swept.harm > tolerance))
    low, high = clopper_pearson(violations, pairs, tails)
    measured = dataclasses.replace(
        measured,
        value=violations / pairs,
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        grade=Grade.MEASURED,
        detail=_detail(subject, relation, change, swept, violations),
    )
    if change is None:
        return measured, []
    by = "sweep, shrunk by Hypothesis" if violations else "Hypothesis alone"
    values = (change.row, change.before_value, change.after_value, change.before, change.after)
    return measured, [(relation.name, *values, by)]


def _detail(
    subject: Subject, relation: Relation, change: Change | None, swept: Sweep, violations: int
) -> str:
    if change is not None and violations:
        return f"{change.describe(relation.column)}; {violations:,} of {len(swept.rows):,} changes violate"
    if change is not None:
        return f"no random change violates, but Hypothesis found one: {change.describe(relation.column)}"
    if relation.column not in subject.data.feature_names:
        return f"holds trivially: the model does not read column {relation.column!r}"
    return f"no violation among {len(swept.rows):,} changes; Hypothesis found none either"
