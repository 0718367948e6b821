"""8-bit weights, and activations scaled at run time: needs no data, and suits matrix products."""

from __future__ import annotations

import functools

from ..gemm import gemm_to_matmul
from ..onnx_files import (
    name_nodes,
    operators,
    parse,
    preprocessed,
    prune_imports,
    require_operators,
    workbench,
)
from ..recipe import Material, NotApplicable, Recipe
from ..rows import finished


def int8_dynamic(material: Material, *, per_channel: bool) -> bytes:
    """Return the model with 8-bit weights and activations scaled at run time.

    Matrix products only: with ONNX Runtime's ConvInteger a convolution is 20 times slower than in float.

    Raises:
        NotApplicable: the model has no matrix product with a constant weight, or is too large.
        RecipeFailed: the quantizer broke, or the variant answers NaN or infinity.
    """
    with workbench(material, "dynamic quantization") as folder:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        require_operators(parse(material.model.onnx), {"MatMul", "Gemm"})
        prepared, target = preprocessed(folder), folder / "variant.onnx"
        model = parse(prepared.read_bytes())
        gemm_to_matmul(model)
        name_nodes(model)
        prepared.write_bytes(model.SerializeToString())
        quantize_dynamic(
            prepared,
            target,
            op_types_to_quantize=["MatMul"],
            weight_type=QuantType.QInt8,
            per_channel=per_channel,
        )
        quantized = parse(target.read_bytes())
        if not operators(quantized.graph).keys() & {"MatMulInteger", "DynamicQuantizeMatMul"}:
            raise NotApplicable("no matrix product of the graph has a constant weight to quantize")
        prune_imports(quantized)
        return finished(quantized.SerializeToString(), material)


RECIPES = (
    Recipe(
        "int8-dynamic",
        "8-bit weights, activations scaled at run time, by ONNX Runtime; matrix products only",
        functools.partial(int8_dynamic, per_channel=False),
    ),
    Recipe(
        "int8-dynamic-per-channel",
        "as int8-dynamic, with a scale for every column of a weight: closer to the float model, often slower",
        functools.partial(int8_dynamic, per_channel=True),
    ),
)
