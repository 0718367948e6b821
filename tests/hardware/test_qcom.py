"""Qualcomm's NPU: compiled for a chip that exists, wholly on the NPU, and never timed."""

import hashlib
import json

import numpy as np
import onnx
import onnxruntime
import pytest

from pytest_mlgate.hardware.backends.qcom import BACKEND, SOCS

from .npu_models import fused_net, onnx_net
from .npu_run import answer, refusal, start

ROWS = np.random.default_rng(1).normal(size=(10, 4)).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    """Write a network with open and one with fixed rows, and ten rows for them."""
    (tmp_path / "net.onnx").write_bytes(onnx_net())
    (tmp_path / "four.onnx").write_bytes(onnx_net(rows=4))
    np.savez(tmp_path / "inputs.npz", x=ROWS)
    return tmp_path


@pytest.mark.parametrize(("number", "name"), SOCS.items())
def test_every_accepted_chip_is_what_it_is_called(files, number, name):
    """The file that Qualcomm's compiler writes names the chip, so each accepted number is right."""
    said = answer("qcom", files, target=f"qcom:soc{number}", task="compile", artifact="net.onnx")
    assert said["refusal"] == ""
    compiled = (files / said["files"]["compiled"]).read_bytes()
    assert f"soc_type={name};".encode() in compiled
    assert said["machine"]["compiled_for"] == f"{name} (soc{number})"


def test_compiling_gives_placement_and_size_and_no_time(files):
    """Every operator is on the NPU; the compiled file's size is the only figure."""
    said = answer("qcom", files, target="qcom:soc69/htp", task="compile", artifact="net.onnx")
    assert said["placement"] == {"QNNExecutionProvider": 3}
    compiled = files / said["files"]["compiled"]
    assert said["figures"] == {"artifact_bytes": compiled.stat().st_size}
    assert said["grades"] == {"artifact_bytes": "measured"}
    assert said["samples_ns"] == []
    assert [node.op_type for node in onnx.load(compiled).graph.node] == ["EPContext"]
    assert said["sha256"] == hashlib.sha256((files / "net.onnx").read_bytes()).hexdigest()
    assert {"onnxruntime", "onnxruntime-qnn", "qairt"} <= set(said["versions"])
    assert any("batch size fixed to 1" in note for note in said["notes"])


