"""Tables of any library are the same data, and data that nothing can be measured on is refused."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from pytest_mlgate.dataset import Dataset, content_digest, is_missing, matrix, read_table
from pytest_mlgate.errors import CheckError, Misuse

COLUMNS = {
    "a": [0.5, -1.25, 3.0, None],
    "k": [1, 2, 3, 4],
    "s": ["x", "ü", None, ""],
    "y": [0, 1, 1, 0],
}


def csv(folder, frame):
    frame.to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def parquet(folder, frame):
    frame.to_parquet(folder / "t.parquet")
    return folder / "t.parquet"


KINDS = {
    "pandas": lambda folder, frame: frame,
    "polars": lambda folder, frame: pl.DataFrame(frame.to_dict("list"), nan_to_null=True),
    "arrow": lambda folder, frame: pa.table(frame.to_dict("list")),
    "csv": csv,
    "csv as text": lambda folder, frame: str(csv(folder, frame)),
    "parquet": parquet,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_table_is_the_same_data(kind, tmp_path):
    """The same numbers give the same matrix, labels and digest from memory, CSV and Parquet."""
    frame = pd.DataFrame({n: v for n, v in COLUMNS.items() if n != "s"})
    data = Dataset(test=KINDS[kind](tmp_path, frame), label="y")
    expected = Dataset(test=frame, label="y")
    data.validate()
    assert data.feature_names == ("a", "k")
    assert data.labels().tolist() == [False, True, True, False]
    np.testing.assert_array_equal(
        matrix(data.tables["test"], data.feature_names),
        np.array([[0.5, 1], [-1.25, 2], [3, 3], [np.nan, 4]], np.float32),
    )
    assert data.identities()[0].digest == expected.identities()[0].digest


def digest(frame) -> str:
    return content_digest(read_table(frame, "test"))


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_text_and_missing_values_have_one_digest_in_memory(kind, tmp_path):
    """Text, missing text and empty text give the same digest in every library, and are told apart."""
    tables = {
        "pandas": pd.DataFrame(COLUMNS),
        "polars": pl.DataFrame(COLUMNS),
        "arrow": pa.table(COLUMNS),
    }
    frame = read_table(tables[kind], "test")
    assert content_digest(frame) == content_digest(read_table(tables["pandas"], "test"))
    other = pd.DataFrame(COLUMNS | {"s": ["x", "ü", "", None]})
    assert content_digest(frame) != content_digest(read_table(other, "test"))


def test_an_array_has_numbered_columns():
    """The columns of an array are x0, x1, and so on, and images are taken row by row."""
    rows = np.array([[1.0, 2.0, 0.0], [3.0, 4.0, 1.0]])
    data = Dataset(test=rows, label="x2")
    data.validate()
    assert data.feature_names == ("x0", "x1")
    np.testing.assert_array_equal(matrix(data.tables["test"], ["x0", "x1"]), rows[:, :2])
    assert read_table(np.zeros((3, 2, 2)), "test").columns == ["x0", "x1", "x2", "x3"]
    named = pd.DataFrame(rows, columns=["x0", "x1", "x2"])
    assert content_digest(data.tables["test"]) == content_digest(read_table(named, "test"))


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.assign(a=f.a + 1e-9),
        lambda f: f.rename(columns={"a": "b"}),
        lambda f: f[["k", "a", "s", "y"]],
        lambda f: f[::-1],
        lambda f: f[:-1],
        lambda f: f.assign(s=["x", "u", None, ""]),
    ],
)
def test_digest_sees_every_change(change):
    """A changed value, name, column order, row order or length changes the digest."""
    frame = pd.DataFrame(COLUMNS)
    assert digest(change(frame)) != digest(frame)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([2**53, 1], [2**53 + 1, 1]),
        ([-(2**62), 1], [-(2**62) - 1, 1]),
        (["a\x1fb", "c"], ["a", "b\x1fc"]),
        (["a\x1f", "b"], ["a", "\x1fb"]),
        (['a", "b', "c"], ["a", 'b", "c']),
        ([None, "a"], ["None", "a"]),
        ([None, "a"], ["", "a"]),
        ([None, "a"], ["null", "a"]),
    ],
)
def test_digest_tells_neighbours_apart(one, other):
    """Integers that floats would merge, separators inside text, and missing text do not collide."""
    assert digest(pd.DataFrame({"k": one})) != digest(pd.DataFrame({"k": other}))
    assert digest(pl.DataFrame({"k": one})) == digest(pd.DataFrame({"k": one}))


def test_identities_name_role_shape_and_source(tmp_path):
    """Each table is identified by role, shape, and the file's name without its folder."""
    frame = pd.DataFrame(COLUMNS)
    data = Dataset(test=csv(tmp_path, frame), train=frame, current=frame[:3], label="y")
    found = [(i.role, i.rows, i.columns, i.source) for i in data.identities()]
    assert found == [
        ("test", 4, 4, "t.csv"),
        ("train", 4, 4, "in memory"),
        ("current", 3, 4, "in memory"),
    ]


