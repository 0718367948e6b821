"""Recipes that change a torch module and fine-tune it: what they make, leave alone and refuse."""

import copy
import dataclasses
import gzip
import json
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from onnx import numpy_helper
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from torch import nn

from pytest_mlgate.candidate import Candidate, as_model
from pytest_mlgate.compress.ladder import ladder
from pytest_mlgate.compress.lessons import TrainingFailed, make_lesson
from pytest_mlgate.compress.objectives import Plan
from pytest_mlgate.compress.recipe import Material, NotApplicable
from pytest_mlgate.compress.recipes import (
    distillation,
    low_rank,
    magnitude_pruning,
    quantization_aware,
    structured_pruning,
)
from pytest_mlgate.compress.surgery import METADATA_KEY, calls, fold_norms
from pytest_mlgate.compress.training import fine_tune, undisturbed
from pytest_mlgate.dataset import Dataset

FAMILIES = (low_rank, magnitude_pruning, quantization_aware, structured_pruning)
RECIPES = {recipe.name: recipe for family in FAMILIES for recipe in family.RECIPES}


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """Few steps: what a recipe makes is looked at here, not how good it can get."""
    for family in (*FAMILIES, distillation):
        plan = dataclasses.replace(family._PLAN, steps=300)
        monkeypatch.setattr(family, "_PLAN", plan)


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    made = pd.DataFrame(rng.normal(size=(rows, 12)).astype(np.float32), columns=[f"f{i}" for i in range(12)])
    made["y"] = (made.f0 + made.f1 * made.f2 > 0).astype(int)
    return made


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset(test=table(150, 1), train=table(240), label="y")


def layers(width: int = 64) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(12, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1), nn.Sigmoid()
    )


def fitted(module, rows, labels, steps=120):
    """Return the module after some training: pruning noise would prove nothing."""
    torch.manual_seed(0)
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    rows, labels = torch.from_numpy(rows), torch.from_numpy(labels)
    module.train()
    for _ in range(steps):
        picked = torch.randint(0, len(rows), (64,))
        answer = module(rows[picked])
        if answer.shape[1] == 1:
            loss = nn.functional.binary_cross_entropy(answer[:, 0], labels[picked].float())
        else:
            loss = nn.functional.cross_entropy(answer, labels[picked])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return module.eval()


@pytest.fixture(scope="module")
def chain(data):
    """A trained network of fully connected layers."""
    rows = data.train.drop(columns="y").to_numpy(np.float32)
    return as_model(fitted(layers(), rows, data.train.y.to_numpy()), data)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    given = load_digits()
    rows = pd.DataFrame((given.data / 16).astype(np.float32), columns=[f"p{i}" for i in range(64)])
    rows["y"] = given.target
    return Dataset(test=rows[1000:1300], train=rows[:300], label="y")


class Convolutions(nn.Module):
    """Two convolutions with batch normalisation over rows of 64 pixels."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        )
        self.head = nn.Linear(128, 10)

    def forward(self, rows):
        return self.head(self.body(rows.view(-1, 1, 8, 8)).flatten(1))


class Encoder(nn.Module):
    """One encoder layer over the eight lines of a digit."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.place = nn.Parameter(0.1 * torch.randn(8, 16))
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, rows):
        return self.head(self.layer(self.embed(rows.view(-1, 8, 8)) + self.place).mean(1))


@pytest.fixture(scope="module", params=[Convolutions, Encoder])
def reader(request, digits):
    """A network that reads digits and is no chain of fully connected layers."""
    torch.manual_seed(0)
    rows = digits.train.drop(columns="y").to_numpy(np.float32)
    module = fitted(request.param(), rows, digits.train.y.to_numpy(), 400)
    with undisturbed(0):  # the exporter knows no fused encoder layer
        return as_model(Candidate(module, output="logit"), digits)


def weights(data: bytes) -> list[np.ndarray]:
    graph = onnx.load_model_from_string(data).graph
    return [numpy_helper.to_array(t) for t in graph.initializer if len(t.dims) > 1]


def accuracy(model, data: Dataset) -> float:
    scores = model.predict_proba(data.tables["test"])
    if scores.ndim == 1:
        return float(np.mean((scores >= 0.5) == data.labels()))
    return float(np.mean(scores.argmax(axis=1) == data.class_numbers()))


