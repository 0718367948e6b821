"""The data a gate works on: tables of any library, one label, declared features and sensitive columns."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from .errors import CheckError, MissingExtra, Misuse
from .evidence import DataIdentity

#: Two groups of at least this many rows are needed before a rate of either means anything at all.
SMALLEST_GROUP = 2

Frame = nw.DataFrame[Any]


@dataclass(frozen=True, eq=False)
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
        positive: the label value that counts as the positive class.
    """

    test: Any
    label: str
    train: Any = None
    current: Any = None
    features: Sequence[str] | None = None
    sensitive: Sequence[str] = ()
    prediction: str | None = None
    positive: Any = 1

    def __post_init__(self) -> None:
        """Take a single name for a list of one."""
        for field in ("features", "sensitive"):
            if isinstance(getattr(self, field), str):
                object.__setattr__(self, field, (getattr(self, field),))

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
        return [*fixed, list(self.feature_names), list(self.sensitive)]

    @functools.cached_property
    def classes(self) -> tuple[Any, ...]:
        """The distinct label values of the test table, in the order of their values."""
        values = set(self.tables["test"][self.label].to_list())
        try:
            return tuple(sorted(values))
        except TypeError:  # labels of mixed types have no order of their own
            return tuple(sorted(values, key=str))

    def labels(self, role: str = "test") -> NDArray[np.bool_]:
        """Return which rows are of the positive class, shape (n,)."""
        return np.asarray([value == self.positive for value in self.tables[role][self.label].to_list()])

    def class_numbers(self, role: str = "test") -> NDArray[np.int64]:
        """Return the position of every row's label among `classes`, shape (n,); -1 for a label not there."""
        position = {value: i for i, value in enumerate(self.classes)}
        return np.asarray([position.get(v, -1) for v in self.tables[role][self.label].to_list()], np.int64)

    def groups(self, column: str, role: str = "test") -> NDArray[np.str_]:
        """Return the group of every row as text, shape (n,); a missing value is the group `unknown`."""
        values = self.tables[role][column].to_list()
        return np.asarray(["unknown" if is_missing(v) else _as_text(v) for v in values])

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
            Misuse: an empty table, a column that a table lacks, or a label of one class.
        """
        if self.test is None:
            raise Misuse("data: there is no test table; nothing can be judged without one")
        if not isinstance(self.label, str):
            raise Misuse(f"data: label={self.label!r}. Accepted: the name of one column")
        wanted = [*self.feature_names, *self.sensitive]
        if not self.feature_names:
            raise Misuse("data: no column is left for the model to read; name some with features=[...]")
        if self.label in self.feature_names:
            raise Misuse(f"data: label {self.label!r} is named as a feature too")
        repeated = sorted({n for n in self.feature_names if self.feature_names.count(n) > 1})
        if repeated:
            raise Misuse(f"data: features names {', '.join(repeated)} twice")
        for role, frame in self.tables.items():
            if not len(frame):
                raise Misuse(f"data: the {role} table has no rows")
            labelled = [self.label] if role != "current" else []
            predicted = [self.prediction] if self.prediction and role == "test" else []
            self.require_columns([*labelled, *predicted, *wanted], role, "data")
        for role in ("test", "train"):
            if role in self.tables and any(map(is_missing, self.tables[role][self.label].to_list())):
                raise Misuse(f"data: label {self.label!r} has missing values in the {role} table")
        if len(self.classes) < 2:
            only = next(iter(self.classes), None)
            raise Misuse(
                f"data: label {self.label!r} has the single value {only!r} in the test table; "
                "nothing can be judged on one class"
            )
        if len(self.classes) == 2 and self.positive not in self.classes:
            raise Misuse(
                f"data: positive={self.positive!r} is not a value of label {self.label!r}. "
                f"Accepted: {', '.join(repr(c) for c in self.classes)}"
            )

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

    def require_groups(self, column: str, source: str) -> None:
        """Refuse a sensitive column that does not form at least two groups of at least two rows.

        Raises:
            Misuse: with the group that is too small.
        """
        names, sizes = np.unique(self.groups(column), return_counts=True)
        if len(names) < 2:
            raise Misuse(f"{source}: column {column!r} has the single group {names[0]!r} in the test table")
        for name, size in zip(names.tolist(), sizes.tolist(), strict=True):
            if size < SMALLEST_GROUP:
                raise Misuse(
                    f"{source}: group {column}={name} has {size} row in the test table; no rate can be "
                    "estimated from it: merge it with another group or remove the row"
                )


def read_table(value: Any, role: str) -> Frame:
    """Return the value as a Narwhals table.

    Raises:
        Misuse: the value is neither a table, an array nor a readable CSV or Parquet file.
        MissingExtra: a file was named and no library that reads tables is installed.
    """
    if isinstance(value, str | Path):
        return _read_file(Path(value), role)
    if isinstance(value, np.ndarray):
        return _wrap_array(value, role)
    try:
        frame: Frame = nw.from_native(value, eager_only=True)
    except TypeError:
        raise Misuse(
            f"data: the {role} table is a {type(value).__name__}. Accepted: a pandas, polars or Arrow "
            "table, a numpy array, or the path of a CSV or Parquet file"
        ) from None
    except Exception as error:  # tables of other libraries refuse in ways of their own
        raise Misuse(f"data: the {role} table cannot be read: {error}") from None
    if not all(isinstance(name, str) for name in frame.columns):
        raise Misuse(f"data: the {role} table has column names that are not text: rename them")
    if len(set(frame.columns)) < len(frame.columns):
        raise Misuse(f"data: the {role} table has two columns of the same name")
    return frame


def matrix(frame: Frame, names: Sequence[str]) -> NDArray[np.float32]:
    """Return the columns as a float32 matrix, shape (rows, columns).

    Raises:
        CheckError: a column holds something that is not a number.
    """
    if not names:
        raise CheckError("there is no column to read")
    columns = []
    for name in names:
        try:
            columns.append(np.asarray(frame[name].to_numpy(), dtype=np.float32))
        except (TypeError, ValueError) as error:
            raise CheckError(f"column {name!r} is not numeric ({error})") from None
    return np.stack(columns, axis=1)


def is_missing(value: Any) -> bool:
    """Return whether a cell holds no value: None, NaN or NaT."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or _differs_from_itself(value)


