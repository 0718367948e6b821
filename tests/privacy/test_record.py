"""The record's chain: what was written is what is read, and whatever was changed is named."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mlgate.privacy.record import (
    MARK_EVERY,
    Ending,
    Header,
    RecordError,
    Sampler,
    Step,
    sealed,
    verify,
)

STEPS = MARK_EVERY + 36


def header(**changes: Any) -> Header:
    fields: dict[str, Any] = {
        "delta": 1e-4,
        "dataset_size": 1_000,
        "dataset_digest": None,
        "sampler": Sampler(law="poisson", kind="UniformWithReplacementSampler", rate=0.064, recognised=True),
        "mechanism": "opacus.optimizers.optimizer.DPOptimizer",
        "seed": 0,
        "libraries": {"torch": "2.13.0"},
        "started_at": "2026-01-01T00:00:00+00:00",
    }
    return Header(**(fields | changes))


def step(number: int, **changes: Any) -> Step:
    fields: dict[str, Any] = {
        "number": number,
        "rows": 64,
        "drawn_rows": 64,
        "draws": 1,
        "physical": 1,
        "noise_multiplier": 1.0,
        "max_grad_norm": 1.0,
        "noise_squares": 100.5,
        "clip_deviation": None,
    }
    return Step(**(fields | changes))


def ending(**changes: Any) -> Ending:
    fields: dict[str, Any] = {
        "drawn": STEPS,
        "updates": STEPS,
        "participation": (),
        "heaviest": None,
        "layers": (),
        "noise": None,
        "probe": None,
        "account": None,
        "ended_at": "2026-01-01T00:01:00+00:00",
    }
    return Ending(**(fields | changes))


def record(**of_ending: Any) -> dict[str, Any]:
    return sealed(header(), [step(i) for i in range(1, STEPS + 1)], ending(**of_ending))


def with_step(number: int, **changes: Any) -> dict[str, Any]:
    steps = [step(i, **(changes if i == number else {})) for i in range(1, STEPS + 1)]
    return sealed(header(), steps, ending())


def test_what_was_written_is_read():
    """A record survives JSON unchanged."""
    raw = json.loads(json.dumps(record()))
    read = verify(raw)
    assert read.steps[-1].number == STEPS
    assert read.seal == raw["seal"]


def test_whole_numbers_are_numbers():
    """JSON of another language writes 1.0 as 1; the chain is the same."""
    text = json.dumps(record()).replace("1.0, 1.0", "1, 1")
    assert "1.0, 1.0" not in text
    verify(json.loads(text))


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (1, f"the header or a step from 1 to {MARK_EVERY} was changed"),
        (MARK_EVERY, f"the header or a step from 1 to {MARK_EVERY} was changed"),
        (MARK_EVERY + 1, f"the seal is not that of what follows step {MARK_EVERY}"),
        (STEPS, f"the seal is not that of what follows step {MARK_EVERY}"),
    ],
)
def test_a_changed_step_is_located(number: int, message: str):
    """A changed number breaks the chain, and the error says between which steps."""
    raw = record()
    raw["steps"][number - 1][5] = 2.0
    with pytest.raises(RecordError, match=message):
        verify(raw)


def test_a_hole_is_named():
    """A step that was taken out is missing by its number."""
    raw = record()
    raw["steps"] = [s for s in raw["steps"] if s[0] != 17]
    with pytest.raises(RecordError, match="step 17 is missing: step 18 stands in its place"):
        verify(raw)


@pytest.mark.parametrize("kept", [10, MARK_EVERY, STEPS - 1])
def test_steps_cut_off_at_the_end_are_missed(kept: int):
    """Fewer steps than were sealed do not verify, wherever they end."""
    raw = record()
    raw["steps"] = raw["steps"][:kept]
    with pytest.raises(RecordError, match=r"steps were added or taken away|the seal is not that of"):
        verify(raw)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [leaf for key, item in items for leaf in _leaves(item, (*path, key))]
    return found or [path]


PLAIN = json.loads(json.dumps(record(participation=((6, 400), (7, 600 - 200), (4, 100), (8, 100)))))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(_leaves(PLAIN)), st.sampled_from([0, 1, 2.5, "x", None, True, -1]))
def test_no_single_value_can_be_changed(path: tuple[Any, ...], value: Any):
    """Whatever single value is replaced by another, the record is refused."""
    raw = copy.deepcopy(PLAIN)
    inner = raw
    for key in path[:-1]:
        inner = inner[key]
    same = inner[path[-1]] == value and isinstance(inner[path[-1]], bool) == isinstance(value, bool)
    inner[path[-1]] = value
    if same:
        verify(raw)
    else:
        with pytest.raises(RecordError):
            verify(raw)


def test_more_steps_than_batches_are_named():
    """A step that used no batch drawn by the loader repeats rows without sampling."""
    with pytest.raises(RecordError, match="more steps than batches: step 5 used no batch"):
        verify(with_step(5, draws=0, rows=0, drawn_rows=0))


def test_more_batches_used_than_drawn_are_named():
    """Batches cannot be used more often than the loader drew them."""
    with pytest.raises(RecordError, match="100 batches were used and 40 were drawn"):
        verify(record(drawn=40))


def test_rows_other_than_drawn_are_named():
    """Gradients of rows that the loader did not draw are told from those that it did."""
    with pytest.raises(RecordError, match=r"step 9 used other rows.* of 65 rows, and 64"):
        verify(with_step(9, rows=65))


def test_gradients_that_are_no_numbers_are_named():
    """A NaN loss makes norms that cannot be clipped."""
    with pytest.raises(RecordError, match="NaN or infinite in step 3"):
        verify(with_step(3, finite=False, noise_squares=None))


def test_updates_without_noise_are_named():
    """The inner optimizer changed the weights more often than noise was added."""
    with pytest.raises(RecordError, match="changed 105 times, and noise was added in 100 steps"):
        verify(record(updates=STEPS + 5))


def test_participation_must_be_that_of_the_steps():
    """Rows used more often in all than the steps took are a contradiction."""
    with pytest.raises(RecordError, match=r"1,000 rows in 7,000 uses, and the steps of 1,000 rows in 6,400"):
        verify(record(participation=((7, 1_000),)))


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, float("nan")])
def test_a_delta_outside_0_and_1_is_refused(delta: float):
    """Delta of 0 or 1 is no privacy guarantee that can be computed with."""
    raw = record()
    raw["header"]["delta"] = delta
    with pytest.raises(RecordError, match="delta"):
        verify(raw)


@pytest.mark.parametrize("field", ["schema", "header", "steps", "marks", "ending", "seal"])
def test_a_missing_part_is_named(field: str):
    """Every part of the record is needed."""
    raw = record()
    del raw[field]
    with pytest.raises(RecordError, match=f"missing required field `{field}`"):
        verify(raw)
