"""NVIDIA graphics processors: what is refused without one, and what counts as proof of placement."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
from onnx import TensorProto, helper

from pytest_mlgate.hardware import backends
from pytest_mlgate.hardware.backends import _gpu, cuda
from pytest_mlgate.hardware.backends.protocol import Answer, Job, Refusal

_HARDWARE = str(Path(next(iter(backends.__path__))).parent)
_BOOT = (
    f"import sys, runpy; sys.path.append({_HARDWARE!r}); "
    "runpy.run_module('backends.cuda', run_name='__main__')"
)
CPU = "CPUExecutionProvider"

without_cuda = pytest.mark.skipif(
    cuda.CUDA in onnxruntime.get_available_providers(), reason="this ONNX Runtime has the CUDA provider"
)


def ask(target: str, task: str = "probe", **environment: str) -> Answer:
    """Run the backend as the gate does, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _BOOT],
        input=json.dumps(dataclasses.asdict(Job(target=target, task=task, folder=""))),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Answer(**json.loads(done.stdout))


@without_cuda
@pytest.mark.parametrize("task", ["probe", "time", "compare", "batches", "predict", "rank"])
def test_without_the_provider_nothing_is_timed(task):
    """Without CUDA every task is refused as missing, with what was found and what to install."""
    answer = ask("cuda", task)
    assert answer.refusal_kind == "missing"
    assert f"no {cuda.CUDA}" in answer.refusal
    assert CPU in answer.refusal
    assert "nvidia-smi" in answer.refusal
    assert answer.install == "pip install onnxruntime-gpu"
    assert answer.samples_ns == []


@without_cuda
def test_tensorrt_is_not_replaced_by_another_provider():
    """Asked for TensorRT, the refusal names TensorRT."""
    assert f"no {cuda.TENSORRT}" in ask("cuda:tensorrt:1").refusal


@without_cuda
def test_without_onnxruntime(tmp_path):
    """A machine without ONNX Runtime is told which package brings CUDA."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['onnxruntime'] = None")
    answer = ask("cuda", PYTHONPATH=str(tmp_path))
    assert answer.refusal_kind == "missing"
    assert answer.install == "pip install onnxruntime-gpu"


@without_cuda
def test_the_refusal_says_which_device_the_driver_sees(tmp_path):
    """Where there is a device and only the package is missing, the refusal shows it."""
    _smi(tmp_path, "echo '0, NVIDIA L4'")
    answer = ask("cuda", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert "nvidia-smi says: 0, NVIDIA L4" in answer.refusal


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("", {"provider": cuda.CUDA, "device": "0"}),
        ("1", {"provider": cuda.CUDA, "device": "1"}),
        ("tensorrt", {"provider": cuda.TENSORRT, "device": "0"}),
        ("tensorrt:3", {"provider": cuda.TENSORRT, "device": "3"}),
    ],
)
def test_ids(rest, expected):
    """Provider and device are told apart."""
    assert cuda.parse(rest) == expected


@pytest.mark.parametrize("rest", ["x", "-1", "0:tensorrt", "tensorrt:", "tensorrt1", "100", "0 "])
def test_ids_that_name_nothing(rest):
    """An id that is spelled wrongly is refused with what is accepted."""
    with pytest.raises(ValueError, match="cuda:tensorrt"):
        cuda.parse(rest)


def test_placement_is_counted_by_provider():
    """Everything on the device is proof, with TensorRT's rest on CUDA."""
    assert cuda.placement_of([(cuda.CUDA, "Conv"), (cuda.CUDA, "Relu")], cuda.CUDA) == {cuda.CUDA: 2}
    both = [(cuda.TENSORRT, "Conv"), (cuda.CUDA, "NonZero")]
    assert cuda.placement_of(both, cuda.TENSORRT) == {cuda.TENSORRT: 1, cuda.CUDA: 1}


@pytest.mark.parametrize(
    ("assigned", "wanted", "said"),
    [
        ([(cuda.CUDA, "Conv"), (CPU, "TopK"), (CPU, "TopK")], cuda.CUDA, f"2 of 3 .*: 2 x TopK on {CPU}"),
        ([(cuda.TENSORRT, "Conv"), (CPU, "TopK")], cuda.TENSORRT, f"1 of 2 .*: 1 x TopK on {CPU}"),
        ([(cuda.TENSORRT, "Conv")], cuda.CUDA, "1 of 1 .*Conv on Tensorrt"),
        ([(cuda.CUDA, "Conv")], cuda.TENSORRT, "no operator runs on Tensorrt"),
        ([], cuda.CUDA, "no operator runs on CUDA"),
    ],
)
def test_a_part_elsewhere_is_off_target(assigned, wanted, said):
    """One operator on another provider is refused by its name, and so is a model that never gets there."""
    with pytest.raises(Refusal, match=said) as refused:
        cuda.placement_of(assigned, wanted)
    assert refused.value.kind == "off_target"


def test_what_onnxruntime_reports_of_a_real_session():
    """The placement is ONNX Runtime's own record: a session on the CPU is refused by its operators."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(cuda._RECORD, "1")
    session = onnxruntime.InferenceSession(_model(), options, providers=[CPU])
    assert cuda._assigned(session) == [(CPU, "Relu"), (CPU, "Abs")]
    with pytest.raises(Refusal, match=f"1 x Relu on {CPU}, 1 x Abs on {CPU}"):
        cuda.placement_of(cuda._assigned(session), cuda.CUDA)


def test_an_onnxruntime_that_cannot_show_placement(monkeypatch):
    """Without a record of placement nothing is proven, and nothing is measured."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [cuda.CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", type("Older", (), {}))
    with pytest.raises(Refusal, match="cannot show which provider runs which operator") as refused:
        cuda._check_provider(cuda.CUDA)
    assert refused.value.kind == "missing"


@without_cuda
@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_a_provider_that_does_not_start(monkeypatch):
    """A build that has the provider but cannot start it is missing; nothing falls back to the CPU."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [cuda.CUDA, CPU])
    with pytest.raises(Refusal, match="did not start") as refused:
        cuda._Device(cuda.CUDA, "0").check_present()
    assert refused.value.kind == "missing"


def test_facts_and_state_of_a_device(monkeypatch, tmp_path):
    """Model, driver and clocks come from nvidia-smi; where it says nothing there are none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _gpu.gpu_facts("0") == {}
    assert _gpu.gpus_found() == "nvidia-smi is absent"
    _smi(tmp_path, "echo 'NVIDIA L4, 23034 MiB, 550.54.15, 8.9'")
    assert _gpu.gpu_facts("0")["driver_version"] == "550.54.15"
    _smi(tmp_path, "echo '41, 1740 MHz, 6251 MHz, 27.12 W, P0, 3 %'")
    assert _gpu.gpu_state("0")["gpu temperature"] == "41"
    _smi(tmp_path, "echo 'No devices were found'; exit 6")
    assert _gpu.gpu_facts("0") == {}


def test_the_device_that_cuda_sees_is_the_one_described(monkeypatch):
    """With CUDA_VISIBLE_DEVICES, the facts are those of the device that CUDA counts."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert _gpu.gpu_of(1) == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5f")
    assert _gpu.gpu_of(0) == "3"
    assert _gpu.gpu_of(1) == "GPU-5f"


def _model() -> bytes:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 4]) for name in ("x", "y")]
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Abs", ["a"], ["y"])]
    graph = helper.make_graph(nodes, "two", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def _smi(folder: Path, body: str) -> None:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
