"""Static 8-bit quantization with the few operators that it hurts most left in float."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..onnx_files import RecipeFailed
from ..qdq import StaticQuantizer, static_quantizer
from ..recipe import Material, NotApplicable, Recipe
from ..rows import finished

#: Above so many operators each is judged by its weights alone: quantizing them one at a time takes minutes.
_ONE_AT_A_TIME = 30
#: Rows on which errors are compared; the ranges still come from all calibration rows.
_ERROR_ROWS = 128
#: Of the spread of the float answers: below this, no accuracy is left to buy back.
NEGLIGIBLE = 0.01
#: What is left in float must bring the error under this share of that of `int8-static`.
WORTHWHILE = 0.5


def int8_static_mixed(material: Material) -> bytes:
    """Return `int8-static` with the most sensitive third of the operators, at most, left in float.

    Sensitivity is measured on training rows: each operator is quantized alone, and the error of the
    answers is its own. Then the most sensitive are left out, 1, 2, 4, ... of them, until the error is under
    `WORTHWHILE` of that of `int8-static`. The error is the root mean square difference from the float
    answers, over their standard deviation (the inverse of the signal-to-quantization-noise ratio).

    Raises:
        NotApplicable: `int8-static` is already as good, leaving a third out does not help, or what
            `int8-static` itself does not apply to.
        RecipeFailed: the quantizer broke, or the variant answers NaN or infinity.
    """
    with static_quantizer(material) as quantizer:
        total = len(quantizer.nodes)
        if total < 2:
            raise NotApplicable("a single operator has weights; in float, nothing would be quantized")
        judge = _Error(quantizer)
        whole = quantizer.quantize()
        all_int8 = judge.of(whole)
        if all_int8 < NEGLIGIBLE:
            raise NotApplicable(
                f"int8-static is as good: its error is {all_int8:.2%} of the spread of the float answers"
            )
        ordered = _most_sensitive_first(quantizer, judge, whole)
        largest = -(-total // 3)
        left_out = 1
        while True:
            variant = quantizer.quantize(leave_out=ordered[:left_out])
            error = judge.of(variant)
            if np.isfinite(error) and error <= WORTHWHILE * all_int8:
                return finished(variant, material)
            if left_out == largest:
                break
            left_out = min(2 * left_out, largest)
        still = f"the error is still {error / all_int8:.0%} of that of int8-static"
        if not np.isfinite(error):
            still = "the answers are still NaN or infinity"
        raise NotApplicable(f"with the {largest} most sensitive of {total} operators in float, {still}")


class _Error:
    """Measures how far a variant's answers are from the float model's, on a part of the training rows."""

    def __init__(self, quantizer: StaticQuantizer) -> None:
        self._rows = quantizer.rows.fewer(_ERROR_ROWS)
        answers = np.concatenate(self._rows.answers(self._rows.model.onnx), axis=1)
        self._numbers = np.isfinite(answers).all(axis=1)
        if not self._numbers.any():
            raise RecipeFailed("the float model answers no training row with numbers only")
        self._answers = answers[self._numbers]
        self._spread = float(np.std(self._answers)) or 1.0

    def of(self, onnx: bytes) -> float:
        """Return the relative error; infinite where the variant answers no numbers."""
        answers = np.concatenate(self._rows.answers(onnx), axis=1)[self._numbers]
        error = float(np.sqrt(np.mean((answers - self._answers) ** 2))) / self._spread
        return error if np.isfinite(error) else np.inf


def _most_sensitive_first(quantizer: StaticQuantizer, judge: _Error, whole: bytes) -> list[str]:
    nodes = quantizer.nodes
    if len(nodes) > _ONE_AT_A_TIME:
        errors = _weight_errors(quantizer, whole)
    else:
        alone = (quantizer.quantize(leave_out=[n for n in nodes if n != node]) for node in nodes)
        errors = [judge.of(variant) for variant in alone]
    return [nodes[i] for i in np.argsort(-np.asarray(errors), kind="stable")]


def _weight_errors(quantizer: StaticQuantizer, whole: bytes) -> list[float]:
    """Return, for every operator, how much of its weight quantization lost."""
    from onnxruntime.quantization import qdq_loss_debug

    path: Any = quantizer.path.with_name("whole.onnx")
    path.write_bytes(whole)
    matched = qdq_loss_debug.create_weight_matching(str(quantizer.path), str(path))
    decibels = qdq_loss_debug.compute_weight_error(matched)
    return [-decibels.get(weight, np.inf) for weight in quantizer.weights]


RECIPES = (
    Recipe(
        "int8-static-mixed",
        "int8-static with the operators that lose most accuracy left in float, by ONNX Runtime",
        int8_static_mixed,
    ),
)
