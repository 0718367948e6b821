"""Small models for the tests of the NPU backends, all built in code: ONNX, TFLite, TOSA."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ethosu.vela.tflite import (
    Buffer,
    BuiltinOperator,
    BuiltinOptions,
    Conv2DOptions,
    Model,
    Operator,
    OperatorCode,
    QuantizationParameters,
    SubGraph,
    Tensor,
    TensorType,
)
from ethosu.vela.tosa import TosaBasicBlock, TosaGraph, TosaOperator, TosaRegion, TosaTensor, Version
from onnx import TensorProto, helper, numpy_helper


def onnx_net(activation="Relu", *, rows="rows", domain="") -> bytes:
    """Return a network of a matrix product, an activation and a softmax; `rows` is a number or a name."""
    weights = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32) / 2
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
        helper.make_node(activation, ["h"], ["e"], name="bend", domain=domain),
        helper.make_node("Softmax", ["e"], ["y"], name="scores"),
    ]
    return _onnx(nodes, {"w": weights}, [rows, 4], [rows, 8])


def fused_net(activation) -> bytes:
    """Return ONNX Runtime's own FusedGemm with this activation."""
    weights = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    own = {"domain": "com.microsoft", "activation": activation, "alpha": 1.0, "beta": 1.0}
    node = helper.make_node("FusedGemm", ["x", "w", "b"], ["y"], name="fused", **own)
    return _onnx([node], {"w": weights, "b": np.zeros(8, np.float32)}, ["rows", 4], ["rows", 8])


def _onnx(nodes, weights, x_shape, y_shape) -> bytes:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y_shape)],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def conv_tflite(*, quantized=True, then="") -> bytes:
    """Return a TFLite network of one 3x3 convolution, int8 or float32, and one more operator if asked."""
    rng = np.random.default_rng(0)
    weights, bias = rng.integers(-127, 128, (8, 3, 3, 4)), rng.integers(-50, 50, (8,))
    net = _Tflite()
    kind, exact = ("int8", "int32") if quantized else ("float32", "float32")
    x = net.tensor("x", (1, 16, 16, 4), kind, scale=0.05)
    w = net.tensor("w", weights.shape, kind, scale=0.01, data=weights)
    b = net.tensor("b", bias.shape, exact, scale=0.0005, data=bias)
    y = net.tensor("y", (1, 16, 16, 8), kind, scale=0.1)
    net.operator("CONV_2D", (x, w, b), y)
    if then:
        z = net.tensor("z", (1, 16, 16, 8), kind, scale=0.1)
        net.operator(then, (y,), z)
        y = z
    return net.finish((x,), (y,))


