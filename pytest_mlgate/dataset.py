"""The data a gate works on: tables of any library, one label, declared features and sensitive columns."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .data_groups import Groups, groups_of
from .data_labels import (
    CHOOSE_ANOTHER_METRIC,
    UNDECLARED,
    DeclaredTask,
    Task,
    infer_task,
    numbers_of,
    ordered,
)
from .data_tables import Frame, content_digest, matrix, read_table
from .data_validation import validate
from .data_values import Distinct, distinct, is_missing
from .errors import CheckError, Misuse
from .evidence import DataIdentity

__all__ = ["Dataset", "Frame", "Task", "content_digest", "is_missing", "matrix", "read_table"]

_Kept = TypeVar("_Kept")


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """The tables of one gate run and what their columns mean.

    `test`, `train` and `current` take a pandas, polars or Arrow table, a two-dimensional numpy array (its
    columns become x0, x1, ...), or the path of a CSV or Parquet file. `test` holds the rows on which
    everything is judged. `train` is the reference for drift, calibration and leakage. `current`, if given,
    holds rows from production; drift is then measured on it instead of on `test`.

    Args:
        test: the held-out rows, with the label.
        label: the name of the label column.
        train: the rows the model was trained on.
        current: rows from production, with or without the label.
        features: the columns the model reads, in its order; by default all that are neither the label, the
            prediction, nor sensitive.
        sensitive: columns that define groups of people.
        prediction: a column that holds scores computed elsewhere.
        positive: the label value that counts as the positive class of a binary label.
        task: `binary`, `multiclass` or `regression`; by default two label values are binary and more are
            multiclass. A label of many numbers that are not whole must say what it is.
        bins: where numeric sensitive columns are cut into groups: `{"age": (25, 40)}` makes `<25`,
            `25 to <40` and `>=40`.
    """

    test: Any
    label: str
    train: Any = None
    current: Any = None
    features: Sequence[str] | None = None
    sensitive: Sequence[str] = ()
    prediction: str | None = None
    positive: Any = 1
    task: DeclaredTask = UNDECLARED
    bins: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take a single name for a list of one."""
        for names in ("features", "sensitive"):
            if isinstance(getattr(self, names), str):
                object.__setattr__(self, names, (getattr(self, names),))

    @functools.cached_property
    def tables(self) -> dict[str, Frame]:
        """The tables that were given, by role, read and wrapped."""
        given = {"test": self.test, "train": self.train, "current": self.current}
        return {role: read_table(value, role) for role, value in given.items() if value is not None}

    @functools.cached_property
    def feature_names(self) -> tuple[str, ...]:
        """The columns the model reads, in its order."""
        if self.features is not None:
            return tuple(self.features)
        aside = {self.label, self.prediction, *self.sensitive}
        return tuple(name for name in self.tables["test"].columns if name not in aside)

    @property
    def meaning(self) -> list[Any]:
        """What the columns mean: evidence made with another meaning is other evidence."""
        fixed = [self.label, repr(self.positive), self.prediction]
        bins = sorted([column, [float(edge) for edge in edges]] for column, edges in self.bins.items())
        return [*fixed, list(self.feature_names), list(self.sensitive), self.task, bins]

    @functools.cached_property
    def inferred_task(self) -> Task:
        """The task that the label's values in the test table show.

        Raises:
            Misuse: they may be classes as well as amounts.
        """
        return infer_task(self.distinct_labels("test"), self.label)

    @functools.cached_property
    def classes(self) -> tuple[Any, ...]:
        """The distinct label values of the test table, in the order of their values.

        Raises:
            CheckError: the task is regression.
        """
        self._require_classification()
        return ordered(self.distinct_labels("test").values, self.label)

    @functools.cached_property
    def unseen_labels(self) -> tuple[Any, ...]:
        """The classes of the test table that the training table, where there is one, does not have."""
        train = self.tables.get("train")
        if train is None or self.label not in train.columns or self.task == "regression":
            return ()
        seen = set(self.distinct_labels("train").values)
        return tuple(value for value in self.classes if value not in seen)

    def labels(self, role: str = "test") -> NDArray[np.bool_]:
        """Return which rows are of the positive class, shape (n,); read-only.

        Raises:
            CheckError: the task is regression, or a row of the table has no label.
        """

        def make() -> NDArray[np.bool_]:
            found = self.distinct_labels(role)
            if found.missing:
                rows = f"{found.missing:,} of {len(found.numbers):,} rows"
                raise CheckError(f"label {self.label!r} has missing values in the {role} table ({rows})")
            return _fixed(found.spread([value == self.positive for value in found.values], False, bool))

        self._require_classification()
        return self._kept(("labels", role), make)

    def class_numbers(self, role: str = "test") -> NDArray[np.int64]:
        """Return the position of every row's label among `classes`, shape (n,); -1 for a label not there.

        The array is read-only.

        Raises:
            CheckError: the task is regression.
        """

        def make() -> NDArray[np.int64]:
            position = {value: i for i, value in enumerate(self.classes)}
            found = self.distinct_labels(role)
            return _fixed(found.spread([position.get(v, -1) for v in found.values], -1, np.int64))

        return self._kept(("class_numbers", role), make)

    def targets(self, role: str = "test") -> NDArray[np.float64]:
        """Return the label as numbers, shape (n,), of a regression; read-only.

        Raises:
            CheckError: the task is not regression, or a row's label is no finite number.
        """
        if self.task != "regression":
            raise CheckError(
                f"label {self.label!r} is {self.task}, and this needs amounts: choose a metric of classes, "
                "or say that the label is an amount with Dataset(task='regression') or [data] task"
            )
        return self._kept(
            ("targets", role), lambda: _fixed(numbers_of(self._column(self.label, role), role).copy())
        )

    def distinct_labels(self, role: str) -> Distinct:
        """Return the distinct values of the label, and which every row has.

        Raises:
            CheckError: there is no such table, or it has no label.
        """
        return self._kept(("distinct", role), lambda: distinct(self._column(self.label, role)))

    def group_codes(self, column: str, role: str = "test") -> tuple[tuple[str, ...], NDArray[np.intp]]:
        """Return the groups of a column and the number of every row's group, shape (n,); read-only.

        Groups stand in the order of their names, those of declared `bins` from low to high; each has at
        least one row. Missing values are the group `unknown`.

        Raises:
            CheckError: there is no such column, or bins are declared for it and it is not numeric.
        """

        def make() -> Groups:
            return groups_of(self._column(column, role), self.bins.get(column))

        found = self._kept(("groups", column, role), make)
        return found.names, _fixed(found.codes)

    def groups(self, column: str, role: str = "test") -> NDArray[np.str_]:
        """Return the group of every row as text, shape (n,), as `group_codes` names it."""
        names, codes = self.group_codes(column, role)
        return np.asarray(names, dtype=np.str_)[codes]

    def identities(self) -> tuple[DataIdentity, ...]:
        """Return what each table is: its role, shape, and the digest of its contents."""
        sources = {"test": self.test, "train": self.train, "current": self.current}
        return tuple(
            DataIdentity(
                role=role,
                rows=len(frame),
                columns=len(frame.columns),
                digest=content_digest(frame),
                source=Path(sources[role]).name if isinstance(sources[role], str | Path) else "in memory",
            )
            for role, frame in self.tables.items()
        )

    def validate(self) -> None:
        """Refuse data that nothing can be measured on, before any model is loaded.

        Raises:
            Misuse: an empty table, a column that a table lacks, a label of one class or that does not fit
                the task, or bins that do not cut a numeric column.
        """
        validate(self)

    def require_columns(self, names: Sequence[str], role: str, source: str) -> None:
        """Refuse names that the table of this role does not have.

        Raises:
            Misuse: with the missing names and those that the table has.
        """
        have = self.tables[role].columns
        missing = [name for name in names if name not in have]
        if missing:
            raise Misuse(
                f"{source}: the {role} table has no column {', '.join(map(repr, missing))}. "
                f"Its columns: {', '.join(have[:40])}{', ...' if len(have) > 40 else ''}"
            )

    def require_groups(self, column: str, source: str, most: int | None = None) -> None:
        """Refuse a column that forms one group only, or more than `most`.

        Groups of a single row are groups: what little can be said of them is inconclusive, and said so.

        Raises:
            Misuse: with the number of groups and what to do.
        """
        names, codes = self.group_codes(column)
        if len(names) < 2:
            only = names[0] if names else ""
            raise Misuse(f"{source}: column {column!r} has the single group {only!r} in the test table")
        if most is not None and len(names) > most:
            numeric = self.tables["test"][column].dtype.is_numeric()
            bins = f"cut it with Dataset(bins={{{column!r}: [...]}}) ([data.bins] in the policy), or "
            raise Misuse(
                f"{source}: column {column!r} has {len(names):,} groups in the {len(codes):,} rows of the "
                f"test table; at most {most:,} can be compared: {bins if numeric else ''}merge values into "
                "fewer groups"
            )

    def _require_classification(self) -> None:
        if self.task == "regression":
            raise CheckError(
                f"label {self.label!r} is an amount (task='regression'), and this needs classes: "
                f"{CHOOSE_ANOTHER_METRIC}"
            )

    def _column(self, name: str, role: str) -> Any:
        if role not in self.tables:
            raise CheckError(f"there is no {role} table: give Dataset({role}=...) or [data] {role}")
        if name not in self.tables[role].columns:
            raise CheckError(f"the {role} table has no column {name!r}")
        return self.tables[role][name]

    @functools.cached_property
    def _memory(self) -> dict[tuple[str, ...], Any]:
        return {}

    def _kept(self, key: tuple[str, ...], make: Callable[[], _Kept]) -> _Kept:
        """Return what was made for the key before, or make it: every check asks for the same."""
        if key not in self._memory:
            self._memory[key] = make()
        kept: _Kept = self._memory[key]
        return kept


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array that all checks share, closed for writing."""
    array.flags.writeable = False
    return array
