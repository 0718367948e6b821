"""What a training recipe learns from: training rows, their labels, and the candidate's own answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from ..candidate import OnnxModel
from ..candidate.model import Output
from ..dataset import Dataset, Frame, matrix
from ..errors import CheckError
from .invented import image_shape, invent_rows
from .recipe import Material, NotApplicable

#: Fewer rows than this leave a validation part on which no loss can be told from another.
FEWEST_ROWS = 20
#: Invented rows are this many times the training rows, but no fewer and no more than these.
_EXTRA_TIMES, _EXTRA_LEAST, _EXTRA_MOST = 4, 8_000, 20_000
#: More rows than this are never all read: training is bounded by its steps long before.
_MOST_ROWS = 50_000
#: Rows that the candidate answers at once.
_BATCH = 256
#: Probabilities nearer to 0 or 1 than this are float noise; their logits would drown the rest.
_SMALLEST_PROBABILITY = 1e-6

Floats = NDArray[np.float32]


class TrainingFailed(Exception):
    """Training cannot start or went wrong; the message says what was met."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """Rows to learn from, with labels and with the candidate's logits.

    Args:
        rows: the features, shape (n, d).
        labels: shape (n,): 0.0 and 1.0 for a single output, else class numbers.
        teacher: the candidate's logits on the rows, shape (n, columns).
        extra: invented rows without labels, shape (m, d).
        extra_teacher: the candidate's logits on them.
        held: which rows are not trained on but choose the best state, shape (n,).
        shape: the shape of the candidate's answer to one row: (), (1,) or (k,).
        output: what the candidate's answers are, and so the student's.
        loss: the user's loss; `None` for cross-entropy.
    """

    rows: Floats
    labels: NDArray[Any]
    teacher: Floats
    extra: Floats
    extra_teacher: Floats
    held: NDArray[np.bool_]
    shape: tuple[int, ...]
    output: Output
    loss: Callable[[Any, Any], Any] | None = None

    @property
    def columns(self) -> int:
        """How many scores the candidate gives for a row."""
        return self.shape[0] if self.shape else 1


def make_lesson(material: Material, why: str, *, extra: bool = True) -> Lesson:
    """Return what the training table and the candidate teach.

    Raises:
        NotApplicable: there is no training table, or a feature is no number.
        TrainingFailed: too few rows, a single class, or labels that the scores have no column for.
    """
    model, data = material.model, material.data
    frame = material.require_train(why)
    if data.task == "regression":
        raise NotApplicable("recipes that train learn classes, and the label is an amount")
    rows = numeric_rows(frame, model)
    answers = raw_answers(model, rows[:2], frame)
    shape = answers.shape[1:]
    if len(shape) > 1:
        raise NotApplicable(f"the model answers a row with an array of shape {shape}, not with class scores")
    lesson_columns = shape[0] if shape else 1
    labels = _labels(model, data, lesson_columns)
    kept = np.flatnonzero(labels >= 0)
    generator = np.random.default_rng([material.seed, 1])
    if len(kept) > _MOST_ROWS:
        kept = np.sort(generator.choice(kept, _MOST_ROWS, replace=False))
    rows, labels = rows[kept], labels[kept]
    _require_variety(labels, data.label)
    teacher = to_logits(raw_answers(model, rows, frame), model.output)
    answered = np.isfinite(teacher).all(axis=1)
    rows, labels, teacher = rows[answered], labels[answered], teacher[answered]
    held = material.held_rows()[kept][answered]
    _require_variety(labels, data.label)
    if not held.any():  # all of them are rows that the candidate has no answer to
        held[:2] = True
    lesson = Lesson(
        rows=rows,
        labels=labels.astype(np.float32) if lesson_columns == 1 else labels,
        teacher=teacher,
        extra=rows[:0],
        extra_teacher=teacher[:0],
        held=held,
        shape=shape,
        output=model.output,
        loss=model.source.loss,
    )
    return with_extra(lesson, model, frame, generator) if extra else lesson


def with_extra(lesson: Lesson, model: OnnxModel, frame: Frame, generator: np.random.Generator) -> Lesson:
    """Return the lesson with invented rows that the candidate has answered."""
    known = lesson.rows[~lesson.held]
    count = min(max(_EXTRA_TIMES * len(known), _EXTRA_LEAST), _EXTRA_MOST)
    invented = invent_rows(known, count, generator, image_shape(model, known))
    answers = to_logits(raw_answers(model, invented, frame), lesson.output)
    usable = np.isfinite(answers).all(axis=1)
    return dataclasses.replace(lesson, extra=invented[usable], extra_teacher=answers[usable])


def numeric_rows(frame: Frame, model: OnnxModel) -> Floats:
    """Return the features as a matrix.

    Raises:
        NotApplicable: the model reads text, which no network on the features can.
    """
    if any(i.type == "tensor(string)" for i in model.session.get_inputs()):
        raise NotApplicable("the model reads text features, which a network on numbers cannot")
    try:
        return matrix(frame, model.features)
    except CheckError as error:
        raise NotApplicable(f"the model reads features that are no numbers: {error}") from None


def raw_answers(model: OnnxModel, rows: Floats, like: Frame) -> NDArray[np.float64]:
    """Return what the candidate's graph answers, in its own shape and convention.

    Raises:
        CheckError: the session refuses the rows or has no scores among its outputs.
    """
    from ..candidate.model import _scores_among

    columns = {name: rows[:, i] for i, name in enumerate(model.features)}
    frame: Frame = nw.from_dict(columns, backend=like.implementation)
    answers: NDArray[np.float64] = np.concatenate(
        [
            _scores_among(model.session.run(None, model.feeds(frame[i : i + _BATCH])))
            for i in range(0, len(rows), _BATCH)
        ]
    ).astype(np.float64)
    return answers


def to_logits(answers: NDArray[np.float64], output: Output) -> Floats:
    """Return the answers as logits, shape (n, columns): the log-odds, or the log of the probabilities."""
    logits = answers.reshape(len(answers), -1)
    low = _SMALLEST_PROBABILITY
    if output == "probability" and logits.shape[1] == 1:
        inside = np.clip(logits, low, 1 - low)
        logits = np.log(inside) - np.log1p(-inside)
    elif output == "probability":
        logits = np.log(np.clip(logits, low, 1.0))
    narrow: Floats = logits.astype(np.float32)
    return narrow


def _labels(model: OnnxModel, data: Dataset, columns: int) -> NDArray[np.int64]:
    """Return the score column that is right for every training row; -1 where no column is."""
    if columns == 1 or (columns == 2 and len(data.classes) == 2):
        known = data.class_numbers("train") >= 0
        right = 1 if columns == 1 else model.positive_column
        positive = np.where(data.labels("train"), right, 1 - right)
        return np.where(known, positive, -1).astype(np.int64)
    if columns != len(data.classes):
        raise TrainingFailed(
            f"the model scores {columns} classes and the label {data.label!r} has {len(data.classes)} "
            "values in the test table: which column is which class cannot be told"
        )
    return data.class_numbers("train")


def _require_variety(labels: NDArray[np.int64], name: str) -> None:
    if len(labels) < FEWEST_ROWS:
        rows = "1 usable row" if len(labels) == 1 else f"{len(labels)} usable rows"
        raise TrainingFailed(f"the training table has {rows}; training needs at least {FEWEST_ROWS}")
    if len(np.unique(labels)) < 2:
        raise TrainingFailed(f"label {name!r} has a single class in the training table: nothing to learn")