def variant(model, data: bytes):
    return dataclasses.replace(model, onnx=data)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_a_working_variant_and_the_same_bytes_twice(name, chain, data):
    """A variant answers nearly as often right as the candidate, and the same material makes the same file."""
    material = Material(chain, data, seconds=600)
    made = RECIPES[name].apply(material)
    assert accuracy(variant(chain, made), data) > accuracy(chain, data) - 0.06
    assert RECIPES[name].apply(material) == made
    other = RECIPES[name].apply(dataclasses.replace(material, seed=1))
    assert name == "qat-int8" or other != made


def test_all_recipes_are_on_the_ladder_as_training():
    """The search finds every recipe by its name and knows that it trains."""
    found = {recipe.name: recipe for recipe in ladder()}
    names = {*RECIPES, *(recipe.name for recipe in distillation.RECIPES)}
    assert names <= set(found)
    assert all(found[name].trains for name in names)


@pytest.mark.parametrize("percent", [50, 80])
def test_magnitude_pruning_leaves_zeros_that_fine_tuning_keeps(percent, chain, data):
    """The asked share of the weights is exactly zero, and only the compressed file is smaller for it."""
    made = RECIPES[f"pruned-magnitude-{percent}"].apply(Material(chain, data))
    found = np.concatenate([w.ravel() for w in weights(made)])
    assert np.mean(found == 0) == pytest.approx(percent / 100, abs=0.01)
    assert len(made) > 0.95 * len(chain.onnx)
    assert len(gzip.compress(made)) < (1.15 - percent / 100) * len(gzip.compress(chain.onnx))


@pytest.mark.parametrize("percent", [30, 50, 75])
def test_structured_pruning_removes_neurons(percent, chain, data):
    """Layers really get narrower, in multiples of four, and the single output stays."""
    made = RECIPES[f"pruned-structured-{percent}"].apply(Material(chain, data))
    width = round((1 - percent / 100) * 64) // 4 * 4
    assert sorted(w.size for w in weights(made)) == sorted([12 * width, width * width, width])


def test_structured_pruning_thins_other_networks(reader, digits):
    """Convolutions and encoders lose channels, keep their classes, and still read digits."""
    made = RECIPES["pruned-structured-50"].apply(Material(reader, digits, seconds=600))
    assert sum(w.size for w in weights(made)) < 0.45 * sum(w.size for w in weights(reader.onnx))
    found = variant(reader, made)
    assert found.predict_proba(digits.tables["test"]).shape == (300, 10)
    assert accuracy(found, digits) > accuracy(reader, digits) - 0.15


def test_low_rank_and_rounding_work_on_other_networks(reader, digits, monkeypatch):
    """Convolutions and encoders are factored, rounded and zeroed without losing what they know."""
    monkeypatch.setattr(low_rank, "_SMALLEST", 256)
    for name in ("low-rank", "qat-int8", "pruned-magnitude-50"):
        made = variant(reader, RECIPES[name].apply(Material(reader, digits, seconds=600)))
        assert accuracy(made, digits) > accuracy(reader, digits) - 0.1


def test_low_rank_keeps_the_energy_it_says(data):
    """A layer whose energy lies in three directions becomes two of rank two or less, with the same shape."""
    module = layers()
    with torch.no_grad():
        thin = torch.randn(64, 3) @ torch.randn(3, 64)
        module[2].weight.copy_(thin / 8)
    made = RECIPES["low-rank"].apply(Material(as_model(module, data), data))
    shapes = [sorted(w.shape) for w in weights(made)]
    assert [2, 64] in shapes or [1, 64] in shapes
    assert [64, 64] not in shapes


def test_low_rank_does_not_apply_to_small_layers(data):
    """Where no layer would get smaller, the recipe says so."""
    with pytest.raises(NotApplicable, match="no layer of 4,096 weights or more gets smaller"):
        RECIPES["low-rank"].apply(Material(as_model(layers(8), data), data))


def test_quantization_aware_training_ends_in_eight_bits(chain, data):
    """The variant holds 8-bit weights, a quarter of the size, and dequantizes what it reads."""
    made = RECIPES["qat-int8"].apply(Material(chain, data))
    assert len(made) < 0.6 * len(chain.onnx)
    assert "QuantizeLinear" in {node.op_type for node in onnx.load_model_from_string(made).graph.node}


