"""Runs deepchecks' data checks in silence: every condition is met, not met, or was not evaluated."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_mlgate.errors import MissingExtra

# deepchecks' own limits fail on honest tables, measured on those the tests use. With 0.8, a strong column
# of the breast-cancer data is taken for a leak; a copy of the label has a score of 1.
LARGEST_PREDICTIVE_POWER = 0.9
#: With 0.2, the noise of a few hundred rows counts as a change.
LARGEST_CHANGE_OF_PREDICTIVE_POWER = 0.5
#: With 0, any two people who are alike on paper and differ in the label.
LARGEST_CONFLICTING_SHARE = 0.01

_LONGEST_DETAIL = 300
#: Amounts differ between rows that are alike, and new ones come with every row.
_OF_CLASSES = {"ConflictingLabels", "NewLabelTrainTest"}

LEFT_OUT = (
    "IdentifierLabelCorrelation, IndexTrainTestLeakage, DateTrainTestLeakageDuplicates and "
    "DateTrainTestLeakageOverlap (deepchecks): the data declares no index and no date",
    "FeatureDrift, LabelDrift and MultivariateDrift (deepchecks): the drift check answers them",
    "PercentOfNulls (deepchecks): max_missing_share answers it",
    "FeatureFeatureCorrelation (deepchecks): correlated columns are no fault of the data",
    "ClassImbalance (deepchecks): its condition fails balanced labels and passes imbalanced ones",
    "OutlierSampleDetection (deepchecks): has no default condition and is cut off by a timer",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one condition of one check on one table, or on train and test together."""

    check: str
    condition: str
    table: str
    #: PASS, WARN or FAIL as deepchecks says it; NOT RUN where the check or its condition broke.
    category: str
    detail: str
    rows: int

    @property
    def failed(self) -> bool | None:
        """Whether the condition is not met; a warning is not met, too. `None`: it was not evaluated."""
        return None if self.category == "NOT RUN" else self.category != "PASS"


@dataclass(frozen=True, slots=True)
class _Kinds:
    """What the columns hold, taken over all tables."""

    categories: list[str]
    text_label: bool
    label_type: str

    @classmethod
    def of(cls, tables: Mapping[str, Any], features: Sequence[str], label: str, is_amount: bool) -> _Kinds:
        from pandas import concat
        from pandas.api.types import is_bool_dtype, is_numeric_dtype

        def is_number(column: str) -> bool:
            kinds = [frame[column].dtype for frame in tables.values()]
            return all(is_numeric_dtype(k) and not is_bool_dtype(k) for k in kinds)

        labels = concat([frame[label] for frame in tables.values()])
        classes = "binary" if int(labels.nunique()) == 2 else "multiclass"
        return cls(
            categories=[c for c in features if not is_number(c)],
            text_label=not is_numeric_dtype(labels.dtype),
            label_type="regression" if is_amount else classes,
        )


def run(
    tables: Mapping[str, Any], features: Sequence[str], label: str, is_amount: bool = False
) -> tuple[list[Outcome], list[str]]:
    """Return the outcome of every condition, and in words what was left out.

    `tables` are pandas frames by role: `test` and perhaps `train`. `is_amount`: the label is one of a
    regression, so that conditions on classes are left out.

    Raises:
        MissingExtra: deepchecks is not installed.
    """
    with _silence():
        checks, dataset = _load()
        single, pair = _single(checks), _pair(checks)
        left_out: list[str] = list(LEFT_OUT)
        if is_amount:
            of_classes = [c for c in (*single, *pair) if type(c).__name__ in _OF_CLASSES]
            single = [c for c in single if c not in of_classes]
            pair = [c for c in pair if c not in of_classes]
            left_out.append(f"{_names(of_classes)} (deepchecks): the label is an amount")
        kinds = _Kinds.of(tables, features, label, is_amount)
        if kinds.categories or kinds.text_label:
            single += _single_text(checks, label)
            pair += _pair_text(checks, label)
        else:
            unasked = _names([*_single_text(checks, label), *_pair_text(checks, label)])
            left_out.append(f"{unasked} (deepchecks): there is no column of text or categories")
        wrapped = {
            role: dataset(
                frame[[*features, label]],
                label=label,
                features=list(features),
                cat_features=kinds.categories,
                label_type=kinds.label_type,
            )
            for role, frame in tables.items()
        }
        outcomes = [
            o for role, given in wrapped.items() for check in single for o in _run(check, role, given)
        ]
        if "train" in wrapped:
            both = (wrapped["train"], wrapped["test"])
            outcomes += [o for check in pair for o in _run(check, "train and test", *both)]
        else:
            left_out.append(f"{_names(pair)} (deepchecks): no training table was given")
    return outcomes, left_out


