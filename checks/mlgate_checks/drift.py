"""How far the rows that a model meets have moved from those it was trained on: columns, label, predictions.

A detector that asks "is there any difference" says yes to every large sample. Here alibi-detect's corrected
tests are reported beside the effects, and the effects, with simultaneous intervals, are what a bound is
compared with.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from pytest_mlgate.contract import AtMost, ColumnNames, check
from pytest_mlgate.errors import CheckError, MissingExtra
from pytest_mlgate.evidence import Cell, Findings, Grade, Interval, Measurement, Table
from pytest_mlgate.levels import Levels
from pytest_mlgate.statistics import kolmogorov_smirnov_interval, total_variation_interval
from pytest_mlgate.subject import Subject

from ._comparison import Comparison, compare_column, compare_labels, compare_predictions

#: alibi-detect counts every category in every row; beyond this many comparisons its test is left out.
LARGEST_CONTINGENCY_WORK = 200_000_000


@check("drift")
def drift(
    subject: Subject,
    *,
    max_shift: AtMost = None,
    max_label_shift: AtMost = None,
    max_prediction_shift: AtMost = None,
    columns: ColumnNames = (),
) -> Findings:
    """Shift of columns, label and predictions between the training table and the current one.

    All three bounds are distances from 0 (same distribution) to 1 (nothing in common): Kolmogorov-Smirnov
    for numbers and scores, total variation for categories, flags, codes and labels. `max_shift` holds for
    each of `columns` (by default all features) and for the change in its share of missing values. The
    current table is `current` where it is given, else `test`.

    Raises:
        CheckError: no training table, infinite values, a column of numbers in one table and text in the
            other, or a bound that is no distance.
        MissingExtra: alibi-detect is not installed.

    Source: alibi-detect `TabularDrift` for the tests; the intervals are those of `pytest_mlgate.statistics`.
    """
    data = subject.data
    subject.require_train("drift")
    role = "current" if "current" in data.tables else "test"
    measurements: list[Measurement] = []
    rows: list[tuple[Cell, ...]] = []
    bounds = {
        "max_shift": max_shift,
        "max_label_shift": max_label_shift,
        "max_prediction_shift": max_prediction_shift,
    }
    for parameter, value in bounds.items():
        if value is not None and not 0 <= value < 1:
            raise CheckError(f"{parameter}={value:g} is not a distance from 0 to below 1")

    def measure(comparisons: Iterable[Comparison], metric: str, bound: str) -> None:
        found, listed = _measure(list(comparisons), metric, bound, role, subject.levels)
        measurements.extend(found)
        rows.extend(listed)

    if max_shift is not None:
        names = dict.fromkeys(columns or data.feature_names)
        compared = (c for name in names for c in compare_column(data, name, role))
        measure(compared, "shift", "max_shift")
    if max_label_shift is not None:
        measure([compare_labels(data, role)], "label_shift", "max_label_shift")
    if max_prediction_shift is not None:
        measure(compare_predictions(subject, role), "prediction_shift", "max_prediction_shift")
    return Findings(
        measurements=tuple(measurements),
        tables=(_table(rows, subject.levels.fail),) if rows else (),
        assumptions={
            "reference": f"the train table, {len(data.tables['train']):,} rows",
            "current": f"the {role} table, {len(data.tables[role]):,} rows",
            "rows": "independent draws; repeated rows of one person or one day make the intervals too short",
            "predictions": "scores of the release artifact; on rows it was trained on they can be more "
            "extreme than on new ones",
        },
        not_covered=(
            "dependence between columns: each column is compared for itself",
            "tails: a fault in 1% of the rows moves these distances by 0.01 at most (see data_quality)",
            "slices: a shift within one group of rows only is diluted by the other rows",
        ),
    )


def _measure(
    comparisons: list[Comparison], metric: str, bound: str, role: str, levels: Levels
) -> tuple[list[Measurement], list[tuple[Cell, ...]]]:
    """Return the measurements of one family, worst first, and their rows for the table."""
    family = sum(not c.problem for c in comparisons)
    tails = levels.split(family).tails("<=")
    tests = _test(comparisons, levels.fail)
    found: list[tuple[float, Measurement, tuple[Cell, ...]]] = []
    for c, test in zip(comparisons, tests, strict=True):
        n = min(len(c.reference), len(c.current))
        if c.problem:
            m = Measurement(
                metric=metric,
                value=None,
                unit="",
                n=n,
                interval=None,
                method=_METHODS[c.kind],
                grade=Grade.MISSING,
                scope=c.scope,
                bound=bound,
                detail=c.problem,
            )
            found.append((2.0, m, (c.scope, c.kind, None, None, None, None, c.problem)))
            continue
        if c.kind == "numeric":
            value, (low, high) = kolmogorov_smirnov_interval(c.reference, c.current, tails)
            _require_agreement(c.scope, value, test)
        else:
            value, (low, high) = total_variation_interval(c.counts(c.reference), c.counts(c.current), tails)
        p = None if test is None else min(1.0, test[0] * family)
        m = Measurement(
            metric=metric,
            value=value,
            unit="",
            n=n,
            interval=Interval(low=low, high=high, confidence=tails.confidence),
            method=_METHODS[c.kind],
            scope=c.scope,
            bound=bound,
            detail=c.what_moved(role),
        )
        drifted = "not tested" if p is None else "yes" if p < levels.fail else "no"
        shown = tuple(round(v, 4) for v in (value, low, high))
        found.append((value, m, (c.scope, c.kind, *shown, None if p is None else float(f"{p:.3g}"), drifted)))
    found.sort(key=lambda item: -item[0])
    return [m for _, m, _ in found], [row for _, _, row in found]


_METHODS = {
    "numeric": "Kolmogorov-Smirnov distance of the values that are present; simultaneous interval",
    "categorical": "total variation distance of the categories; simultaneous interval",
    "not compared": "none: one of the two samples is empty",
}


def _test(comparisons: list[Comparison], level: float) -> list[tuple[float, float] | None]:
    """Return the p-value and the statistic that alibi-detect finds for every comparison it can test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries below warn of their own deprecations
        try:
            from alibi_detect.cd import TabularDrift
        except ImportError:
            raise MissingExtra("alibi-detect", "drift") from None
        # It takes one matrix; columns with missing values have fewer rows, so each shape is a matrix.
        shapes: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, c in enumerate(comparisons):
            work = len(c.categories) * (len(c.reference) + len(c.current))
            if not c.problem and work <= LARGEST_CONTINGENCY_WORK:
                shapes[len(c.reference), len(c.current)].append(i)
        results: list[tuple[float, float] | None] = [None] * len(comparisons)
        for members in shapes.values():
            chosen = [comparisons[i] for i in members]
            codes: dict[int, int | None] = {
                j: len(c.categories) for j, c in enumerate(chosen) if c.kind == "categorical"
            }
            detector = TabularDrift(
                np.stack([c.reference for c in chosen], axis=1), p_val=level, categories_per_feature=codes
            )
            p_values, statistics = detector.score(np.stack([c.current for c in chosen], axis=1))
            for i, p, statistic in zip(members, p_values, statistics, strict=True):
                results[i] = float(p), float(statistic)
    return results


def _require_agreement(scope: str, distance: float, test: tuple[float, float] | None) -> None:
    # alibi-detect keeps its statistics in 32 bits.
    if test is not None and abs(distance - test[1]) > 1e-6:
        raise CheckError(
            f"{scope}: two computations of one Kolmogorov-Smirnov distance disagree ({distance:.7f} here, "
            f"{test[1]:.7f} in alibi-detect): neither can be trusted, report this"
        )


def _table(rows: list[tuple[Cell, ...]], level: float) -> Table:
    return Table(
        title="Shift against the training table",
        columns=("what", "kind", "effect", "low", "high", "corrected p", "drifted"),
        rows=tuple(rows),
        note="effect: Kolmogorov-Smirnov distance (numeric) or total variation (categorical) with its "
        "simultaneous interval, which the bound is compared with. corrected p: alibi-detect TabularDrift "
        f"(KS or chi-squared), Bonferroni over the family; drifted: corrected p below {level:.3g}. With many "
        "rows a negligible effect is detected, too",
    )
