"""Multiply-accumulates and bytes of one inference, and the time below which this machine cannot go."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..candidate import OnnxModel
from ..dataset import Frame
from .ask import bench
from .target import Target
from .times import spread_rows

_COUNTED = {
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "FusedConv",
    "Gemm",
    "MatMul",
    "MatMulInteger",
    "QLinearConv",
}
_COUNTED |= {"QLinearMatMul", "FusedMatMul", "FusedGemm", "MatMulNBits", "QGemm", "DynamicQuantizeMatMul"}
_ROUNDS = 300
#: ONNX's numbers for float16 and bfloat16.
_HALVES = {10, 16}


@dataclass(frozen=True)
class Arithmetic:
    """What one inference of one row must compute and move."""

    multiply_accumulates: int
    weight_bytes: int
    #: Operators that multiply and whose shapes are unknown, or that are no products (trees).
    uncounted: tuple[str, ...]
    #: Products of fewer bits than single precision: they may go faster than its fastest product.
    reduced_precision: bool


@dataclass(frozen=True)
class Floor:
    """The times that one inference cannot beat on this machine, in microseconds, and its own time."""

    median_us: float
    empty_session_us: float
    #: `None` where products of fewer bits have no limit that was measured.
    arithmetic_us: float | None
    memory_us: float

    @property
    def floor_us(self) -> float:
        """The largest of the limits."""
        return max(self.empty_session_us, self.arithmetic_us or 0.0, self.memory_us)


def count(model: OnnxModel) -> Arithmetic:
    """Return the multiply-accumulates and weight bytes of one inference of one row.

    A convolution takes output elements times kernel elements times input channels of its group; a matrix
    product output elements times the inner dimension. Source: Sze et al., Efficient Processing of Deep
    Neural Networks (2020), chapter 2.
    """
    import onnx

    graph = _with_one_row(onnx.load_model_from_string(model.onnx)).graph
    shapes = _shapes(graph)
    weights = {t.name: math.prod(t.dims) for t in graph.initializer}
    total, uncounted = 0, []
    for node in graph.node:
        if node.op_type in _COUNTED:
            found = _macs(node, shapes)
            if found is None:
                uncounted.append(node.op_type)
            else:
                total += found
        elif node.op_type.startswith(
            ("TreeEnsemble", "SVM", "Attention", "LSTM", "GRU", "If", "Loop", "Scan")
        ):
            uncounted.append(node.op_type)
    stored = sum(onnx.numpy_helper.to_array(t).nbytes for t in graph.initializer) if weights else 0
    return Arithmetic(
        multiply_accumulates=total,
        weight_bytes=int(stored),
        uncounted=tuple(sorted(set(uncounted))),
        reduced_precision=any(_of_fewer_bits(node.op_type) for node in graph.node)
        or any(t.data_type in _HALVES for t in graph.initializer),
    )


def _of_fewer_bits(operator: str) -> bool:
    return operator.startswith(("Quantize", "Dequantize", "DynamicQuantize", "QLinear", "QGemm")) or (
        operator.endswith(("Integer", "NBits"))
    )


def arithmetic_us(arithmetic: Arithmetic, gmacs_per_s: float) -> float | None:
    """Return the time of the products at the fastest single-precision one; `None` for fewer bits."""
    if arithmetic.reduced_precision:
        return None
    return arithmetic.multiply_accumulates / gmacs_per_s / 1e3


def floor(target: Target, model: OnnxModel, frame: Frame, arithmetic: Arithmetic) -> Floor | None:
    """Return the model's median beside the limits, taken in one process; `None` where the target refuses.

    The roofline: arithmetic over the machine's fastest matrix product, and the time to read the weights
    once from wherever they fit, each of one thread. The empty session answers with the model's own inputs
    and does nothing else. Source: Williams, Waterman, Patterson (2009), Communications of the ACM 52:65.
    """
    if not target.can("rank") or not target.can("limits"):
        return None
    with bench(target, model.onnx, model.feeds(spread_rows(frame))) as desk:
        desk.add("empty.onnx", empty_model(model.onnx))
        answer = desk.ask("rank", others=("empty.onnx",), runs=_ROUNDS, seconds=1.0, batch=model.batch)
    limits = machine_limits(target.id, arithmetic.weight_bytes)
    if answer.refusal or limits is None:
        return None
    medians = np.median(np.asarray(answer.pairs_ns, np.float64), axis=0) / 1e3
    return Floor(
        median_us=float(medians[0]),
        empty_session_us=float(medians[1]),
        arithmetic_us=arithmetic_us(arithmetic, limits["gmacs_per_s"]),
        memory_us=limits["reading_us"],
    )


@functools.cache
def machine_limits(target_id: str, weight_bytes: int) -> Mapping[str, float] | None:
    """Return `gmacs_per_s` and `reading_us` of the weights, one thread; `None` where it refuses."""
    from .target import Targets

    with bench(Targets().resolve(target_id), b"", {}) as desk:
        answer = desk.ask("limits", options={"weight_bytes": str(weight_bytes)})
    return None if answer.refusal else answer.figures


def empty_model(onnx_bytes: bytes) -> bytes:
    """Return a model with the same inputs that answers with one of them and computes nothing."""
    import onnx
    from onnx import helper

    graph = onnx.load_model_from_string(onnx_bytes).graph
    first = graph.input[0]
    output = helper.make_value_info("answer", first.type)
    nodes = [helper.make_node("Identity", [first.name], ["answer"])]
    inputs = [i for i in graph.input if i.name not in {t.name for t in graph.initializer}]
    empty = helper.make_graph(nodes, "empty", inputs, [output])
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(empty, opset_imports=opsets, ir_version=8).SerializeToString())


def _with_one_row(model: Any) -> Any:
    import onnx

    initialized = {t.name for t in model.graph.initializer}
    for value in [v for v in model.graph.input if v.name not in initialized]:
        for position, dimension in enumerate(value.type.tensor_type.shape.dim):
            if not position or not dimension.HasField("dim_value") or dimension.dim_value <= 0:
                dimension.dim_value = 1
    # Stale shapes of other batch sizes would contradict the one row.
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # a graph whose shapes cannot be inferred is counted as far as they are known
        return model


def _shapes(graph: Any) -> dict[str, list[int]]:
    shapes = {t.name: list(t.dims) for t in graph.initializer}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        if value.name not in shapes and dims and all(d > 0 for d in dims):
            shapes[value.name] = dims
    return shapes


def _macs(node: Any, shapes: Mapping[str, Sequence[int]]) -> int | None:
    output = shapes.get(node.output[0])
    quantized = node.op_type.startswith("QLinear")
    weight = shapes.get(node.input[3 if quantized else 1])
    attributes = {a.name: a for a in node.attribute}
    if node.op_type == "MatMulNBits":
        return None if output is None else math.prod(output) * int(attributes["K"].i)
    if output is None and weight is not None and node.op_type.endswith("Gemm"):
        return math.prod(weight)  # of one row, whatever fusion did to the shapes around it
    if output is None or weight is None:
        return None
    if "ConvTranspose" in node.op_type:
        source = shapes.get(node.input[0])
        return None if source is None else math.prod(source) * math.prod(weight[1:])
    if "Conv" in node.op_type:
        return math.prod(output) * math.prod(weight[1:])
    transposed = "transB" in attributes and attributes["transB"].i
    inner = weight[-1] if transposed or len(weight) == 1 else weight[-2]
    return math.prod(output) * inner
