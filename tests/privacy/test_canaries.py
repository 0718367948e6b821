"""Canaries through real training loops: honest runs stay unflagged, runs with a third of the noise do not."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from pytest_mlgate.errors import CheckError, Misuse
from pytest_mlgate.privacy.canaries import INCLUDED, CanaryScores, PhantomCanaries, plant, read_scores
from pytest_mlgate.privacy.one_run import audit_family
from pytest_mlgate.privacy.trade_offs import SampledGaussian

RATE, STEPS, DELTA = 0.1, 200, 1e-4
#: The noise multiplier at which 200 steps at rate 0.1 cost epsilon 4 at delta 1e-4 (3.97 by PLD).
HONEST = 1.59


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def bound(result: CanaryScores) -> float:
    family = SampledGaussian(DELTA, result.sampling_rate, result.steps)
    return audit_family(np.array(result.scores), np.array(result.included), family, 0.025, 0).epsilon


def plain_loop(noise: float, seed: int, clips: bool = True, steps: int = STEPS) -> CanaryScores:
    """DP-SGD of a linear model by hand, with canaries on extra coordinates."""
    random = torch.Generator().manual_seed(seed)
    canaries = PhantomCanaries(sampling_rate=RATE, max_grad_norm=0.5, seed=seed)
    x, y = torch.randn(300, 5, generator=random), torch.randn(300, generator=random)
    w = torch.zeros(5)
    for _ in range(steps):
        batch = torch.rand(300, generator=random) < RATE
        own = 2 * (x[batch] @ w - y[batch])[:, None] * x[batch]
        extra = torch.from_numpy(canaries.gradients()).float()
        gradients = torch.block_diag(own, extra)
        if clips:
            gradients *= (0.5 / gradients.norm(dim=1, keepdim=True)).clamp(max=1)
        noisy = gradients.sum(0) + noise * 0.5 * torch.randn(gradients.shape[1], generator=random)
        canaries.observe(noisy[5:])
        w -= 0.1 * noisy[:5] / (RATE * 300)
    return canaries.result()


def test_the_honest_noise_costs_what_is_claimed():
    """The settings of this file cost an epsilon of 4, so that a bound above it would be wrong."""
    assert 3.8 < SampledGaussian(DELTA, RATE, STEPS).epsilon(1 / HONEST) < 4.0


def test_a_third_of_the_noise_is_caught_and_the_full_noise_is_not():
    """Claiming epsilon 4: with a third of the noise every run shows more, with all of it every run less."""
    for seed in range(3):
        assert bound(plain_loop(HONEST / 3, seed)) > 4
        assert 1 < bound(plain_loop(HONEST, seed)) < 4


def test_gradients_that_are_not_clipped_are_caught():
    """A canary's gradient is ten times the norm: whoever does not clip shows more than the claim of 4."""
    assert bound(plain_loop(HONEST, 0, clips=False)) > 4


@pytest.fixture
def opacus_run():
    """Train a small net with Opacus and phantom canaries; return the canaries' result and the optimizer."""
    engine = pytest.importorskip("opacus").PrivacyEngine

    def run(noise: float, seed: int, attach: bool = True, epochs: int = 20, steps: int = STEPS):
        torch.manual_seed(seed)
        x, y = torch.randn(500, 8), torch.randint(0, 3, (500,))
        net = torch.nn.Linear(8, 3)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=50)
        model, optimizer, loader = engine().make_private(
            module=net, optimizer=optimizer, data_loader=loader, noise_multiplier=noise, max_grad_norm=0.7
        )
        canaries = PhantomCanaries(sampling_rate=loader.sample_rate, max_grad_norm=0.7, seed=seed)
        if attach:
            canaries.attach(optimizer)
        for _ in range(epochs):
            for features, labels in itertools.islice(loader, steps):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(features), labels).backward()
                optimizer.step()
        return canaries, optimizer, model

    return run


@pytest.mark.filterwarnings("ignore")
def test_opacus_with_a_third_of_the_noise_is_caught(opacus_run):
    """The same through the real optimizer: a dishonest run above the claim of 4, an honest one below."""
    canaries, optimizer, _ = opacus_run(HONEST / 3, 0)
    assert bound(canaries.result()) > 4
    # The canaries leave nothing behind: two tensors of weights, as before.
    assert len(optimizer.params) == 2
    canaries, _, _ = opacus_run(HONEST, 0)
    assert canaries.result().steps == STEPS
    assert bound(canaries.result()) < 4


