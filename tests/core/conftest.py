"""Data, models and runs that the tests of the core share; all of them real, small and seeded."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_mlgate import codec, discovery, policy
from pytest_mlgate.assemble import Timing, assemble
from pytest_mlgate.contract import AtLeast, AtMost, check
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.evidence import Findings, Interval, Measurement, Run, Session
from pytest_mlgate.gate import Gate, Places
from pytest_mlgate.output import replace_folder
from pytest_mlgate.plan import make_plan

#: How often each check below was really measured, to tell reuse from measuring.
MEASURED: list[str] = []


@check("accuracy")
def accuracy(subject, *, min: AtLeast = None) -> Findings:
    """Share of right answers."""
    MEASURED.append("accuracy")
    right = (subject.scores() >= 0.5) == subject.data.labels()
    value, n = float(right.mean()), len(right)
    interval = Interval(low=value - 0.05, high=value + 0.05, confidence=0.95)
    measurement = Measurement(
        metric="accuracy", value=value, unit="", n=n, interval=interval, method="share", bound="min"
    )
    return Findings(measurements=(measurement,))


@check("width")
def width(subject, *, max: AtMost = None) -> Findings:
    """Number of columns."""
    MEASURED.append("width")
    n = len(subject.data.feature_names)
    exact = Interval(low=float(n), high=float(n), confidence=1.0)
    measurement = Measurement(
        metric="width", value=float(n), unit="columns", n=1, interval=exact, method="count", bound="max"
    )
    return Findings(measurements=(measurement,))


CHECKS = {"accuracy": accuracy, "width": width}

POLICY = """\
required = ["accuracy", "width"]
[checks.accuracy]
min = 0.6
[checks.width]
max = 3
"""


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    """Two hundred rows: two features, a group and a label that follows from the features."""
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"a": rng.normal(size=200), "b": rng.normal(size=200)})
    table["g"] = rng.choice(["m", "f"], 200)
    table["y"] = (table.a + table.b + 0.3 * rng.normal(size=200) > 0).astype(int)
    return table


@pytest.fixture(scope="session")
def data(frame) -> Dataset:
    """The rows as a gate sees them, the first half for training."""
    return Dataset(test=frame[100:], train=frame[:100], label="y", sensitive=("g",))


@pytest.fixture(scope="session")
def linear_onnx():
    """A function that makes a logistic model with two inputs, as ONNX bytes."""

    def make(weight: float = 3.0, *, sigmoid: bool = True) -> bytes:
        weights = numpy_helper.from_array(np.full((2, 1), weight, np.float32), "w")
        score = [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])]
        nodes = [
            helper.make_node("MatMul", ["features", "w"], ["raw"]),
            helper.make_node("Sigmoid" if sigmoid else "Identity", ["raw"], ["score"]),
        ]
        features = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 2])]
        graph = helper.make_graph(nodes, "linear", features, score, initializer=[weights])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model.SerializeToString()

    return make


@pytest.fixture
def model_path(tmp_path, linear_onnx) -> Path:
    """The logistic model as a file."""
    path = tmp_path / "linear.onnx"
    path.write_bytes(linear_onnx())
    return path


@dataclasses.dataclass
class Built:
    """A gate that ran, what it found, and the report folder."""

    run: Run
    folder: Path
    gate: Gate


@pytest.fixture
def build(tmp_path, data, linear_onnx):
    """A function that runs a gate of two checks and writes its report folder."""

    def make(text: str = POLICY, *, candidate=None, session=None, given=data, folder="report", reuse=True):
        source = tmp_path / "mlgate.toml"
        source.write_text(text)
        model = tmp_path / "candidate.onnx"
        model.write_bytes(linear_onnx())
        read = policy.load(source)
        made = make_plan(read, [], CHECKS)
        carried = tuple(dataclasses.replace(r, tests=("test_it",)) for r in made.requests)
        plan = dataclasses.replace(made, requests=carried)
        places = Places(cache=tmp_path / "cache", session=tmp_path / f"session-{folder}")
        gate = Gate(plan=plan, checks=CHECKS, places=places, reuse=reuse)
        gate.validate(given)
        gate.open(data=given, candidate=candidate or model, baseline=None, training_record=None)
        evidence = {request.id: gate.run(request) for request in plan.requests}
        facts = gate.facts
        assert facts is not None
        run = assemble(
            policy=read,
            requests=plan.requests,
            evidence=evidence,
            facts=facts,
            session=session or Session(tests={"test_it": "passed"}),
            tool="test",
            reproduce="pytest",
            timing=Timing(started_at="2026-01-01T00:00:00+00:00", duration_s=1.0),
            release_file="release-artifact.onnx",
        )
        target = tmp_path / folder
        write_report(
            target, run, places.lock.read_bytes(), places.artifact(facts.release.digest).read_bytes()
        )
        return Built(run, target, gate)

    return make


def write_report(target: Path, run: Run, lock: bytes, artifact: bytes) -> None:
    """Write evidence, lock, artifact and every view, as a session does."""
    data = codec.to_json(run)
    written = codec.from_json(data, Run)
    views = {name: view.render(written).encode() for name, view in discovery.views().items()}
    files = {"evidence.json": data, "mlgate.lock": lock, "release-artifact.onnx": artifact}
    replace_folder(target, files | views)
