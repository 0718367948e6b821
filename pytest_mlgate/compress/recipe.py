"""What a compression recipe is given, what it gives back, and how it says that there is nothing to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..candidate import OnnxModel
from ..dataset import Dataset, Frame

#: Share of the training rows that no recipe trains on.
_HELD = 0.15


class NotApplicable(Exception):
    """The recipe has nothing to work on in this model, or lacks what it needs; the message says what."""


@dataclass(frozen=True, eq=False)
class Material:
    """Everything a recipe may use. The rows that the gate judges on are not part of it.

    Args:
        model: the float model; its `source` holds the torch module it was exported from, where there is one.
        data: what the columns mean, and the training table; the test table may be looked at for its
            schema only.
        seed: fixes every random choice, so that the same material makes the same bytes.
        seconds: how long a recipe that trains may train.
        withheld: why the training table is kept from the recipes although there is one.
    """

    model: OnnxModel
    data: Dataset
    seed: int = 0
    seconds: float = 60.0
    withheld: str = ""

    def require_train(self, why: str) -> Frame:
        """Return the training table.

        Raises:
            NotApplicable: there is none; `why` says what it would have been used for.
        """
        train = self.data.tables.get("train")
        if train is None:
            reason = self.withheld or "no training table was given (the test rows are for judging)"
            raise NotApplicable(f"{why}, and {reason}")
        return train

    def held_rows(self) -> NDArray[np.bool_]:
        """Return which training rows no recipe may train on, shape (n,).

        They choose the best state of a training, and show afterwards how often a variant decides otherwise
        than the float model: on rows that it was trained on it would seldom.
        """
        return held_rows(len(self.require_train("rows are held back from training")), self.seed)


def held_rows(rows: int, seed: int) -> NDArray[np.bool_]:
    """Return a mask over so many rows, true for those held back; at least two of them where there are any."""
    held = np.zeros(rows, bool)
    held[np.random.default_rng([seed, 2]).permutation(rows)[: max(2, round(_HELD * rows))]] = True
    return held


@dataclass(frozen=True)
class Recipe:
    """A named way to make a variant: ONNX bytes from the material.

    `apply` raises `NotApplicable` where it has nothing to do; any other exception is an `error` of this
    recipe alone.
    """

    name: str
    #: One line for reports: what is done, and by which library.
    summary: str
    apply: Callable[[Material], bytes]
    #: It trains on the training table: slower, gives another model, and a policy can forbid it.
    trains: bool = False
    #: It only rewrites the graph: its variant answers as what it was made of does.
    exact: bool = False
    #: Recipes that are worth trying on what this one made, by name ("int8-static").
    then: tuple[str, ...] = ()
