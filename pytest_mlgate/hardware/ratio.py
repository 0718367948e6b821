"""How much slower one model is than another: the figure that travels between machines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..candidate import Model, OnnxModel
from ..dataset import Frame
from ..errors import CheckError
from ..evidence import Interval, Measurement
from ..levels import Tails
from ..statistics import geometric_mean_interval
from .ask import bench
from .backends.protocol import Answer
from .refusals import refused, without_value
from .target import Target
from .times import describe_conditions, describe_machine, require_one_machine, spread_rows

#: Fresh processes: where two equal sessions lie in memory makes their times differ by percents, and only
#: other processes show it.
PROCESSES = 7
_PAIRS = 20_000
_LEAST_PAIRS = 30
#: A process is done when it knows its own ratio this well, or after this time on a busy machine.
_PRECISION = 0.008
_SECONDS = 1.5


def latency_ratio(
    target: Target, model: Model, reference: Model, against: str, frame: Frame, tails: Tails
) -> Measurement:
    """Return the ratio of the model's time to the reference's, both on the same rows.

    In each process the two are run in pairs, in random order; the process's figure is the median of the
    pairs' ratios. The interval is Student's t over the logarithms of the processes' figures.

    Raises:
        CheckError: a model cannot be moved to another process, or the timing broke.
    """
    if not isinstance(model, OnnxModel) or not isinstance(reference, OnnxModel):
        raise CheckError(
            "a callable cannot be timed against another model; give both as ONNX, torch or sklearn"
        )
    if not target.can("compare"):
        reason = f"{target.spoken} cannot run two models side by side here"
        return without_value("latency_ratio", "", reason)
    answers = _ask(target, model, reference, spread_rows(frame))
    if answers[-1].refusal:
        return refused("latency_ratio", "", target, answers[-1])
    require_one_machine(answers)
    medians = np.asarray([np.median(_ratios(a)) for a in answers], np.float64)
    value, (low, high) = geometric_mean_interval(medians, tails)
    pairs = min(len(a.pairs_ns) for a in answers)
    fastest = [min(pair[i] for a in answers for pair in a.pairs_ns) for i in (0, 1)]
    return Measurement(
        metric="latency_ratio",
        value=value,
        unit="",
        n=len(answers),
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method=f"time against the {against}'s, interleaved in random order on the same rows: median of "
        f"{pairs} pair ratios or more in each of {len(answers)} fresh processes, Student's t interval over "
        "their logarithms",
        detail=f"target {target.spoken}, processes from {medians.min():.3g} to {medians.max():.3g}; "
        f"ratio of the fastest runs {fastest[0] / fastest[1]:.3g}",
        machine=describe_machine(answers[0]),
        conditions=describe_conditions(answers),
    )


def _ask(target: Target, model: OnnxModel, reference: OnnxModel, rows: Frame) -> list[Answer]:
    answers: list[Answer] = []
    with bench(target, model.onnx, model.feeds(rows)) as desk:
        desk.add("reference.onnx", reference.onnx)
        desk.add_inputs("reference.npz", reference.feeds(rows))
        for seed in range(PROCESSES):
            answers.append(
                desk.ask(
                    "compare",
                    reference="reference.onnx",
                    reference_inputs="reference.npz",
                    runs=_PAIRS,
                    least_runs=_LEAST_PAIRS,
                    seconds=_SECONDS,
                    precision=_PRECISION,
                    batch=model.batch,
                    seed=seed,
                )
            )
            if answers[-1].refusal:
                break
    return answers


def _ratios(answer: Answer) -> Sequence[float]:
    return [own / other for own, other in answer.pairs_ns if other]
