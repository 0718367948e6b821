"""What the label says: its classes or its numbers, and which task that makes."""

from __future__ import annotations

import decimal
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from .data_values import Distinct, distinct, is_missing
from .errors import CheckError, Misuse

if TYPE_CHECKING:
    from .dataset import Dataset

Task = Literal["binary", "multiclass", "regression"]
#: More values than this, some of them not whole, are a quantity rather than classes: somebody must say so.
MOST_FRACTIONS = 20
#: What to do where classes are needed and there are none.
CHOOSE_ANOTHER_METRIC = "choose a metric of amounts, such as mae, rmse or r2"


class DeclaredTask:
    """The field `Dataset.task`: what was declared, else what the label's values in the test table show."""

    @overload
    def __get__(self, data: None, owner: type[Dataset]) -> None: ...
    @overload
    def __get__(self, data: Dataset, owner: type[Dataset]) -> Task: ...
    def __get__(self, data: Dataset | None, owner: type[Dataset]) -> Task | None:
        """Return the task; on the class itself the field's default."""
        if data is None:
            return None
        return declared_task(data) or data.inferred_task

    def __set__(self, data: Dataset, value: Task | None) -> None:
        """Keep what was declared."""
        data.__dict__[_DECLARED] = value


#: The default of the field.
UNDECLARED = DeclaredTask()
_DECLARED = "declared_task"


def declared_task(data: Dataset) -> Task | None:
    """Return the task as somebody wrote it, `None` where nobody did."""
    declared: Task | None = data.__dict__[_DECLARED]
    return declared


def infer_task(found: Distinct, label: str) -> Task:
    """Return the task that a label's values show: two are binary, more are multiclass.

    Raises:
        Misuse: they may as well be amounts.
    """
    if len(found.values) <= 2:
        return "binary"
    if len(found.values) > MOST_FRACTIONS and any(map(_is_fraction, found.values)):
        raise Misuse(
            f"data: label {label!r} has {len(found.values):,} different values in the test table, not all of "
            "them whole numbers. Say what they are: task='regression' for amounts, task='multiclass' for "
            "classes (Dataset(task=...), or [data] task in the policy)"
        )
    return "multiclass"


def numbers_of(series: nw.Series[Any], role: str) -> NDArray[np.float64]:
    """Return a label as numbers, shape (n,).

    Raises:
        CheckError: a row holds no finite number; with how many do.
    """
    label = f"label {series.name!r}"
    if series.dtype.is_numeric():
        values = np.asarray(series.to_numpy(), dtype=np.float64)
    else:
        found = distinct(series)
        strange = [i for i, value in enumerate(found.values) if not _is_number(value)]
        if strange:
            rows = int(np.isin(found.numbers, strange).sum())
            raise CheckError(
                f"{label} holds no number in {rows:,} of {len(series):,} rows of the {role} table (such as "
                f"{found.values[strange[0]]!r}); task='regression' needs numbers"
            )
        values = found.spread([float(value) for value in found.values], np.nan, np.float64)
    missing = int(np.isnan(values).sum())
    if missing:
        raise CheckError(
            f"{label} has missing values in the {role} table ({missing:,} of {len(values):,} rows)"
        )
    infinite = int(np.isinf(values).sum())
    if infinite:
        raise CheckError(f"{label} is infinite in {infinite:,} of {len(values):,} rows of the {role} table")
    return values


def ordered(values: Sequence[Any], label: str) -> tuple[Any, ...]:
    """Return label values in their order; those of mixed types, which have none, in that of their texts.

    Raises:
        CheckError: the values are tables or lists, which are no classes.
    """
    try:
        once = set(values)
    except TypeError as error:
        raise CheckError(f"label {label!r} cannot be read as classes: {error}") from None
    try:
        return tuple(sorted(once))
    except TypeError:
        return tuple(sorted(once, key=str))


def _is_number(value: Any) -> bool:
    real = isinstance(value, numbers.Real | decimal.Decimal) and not isinstance(value, bool | np.bool_)
    return real and not is_missing(value)


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and float(value) % 1 != 0
