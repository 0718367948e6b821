"""Targets on a device over adb: the real adb without a device, and a stand-in for one with."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from pytest_mlgate.hardware import backends
from pytest_mlgate.hardware.backends import adb
from pytest_mlgate.hardware.backends.protocol import Answer, Job, digest_of

_HARDWARE = str(Path(next(iter(backends.__path__))).parent)
_BOOT = (
    f"import sys, runpy; sys.path.append({_HARDWARE!r}); "
    "runpy.run_module('backends.adb', run_name='__main__')"
)

#: The network is what is faked: push, shell and pull reach this machine's own files and shell.
_STAND_IN = r"""#!/bin/sh
echo "$@" >>"$(dirname "$0")/calls"
[ "$1" = -s ] && { serial=$2; shift 2; }
case $1 in
    version) echo "Android Debug Bridge version 1.0.41" ;;
    devices) printf 'List of devices attached\n%b\n' "$DEVICES" ;;
    push) cp "$2" "$3" || { echo "adb: error: failed to copy '$2' to '$3': $WHY" >&2; exit 1; } ;;
    pull) cp "$2" "$3" ;;
    shell)
        [ -z "$LOST" ] || { echo "error: device '$serial' not found" >&2; exit 1; }
        exec sh -c "$2" ;;
esac
"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A short timing job of a small model."""
    folder = tmp_path / "bench"
    folder.mkdir()
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with open(folder / "inputs.npz", "wb") as out:
        np.savez(out, x=np.arange(40, dtype=np.float32).reshape(10, 4) - 20)
    return Job(
        target="adb:R58M1/cpu",
        task="time",
        folder=str(folder),
        artifact="model.onnx",
        sha256=digest_of(folder / "model.onnx"),
        inputs="inputs.npz",
        runs=50,
        least_runs=20,
        options={"python": sys.executable, "folder": str(tmp_path / "device")},
    )


@pytest.fixture
def device(tmp_path: Path) -> dict[str, str]:
    """A stand-in for adb with one device; returns the environment in which it is found."""
    (tmp_path / "device").mkdir()
    (tmp_path / "bin").mkdir()
    path = tmp_path / "bin" / "adb"
    path.write_text(_STAND_IN)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{path.parent}:{os.environ['PATH']}", "DEVICES": "R58M1\\tdevice"}


def ask(job: Job, environment: dict[str, str]) -> Answer:
    """Run the backend as the gate does, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _BOOT],
        input=json.dumps(dataclasses.asdict(job)),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Answer(**json.loads(done.stdout))


@pytest.mark.skipif(shutil.which("adb") is None, reason="there is no adb here: apt-get install adb")
def test_the_real_adb_without_a_device(job):
    """The real adb finds no device of that serial, and the refusal says what it lists."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = {"ANDROID_ADB_SERVER_PORT": str(free.getsockname()[1])}
    try:
        answer = ask(job, port)
    finally:
        subprocess.run(["adb", "kill-server"], env={**os.environ, **port}, check=False, capture_output=True)
    assert answer.refusal_kind == "missing"
    assert answer.refusal.startswith("no device with serial R58M1; adb devices lists: ")


def test_a_machine_without_adb(job, tmp_path):
    """Without adb the refusal says how it is installed."""
    answer = ask(job, {"PATH": str(tmp_path)})
    assert answer.refusal_kind == "missing"
    assert answer.install == "apt-get install adb"


def test_a_model_is_timed_on_the_device(job, device, tmp_path):
    """Files are pushed, the work is done through the device's shell, and nothing stays there."""
    answer = ask(job, device)
    assert answer.refusal == ""
    assert len(answer.samples_ns) == 50
    assert answer.sha256 == job.sha256
    assert answer.versions["adb"] == "1.0.41"
    assert answer.machine["processor"]
    assert list((tmp_path / "device").glob("mlgate-job-*")) == []
    assert "-s R58M1 push" in (tmp_path / "bin" / "calls").read_text()


def test_outputs_of_the_device_come_back(job, device):
    """What the model answered on the device lies in the job's folder afterwards."""
    answer = ask(dataclasses.replace(job, task="predict"), device)
    assert answer.refusal == ""
    with np.load(job.path(answer.files["outputs"])) as outputs, np.load(job.path("inputs.npz")) as inputs:
        assert np.array_equal(outputs["y"], np.maximum(inputs["x"], 0))


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        ("", "adb devices lists: none"),
        ("emulator-5554\\tdevice", "adb devices lists: emulator-5554"),
        ("R58M1\\tunauthorized", "accept this computer's key"),
        ("R58M1\\toffline", "plug it in again"),
        ("R58M1\\tno permissions (no udev rules); see [url]", "udev rule"),
    ],
)
def test_a_device_that_is_not_ready(job, device, devices, said):
    """A device that is not listed, or not as ready, is missing, with what to do about it."""
    answer = ask(job, {**device, "DEVICES": devices})
    assert answer.refusal_kind == "missing"
    assert said in answer.refusal


def test_a_device_that_is_lost(job, device):
    """A device that vanishes is refused as a broken connection."""
    answer = ask(job, {**device, "LOST": "yes"})
    assert answer.refusal_kind == "failed"
    assert "the connection to R58M1 broke" in answer.refusal


def test_a_device_without_room(job, device, tmp_path):
    """A copy that fails is refused in adb's own words."""
    (tmp_path / "bin" / "cp").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "cp").chmod(0o755)
    answer = ask(job, {**device, "WHY": "No space left on device"})
    assert answer.refusal_kind == "failed"
    assert "No space left on device" in answer.refusal
    assert list((tmp_path / "device").glob("mlgate-job-*")) == []


def test_a_device_without_python(job, device):
    """An interpreter that is not on the device is missing, by its name."""
    answer = ask(dataclasses.replace(job, options={**job.options, "python": "/no/python"}), device)
    assert answer.refusal_kind == "missing"
    assert "R58M1 has no Python at '/no/python'" in answer.refusal


def test_a_package_that_the_device_misses(job, device, tmp_path):
    """The command that installs what is missing is one for the device."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['onnxruntime'] = None")
    answer = ask(job, {**device, "PYTHONPATH": str(tmp_path)})
    assert answer.refusal_kind == "missing"
    assert answer.install == f"adb -s R58M1 shell '{sys.executable} -m pip install onnxruntime'"


@pytest.mark.parametrize(
    "rest", ["", "R58M1", "-s/cpu", "R58 M1/cpu", "R58M1;reboot/cpu", "R58M1/adb:R2/cpu"]
)
def test_ids_that_name_no_device(rest):
    """An id that is spelled wrongly is refused with what is accepted."""
    with pytest.raises(ValueError, match="accepted"):
        adb.parse(rest)


def test_a_device_in_the_network():
    """A serial may be an address with a port."""
    assert adb.parse("192.168.1.5:5555/cpu") == {"serial": "192.168.1.5:5555", "inner": "cpu"}