def make(**changes):
    fields = {"test": pd.DataFrame(COLUMNS), "label": "y"}
    return Dataset(**{**fields, **changes})


BASE = pd.DataFrame(COLUMNS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": BASE[:0]}, "the test table has no rows"),
        ({"train": BASE[:0]}, "the train table has no rows"),
        ({"test": BASE.assign(y=1)}, "label 'y' has the single value 1 in the test table"),
        ({"positive": "yes"}, r"positive='yes' is not a value of label 'y'. Accepted: 0, 1"),
        ({"test": BASE.assign(y=[0, 1, 1, None])}, "label 'y' has missing values"),
        ({"test": BASE.assign(y=["n", "p", "p", None]), "positive": "p"}, "label 'y' has missing values"),
        ({"label": "outcome"}, "the test table has no column 'outcome'. Its columns: a, k, s, y"),
        ({"train": BASE[["a", "k", "y"]]}, "the train table has no column 's'"),
        ({"current": BASE[["a", "y"]]}, "the current table has no column 'k', 's'"),
        ({"features": ["a", "z"]}, "the test table has no column 'z'"),
        ({"sensitive": ["race"]}, "the test table has no column 'race'"),
        ({"prediction": "score"}, "the test table has no column 'score'"),
        ({"test": BASE.to_dict()}, "the test table is a dict. Accepted: a pandas, polars or Arrow"),
        ({"test": BASE["a"]}, "the test table is a Series"),
        ({"test": pl.DataFrame(COLUMNS).lazy()}, "the test table is a LazyFrame"),
        ({"test": np.zeros(3)}, "the test array has 1 dimension"),
        ({"test": np.float64(3)}, "the test table is a float64"),
        ({"features": ["a", "y"]}, "label 'y' is named as a feature too"),
        ({"features": ["a", "k", "a"]}, "features names a twice"),
        ({"features": []}, "no column is left for the model to read"),
        ({"sensitive": ["a", "k", "s"]}, "no column is left for the model to read"),
        ({"test": "absent.csv"}, "'absent.csv' does not exist or is not a file"),
    ],
)
def test_data_that_nothing_can_be_measured_on_is_misuse(changes, message):
    """Empty tables, missing columns, one class, missing labels and foreign objects are refused by name."""
    with pytest.raises(Misuse, match=message):
        make(**changes).validate()


