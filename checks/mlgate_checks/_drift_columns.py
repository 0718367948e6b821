"""The columns of two tables as drift compares them: numbers, times, ordered levels, categories, text."""

from __future__ import annotations

import datetime
import decimal
import numbers
from dataclasses import dataclass, replace
from typing import Any, Literal

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.data_values import as_text, distinct
from pytest_mlgate.dataset import Frame

Kind = Literal["numeric", "datetime", "boolean", "ordinal", "categorical", "text"]
Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

#: Text is prose, not categories, if its values have this many words on average and are more than a few.
FEWEST_WORDS = 3
FEWEST_TEXTS = 50


class Unreadable(Exception):
    """A column cannot be compared; the text says what it holds, in which table, and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One column of one table.

    `numbers` has shape (n,), NaN where missing, of numeric and datetime columns (milliseconds); the others
    have `codes` of shape (n,), -1 where missing, that point into `levels`.
    """

    kind: Kind
    numbers: Floats | None = None
    codes: Codes | None = None
    levels: tuple[str, ...] = ()
    #: Times with a zone are instants; those without are what some clock showed.
    has_zone: bool = False

    def __len__(self) -> int:
        """Return the number of rows, missing ones included."""
        return len(self.cells)

    @property
    def cells(self) -> NDArray[Any]:
        """The numbers or the codes, shape (n,)."""
        found = self.numbers if self.numbers is not None else self.codes
        assert found is not None  # one of the two is what a column is made of
        return found

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which rows have a value, shape (n,)."""
        return ~np.isnan(self.numbers) if self.numbers is not None else self.cells >= 0

    def take(self, rows: NDArray[Any]) -> Column:
        """Return the same column over some of the rows: positions, or a mask."""
        if self.numbers is not None:
            return replace(self, numbers=self.numbers[rows])
        return replace(self, codes=self.cells[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One column in both tables; categories have the same levels in both."""

    name: str
    reference: Column
    current: Column

    @property
    def kind(self) -> Kind:
        """The kind of both."""
        return self.reference.kind

    def take(self, of_reference: NDArray[Any], of_current: NDArray[Any]) -> Pair:
        """Return the same pair over some rows of either table."""
        return Pair(self.name, self.reference.take(of_reference), self.current.take(of_current))


def read_pair(name: str, tables: dict[str, Frame]) -> Pair:
    """Return a column of two tables, the reference first, in one kind.

    Raises:
        Unreadable: it is not there, holds infinities, numbers among text, numbers in one table and text in
            the other, or times with a zone in one only.
    """
    roles = list(tables)
    for role, frame in tables.items():
        if name not in frame.columns:
            raise Unreadable(f"the {role} table has no column {name!r}")
    first, second = (_read(frame[name], role) for role, frame in tables.items())
    # A column without any value is of whatever kind the other one is.
    if first.kind != second.kind:
        if not second.present.any():
            second = _empty_like(first, len(second))
        elif not first.present.any():
            first = _empty_like(second, len(first))
        elif {first.kind, second.kind} <= {"ordinal", "categorical", "text"}:
            first, second = replace(first, kind="categorical"), replace(second, kind="categorical")
        elif {first.kind, second.kind} == {"numeric", "boolean"}:
            first, second = _as_numbers(first), _as_numbers(second)
        else:
            held = " and ".join(
                f"{_HELD[c.kind]} in {role}" for c, role in zip((first, second), roles, strict=True)
            )
            raise Unreadable(f"column {name!r} holds {held}: read both tables with the same types")
    if first.kind == "datetime" and first.has_zone != second.has_zone:
        with_zone = roles[0] if first.has_zone else roles[1]
        raise Unreadable(
            f"column {name!r} holds times with a zone in the {with_zone} table only: the others may be hours "
            "off; give both tables the same zone"
        )
    return _with_same_levels(Pair(name, first, second))


_HELD: dict[Kind, str] = {
    "numeric": "numbers",
    "datetime": "times",
    "boolean": "flags",
    "ordinal": "text",
    "categorical": "text",
    "text": "text",
}


def _read(series: nw.Series[Any], role: str) -> Column:
    dtype = series.dtype
    if dtype == nw.Boolean:
        found = series.cast(nw.Int8).fill_null(-1).to_numpy()
        return Column("boolean", codes=np.asarray(found, np.intp), levels=("False", "True"))
    if dtype.is_numeric():
        return Column("numeric", numbers=_finite(_floats(series), series.name, role))
    if isinstance(dtype, nw.Date | nw.Datetime):
        zone = isinstance(dtype, nw.Datetime) and dtype.time_zone is not None
        times = _floats(series.dt.timestamp("ms"))
        return Column("datetime", numbers=times, has_zone=zone)
    if isinstance(dtype, nw.Duration):
        return Column("numeric", numbers=_floats(series.dt.total_milliseconds()))
    return _of_objects(series, role)


