"""OpenVINO: the device and precision that ran are those that were asked for, and it tells nobody."""

import contextlib
import json
import socket
import threading

import numpy as np
import onnxruntime
import pytest

from pytest_mlgate.hardware.backends.openvino import BACKEND

from .npu_models import fused_net, onnx_net
from .npu_run import answer, refusal, start

CPU = "openvino:CPU"
ROWS = np.random.default_rng(1).normal(size=(10, 4)).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    """Write a network with open and one with fixed rows, and ten rows for them."""
    (tmp_path / "net.onnx").write_bytes(onnx_net())
    (tmp_path / "four.onnx").write_bytes(onnx_net(rows=4))
    (tmp_path / "tanh.onnx").write_bytes(onnx_net("Tanh"))
    np.savez(tmp_path / "inputs.npz", x=ROWS)
    return tmp_path


def test_times_come_with_device_precision_and_threads(files):
    """Every run has its time, and the conditions say what OpenVINO really set."""
    said = answer(
        "openvino", files, target=CPU, task="time", artifact="net.onnx", inputs="inputs.npz", runs=200
    )
    assert len(said["samples_ns"]) == 200
    assert min(said["samples_ns"]) > 0
    assert said["figures"]["cold_start_ms"] > 0
    assert said["placement"]["CPU"] >= 2
    conditions = {name: said["conditions"][name] for name in ("device", "precision", "openvino_threads")}
    assert conditions == {"device": "CPU", "precision": "f32", "openvino_threads": "1"}
    assert said["warm_up_runs"] > 0
    assert said["grades"] == {}
    assert said["machine"]["device"]
    assert said["versions"]["openvino"].startswith("20")


def test_input_tensors_are_kept(files):
    """A call makes no new tensor, which would cost more than a small network does."""
    counted = (
        "import sys; sys.modules['openvino_telemetry'] = None; import openvino; real = openvino.Tensor; "
        "openvino.Tensor = lambda *a: (print('new tensor'), real(*a))[1]"
    )
    job = {"folder": str(files), "target": CPU, "task": "time", "artifact": "net.onnx", "runs": 200}
    done = start("openvino", {**job, "inputs": "inputs.npz"}, before=counted)
    assert len(json.loads(done.stdout)["samples_ns"]) == 200
    assert done.stderr.count("new tensor") == 1


@pytest.mark.parametrize("name", ["net.onnx", "four.onnx"])
def test_predictions_in_float32_are_onnx_runtimes(files, name):
    """Asked for nothing else, it computes in float32: every row is answered as by ONNX Runtime."""
    said = answer("openvino", files, target=CPU, task="predict", artifact=name, inputs="inputs.npz")
    with np.load(files / said["files"]["outputs"]) as stored:
        found = stored["y"]
    exact = onnxruntime.InferenceSession(onnx_net()).run(None, {"x": ROWS})[0]
    np.testing.assert_allclose(found, exact, atol=1e-6)


def test_bfloat16_is_used_where_asked_or_refused(files):
    """The precision of the option is the one that ran; a processor without it refuses."""
    said = answer(
        "openvino",
        files,
        target=CPU,
        task="predict",
        artifact="net.onnx",
        inputs="inputs.npz",
        options={"precision": "bf16"},
    )
    if said["refusal"]:
        assert said["refusal"] == "asked for bf16, CPU computes in f32"
    else:
        assert said["conditions"]["precision"] == "bf16"


@pytest.mark.parametrize("task", ["compare", "rank"])
def test_artifacts_are_timed_in_rounds(files, task):
    """Each round has one time for each artifact, in the order of the job."""
    two = {"reference": "tanh.onnx"} if task == "compare" else {"others": ["tanh.onnx", "net.onnx"]}
    job = {"target": CPU, "task": task, "artifact": "net.onnx", "inputs": "inputs.npz", "runs": 120}
    said = answer("openvino", files, **job, **two)
    assert len(said["pairs_ns"]) == 120
    assert {len(times) for times in said["pairs_ns"]} == {2 if task == "compare" else 3}
    assert all(min(times) > 0 for times in said["pairs_ns"])


def test_batches_of_any_size_are_timed(files):
    """The same compiled model takes one row and sixteen."""
    said = answer(
        "openvino",
        files,
        target=CPU,
        task="batches",
        artifact="net.onnx",
        inputs="inputs.npz",
        batches=[1, 16],
    )
    assert list(said["batches_ns"]) == ["1", "16"]
    assert all(len(times) >= 5 for times in said["batches_ns"].values())


@pytest.mark.parametrize("task", ["probe", "time"])
def test_an_npu_that_is_not_there_is_missing(files, task):
    """No figure of the CPU stands in for an NPU; the refusal says what an NPU needs."""
    job = {"target": "openvino:NPU", "task": task, "artifact": "net.onnx", "inputs": "inputs.npz"}
    kind, text = refusal("openvino", files, **job)
    assert kind == "missing"
    assert "no NPU" in text
    assert "linux-npu-driver" in text


