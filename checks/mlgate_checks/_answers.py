"""What a model answers to the labelled test rows, as every metric reads it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.candidate import Model
from pytest_mlgate.candidate.model import decisions, positive_scores
from pytest_mlgate.errors import CheckError
from pytest_mlgate.subject import Subject

Task = Literal["binary", "multiclass", "regression"]
Floats = NDArray[np.float64]
Rows = NDArray[Any]

_ROUNDING = 1e-6


class Undefined(ValueError):
    """The metric has no value on these rows; the text says why."""


@dataclass(frozen=True, eq=False)
class Answers:
    """The truth and a model's answers for the same rows.

    Binary: `truth` and `chosen` are whether a row is, and is said to be, of the positive class; `scores` are
    probabilities of it, shape (n,). Multiclass: class numbers, and `scores` of shape (n, k). Regression: the
    targets; `scores` and `chosen` are the predicted values.
    """

    task: Task
    truth: Rows
    scores: Floats
    chosen: Rows

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.truth)

    def take(self, rows: Rows) -> Answers:
        """Return the answers to some of the rows: positions, or a mask."""
        chosen = self.scores[rows] if self.chosen is self.scores else self.chosen[rows]
        return Answers(self.task, self.truth[rows], self.scores[rows], chosen)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which rows are answered rightly, shape (n,)."""
        return np.asarray(self.chosen == self.truth)

    @functools.cached_property
    def falling(self) -> NDArray[np.intp]:
        """The rows from the highest score to the lowest, shape (n,); binary only."""
        return np.argsort(-self.scores, kind="stable")

    @property
    def errors(self) -> Floats:
        """Predicted minus true value of a regression, shape (n,)."""
        return np.asarray(self.scores - self.truth, np.float64)

    @property
    def of_truth(self) -> Floats:
        """The probability that was given to what is true, shape (n,); classification only."""
        if self.task == "binary":
            return np.asarray(np.where(self.truth, self.scores, 1 - self.scores))
        return np.asarray(self.scores[np.arange(len(self)), self.truth])

    def require_two_classes(self, what: str) -> None:
        """Refuse rows of a single class.

        Raises:
            Undefined: naming the class that is there.
        """
        if self.truth.min() == self.truth.max():
            only = "" if self.task != "binary" else " (positive)" if self.truth[0] else " (negative)"
            raise Undefined(f"the {len(self):,} rows hold one class only{only}, and {what} compares the two")


def answers_of(subject: Subject, model: Model, role: str = "test") -> Answers:
    """Return a model's answers to the rows of a table, refusing what is no answer.

    Raises:
        CheckError: NaN or infinite scores, probabilities outside 0 to 1, another number of scores than
            classes, classes that training never saw, or a classifier where values are needed and vice versa.
    """
    data, scores = subject.data, np.asarray(subject.scores(model, role), np.float64)
    name, task = model.identity.name, data.task
    broken = int((~np.isfinite(scores)).reshape(len(scores), -1).any(axis=1).sum())
    if broken:
        raise CheckError(
            f"{name} answered NaN or infinity for {broken:,} of {len(scores):,} {role} rows, so that nothing "
            "can be said about its quality; look at those rows, and let the model impute what it cannot read"
        )
    if task == "regression":
        if scores.ndim != 1 or getattr(model, "output", "value") != "value":
            raise CheckError(
                f"{name} answers with probabilities, and label {data.label!r} is an amount "
                "(task='regression'): give the model as Candidate(model, output='value')"
            )
        return Answers(task, data.targets(role), scores, scores)
    if scores.min() < -_ROUNDING or scores.max() > 1 + _ROUNDING:
        raise CheckError(
            f"{name} answered {scores.min():.3g} to {scores.max():.3g}, which are no probabilities; if they "
            "are logits, say so: Candidate(model, output='logit')"
        )
    scores = np.clip(scores, 0.0, 1.0)
    if data.unseen_labels:
        raise CheckError(
            f"label {data.label!r} has classes in the test table that the training table never shows "
            f"({', '.join(map(repr, data.unseen_labels[:10]))}): judge on rows whose classes the model was "
            "trained on"
        )
    if task == "binary":
        positive = positive_scores(scores)
        return Answers(task, data.labels(role), positive, decisions(model, positive))
    subject.require_classes(model, scores)
    return Answers(task, data.class_numbers(role), scores, np.argmax(scores, axis=1))