def test_the_compiled_file_is_the_same_wherever_it_is_compiled(files, tmp_path_factory):
    """Two processes in two folders write the same bytes, over an older file too."""
    other = tmp_path_factory.mktemp("other")
    (other / "net.onnx").write_bytes((files / "net.onnx").read_bytes())
    (other / "context.onnx").write_bytes(b"left by an earlier run")
    contents = []
    for folder in (files, other):
        said = answer("qcom", folder, target="qcom:soc43", task="compile", artifact="net.onnx")
        contents.append((folder / said["files"]["compiled"]).read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize("name", ["net.onnx", "four.onnx"])
def test_predictions_are_emulated_for_every_row(files, name):
    """All rows are answered, in order, by a half-precision chip: close to the CPU's answers and not equal."""
    said = answer("qcom", files, target="qcom:soc60", task="predict", artifact=name, inputs="inputs.npz")
    assert said["grades"] == {"outputs": "emulated"}
    with np.load(files / said["files"]["outputs"]) as stored:
        found = stored["y"]
    exact = onnxruntime.InferenceSession(onnx_net()).run(None, {"x": ROWS})[0]
    assert found.shape == exact.shape
    assert 0 < np.abs(found - exact).max() < 0.01


@pytest.mark.parametrize("operator", ["Erf", "Det"])
def test_an_operator_that_the_npu_lacks_is_named(files, operator):
    """One operator without an NPU implementation makes the model off target, and the refusal names it."""
    node = onnx.helper.make_node("Det", ["x"], ["y"], name="bend")
    if operator == "Erf":
        content = onnx_net("Erf")
    else:
        value = [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
            for name, shape in (("x", [1, 3, 3]), ("y", [1]))
        ]
        graph = onnx.helper.make_graph([node], "det", value[:1], value[1:])
        opset = [onnx.helper.make_opsetid("", 17)]
        content = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    (files / "lacks.onnx").write_bytes(content)
    kind, text = refusal("qcom", files, target="qcom:soc60", task="compile", artifact="lacks.onnx")
    assert kind == "off_target"
    total = 3 if operator == "Erf" else 1
    assert text.startswith(f"1 of {total} operators would run on the CPU: {operator} (node bend)")


def test_what_onnx_runtime_made_for_its_cpu_is_told_as_such(files):
    """Operators that ONNX Runtime's own optimization leaves are off target, with a word about where from."""
    (files / "fused.onnx").write_bytes(fused_net("Relu"))
    kind, text = refusal(
        "qcom", files, target="qcom:soc60", task="predict", artifact="fused.onnx", inputs="inputs.npz"
    )
    assert kind == "off_target"
    assert "FusedGemm (node fused)" in text
    assert "ONNX Runtime's own" in text


def test_the_cpu_of_the_same_library_is_never_passed_off(files):
    """With the library's backend turned into its CPU, everything would run there; that is no answer."""
    forced = (
        "import onnxruntime as o; real = o.SessionOptions.add_provider_for_devices; "
        "o.SessionOptions.add_provider_for_devices = "
        "lambda s, d, given: real(s, d, {**given, 'backend_type': 'cpu'})"
    )
    job = {"folder": str(files), "target": "qcom:soc60", "task": "compile", "artifact": "net.onnx"}
    done = start("qcom", job, before=forced)
    said = json.loads(done.stdout)
    assert "assigned to the default CPU EP" in said["refusal"]
    assert (said["figures"], said["files"], said["placement"]) == ({}, {}, {})


@pytest.mark.parametrize(("asked", "real"), [("69", "60"), ("60", "30")])
def test_a_compiled_file_for_another_chip_is_refused(files, asked, real):
    """If the chip's number got lost on the way, the compiled file names another chip, and is refused."""
    swapped = (
        "import onnxruntime as o; real = o.SessionOptions.add_provider_for_devices; "
        "o.SessionOptions.add_provider_for_devices = "
        f"lambda s, d, given: real(s, d, {{**given, 'soc_model': '{real}'}})"
    )
    job = {"folder": str(files), "target": f"qcom:soc{asked}", "task": "compile", "artifact": "net.onnx"}
    done = start("qcom", job, before=swapped)
    assert '"refusal_kind": "wrong_target"' in done.stdout
    assert f"names {SOCS[real]}; asked was {SOCS[asked]}" in done.stdout


@pytest.mark.parametrize("options", [{"backend_type": "cpu"}, {"htp_arch": "42"}, {"soc": "30"}])
def test_options_beside_the_id_are_refused(files, options):
    """The library takes any option and any value without a word, so none is handed on."""
    kind, text = refusal(
        "qcom", files, target="qcom:soc60", task="compile", artifact="net.onnx", options=options
    )
    assert kind == "unsupported"
    assert next(iter(options)) in text


@pytest.mark.parametrize(
    "rest", ["", "soc", "soc99999", "soc42", "60", "socsm8750", "soc69/cpu", "soc69/", "SOC69"]
)
def test_a_chip_that_does_not_exist_is_misuse(rest):
    """Only the chips whose numbers were verified are accepted, and the message names them."""
    with pytest.raises(ValueError, match=r"accepted: soc30 \(SM8350\).*soc87 \(SM8850\)"):
        BACKEND.parse(rest)


def test_the_refusal_of_a_wrong_id_is_that(files):
    """A wrong id that reaches the process is refused there too."""
    assert (
        refusal("qcom", files, target="qcom:soc1", task="compile", artifact="net.onnx")[0] == "wrong_target"
    )


def test_open_sizes_beside_the_rows_are_refused(files):
    """A dimension that nobody fixed cannot be compiled, and is not guessed."""
    model = onnx.load_from_string(onnx_net())
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "width"
    onnx.save(model, files / "open.onnx")
    kind, text = refusal("qcom", files, target="qcom:soc60", task="compile", artifact="open.onnx")
    assert (kind, text) == (
        "unsupported",
        "input x has an open size at axis 1; this compiler needs fixed sizes",
    )


def test_a_file_that_is_no_onnx_is_refused(files):
    """Another format, or bytes that are no model, is told before the compiler sees it."""
    (files / "net.tflite").write_bytes(b"1234TFL3")
    (files / "broken.onnx").write_bytes(b"\xff\xff\xff no model")
    for name in ("net.tflite", "broken.onnx"):
        assert refusal("qcom", files, target="qcom:soc60", task="compile", artifact=name)[0] == "unsupported"


def test_nothing_is_timed(files):
    """The emulator's clock is the host's: a job that asks for times is refused."""
    kind, text = refusal(
        "qcom", files, target="qcom:soc60", task="time", artifact="net.onnx", inputs="inputs.npz"
    )
    assert (kind, text) == ("unsupported", "qcom cannot time; it can: probe, compile, predict")


def test_a_probe_compiles_and_runs(tmp_path):
    """The probe runs a small model on the emulator and leaves nothing in the folder."""
    said = answer("qcom", tmp_path, target="qcom:soc69", task="probe")
    assert (said["refusal"], said["placement"]) == ("", {"QNNExecutionProvider": 1})
    assert list(tmp_path.iterdir()) == []


def test_without_the_compiler_the_refusal_ends_in_the_command(tmp_path):
    """Where the package is not installed, the answer is `missing` and has the command that installs it."""
    said = answer("qcom", tmp_path, target="qcom:soc69", task="probe", hidden=["onnxruntime_qnn"])
    assert (said["refusal_kind"], said["install"]) == ("missing", "pip install onnxruntime-qnn==2.7.0")


def test_an_onnxruntime_that_is_too_old_is_told(tmp_path):
    """Qualcomm's part is a plugin that older versions of ONNX Runtime cannot load."""
    older = "import onnxruntime as o; del o.register_execution_provider_library"
    job = {"folder": str(tmp_path), "target": "qcom:soc69", "task": "probe"}
    done = start("qcom", job, before=older)
    assert '"refusal_kind": "missing"' in done.stdout
    assert "needs 1.24 or newer" in done.stdout
