"""What a check is given: the release artifact, its float parent, the baseline, the data and its levels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .candidate import Model
from .candidate.model import Scores, decisions
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
        """Return the probabilities of a model (the release artifact by default) on a table, cached."""
        chosen = model if model is not None else self.release
        meaning = getattr(chosen, "output", ""), getattr(chosen, "features", ())
        key = (chosen.identity.digest, *meaning, role)
        if key not in self._answers:
            self._answers[key] = chosen.predict_proba(self.data.tables[role])
        return self._answers[key]

    def right(self, model: Model, scores: Scores) -> NDArray[np.bool_]:
        """Return which test rows the scores decide rightly, shape (n,).

        Raises:
            CheckError: the model has another number of classes than the labels.
        """
        if scores.ndim == 1:
            return np.asarray(decisions(model, scores) == self.data.labels())
        if scores.shape[1] != len(self.data.classes):
            raise CheckError(
                f"{model.identity.name} answers with {scores.shape[1]} classes, and the labels have "
                f"{len(self.data.classes)}"
            )
        return np.asarray(scores.argmax(axis=1) == self.data.class_numbers())

    def require_train(self, what: str) -> None:
        """Refuse to go on without the training table.

        Raises:
            CheckError: with the way to give one.
        """
        if "train" not in self.data.tables:
            raise CheckError(f"{what} needs the training table: give Dataset(train=...) or [data] train")
