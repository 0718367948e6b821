"""Rows per second by batch size, and the batch size that gives most within the latency bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..candidate import Model, OnnxModel
from ..dataset import Frame
from ..evidence import Interval, Measurement
from ..levels import Tails
from ..statistics import next_value_interval
from .ask import bench
from .backends.protocol import Answer
from .refusals import refused, without_value
from .target import Target
from .times import describe_conditions, describe_machine, require_one_machine, spread_rows

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
#: The first process chooses the batch size and is not counted: the best of many looks too good.
PROCESSES = 4
_RUNS = 200


@dataclass(frozen=True)
class Batching:
    """What a process saw at one batch size."""

    batch: int
    rows_per_s: float
    latency_ms: float
    within: bool


def look_at_batches(
    target: Target, model: Model, frame: Frame, percentile: float, latency_ms: float | None
) -> tuple[Batching, ...]:
    """Return what one process saw at each batch size; nothing where the target cannot tell or refuses."""
    if not isinstance(model, OnnxModel) or not target.can("batches"):
        return ()
    with bench(target, model.onnx, model.feeds(spread_rows(frame))) as desk:
        return _seen(desk.ask("batches", batches=_sizes(model), runs=_RUNS), percentile, latency_ms)


def throughput(
    target: Target, model: Model, frame: Frame, percentile: float, latency_ms: float | None, tails: Tails
) -> tuple[Measurement, tuple[Batching, ...]]:
    """Return rows per second at the best batch size within the latency bound, and what each size gave.

    Raises:
        CheckError: the timing was tried and broke.
    """
    if not isinstance(model, OnnxModel):
        return without_value("throughput", "rows/s", "a callable cannot be moved to another process"), ()
    if not target.can("batches"):
        return without_value("throughput", "rows/s", f"{target.spoken} cannot be timed here"), ()
    with bench(target, model.onnx, model.feeds(spread_rows(frame))) as desk:
        first = desk.ask("batches", batches=_sizes(model), runs=_RUNS)
        if first.refusal:
            return refused("throughput", "rows/s", target, first), ()
        seen = _seen(first, percentile, latency_ms)
        best = max((b for b in seen if b.within), key=lambda b: b.rows_per_s, default=None)
        if best is None:
            reason = f"no batch size keeps p{percentile:g} within {latency_ms:g} ms"
            return without_value("throughput", "rows/s", reason), seen
        answers = [desk.ask("batches", batches=(best.batch,), runs=_RUNS, seed=s) for s in range(PROCESSES)]
    refusal = next((a for a in answers if a.refusal), None)
    if refusal is not None:
        return refused("throughput", "rows/s", target, refusal), seen
    require_one_machine([first, *answers])
    values = np.asarray([best.batch * 1e9 / np.median(a.batches_ns[str(best.batch)]) for a in answers])
    value, (low, high) = next_value_interval(values, tails)
    bound = f" within {latency_ms:g} ms at p{percentile:g}" if latency_ms is not None else ""
    found = Measurement(
        metric="throughput",
        value=value,
        unit="rows/s",
        n=PROCESSES,
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method=f"batch {best.batch}, the best of {len(seen)} sizes{bound} in a process of its own; "
        f"median time in each of {PROCESSES} further processes; prediction interval for the next process",
        detail=f"target {target.spoken}",
        n_decides=False,
        machine=describe_machine(first),
        conditions=describe_conditions(answers),
    )
    return found, seen


def _sizes(model: OnnxModel) -> tuple[int, ...]:
    return BATCHES if model.free_batch else (model.batch,)


def _seen(answer: Answer, percentile: float, latency_ms: float | None) -> tuple[Batching, ...]:
    found = []
    for size, taken in answer.batches_ns.items():
        slow = float(np.percentile(taken, percentile, method="higher")) / 1e6
        found.append(
            Batching(
                batch=int(size),
                rows_per_s=int(size) * 1e9 / float(np.median(taken)),
                latency_ms=slow,
                within=latency_ms is None or slow <= latency_ms,
            )
        )
    return tuple(found)
