"""The recipes that rewrite ONNX graphs, on real networks: what they make, how small, how close, how often."""

import dataclasses
import logging
import math
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.ensemble import GradientBoostingClassifier

from pytest_mlgate.candidate import as_model
from pytest_mlgate.compress.ladder import ladder
from pytest_mlgate.compress.onnx_files import operators, parse, prune_imports
from pytest_mlgate.compress.qdq import static_quantizer
from pytest_mlgate.compress.recipe import Material, NotApplicable
from pytest_mlgate.compress.recipes import int8_mixed
from pytest_mlgate.compress.rows import CALIBRATION_ROWS, Rows
from pytest_mlgate.dataset import Dataset

STATIC = ["int8-static", "int8-static-per-channel", "int8-static-entropy", "int8-static-percentile"]
DYNAMIC = ["int8-dynamic", "int8-dynamic-per-channel"]
MAKES = ["fp32", "fp32-optimized", *DYNAMIC, *STATIC, "fp16", "int4-weights"]
ALL = [*MAKES, "int8-static-mixed", "bf16"]
RECIPES = {recipe.name: recipe for recipe in ladder()}
#: Largest difference of a probability from the float model's.
CLOSE = {"fp32": 0.0, "fp32-optimized": 1e-5, "fp16": 2e-3, "int4-weights": 0.2} | dict.fromkeys(
    (*DYNAMIC, *STATIC), 0.06
)
#: Largest share of the float model's bytes.
SMALL = {"fp32": 1.0, "fp32-optimized": 1.01, "fp16": 0.62, "int4-weights": 0.3} | dict.fromkeys(
    (*DYNAMIC, *STATIC), 0.4
)
L = torch.nn


class Cnn(L.Module):
    def __init__(self):
        super().__init__()
        self.body = L.Sequential(
            L.Conv2d(1, 32, 3, padding=1),
            L.BatchNorm2d(32),
            L.ReLU(),
            L.Conv2d(32, 64, 3, padding=1),
            L.BatchNorm2d(64),
            L.ReLU(),
            L.MaxPool2d(2),
            L.Flatten(),
            L.Linear(1024, 10),
        )

    def forward(self, rows):
        return self.body(rows.reshape(-1, 1, 8, 8)).softmax(1)


class Encoder(L.Module):
    def __init__(self):
        super().__init__()
        self.embed = L.Linear(8, 64)
        layer = L.TransformerEncoderLayer(64, 4, 256, 0.0, activation="gelu", batch_first=True)
        self.layers = L.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = L.Linear(64, 10)
        # torch starts all layers as copies of one, and the exporter would store them once.
        for weights in self.parameters():
            L.init.normal_(weights, std=0.1)

    def forward(self, rows):
        return self.head(self.layers(self.embed(rows.reshape(-1, 8, 8))).mean(1)).softmax(1)


class Attention(L.Module):
    """Attention written out as BERT has it, which ONNX Runtime knows how to fuse."""

    def __init__(self):
        super().__init__()
        self.embed, self.before, self.after = L.Linear(8, 32), L.LayerNorm(32), L.LayerNorm(32)
        self.query, self.key, self.value, self.out = (L.Linear(32, 32) for _ in range(4))
        self.head = L.Linear(32, 10)

    def forward(self, rows):
        x = self.before(self.embed(rows.reshape(-1, 8, 8)))
        query, key, value = (self._heads(part(x)) for part in (self.query, self.key, self.value))
        share = (query @ key.transpose(-1, -2) / math.sqrt(16)).softmax(-1)
        joined = (share @ value).permute(0, 2, 1, 3).contiguous()
        joined = joined.view(joined.size(0), joined.size(1), 32)
        return self.head(self.after(self.out(joined) + x).mean(1)).softmax(1)

    def _heads(self, x):
        return x.view(x.size(0), x.size(1), 2, 16).permute(0, 2, 1, 3)


