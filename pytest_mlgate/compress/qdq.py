"""Static 8-bit quantization in QDQ form: what the recipes that differ in calibration or extent share."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from .onnx_files import (
    name_nodes,
    operators,
    parse,
    preprocessed,
    prune_imports,
    require_operators,
    workbench,
)
from .recipe import Material, NotApplicable
from .rows import Reader, Rows, complete_rows

#: The operators that hold weights; ONNX Runtime has 8-bit kernels for them.
WEIGHTY = ("MatMul", "Gemm", "Conv")
#: These pass 8-bit values on between them unchanged in meaning; in float each would cost a round trip.
#: With Add, and all others that ONNX Runtime knows, a transformer encoder's error grew by half.
_CARRIERS = ("Relu", "Clip", "MaxPool")
#: The histogram calibrators keep every activation of every row in memory at once, and must: merging
#: histograms of batches with different ranges makes bins by the billion.
_HISTOGRAM_ROWS = 128

Calibration = Literal["MinMax", "Entropy", "Percentile"]


@dataclass(frozen=True, eq=False)
class StaticQuantizer:
    """A pre-processed graph and the rows to calibrate it on."""

    path: Path
    #: The operators with constant weights, by node name, in the order of the graph.
    nodes: tuple[str, ...]
    #: The weight of each of them.
    weights: tuple[str, ...]
    #: Products of two activations (attention scores): quantizing them saves no bytes and costs accuracy.
    products: tuple[str, ...]
    rows: Rows

    def quantize(
        self,
        calibration: Calibration = "MinMax",
        *,
        per_channel: bool = False,
        leave_out: Collection[str] = (),
    ) -> bytes:
        """Return the model in QDQ form with signed 8-bit weights and unsigned 8-bit activations.

        Args:
            calibration: how activation ranges follow from the rows: the smallest and largest value, the
                range of least relative entropy, or the range that holds 99.999% of the values.
            per_channel: one scale for every output channel of a weight instead of one for each weight.
            leave_out: nodes that stay in float.
        """
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        rows = self.rows if calibration == "MinMax" else self.rows.fewer(_HISTOGRAM_ROWS)
        target = self.path.with_name("variant.onnx")
        quantize_static(
            self.path,
            target,
            cast(Any, Reader(rows)),  # a reader by its one method
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=per_channel,
            calibrate_method=CalibrationMethod[calibration],
            op_types_to_quantize=[*WEIGHTY, *_CARRIERS],
            nodes_to_exclude=[*self.products, *leave_out],
        )
        model = parse(target.read_bytes())
        prune_imports(model)
        return bytes(model.SerializeToString())


@contextlib.contextmanager
def static_quantizer(material: Material) -> Iterator[StaticQuantizer]:
    """Pre-process the model in a folder that is removed afterwards, and spread rows over the training table.

    Without the pre-processing (batch norm folded into convolutions, constants folded), static quantization
    of convolutions gains nothing.

    Raises:
        NotApplicable: no training rows, no operator with constant weights, or too large a model.
        RecipeFailed: a tool broke.
    """
    train = material.require_train("static quantization is calibrated on the training table")
    rows = complete_rows(train, material.model.features)
    if not len(rows):
        raise NotApplicable(
            "no training row is without missing or infinite values; none can be calibrated on"
        )
    with workbench(material, "static quantization") as folder:
        require_operators(parse(material.model.onnx), WEIGHTY)
        path = preprocessed(folder)
        model = parse(path.read_bytes())
        name_nodes(model)
        path.write_bytes(model.SerializeToString())
        constant = {tensor.name for tensor in model.graph.initializer}
        candidates = [node for node in model.graph.node if node.op_type in WEIGHTY]
        weighty = [node for node in candidates if node.input[1] in constant]
        if not weighty:
            raise NotApplicable(
                f"no {' or '.join(WEIGHTY)} of the graph has a constant weight to quantize; it has "
                f"{sum(operators(model.graph).values())} operators"
            )
        yield StaticQuantizer(
            path=path,
            nodes=tuple(node.name for node in weighty),
            weights=tuple(node.input[1] for node in weighty),
            products=tuple(node.name for node in candidates if node.input[1] not in constant),
            rows=Rows(material.model, rows),
        )