def test_the_file_says_how_it_was_trained(chain, data):
    """Epochs planned and run, the loss and why training stopped are in the variant's metadata."""
    made = onnx.load_model_from_string(RECIPES["pruned-structured-50"].apply(Material(chain, data)))
    note = json.loads({p.key: p.value for p in made.metadata_props}[METADATA_KEY])
    assert set(note) == {"epochs", "planned", "validation_loss", "stopped"}
    assert 0 < note["epochs"] <= note["planned"]


@pytest.mark.parametrize("name", ["pruned-structured-50", "pruned-magnitude-50", "low-rank", "qat-int8"])
def test_nothing_is_left_behind_in_the_process(name, chain, data, capfd):
    """Module, modes, random state, threads and gradient mode are what they were, and nothing is printed."""
    module = chain.source.module
    module.train()
    module[0].eval()
    before = copy.deepcopy(module.state_dict())
    torch.manual_seed(7)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    fused = torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():
        RECIPES[name].apply(Material(chain, data))
        assert not torch.is_grad_enabled()
    assert tuple(capfd.readouterr()) == ("", "")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert torch.backends.mha.get_fastpath_enabled() == fused
    assert [part.training for part in module.modules()] == [True, False, *[True] * 5]
    assert all(torch.equal(value, module.state_dict()[key]) for key, value in before.items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_the_test_rows_are_never_learned_from(chain, data):
    """Other rows and labels to judge on make the same variant."""
    other = Dataset(test=table(40, 9), train=data.train, label="y")
    made = [RECIPES["pruned-structured-50"].apply(Material(chain, given)) for given in (data, other)]
    assert made[0] == made[1]


def test_the_users_loss_is_minimised(data):
    """The declared loss is what training calls, with labels in the shape of the outputs."""
    seen = []

    def loss(outputs, labels):
        seen.append((tuple(outputs.shape[1:]), outputs.shape == labels.shape, labels.dtype))
        return ((outputs - labels) ** 2).mean()

    model = as_model(Candidate(layers(), loss=loss), data)
    RECIPES["pruned-structured-50"].apply(Material(model, data))
    assert set(seen) == {((1,), True, torch.float32)}


@pytest.mark.parametrize("name", RECIPES)
def test_without_a_training_table_no_recipe_trains(name, chain, data):
    """The test rows are for judging: without others there is nothing to learn from."""
    with pytest.raises(NotApplicable, match="no training table was given"):
        RECIPES[name].apply(Material(chain, Dataset(test=data.test, label="y")))


@pytest.mark.parametrize("name", RECIPES)
def test_without_a_module_there_is_nothing_to_change(name, data):
    """An estimator has answers, but no layers."""
    rows = data.train.drop(columns="y").to_numpy()
    model = as_model(LogisticRegression().fit(rows, data.train.y), data)
    with pytest.raises(NotApplicable, match="the candidate is no torch module"):
        RECIPES[name].apply(Material(model, data))


@pytest.mark.parametrize("name", [*RECIPES, "distilled-tiny"])
def test_without_torch_the_message_says_what_to_install(name, chain, data, monkeypatch):
    """A missing library is no error of the model, and the message ends in the command."""
    monkeypatch.setitem(sys.modules, "torch", None)
    recipe = next(recipe for recipe in ladder() if recipe.name == name)
    with pytest.raises(NotApplicable, match=r"pip install 'pytest-mlgate\[torch\]'"):
        recipe.apply(Material(chain, data))


def test_without_torch_pruning_the_message_says_what_to_install(chain, data, monkeypatch):
    """Structured pruning names the library that it needs."""
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(NotApplicable, match="torch-pruning is not installed"):
        RECIPES["pruned-structured-50"].apply(Material(chain, data))


def test_a_module_without_hidden_layers_cannot_be_thinned(data):
    """A single layer is all output: nothing can be removed from it."""
    model = as_model(nn.Sequential(nn.Linear(12, 1), nn.Sigmoid()), data)
    with pytest.raises(NotApplicable, match=r"no layer .* channels|cannot be removed"):
        RECIPES["pruned-structured-50"].apply(Material(model, data))


class Scaled(nn.Module):
    """Numbers without any layer."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(12))

    def forward(self, rows):
        return torch.sigmoid((rows * self.weight).sum(1))


@pytest.mark.parametrize("name", RECIPES)
def test_a_module_without_layers_is_not_applicable(name, data):
    """Bare parameters are no layer that a recipe could change, and every recipe says so."""
    with pytest.raises(NotApplicable):
        RECIPES[name].apply(Material(as_model(Scaled(), data), data))


def test_text_features_are_not_applicable(data):
    """A pipeline that reads text cannot be taught to a network on numbers."""
    rows = pd.DataFrame({"t": ["a", "b"] * 60, "y": [0, 1] * 60})
    pipeline = make_pipeline(make_column_transformer((OneHotEncoder(), ["t"])), LogisticRegression())
    given = Dataset(test=rows, train=rows, label="y")
    model = as_model(pipeline.fit(rows[["t"]], rows.y), given)
    distilled = next(recipe for recipe in distillation.RECIPES if recipe.name == "distilled-nano")
    with pytest.raises(NotApplicable, match="text features"):
        distilled.apply(Material(model, given))


BROKEN = {
    "one row": (lambda t: t[:1], "the training table has 1 usable row; training needs at least 20"),
    "one class": (lambda t: t[t.y == 1], "label 'y' has a single class in the training table"),
    "unknown labels": (lambda t: t.assign(y=t.y + 5), "the training table has 0 usable rows"),
}


@pytest.mark.parametrize(("spoil", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_table_that_teaches_nothing_is_an_error_with_a_name(spoil, message, chain, data):
    """Too few rows, one class or labels that are never judged: each is said, none is trained on."""
    spoilt = Dataset(test=data.test, train=spoil(data.train), label="y")
    with pytest.raises(TrainingFailed, match=message):
        RECIPES["pruned-structured-50"].apply(Material(chain, spoilt))


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "NaN"), (float("inf"), "infinite")])
def test_a_diverged_training_is_an_error_with_a_name(value, word, data):
    """A loss that is no number stops the training and is named with its epoch."""
    model = as_model(Candidate(layers(), loss=lambda outputs, labels: outputs.sum() * 0 + value), data)
    with pytest.raises(TrainingFailed, match=f"training diverged: loss is {word} after epoch 1"):
        RECIPES["pruned-structured-50"].apply(Material(model, data))


def test_the_clock_stops_a_training_and_the_best_state_is_kept(chain, data):
    """Out of time, training ends, says so, and leaves the module in evaluation mode with its best weights."""
    lesson = make_lesson(Material(chain, data), "test")
    module = copy.deepcopy(chain.source.module)
    ticks = iter(range(10**6))
    with undisturbed(0):
        fit = fine_tune(module, lesson, Plan(steps=200), seed=0, seconds=30, clock=lambda: float(next(ticks)))
    assert (fit.stopped, fit.epochs < fit.planned, module.training) == ("time", True, False)


def test_the_epochs_follow_from_the_time_that_is_granted(chain, data):
    """Less time means fewer epochs, planned beforehand and never by the clock."""
    lesson = make_lesson(Material(chain, data), "test")
    with undisturbed(0):
        fits = [
            fine_tune(
                copy.deepcopy(chain.source.module), lesson, Plan(), seed=0, seconds=s, clock=lambda: 0.0
            )
            for s in (0.2, 0.5)
        ]
    assert 1 <= fits[0].planned < fits[1].planned
    assert not any(fit.stopped == "time" for fit in fits)


def test_training_without_improvement_stops_early(chain, data):
    """A loss that nothing lowers is not minimised to the end."""
    lesson = dataclasses.replace(
        make_lesson(Material(chain, data), "test"), loss=lambda outputs, _: outputs.sum() * 0 + 1
    )
    with undisturbed(0):
        fit = fine_tune(
            copy.deepcopy(chain.source.module),
            lesson,
            Plan(steps=400, teacher_share=0.0),
            seed=0,
            seconds=600,
        )
    assert fit.stopped == "no improvement"
    assert fit.epochs < fit.planned


def test_folded_normalisation_gives_the_same_answers():
    """Batch normalisation goes into the layer before it; one that follows nothing of its own stays."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.BatchNorm1d(12), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 1)
    )
    rows = np.random.default_rng(0).normal(size=(50, 12)).astype(np.float32)
    for _ in range(5):
        module.train()(torch.from_numpy(rows))
    expected = module.eval()(torch.from_numpy(rows)).detach()
    fold_norms(module, rows)
    assert [type(part).__name__ for part in module][:3] == ["BatchNorm1d", "Linear", "Identity"]
    assert type(module[4]).__name__ == "BatchNorm1d"
    torch.testing.assert_close(module(torch.from_numpy(rows)).detach(), expected, atol=1e-5, rtol=1e-5)
    assert [call.name for call in calls(module, rows)] == list("012345")
