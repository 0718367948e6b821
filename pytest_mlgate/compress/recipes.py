"""The compression recipes: each turns the candidate's ONNX bytes into a variant's, or says why it cannot."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..candidate import OnnxModel
from ..dataset import Frame

#: Rows that fix the ranges of the activations; min-max gained nothing from more.
CALIBRATION_ROWS = 512


class NotApplicable(Exception):
    """The recipe has nothing to work on in this model."""


@dataclass(frozen=True)
class Recipe:
    """A named way to make a variant."""

    name: str
    apply: Callable[[OnnxModel, Frame | None], bytes]


def recipes() -> tuple[Recipe, ...]:
    """Return the recipes that are tried, the float model first."""
    return (
        Recipe("fp32", lambda model, _: model.onnx),
        Recipe("int8-dynamic", int8_dynamic),
        Recipe("int8-static", int8_static),
    )


def int8_dynamic(model: OnnxModel, _: Frame | None) -> bytes:
    """Return the model with 8-bit weights and activations scaled at run time.

    Matrix products only: with ONNX Runtime's ConvInteger a convolution is 20 times slower than in float.

    Raises:
        NotApplicable: the model has no matrix products.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    _require_operators(model.onnx, {"MatMul", "Gemm"})
    with _files(model.onnx) as (source, target):
        quantize_dynamic(source, target, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8)
        return target.read_bytes()


def int8_static(model: OnnxModel, calibration: Frame | None) -> bytes:
    """Return the model in QDQ form with 8-bit weights and activations, ranges from the training rows.

    The graph is pre-processed first: without that, static quantization of convolutions gains nothing.

    Raises:
        NotApplicable: the model has neither matrix products nor convolutions, or there are no training
            rows to calibrate on (the test rows are for judging).
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    if calibration is None:
        raise NotApplicable("static quantization is calibrated on the training table, and none was given")
    _require_operators(model.onnx, {"MatMul", "Gemm", "Conv"})
    with _files(model.onnx) as (source, target):
        prepared = _preprocessed(source)
        quantize_static(
            prepared,
            target,
            cast(Any, _Rows(model, calibration.head(CALIBRATION_ROWS))),  # a reader by its one method
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            op_types_to_quantize=["MatMul", "Gemm", "Conv"],
        )
        return target.read_bytes()


class _Rows:
    """Hands the calibration rows to ONNX Runtime, one batch, once."""

    def __init__(self, model: OnnxModel, frame: Frame) -> None:
        self._batches: Iterator[dict[str, Any]] = iter([model.feeds(frame)])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


def _preprocessed(source: Path) -> Path:
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = source.with_name("prepared.onnx")
    try:
        quant_pre_process(source, prepared)
    except Exception:  # symbolic shape inference fails on some dynamic shapes with a bare assertion
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
    return prepared


def _require_operators(onnx_bytes: bytes, wanted: set[str]) -> None:
    import onnx

    present = {node.op_type for node in onnx.load_model_from_string(onnx_bytes).graph.node}
    if not present & wanted:
        raise NotApplicable(f"the graph has no {' or '.join(sorted(wanted))}")


@contextlib.contextmanager
def _files(onnx_bytes: bytes) -> Iterator[tuple[Path, Path]]:
    root = logging.getLogger()
    level = root.level
    with tempfile.TemporaryDirectory(prefix="mlgate-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = Path(folder, "source.onnx")
        source.write_bytes(onnx_bytes)
        # The quantizer advises on the root logger; its advice is not for the reader of a gate's output.
        root.setLevel(logging.ERROR)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield source, Path(folder, "variant.onnx")
        finally:
            root.setLevel(level)
