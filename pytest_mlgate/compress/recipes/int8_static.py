"""8-bit weights and activations with ranges fixed on the training rows: suits convolutions and batches."""

from __future__ import annotations

import functools

from ..qdq import Calibration, static_quantizer
from ..recipe import Material, Recipe
from ..rows import finished


def int8_static(material: Material, *, calibration: Calibration, per_channel: bool) -> bytes:
    """Return the model in QDQ form with 8-bit weights and activations, ranges from the training rows.

    Raises:
        NotApplicable: the model has neither matrix products nor convolutions with constant weights, is too
            large, or there are no training rows to calibrate on (the test rows are for judging).
        RecipeFailed: the quantizer broke, or the variant answers NaN or infinity.
    """
    with static_quantizer(material) as quantizer:
        return finished(quantizer.quantize(calibration, per_channel=per_channel), material)


def _recipe(name: str, how: str, calibration: Calibration, *, per_channel: bool = False) -> Recipe:
    return Recipe(
        name,
        f"8-bit weights and activations (QDQ), {how}, by ONNX Runtime",
        functools.partial(int8_static, calibration=calibration, per_channel=per_channel),
    )


RECIPES = (
    _recipe("int8-static", "ranges from the smallest and largest training values", "MinMax"),
    _recipe("int8-static-per-channel", "a scale for every output channel", "MinMax", per_channel=True),
    _recipe("int8-static-entropy", "ranges that lose the least relative entropy", "Entropy"),
    _recipe("int8-static-percentile", "ranges that hold 99.999% of the training values", "Percentile"),
)
