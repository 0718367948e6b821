"""The recorder against real Opacus trainings: it writes what happened, not what was configured."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError, Misuse
from pytest_mlgate.privacy.mechanism import contradictions, probe_contradictions
from pytest_mlgate.privacy.record import RecordError, Sampler, verify
from pytest_mlgate.privacy.recorder import PrivacyRecorder, read

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

ROWS, BATCH = 300, 30


def opacus_parts(*, poisson: bool = True, sampler: Any = None, noise: float = 1.0, **more: Any) -> Any:
    """An engine, model, optimizer and loader, as a user would have them from Opacus."""
    pytest.importorskip("opacus", reason="opacus is not installed: nothing to attach the recorder to")
    import torch
    from opacus import PrivacyEngine
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randn(ROWS, 12)
    table = TensorDataset(x, (x[:, 0] > 0).long())
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 2))
    engine = PrivacyEngine(accountant="rdp")
    order = {"shuffle": True} if sampler is None else {"sampler": sampler}
    model, optimizer, loader = engine.make_private(
        module=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        data_loader=DataLoader(table, batch_size=BATCH, **order),
        noise_multiplier=noise,
        poisson_sampling=poisson,
        **({"max_grad_norm": 1.0} | more),
    )
    return engine, model, optimizer, loader


def epoch(model: Any, optimizer: Any, loader: Any) -> None:
    from torch.nn.functional import cross_entropy

    for x, y in loader:
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()


def recorded(epochs: int = 3, **more: Any) -> Any:
    """The verified record of an honest training."""
    engine, model, optimizer, loader = opacus_parts(**more)
    recorder = PrivacyRecorder(rows=ROWS, delta=1e-3)
    loader = recorder.attach(optimizer, loader, engine)
    for _ in range(epochs):
        epoch(model, optimizer, loader)
    return verify(json.loads(json.dumps(recorder.record())))


def test_an_opacus_training_is_recorded_as_it_was():
    """Steps, batches, participation, noise, clipping and the accountant's count are those of the run."""
    record = recorded()
    assert record.header.sampler == Sampler(
        law="poisson", kind="UniformWithReplacementSampler", rate=0.1, recognised=True
    )
    assert len(record.steps) == record.ending.updates == record.ending.drawn == 30
    assert {step.noise_multiplier for step in record.steps} == {1.0}
    assert len({step.rows for step in record.steps}) > 5
    assert sum(rows for _, rows in record.ending.participation) == ROWS
    assert record.ending.account.history == ((1.0, 0.1, 30),)
    assert record.ending.account.epsilon > 0
    weights = 12 * 32 + 32 + 32 * 2 + 2
    assert record.ending.noise.values == 30 * weights
    assert record.steps[0].clip_deviation < 1e-6
    assert contradictions(record.ending.noise, record.ending.layers, "") == []
    assert probe_contradictions(record.ending.probe) == []


@pytest.mark.parametrize(
    "more",
    [
        {"clipping": "per_layer", "max_grad_norm": [0.5] * 4},
        {
            "clipping": "adaptive",
            "target_unclipped_quantile": 0.5,
            "clipbound_learning_rate": 0.2,
            "max_clipbound": 5.0,
            "min_clipbound": 0.1,
            "unclipped_num_std": 5.0,
        },
    ],
    ids=["per layer", "adaptive"],
)
def test_other_clipping_is_recorded_and_honest(more: dict[str, Any]):
    """Norms of each layer are in the header, norms that change in the steps, and nothing is named."""
    record = recorded(**more)
    assert record.header.layer_norms == ((0.5,) * 4 if more["clipping"] == "per_layer" else None)
    if more["clipping"] == "adaptive":
        assert len({step.max_grad_norm for step in record.steps}) > 10
    assert max(step.clip_deviation or 0 for step in record.steps) < 1e-5
    assert contradictions(record.ending.noise, record.ending.layers, "") == []
    assert probe_contradictions(record.ending.probe) == []


def test_watching_changes_nothing():
    """The weights are the same with and without the recorder."""
    import torch

    weights = []
    for watched in (True, False):
        engine, model, optimizer, loader = opacus_parts()
        torch.manual_seed(5)
        if watched:
            recorder = PrivacyRecorder(rows=ROWS, delta=1e-3)
            loader = recorder.attach(optimizer, loader, engine)
        epoch(model, optimizer, loader)
        if watched:
            recorder.record()
        epoch(model, optimizer, loader)
        weights.append(torch.cat([p.detach().ravel() for p in model.parameters()]))
    assert torch.equal(*weights)


