"""4-bit weights in blocks, activations in float: the smallest file for graphs of large matrix products."""

from __future__ import annotations

from typing import Any

from ..gemm import gemm_to_matmul
from ..onnx_files import name_nodes, parse, preprocessed, prune_imports, require_operators, workbench
from ..recipe import Material, NotApplicable, Recipe
from ..rows import finished

#: Weights that share one scale; the smaller, the closer to the float model and the larger the file.
BLOCK = 32
#: Activations are rounded to 8 bits inside the product; with level 0 (float) it is twice as slow.
_ACCURACY_LEVEL = 4


def int4_weights(material: Material) -> bytes:
    """Return the model with the weights of its matrix products in 4 bits, one scale for each block.

    Raises:
        NotApplicable: no matrix product has a constant weight of at least one block, the model is too
            large, or onnx-ir, which the quantizer needs, is not installed.
        RecipeFailed: the quantizer broke, or the variant answers NaN or infinity.
    """
    with workbench(material, "4-bit quantization") as folder:
        try:
            from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
        except ImportError as missing:
            raise NotApplicable(
                f"the 4-bit quantizer needs the package {missing.name}: pip install onnx-ir"
            ) from None
        require_operators(parse(material.model.onnx), {"MatMul", "Gemm"})
        model = parse(preprocessed(folder).read_bytes())
        gemm_to_matmul(model)
        name_nodes(model)
        quantizer: Any = MatMulNBitsQuantizer(
            model,
            bits=4,
            block_size=BLOCK,
            is_symmetric=True,
            accuracy_level=_ACCURACY_LEVEL,
            nodes_to_exclude=_left_out(model.graph),
        )
        quantizer.process()
        quantized = quantizer.model.model
        _keep_each_once(quantized.graph)
        prune_imports(quantized)
        return finished(quantized.SerializeToString(), material)


def _left_out(graph: Any) -> list[str]:
    """Return the names of the matrix products whose weight is smaller than one block.

    The quantizer would fill it up to a whole block.

    Raises:
        NotApplicable: they are all the graph has.
    """
    rows = {t.name: t.dims[-2] for t in graph.initializer if len(t.dims) >= 2}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    small = [node.name for node in products if rows.get(node.input[1], 0) < BLOCK]
    if len(small) == len(products):
        raise NotApplicable(f"no matrix product has a constant weight of at least one block ({BLOCK} rows)")
    return small


def _keep_each_once(graph: Any) -> None:
    """Drop the copies that the quantizer makes of a weight for every product that shares it."""
    once = {tensor.name: tensor for tensor in graph.initializer}
    kept = list(once.values())
    del graph.initializer[:]
    graph.initializer.extend(kept)


RECIPES = (
    Recipe(
        "int4-weights",
        f"4-bit weights in blocks of {BLOCK}, by ONNX Runtime; matrix products only, activations in float",
        int4_weights,
    ),
)
