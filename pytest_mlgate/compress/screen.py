"""A quick look at all variants, to put them in order before the budget is measured on any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..candidate import OnnxModel
from ..candidate.model import Scores, decisions
from ..dataset import Dataset, Frame
from ..evidence import QuickFigures
from ..hardware.ask import bench
from ..hardware.target import Targets
from ..hardware.times import spread_rows
from ..levels import Tails
from ..statistics import paired_difference_interval, wilson
from .make import Made
from .recipe import held_rows

Objective = Literal["size", "latency", "memory", "cost"]
_ROUNDS = 200
_SECONDS = 3.0
_TRAIN_ROWS = 4000


def quick_look(made: Sequence[Made], parent: OnnxModel, data: Dataset) -> dict[str, QuickFigures]:
    """Return time relative to the float model and accuracy on training rows, by recipe.

    Times are taken on this machine's CPU, whatever the target: they order, they do not decide. Test rows
    are not looked at: an artifact that was chosen on them could not be judged on them.
    """
    times = _times(made, parent, data.tables["test"])
    accuracies = {one.recipe: _accuracy(one.model, data) for one in made}
    return {
        one.recipe: QuickFigures(
            latency_us=times[i] / 1e3 if times is not None else None,
            latency_ratio=times[i] / times[-1] if times is not None else None,
            accuracy=accuracies[one.recipe],
        )
        for i, one in enumerate(made)
    }


def cost_of(one: Made, figures: QuickFigures, objective: Objective) -> tuple[float, int]:
    """Return what orders the variants: the objective, then the size of the file.

    Peak memory follows from the file's size among variants of one graph, and cost from its time; the
    budget then measures both for what they are.
    """
    size = len(one.model.onnx)
    if objective in ("size", "memory") or figures.latency_ratio is None:
        return float(size), size
    # Times that differ by less than a twentieth are not told apart: the smaller file goes first.
    return float(round(np.log(figures.latency_ratio) / 0.05)), size


def price_of(one: Made, figures: QuickFigures, objective: Objective) -> float:
    """Return what a variant costs in the objective's own measure: relative time, or bytes."""
    if objective in ("size", "memory") or figures.latency_ratio is None:
        return float(len(one.model.onnx))
    return figures.latency_ratio


def with_front(
    made: Sequence[Made], figures: Mapping[str, QuickFigures], objective: Objective
) -> dict[str, QuickFigures]:
    """Return the figures with the Pareto front of cost against accuracy marked."""
    points = {
        one.recipe: (cost_of(one, figures[one.recipe], objective)[0], figures[one.recipe].accuracy)
        for one in made
    }
    marked = {}
    for name, (cost, accuracy) in points.items():
        beaten = accuracy is not None and any(
            other_accuracy is not None
            and other_cost <= cost
            and other_accuracy >= accuracy
            and (other_cost, other_accuracy) != (cost, accuracy)
            for other_cost, other_accuracy in points.values()
        )
        seen = figures[name]
        marked[name] = QuickFigures(
            latency_ratio=seen.latency_ratio,
            latency_us=seen.latency_us,
            accuracy=seen.accuracy,
            on_front=accuracy is not None and not beaten,
        )
    return marked


def _times(made: Sequence[Made], parent: OnnxModel, frame: Frame) -> NDArray[np.float64] | None:
    """Return the median nanoseconds of every variant and, last, of the float model."""
    if any(one.model.batch != parent.batch for one in made):
        return None
    with bench(Targets().resolve("cpu"), parent.onnx, parent.feeds(spread_rows(frame))) as desk:
        names = [desk.add(f"variant{i}.onnx", one.model.onnx) for i, one in enumerate(made)]
        answer = desk.ask(
            "rank", others=names, runs=_ROUNDS, least_runs=20, seconds=_SECONDS, batch=parent.batch
        )
    if answer.refusal:
        return None
    medians = np.median(np.asarray(answer.pairs_ns, np.float64), axis=0)
    return np.asarray([*medians[1:], medians[0]])


def _accuracy(model: OnnxModel, data: Dataset) -> float | None:
    train = data.tables.get("train")
    if train is None or data.task == "regression":
        return None
    step = max(1, len(train) // _TRAIN_ROWS)
    scores = model.predict_proba(train.gather_every(step))
    if scores.ndim == 2:
        return float(np.mean(scores.argmax(axis=1) == data.class_numbers("train")[::step]))
    return float(np.mean(decisions(model, scores) == data.labels("train")[::step]))


@dataclass(frozen=True)
class Unlikeness:
    """How far a variant's answers are from the float model's on training rows that were held back.

    Args:
        differing: on how many rows the two decide otherwise.
        seen: how many rows were looked at; none without a training table.
        distance: mean total variation between the two sets of class probabilities, 0 to 1; of a regression,
            mean difference of the values over their standard deviation.
    """

    differing: int
    seen: int
    distance: float


def unlikeness(made: Sequence[Made], parent: OnnxModel, data: Dataset, seed: int) -> dict[str, Unlikeness]:
    """Return how unlike the float model every variant is, by recipe.

    On rows that the float model has learned by heart others agree with it more often than on new ones, so
    this is rather too little.
    """
    train = data.tables.get("train")
    if train is None:
        return {one.recipe: Unlikeness(0, 0, 0.0) for one in made}
    rows = train.filter(held_rows(len(train), seed).tolist()).head(_TRAIN_ROWS)
    expected = parent.predict(rows)
    decided = None if data.task == "regression" else _decided(parent, expected)
    unit = 1.0 if decided is not None else float(np.std(expected)) or 1.0
    found = {}
    for one in made:
        scores = one.model.predict(rows)
        apart = np.abs(scores - expected) / unit
        found[one.recipe] = Unlikeness(
            differing=0 if decided is None else int(np.sum(_decided(one.model, scores) != decided)),
            seen=len(rows),
            distance=float(np.mean(apart.sum(axis=1) / 2 if apart.ndim == 2 else apart)),
        )
    return found


def _decided(model: OnnxModel, scores: Scores) -> NDArray[Any]:
    return np.asarray(scores.argmax(axis=1) if scores.ndim == 2 else decisions(model, scores))


def undecidable(unlike: Unlikeness, tested: int, bound: float) -> str:
    """Say why no loss below the bound could be shown for a variant that decides otherwise this often.

    Even if it is wrong no more often than the float model, the interval of the paired difference widens with
    the rows on which the two disagree; with the fewest disagreements that fit what was seen (Wilson, 95%)
    it would still reach beyond the bound. Empty where something could be shown.
    """
    if not unlike.differing:
        return ""
    tails = Tails(lower=0.025, upper=0.025)
    least = int(wilson(unlike.differing, unlike.seen, Tails(lower=0.05, upper=0.05))[0] * tested / 2)
    _, of_none = paired_difference_interval(0, 0, tested, tails)
    _, high = paired_difference_interval(least, least, tested, tails)
    if high <= bound or of_none > bound:  # too few test rows for any variant: the budget will say how many
        return ""
    return (
        f"decides otherwise than the float model on {unlike.differing} of {unlike.seen} training rows that "
        f"were held back: with {tested:,} test rows no loss below {bound:g} could be shown even if there "
        "were none; not measured further"
    )
