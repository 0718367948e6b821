"""Timing in processes of their own: slow models are told from fast ones, and a dead process is no figure."""

import dataclasses
import sys
import tempfile
from pathlib import Path

import narwhals as nw
import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_mlgate.candidate.model import BlackBox, OnnxModel
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Grade
from pytest_mlgate.hardware import ask, ratio, times
from pytest_mlgate.hardware.arithmetic import arithmetic_us, count, empty_model, floor
from pytest_mlgate.hardware.ask import bench, run_backend
from pytest_mlgate.hardware.backends.protocol import Answer, Job
from pytest_mlgate.hardware.footprint import cold_start, cost_per_1000, energy, peak_memory
from pytest_mlgate.hardware.latency import latency
from pytest_mlgate.hardware.ratio import latency_ratio
from pytest_mlgate.hardware.target import Target, TargetEntry, Targets
from pytest_mlgate.hardware.throughput import throughput
from pytest_mlgate.hardware.times import Times, require_one_machine, take_times
from pytest_mlgate.levels import Tails

TAILS = Tails(lower=0.025, upper=0.025)
CPU = Targets().resolve("cpu")


def chain(length: int, width: int, batch: int | None = None) -> OnnxModel:
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
    features = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [batch, 2])]
    scores = [helper.make_tensor_value_info("s", TensorProto.FLOAT, [batch, 1])]
    graph = helper.make_graph(nodes, "chain", features, scores, initializer=[first, rest, last])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return OnnxModel(onnx=model.SerializeToString(), name="chain", kind="ONNX", features=("a", "b"))


@pytest.fixture(scope="module")
def frame():
    """Ninety rows of two features."""
    rng = np.random.default_rng(0)
    return nw.from_native(pd.DataFrame({"a": rng.normal(size=90), "b": rng.normal(size=90)}), eager_only=True)


@pytest.fixture
def quick(monkeypatch):
    """Fewer processes and runs: these tests are about what is reported, not about how precise it is."""
    monkeypatch.setattr(times, "PROCESSES", 3)
    monkeypatch.setattr("pytest_mlgate.hardware.latency.PROCESSES", 3)
    monkeypatch.setattr("pytest_mlgate.hardware.footprint.PROCESSES", 3)
    monkeypatch.setattr(times, "RUNS", 60)
    monkeypatch.setattr(ratio, "PROCESSES", 3)
    monkeypatch.setattr(ratio, "_SECONDS", 0.1)
    monkeypatch.setattr("pytest_mlgate.hardware.throughput.PROCESSES", 2)


def test_a_slow_model_is_told_from_a_fast_one(frame, quick):
    """A model with a thousand times the work has the larger latency, and says how it was taken."""
    fast = latency(take_times(CPU, chain(1, 4), frame, 50), 50, TAILS)
    slow = latency(take_times(CPU, chain(12, 512), frame, 50), 50, TAILS)
    assert slow.value > 5 * fast.value
    for m in (fast, slow):
        assert (m.metric, m.unit, m.n, m.grade) == ("latency_p50", "ms", 3, Grade.MEASURED)
        assert 0 < m.interval.low < m.value < m.interval.high
        assert m.interval.confidence == pytest.approx(0.95)
        assert "3 fresh processes, 60 runs each" in m.method
        assert "processor" in m.machine
        for word in ("threads 1", "affinity", "governor", "load", "onnxruntime", "warm-up"):
            assert word in m.conditions
        assert not m.n_decides


def test_a_percentile_gets_the_runs_that_it_needs(frame, quick, monkeypatch):
    """A p99 at 99% confidence is never taken from fewer than 459 runs of all processes together."""
    monkeypatch.setattr(times, "RUNS", 1)
    taken = take_times(CPU, chain(1, 4), frame, 99)
    assert sum(len(a.samples_ns) for a in taken.answers) >= 459


def test_cold_start_memory_energy_and_cost_come_from_the_same_processes(frame, quick):
    """A larger model needs more memory; energy without a counter is an estimate; cost follows the price."""
    entry = TargetEntry(id="cpu", price_per_hour=3.6, watts=10.0)
    priced = dataclasses.replace(CPU, entry=entry)
    small, large = (take_times(priced, chain(1, width), frame, 50) for width in (4, 1500))
    memory = [peak_memory(t, TAILS).value for t in (small, large)]
    assert memory[1] > memory[0] + 5
    assert all(cold_start(t, TAILS).value > 0 for t in (small, large))
    cost = cost_per_1000(small, TAILS)
    mean_s = np.exp(np.mean([np.log(np.mean(a.samples_ns)) for a in small.answers])) / 1e9
    assert cost.value == pytest.approx(mean_s * 1000 * 3.6 / 3600, rel=1e-6)
    spent = energy(small, TAILS)
    if "energy_mj" not in small.answers[0].figures:
        assert spent.grade is Grade.ESTIMATED
        assert spent.value == pytest.approx(mean_s * 10 * 1000, rel=1e-6)
        assert "10 W (declared in the policy)" in spent.method