class _Tflite:
    """Collects tensors and operators, and writes one TFLite file."""

    def __init__(self):
        self.builder = flatbuffers.Builder(4096)
        self.tensors, self.operators, self.codes = [], [], []
        # The first buffer stands for "no data".
        self.buffers = [self._buffer(b"")]

    def tensor(self, name, shape, kind, *, scale, data=None):
        """Add a tensor, quantized unless it is float32; returns its number."""
        b = self.builder
        if data is not None:
            self.buffers.append(self._buffer(data.astype(kind).tobytes()))
        label, dims = b.CreateString(name), b.CreateNumpyVector(np.array(shape, np.int32))
        quantization = None
        if kind != "float32":
            scales = b.CreateNumpyVector(np.array([scale], np.float32))
            zeros = b.CreateNumpyVector(np.zeros(1, np.int64))
            QuantizationParameters.Start(b)
            QuantizationParameters.AddScale(b, scales)
            QuantizationParameters.AddZeroPoint(b, zeros)
            quantization = QuantizationParameters.End(b)
        Tensor.Start(b)
        Tensor.AddShape(b, dims)
        Tensor.AddType(b, getattr(TensorType.TensorType, kind.upper()))
        Tensor.AddBuffer(b, len(self.buffers) - 1 if data is not None else 0)
        Tensor.AddName(b, label)
        if quantization is not None:
            Tensor.AddQuantization(b, quantization)
        self.tensors.append(Tensor.End(b))
        return len(self.tensors) - 1

    def operator(self, name, inputs, output):
        """Add an operator; a convolution gets stride 1 and keeps the size, others have no options."""
        b, code, options = self.builder, getattr(BuiltinOperator.BuiltinOperator, name), None
        if name == "CONV_2D":
            Conv2DOptions.Start(b)
            Conv2DOptions.AddStrideW(b, 1)
            Conv2DOptions.AddStrideH(b, 1)
            options = Conv2DOptions.End(b)
        OperatorCode.Start(b)
        OperatorCode.AddDeprecatedBuiltinCode(b, min(code, 127))
        OperatorCode.AddBuiltinCode(b, code)
        OperatorCode.AddVersion(b, 1)
        self.codes.append(OperatorCode.End(b))
        ins, outs = self._numbers(inputs), self._numbers((output,))
        Operator.Start(b)
        Operator.AddOpcodeIndex(b, len(self.codes) - 1)
        Operator.AddInputs(b, ins)
        Operator.AddOutputs(b, outs)
        if options is not None:
            Operator.AddBuiltinOptionsType(b, BuiltinOptions.BuiltinOptions.Conv2DOptions)
            Operator.AddBuiltinOptions(b, options)
        self.operators.append(Operator.End(b))

    def finish(self, inputs, outputs):
        """Return the file."""
        b = self.builder
        tensors, operators = _vector(b, self.tensors), _vector(b, self.operators)
        ins, outs = self._numbers(inputs), self._numbers(outputs)
        SubGraph.Start(b)
        SubGraph.AddTensors(b, tensors)
        SubGraph.AddInputs(b, ins)
        SubGraph.AddOutputs(b, outs)
        SubGraph.AddOperators(b, operators)
        subgraphs = _vector(b, [SubGraph.End(b)])
        codes, buffers = _vector(b, self.codes), _vector(b, self.buffers)
        Model.Start(b)
        Model.AddVersion(b, 3)
        Model.AddOperatorCodes(b, codes)
        Model.AddSubgraphs(b, subgraphs)
        Model.AddBuffers(b, buffers)
        b.Finish(Model.End(b), file_identifier=b"TFL3")
        return bytes(b.Output())

    def _numbers(self, values):
        return self.builder.CreateNumpyVector(np.array(values, np.int32))

    def _buffer(self, data):
        vector = self.builder.CreateByteVector(data)
        Buffer.Start(self.builder)
        Buffer.AddData(self.builder, vector)
        return Buffer.End(self.builder)


#: Numbers of TOSA 1.0; the Python classes that come with Vela still have those of an older version.
TOSA_ADD, TOSA_INT8, TOSA_INT32 = 15, 3, 5


def add_tosa(kind=TOSA_INT32) -> bytes:
    """Return a TOSA graph of one addition; TOSA adds 32-bit integers, and no 8-bit ones."""
    b = flatbuffers.Builder(1024)
    tensors = []
    for name in ("p", "q", "y"):
        label, dims = b.CreateString(name), b.CreateNumpyVector(np.array((1, 8, 8, 4), np.int32))
        TosaTensor.Start(b)
        TosaTensor.AddName(b, label)
        TosaTensor.AddShape(b, dims)
        TosaTensor.AddType(b, kind)
        tensors.append(TosaTensor.End(b))
    ins, outs = (_vector(b, [b.CreateString(n) for n in names]) for names in (("p", "q"), ("y",)))
    TosaOperator.Start(b)
    TosaOperator.AddOp(b, TOSA_ADD)
    TosaOperator.AddInputs(b, ins)
    TosaOperator.AddOutputs(b, outs)
    operators, listed = _vector(b, [TosaOperator.End(b)]), _vector(b, tensors)
    main = b.CreateString("main")
    TosaBasicBlock.Start(b)
    TosaBasicBlock.AddName(b, main)
    TosaBasicBlock.AddOperators(b, operators)
    TosaBasicBlock.AddTensors(b, listed)
    TosaBasicBlock.AddInputs(b, ins)
    TosaBasicBlock.AddOutputs(b, outs)
    blocks = _vector(b, [TosaBasicBlock.End(b)])
    TosaRegion.Start(b)
    TosaRegion.AddName(b, main)
    TosaRegion.AddBlocks(b, blocks)
    regions = _vector(b, [TosaRegion.End(b)])
    Version.Start(b)
    Version.Add_Major(b, 1)
    Version.Add_Minor(b, 0)
    Version.Add_Patch(b, 0)
    Version.Add_Draft(b, False)
    version = Version.End(b)
    TosaGraph.Start(b)
    TosaGraph.AddVersion(b, version)
    TosaGraph.AddRegions(b, regions)
    b.Finish(TosaGraph.End(b), file_identifier=b"TOSA")
    return bytes(b.Output())


def _vector(builder, offsets):
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()