class Tied(L.Module):
    """One linear layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.first, self.shared, self.last = L.Linear(20, 64), L.Linear(64, 64), L.Linear(64, 1)

    def forward(self, rows):
        x = self.first(rows).relu()
        return self.last(self.shared(self.shared(x).relu()).relu()).sigmoid()


def mlp(width=256, outlier=1.0):
    first = L.Linear(20, width)
    hidden = [layer for _ in range(3) for layer in (L.Linear(width, width), L.ReLU())]
    with torch.no_grad():
        first.weight[0] *= outlier
        hidden[0].weight[:, 0] /= outlier
    return L.Sequential(first, L.ReLU(), *hidden, L.Linear(width, 1), L.Sigmoid())


@pytest.fixture(scope="module", autouse=True)
def _reference_attention():
    """Without this, torch replaces its encoder layer by one operator that has no export."""
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


@pytest.fixture(scope="module")
def wide():
    """Rows with twenty features and a label that follows from them."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(1500, 20)), columns=[f"f{i}" for i in range(20)])
    rows["y"] = (rows.sum(axis=1) > 0).astype(int)
    return Dataset(test=rows[:200], train=rows[200:], label="y")


@pytest.fixture(scope="module")
def digits():
    """Handwritten digits, 64 pixels each."""
    table = load_digits(as_frame=True)
    rows = table.data / 16
    rows["y"] = table.target
    return Dataset(test=rows[:300], train=rows[300:], label="y")


@pytest.fixture(scope="module")
def material(wide, digits):
    """The material of a model by its name; every model is made once, seeded."""
    made = {}

    def make(name):
        if name not in made:
            torch.manual_seed(0)
            data = digits if name in {"cnn", "encoder", "attention"} else wide
            kinds = {"cnn": Cnn, "encoder": Encoder, "attention": Attention, "tied": Tied, "mlp": mlp}
            if name == "outlier":
                module = mlp(64, outlier=60.0)
            elif name == "trees":
                module = GradientBoostingClassifier(n_estimators=5, random_state=0)
                module.fit(wide.train.drop(columns="y"), wide.train.y)
            else:
                module = kinds[name]()
            if name == "cnn":
                learn(module, data)
            made[name] = Material(as_model(module, data), data)
        return made[name]

    return make


def learn(module, data):
    """Train for one pass over the table, so that the answers differ from row to row."""
    rows = torch.tensor(data.train.drop(columns="y").to_numpy(np.float32))
    labels = torch.tensor(data.class_numbers("train"))
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    for part in torch.randperm(len(rows)).split(64):
        optimizer.zero_grad()
        L.functional.nll_loss(module(rows[part]).log(), labels[part]).backward()
        optimizer.step()


def census(variant):
    return operators(parse(variant).graph)


def off(material, variant):
    """The largest difference of a probability on the test rows."""
    model = dataclasses.replace(material.model, onnx=variant)
    frame = material.data.tables["test"]
    return np.abs(model.predict_proba(frame) - material.model.predict_proba(frame)).max()


def test_the_ladder_finds_them_all():
    """Every recipe of this family is on the ladder, trains nothing, and has a summary on one line."""
    assert set(ALL) <= RECIPES.keys()
    for name in ALL:
        assert not RECIPES[name].trains
        assert RECIPES[name].summary
        assert "\n" not in RECIPES[name].summary


@pytest.mark.parametrize("recipe", MAKES)
@pytest.mark.parametrize("network", ["mlp", "encoder"])
def test_a_variant_is_small_and_keeps_the_answers(network, recipe, material):
    """Each recipe makes a variant of a linear network and of an encoder that is small and answers alike."""
    given = material(network)
    variant = RECIPES[recipe].apply(given)
    assert len(variant) <= SMALL[recipe] * len(given.model.onnx)
    assert off(given, variant) <= CLOSE[recipe]


@pytest.mark.parametrize("recipe", [*STATIC, "fp16"])
def test_convolutions_become_small_too(recipe, material):
    """Static quantization and 16-bit floats shrink a convolutional network and keep its answers."""
    given = material("cnn")
    variant = RECIPES[recipe].apply(given)
    assert len(variant) <= SMALL[recipe] * len(given.model.onnx)
    assert off(given, variant) <= CLOSE[recipe]


