"""Refuses data that nothing can be measured on, before any model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from .data_groups import require_edges, require_numeric
from .data_labels import Task, declared_task, numbers_of, ordered
from .errors import CheckError, Misuse

if TYPE_CHECKING:
    from .dataset import Dataset


def validate(data: Dataset) -> None:
    """Refuse data that nothing can be measured on, before any model is loaded.

    Raises:
        Misuse: an empty table, a column that a table lacks, a label of one class or that does not fit
            the task, or bins that do not cut a numeric column.
    """
    if data.test is None:
        raise Misuse("data: there is no test table; nothing can be judged without one")
    if not isinstance(data.label, str):
        raise Misuse(f"data: label={data.label!r}. Accepted: the name of one column")
    wanted = [*data.feature_names, *data.sensitive]
    if not data.feature_names:
        raise Misuse("data: no column is left for the model to read; name some with features=[...]")
    if data.label in data.feature_names:
        raise Misuse(f"data: label {data.label!r} is named as a feature too")
    repeated = sorted({n for n in data.feature_names if data.feature_names.count(n) > 1})
    if repeated:
        raise Misuse(f"data: features names {', '.join(repeated)} twice")
    for role, frame in data.tables.items():
        if not len(frame):
            raise Misuse(f"data: the {role} table has no rows")
        labelled = [data.label] if role != "current" else []
        predicted = [data.prediction] if data.prediction and role == "test" else []
        data.require_columns([*labelled, *predicted, *wanted], role, "data")
    _require_bins(data)
    _require_label(data)


def _require_bins(data: Dataset) -> None:
    require_edges(data.bins)
    for role in data.tables:
        data.require_columns(list(data.bins), role, "data: bins")
        for column in data.bins:
            try:
                require_numeric(data.tables[role][column], column)
            except CheckError as error:
                raise Misuse(f"data: {error}") from None


def _require_label(data: Dataset) -> None:
    declared = declared_task(data)
    if declared is not None and declared not in get_args(Task):
        raise Misuse(f"data: task={declared!r}. Accepted: {', '.join(get_args(Task))}")
    roles = [role for role in ("test", "train") if role in data.tables]
    if declared == "regression":
        _require_amounts(data, roles)
        return
    for role in roles:
        missing = data.distinct_labels(role).missing
        if missing:
            raise Misuse(
                f"data: label {data.label!r} has missing values in the {role} table "
                f"({missing:,} of {len(data.tables[role]):,} rows)"
            )
    _require_classes(data, declared)


def _require_amounts(data: Dataset, roles: Sequence[str]) -> None:
    for role in roles:
        try:
            values = numbers_of(data.tables[role][data.label], role)
        except CheckError as error:
            raise Misuse(f"data: {error}") from None
        if role == "test" and values.min() == values.max():
            raise Misuse(
                f"data: label {data.label!r} is {values[0]:g} in all {len(values):,} rows of the test "
                "table; nothing can be judged on one value"
            )


def _require_classes(data: Dataset, declared: Task | None) -> None:
    try:
        classes = ordered(data.distinct_labels("test").values, data.label)
    except CheckError as error:
        raise Misuse(f"data: {error}") from None
    if len(classes) < 2:
        only = next(iter(classes), None)
        raise Misuse(
            f"data: label {data.label!r} has the single value {only!r} in the test table; "
            "nothing can be judged on one class"
        )
    fitting: Task = "binary" if len(classes) == 2 else "multiclass"
    if declared is not None and declared != fitting:
        raise Misuse(
            f"data: task={declared!r}, and label {data.label!r} has {len(classes):,} classes in the test "
            f"table: that is {fitting!r}"
        )
    if len(classes) == 2 and data.positive not in classes:
        raise Misuse(
            f"data: positive={data.positive!r} is not a value of label {data.label!r}. "
            f"Accepted: {', '.join(repr(c) for c in classes)}"
        )
    _ = data.task  # refuses what may as well be amounts
