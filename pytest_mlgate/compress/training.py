"""One training loop for every recipe that trains: seeded, bounded, and without a trace in the process."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .lessons import Lesson, TrainingFailed
from .objectives import Plan, label_loss, objective

#: Most rows whose validation loss is worth the time.
_MOST_VALIDATION_ROWS = 4_000
#: Most rows of one epoch; a larger table is read in portions, another one every epoch.
_ROWS_PER_EPOCH = 20_000
#: What the number of epochs is planned with: a slow and busy core, so that the clock seldom has to stop a
#: training: arithmetic, and what a layer with weights costs in a step whatever its size.
_PLANNED_FLOPS_PER_SECOND, _PLANNED_SECONDS_PER_LAYER = 1.2e10, 6e-4
#: Of the time that is granted, the share that is planned for.
_PLANNED_SHARE = 0.35
_LONGEST_GRADIENT = 5.0


@dataclass(frozen=True)
class Fit:
    """What became of a training.

    `stopped` is empty when all epochs ran, else why not: `no improvement`, or `time`, in which case another
    run may give other weights.
    """

    epochs: int
    planned: int
    validation_loss: float
    stopped: str = ""


@contextlib.contextmanager
def undisturbed(seed: int) -> Iterator[None]:
    """Seed torch and use one thread inside; put back random state, threads and modes afterwards.

    The encoder layers' fused path is off inside: neither the exporter nor changed layers know it.
    """
    import torch

    threads, fused = torch.get_num_threads(), torch.backends.mha.get_fastpath_enabled()
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.backends.mha.set_fastpath_enabled(fused)


def fine_tune(
    module: Any,
    lesson: Lesson,
    plan: Plan,
    *,
    seed: int,
    seconds: float,
    after_step: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
) -> Fit:
    """Train the module in place, leave it in its best state and in evaluation mode, and say how it went.

    AdamW with a linear warm-up over a tenth of the steps and a cosine decay to zero (Loshchilov, Hutter 2017,
    section 3, without restarts). The number of epochs follows from the counted arithmetic and from `seconds`,
    never from a measured time, so that the same machine makes the same weights; the clock only stops a
    training that takes longer than `seconds`.

    Raises:
        TrainingFailed: the loss is no number, or the module answers in another shape than the candidate.
    """
    import torch

    rng = np.random.default_rng([seed, 3])
    chosen, fit = np.flatnonzero(lesson.held)[:_MOST_VALIDATION_ROWS], np.flatnonzero(~lesson.held)
    batch = 32 if len(fit) < 2_000 else 128 if len(fit) < 20_000 else 256
    for parameter in module.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    require_shape(module, lesson)
    per_epoch = math.ceil(min(len(fit), _ROWS_PER_EPOCH) / batch)
    epochs = _epochs(module, lesson, plan, batch, per_epoch, seconds)
    optimiser = torch.optim.AdamW(module.parameters(), lr=plan.rate)
    deadline = clock() + seconds
    best, best_loss, best_epoch, stopped = _state(module), math.inf, 0, ""
    epoch = 0
    while epoch < epochs and not stopped:
        rows = rng.permutation(fit)[:_ROWS_PER_EPOCH]
        for number, start in enumerate(range(0, len(rows), batch)):
            rate = plan.rate * _schedule((epoch * per_epoch + number + 1) / (epochs * per_epoch))
            picked = rows[start : start + batch]
            if len(picked) > 1:  # batch normalisation has no variance over one row
                invented = rng.integers(0, max(1, len(lesson.extra)), batch)
                _step(
                    module,
                    optimiser,
                    rate,
                    functools.partial(objective, module, lesson, plan, picked, invented),
                )
                after_step()
            if clock() > deadline:
                stopped = "time"
                break
        epoch += 1
        found = _validation_loss(module, lesson, plan, chosen, epoch)
        if found < best_loss:
            best, best_loss, best_epoch = _state(module), found, epoch
        elif epoch - best_epoch > max(3, plan.patience * epochs):
            stopped = stopped or "no improvement"
    module.load_state_dict(best)
    module.eval()
    return Fit(epochs=epoch, planned=epochs, validation_loss=best_loss, stopped=stopped)


def _step(module: Any, optimiser: Any, rate: float, loss: Callable[[], Any]) -> None:
    import torch

    module.train()
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad()
    loss().backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), _LONGEST_GRADIENT)
    optimiser.step()


def _validation_loss(module: Any, lesson: Lesson, plan: Plan, rows: Any, epoch: int) -> float:
    import torch

    module.eval()
    with torch.no_grad():
        found = float(label_loss(module, lesson, plan, rows))
    if not math.isfinite(found):
        kind = "NaN" if math.isnan(found) else "infinite"
        raise TrainingFailed(f"training diverged: loss is {kind} after epoch {epoch}")
    return found


def require_shape(module: Any, lesson: Lesson) -> None:
    """Refuse a module that does not answer as the candidate does.

    Raises:
        TrainingFailed: with both shapes.
    """
    import torch

    module.eval()
    with torch.no_grad():
        found = tuple(module(torch.from_numpy(lesson.rows[:3])).shape)
    expected = (min(3, len(lesson.rows)), *lesson.shape)
    if found != expected:
        raise TrainingFailed(f"the network answers 3 rows with shape {found}, the candidate with {expected}")


def _schedule(done: float) -> float:
    warm = 0.1
    if done < warm:
        return done / warm
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warm) / (1 - warm))))


def _epochs(module: Any, lesson: Lesson, plan: Plan, batch: int, per_epoch: int, seconds: float) -> int:
    """Return the wanted epochs, or as many as a slow core does in the share of the time planned for."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    rows = torch.from_numpy(lesson.rows[:2])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(rows)
    passes = 3 * batch * (2 if len(lesson.extra) else 1) / len(rows)  # backward costs two forwards
    layers = sum(1 for part in module.modules() if list(part.parameters(recurse=False)))
    arithmetic = counter.get_total_flops() * passes / _PLANNED_FLOPS_PER_SECOND
    step = arithmetic + layers * _PLANNED_SECONDS_PER_LAYER
    wanted = math.ceil(plan.steps / per_epoch)
    affordable = int(_PLANNED_SHARE * seconds / (step * per_epoch))
    return max(1, min(wanted, affordable))


def _state(module: Any) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