@pytest.mark.parametrize("rest", ["", "AUTO", "HETERO:NPU,CPU", "AUTO:NPU,CPU", "GPU", "cpu"])
def test_devices_that_choose_for_themselves_are_misuse(rest):
    """AUTO and HETERO fall back to the CPU without a word, so they are not accepted."""
    with pytest.raises(ValueError, match="accepted: openvino:CPU, openvino:NPU"):
        BACKEND.parse(rest)


@pytest.mark.parametrize("options", [{"precision": "f16"}, {"precision": "bogus"}, {"NUM_STREAMS": "2"}])
def test_other_options_are_refused(files, options):
    """The precision is the only option, with two values."""
    job = {"target": CPU, "task": "time", "artifact": "net.onnx", "inputs": "inputs.npz", "options": options}
    assert refusal("openvino", files, **job)[0] == "unsupported"


@pytest.mark.parametrize("activation", ["Sigmoid", "Tanh"])
def test_an_operator_that_is_computed_wrongly_is_refused(files, activation):
    """OpenVINO computes Relu for these activations of FusedGemm; no time of that is a figure."""
    (files / "fused.onnx").write_bytes(fused_net(activation))
    job = {"target": CPU, "task": "time", "artifact": "fused.onnx", "inputs": "inputs.npz"}
    kind, text = refusal("openvino", files, **job)
    assert kind == "unsupported"
    assert f"computes Relu for the {activation}" in text


def test_the_same_operator_is_taken_where_it_is_right(files):
    """With the activation that OpenVINO knows, the answers are those of ONNX Runtime."""
    content = fused_net("Relu")
    (files / "fused.onnx").write_bytes(content)
    said = answer("openvino", files, target=CPU, task="predict", artifact="fused.onnx", inputs="inputs.npz")
    with np.load(files / said["files"]["outputs"]) as stored:
        np.testing.assert_allclose(
            stored["y"], onnxruntime.InferenceSession(content).run(None, {"x": ROWS})[0], atol=1e-6
        )


def test_a_model_that_openvino_does_not_know_is_refused(files):
    """An operator without a conversion is told by name."""
    (files / "odd.onnx").write_bytes(onnx_net("NoSuchOperator", domain="com.microsoft"))
    job = {"target": CPU, "task": "time", "artifact": "odd.onnx", "inputs": "inputs.npz"}
    kind, text = refusal("openvino", files, **job)
    assert kind == "unsupported"
    assert "NoSuchOperator" in text


def test_inputs_of_another_type_are_refused(files):
    """Values are never cast to what the model takes without a word."""
    np.savez(files / "wide.npz", x=ROWS.astype(np.float64))
    job = {"target": CPU, "task": "predict", "artifact": "net.onnx", "inputs": "wide.npz"}
    assert refusal("openvino", files, **job)[0] == "unsupported"


def test_without_openvino_the_refusal_ends_in_the_command(tmp_path):
    """Where the package is not installed, the answer is `missing` and has the command that installs it."""
    said = answer("openvino", tmp_path, target=CPU, task="probe", hidden=["openvino"])
    assert (said["refusal_kind"], said["install"]) == ("missing", "pip install openvino==2026.4.1")


def test_standard_output_is_one_answer_and_nothing_else(files):
    """Whatever a library prints, from Python or from C, goes to standard error."""
    noise = "import openvino, os, builtins; real = openvino.Core; "
    noise = "import sys; sys.modules['openvino_telemetry'] = None; " + noise
    noise += (
        "openvino.Core = lambda: (print('python says hello'), os.write(1, b'c says hello\\n'), real())[2]"
    )
    job = {"folder": str(files), "target": CPU, "task": "probe"}
    done = start("openvino", job, before=noise)
    assert json.loads(done.stdout)["refusal"] == ""
    assert done.stdout.count("\n") == 0
    assert "python says hello" in done.stderr
    assert "c says hello" in done.stderr


def test_nothing_is_sent_and_nothing_is_left_in_the_home(files, tmp_path_factory):
    """OpenVINO's import reports itself and leaves files in the home; through the backend it does neither."""
    home = tmp_path_factory.mktemp("home")
    job = {
        "folder": str(files),
        "target": CPU,
        "task": "time",
        "artifact": "net.onnx",
        "inputs": "inputs.npz",
    }
    with _listener() as (port, heard):
        proxy = f"http://127.0.0.1:{port}"
        env = {"HOME": str(home), "https_proxy": proxy, "http_proxy": proxy, "no_proxy": ""}
        # Telemetry is off by itself on CI machines that say so; this must hold elsewhere.
        env |= {"CI": "", "TF_BUILD": "", "JENKINS_URL": ""}
        env = {name: value for name, value in env.items() if value or name == "CI"}
        done = start("openvino", job, env=env)
        assert json.loads(done.stdout)["samples_ns"]
        assert heard == []
        assert list(home.iterdir()) == []
        # The listener does hear the import where nothing prevents it.
        start("openvino", job, env=env, before="import openvino, time; time.sleep(0.5)")
        assert heard
        assert list(home.iterdir())


@contextlib.contextmanager
def _listener():
    """Yield a local port and the list of first words that were said to it."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    heard.append(connection.recv(64))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield server.getsockname()[1], heard
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
