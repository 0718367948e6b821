"""16-bit floats: half the bytes everywhere, and faster where the target computes in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...candidate.model import cpu_session
from ..onnx_files import parse, prune_imports, refusal, require_operators, workbench
from ..recipe import Material, NotApplicable, Recipe
from ..rows import Rows, finished

_WEIGHTY = ("MatMul", "Gemm", "Conv", "ConvTranspose")
#: The largest finite number of the format (IEEE 754-2019, binary16).
_LARGEST_FP16 = 65504.0
#: Larger values (and infinity, and NaN) are not computed but put there, to mask scores before a softmax.
_MASKED = 1e30
#: Operators of ai.onnx.ml whose answers are 32-bit floats; ONNX's type inference does not say so, and the
#: converter would take them for 16-bit ones.
_FLOAT_ANSWERS = (
    "OneHotEncoder",
    "Scaler",
    "Normalizer",
    "FeatureVectorizer",
    "LinearRegressor",
    "SVMRegressor",
)


def fp16(material: Material) -> bytes:
    """Return the model with 16-bit floats inside; inputs and outputs keep their types.

    ONNX Runtime's converter is used, not the one of onnxconverter-common that it descends from: that one
    leaves inconsistent types in a transformer encoder.

    Raises:
        NotApplicable: no operator with weights, or a weight, or an activation on the training rows, beyond
            the range of 16-bit floats.
        RecipeFailed: the converter broke, or the variant answers NaN or infinity.
    """
    with workbench(material, "conversion to 16-bit floats"):
        model = parse(material.model.onnx)
        require_operators(model, _WEIGHTY)
        _require_weights_in_range(model)
        _require_activations_in_range(material)
        return finished(_converted(model).SerializeToString(), material)


def bf16(material: Material) -> bytes:
    """Return the model in bfloat16, if ONNX Runtime's CPU provider runs it.

    Raises:
        NotApplicable: the provider refuses the graph: it has no kernels for bfloat16.
        RecipeFailed: the converter broke, or the variant answers NaN or infinity.
    """
    with workbench(material, "conversion to bfloat16"):
        model = parse(material.model.onnx)
        require_operators(model, _WEIGHTY)
        model = _converted(model)
        _to_bfloat16(model.graph)
        variant = model.SerializeToString()
        reason = refusal(variant)
        if reason:
            raise NotApplicable(f"the CPU provider does not run the graph in bfloat16: {reason}")
        return finished(variant, material)


def _require_weights_in_range(model: Any) -> None:
    from onnx import TensorProto, numpy_helper

    for tensor in model.graph.initializer:
        # Single values may be the "minus infinity" of a mask, which the converter may well cut off.
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1:
            _require_in_range(numpy_helper.to_array(tensor), f"the weight {tensor.name!r} holds")


def _require_activations_in_range(material: Material) -> None:
    """Look at every intermediate value of the float model: the CPU provider's answers would not tell.

    It computes what is stored in 16 bits in 32, and leaves out the rounding between two operators; a
    target with 16-bit arithmetic would overflow.
    """
    from onnx import ValueInfoProto

    train = material.data.tables.get("train")
    if train is None:
        return
    model = parse(material.model.onnx)
    shown = {entry.name for entry in model.graph.output}
    inner = [name for node in model.graph.node for name in node.output if name and name not in shown]
    model.graph.output.extend(ValueInfoProto(name=name) for name in inner)
    session = cpu_session(model.SerializeToString())
    names = [entry.name for entry in session.get_outputs()]
    for feeds in Rows(material.model, train).batches():
        for name, values in zip(names, session.run(None, feeds), strict=True):
            if isinstance(values, np.ndarray) and values.dtype == np.float32:
                _require_in_range(values, f"on the training rows, {name!r} reaches")


def _require_in_range(values: NDArray[np.float32], found: str) -> None:
    sizes = np.abs(values)
    largest = float(np.max(sizes, initial=0.0, where=sizes < _MASKED))
    if largest > _LARGEST_FP16:
        raise NotApplicable(f"{found} {largest:.3g}; 16-bit floats end at {_LARGEST_FP16:g}")


def _converted(model: Any) -> Any:
    from onnx import TensorProto, helper
    from onnxruntime.transformers.float16 import convert_float_to_float16

    for node in model.graph.node:
        if node.op_type in _FLOAT_ANSWERS:
            known = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
            model.graph.value_info.append(known)
    converted = convert_float_to_float16(model, keep_io_types=True)
    prune_imports(converted)
    return converted


def _to_bfloat16(graph: Any) -> None:
    from onnx import TensorProto

    for tensor in graph.initializer:
        _round(tensor)
    for entry in (*graph.input, *graph.output, *graph.value_info):
        if entry.type.tensor_type.elem_type == TensorProto.FLOAT16:
            entry.type.tensor_type.elem_type = TensorProto.BFLOAT16
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _round(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.BFLOAT16
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _to_bfloat16(inner)


def _round(tensor: Any) -> None:
    import ml_dtypes
    from onnx import TensorProto, numpy_helper

    if tensor.data_type == TensorProto.FLOAT16:
        values = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


RECIPES = (
    Recipe(
        "fp16",
        "16-bit floats, by ONNX Runtime; faster where the target computes in them, on a CPU it saves bytes",
        fp16,
    ),
    Recipe("bf16", "bfloat16, by ONNX Runtime; only where the CPU provider has kernels for it", bf16),
)
