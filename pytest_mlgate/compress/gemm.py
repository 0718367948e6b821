"""Rewrites Gemm into MatMul and Add: torch exports linear layers as the one, quantizers take the other."""

from __future__ import annotations

from typing import Any


def gemm_to_matmul(model: Any) -> None:
    """Replace, in place, every Gemm with a constant weight and no scaling by MatMul and Add.

    Gemm(A, B, C) is alpha * A' B' + beta * C (ONNX operator specification, Gemm); with alpha = beta = 1 and A
    as it is, that is MatMul(A, B') + C. A weight that several nodes read is transposed into a new one:
    ONNX Runtime's own rewriting transposes it in place, once for each reader.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    transposed: dict[str, str] = {}
    nodes: list[Any] = []
    for node in graph.node:
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        scaled = given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0 or given.get("transA", 0)
        if node.op_type != "Gemm" or scaled or node.input[1] not in weights:
            nodes.append(node)
            continue
        weight = node.input[1]
        if given.get("transB", 0):
            if weight not in transposed:
                transposed[weight] = _free_name(f"{weight}_transposed", weights)
                values = numpy_helper.to_array(weights[weight]).T.copy()
                weights[transposed[weight]] = numpy_helper.from_array(values, transposed[weight])
                graph.initializer.append(weights[transposed[weight]])
            weight = transposed[weight]
        has_bias = len(node.input) > 2 and node.input[2]
        product = f"{node.output[0]}_product" if has_bias else node.output[0]
        nodes.append(helper.make_node("MatMul", [node.input[0], weight], [product], f"{node.name}_MatMul"))
        if has_bias:
            add = helper.make_node("Add", [product, node.input[2]], [node.output[0]], f"{node.name}_Add")
            nodes.append(add)
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unread(graph)


def _free_name(name: str, taken: dict[str, Any]) -> str:
    while name in taken:
        name += "_"
    return name


def _drop_unread(graph: Any) -> None:
    read = _names_read(graph)
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    dropped = {tensor.name for tensor in graph.initializer} - {tensor.name for tensor in kept}
    inputs = [entry for entry in graph.input if entry.name not in dropped]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    # Old exporters list weights among the inputs too; one that is gone would have to be fed.
    del graph.input[:]
    graph.input.extend(inputs)


def _names_read(graph: Any) -> set[str]:
    read = {entry.name for entry in graph.output}
    for node in graph.node:
        read.update(node.input)
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                read |= _names_read(inner)
    return read
