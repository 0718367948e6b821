"""What a label is: two classes, several, or an amount; and labels that nothing can be judged on."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError, Misuse

N = 60
AMOUNTS = np.linspace(-3.5, 8.3, N)


def table(label, n=N):
    return pd.DataFrame({"a": np.arange(n, dtype=float), "y": label})


def dataset(label, **changes):
    return Dataset(**{"test": table(label, len(label)), "label": "y", **changes})


@pytest.mark.parametrize(
    ("label", "task"),
    [
        ([0, 1] * 30, "binary"),
        (["n", "y"] * 30, "binary"),
        ([0.25, 0.75] * 30, "binary"),
        ([True, False] * 30, "binary"),
        ([0, 1, 2] * 20, "multiclass"),
        (["a", "b", "c"] * 20, "multiclass"),
        ([1.0, 1.5, 2.0] * 20, "multiclass"),
        (list(range(N)), "multiclass"),
    ],
)
def test_the_task_follows_from_the_values(label, task):
    """Two values are binary and more are multiclass; a few halves, as in ratings, are classes too."""
    assert dataset(label).task == task
    dataset(label, positive=label[1]).validate()


@pytest.mark.parametrize("wrap", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_many_fractions_must_say_what_they_are(wrap):
    """A label of many numbers that are not whole is misuse that names both choices; declared, it is fine."""
    rows = wrap({"a": AMOUNTS, "y": AMOUNTS})
    undeclared = Dataset(test=rows, label="y")
    with pytest.raises(
        Misuse, match=r"label 'y' has 60 different values .* task='regression' .*='multiclass'"
    ):
        undeclared.validate()
    declared = Dataset(test=rows, label="y", task="regression")
    declared.validate()
    assert declared.task == "regression"
    assert Dataset(test=rows, label="y", task="multiclass").task == "multiclass"


@pytest.mark.parametrize(
    ("label", "task", "message"),
    [
        ([0, 1] * 30, "multiclass", "task='multiclass', and label 'y' has 2 classes .* that is 'binary'"),
        ([0, 1, 2] * 20, "binary", "task='binary', and label 'y' has 3 classes .* that is 'multiclass'"),
        ([0, 1] * 30, "ranking", "task='ranking'. Accepted: binary, multiclass, regression"),
        (["12", "3.5"] * 30, "regression", r"'y' holds no number in 60 of 60 rows .*such as '12'"),
        ([True, False] * 30, "regression", "'y' holds no number in 60 of 60 rows"),
        ([1.5, "x", 2.5] * 20, "regression", r"'y' holds no number in 20 of 60 rows .*such as 'x'"),
        ([1.5, None, 2.5] * 20, "regression", r"'y' has missing values in the test table \(20 of 60 rows\)"),
        ([1.5, np.inf, 2.5] * 20, "regression", "'y' is infinite in 20 of 60 rows of the test table"),
        ([2.5] * N, "regression", "'y' is 2.5 in all 60 rows of the test table"),
        ([[1, 2], [3]] * 30, None, "label 'y' cannot be read as classes"),
    ],
)
def test_a_label_that_does_not_fit_its_task_is_misuse(label, task, message):
    """The message names the label, the task, how many rows are concerned and what is accepted."""
    with pytest.raises(Misuse, match=message):
        dataset(label, task=task).validate()


def test_amounts_of_the_training_table_are_looked_at_too():
    """A training row without an amount is misuse, as one of the test table is."""
    holes = table(AMOUNTS).assign(y=np.where(np.arange(N) < 7, np.nan, AMOUNTS))
    with pytest.raises(Misuse, match=r"missing values in the train table \(7 of 60 rows\)"):
        dataset(AMOUNTS, train=holes, task="regression").validate()


@pytest.mark.parametrize(
    "label",
    [
        pd.Series(AMOUNTS),
        pd.Series(AMOUNTS, dtype=object),
        pd.Series(AMOUNTS, dtype="Float64"),
        pl.Series(AMOUNTS),
        pd.Series([Decimal(str(v)) for v in AMOUNTS], dtype=object),
    ],
    ids=["float64", "objects", "Float64", "polars", "decimals"],
)
def test_targets_are_the_numbers_of_the_label(label):
    """Amounts of any column type become float64, the same array every time, closed for writing."""
    frame = pl.DataFrame if isinstance(label, pl.Series) else pd.DataFrame
    data = Dataset(test=frame({"a": AMOUNTS, "y": label}), label="y", task="regression")
    data.validate()
    np.testing.assert_array_equal(data.targets(), AMOUNTS)
    assert data.targets() is data.targets()
    with pytest.raises(ValueError, match="read-only"):
        data.targets()[0] = 1.0


def test_amounts_are_no_classes_and_classes_no_amounts():
    """What asks for the other kind of label ends in a check error that says so."""
    amounts, classes = dataset(AMOUNTS, task="regression"), dataset([0, 1] * 30)
    for ask in (amounts.labels, amounts.class_numbers, lambda: amounts.classes):
        with pytest.raises(
            CheckError,
            match=r"label 'y' is an amount \(task='regression'\).*needs classes: choose .* such as mae",
        ):
            ask()
    assert amounts.unseen_labels == ()
    with pytest.raises(CheckError, match=r"label 'y' is binary, and this needs amounts"):
        classes.targets()


def test_labels_that_training_never_saw_are_named():
    """Classes that only the test table has are known to the data; with no training table nothing is."""
    test, train = table([0, 1, 2, 5] * 15), table([0, 1, 2] * 20)
    assert Dataset(test=test, train=train, label="y").unseen_labels == (5,)
    assert Dataset(test=train, train=test, label="y").unseen_labels == ()
    assert Dataset(test=test, label="y").unseen_labels == ()


def test_labels_of_a_table_that_is_not_there():
    """Asking for labels of an absent table, or of one without labels, is a check error with a next step."""
    data = dataset([0, 1] * 30)
    with pytest.raises(CheckError, match=r"there is no train table: give Dataset\(train=...\)"):
        data.labels("train")
    bare = dataset([0, 1] * 30, current=table([0] * N)[["a"]])
    with pytest.raises(CheckError, match="the current table has no column 'y'"):
        bare.labels("current")


def test_a_missing_label_is_never_a_negative():
    """Rows of production without a label are an error where labels are asked for, and no class's number."""
    data = dataset(["n", "p"] * 30, positive="p", current=table(["p", None] * 30))
    with pytest.raises(CheckError, match=r"missing values in the current table \(30 of 60 rows\)"):
        data.labels("current")
    assert data.class_numbers("current").tolist() == [1, -1] * 30


