"""Adapters are merged before export, without a change of the answers and without a touch on the original."""

import copy
import warnings

import numpy as np
import pytest
import torch
from peft import IA3Config, LoraConfig, get_peft_model
from torch import nn

from pytest_mlgate.candidate.adapters import merge
from pytest_mlgate.errors import CandidateRefused


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid()
    )


def adapted(**extra) -> nn.Module:
    """A network with a LoRA adapter that changes its answers."""
    with warnings.catch_warnings(action="ignore"):
        model = get_peft_model(network(), LoraConfig(r=2, target_modules=["0", "2"], **extra))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.5)
    return model


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


def answers(module, rows):
    with torch.no_grad():
        return module.eval()(torch.from_numpy(rows)).numpy()


def test_a_module_without_an_adapter_comes_back_as_it_is(rows):
    """Nothing to merge: the same object, and no facts."""
    module = network()
    assert merge(module, rows) == (module, None)


def test_lora_is_merged_and_answers_as_before(rows):
    """The merged module has plain layers, gives the adapted answers and not those of the bare network."""
    model = adapted()
    expected = answers(model, rows)
    merged, facts = merge(model, rows)
    assert not any("lora" in name for name, _ in merged.named_parameters())
    assert [type(part) for part in merged] == [type(part) for part in network()]
    np.testing.assert_allclose(answers(merged, rows), expected, atol=1e-5)
    assert np.abs(answers(network(), rows) - expected).max() > 0.01
    assert facts is not None
    assert facts.merge_difference < 1e-5


def test_the_facts_are_the_adapters_own(rows):
    """Rank 2 on layers of 6x16 and 16x16: 108 numbers of 4 bytes, next to 401 of the network."""
    _, facts = merge(adapted(), rows)
    numbers = 2 * (6 + 16) + 2 * (16 + 16)
    assert (facts.method, facts.adapter_parameters, facts.adapter_bytes) == ("LORA", numbers, 4 * numbers)
    assert facts.parameters == numbers + sum(p.numel() for p in network().parameters())
    assert facts.trainable_share == numbers / facts.parameters


def test_a_frozen_adapter_is_known_by_its_names(rows):
    """An adapter that was loaded to be used requires no gradients and is counted all the same."""
    model = adapted()
    trained = merge(model, rows)[1]
    for parameter in model.parameters():
        parameter.requires_grad = False
    assert merge(model, rows)[1] == trained


def test_layers_trained_beside_the_adapter_are_counted(rows):
    """A head that is trained and saved with the adapter is part of what has to be shipped."""
    _, facts = merge(adapted(modules_to_save=["4"]), rows)
    assert facts.adapter_parameters == 108 + 17


def test_other_methods_than_lora_are_merged(rows):
    """What the library can merge is merged, and named as the library names it."""
    with warnings.catch_warnings(action="ignore"):
        model = get_peft_model(network(), IA3Config(target_modules=["0", "2"], feedforward_modules=["2"]))
    for name, parameter in model.named_parameters():
        if "ia3_" in name:
            nn.init.normal_(parameter, mean=1.0, std=0.3)
            parameter.requires_grad = False
    merged, facts = merge(model, rows)
    np.testing.assert_allclose(answers(merged, rows), answers(model, rows), atol=1e-5)
    assert (facts.method, facts.adapter_parameters) == ("IA3", 32)


class Wrapped(nn.Module):
    """An adapted network inside one that does more."""

    def __init__(self):
        super().__init__()
        self.inner = adapted()

    def forward(self, rows):
        return 1 - self.inner(rows)


def test_an_adapter_inside_a_module_is_merged_in_its_place(rows):
    """What the outer module adds to the answers is still there."""
    model = Wrapped()
    merged, facts = merge(model, rows)
    assert type(merged) is Wrapped
    assert facts.method == "LORA"
    assert not any("lora" in name for name, _ in merged.named_parameters())
    np.testing.assert_allclose(answers(merged, rows), answers(model, rows), atol=1e-5)


def test_the_original_and_the_process_are_left_alone(rows):
    """Weights, modes, random state and gradient mode stay; dropout does not disturb the comparison."""
    model = adapted(lora_dropout=0.5).train()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    merge(model, rows)
    assert all(part.training for part in model.modules())
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()


class Careless(nn.Module):
    """Merges into something else than it was."""

    def __init__(self, shift: float):
        super().__init__()
        self.body, self.shift = network(), shift

    def forward(self, rows):
        return self.body(rows) + self.shift

    def merge_and_unload(self):
        return self.body


@pytest.mark.parametrize("shift", [0.01, float("nan")])
def test_a_merge_that_changes_the_answers_is_refused(shift, rows):
    """The message has the difference and what would have been accepted."""
    with pytest.raises(
        CandidateRefused, match=r"changes the model's answers by (0\.01|inf) .*accepted: 0\.0001"
    ):
        merge(Careless(shift), rows)


def test_a_merge_within_the_tolerance_is_accepted(rows):
    """Rounding is not a change, and its size is among the facts."""
    merged, facts = merge(Careless(1e-6), rows)
    assert type(merged) is nn.Sequential
    assert 0 < facts.merge_difference < 1e-4


def test_a_merge_that_breaks_is_refused(rows):
    """What the library raises becomes a refusal that says what was tried."""
    model = Careless(0.0)
    model.merge_and_unload = lambda: 1 / 0
    with pytest.raises(CandidateRefused, match="cannot be merged into the model: ZeroDivisionError"):
        merge(model, rows)
