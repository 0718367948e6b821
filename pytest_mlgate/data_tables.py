"""Tables of any library as one kind: how they are read, their numbers as a matrix, and their digest."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from .data_values import distinct
from .errors import CheckError, MissingExtra, Misuse

Frame = nw.DataFrame[Any]


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
    found = distinct(series)
    texts = [json.dumps(v if isinstance(v, bool | int | str) else [str(v)]) for v in found.values]
    cells = found.spread(texts, "null", object).tolist()
    return "cells", f"[{', '.join(cells)}]".encode()


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
