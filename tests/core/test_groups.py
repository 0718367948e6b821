"""Groups of people: by the values of a column, or by declared bins; every row is in exactly one."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError, Misuse


def dataset(column, **changes):
    rows = pd.DataFrame({"g": column})
    return Dataset(**{"test": rows.assign(a=0.5, y=np.arange(len(rows)) % 2), "label": "y", **changes})


KINDS = {
    "objects": lambda v: pd.DataFrame({"g": pd.Series(v, dtype=object)}),
    "categories": lambda v: pd.DataFrame({"g": pd.Categorical(v, categories=["never", "x", "y"])}),
    "strings": lambda v: pd.DataFrame({"g": pd.Series(v, dtype="string")}),
    "polars": lambda v: pl.DataFrame({"g": v}),
    "polars categories": lambda v: pl.DataFrame({"g": pl.Series(v, dtype=pl.Categorical)}),
    "polars enum": lambda v: pl.DataFrame({"g": pl.Series(v, dtype=pl.Enum(["never", "x", "y"]))}),
    "arrow": lambda v: pa.table({"g": pa.chunked_array([pa.array(v[:2]), pa.array(v[2:])])}),
    "arrow dictionary": lambda v: pa.table({"g": pa.array(v).dictionary_encode()}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_column_forms_the_same_groups(kind):
    """Names and codes do not depend on the table library, and categories without rows are no groups."""
    data = Dataset(test=KINDS[kind](["y", None, "x", "y", "x"]), label="g")
    names, codes = data.group_codes("g")
    assert names == ("unknown", "x", "y")
    assert codes.dtype == np.intp
    assert codes.tolist() == [2, 0, 1, 2, 1]
    assert data.groups("g").tolist() == ["y", "unknown", "x", "y", "x"]
    assert data.group_codes("g")[1] is codes


def test_values_of_other_types_are_other_groups_unless_they_read_the_same():
    """1.0 reads as 1, and True, "a" and a missing value stay apart; missing is not those called `unknown`."""
    values = [1, 1.0, "1", True, "a", None, float("nan"), pd.NA, pd.NaT, "unknown"]
    names, codes = dataset(pd.Series(values, dtype=object)).group_codes("g")
    assert names == ("1", "True", "a", "unknown", "unknown (missing)")
    assert codes.tolist() == [0, 0, 0, 1, 2, 4, 4, 4, 4, 3]


CELLS = st.sampled_from(["a", "b", 1, 1.0, 2.5, True, None, float("nan"), pd.NA])


@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.lists(CELLS, min_size=1, max_size=12))
def test_groups_are_those_of_a_loop_over_the_rows(values):
    """A column of mixed objects forms the groups that reading every cell by itself gives."""

    def read(value):
        if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
            return "unknown"
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

    data = dataset(pd.Series(values, dtype=object))
    assert data.groups("g").tolist() == [read(value) for value in values]
    names, codes = data.group_codes("g")
    assert list(names) == sorted(set(map(read, values)))
    assert np.bincount(codes, minlength=len(names)).min() > 0


def test_a_numeric_column_is_cut_at_its_bins():
    """A value on an edge belongs above it, a missing one is unknown, and bins without rows are no groups."""
    data = dataset([24.9, 25, 39.99, 60, 1e9, np.nan, -np.inf, np.inf], bins={"g": (25, 40, 60)})
    data.validate()
    names, codes = data.group_codes("g")
    assert names == ("<25", "25 to <40", ">=60", "unknown")
    assert [names[i] for i in codes] == [
        "<25", "25 to <40", "25 to <40", ">=60", ">=60", "unknown", "<25", ">=60",
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", ["int64", "Int64", "float32", "Float64"])
def test_bins_cut_every_kind_of_number(dtype):
    """Integers and pandas' own numbers are cut as floats are; one edge makes two groups."""
    data = dataset(pd.Series([10, 20, 30], dtype=dtype), bins={"g": [20]})
    assert data.groups("g").tolist() == ["<20", ">=20", ">=20"]


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    st.lists(st.floats(allow_infinity=True, allow_nan=True), min_size=1, max_size=20),
    st.lists(st.floats(-100, 100), min_size=1, max_size=5, unique=True).map(sorted),
)
def test_every_row_is_in_the_bin_whose_edges_enclose_it(values, edges):
    """Low edge <= value < high edge, for any numbers and any rising edges."""
    data = dataset(values, bins={"g": edges})
    names, codes = data.group_codes("g")
    places = ["unknown" if math.isnan(v) else sum(edge <= v for edge in edges) for v in values]
    for one, place in zip(codes.tolist(), places, strict=True):
        for other, elsewhere in zip(codes.tolist(), places, strict=True):
            assert (one == other) == (place == elsewhere)
    assert len(set(names)) == len(names) == len(set(places))