def test_cost_without_a_price_has_no_value(frame, quick):
    """Nobody's price is made up: without one in the policy the cost was not measured."""
    m = cost_per_1000(take_times(CPU, chain(1, 4), frame, 50), TAILS)
    assert (m.value, m.grade) == (None, Grade.MISSING)
    assert "names no price" in m.detail


def test_a_callable_is_timed_here_and_says_so(frame, quick):
    """A callable cannot be moved to a process of its own, and the method says that it was not."""
    model = BlackBox(function=lambda r: np.full(len(r), 0.5), name="m", features=("a",), digest="d")
    taken = take_times(CPU, model, frame, 50)
    m = latency(taken, 50, TAILS)
    assert m.value > 0
    assert "repeats in one process (a callable cannot be moved to another)" in m.method
    assert peak_memory(taken, TAILS).value is None


def test_slow_rows_at_the_end_of_the_table_are_timed():
    """The timed rows are spread over the whole table: a model that is slow on its later rows is slow."""
    import time

    def slow_on_later_rows(rows):
        if len(rows) == 1 and rows[0, 0] > 0.5:
            time.sleep(0.002)
        return np.full(len(rows), 0.5)

    table = nw.from_native(pd.DataFrame({"a": np.linspace(0, 1, 1000)}), eager_only=True)
    model = BlackBox(function=slow_on_later_rows, name="m", features=("a",), digest="d")
    assert latency(take_times(CPU, model, table, 90.0), 90.0, TAILS).value >= 2.0


def test_a_fixed_batch_is_timed_as_it_is(frame, quick):
    """A graph that takes eight rows at once is timed with eight, and the method says so."""
    m = latency(take_times(CPU, chain(1, 4, batch=8), frame, 50), 50, TAILS)
    assert "batch 8," in m.method


def test_the_ratio_of_a_model_to_a_slower_one_is_below_one(frame, quick):
    """The ratio says which is slower and by how much, with an interval over processes."""
    fast, slow = chain(1, 64), chain(8, 512)
    m = latency_ratio(CPU, fast, slow, "baseline", frame, TAILS)
    assert m.interval.high < 0.8
    back = latency_ratio(CPU, slow, fast, "baseline", frame, TAILS)
    assert back.interval.low > 1.2
    assert "interleaved in random order on the same rows" in m.method


def test_throughput_takes_the_best_batch_within_the_latency_bound(frame, quick):
    """A batch that would be too slow is not chosen, however many rows per second it gives."""
    model = chain(4, 512)
    free, seen = throughput(CPU, model, frame, 50, None, TAILS)
    assert free.value > 2 * next(b.rows_per_s for b in seen if b.batch == 1)
    tight, _ = throughput(
        CPU, model, frame, 50, next(b.latency_ms for b in seen if b.batch == 2) * 1.2, TAILS
    )
    assert tight.value < free.value
    none, _ = throughput(CPU, model, frame, 50, 1e-6, TAILS)
    assert (none.value, none.grade) == (None, Grade.MISSING)
    assert "no batch size keeps p50 within 1e-06 ms" in none.detail


def test_multiply_accumulates_are_counted_from_the_graph():
    """A chain of matrix products costs the sum of their inner times outer dimensions for one row."""
    found = count(chain(3, 10))
    assert found.multiply_accumulates == 2 * 10 + 3 * 10 * 10 + 10
    assert found.weight_bytes == 4 * (20 + 100 + 10)
    assert found.uncounted == ()


def test_fused_products_are_counted_too():
    """A product that was fused with its activation has no inferred shape, and is counted by its weights."""
    weight = numpy_helper.from_array(np.ones((2, 5), np.float32), "w")
    fused = helper.make_node("FusedGemm", ["x", "w"], ["s"], domain="com.microsoft", activation="Sigmoid")
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 2])]
    scores = [helper.make_tensor_value_info("s", TensorProto.FLOAT, ["rows", 5])]
    graph = helper.make_graph([fused], "fused", given, scores, initializer=[weight])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    found = count(OnnxModel(onnx=model, name="fused", kind="ONNX", features=("a", "b")))
    assert (found.multiply_accumulates, found.uncounted) == (10, ())