def _floats(series: nw.Series[Any]) -> Floats:
    if series.null_count():
        series = series.cast(nw.Float64).fill_null(float("nan"))
    return np.asarray(series.to_numpy(), dtype=np.float64)


def _finite(values: Floats, name: str, role: str) -> Floats:
    infinite = int(np.isinf(values).sum())
    if infinite:
        raise Unreadable(
            f"column {name!r} holds {infinite:,} infinite values in the {role} table: no distance can be "
            "taken from them; correct or remove those rows"
        )
    return values


def _of_objects(series: nw.Series[Any], role: str) -> Column:
    found = distinct(series)
    are_numbers = [_is_number(v) for v in found.values]
    if found.values and all(are_numbers):
        if all(isinstance(v, bool | np.bool_) for v in found.values):
            flags = found.spread([int(v) for v in found.values], -1, np.intp)
            return Column("boolean", codes=flags, levels=("False", "True"))
        cells = found.spread([float(v) for v in found.values], np.nan, np.float64)
        return Column("numeric", numbers=_finite(cells, series.name, role))
    if any(are_numbers):
        raise _mixed(series.name, role, found.values, found.numbers, are_numbers)
    times = [isinstance(v, datetime.date) for v in found.values]
    if found.values and all(times):
        zones = {getattr(v, "tzinfo", None) is not None for v in found.values}
        if len(zones) > 1:
            raise Unreadable(
                f"column {series.name!r} mixes times with and without a zone in the {role} table: give all "
                "of them one"
            )
        stamps = found.spread([_milliseconds(v) for v in found.values], np.nan, np.float64)
        return Column("datetime", numbers=stamps, has_zone=zones == {True})
    texts = [as_text(v) for v in found.values]
    levels = dict.fromkeys(texts)
    if isinstance(series.dtype, nw.Enum):
        levels = dict.fromkeys(str(c) for c in series.dtype.categories)
    place = {text: i for i, text in enumerate(levels)}
    codes = found.spread([place[text] for text in texts], -1, np.intp)
    kind: Kind = "categorical"
    if isinstance(series.dtype, nw.Enum):
        kind = "ordinal"
    elif len(texts) > FEWEST_TEXTS and sum(len(t.split()) for t in texts) >= FEWEST_WORDS * len(texts):
        kind = "text"
    return Column(kind, codes=codes, levels=tuple(levels))


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real | decimal.Decimal | np.bool_)


def _mixed(name: str, role: str, values: Any, codes: Codes, are_numbers: list[bool]) -> Unreadable:
    strange = [i for i, number in enumerate(are_numbers) if not number]
    rows = int(np.isin(codes, strange).sum())
    return Unreadable(
        f"column {name!r} mixes numbers with other values in the {role} table: {rows:,} of {len(codes):,} "
        f"rows hold no number, such as {str(values[strange[0]])[:40]!r}; read it as one type"
    )


def _milliseconds(value: datetime.date) -> float:
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    aware = value if value.tzinfo is not None else value.replace(tzinfo=datetime.UTC)
    return aware.timestamp() * 1000


def _empty_like(column: Column, rows: int) -> Column:
    if column.numbers is not None:
        return replace(column, numbers=np.full(rows, np.nan))
    return replace(column, codes=np.full(rows, -1, np.intp))


def _as_numbers(column: Column) -> Column:
    if column.numbers is not None:
        return column
    return Column("numeric", numbers=np.where(column.cells < 0, np.nan, column.cells).astype(np.float64))


def _with_same_levels(pair: Pair) -> Pair:
    first, second = pair.reference, pair.current
    if first.levels == second.levels:
        return pair
    if pair.kind == "ordinal" and set(first.levels) != set(second.levels):
        first, second = replace(first, kind="categorical"), replace(second, kind="categorical")
    place = {level: i for i, level in enumerate(dict.fromkeys((*first.levels, *second.levels)))}
    moved = np.asarray([*(place[level] for level in second.levels), -1], np.intp)[second.cells]
    levels = tuple(place)
    return Pair(pair.name, replace(first, levels=levels), replace(second, codes=moved, levels=levels))
