"""Models and rows that break tools: every recipe refuses by name or makes a sound variant, and none hangs."""

import dataclasses
import types

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from onnx import TensorProto, helper
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from pytest_mlgate.candidate import OnnxModel, as_model
from pytest_mlgate.compress import onnx_files
from pytest_mlgate.compress.ladder import ladder
from pytest_mlgate.compress.onnx_files import RecipeFailed, parse, refusal, workbench
from pytest_mlgate.compress.recipe import Material, NotApplicable
from pytest_mlgate.compress.rows import Rows
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError

STATIC = ["int8-static", "int8-static-entropy"]
#: One recipe for each way through the tools.
REWRITES = ["fp32-optimized", "int8-dynamic", *STATIC, "int8-static-mixed", "fp16", "int4-weights"]
RECIPES = {recipe.name: recipe for recipe in ladder()}
CLEAR = (NotApplicable, RecipeFailed, CheckError)


@pytest.fixture(scope="module")
def rows():
    """Three hundred rows of six features and a label that follows from them."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(300, 6)), columns=list("abcdef"))
    table["y"] = (table.a + table.b > 0).astype(int)
    return table


@pytest.fixture(scope="module")
def given(rows):
    """The material of a small network, sound in every way."""
    torch.manual_seed(0)
    data = Dataset(test=rows[:100], train=rows[100:], label="y")
    layers = torch.nn.Linear(6, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1), torch.nn.Sigmoid()
    return Material(as_model(torch.nn.Sequential(*layers), data), data)


def changed(given, change):
    """The same material with something changed in its graph."""
    model = parse(given.model.onnx)
    change(model)
    return dataclasses.replace(given, model=dataclasses.replace(given.model, onnx=model.SerializeToString()))


def scaled(given, position, factor):
    """The same material with a weight of its graph multiplied."""

    def scale(model):
        tensor = model.graph.initializer[position]
        values = onnx.numpy_helper.to_array(tensor) * np.float32(factor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))

    return changed(given, scale)


def outcome(recipe, material):
    """The variant, or the reason why there is none, which must be of a kind made for people."""
    try:
        return RECIPES[recipe].apply(material)
    except CLEAR as reason:
        return reason


@pytest.mark.parametrize("recipe", [*REWRITES, "bf16"])
def test_an_unsupported_operator_is_named(recipe, given):
    """A graph that ONNX Runtime has no operator for is refused with the operator's name."""

    def foreign(model):
        model.graph.node[1].op_type, model.graph.node[1].domain = "Frobnicate", "somebody.else"
        model.opset_import.append(helper.make_opsetid("somebody.else", 1))

    with pytest.raises(CLEAR, match="Frobnicate"):
        RECIPES[recipe].apply(changed(given, foreign))


@pytest.mark.parametrize("content", [b"", b"no graph at all", b"\x80\x04pickle"])
@pytest.mark.parametrize("recipe", [*REWRITES, "bf16"])
def test_bytes_that_are_no_graph_are_refused(recipe, content, given):
    """Bytes that hold no graph, or an empty one, are refused in words."""
    material = dataclasses.replace(given, model=dataclasses.replace(given.model, onnx=content))
    with pytest.raises(RecipeFailed, match="the model's bytes"):
        RECIPES[recipe].apply(material)


@pytest.mark.parametrize("size", [1, 8])
@pytest.mark.parametrize("recipe", REWRITES)
def test_a_fixed_batch_is_fed_as_it_wants(recipe, size, given):
    """A graph that takes exactly 1 or 8 rows is calibrated in batches of that size and answers alike."""

    def fix(model):
        for entry in (*model.graph.input, *model.graph.output):
            entry.type.tensor_type.shape.dim[0].dim_value = size

    material = changed(given, fix)
    variant = outcome(recipe, material)
    if isinstance(variant, NotApplicable):
        assert recipe == "int8-static-mixed"
        return
    assert isinstance(variant, bytes)
    floats, answers = (
        Rows(material.model, given.data.tables["train"]).answers(b)[0] for b in (material.model.onnx, variant)
    )
    assert floats.shape == (200, 1)
    assert np.abs(floats - answers).max() < 0.1


