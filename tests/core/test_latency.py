"""Timing in processes of their own: slow models are told from fast ones, and a dead process is no figure."""

import sys

import narwhals as nw
import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_mlgate.candidate import as_model
from pytest_mlgate.candidate.model import BlackBox, OnnxModel
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Grade
from pytest_mlgate.hardware import latency
from pytest_mlgate.hardware.targets import measure_latency
from pytest_mlgate.levels import Tails

TAILS = Tails(lower=0.025, upper=0.025)


def chain(length: int, width: int) -> bytes:
    """Return a model of so many matrix products of this width."""
    first = numpy_helper.from_array(np.full((2, width), 0.01, np.float32), "w0")
    rest = numpy_helper.from_array(np.full((width, width), 0.001, np.float32), "w")
    last = numpy_helper.from_array(np.full((width, 1), 0.01, np.float32), "z")
    nodes = [helper.make_node("MatMul", ["features", "w0"], ["h0"])]
    nodes += [helper.make_node("MatMul", [f"h{i}", "w"], [f"h{i + 1}"]) for i in range(length)]
    nodes += [
        helper.make_node("MatMul", [f"h{length}", "z"], ["raw"]),
        helper.make_node("Sigmoid", ["raw"], ["s"]),
    ]
    features = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 2])]
    scores = [helper.make_tensor_value_info("s", TensorProto.FLOAT, [None, 1])]
    graph = helper.make_graph(nodes, "chain", features, scores, initializer=[first, rest, last])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def as_onnx(data: bytes) -> OnnxModel:
    return OnnxModel(onnx=data, name="chain", kind="ONNX", features=("a", "b"))


def test_a_slow_model_is_told_from_a_fast_one(data, monkeypatch):
    """A model with a thousand times the work has the larger latency, by more than both intervals."""
    monkeypatch.setattr(latency, "PROCESSES", 3)
    monkeypatch.setattr(latency, "LEAST_RUNS", 60)
    frame = data.tables["test"]
    fast = measure_latency("cpu", as_onnx(chain(1, 4)), frame, 50, TAILS)
    slow = measure_latency("cpu", as_onnx(chain(12, 512)), frame, 50, TAILS)
    assert slow.value > 5 * fast.value
    for m in (fast, slow):
        assert (m.metric, m.unit, m.n, m.grade) == ("latency_p50", "ms", 3, Grade.MEASURED)
        assert 0 < m.interval.low < m.value < m.interval.high
        assert m.interval.confidence == pytest.approx(0.95)
        assert "3 fresh processes, 60 runs each" in m.method
        assert "load average" in m.detail


def test_a_percentile_gets_the_runs_that_it_needs(data, monkeypatch):
    """A p99 at 99% confidence is never taken from fewer than 459 runs."""
    monkeypatch.setattr(latency, "PROCESSES", 2)
    monkeypatch.setattr(latency, "LEAST_RUNS", 1)
    m = measure_latency("cpu", as_onnx(chain(1, 4)), data.tables["test"], 99, TAILS)
    assert "2 fresh processes, 459 runs each" in m.method
    assert m.n == 2


def test_a_callable_is_timed_here_and_says_so(data, monkeypatch):
    """A callable cannot be moved to a process of its own, and the method says that it was not."""
    monkeypatch.setattr(latency, "PROCESSES", 3)
    monkeypatch.setattr(latency, "LEAST_RUNS", 30)
    model = as_model(lambda rows: np.full(len(rows), 0.5), data)
    m = measure_latency("cpu", model, data.tables["test"], 50, TAILS)
    assert m.value > 0
    assert "repeats in one process (a callable cannot be moved to another)" in m.method


def test_a_model_that_cannot_be_loaded_is_a_check_error(data, tmp_path):
    """A file that the timing process cannot load ends in an error with that process's last words."""
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    np.savez(tmp_path / "inputs.npz", features=np.zeros((3, 2), np.float32))
    command = [sys.executable, "-m", "pytest_mlgate.hardware.cpu_worker"]
    command += [str(tmp_path / "model.onnx"), str(tmp_path / "inputs.npz"), "10", "50"]
    with pytest.raises(
        CheckError, match=r"the timing process ended with code 1: .*ONNX Runtime refuses the graph"
    ):
        latency._run_worker(command)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.abort()", "ended with code -6: no message"),
        ("import os; os.kill(os.getpid(), 9)", "ended with code -9"),
        ("import sys; sys.exit('out of memory')", "ended with code 1: out of memory"),
    ],
)
def test_a_timing_process_that_dies_is_a_check_error(code, message):
    """A process that is killed or gives up leaves no figure, only the reason."""
    with pytest.raises(CheckError, match=message):
        latency._run_worker([sys.executable, "-c", code])


def test_a_timing_process_that_hangs_is_a_check_error(monkeypatch):
    """A process that does not come back within the limit is ended, and no figure is reported."""
    monkeypatch.setattr(latency, "_TIMEOUT_S", 1)
    with pytest.raises(CheckError, match="did not finish its timing runs within 1 s"):
        latency._run_worker([sys.executable, "-c", "import time; time.sleep(60)"])


def test_a_provider_other_than_the_cpu_is_a_check_error():
    """A figure from another execution provider than the target's is refused."""
    answer = '{"percentile_ms": 1.0, "providers": ["OtherExecutionProvider", "CPUExecutionProvider"]}'
    with pytest.raises(CheckError, match="not on the CPU provider alone"):
        latency._run_worker([sys.executable, "-c", f"print('{answer}')"])


@pytest.mark.parametrize("target", ["npu", "cuda"])
def test_a_target_that_is_not_here_has_no_value(data, target):
    """Another device is never replaced by the CPU: no value, no interval, and the reason."""
    m = measure_latency(target, as_onnx(chain(1, 4)), data.tables["test"], 99, TAILS)
    assert (m.value, m.interval, m.n, m.grade) == (None, None, 0, Grade.MISSING)
    assert f"nothing on this machine measures target='{target}'" in m.detail


def test_slow_rows_at_the_end_of_the_table_are_timed():
    """The timed rows are spread over the whole table: a model that is slow on its later rows is slow."""
    import time

    def slow_on_later_rows(rows):
        if len(rows) == 1 and rows[0, 0] > 0.5:
            time.sleep(0.002)
        return np.full(len(rows), 0.5)

    frame = nw.from_native(pd.DataFrame({"a": np.linspace(0, 1, 1000)}), eager_only=True)
    model = BlackBox(function=slow_on_later_rows, name="m", features=("a",), digest="d")
    measured = latency.cpu_latency(model, frame, 90.0, TAILS)
    assert measured.value >= 2.0
