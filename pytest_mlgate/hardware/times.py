"""Takes the times of one model on one target, over several fresh processes."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..candidate import BlackBox, Model, OnnxModel
from ..dataset import Frame
from ..errors import CheckError
from ..statistics import runs_for_percentile
from .ask import bench
from .backends.conditions import conditions, machine
from .backends.protocol import Answer
from .target import Target

#: Fresh processes. Their spread makes the interval, so fewer would be all width.
PROCESSES = 5
#: Runs in each process, more where the percentile needs them.
RUNS = 500
#: Confidence with which the slowest of all runs bounds the percentile.
_PERCENTILE_CONFIDENCE = 0.99
_ROWS = 256


@dataclass(frozen=True)
class Times:
    """What the processes answered; `refusal` is the first answer that refused, if any."""

    target: Target
    answers: tuple[Answer, ...]
    where: str
    batch: int
    rows: int
    #: The file that the policy names for this target in place of the release artifact, with its digest.
    stands_in: str = ""

    @property
    def refusal(self) -> Answer | None:
        """The first answer that is a refusal."""
        return next((a for a in self.answers if a.refusal), None)

    @property
    def timed(self) -> bool:
        """Whether the model ran on the target, rather than being compiled for it."""
        return bool(self.answers[0].samples_ns)

    def percentiles_ms(self, percentile: float) -> NDArray[np.float64]:
        """Return the percentile of each process in milliseconds: the order statistic above it."""
        found = [np.percentile(a.samples_ns, percentile, method="higher") for a in self.answers]
        return np.asarray(found, np.float64) / 1e6

    def figures(self, name: str) -> NDArray[np.float64] | None:
        """Return a figure of each process, or `None` where one has none."""
        if not all(name in a.figures for a in self.answers):
            return None
        return np.asarray([a.figures[name] for a in self.answers], np.float64)


def take_times(target: Target, model: Model, frame: Frame, percentile: float) -> Times:
    """Time the model on the target, one row per run (or the batch that the model fixes), one thread.

    Raises:
        CheckError: the model cannot be moved to another process and the target is not this machine, or the
            processes ran on machines that differ.
    """
    rows = spread_rows(frame)
    needed = runs_for_percentile(percentile, _PERCENTILE_CONFIDENCE)
    least = math.ceil(needed / PROCESSES)
    if isinstance(model, BlackBox):
        if target.id != "cpu":
            raise CheckError(f"a callable cannot be moved to {target.spoken}; it can be timed on cpu only")
        answers = [_in_this_process(model, rows, max(RUNS, least)) for _ in range(PROCESSES)]
        where = f"{PROCESSES} repeats in one process (a callable cannot be moved to another)"
        return Times(target=target, answers=tuple(answers), where=where, batch=1, rows=len(rows))
    if not isinstance(model, OnnxModel):
        raise CheckError(f"cannot time a {type(model).__name__}")
    answers = []
    with bench(target, model.onnx, model.feeds(rows)) as desk:
        if not target.can("time"):
            compiled = (desk.ask("compile", batch=model.batch),)
            where = "one compilation"
            return Times(
                target=target, answers=compiled, where=where, batch=1, rows=0, stands_in=desk.stands_in
            )
        for seed in range(PROCESSES):
            answers.append(
                desk.ask("time", runs=max(RUNS, least), least_runs=least, batch=model.batch, seed=seed)
            )
            if answers[-1].refusal:
                break
    require_one_machine(answers)
    return Times(
        target=target,
        answers=tuple(answers),
        where=f"{PROCESSES} fresh processes",
        batch=model.batch,
        rows=len(rows),
        stands_in=desk.stands_in,
    )


def spread_rows(frame: Frame) -> Frame:
    """Return up to 256 rows spread over the whole table: its first rows may be the easy ones."""
    return frame.gather_every(max(1, len(frame) // _ROWS)).head(_ROWS)


def require_one_machine(answers: Sequence[Answer]) -> None:
    """Refuse figures of different machines beside each other.

    Raises:
        CheckError: with what differs.
    """
    machines = {describe_machine(a) for a in answers if not a.refusal}
    if len(machines) > 1:
        raise CheckError(
            f"figures of different machines cannot be compared: {' against '.join(sorted(machines))}"
        )


def describe_machine(answer: Answer) -> str:
    """Return what must be equal for two timings to be comparable."""
    return "; ".join(f"{name} {value}" for name, value in sorted(answer.machine.items()))


def describe_conditions(answers: Sequence[Answer]) -> str:
    """Return threads, affinity, governor, load, versions and warm-up of the answers, in one line."""
    first = answers[0]
    parts = [f"{name} {value}" for name, value in first.conditions.items() if name != "load"]
    loads = [a.conditions["load"] for a in answers if "load" in a.conditions]
    if loads:
        parts.append(f"load {loads[0]}" if len(set(loads)) == 1 else f"load {min(loads)} to {max(loads)}")
    parts += [f"{name} {value}" for name, value in first.versions.items()]
    restless = sum(not a.stationary for a in answers)
    parts.append(f"warm-up {max(a.warm_up_runs for a in answers)} runs")
    if restless:
        parts.append(f"times were still drifting after the warm-up in {restless} of {len(answers)} processes")
    return ", ".join(parts)


def _in_this_process(model: BlackBox, rows: Frame, runs: int) -> Answer:
    single = [rows[i : i + 1] for i in range(len(rows))]
    elapsed = []
    for i in range(runs):
        start = time.perf_counter_ns()
        model.predict(single[i % len(single)])
        elapsed.append(time.perf_counter_ns() - start)
    state: dict[str, Any] = {"machine": machine(), "conditions": conditions(os.cpu_count() or 1)}
    return dataclasses.replace(Answer(), samples_ns=elapsed, **state)
