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
from .recipe import Material, NotApplicable

#: Fewer rows than this leave a validation part on which no loss can be told from another.
FEWEST_ROWS = 20
#: Invented rows are at most this many times the training rows, and at most this many.
_EXTRA_TIMES, _EXTRA_MOST = 4, 20_000
#: More rows than this are never all read: training is bounded by its steps long before.
_MOST_ROWS = 50_000
#: Share of the features of a resampled row that are taken from another row.
_RESAMPLED = 0.2
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
        shape: the shape of the candidate's answer to one row: (), (1,) or (k,).
        output: what the candidate's answers are, and so the student's.
        loss: the user's loss; `None` for cross-entropy.
    """

    rows: Floats
    labels: NDArray[Any]
    teacher: Floats
    extra: Floats
    extra_teacher: Floats
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
    _require_variety(labels, data.label)
    lesson = Lesson(
        rows=rows,
        labels=labels.astype(np.float32) if lesson_columns == 1 else labels,
        teacher=teacher,
        extra=rows[:0],
        extra_teacher=teacher[:0],
        shape=shape,
        output=model.output,
        loss=model.source.loss,
    )
    return with_extra(lesson, model, frame, generator) if extra else lesson


def with_extra(lesson: Lesson, model: OnnxModel, frame: Frame, generator: np.random.Generator) -> Lesson:
    """Return the lesson with invented rows that the candidate has answered."""
    invented = invent_rows(lesson.rows, min(_EXTRA_TIMES * len(lesson.rows), _EXTRA_MOST), generator)
    answers = to_logits(raw_answers(model, invented, frame), lesson.output)
    usable = np.isfinite(answers).all(axis=1)
    return dataclasses.replace(lesson, extra=invented[usable], extra_teacher=answers[usable])


def invent_rows(rows: Floats, count: int, generator: np.random.Generator) -> Floats:
    """Return rows near the given ones, which only a teacher can label; a seeded generator fixes them.

    Half are blends of two rows (mixup: Zhang, Cisse, Dauphin, Lopez-Paz 2018, section 2), where a column of
    two values takes either, never one between; half are rows with a fifth of their features taken from
    other rows, as in the synthetic data of Bucila, Caruana, Niculescu-Mizil 2006, section 3, but from any
    row rather than from the nearest.
    """
    n, d = rows.shape
    first, second = (rows[generator.integers(0, n, count)] for _ in range(2))
    share = generator.uniform(0.5, 1.0, (count, 1)).astype(np.float32)
    distinct = np.array([len(np.unique(rows[:, i])) for i in range(d)])
    blended = np.where(distinct <= 2, first, share * first + (1 - share) * second)
    taken = generator.random((count, d)) < _RESAMPLED
    others = rows[generator.integers(0, n, (count, d)), np.arange(d)]
    resampled = np.where(taken, others, first)
    half = count // 2
    invented: Floats = np.concatenate([blended[:half], resampled[half:]]).astype(np.float32)
    return invented


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