@pytest.mark.parametrize("recipe", DYNAMIC)
def test_dynamic_quantization_leaves_convolutions_in_float(recipe, material):
    """No ConvInteger is made, which is 20 times slower than a float convolution."""
    found = census(RECIPES[recipe].apply(material("cnn")))
    assert found["ConvInteger"] == 0
    assert found["Conv"] + found["FusedConv"] == 2
    assert found["MatMulInteger"] == 1


@pytest.mark.parametrize("recipe", [name for name in ALL if name != "bf16"])
def test_the_same_material_makes_the_same_bytes(recipe, material):
    """A recipe that is applied twice gives the same digest, or the same reason."""

    def outcome():
        try:
            return RECIPES[recipe].apply(material("attention"))
        except NotApplicable as reason:
            return str(reason)

    assert outcome() == outcome()


def test_weights_are_stored_in_eight_bits(material):
    """An int8 variant holds its large weights as int8, with one scale each, or one for every channel."""
    for recipe, scales in (("int8-static", 1), ("int8-static-per-channel", 256)):
        graph = parse(RECIPES[recipe].apply(material("mlp"))).graph
        kept = {t.name: t for t in graph.initializer}
        large = [t for t in kept.values() if t.data_type == TensorProto.INT8 and math.prod(t.dims) == 256**2]
        assert len(large) == 3
        read = {node.input[0]: node.input[1] for node in graph.node if node.op_type == "DequantizeLinear"}
        assert [math.prod(kept[read[t.name]].dims) for t in large] == [scales] * 3


def test_the_calibrations_are_different(material):
    """Min-max, entropy and percentile calibration fix different ranges."""
    variants = {RECIPES[name].apply(material("cnn")) for name in STATIC if "channel" not in name}
    assert len(variants) == 3


def test_attention_scores_stay_in_float(material):
    """Products of two activations hold no weights and are left alone by static quantization."""
    graph = parse(RECIPES["int8-static"].apply(material("encoder"))).graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    inputs = [{made_by.get(n) for n in node.input} for node in graph.node if node.op_type == "MatMul"]
    assert sum("DequantizeLinear" not in kinds for kinds in inputs) == 4


def test_batch_norm_is_folded_before_quantization(material):
    """A static int8 convolutional network has neither batch norm nor a separate activation left."""
    found = census(RECIPES["int8-static"].apply(material("cnn")))
    assert found["BatchNormalization"] == found["Relu"] == 0
    assert found["Conv"] == 2


def test_optimization_fuses_operators(material):
    """The optimized graph has fewer operators, some of them fused."""
    given = material("mlp")
    found = census(RECIPES["fp32-optimized"].apply(given))
    assert found["FusedGemm"] == 5
    assert found.total() < census(given.model.onnx).total()


def test_attention_is_fused_where_rows_can_show_that_it_is_right(material):
    """Attention becomes one operator if there are training rows to compare answers on, and only then."""
    given = material("attention")
    fused = RECIPES["fp32-optimized"].apply(given)
    assert census(fused)["Attention"] == 1
    assert census(fused)["SkipLayerNormalization"] == 0
    assert off(given, fused) < 1e-5
    alone = dataclasses.replace(given, data=Dataset(test=given.data.test, label="y"))
    assert census(RECIPES["fp32-optimized"].apply(alone))["Attention"] == 0


def test_a_graph_with_nothing_to_fuse_is_left_alone(material):
    """What is optimized already is not optimized again: the recipe says that it found nothing."""
    given = material("mlp")
    optimized = dataclasses.replace(given.model, onnx=RECIPES["fp32-optimized"].apply(given))
    with pytest.raises(NotApplicable, match="nothing to fold or fuse"):
        RECIPES["fp32-optimized"].apply(dataclasses.replace(given, model=optimized))


@pytest.mark.parametrize("recipe", [name for name in ALL if not name.startswith("fp32")])
def test_trees_have_nothing_to_quantize(recipe, material):
    """Boosted trees have no matrix products, and the reason names the operators they have."""
    with pytest.raises(NotApplicable, match=r"the graph has no .*; it has .*TreeEnsemble"):
        RECIPES[recipe].apply(material("trees"))