@pytest.mark.parametrize(
    ("sampler", "law"),
    [("RandomSampler", "shuffled"), ("WeightedRandomSampler", "weighted"), ("replacing", "with_replacement")],
)
def test_other_samplers_are_recognised(sampler: str, law: str):
    """What really draws is read off the loader, whatever Opacus accounts for."""
    torch = pytest.importorskip("torch")
    from torch.utils import data

    drawn = {
        "RandomSampler": None,
        "WeightedRandomSampler": data.WeightedRandomSampler(torch.linspace(1, 9, ROWS), ROWS),
        "replacing": data.RandomSampler(range(ROWS), replacement=True),
    }[sampler]
    record = recorded(poisson=False, sampler=drawn)
    assert record.header.sampler.law == law
    if law == "shuffled":
        assert record.ending.participation == ((3, ROWS),)
        assert record.ending.heaviest == 3
    else:
        assert record.ending.heaviest > 8


def test_noise_changed_by_a_scheduler_is_recorded_step_by_step():
    """The multiplier in effect is that of the step, not that of the configuration."""
    engine, model, optimizer, loader = opacus_parts()
    from opacus.schedulers import ExponentialNoise

    scheduler = ExponentialNoise(optimizer, gamma=0.5)
    recorder = PrivacyRecorder(rows=ROWS, delta=1e-3)
    loader = recorder.attach(optimizer, loader, engine)
    for _ in range(2):
        epoch(model, optimizer, loader)
        scheduler.step()
    record = verify(recorder.record())
    assert [step.noise_multiplier for step in record.steps] == [1.0] * 10 + [0.5] * 10
    assert contradictions(record.ending.noise, record.ending.layers, "") == []


def test_batches_split_for_memory_are_one_step():
    """A batch that BatchMemoryManager splits is one draw of one step, processed in parts."""
    engine, model, optimizer, loader = opacus_parts()
    from opacus.utils.batch_memory_manager import BatchMemoryManager

    recorder = PrivacyRecorder(rows=ROWS, delta=1e-3)
    loader = recorder.attach(optimizer, loader, engine)
    with BatchMemoryManager(data_loader=loader, max_physical_batch_size=8, optimizer=optimizer) as parts:
        epoch(model, optimizer, parts)
    record = verify(recorder.record())
    assert len(record.steps) == 10
    assert {step.draws for step in record.steps} == {1}
    assert sum(step.physical for step in record.steps) > 30
    assert record.steps[0].clip_deviation < 1e-6


def test_accumulated_batches_count_as_drawn():
    """Three batches in one step are three draws."""
    engine, model, optimizer, loader = opacus_parts()
    recorder = PrivacyRecorder(rows=ROWS, delta=1e-3)
    loader = recorder.attach(optimizer, loader, engine)
    from torch.nn.functional import cross_entropy

    for number in range(3):
        for i, (x, y) in enumerate(loader):
            if i == 9:
                break
            optimizer.zero_grad()
            optimizer.signal_skip_step(do_skip=i % 3 != 2)
            cross_entropy(model(x), y).backward()
            optimizer.step()
        assert recorder.steps == 3 * (number + 1)
    record = verify(recorder.record())
    assert {step.draws for step in record.steps} == {3}
    assert record.ending.account.history == ((1.0, 0.1, 9),)


def test_noise_that_is_less_than_declared_is_seen():
    """An optimizer that adds 0.95 of the noise it declares is named by training and by probe."""
    engine, model, optimizer, loader = opacus_parts()
    honest = type(optimizer).add_noise

    def less() -> None:
        optimizer.noise_multiplier *= 0.95
        honest(optimizer)
        optimizer.noise_multiplier /= 0.95

    optimizer.add_noise = less
    recorder = PrivacyRecorder(rows=ROWS, delta=1e-3)
    loader = recorder.attach(optimizer, loader, engine)
    for _ in range(5):
        epoch(model, optimizer, loader)
    record = verify(recorder.record())
    (found,) = contradictions(record.ending.noise, record.ending.layers, "of the run")
    assert re.search(r"has 0\.9[45]\d* times the declared standard deviation", found)
    assert "times the declared standard deviation" in probe_contradictions(record.ending.probe)[0]


def test_clipping_looser_than_declared_is_seen():
    """A norm that is wider while gradients are summed differs from the sum computed apart."""
    engine, model, optimizer, loader = opacus_parts()
    honest = type(optimizer).clip_and_accumulate

    def looser() -> None:
        optimizer.max_grad_norm = 1.2
        honest(optimizer)
        optimizer.max_grad_norm = 1.0

    optimizer.clip_and_accumulate = looser
    recorder = PrivacyRecorder(rows=ROWS, delta=1e-3)
    epoch(model, optimizer, recorder.attach(optimizer, loader, engine))
    record = verify(recorder.record())
    assert record.steps[0].clip_deviation > 0.01
    assert "clipping to norm 1" in probe_contradictions(record.ending.probe)[0]


def test_updates_that_bypass_the_noise_are_counted():
    """Steps of the inner optimizer alone change weights without noise, and the record does not verify."""
    engine, model, optimizer, loader = opacus_parts()
    recorder = PrivacyRecorder(rows=ROWS, delta=1e-3)
    epoch(model, optimizer, recorder.attach(optimizer, loader, engine))
    optimizer.original_optimizer.step()
    with pytest.raises(RecordError, match="changed 11 times, and noise was added in 10 steps"):
        verify(recorder.record())


