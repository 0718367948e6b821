"""How drift reads columns: of any library and type, in one kind for both tables, or with a reason why not."""

from __future__ import annotations

import datetime
import decimal

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlgate_checks._comparison import compare
from mlgate_checks._drift_columns import Unreadable, read_pair

ROLES = ("train", "test")
cells = st.lists(
    st.one_of(
        st.none(),
        st.integers(-3, 3),
        st.floats(),
        st.text(max_size=3),
        st.booleans(),
        st.dates(),
        st.datetimes(),
        st.decimals(allow_nan=False, allow_infinity=False),
    ),
    min_size=1,
    max_size=12,
)


def tables(first, second):
    frames = [
        v if isinstance(v, pd.DataFrame | pl.DataFrame | pa.Table) else pd.DataFrame({"c": v})
        for v in (first, second)
    ]
    return {role: nw.from_native(frame, eager_only=True) for role, frame in zip(ROLES, frames, strict=True)}


@settings(deadline=None, max_examples=300, derandomize=True)
@given(cells, cells)
def test_any_cells_are_compared_or_refused_with_a_reason(first, second):
    """Whatever stands in a column: distances from 0 to 1, or words; never another error."""
    made = tables(pd.Series(first, dtype=object), pd.Series(second, dtype=object))
    try:
        pair = read_pair("c", made)
    except Unreadable:
        with pytest.raises(Unreadable, match="'c'"):
            read_pair("c", made)
        return
    assert len(pair.reference) == len(first)
    for c in compare(pair, ROLES, 0):
        assert bool(c.problem) == (c.distance is None)
        if c.distance is not None:
            assert 0 <= c.distance.value <= 1
            assert 0 <= c.distance.p_value() <= 1


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, None, False], "boolean"),
        (pd.array([True, None, False], dtype="boolean"), "boolean"),
        ([decimal.Decimal("1.5"), None, decimal.Decimal("2")], "numeric"),
        ([datetime.date(2024, 1, 1), None, datetime.date(2024, 1, 3)], "datetime"),
        (pd.to_timedelta([1, None, 2], unit="s"), "numeric"),
        (pd.array([1, None, 2], dtype="Int64"), "numeric"),
        (["a", None, "b"], "categorical"),
        (pd.Categorical(["b", None, "a"], ["b", "a"], ordered=True), "ordinal"),
        ([[1], None, [2]], "categorical"),
    ],
)
def test_kinds_and_missing_values(values, kind):
    """The kind follows from type and values, and one of three cells is missing in each."""
    pair = read_pair("c", tables(values, values))
    assert pair.kind == kind
    assert pair.reference.present.tolist() == [True, False, True]


@pytest.mark.parametrize("values", [[True, None, False], [1, None, 3], ["a", None, "b"], [0.5, None, 1.5]])
def test_every_library_gives_the_same_column(values):
    """pandas, polars and Arrow hold the same cells, and so does what is read from them."""
    found = [
        read_pair("c", tables(make({"c": values}), make({"c": values})))
        for make in (lambda d: pd.DataFrame(d).convert_dtypes(), pl.DataFrame, pa.table)
    ]
    assert len({p.kind for p in found}) == 1
    for p in found[1:]:
        assert np.array_equal(p.reference.cells, found[0].reference.cells, equal_nan=True)


def test_a_column_without_values_takes_the_kind_of_the_other():
    """A column that is empty in one table is compared with nothing, not with another kind."""
    for filled in (["a", "b"], [1.5, 2.5], [True, False], pd.to_datetime(["2024-01-01", "2024-01-02"])):
        for made in (tables(filled, [None, None]), tables([np.nan, np.nan], filled)):
            first, missing = compare(read_pair("c", made), ROLES, 0)
            assert "no values at all" in first.problem
            assert missing.distance.value == 1


def test_levels_that_one_table_lacks_are_counted_as_unseen():
    """Categories are matched by name, whatever their order or their type."""
    first = pd.DataFrame({"c": pd.Categorical(["a", "b", "a", "b"])})
    second = pd.DataFrame({"c": ["b", "z", "z", "a"]})
    (found,) = compare(read_pair("c", tables(first, second)), ROLES, 0)
    assert found.distance.value == pytest.approx(0.5)
    assert "2 rows of test in categories that train does not have" in found.moved
    with pytest.raises(Unreadable, match="the test table has no column 'c'"):
        read_pair("c", tables(first, second.rename(columns={"c": "d"})))


def test_a_zone_makes_times_instants():
    """The same instants in two zones are the same times."""
    hours = pd.date_range("2024-01-01", periods=50, freq="h", tz="UTC")
    (found,) = compare(read_pair("c", tables(hours, hours.tz_convert("Asia/Tokyo"))), ROLES, 0)
    assert found.distance.value == 0
