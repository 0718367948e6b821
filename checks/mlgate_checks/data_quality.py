"""Faults of the tables themselves: rows that repeat or leak, broken columns, wrong cells, wrong labels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any

from pytest_mlgate.contract import Accepts, AtLeast, AtMost, Bound, ColumnNames, check
from pytest_mlgate.dataset import Dataset, Frame
from pytest_mlgate.errors import CheckError, MissingExtra
from pytest_mlgate.evidence import Findings, Grade, Measurement, Table
from pytest_mlgate.subject import Subject

from . import (
    _deepchecks,
    _faults,
    _quality_codes,
    _quality_columns,
    _quality_conditions,
    _quality_declared,
    _quality_labels,
    _quality_leaks,
    _quality_rows,
    _quality_spelling,
    _quality_units,
)
from ._quality_families import Family, Found, Once, nothing, of_effect, of_share
from ._quality_measures import Answer
from ._quality_tables import unlike_kinds

#: An estimate of a model, and content with that.
EstimatedAtMost = Annotated[float | None, Bound("<="), Accepts((Grade.MEASURED, Grade.ESTIMATED))]


# Evidence is not reused: `schema` and `serving` are files, and may change while their names do not.
@check("data_quality", reusable=False)
def data_quality(
    subject: Subject,
    *,
    max_failed_conditions: AtMost = None,
    max_duplicate_share: AtMost = None,
    max_leaked_share: AtMost = None,
    max_near_duplicate_share: AtMost = None,
    max_conflicting_share: AtMost = None,
    max_missing_share: AtMost = None,
    max_missing_change: AtMost = None,
    max_extreme_share: AtMost = None,
    max_sentinel_share: AtMost = None,
    max_unit_change_share: AtMost = None,
    max_mixed_type_share: AtMost = None,
    max_unseen_share: AtMost = None,
    max_misspelt_share: AtMost = None,
    max_dominant_share: AtMost = None,
    max_constant_columns: AtMost = 0,
    max_swapped_columns: AtMost = 0,
    max_predictive_power: AtMost = 0.99,
    max_order_power: AtMost = None,
    max_time_overlap_share: AtMost = None,
    max_label_disagreement_change: AtMost = None,
    max_label_error_share: EstimatedAtMost = None,
    min_label_signal: AtLeast = None,
    min_class_share: AtLeast = None,
    max_representation_gap: AtMost = None,
    max_invalid_share: AtMost = None,
    max_serving_skew_share: AtMost = None,
    time: ColumnNames = (),
    key: ColumnNames = (),
    population: dict[str, dict[str, float]] | None = None,
    schema: str = "",
    serving: str = "",
) -> Findings:
    """Faults of the test and training tables: rows, cells, columns and labels, counted or estimated.

    Three bounds are safe on any honest table and have defaults: no constant column, no two columns that
    changed places, and no column that alone gives the label away. All others are off until written. Shares
    are fractions of 1; one bounded by 0 speaks of these very rows and is exact, any other of the source
    they come from, and is judged by its interval.

    Args:
        subject: only its data is looked at, never the model.
        max_failed_conditions: conditions of deepchecks that fail, a warning being a failure; below 1 every
            condition is judged, and can be waived, by itself.
        max_duplicate_share: rows of a table that repeat an earlier one in features and label.
        max_leaked_share: rows of test that also occur in train (features and label).
        max_near_duplicate_share: rows that equal another row but for up to 1% of the spread of amounts,
            within each table and between test and train.
        max_conflicting_share: rows that equal another one of their table in all features but not in
            the label.
        max_missing_share: empty cells of each column.
        max_missing_change: how far a column's shares of empty cells in train and test are apart.
        max_extreme_share: cells of a numeric column beyond a tenfold gap from all others.
        max_sentinel_share: cells of a column that hold a code for "no value": 999, 666, -1, `?`, `N/A`.
        max_unit_change_share: cells of a numeric column in another unit than the other table's.
        max_mixed_type_share: cells of a column of objects that are of another type than most.
        max_unseen_share: test cells of a column of categories that training never shows.
        max_misspelt_share: cells that hold a rare category one slip from a frequent one.
        max_dominant_share: cells of a column that hold its most frequent value.
        max_constant_columns: number of columns of a single value, or none, in a table.
        max_swapped_columns: number of pairs of columns that changed places between the tables.
        max_predictive_power: Youden's J, 0 to 1, of each feature alone as a predictor of the label.
        max_order_power: the same of a row's position in its table.
        max_time_overlap_share: test rows that are not later than the last row of train, by the column `time`.
        max_label_disagreement_change: how far train and test are apart in their shares of labels that a
            simple model of other rows disagrees with, and in those that it gives a probability below 0.1.
        max_label_error_share: labels that cleanlab takes for wrong (an estimate: ambiguous rows count, too).
        min_label_signal: area under the ROC curve of a simple model of other rows; 0.5 is chance, which is
            where shuffled labels are.
        min_class_share: rows of the rarest class of each table.
        max_representation_gap: how far a group's share of a table is from that in the `population`.
        max_invalid_share: rows of a column that break a rule of the `schema`.
        max_serving_skew_share: test rows whose feature has another value in the table `serving`.
        time: columns that tell when a row is from.
        key: columns that tell which row of `serving` is which row of test.
        population: the share of every group of a column in the population, `{"sex": {"female": 0.51}}`.
        schema: a pandera schema in YAML.
        serving: a CSV or Parquet file of the test rows as the serving path computes them.

    Raises:
        CheckError: a table lacks a column, a bound is out of its range, or a declared file is unusable.
        MissingExtra: pandas is not installed, or deepchecks where its conditions are bounded.

    Source: deepchecks for the conditions, with its own limits but for three (see `_deepchecks`); the others
    name theirs where they are computed.
    """
    data = subject.data
    tables: dict[str, Any] = {
        role: _pandas(data.tables[role]) for role in ("test", "train") if role in data.tables
    }
    columns = _require_columns(data, tables)
    features, label, amount = list(data.feature_names), data.label, data.task == "regression"
    both, inputs = (*features, label), [c for c in columns if c != label]
    keys = functools.cache(lambda names: _faults.row_keys(tables, list(names)))
    opinions = Once(lambda: _quality_labels.opinions(tables, features, label, amount, subject.seed))

    def given(value: Any, name: str, produce: Callable[[], Found]) -> Callable[[], Found]:
        return produce if value else lambda: [nothing(f"{name} was not declared ({name}=...)")]

    c, leaks = _quality_columns, _quality_leaks
    families = [
        of_share("duplicate_share", max_duplicate_share, lambda: _faults.duplicates(keys(both))),
        of_share("leaked_share", max_leaked_share, lambda: _faults.leaked(keys(both))),
        of_share(
            "near_duplicate_share",
            max_near_duplicate_share,
            lambda: _quality_rows.near_duplicates(tables, list(both), keys(both), subject.seed),
        ),
        of_share(
            "conflicting_share",
            max_conflicting_share,
            lambda: (
                [nothing("the label is an amount, which differs between equal rows")]
                if amount
                else _quality_rows.conflicting(keys(tuple(features)), keys(both))
            ),
        ),
        of_share("missing_share", max_missing_share, lambda: _faults.missing(tables, columns)),
        of_effect("missing_change", max_missing_change, lambda: c.missing_change(tables, columns), _APART),
        of_share("extreme_share", max_extreme_share, lambda: _faults.extremes(tables, inputs)),
        of_share("sentinel_share", max_sentinel_share, lambda: _quality_codes.sentinels(tables, inputs)),
        of_share(
            "unit_change_share",
            max_unit_change_share,
            lambda: _quality_units.unit_changes(tables, inputs, subject.seed),
        ),
        of_share("mixed_type_share", max_mixed_type_share, lambda: c.mixed(tables, inputs)),
        of_share("unseen_share", max_unseen_share, lambda: c.unseen(tables, inputs)),
        of_share("misspelt_share", max_misspelt_share, lambda: _quality_spelling.misspelt(tables, inputs)),
        of_share("dominant_share", max_dominant_share, lambda: c.dominant(tables, inputs)),
        of_effect(
            "constant_columns",
            max_constant_columns,
            lambda: [c.constant(tables, columns)],
            _COUNTED,
            most=None,
        ),
        of_effect(
            "swapped_columns",
            max_swapped_columns,
            lambda: [_quality_units.swapped(tables, inputs, subject.seed)],
            "pairs whose exchange explains the shift of both; up to 20,000 rows a table",
            most=None,
        ),
        of_effect(
            "predictive_power",
            max_predictive_power,
            lambda: leaks.predictive_power(tables, features, label, amount, subject.seed),
            _POWER,
        ),
        of_effect("order_power", max_order_power, lambda: leaks.order_power(tables, label, amount), _POWER),
        of_share(
            "time_overlap_share",
            max_time_overlap_share,
            given(time, "time", lambda: leaks.time_overlap(tables, time)),
        ),
        of_effect(
            "label_disagreement_change",
            max_label_disagreement_change,
            lambda: opinions.of(_quality_labels.disagreement_change),
            "change of the share of labels that logistic regression and boosted trees of other rows do not "
            "share; interval of a difference of two proportions",
        ),
        Family(
            Answer(
                parameter="max_label_error_share",
                method="confident learning (cleanlab) on the opinion of models of other rows",
                grade=Grade.ESTIMATED,
            ),
            max_label_error_share,
            lambda: opinions.of(_quality_labels.label_errors),
            needs="cleanlab",
        ),
        Family(
            Answer(
                parameter="min_label_signal",
                method="AUC of logistic regression and boosted trees of other rows; DeLong and Newcombe",
                comparator=">=",
            ),
            min_label_signal,
            lambda: opinions.of(_quality_labels.signal),
        ),
        Family(
            Answer(parameter="min_class_share", method="count of all rows", comparator=">="),
            min_class_share,
            lambda: (
                [nothing("the label is an amount, which has no classes")]
                if amount
                else c.class_shares(tables, label)
            ),
        ),
        of_effect(
            "representation_gap",
            max_representation_gap,
            given(population, "population", lambda: c.representation(tables, _shares(population, tables))),
            "absolute difference of the share and the declared one; Clopper-Pearson interval",
        ),
        of_share(
            "invalid_share",
            max_invalid_share,
            given(schema, "schema", lambda: _quality_declared.invalid(tables, schema)),
            needs="pandera",
        ),
        of_share(
            "serving_skew_share",
            max_serving_skew_share,
            given(serving, "serving", lambda: _quality_declared.serving_skew(tables, features, serving, key)),
        ),
    ]
    measurements: list[Measurement] = []
    reported: list[Table] = []
    not_covered = list(_NOT_COVERED)
    if max_failed_conditions is None:
        not_covered.append("deepchecks' conditions: no bound was set (max_failed_conditions)")
    else:
        outcomes, left_out = _deepchecks.run(tables, features, label, amount)
        measurements += _quality_conditions.measured(outcomes, max_failed_conditions)
        reported.append(_quality_conditions.table(outcomes))
        not_covered += left_out
    for family in families:
        if family.bound is None:
            metric = family.answer.metric.replace("_", " ")
            not_covered.append(f"{metric}: no bound was set ({family.answer.parameter})")
            continue
        measurements += family.measured(subject.levels)
    ranges = c.ranges(tables, inputs)
    if ranges is not None and ranges.rows:
        reported.append(ranges)
    not_covered += [
        f"column {name} {why}: compared as categories or not at all"
        for name, why in unlike_kinds(tables, columns).items()
    ]
    return Findings(
        measurements=tuple(measurements),
        tables=tuple(reported),
        assumptions=_ASSUMPTIONS,
        not_covered=tuple(not_covered),
    )


_APART = "absolute difference of the shares of train and test; interval of a difference of two proportions"
_COUNTED = "count over all columns"
_POWER = "Youden's J of single parts of the column, learned on other rows; up to 100,000 rows a table"
_NOT_COVERED: tuple[str, ...] = (
    "rows that were copied and changed in more than amounts, by more than 1% of a column's spread",
    "units in a part of the rows that differ by a small factor, and columns that were exchanged but are "
    "distributed alike",
    "the current table: only the drift check reads it",
    "synthetic rows: how near they are to real ones",
)
_ASSUMPTIONS = {
    "same row": "two rows are the same if features and label are; in a table of few coarse columns "
    "two people can be alike",
    "extreme": f"{_faults.GAP} times as far from the column's median as the next nearer value, and "
    "held by fewer rows than vary on this side of that gap",
    "share": "a bound of 0 is judged on the count; any other takes the rows for independent draws",
    "labels": "what a model of other rows says of labels is compared between the tables, which takes both "
    "for samples of one source",
}


def _shares(
    population: dict[str, dict[str, float]] | None, tables: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Return the declared shares.

    Raises:
        CheckError: a table has no such column, or the shares of a column are none of one whole.
    """
    for column, shares in (population or {}).items():
        if any(column not in t.columns for t in tables.values()):
            raise CheckError(f"data_quality: population names {column!r}, which a table does not have")
        if not shares or min(shares.values()) < 0 or sum(shares.values()) > 1 + 1e-6:
            raise CheckError(f"data_quality: population of {column!r} is {shares!r}: no shares of one whole")
    return population or {}


def _require_columns(data: Dataset, tables: dict[str, Any]) -> list[str]:
    columns = list(dict.fromkeys([*data.feature_names, *data.sensitive, data.label]))
    for role, frame in tables.items():
        lacking = [c for c in columns if c not in frame.columns]
        if lacking:
            raise CheckError(f"data_quality: the {role} table has no column {', '.join(map(repr, lacking))}")
    return columns


def _pandas(frame: Frame) -> Any:
    try:
        return frame.to_pandas().reset_index(drop=True)
    except ImportError:
        raise MissingExtra("pandas (with pyarrow for polars tables)", "data") from None