def test_batches_of_another_loader_are_missed():
    """Training on the loader that was not returned by attach() leaves steps without drawn batches."""
    engine, model, optimizer, loader = opacus_parts()
    recorder = PrivacyRecorder(rows=ROWS, delta=1e-3)
    recorder.attach(optimizer, loader, engine)
    epoch(model, optimizer, loader)
    with pytest.raises(RecordError, match=r"Train on the loader that the recorder's attach\(\) returned"):
        verify(recorder.record())


def test_a_loss_that_is_not_a_number_is_recorded_as_such():
    """NaN gradients cannot be clipped: the record names the step and is worth no epsilon."""
    engine, model, optimizer, loader = opacus_parts()
    recorder = PrivacyRecorder(rows=ROWS, delta=1e-3)
    for i, (x, y) in enumerate(recorder.attach(optimizer, loader, engine)):
        from torch.nn.functional import cross_entropy

        optimizer.zero_grad()
        (cross_entropy(model(x), y) * (float("nan") if i == 4 else 1)).backward()
        optimizer.step()
        if i == 4:
            break
    with pytest.raises(RecordError, match="NaN or infinite in step 5"):
        verify(json.loads(json.dumps(recorder.record(), allow_nan=False)))


def loop(recorder: PrivacyRecorder, steps: int = 20) -> PrivacyRecorder:
    """DP-SGD without any framework: Poisson batches, clipped sums, noise."""
    rng = np.random.default_rng(0)
    recorder.begin(Sampler(law="poisson", kind="own loop", rate=0.2), mechanism="own loop")
    batches = (np.flatnonzero(rng.random(ROWS) < 0.2) for _ in range(steps))
    for _ in recorder.watch(batches):
        recorder.step(noise_multiplier=2.0, max_grad_norm=1.0, noise=[rng.normal(size=40)])
    return recorder


def test_a_loop_of_ones_own_can_be_recorded(tmp_path):
    """Without Opacus, draws and steps that the loop tells make the same kind of record."""
    table = pd.DataFrame({"x": range(ROWS), "y": [0, 1] * (ROWS // 2)})
    seal = loop(PrivacyRecorder(table=table, delta=1e-3, seed=7)).write(tmp_path / "record.json")
    record = read(tmp_path / "record.json")
    assert record.seal == seal
    assert record.header.seed == 7
    assert record.ending.noise.values == 800
    (identity,) = [i for i in Dataset(test=table, train=table, label="y").identities() if i.role == "train"]
    assert record.header.dataset_digest == identity.digest


def test_batches_left_over_from_an_epoch_are_not_used():
    """Batches drawn before an epoch was left early do not count towards later steps."""
    recorder = PrivacyRecorder(rows=ROWS, delta=1e-3)
    recorder.begin(Sampler(law="poisson", kind="own loop", rate=0.2), mechanism="own loop")
    for _ in range(2):
        for i, _ in enumerate(recorder.watch([[1, 2], [3], [4, 5]])):
            if i == 1:
                break
            recorder.step(noise_multiplier=1.0, max_grad_norm=1.0)
    record = verify(recorder.record())
    assert [step.rows for step in record.steps] == [2, 2]
    assert record.ending.drawn == 4
    assert record.ending.participation == ((0, ROWS - 2), (2, 2))


def test_misuse_is_named():
    """A recorder without rows, with an impossible delta, begun twice, or without a step says so."""
    with pytest.raises(Misuse, match="the training table"):
        PrivacyRecorder(delta=1e-5)
    with pytest.raises(Misuse, match="delta=1"):
        PrivacyRecorder(rows=10, delta=1)
    recorder = PrivacyRecorder(rows=10, delta=1e-3)
    with pytest.raises(Misuse, match="before the first step"):
        recorder.step(noise_multiplier=1.0, max_grad_norm=1.0)
    recorder.begin(Sampler(law="none", kind="all rows"), mechanism="own loop")
    with pytest.raises(Misuse, match="no step to record"):
        recorder.record()
    with pytest.raises(Misuse, match="one training"):
        recorder.begin(Sampler(law="none", kind="all rows"), mechanism="own loop")
    with pytest.raises(Misuse, match="row 10 was drawn, and the table has 10 rows"):
        recorder.draw([10])
    with pytest.raises(Misuse, match="adds no noise"):
        PrivacyRecorder(rows=10, delta=1e-3).attach(object(), None)


def test_a_loader_of_another_table_is_refused():
    """The loader's dataset must have the table's rows."""
    engine, _, optimizer, loader = opacus_parts()
    with pytest.raises(Misuse, match="300 rows, and the table 600"):
        PrivacyRecorder(rows=2 * ROWS, delta=1e-3).attach(optimizer, loader, engine)


def test_a_record_that_is_no_record_is_refused(tmp_path):
    """A file with something else in it is an error of the record."""
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(CheckError, match="missing required field"):
        read(tmp_path / "x.json")