@pytest.mark.parametrize("recipe", REWRITES)
def test_free_dimensions_are_no_obstacle(recipe, given):
    """A graph that declares no size for its rows nor for its features is compressed all the same."""

    def free(model):
        for entry in (*model.graph.input, *model.graph.output):
            for position, size in enumerate(entry.type.tensor_type.shape.dim):
                size.dim_param = f"free{position}"
        del model.graph.value_info[:]

    assert isinstance(outcome(recipe, changed(given, free)), bytes | NotApplicable)


@pytest.mark.parametrize("recipe", REWRITES)
def test_one_training_row_is_enough(recipe, rows):
    """With a single training row the ranges are those of that row; nothing breaks."""
    torch.manual_seed(0)
    data = Dataset(test=rows[:100], train=rows[100:101], label="y")
    layers = torch.nn.Linear(6, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1), torch.nn.Sigmoid()
    material = Material(as_model(torch.nn.Sequential(*layers), data), data)
    assert isinstance(outcome(recipe, material), bytes | NotApplicable)


@pytest.fixture(scope="module")
def texts(rows):
    """A pipeline with a text column before a network, and one before a linear model, as material."""
    table = rows.assign(city=["bern", "rome", "oslo"] * 100)
    data = Dataset(test=table[:100], train=table[100:], label="y")
    made = []
    for last in (MLPClassifier((64,), solver="lbfgs", max_iter=20), LogisticRegression()):
        columns = make_column_transformer((OneHotEncoder(), ["city"]), (StandardScaler(), list("abcdef")))
        pipeline = make_pipeline(columns, last)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *_, **__: None)
            pipeline.fit(table.drop(columns="y"), table.y)
        made.append(Material(as_model(pipeline, data), data))
    return types.SimpleNamespace(network=made[0], linear=made[1])


@pytest.mark.parametrize("recipe", REWRITES)
def test_text_columns_pass_through(recipe, texts):
    """A pipeline that reads text is compressed behind its encoder, and answers nearly alike."""
    given = texts.network
    variant = outcome(recipe, given)
    if isinstance(variant, NotApplicable):
        assert recipe in {"int4-weights", "int8-static-mixed"}
        return
    assert isinstance(variant, bytes)
    frame = given.data.tables["test"]
    model = dataclasses.replace(given.model, onnx=variant)
    assert np.abs(model.predict_proba(frame) - given.model.predict_proba(frame)).max() < 0.1


@pytest.mark.parametrize("recipe", [r for r in REWRITES if r != "fp32-optimized"])
def test_a_linear_model_on_text_has_nothing_to_quantize(recipe, texts):
    """A pipeline without matrix products does not apply, and the reason names what it has."""
    with pytest.raises(NotApplicable, match=r"the graph has no .*; it has .*LinearClassifier"):
        RECIPES[recipe].apply(texts.linear)


@pytest.mark.parametrize("recipe", STATIC)
def test_answers_that_are_no_numbers_are_refused(recipe, given):
    """Weights whose range no scale can hold make NaN after quantization; the recipe says on how many rows."""

    def stretch(model):
        tensor = model.graph.initializer[0]
        values = np.array(onnx.numpy_helper.to_array(tensor))
        values[0, 0], values[1, 0] = 3e38, -3e38
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))

    with pytest.raises(CLEAR) as caught:
        RECIPES[recipe].apply(changed(given, stretch))
    assert "NaN or infinity for" in str(caught.value) or "broke" in str(caught.value)


def test_sixteen_bits_that_overflow_are_refused(given):
    """Activations beyond 65,504 overflow on a 16-bit target: the CPU hides it, the recipe does not."""
    with pytest.raises(NotApplicable, match=r"on the training rows, '/0/Gemm_output_0' reaches .* 65504"):
        RECIPES["fp16"].apply(scaled(given, 0, 1.5e5))


def test_weights_beyond_sixteen_bits_are_named(given):
    """A weight beyond 65,504 is not cut off: the recipe does not apply, and names the tensor."""
    with pytest.raises(NotApplicable, match=r"the weight '0\.weight' holds .*; 16-bit floats end at 65504"):
        RECIPES["fp16"].apply(scaled(given, 0, 1e6))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("recipe", REWRITES)