def test_current_rows_need_no_label():
    """Rows from production may come without the label."""
    make(current=BASE.drop(columns="y")).validate()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b""),
        ("t.csv", b"\xff\xfe\x00\x01"),
        ("t.csv", b"a,y\n1,0\n1,2,3,4\n"),
        ("t.parquet", b"PAR1 and nothing behind it"),
        ("t.parquet", b""),
        ("t.xlsx", b"PK\x03\x04"),
        ("t", b"a,y\n1,0\n"),
    ],
)
def test_broken_files_are_misuse(tmp_path, name, content):
    """A file that is no table, or of a kind that is not read, is misuse that names the file."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(Misuse, match=rf"data: cannot read .*'{name}'"):
        read_table(path, "test")


def test_a_csv_with_a_header_alone_has_no_rows(tmp_path):
    """A header without rows is an empty table, and refused as one."""
    path = tmp_path / "t.csv"
    path.write_text("a,y\n")
    with pytest.raises(Misuse, match="has no rows"):
        Dataset(test=path, label="y").validate()


def test_a_folder_is_no_table(tmp_path):
    """A folder that is called like a table is refused."""
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(Misuse, match="is not a file"):
        read_table(tmp_path / "t.csv", "test")


def test_groups_are_text_and_missing_is_a_group_of_its_own():
    """Groups are texts, whole numbers without a point, and a missing value is `unknown`."""
    data = make(
        test=BASE.assign(g=[1.0, 2.0, np.nan, 1.0], h=["a", None, "b", "a"], t=[True, False, True, True])
    )
    assert data.groups("g").tolist() == ["1", "2", "unknown", "1"]
    assert data.groups("h").tolist() == ["a", "unknown", "b", "a"]
    assert data.groups("t").tolist() == ["True", "False", "True", "True"]


def test_features_leave_out_what_is_no_input():
    """Label, prediction and sensitive columns are no features unless they are named as such."""
    assert make(sensitive=["s"], prediction="k").feature_names == ("a",)
    assert make(sensitive=["s"], features=["k", "s"]).feature_names == ("k", "s")


@pytest.mark.parametrize("positive", [1, True, 1.0])
def test_positive_class_is_found_in_any_spelling_of_one(positive):
    """A label of ones and zeros is the same for 1, 1.0 and True."""
    assert make(positive=positive).labels().tolist() == [False, True, True, False]


def test_columns_that_are_no_numbers_are_a_check_error():
    """Text does not become a matrix; the error names the column."""
    with pytest.raises(CheckError, match="column 's' is not numeric"):
        matrix(read_table(BASE, "test"), ["a", "s"])


@pytest.mark.parametrize(
    ("value", "missing"),
    [
        (None, True),
        (float("nan"), True),
        (pd.NaT, True),
        (pd.NA, True),
        (np.float64("nan"), True),
        (0, False),
        ("", False),
        (False, False),
    ],
)
def test_missing_is_no_value_and_nothing_else(value, missing):
    """None, NaN, NaT and NA are missing; zero, False and empty text are values."""
    assert is_missing(value) is missing


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize(
    "label",
    [
        pd.array([0, 1, pd.NA, 0], dtype="Int64"),
        pd.array([False, True, pd.NA, False], dtype="boolean"),
        pd.Series([0, 1, pd.NA, 0], dtype=object),
    ],
    ids=["Int64", "boolean", "object"],
)
def test_a_missing_label_of_pandas_is_refused(label, positive):
    """NA in the label is a missing value like any other, for either positive class."""
    with pytest.raises(Misuse, match="label 'y' has missing values in the test table"):
        make(test=BASE.assign(y=label), positive=positive).validate()


@pytest.mark.parametrize("kind", ["Int64", "boolean", "string", "object"])
def test_a_missing_group_of_pandas_is_a_group_of_its_own(kind):
    """NA in a sensitive column is the group `unknown`."""
    values = ["x", pd.NA, "z", "x"] if kind in ("string", "object") else [1, pd.NA, 0, 1]
    data = make(test=BASE.assign(g=pd.Series(values, dtype=kind, index=BASE.index)), sensitive=["g"])
    data.validate()
    assert data.groups("g")[1] == "unknown"
    assert len(set(data.groups("g"))) == 3
    assert data.identities()[0].digest.startswith("sha256:")


@pytest.mark.parametrize("kind", ["Int64", "Float64"])
def test_a_missing_number_of_pandas_is_nan(kind):
    """NA in a numeric feature reaches the model as NaN."""
    values = pd.Series([1, pd.NA, 3, 4], dtype=kind, index=BASE.index)
    found = matrix(make(test=BASE.assign(k=values)).tables["test"], ["k"])
    np.testing.assert_array_equal(found, np.array([[1], [np.nan], [3], [4]], np.float32))


def test_a_missing_value_among_objects_is_a_check_error():
    """NA in a column of Python objects is no number, and the error names the column."""
    frame = BASE.assign(k=pd.Series([1, pd.NA, 3, 4], dtype=object))
    with pytest.raises(CheckError, match="column 'k' is not numeric"):
        matrix(read_table(frame, "test"), ["k"])


@pytest.mark.parametrize("positive", [0, "1"])
def test_a_missing_label_beside_a_single_class_is_refused(positive):
    """NA beside one label value is misuse too, where the positive class is another value."""
    label = pd.array([1, 1, pd.NA, 1], dtype="Int64")
    with pytest.raises(Misuse, match="label 'y'"):
        make(test=BASE.assign(y=label), positive=positive).validate()


@pytest.mark.parametrize("missing", [pd.NA, None, float("nan")])
def test_a_missing_label_in_the_training_table_is_refused(missing):
    """A training row without a label is misuse, not a row of the negative class."""
    train = BASE.assign(y=pd.Series([0, 1, missing, 0], dtype=object))
    with pytest.raises(Misuse, match="label 'y' has missing values in the train table"):
        make(train=train).validate()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pd.Series([-1, 1]), pd.Series([2**64 - 1, 1], dtype="uint64")),
        (pd.Series([True, False]), pd.Series(["True", "False"])),
        (pd.array([2**53, pd.NA], dtype="Int64"), pd.array([2**53 + 1, pd.NA], dtype="Int64")),
    ],
    ids=["sign", "truth values and text", "large beside NA"],
)
def test_digest_tells_kinds_apart(one, other):
    """Columns whose values differ do not collide because their bytes or texts are the same."""
    assert digest(pd.DataFrame({"k": one})) != digest(pd.DataFrame({"k": other}))