@pytest.mark.parametrize(
    ("bins", "message"),
    [
        ({"g": [40, 25]}, r"bins of 'g' are \[40, 25\], which do not rise from edge to edge"),
        ({"g": [25, 25]}, "do not rise"),
        ({"g": [25, float("nan")]}, "not every edge is a finite number"),
        ({"g": [25, float("inf")]}, "not every edge is a finite number"),
        ({"g": ["25"]}, "not every edge is a finite number"),
        ({"g": [True]}, "not every edge is a finite number"),
        ({"g": []}, "Accepted: one or more finite numbers"),
        ({"g": 25}, "Accepted: one or more finite numbers"),
        ({"g": "25"}, "Accepted: one or more finite numbers"),
        ([25], "Accepted: edges by column"),
        ({"age": [25]}, "bins: the test table has no column 'age'"),
    ],
)
def test_edges_that_cut_nothing_are_misuse(bins, message):
    """Edges must be finite numbers that rise, for a column that exists."""
    with pytest.raises(Misuse, match=message):
        dataset([10.0, 30.0], bins=bins).validate()


@pytest.mark.parametrize("column", [["young", "old"], [True, False], [None, None]])
def test_bins_of_a_column_without_numbers_are_misuse(column):
    """Text, truth values and an empty column cannot be cut, and the message says what they are."""
    data = dataset(pd.Series(column, dtype=None if isinstance(column[0], bool) else object), bins={"g": [1]})
    with pytest.raises(Misuse, match=r"bins of 'g': the column holds .*, and only numbers can be cut"):
        data.validate()
    with pytest.raises(CheckError, match="only numbers can be cut"):
        data.group_codes("g")


def test_one_group_is_refused_and_a_group_of_one_row_is_not():
    """A column must tell rows apart; how little a single row says is for the check to say."""
    dataset(["m", "f", "m", "m"]).require_groups("g", "here")
    dataset(["m", None, "m", "m"]).require_groups("g", "here")
    with pytest.raises(Misuse, match="here: column 'g' has the single group 'm' in the test table"):
        dataset(["m"] * 4).require_groups("g", "here")
    with pytest.raises(Misuse, match="has the single group '<9'"):
        dataset([1, 2, 3], bins={"g": [9]}).require_groups("g", "here")


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        (np.arange(5000.0), r"cut it with Dataset\(bins=\{'g': \[...\]\}\) .* or merge values"),
        ([f"street {i}" for i in range(5000)], "at most 200 can be compared: merge values"),
    ],
    ids=["numbers", "text"],
)
def test_a_column_of_thousands_of_groups_is_refused_early(values, advice):
    """A column of amounts or names is named with the number of its groups, the limit, and what to do."""
    data = dataset(values)
    with pytest.raises(Misuse, match=f"here: column 'g' has 5,000 groups in the 5,000 rows.*{advice}"):
        data.require_groups("g", "here", most=200)
    data.require_groups("g", "here", most=5000)
    data.require_groups("g", "here")


def test_an_absent_column_is_a_check_error():
    """Groups of a column that is not there are an error with its name."""
    with pytest.raises(CheckError, match="the test table has no column 'race'"):
        dataset(["m", "f"]).group_codes("race")


def test_missing_values_are_not_merged_with_a_group_that_is_called_unknown():
    """A group of that name stays apart, or a gap between the two would vanish."""
    data = dataset(["unknown", None, "x", "unknown", None, "x"])
    names, codes = data.group_codes("g")
    assert names == ("unknown", "unknown (missing)", "x")
    assert codes.tolist() == [0, 1, 2, 0, 1, 2]
