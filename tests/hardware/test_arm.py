"""Ethos-U through Vela: estimates are graded as such, and nothing that runs on the CPU gets one."""

import hashlib
import re

import pytest

from pytest_mlgate.hardware.backends import _arm_ids
from pytest_mlgate.hardware.backends.arm import BACKEND

from .npu_models import TOSA_INT8, add_tosa, conv_tflite, onnx_net
from .npu_run import answer, refusal

U55 = "arm:ethos-u55-128/Ethos_U55_High_End_Embedded/Shared_Sram"
DEEP = "arm:ethos-u55-128/Ethos_U55_Deep_Embedded/Shared_Sram"
U85 = "arm:ethos-u85-256/Ethos_U85_SYS_DRAM_Mid/Dedicated_Sram_512KB"


@pytest.fixture
def files(tmp_path):
    """Write artifacts of every kind into one folder."""
    contents = {
        "int8.tflite": conv_tflite(),
        "float32.tflite": conv_tflite(quantized=False),
        "rounded.tflite": conv_tflite(then="ROUND"),
        "add.tosa": add_tosa(),
        "add8.tosa": add_tosa(TOSA_INT8),
        "net.onnx": onnx_net(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_an_int8_network_gets_estimates_that_are_graded_as_estimates(files):
    """Latency and memory are estimates, the size of the compiled file is measured, and a note says whose."""
    said = answer("arm", files, target=U55, task="compile", artifact="int8.tflite")
    assert said["refusal"] == ""
    assert said["placement"] == {"NPU": 1}
    assert 0 < said["figures"]["latency_ms"] < 1
    assert said["figures"]["sram_bytes"] > 16 * 16 * 4
    assert said["figures"]["flash_bytes"] >= 8 * 3 * 3 * 4
    compiled = files / said["files"]["compiled"]
    assert said["figures"]["artifact_bytes"] == compiled.stat().st_size
    assert {k: v for k, v in said["grades"].items() if v != "estimated"} == {"artifact_bytes": "measured"}
    assert set(said["grades"]) == set(said["figures"])
    assert said["samples_ns"] == []
    assert "not a run" in said["notes"][0]
    assert said["sha256"] == hashlib.sha256((files / "int8.tflite").read_bytes()).hexdigest()
    assert re.fullmatch(r"\d+\.\d+\.\d+", said["versions"]["vela"])


def test_the_system_is_part_of_the_target(files):
    """The same accelerator in a slower system is estimated slower; without the system there is no figure."""
    fast, slow = (
        answer("arm", files, target=target, task="compile", artifact="int8.tflite")["figures"]["latency_ms"]
        for target in (U55, DEEP)
    )
    assert slow > 2 * fast


def test_a_memory_that_is_not_used_has_no_figure(files):
    """Weights in DRAM do not make 0 bytes of flash: there is no figure for flash then."""
    figures = answer("arm", files, target=U85, task="compile", artifact="int8.tflite")["figures"]
    assert "flash_bytes" not in figures
    assert figures["dram_bytes"] > 0


def test_tosa_is_taken(files):
    """A TOSA graph is estimated too; its archive of arrays is not reported as the size that ships."""
    said = answer("arm", files, target=U55, task="compile", artifact="add.tosa")
    assert said["figures"]["latency_ms"] > 0
    assert "artifact_bytes" not in said["figures"]
    assert (files / said["files"]["compiled"]).is_file()


def test_a_tosa_operator_that_the_npu_lacks_is_refused_with_the_reason(files):
    """TOSA has no way to the CPU: what the compiler cannot place is unsupported, and it says why."""
    kind, text = refusal("arm", files, target=U55, task="compile", artifact="add8.tosa")
    assert kind == "unsupported"
    assert "data type not supported" in text


def test_a_float_network_is_off_target(files):
    """Vela ends well on a float network and says 0 s; that passes no budget."""
    kind, text = refusal("arm", files, target=U55, task="compile", artifact="float32.tflite")
    assert kind == "off_target"
    assert "1 of 1 operators would run on the CPU: CONV_2D" in text
    assert "Float32" in text


def test_one_operator_on_the_cpu_is_enough(files):
    """An operator that the NPU lacks costs nothing in Vela's estimate, so the estimate is not given."""
    kind, text = refusal("arm", files, target=U55, task="compile", artifact="rounded.tflite")
    assert kind == "off_target"
    assert text == "1 of 2 operators would run on the CPU: ROUND (z: Unsupported opType)"


def test_what_vela_compiled_is_not_compiled_again(files):
    """A file that Vela already wrote is one opaque operator, and has no estimate."""
    first = answer("arm", files, target=U55, task="compile", artifact="int8.tflite")
    kind, text = refusal("arm", files, target=U55, task="compile", artifact=first["files"]["compiled"])
    assert kind == "off_target"
    assert "CUSTOM" in text


@pytest.mark.parametrize("name", ["net.onnx", "renamed.tflite"])
def test_onnx_is_refused_whatever_its_name(files, name):
    """Vela takes no ONNX; the refusal says what to do, and the file's name does not help."""
    (files / "renamed.tflite").write_bytes((files / "net.onnx").read_bytes())
    kind, text = refusal("arm", files, target=U55, task="compile", artifact=name)
    assert kind == "unsupported"
    assert "Vela takes TFLite or TOSA" in text
    assert '[targets.npu] artifact = "model.tflite"' in text


def test_options_beside_the_id_are_refused(files):
    """An option that moves operators to the CPU would lower the estimate."""
    options = {"ignore-ops": "CONV_2D"}
    kind, text = refusal("arm", files, target=U55, task="compile", artifact="int8.tflite", options=options)
    assert kind == "unsupported"
    assert "ignore-ops" in text


def test_another_file_than_the_one_asked_for_is_refused(files):
    """The digest of what is compiled is compared with the one of the job."""
    kind, text = refusal("arm", files, target=U55, task="compile", artifact="int8.tflite", sha256="0" * 64)
    assert kind == "failed"
    assert "sha256" in text


def test_a_probe_starts_the_compiler(tmp_path):
    """The probe answers with Vela's version."""
    said = answer("arm", tmp_path, target=U55, task="probe")
    assert (said["refusal"], set(said["versions"])) == ("", {"vela"})


@pytest.mark.parametrize("task", ["probe", "compile"])
def test_without_vela_the_refusal_ends_in_the_command(files, task):
    """Where Vela is not installed, the answer is `missing` and has the command that installs it."""
    said = answer("arm", files, target=U55, task=task, artifact="int8.tflite", hidden=["ethosu"])
    assert said["refusal_kind"] == "missing"
    assert said["install"] == "pip install ethos-u-vela==5.2.0"
    assert said["figures"] == {}


def test_nothing_is_timed(files):
    """There is no chip here: a job that asks for times is refused."""
    kind, text = refusal("arm", files, target=U55, task="time", artifact="int8.tflite")
    assert (kind, text) == ("unsupported", "arm cannot time; it can: probe, compile")


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("", "arm:ACCELERATOR/SYSTEM/MEMORY.*ethos-u55-32.*Ethos_U65_High_End.*Sram_Only"),
        ("ethos-u55-128", "needs accelerator, system and memory"),
        ("ethos-u55-128/Ethos_U55_High_End_Embedded", "needs accelerator, system and memory"),
        ("ethos-u55-128/Ethos_U55_High_End_Embedded/Shared_Sram/x", "needs accelerator, system and memory"),
        ("ethos-u56-128/Ethos_U55_High_End_Embedded/Shared_Sram", "unknown to Vela: ethos-u56-128; accepted"),
        ("ethos-u55-128/Ethos_U55_Turbo/Shared_Sram", "unknown to Vela: Ethos_U55_Turbo"),
        ("ethos-u55-128/Ethos_U55_High_End_Embedded/Big_Sram", "unknown to Vela: Big_Sram"),
        (
            "ethos-u55-128/Ethos_U65_High_End/Shared_Sram",
            "no system of ethos-u55-128; accepted with it: Ethos_U55",
        ),
        ("ethos-u55-128/Ethos_U55_High_End_Embedded/Dedicated_Sram", "needs DRAM.*Sram_Only, Shared_Sram"),
    ],
)
def test_an_id_that_names_nothing_is_misuse(rest, message):
    """Every part is held against Vela's own lists, and against the other parts."""
    with pytest.raises(ValueError, match=message):
        BACKEND.parse(rest)


def test_the_refusal_of_a_wrong_id_is_that(files):
    """A wrong id that reaches the process is refused there too."""
    target = "arm:ethos-u55-128/Ethos_U65_High_End/Shared_Sram"
    assert refusal("arm", files, target=target, task="compile", artifact="int8.tflite")[0] == "wrong_target"


def test_the_listed_systems_are_those_that_vela_ships(monkeypatch):
    """What is accepted where Vela is not installed is what the installed Vela lists."""
    shipped = _arm_ids._known()
    monkeypatch.setattr(_arm_ids, "_installed_ini", lambda: None)
    assert _arm_ids._known() == shipped
