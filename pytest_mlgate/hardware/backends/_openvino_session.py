"""One model compiled by OpenVINO for one device, with its inputs preset."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .protocol import Refusal

INSTALL = "pip install openvino==2026.4.1"
#: Precisions that can be asked for, as OpenVINO spells them.
PRECISIONS = ("f32", "bf16")


def load_openvino() -> Any:
    """Return the openvino module; importing it here sends nothing to its vendor.

    Its import reports itself over the network and leaves files in the user's home, unless the package that
    does so is not there; then OpenVINO takes an empty stand-in of its own.

    Raises:
        Refusal: it is not installed.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise Refusal("missing", f"OpenVINO is not installed: {error}", INSTALL) from None
    return openvino


def device_of(core: Any, device: str) -> str:
    """Return the device's full name.

    Raises:
        Refusal: this machine does not have it; OpenVINO is never left to choose another.
    """
    there = [str(name) for name in core.available_devices]
    if device not in there:
        text = f"OpenVINO sees {', '.join(there) or 'no device'} on this machine, and no {device}"
        if device == "NPU":
            text += (
                ". An Intel NPU needs the kernel module intel_vpu and the packages of linux-npu-driver "
                "(firmware, Level Zero, compiler); the wheel of OpenVINO has no compiler for it"
            )
        raise Refusal("missing", text)
    return str(core.get_property(device, "FULL_DEVICE_NAME"))


class Compiled:
    """A compiled model that is called with arrays and keeps its input tensors."""

    def __init__(self, ov: Any, core: Any, path: Path, device: str, precision: str, threads: int) -> None:
        settings = {"PERFORMANCE_HINT": "LATENCY"}
        if precision:
            settings["INFERENCE_PRECISION_HINT"] = precision
        if device == "CPU":
            settings["INFERENCE_NUM_THREADS"] = str(threads)
        _check_operators(path)
        try:
            model = core.read_model(str(path))
            if device == "NPU":
                fix_batch(model)
            self._model = core.compile_model(model, device, settings)
        except Exception as error:  # a plain RuntimeError with several lines of source positions
            raise Refusal("unsupported", f"OpenVINO refuses the model: {_said(error)}") from None
        self._ov = ov
        self._request = self._model.create_infer_request()
        self._inputs = {
            name: (i, port) for i, port in enumerate(self._model.inputs) for name in port.get_names()
        }
        self._preset: dict[str, NDArray[Any]] = {}
        self.settings = self._check(device, precision)

    def _check(self, device: str, precision: str) -> dict[str, str]:
        ran = [str(name).partition(".")[0] for name in self._model.get_property("EXECUTION_DEVICES")]
        if ran != [device]:
            raise Refusal("off_target", f"OpenVINO compiled for {ran}, not for {device} alone")
        real = _short(self._model.get_property("INFERENCE_PRECISION_HINT").to_string())
        if precision not in {"", real}:
            raise Refusal("unsupported", f"asked for {precision}, {device} computes in {real}")
        found = {"device": device, "precision": real}
        if device == "CPU":
            found["openvino_threads"] = str(self._model.get_property("INFERENCE_NUM_THREADS"))
        return found

    def operators(self) -> int:
        """Return how many operators the device runs, after OpenVINO fused what it could."""
        idle = {"Input", "Output", "Const"}
        kinds = [
            op.get_rt_info()["layerType"].astype(str) for op in self._model.get_runtime_model().get_ops()
        ]
        return sum(kind not in idle for kind in kinds)

    def batch(self) -> int | None:
        """Return the number of rows that the model insists on, `None` where it takes any."""
        first = [port.get_partial_shape()[0] for port in self._model.inputs]
        fixed = {int(dim.get_length()) for dim in first if dim.is_static}
        return fixed.pop() if len(fixed) == 1 else None

    def __call__(self, feed: dict[str, NDArray[Any]]) -> None:
        """Copy the values into the input tensors and run.

        Handing the arrays over instead makes a call several times slower: a new tensor for each.
        """
        for name, values in feed.items():
            preset = self._preset.get(name)
            if preset is None or preset.shape != values.shape:
                preset = self._new_tensor(name, values)
            preset[...] = values
        self._request.infer(share_outputs=True)

    def outputs(self, feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run and return copies of the outputs, in the model's order."""
        self(feed)
        return [np.array(self._request.get_output_tensor(i).data) for i in range(len(self._model.outputs))]

    def _new_tensor(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        if name not in self._inputs:
            raise Refusal("failed", f"the model has no input {name}; it has: {', '.join(self._inputs)}")
        index, port = self._inputs[name]
        kind = port.get_element_type()
        if kind.to_dtype() != values.dtype:
            raise Refusal(
                "unsupported", f"input {name} is {values.dtype}, the model takes {kind.to_string()}"
            )
        tensor = self._ov.Tensor(kind, self._ov.Shape(values.shape))
        self._request.set_input_tensor(index, tensor)
        self._preset[name] = tensor.data
        return self._preset[name]


def fix_batch(model: Any) -> None:
    """Set an open number of rows to 1: the NPU takes fixed sizes."""
    shapes = {}
    for port in model.inputs:
        shape = port.get_partial_shape()
        if shape.rank.get_length() and shape[0].is_dynamic:
            shape[0] = 1
            shapes[port.any_name] = shape
    if shapes:
        model.reshape(shapes)


def _check_operators(path: Path) -> None:
    """Refuse what OpenVINO 2026.4.1 was seen to compute wrongly, without a word.

    Of ONNX Runtime's FusedGemm it knows two activations, and computes Relu for all others.
    """
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf has no public base for its errors
        raise Refusal("unsupported", f"the artifact is not an ONNX model: {error}") from None
    for node in model.graph.node:
        said = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        kind = said.get("activation", b"Relu").decode() if node.op_type == "FusedGemm" else "Relu"
        if kind not in {"Relu", "LeakyRelu"}:
            raise Refusal(
                "unsupported",
                f"OpenVINO computes Relu for the {kind} in FusedGemm (node {node.name}), an operator that "
                "ONNX Runtime's optimization for the CPU leaves: give it the model before that",
            )


def output_names(path: Path) -> list[str]:
    """Return the outputs' names as the ONNX file has them; OpenVINO gives one tensor several."""
    import onnx

    return [output.name for output in onnx.load(str(path), load_external_data=False).graph.output]


def _short(precision: str) -> str:
    """Return OpenVINO's short word for a type that it may also spell out."""
    return {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}.get(precision, precision)


def _said(error: Exception) -> str:
    """Return the message without the positions in OpenVINO's sources."""
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(("Exception from", "Check '")))[
        :500
    ]
