"""How often a latency gate decides wrongly: this one beside three common ways; run with `make benchmark`.

The same model against itself, and against models with a tenth and a fifth more layers, each time anew, with
the other core idle and with it busy. `MLGATE_TRIALS` sets the number of trials (100).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import venv
import warnings
from collections import Counter
from pathlib import Path

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_mlgate.candidate.model import OnnxModel, cpu_session
from pytest_mlgate.evidence import Requirement, Verdict
from pytest_mlgate.hardware.ask import bench
from pytest_mlgate.hardware.ratio import latency_ratio
from pytest_mlgate.hardware.target import Targets
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for

TRIALS = int(os.environ.get("MLGATE_TRIALS", "100"))
#: The other ways are known well enough after this many; pytest-benchmark takes ten seconds each time.
OTHERS_TRIALS = min(TRIALS, int(os.environ.get("MLGATE_OTHERS_TRIALS", "30")))
#: A fifth more is told so clearly that fewer trials show it.
TWENTY_TRIALS = min(TRIALS, 40)
LAYERS = {"the same": 40, "10% slower": 44, "20% slower": 48}
BOUND = 1.05
CPU = Targets().resolve("cpu")
SPIN = "import numpy as np\na = np.ones((300, 300), np.float32)\nwhile True: a @ a"
PYTEST_BENCHMARK = """
import numpy as np, onnxruntime, pytest
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
rows = np.load("rows.npy")

@pytest.mark.parametrize("name", ["candidate", "reference"])
def test_time(benchmark, name):
    session = onnxruntime.InferenceSession(name + ".onnx", options, providers=["CPUExecutionProvider"])
    benchmark(lambda: session.run(None, {"features": rows[:1]}))
"""


def chain(length: int, channels: int = 16, side: int = 12) -> OnnxModel:
    """Return a network of so many equal convolutions on a small image; about 10 us each."""
    rng = np.random.default_rng(0)
    features = channels * side * side
    weights = [
        numpy_helper.from_array(rng.normal(size=(channels, channels, 3, 3)).astype(np.float32) / 12, f"w{i}")
        for i in range(length)
    ]
    shape = numpy_helper.from_array(np.asarray([-1, channels, side, side]), "shape")
    nodes = [helper.make_node("Reshape", ["features", "shape"], ["h0"])]
    for i in range(length):
        nodes.append(helper.make_node("Conv", [f"h{i}", f"w{i}"], [f"z{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"z{i}"], [f"h{i + 1}"]))
    nodes.append(helper.make_node("ReduceMean", [f"h{length}"], ["mean"], axes=[1, 2, 3], keepdims=0))
    nodes.append(helper.make_node("Sigmoid", ["mean"], ["s"]))
    given = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", features])]
    scores = [helper.make_tensor_value_info("s", TensorProto.FLOAT, ["rows"])]
    graph = helper.make_graph(nodes, "chain", given, scores, initializer=[*weights, shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    columns = tuple(f"f{i}" for i in range(features))
    return OnnxModel(onnx=model.SerializeToString(), name=f"chain{length}", kind="ONNX", features=columns)


@contextlib.contextmanager
def other_core(*, busy: bool):
    """Keep another core at work while the block runs, or leave it alone."""
    # MLGATE_BUSY=1: the machine is at work already, and another process would be a third on two cores.
    spin = busy and not os.environ.get("MLGATE_BUSY")
    spinning = subprocess.Popen([sys.executable, "-c", SPIN]) if spin else None
    try:
        yield
    finally:
        if spinning is not None:
            spinning.kill()
            spinning.wait()


def by_the_gate(model: OnnxModel, reference: OnnxModel, frame) -> tuple[Verdict, float]:
    """Return this gate's verdict and how long it took."""
    begun = time.perf_counter()
    tails = levels_for(0.05, 1).tails("<=")
    measured = latency_ratio(CPU, model, reference, "baseline", frame, tails)
    bound = Requirement(
        id="r", check="budget", parameter="max_latency_ratio", comparator="<=", bound=BOUND, source=""
    )
    answering = type(measured)(
        **{**{f: getattr(measured, f) for f in measured.__slots__}, "bound": "max_latency_ratio"}
    )
    return judge([bound], [answering])[0].verdict, time.perf_counter() - begun


def mean_of_100(model: OnnxModel, reference: OnnxModel, frame) -> bool:
    """Say `regressed` by the ratio of the means of a hundred runs, a fresh process for each."""
    means = []
    for one in (model, reference):
        with bench(CPU, one.onnx, one.feeds(frame)) as desk:
            means.append(np.mean(desk.ask("time", runs=100).samples_ns))
    return bool(means[0] / means[1] > BOUND)


