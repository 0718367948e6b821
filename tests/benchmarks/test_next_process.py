"""Whether an interval from five processes holds what the next one shows; run with `make benchmark`."""

from __future__ import annotations

import os

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.stats import binom

from pytest_mlgate.candidate.model import OnnxModel
from pytest_mlgate.hardware.ask import bench
from pytest_mlgate.hardware.target import Targets
from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import next_value_interval

PROCESSES = int(os.environ.get("MLGATE_PROCESSES", "90"))
FIVE = 5
TAILS = Tails(lower=0.025, upper=0.025)


def layers(count: int, width: int) -> OnnxModel:
    """Return a network of equal dense layers."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(size=(width, width)).astype(np.float32) / 12, f"w{i}")
        for i in range(count)
    ]
    nodes = [helper.make_node("MatMul", [f"h{i}", f"w{i}"], [f"h{i + 1}"]) for i in range(count)]
    nodes.append(helper.make_node("Sigmoid", [f"h{count}"], ["s"]))
    given = [helper.make_tensor_value_info("h0", TensorProto.FLOAT, ["rows", width])]
    scores = [helper.make_tensor_value_info("s", TensorProto.FLOAT, ["rows", width])]
    graph = helper.make_graph(nodes, "layers", given, scores, initializer=weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    columns = tuple(f"f{i}" for i in range(width))
    return OnnxModel(onnx=model.SerializeToString(), name="layers", kind="ONNX", features=columns)


def order_statistics(samples: list[int], percentile: float) -> tuple[float, float]:
    """Return the usual interval for a percentile from one process alone, 95%."""
    ordered = np.sort(samples)
    low, high = binom.ppf([0.025, 0.975], len(ordered), percentile / 100).astype(int)
    return float(ordered[low]), float(ordered[min(high, len(ordered) - 1)])


@pytest.mark.parametrize("percentile", [50, 99])
def test_five_processes_foretell_the_sixth(percentile):
    """A 95% interval over five processes holds the sixth's figure in 85% of cases or more."""
    model = layers(8, 128)
    rows = np.random.default_rng(1).normal(size=(256, 128)).astype(np.float32)
    frame = nw.from_native(pd.DataFrame(rows, columns=list(model.features)), eager_only=True)
    with bench(Targets().resolve("cpu"), model.onnx, model.feeds(frame)) as desk:
        taken = [desk.ask("time", runs=500).samples_ns for _ in range(PROCESSES)]
    values = np.asarray([np.percentile(t, percentile, method="higher") for t in taken])
    held, alone = [], []
    for first in range(PROCESSES - FIVE):
        _, (low, high) = next_value_interval(values[first : first + FIVE], TAILS)
        held.append(low <= values[first + FIVE] <= high)
        low, high = order_statistics(taken[first], percentile)
        alone.append(low <= values[first + 1] <= high)
    print(
        f"\np{percentile}: {PROCESSES} processes, median {np.median(values) / 1e6:.4f} ms, from "
        f"{values.min() / 1e6:.4f} to {values.max() / 1e6:.4f}; the next lies in the interval of the five "
        f"before it in {np.mean(held):.0%}, in the order-statistic interval of the one before it in "
        f"{np.mean(alone):.0%}"
    )
    assert np.mean(held) >= 0.85
