"""What a check declares by its signature, and what a user may write for it."""

import math
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mlgate.contract import AtLeast, AtMost, ColumnNames, GroupColumns, check
from pytest_mlgate.errors import Misuse
from pytest_mlgate.evidence import Findings, Grade

NOTHING = Findings(measurements=())


@check("sample", accepts=(Grade.MEASURED, Grade.EMULATED), named_by=("metric",))
def sample(
    subject,
    epsilon: AtMost = None,
    *,
    floor: AtLeast = None,
    metric: Literal["auc", "accuracy"] = "auc",
    sensitive: GroupColumns = (),
    columns: ColumnNames = (),
    bins: int = 10,
    exact: bool = False,
) -> Findings:
    """Measures nothing.

    In detail: still nothing.
    """
    return NOTHING


@check("needy")
def needy(subject, *, level: float, max: AtMost = None) -> Findings:
    """Needs a level."""
    return NOTHING


USAGE = (
    "sample(epsilon: number, floor: number, metric: auc|accuracy='auc', sensitive: column names, "
    "columns: column names, bins: int=10, exact: bool=False)"
)


def test_signature_is_the_declaration():
    """Bounds, columns, summary and usage all follow from the signature, without the subject."""
    assert sample.bounds == {"epsilon": "<=", "floor": ">="}
    assert {n: c.as_groups for n, c in sample.columns.items()} == {"sensitive": True, "columns": False}
    assert sample.summary == "Measures nothing."
    assert sample.usage == USAGE
    assert next(iter(sample.signature.parameters)) == "epsilon"
    assert sample.accepts == (Grade.MEASURED, Grade.EMULATED)


def test_what_was_written_is_bound_and_nothing_else():
    """Binding gives the written parameters by name, converted, and no defaults."""
    assert sample.bind((3,), {"floor": 1, "sensitive": ["race", "sex"]}, "here") == {
        "epsilon": 3.0,
        "floor": 1.0,
        "sensitive": ("race", "sex"),
    }
    assert sample.bind((), {}, "here") == {}


def test_one_column_may_be_written_without_a_list():
    """A single column name stands for a list of one, not for its letters."""
    assert sample.bind((), {"sensitive": "race", "columns": "age"}, "here") == {
        "sensitive": ("race",),
        "columns": ("age",),
    }


@pytest.mark.parametrize(
    ("parameters", "problem", "accepted"),
    [
        ({"floor": "0.9"}, "floor='0.9'", "number"),
        ({"floor": True}, "floor=True", "number"),
        ({"floor": None}, "must be a number", "number"),
        ({"floor": math.nan}, "must be a finite number", "number"),
        ({"floor": math.inf}, "must be a finite number", "number"),
        ({"floor": [0.9]}, "floor=[0.9]", "number"),
        ({"metric": "f1"}, "metric='f1'", "one of auc, accuracy"),
        ({"metric": 1}, "metric=1", "one of auc, accuracy"),
        ({"sensitive": []}, "names no column", "column names"),
        ({"sensitive": [1]}, "sensitive=[1]", "column names"),
        ({"bins": 2.5}, "bins=2.5", "int"),
        ({"bins": "10"}, "bins='10'", "int"),
        ({"exact": 1}, "exact=1", "bool"),
    ],
)
def test_wrong_values_are_refused_with_the_accepted_ones(parameters, problem, accepted):
    """A value of another kind is refused; the message has place, parameter, value and what is accepted."""
    with pytest.raises(Misuse) as refused:
        sample.bind((), parameters, "test_x.py:7")
    message = str(refused.value)
    assert message.startswith("test_x.py:7: sample: ")
    assert problem in message
    assert message.endswith(f"Accepted for {next(iter(parameters))}: {accepted}")


@pytest.mark.parametrize(("args", "kwargs"), [((), {"maximum": 1}), ((1, 2), {}), ((1,), {"epsilon": 2})])
def test_arguments_that_do_not_fit_are_refused_with_the_usage(args, kwargs):
    """Unknown names, too many positions and doubled values are refused, and the usage is shown."""
    with pytest.raises(Misuse, match=r"^test_x\.py:7: sample: ") as refused:
        sample.bind(args, kwargs, "test_x.py:7")
    assert str(refused.value).endswith(f"Accepted: {USAGE}")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=2),
    max_leaves=5,
)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.dictionaries(st.sampled_from([*sample.hints, "other"]), anything, max_size=3))
def test_binding_converts_or_refuses(parameters):
    """Whatever is written either binds to finite numbers and known choices or is misuse, nothing else."""
    try:
        bound = sample.bind((), parameters, "here")
    except Misuse:
        return
    assert set(bound) == set(parameters)
    assert all(isinstance(bound[n], float) and math.isfinite(bound[n]) for n in sample.bounds if n in bound)
    assert bound.get("metric", "auc") in ("auc", "accuracy")


def test_missing_names_parameters_without_value_and_default():
    """Only a parameter that has no default and was not written is missing."""
    assert needy.missing({}) == ["level"]
    assert needy.missing({"level": 1.0}) == []
    assert sample.missing({}) == []


def test_version_is_the_digest_of_the_source(tmp_path, monkeypatch):
    """A check's version changes with its source file, so that old evidence is not reused."""
    import importlib
    import sys

    monkeypatch.syspath_prepend(tmp_path)
    source = (
        "from pytest_mlgate.contract import AtMost, check\n\n\n"
        "@check('versioned')\ndef versioned(subject, *, max: AtMost = None):\n    '''Says {}.'''\n"
    )
    versions = set()
    for word in ("one", "two"):
        (tmp_path / "versioned_check.py").write_text(source.format(word))
        importlib.invalidate_caches()
        sys.modules.pop("versioned_check", None)
        versions.add(importlib.import_module("versioned_check").versioned.version)
    sys.modules.pop("versioned_check", None)
    assert len(versions) == 2
    assert all(v.startswith("sha256:") and len(v) == 71 for v in versions)
