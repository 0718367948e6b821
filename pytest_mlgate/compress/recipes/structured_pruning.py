"""Structured pruning: whole neurons and channels leave the network, which gets smaller and faster."""

from __future__ import annotations

import functools

from ..objectives import Plan
from ..recipe import Material, Recipe
from ..surgery import changed
from ..thinning import thin

_PLAN = Plan(steps=2000, rate=1e-3)
_THEN = ("int8-static", "int8-dynamic", "fp32-optimized")


def prune(material: Material, share: float) -> bytes:
    """Return the candidate without this share of its channels, fine-tuned to the candidate's answers.

    Raises:
        NotApplicable: there is no torch module or training table, or nothing in it can be removed.
        TrainingFailed: the training rows do not do, or the loss is no number.
    """
    change = functools.partial(thin, share=share)
    return changed(material, "a pruned network is fine-tuned on the training table", change, _PLAN)


def _recipe(percent: int) -> Recipe:
    return Recipe(
        name=f"pruned-structured-{percent}",
        summary=(
            f"{percent}% of the neurons or channels of every layer removed (Torch-Pruning), "
            "fine-tuned to the candidate's own answers"
        ),
        apply=functools.partial(prune, share=percent / 100),
        trains=True,
        then=_THEN,
    )


RECIPES = tuple(map(_recipe, (30, 50, 75)))