def test_the_empty_session_is_the_floor_of_a_tiny_model(frame):
    """A model that hardly computes takes little longer than one that does nothing."""
    model = chain(1, 4)
    limits = floor(CPU, model, frame, count(model))
    assert limits.floor_us == limits.empty_session_us
    assert 0.5 < limits.median_us / limits.empty_session_us < 5
    onnx.checker.check_model(onnx.load_model_from_string(empty_model(model.onnx)))


def test_fewer_bits_have_no_limit_of_single_precision():
    """Eight-bit products may beat the fastest product of floats, which is then no floor for them."""
    from onnxruntime.quantization import quantize_dynamic

    exact = chain(3, 64)
    assert arithmetic_us(count(exact), 10.0) == pytest.approx(count(exact).multiply_accumulates / 1e4)
    quantized = dataclasses.replace(exact, onnx=_in_eight_bits(exact.onnx, quantize_dynamic))
    assert count(quantized).multiply_accumulates > 0
    assert arithmetic_us(count(quantized), 10.0) is None


def _in_eight_bits(given: bytes, quantize) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "float.onnx").write_bytes(given)
        quantize(f"{folder}/float.onnx", f"{folder}/int8.onnx")
        return Path(folder, "int8.onnx").read_bytes()


def job(folder, **fields):
    return Job(
        target="cpu", task="time", folder=str(folder), artifact="model.onnx", inputs="inputs.npz", **fields
    )


def test_a_file_that_is_no_model_is_refused_by_the_target(tmp_path):
    """What the runtime cannot load is a refusal with its words, not a figure."""
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    np.savez(tmp_path / "inputs.npz", features=np.zeros((3, 2), np.float32))
    answer = run_backend(CPU, job(tmp_path))
    assert answer.refusal_kind == "unsupported"
    assert "ONNX Runtime refuses the model" in answer.refusal
    assert not answer.samples_ns


def test_an_artifact_that_was_exchanged_is_refused(tmp_path, frame):
    """The backend hashes what it runs; another file than the one asked for gives no figure."""
    with bench(CPU, chain(1, 4).onnx, chain(1, 4).feeds(frame)) as desk:
        (desk.folder / "model.onnx").write_bytes(chain(2, 4).onnx)
        answer = desk.ask("time")
    assert "the artifact that arrived has sha256" in answer.refusal


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.abort()", "was killed by SIGABRT"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by SIGKILL (out of memory?)"),
        ("import sys; sys.exit('no more memory')", "ended with code 1: no more memory"),
        ("print('hello')", "answered with something that is no answer: 'hello"),
    ],
)
def test_a_timing_process_that_dies_or_babbles_gives_no_figure(tmp_path, monkeypatch, code, message):
    """A process that is killed, gives up or prints something else leaves only the reason."""
    monkeypatch.setattr(ask, "_BOOT", code.replace("{", "{{"))
    answer = run_backend(CPU, job(tmp_path))
    assert message in answer.refusal
    with pytest.raises(CheckError, match="target cpu"):
        latency(Times(target=CPU, answers=(answer,), where="", batch=1, rows=1), 50, TAILS)


def test_a_timing_process_that_hangs_gives_no_figure(tmp_path, monkeypatch):
    """A process that does not come back within the limit is ended, and no figure is reported."""
    monkeypatch.setattr(ask, "_BOOT", "import time; time.sleep(60)")
    assert "did not answer within 1 s" in run_backend(CPU, job(tmp_path), timeout_s=1).refusal


def test_an_interpreter_that_is_not_there_is_missing(tmp_path):
    """A target whose own Python does not exist is missing, and the path is named."""
    target = Target(name="npu", entry=TargetEntry(id="cpu", python="/nowhere/python"), backend=CPU.backend)
    answer = run_backend(target, job(tmp_path))
    assert answer.refusal_kind == "missing"
    assert "/nowhere/python" in answer.refusal


def test_another_interpreter_is_really_used(tmp_path):
    """A target's own interpreter runs its backend."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ntouch "{tmp_path}/used"\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    target = Target(name="cpu", entry=TargetEntry(id="cpu", python=str(python)), backend=CPU.backend)
    with bench(target, b"", {}) as desk:
        assert desk.ask("probe").versions["onnxruntime"]
    assert (tmp_path / "used").exists()


def test_figures_of_different_machines_are_not_compared():
    """Answers of two machines beside each other are an error that names both."""
    answers = [Answer(machine={"processor": p}) for p in ("A", "B")]
    with pytest.raises(CheckError, match="processor A against processor B"):
        require_one_machine(answers)
