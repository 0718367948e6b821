"""Quantization-aware training: the network learns to answer with 8-bit weights and inputs."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..lessons import Lesson, make_lesson
from ..objectives import Plan
from ..recipe import Material, NotApplicable, Recipe
from ..surgery import calls, fold_norms, is_weighted, quietly, require_module, require_torch, shipped
from ..training import fine_tune, undisturbed

#: The recipe that turns the trained weights into an 8-bit graph.
_QUANTIZER = "int8-static"
#: A low rate: weights have to move by less than a rounding step.
_PLAN = Plan(steps=800, rate=2e-4)


def train(material: Material) -> bytes:
    """Return the candidate in 8 bits, after training with the rounding in the forward pass.

    Weights and layer inputs are rounded as the quantizer will round them and gradients pass straight through
    (Jacob et al. 2018, section 3); batch normalisation is folded first, as section 3.2 asks. The trained
    float weights then go through the `int8-static` recipe, so that training and quantizer stay two things.

    Raises:
        NotApplicable: there is no torch module or training table, no layer to quantize, or no quantizer.
        TrainingFailed: the training rows do not do, or the loss is no number.
    """
    from ..ladder import ladder

    quantizer = next((recipe for recipe in ladder() if recipe.name == _QUANTIZER), None)
    if quantizer is None:
        raise NotApplicable(f"there is no recipe {_QUANTIZER!r} to quantize the trained weights with")
    require_torch()
    with undisturbed(material.seed), quietly():
        module = require_module(material)
        lesson = make_lesson(material, "quantization-aware training needs the training table")
        fold_norms(module, lesson.rows)
        undo = _rounding(module, lesson)
        fit = fine_tune(module, lesson, _PLAN, seed=material.seed, seconds=material.seconds)
        undo()
        trained = shipped(material, module, fit)
    return quantizer.apply(
        dataclasses.replace(material, model=dataclasses.replace(material.model, onnx=trained))
    )


def _rounding(module: Any, lesson: Lesson) -> Any:
    """Round weights and inputs of every layer that is called; return a function that stops it."""
    from torch.nn.utils import parametrize

    from ..layers import RoundedInput, RoundedWeight

    layers = list({id(c.part): c.part for c in calls(module, lesson.rows) if is_weighted(c.part)}.values())
    if not layers:
        raise NotApplicable("the module has no fully connected layer and no convolution")
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", RoundedWeight())
    hooks = [layer.register_forward_pre_hook(RoundedInput()) for layer in layers]

    def undo() -> None:
        for hook in hooks:
            hook.remove()
        for layer in layers:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)

    return undo


RECIPES = (
    Recipe(
        name="qat-int8",
        summary="8-bit weights and activations, trained with the rounding (torch), then int8-static",
        apply=train,
        trains=True,
    ),
)
