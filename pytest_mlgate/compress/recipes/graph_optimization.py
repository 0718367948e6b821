"""The same arithmetic in fewer operators: constants folded and neighbours fused, once for all loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..onnx_files import RecipeFailed, operators, parse, prune_imports, workbench
from ..recipe import Material, NotApplicable, Recipe
from ..rows import Rows, difference, finished

#: Fused operators add up in another order; float32 explains this much and no more.
TOLERANCE = 1e-4


def fp32_optimized(material: Material) -> bytes:
    """Return the model as ONNX Runtime's offline optimization leaves it, at the extended level.

    That level's fused operators run wherever the CPU provider does; the level above writes a layout for the
    processor at hand into the file. A graph with attention goes through ONNX Runtime's fusions for
    transformers first, if there are training rows to show that they keep the answers: they match patterns
    of nodes, not proofs.

    Raises:
        NotApplicable: nothing was folded or fused.
        RecipeFailed: the optimized graph does not load, or answers differently on the training rows.
    """
    train = material.data.tables.get("train")
    with workbench(material, "graph optimization") as folder:
        before = parse(material.model.onnx)
        source = folder / "source.onnx"
        if train is not None and operators(before.graph).keys() >= {"Softmax", "MatMul"}:
            source = _attention_fused(source)
        model = _extended(source)
        if operators(model.graph) == operators(before.graph):
            raise NotApplicable("ONNX Runtime finds nothing to fold or fuse in the graph")
        prune_imports(model)
        optimized = finished(model.SerializeToString(), material)
        if train is not None:
            rows = Rows(material.model, train)
            off = difference(rows.answers(material.model.onnx), rows.answers(optimized))
            if not off <= TOLERANCE:
                raise RecipeFailed(
                    f"the optimized graph's answers differ by {off:.3g} on {rows.count} training rows "
                    f"(accepted: {TOLERANCE:g})"
                )
        return optimized


def _attention_fused(source: Path) -> Path:
    """Return the path of the graph with its attention in single operators, or of the source if none is found.

    Only attention is taken from these fusions: ONNX Runtime does the others itself where they pay, and the
    one that it leaves alone (a sum and the layer norm after it) made an encoder 1.28 times slower at batch
    64, where attention made it 0.80 times as slow at batch 1.
    """
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    options = FusionOptions("bert")
    options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = False
    # Heads and width 0: they are read from the graph.
    fused = optimize_model(
        str(source), "bert", num_heads=0, hidden_size=0, optimization_options=options, opt_level=1
    )
    found = fused.get_fused_operator_statistics()
    if not found.get("Attention") and not found.get("MultiHeadAttention"):
        return source
    target = source.with_name("fused.onnx")
    target.write_bytes(fused.model.SerializeToString())
    return target


def _extended(source: Path) -> Any:
    import onnxruntime

    target = source.with_name("optimized.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    return parse(target.read_bytes())


RECIPES = (
    Recipe(
        "fp32-optimized",
        "constants folded and operators fused offline, by ONNX Runtime; same answers",
        fp32_optimized,
        exact=True,
    ),
)