@pytest.mark.filterwarnings("ignore")
def test_canaries_leave_the_models_gradients_as_they_were(opacus_run):
    """One step with next to no noise: the same gradients and weights with canaries and without."""
    found = []
    for attach in (True, False):
        _, optimizer, _ = opacus_run(1e-9, 0, attach, epochs=1, steps=1)
        found.append(torch.cat([t.detach().flatten() for p in optimizer.params for t in (p, p.grad)]))
    assert torch.allclose(*found, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_noise_that_no_step_used_is_not_a_step(opacus_run):
    """Whoever probes the optimizer after training adds nothing to the canaries' scores or steps."""
    canaries, optimizer, model = opacus_run(1.0, 0, epochs=1)
    before = canaries.result()
    for _ in range(3):
        for p in optimizer.params:
            p.grad_sample, p.summed_grad = torch.zeros(4, *p.shape), None
        optimizer.clip_and_accumulate()
        optimizer.add_noise()
    assert canaries.result() == before
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(torch.randn(4, 8)), torch.zeros(4, dtype=torch.long)).backward()
    optimizer.step()
    assert canaries.result().steps == before.steps + 1


@pytest.mark.filterwarnings("ignore")
def test_canaries_cannot_be_attached_twice_or_to_what_adds_no_noise(opacus_run):
    """Both would make scores of something else than the training, and say so."""
    canaries, optimizer, _ = opacus_run(1.0, 0, epochs=1)
    with pytest.raises(Misuse, match="before the recorder, and only once"):
        canaries.attach(optimizer)
    with pytest.raises(Misuse, match="SGD is no Opacus optimizer"):
        canaries.attach(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]))


def test_calls_out_of_turn_and_values_that_are_none_are_refused():
    """Gradients drawn twice, values without a draw, NaN, a wrong number, and results of no step."""
    canaries = PhantomCanaries(sampling_rate=0.5, max_grad_norm=1.0, count=30)
    with pytest.raises(Misuse, match="no step was observed"):
        canaries.result()
    with pytest.raises(Misuse, match="takes 30 finite values"):
        canaries.observe(np.zeros(30))
    canaries.gradients()
    with pytest.raises(Misuse, match="called twice"):
        canaries.gradients()
    for wrong in (np.zeros(29), np.full(30, np.nan)):
        with pytest.raises(Misuse, match="finite values"):
            canaries.observe(wrong)


@pytest.mark.parametrize(
    "setting", [{"sampling_rate": 0}, {"sampling_rate": 2}, {"max_grad_norm": 0}, {"count": 0}]
)
def test_settings_that_no_training_has_are_refused(setting: dict[str, float]):
    """A rate outside 0 to 1, no clipping norm, no canaries."""
    with pytest.raises(Misuse, match="the rate is above 0"):
        PhantomCanaries(**({"sampling_rate": 0.1, "max_grad_norm": 1.0} | setting))


def test_only_members_are_ever_drawn():
    """The rows are ten clipping norms long, one coordinate each, and those of members at about the rate."""
    canaries = PhantomCanaries(sampling_rate=0.25, max_grad_norm=2.0, count=400, seed=1)
    drawn = np.zeros(400)
    for _ in range(200):
        rows = canaries.gradients()
        assert set(rows[rows != 0]) <= {20.0}
        assert ((rows != 0).sum(axis=1) == 1).all()
        drawn += (rows != 0).any(axis=0)
        canaries.observe(np.zeros(400))
    included = np.array(canaries.result().included)
    assert not drawn[~included].any()
    assert drawn[included].mean() == pytest.approx(50, abs=2)


def test_scores_survive_the_file_and_a_changed_one_is_refused(tmp_path: Path):
    """What was written is read; a flipped membership, a missing file and other JSON are named errors."""
    path = tmp_path / "canaries.json"
    result = plain_loop(HONEST, 0, steps=3)
    result.write(path)
    assert read_scores(path) == result
    content = json.loads(path.read_text())
    content["included"][0] = not content["included"][0]
    path.write_text(json.dumps(content))
    with pytest.raises(CheckError, match="was changed after the training wrote it"):
        read_scores(path)
    path.write_text(json.dumps(content | {"scores": content["scores"][:-1], "seal": ""}))
    with pytest.raises(CheckError, match="999 scores and 1000 memberships"):
        read_scores(path)
    path.write_text('{"scores": "many"}')
    with pytest.raises(CheckError, match="no file of canary scores"):
        read_scores(path)
    with pytest.raises(CheckError, match="cannot be read"):
        read_scores(tmp_path / "none.json")


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_planted_rows_have_wrong_labels_and_fair_coins(library):
    """Every label is another one than before, half of the rows are included, all else is as it was."""
    rows = library({"x": list(range(1000)), "y": [i % 3 for i in range(1000)]})
    planted = plant(rows, "y", seed=0)
    assert list(planted["x"]) == list(range(1000))
    assert all(a != b for a, b in zip(planted["y"], rows["y"], strict=True))
    assert set(planted["y"]) == {0, 1, 2}
    assert 440 < sum(planted[INCLUDED]) < 560
    with pytest.raises(Misuse, match="no column 'z'"):
        plant(rows, "z", seed=0)
    with pytest.raises(Misuse, match="1 values"):
        plant(library({"x": [1, 2], "y": [0, 0]}), "y", seed=0)