@pytest.mark.parametrize("recipe", [*STATIC, "int8-static-mixed"])
def test_static_quantization_needs_training_rows(recipe, material):
    """Without a training table the static recipes do not apply; the test rows are for judging."""
    given = material("mlp")
    alone = dataclasses.replace(given, data=Dataset(test=given.data.test, label="y"))
    with pytest.raises(NotApplicable, match="calibrated on the training table, and no training table"):
        RECIPES[recipe].apply(alone)


@pytest.mark.parametrize("recipe", ["int8-dynamic", "fp16", "int4-weights", "fp32-optimized"])
def test_the_others_do_without_training_rows(recipe, material):
    """Recipes that need no calibration make the same bytes with and without a training table."""
    given = material("mlp")
    alone = dataclasses.replace(given, data=Dataset(test=given.data.test, label="y"))
    assert RECIPES[recipe].apply(alone) == RECIPES[recipe].apply(given)


def test_sensitive_operators_stay_in_float(material):
    """A layer with outlying weights is left in float, which halves the error; the rest is quantized."""
    given = material("outlier")
    mixed = RECIPES["int8-static-mixed"].apply(given)
    static = RECIPES["int8-static"].apply(given)
    rows = Rows(given.model, given.data.tables["train"], 128)
    floats, whole, partly = (rows.answers(b)[0] for b in (given.model.onnx, static, mixed))
    assert np.std(partly - floats) <= int8_mixed.WORTHWHILE * np.std(whole - floats) * 1.01
    kept = {tuple(t.dims) for t in parse(mixed).graph.initializer if t.data_type == TensorProto.FLOAT}
    assert (64, 20) in kept
    assert len(static) < len(mixed) < len(given.model.onnx)


def test_many_operators_are_judged_by_their_weights(material, monkeypatch):
    """In a graph of many operators the one whose weights quantization hurts most counts as most sensitive."""
    monkeypatch.setattr(int8_mixed, "_ONE_AT_A_TIME", 2)
    with static_quantizer(material("outlier")) as quantizer:
        judge = int8_mixed._Error(quantizer)
        ordered = int8_mixed._most_sensitive_first(quantizer, judge, quantizer.quantize())
    assert sorted(ordered) == sorted(quantizer.nodes)
    assert ordered[0] == quantizer.nodes[0]


def test_nothing_is_left_in_float_where_int8_is_as_good(material):
    """If static int8 already gives the float answers, the mixed recipe says so with its error."""
    with pytest.raises(NotApplicable, match=r"int8-static is as good: its error is 0\.\d+%"):
        RECIPES["int8-static-mixed"].apply(material("cnn"))


def test_leaving_operators_in_float_must_help(material, monkeypatch):
    """If the error cannot be brought under the stated share, the mixed recipe gives up and says how far."""
    monkeypatch.setattr(int8_mixed, "WORTHWHILE", 1e-9)
    with pytest.raises(NotApplicable, match=r"the 2 most sensitive of 5 operators in float, .* still \d+%"):
        RECIPES["int8-static-mixed"].apply(material("outlier"))


@pytest.mark.parametrize("recipe", [*DYNAMIC, "int8-static", "fp16", "int4-weights", "fp32-optimized"])
def test_a_weight_that_is_used_twice_is_transposed_once(recipe, material):
    """A layer that a network uses twice gives the same answers afterwards."""
    given = material("tied")
    assert off(given, RECIPES[recipe].apply(given)) <= CLOSE[recipe]


def test_bfloat16_says_why_it_does_not_apply(material):
    """The CPU provider has no bfloat16 kernels; its own reason is given."""
    with pytest.raises(NotApplicable, match=r"does not run the graph in bfloat16: .*(Gemm|MatMul)"):
        RECIPES["bf16"].apply(material("mlp"))


def test_four_bit_weights_need_a_block(wide):
    """A network whose weights are smaller than one block is not quantized to 4 bits."""
    small = Material(
        as_model(L.Sequential(L.Linear(20, 8), L.ReLU(), L.Linear(8, 1), L.Sigmoid()), wide), wide
    )
    with pytest.raises(NotApplicable, match="at least one block"):
        RECIPES["int4-weights"].apply(small)


