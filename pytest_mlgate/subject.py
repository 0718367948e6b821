"""What a check is given: the release artifact, its float parent, the baseline, the data and its levels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .candidate import Model
from .candidate.model import Scores, answers_values, decisions
from .data_labels import CHOOSE_ANOTHER_METRIC
from .dataset import Dataset
from .errors import CheckError
from .hardware.target import Targets
from .levels import Levels


@dataclass(frozen=True, eq=False)
class Subject:
    """Everything a check may look at; it measures `release`, which is the artifact that would ship."""

    release: Model
    #: The float model before compression; the release artifact itself if nothing was compressed.
    parent: Model
    baseline: Model | None
    data: Dataset
    #: The training record of a private training run, as read from its JSON file.
    training_record: dict[str, Any] | None
    levels: Levels
    seed: int
    #: The targets that the policy names, and every id that a backend understands.
    targets: Targets = field(default_factory=Targets)
    _answers: dict[tuple[object, ...], Scores] = field(default_factory=dict)

    def scores(self, model: Model | None = None, role: str = "test") -> Scores:
        """Return what a model (the release artifact by default) answers on a table, cached.

        Probabilities of the positive class, shape (n,), or of every class, shape (n, k); the values of a
        regression, shape (n,).
        """
        chosen = model if model is not None else self.release
        fields = ("output", "features", "positive_column")
        meaning = [getattr(chosen, field, "") for field in fields]
        key = (chosen.identity.digest, *meaning, role)
        if key not in self._answers:
            ask = chosen.predict if answers_values(chosen) else chosen.predict_proba
            self._answers[key] = ask(self.data.tables[role])
        return self._answers[key]

    def right(self, model: Model, scores: Scores) -> NDArray[np.bool_]:
        """Return which test rows the scores decide rightly, shape (n,).

        Raises:
            CheckError: the task is regression, the model has another number of classes than the labels, or
                training never saw one of them.
        """
        if self.data.task == "regression":
            raise CheckError(
                f"label {self.data.label!r} is an amount (task='regression'), which is never right or wrong: "
                f"accuracy needs classes; {CHOOSE_ANOTHER_METRIC}"
            )
        self.require_classes(model, scores)
        if scores.ndim == 1:
            return np.asarray(decisions(model, scores) == self.data.labels())
        return np.asarray(scores.argmax(axis=1) == self.data.class_numbers())

    def require_classes(self, model: Model, scores: Scores) -> None:
        """Refuse scores that cannot be told to be of the label's classes: one for each, or one for two.

        Raises:
            CheckError: with the two numbers of classes, or with the classes that training never saw.
        """
        columns, classes = scores.shape[1] if scores.ndim == 2 else 1, len(self.data.classes)
        if columns != classes and not (columns == 1 and classes <= 2):
            raise CheckError(
                f"{model.identity.name} answers with {columns} {'class' if columns == 1 else 'classes'}, and "
                f"label {self.data.label!r} has {classes} in the test table"
            )
        if self.data.unseen_labels:
            unseen = ", ".join(map(repr, self.data.unseen_labels[:10]))
            raise CheckError(
                f"label {self.data.label!r} has classes in the test table that the training table never "
                f"shows ({unseen}): which score is which class cannot be told; judge on rows whose classes "
                "the model was trained on"
            )

    def require_train(self, what: str) -> None:
        """Refuse to go on without the training table.

        Raises:
            CheckError: with the way to give one.
        """
        if "train" not in self.data.tables:
            raise CheckError(f"{what} needs the training table: give Dataset(train=...) or [data] train")