def _differs_from_itself(value: Any) -> bool:
    other = value
    try:
        return bool(value != other)
    except TypeError:  # pandas' NA refuses to be true or false
        return True


def content_digest(frame: Frame) -> str:
    """Return the digest of names, order and contents of a table, the same for every table library."""
    state = hashlib.sha256()
    for name in frame.columns:
        kind, contents = _contents(frame[name])
        state.update(f"{name!r}\x00{len(frame)}\x00{kind}\x00".encode())
        state.update(contents)
    return "sha256:" + state.hexdigest()


def _contents(series: nw.Series[Any]) -> tuple[str, bytes]:
    """Return the kind of a column and its cells as bytes that no other column of that kind has."""
    if series.dtype.is_integer() and not series.null_count():
        unsigned = series.dtype.is_unsigned_integer()
        return "unsigned" if unsigned else "integer", np.asarray(series.to_numpy()).astype("<u8").tobytes()
    if series.dtype.is_float():
        return "float", np.asarray(series.to_numpy(), dtype="<f8").tobytes()
    cells = [
        None if is_missing(v) else v if isinstance(v, bool | int | str) else [str(v)]
        for v in series.to_list()
    ]
    return "cells", json.dumps(cells).encode()


def _as_text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _wrap_array(value: NDArray[Any], role: str) -> Frame:
    if value.ndim < 2:
        raise Misuse(f"data: the {role} array has {value.ndim} dimension; rows and columns are needed")
    if not value.size:
        raise Misuse(f"data: the {role} array has no rows")
    flat = value.reshape(len(value), -1)
    columns = {f"x{i}": flat[:, i] for i in range(flat.shape[1])}
    frame: Frame = nw.from_dict(columns, backend=_backend())
    return frame


def _read_file(path: Path, role: str) -> Frame:
    if not path.is_file():
        raise Misuse(f"data: the {role} table {str(path)!r} does not exist or is not a file")
    readers = {".csv": nw.read_csv, ".parquet": nw.read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise Misuse(f"data: cannot read {path.name!r} as a table. Accepted: {', '.join(readers)}")
    try:
        frame: Frame = reader(str(path), backend=_backend())
    except MissingExtra:
        raise
    except Exception as error:  # every table library raises its own kinds for a broken file
        raise Misuse(f"data: cannot read the {role} table {path.name!r}: {error}") from None
    return frame


def _backend() -> Any:
    for name in ("pandas", "polars", "pyarrow"):
        if importlib.util.find_spec(name):
            return name
    raise MissingExtra("A library that reads tables (pandas, polars or pyarrow)", "fairness")
