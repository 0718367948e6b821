"""Magnitude pruning: the smallest weights become zero. The file gets smaller only where it is compressed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..lessons import Lesson
from ..objectives import Plan
from ..recipe import Material, NotApplicable, Recipe
from ..surgery import changed, is_attention, is_weighted

_PLAN = Plan(steps=1000, rate=5e-4)


def prune(material: Material, share: float) -> bytes:
    """Return the candidate with this share of its weights at zero, fine-tuned with the zeros held.

    The smallest weights of all layers together go (global pruning by magnitude: Han, Pool, Tran, Dally 2015,
    section 3; Gale, Elsen, Hooker 2019, section 3); biases and normalisation stay.

    Raises:
        NotApplicable: there is no torch module or training table, or no layer with weights.
        TrainingFailed: the training rows do not do, or the loss is no number.
    """
    change = functools.partial(_zero, share=share)
    return changed(material, "pruning fine-tunes on the training table", change, _PLAN)


def _zero(module: Any, lesson: Lesson, share: float) -> Callable[[], None]:
    import torch
    from torch.nn.utils import prune as library

    del lesson
    weights: dict[int, tuple[Any, str]] = {}  # a shared weight counts once
    for part in module.modules():
        name = "in_proj_weight" if is_attention(part) else "weight" if is_weighted(part) else ""
        weight = getattr(part, name, None) if name else None
        if isinstance(weight, torch.nn.Parameter):
            weights.setdefault(id(weight), (part, name))
    if not weights:
        raise NotApplicable("the module has no fully connected layer and no convolution")
    places = list(weights.values())
    library.global_unstructured(places, pruning_method=library.L1Unstructured, amount=share)
    held = []
    for part, name in places:
        mask = getattr(part, f"{name}_mask").bool()
        library.remove(part, name)
        held.append((getattr(part, name), ~mask))

    def hold() -> None:
        with torch.no_grad():
            for weight, zero in held:
                weight.masked_fill_(zero, 0.0)

    return hold


def _recipe(percent: int) -> Recipe:
    return Recipe(
        name=f"pruned-magnitude-{percent}",
        summary=(
            f"{percent}% of the weights at zero by magnitude (torch.nn.utils.prune), fine-tuned; "
            "smaller only once the file is compressed, no faster"
        ),
        apply=functools.partial(prune, share=percent / 100),
        trains=True,
    )


RECIPES = tuple(map(_recipe, (50, 80)))