def test_training_rows_without_numbers_break_nothing(recipe, value, given):
    """NaN or infinity in a training column ends in a variant or in a reason, never in a crash."""
    variant = outcome(recipe, with_holes(given, value, every=2))
    if recipe in STATIC:
        assert isinstance(variant, bytes)
    else:
        assert isinstance(variant, bytes | Exception)


def test_rows_with_holes_fix_no_range(given):
    """Static quantization is calibrated on complete rows, and does not apply where there are none."""
    holes = with_holes(given, np.nan, every=2)
    whole = Dataset(test=given.data.test, train=holes.data.train.dropna(), label="y")
    assert RECIPES["int8-static"].apply(holes) == RECIPES["int8-static"].apply(
        dataclasses.replace(given, data=whole)
    )
    with pytest.raises(NotApplicable, match="no training row is without missing or infinite values"):
        RECIPES["int8-static"].apply(with_holes(given, np.nan, every=1))


def with_holes(given, value, every):
    """The same material with a value in a column of every so manieth training row."""
    train = given.data.train.copy()
    train.loc[train.index[::every], "a"] = value
    return dataclasses.replace(given, data=Dataset(test=given.data.test, train=train, label="y"))


@pytest.mark.parametrize("recipe", [*REWRITES, "bf16"])
def test_a_model_of_two_gibibytes_is_refused_before_any_work(recipe, enormous):
    """Protobuf ends at 2 GiB: the model is refused by its size, in a sentence, at once."""
    with pytest.raises(NotApplicable, match=r"2,147,483,648 bytes; ONNX tools hold a graph in one protobuf"):
        RECIPES[recipe].apply(enormous)


@pytest.fixture(scope="module")
def enormous(given):
    """Two gibibytes of zeros: they take no memory until they are written."""
    model = OnnxModel(onnx=bytes(2**31), name="enormous", kind="ONNX file", features=tuple("abcdef"))
    return dataclasses.replace(given, model=model)


def test_the_largest_model_is_still_worked_on(given):
    """A model of exactly the limit is not refused; one byte more is."""
    size = len(given.model.onnx)
    with workbench(given, "work", largest=size) as folder:
        assert (folder / "source.onnx").stat().st_size == size
    with (
        pytest.raises(NotApplicable, match=f"ends at {size - 1:,} bytes"),
        workbench(given, "work", largest=size - 1),
    ):
        pytest.fail("worked on a model that is too large")


def test_a_bare_assertion_of_a_tool_gets_words(given):
    """A tool that raises without a message is reported by what was being done and by the kind of error."""
    with (
        pytest.raises(RecipeFailed, match="static quantization broke: AssertionError: without a message"),
        workbench(given, "static quantization"),
    ):
        raise AssertionError


def test_a_graph_that_crashes_the_runtime_is_refused(given, monkeypatch):
    """A graph is loaded in a process of its own first, so that a crash there is a reason, not the end."""
    monkeypatch.setattr(onnx_files, "_LOAD", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(RecipeFailed, match=r"loading it crashes ONNX Runtime \(signal 11\)"):
        RECIPES["fp16"].apply(given)


def test_a_graph_that_never_loads_is_refused(given, monkeypatch):
    """Loading has a time limit."""
    monkeypatch.setattr(onnx_files, "_LOADING_SECONDS", 0.3)
    monkeypatch.setattr(onnx_files, "_LOAD", "import time; time.sleep(60)")
    assert refusal(given.model.onnx) == "it did not load within 0.3 s"


def test_a_graph_without_scores_for_rows_is_refused(given):
    """A graph whose answers are not one entry for each row cannot be compared, and the reason says so."""

    def collapse(model):
        model.graph.node[-1].output[0] = "each"
        model.graph.node.append(helper.make_node("ReduceMean", ["each"], ["score"], keepdims=0))
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("score", TensorProto.FLOAT, []))

    with pytest.raises(RecipeFailed, match="no floating-point output with an entry for each row"):
        RECIPES["int8-static"].apply(changed(given, collapse))


def test_the_other_recipes_go_on(given):
    """After a recipe failed, the next ones make the bytes that they make without it."""
    before = RECIPES["int8-static"].apply(given)
    for content in (b"", b"no graph at all"):
        broken = dataclasses.replace(given, model=dataclasses.replace(given.model, onnx=content))
        for recipe in REWRITES:
            outcome(recipe, broken)
    assert RECIPES["int8-static"].apply(given) == before