def _single(c: Any) -> list[Any]:
    return [
        c.IsSingleValue().add_condition_not_single_value(),
        c.MixedNulls().add_condition_different_nulls_less_equal_to(),
        c.DataDuplicates().add_condition_ratio_less_or_equal(),
        c.ConflictingLabels().add_condition_ratio_of_conflicting_labels_less_or_equal(
            LARGEST_CONFLICTING_SHARE
        ),
        c.FeatureLabelCorrelation().add_condition_feature_pps_less_than(LARGEST_PREDICTIVE_POWER),
    ]


def _single_text(c: Any, label: str) -> list[Any]:
    # Labels are left out where spellings are compared: "<=50K" and ">50K" differ in signs alone.
    return [
        c.MixedDataTypes().add_condition_rare_type_ratio_not_in_range(),
        c.SpecialCharacters().add_condition_ratio_of_special_characters_less_or_equal(),
        c.StringMismatch(ignore_columns=[label]).add_condition_no_variants(),
        c.StringLengthOutOfBounds().add_condition_ratio_of_outliers_less_or_equal(),
    ]


def _pair(c: Any) -> list[Any]:
    change = c.FeatureLabelCorrelationChange()
    return [
        c.DatasetsSizeComparison().add_condition_test_train_size_ratio_greater_than(),
        c.NewLabelTrainTest().add_condition_new_labels_number_less_or_equal(),
        c.TrainTestSamplesMix().add_condition_duplicates_ratio_less_or_equal(),
        change.add_condition_feature_pps_difference_less_than(LARGEST_CHANGE_OF_PREDICTIVE_POWER),
    ]


def _pair_text(c: Any, label: str) -> list[Any]:
    return [
        c.NewCategoryTrainTest().add_condition_new_category_ratio_less_or_equal(),
        c.StringMismatchComparison(ignore_columns=[label]).add_condition_no_new_variants(),
    ]


def _names(checks: Sequence[Any]) -> str:
    return ", ".join(type(check).__name__ for check in checks)


def _run(check: Any, table: str, *datasets: Any) -> list[Outcome]:
    name, rows = type(check).__name__, datasets[-1].n_samples
    conditions = [condition.name for condition in check._conditions.values()]
    try:
        results = check.run(*datasets, with_display=False).conditions_results
    except Exception as error:  # whatever a check trips over, its conditions were not evaluated
        results, why = [], f"{type(error).__name__}: {error}"
    else:
        why = "deepchecks returned no result for this condition"
    by_name = {result.name: result for result in results}
    return [
        Outcome(
            check=name,
            condition=condition,
            table=table,
            category=_category(by_name.get(condition)),
            detail=_shorten(by_name[condition].details if condition in by_name else why),
            rows=rows,
        )
        for condition in conditions
    ]


def _category(result: Any) -> str:
    known = None if result is None else result.category.value
    return known if known in ("PASS", "WARN", "FAIL") else "NOT RUN"


def _shorten(text: str) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= _LONGEST_DETAIL else line[:_LONGEST_DETAIL] + " ..."


def _load() -> tuple[Any, Any]:
    # Importing deepchecks calls home with a user id unless these are set.
    os.environ["DISABLE_DEEPCHECKS_ANONYMOUS_TELEMETRY"] = "True"
    os.environ["DISABLE_LATEST_VERSION_CHECK"] = "True"
    try:
        from deepchecks.tabular import Dataset, checks
    except ImportError:
        raise MissingExtra("deepchecks", "data") from None
    logging.getLogger("deepchecks").setLevel(logging.ERROR)
    return checks, Dataset


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