def test_four_bit_weights_name_the_missing_package(material, monkeypatch):
    """Without onnx-ir the 4-bit recipe does not apply, and says what to install."""
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization.matmul_nbits_quantizer", None)
    with pytest.raises(NotApplicable, match="pip install onnx-ir"):
        RECIPES["int4-weights"].apply(material("mlp"))


def test_nothing_is_printed_or_logged(material, capfd, monkeypatch):
    """The tools print, warn and configure the root logger; none of it reaches the gate's output."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    for recipe in ("int8-static-entropy", "int8-dynamic", "int4-weights", "fp16", "fp32-optimized"):
        RECIPES[recipe].apply(material("attention"))
    assert capfd.readouterr() == ("", "")
    assert (root.handlers, root.level, root.manager.disable) == ([], logging.WARNING, 0)


@pytest.mark.parametrize("recipe", ["int8-static", "fp32-optimized"])
def test_a_variant_imports_only_what_it_uses(recipe, material):
    """Operator sets that no node needs are removed, so that readers that lack them load the file."""
    model = parse(RECIPES[recipe].apply(material("cnn")))
    assert {entry.domain for entry in model.opset_import} <= {"", "com.microsoft"}
    onnx.checker.check_model(model) if recipe == "int8-static" else None


def test_imports_of_nodes_inside_branches_are_kept():
    """An operator set that only a branch uses stays."""
    inner = helper.make_graph(
        [helper.make_node("Gelu", ["x"], ["inside"], domain="com.microsoft")],
        "branch",
        [],
        [helper.make_tensor_value_info("inside", TensorProto.FLOAT, None)],
    )
    branch = helper.make_node("If", ["which"], ["y"], then_branch=inner, else_branch=inner)
    sets = [helper.make_opsetid(d, 1) for d in ("", "com.microsoft", "ai.onnx.ml")]
    model = helper.make_model(helper.make_graph([branch], "g", [], []), opset_imports=sets)
    prune_imports(model)
    assert [entry.domain for entry in model.opset_import] == ["", "com.microsoft"]


def test_calibration_rows_are_spread_over_the_table(wide, material):
    """At most 512 rows are taken, from the first to the last at equal distances, in batches of one size."""
    frame = wide.tables["train"]
    rows = Rows(material("mlp").model, frame)
    batches = [next(iter(feeds.values())) for feeds in rows.batches()]
    assert {len(batch) for batch in batches} == {64}
    assert rows.count == CALIBRATION_ROWS
    column = frame["f0"].to_numpy().astype(np.float32)
    taken = np.concatenate(batches)[: rows.count, 0]
    positions = [int(np.flatnonzero(column == value)[0]) for value in taken]
    assert (positions[0], positions[-1]) == (0, len(column) - 1)
    assert set(np.diff(positions)) == {2, 3}


def test_gemm_with_scaling_is_left_as_it_is(wide):
    """A Gemm that scales its product is no plain matrix product, and its answers are kept."""
    rng = np.random.default_rng(0)
    tensors = [
        numpy_helper.from_array(rng.normal(size=(20, 64)).astype(np.float32), "a"),
        numpy_helper.from_array(rng.normal(size=(64, 1)).astype(np.float32), "b"),
    ]
    nodes = [
        helper.make_node("Gemm", ["features", "a"], ["hidden"], alpha=0.01),
        helper.make_node("Gemm", ["hidden", "b"], ["raw"]),
        helper.make_node("Sigmoid", ["raw"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "scaled",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 20])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])],
        initializer=tensors,
    )
    opset = [helper.make_opsetid("", 17)]
    given = material_of(helper.make_model(graph, opset_imports=opset, ir_version=8), wide)
    variant = RECIPES["int8-dynamic"].apply(given)
    assert census(variant)["Gemm"] == 1
    assert off(given, variant) < 0.02


def material_of(model, data):
    torch.manual_seed(0)
    given = as_model(mlp(8), data)
    return Material(dataclasses.replace(given, onnx=model.SerializeToString()), data)
