"""The answers of a model as the target's own arithmetic gives them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..candidate import OnnxModel
from ..candidate.model import Scores
from ..dataset import Frame
from ..evidence import Grade
from .ask import bench
from .backends.protocol import Answer
from .target import Target


@dataclass(frozen=True)
class TargetScores:
    """Scores from the target, with the grade of its arithmetic; or the answer that refused them."""

    scores: Scores | None
    grade: Grade
    answer: Answer


def scores_on(target: Target, model: OnnxModel, frame: Frame) -> TargetScores:
    """Return the model's scores on the rows, computed by the target or its emulator.

    Raises:
        CheckError: the target answered with something that is no probability.
    """
    with bench(target, model.onnx, model.feeds(frame)) as desk:
        answer = desk.ask("predict", batch=model.batch)
        if answer.refusal:
            return TargetScores(scores=None, grade=Grade.MISSING, answer=answer)
        with np.load(desk.folder / answer.files["outputs"], allow_pickle=False) as stored:
            arrays = [stored[name] for name in stored.files]
    grade = Grade(answer.grades.get("outputs", Grade.MEASURED))
    return TargetScores(scores=model.scores_of(arrays, len(frame)), grade=grade, answer=answer)