class Predictor:
    """A model as deepchecks takes it."""

    def __init__(self, model: OnnxModel) -> None:
        self.session = cpu_session(model.onnx)
        self.classes_ = [0, 1]

    def predict(self, rows):
        return (self.predict_proba(rows)[:, 1] > 0.5).astype(int)

    def predict_proba(self, rows):
        (s,) = self.session.run(None, {"features": np.asarray(rows, np.float32)})
        return np.stack([1 - s, s], axis=1)


def deepchecks_way(model: OnnxModel, reference: OnnxModel, table: pd.DataFrame) -> bool:
    """Say `regressed` by deepchecks' own inference-time check: one batch, once, divided by its rows."""
    from deepchecks.tabular import Dataset
    from deepchecks.tabular.checks import ModelInferenceTime

    data = Dataset(table.assign(y=[0, 1] * (len(table) // 2)), label="y", cat_features=[])
    times = [ModelInferenceTime().run(data, Predictor(one)).value for one in (model, reference)]
    return times[0] / times[1] > BOUND


def by_pytest_benchmark(
    python: Path, folder: Path, model: OnnxModel, reference: OnnxModel
) -> dict[str, bool]:
    """Say `regressed` by the ratio of pytest-benchmark's means and of its medians."""
    (folder / "candidate.onnx").write_bytes(model.onnx)
    (folder / "reference.onnx").write_bytes(reference.onnx)
    command = [python, "-m", "pytest", "-q", "--benchmark-json=out.json", "test_time.py"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    found = {b["param"]: b["stats"] for b in json.loads((folder / "out.json").read_text())["benchmarks"]}
    return {
        f"pytest-benchmark {name}": found["candidate"][name] / found["reference"][name] > BOUND
        for name in ("mean", "median")
    }


@pytest.fixture(scope="module")
def benchmark_python(tmp_path_factory) -> Path:
    """An environment of its own with pytest-benchmark."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    wanted = ["numpy==1.26.4", "onnxruntime==1.31.1", "pytest", "pytest-benchmark"]
    subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True, capture_output=True)
    return python


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "idle"])
def test_rates_of_wrong_decisions(busy, benchmark_python, tmp_path):
    """Of 100 runs at most 1 fails a model against itself, 95 fail one 10% slower, all one 20% slower."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(256, 2304)), columns=[f"f{i}" for i in range(2304)])
    frame = nw.from_native(table, eager_only=True)
    (tmp_path / "test_time.py").write_text(PYTEST_BENCHMARK)
    np.save(tmp_path / "rows.npy", table.to_numpy(np.float32))
    models = {name: chain(length) for name, length in LAYERS.items()}
    reference = models["the same"]
    verdicts: dict[str, Counter[str]] = {name: Counter() for name in models}
    regressed: dict[str, Counter[str]] = {name: Counter() for name in models}
    trials: dict[str, Counter[str]] = {name: Counter() for name in models}
    longest = 0.0
    with other_core(busy=busy):
        for trial in range(TRIALS):
            for name, model in models.items():
                if name == "20% slower" and trial >= TWENTY_TRIALS:
                    continue
                verdict, took = by_the_gate(model, reference, frame)
                longest = max(longest, took)
                verdicts[name][verdict] += 1
                if trial >= OTHERS_TRIALS:
                    continue
                said = {
                    "mean of 100 runs": mean_of_100(model, reference, frame),
                    "deepchecks, one batch": deepchecks_way(model, reference, table),
                    **by_pytest_benchmark(benchmark_python, tmp_path, model, reference),
                }
                regressed[name].update(way for way, slow in said.items() if slow)
                trials[name].update(list(said))
            if not trial % 10:
                print(trial, {n: dict(v) for n, v in verdicts.items()}, flush=True)
    print(f"\nother core {'busy' if busy else 'idle'}, {TRIALS} trials, longest run {longest:.1f} s")
    for name in models:
        print(
            f"{name}: this gate {dict(verdicts[name])}; says regressed: "
            + ", ".join(f"{way} {regressed[name][way]}/{n}" for way, n in trials[name].items())
        )
    assert verdicts["the same"][Verdict.FAIL] <= TRIALS / 100
    assert verdicts["10% slower"][Verdict.FAIL] >= 0.95 * TRIALS
    assert verdicts["20% slower"][Verdict.FAIL] == TWENTY_TRIALS
    assert longest < 20