def test_the_task_and_the_bins_are_part_of_the_meaning():
    """Evidence made under another task or other bins is other evidence."""
    whole = list(range(N))
    meanings = [
        dataset(whole).meaning,
        dataset(whole, task="regression").meaning,
        dataset(whole, bins={"a": [3]}).meaning,
        dataset(whole, bins={"a": [4]}).meaning,
    ]
    assert all(one != other for i, one in enumerate(meanings) for other in meanings[:i])
    assert dataset(whole).meaning == dataset(whole, task="multiclass", bins={}).meaning
    assert dataset(whole, bins={"a": [3]}).meaning == dataset(whole, bins={"a": (3.0,)}).meaning


LABELS = st.one_of(
    st.lists(st.integers(-3, 3), min_size=1),
    st.lists(st.booleans(), min_size=1),
    st.lists(st.text("abc", max_size=2), min_size=1),
    st.lists(st.sampled_from(["a", 1, 2, 1.5]), min_size=1),
)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(LABELS, st.sampled_from([1, "a", True]))
def test_labels_are_those_of_a_loop_over_the_rows(values, positive):
    """Positive rows, classes and their numbers are what comparing every row by itself gives."""
    rows = pd.DataFrame({"a": 0.0, "y": pd.Series(values, dtype=object)})
    data = Dataset(test=rows, label="y", positive=positive)
    assert data.labels().tolist() == [value == positive for value in values]
    assert set(data.classes) == set(values)
    assert [data.classes[i] for i in data.class_numbers()] == values
