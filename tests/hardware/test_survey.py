"""`mlgate targets`: what each target gives here, and what is missing."""

import pytest

from pytest_mlgate import cli
from pytest_mlgate.hardware.survey import lines
from pytest_mlgate.hardware.target import Targets, all_backends


def test_every_backend_is_listed_with_what_it_gives():
    """Each kind of target appears with the grade of every metric, or with how it is spelled."""
    text = "\n".join(lines(Targets()))
    for backend in all_backends().values():
        assert backend.probes or backend.spelling in text
        for target_id in backend.probes:
            assert f"{target_id}: " in text
    assert "cpu: ready" in text
    assert "latency estimated" in text
    assert "target 'npu' is an alias and the policy maps it to no device" in text


def test_what_is_missing_comes_with_its_install_command():
    """A target whose runtime is not here is listed as missing, with the command that brings it."""
    text = "\n".join(lines(Targets()))
    assert "cuda: missing: " in text
    assert "install: pip install onnxruntime-gpu" in text


def test_targets_of_the_policy_come_first(tmp_path, monkeypatch, capsys):
    """A name of the policy is listed with the device it stands for."""
    (tmp_path / "mlgate.toml").write_text('required = ["budget"]\n[targets]\nnpu = "openvino:NPU"\n')
    monkeypatch.chdir(tmp_path)
    assert cli.main(["targets"]) == 0
    assert capsys.readouterr().out.startswith("npu (openvino:NPU): ")


def test_a_target_that_does_not_exist_is_misuse(tmp_path, monkeypatch, capsys):
    """A policy that maps a name to no existing device ends with 2 and what is accepted."""
    (tmp_path / "mlgate.toml").write_text('required = ["budget"]\n[targets]\nnpu = "qcom:soc1"\n')
    monkeypatch.chdir(tmp_path)
    assert cli.main(["targets"]) == 2
    assert "accepted" in capsys.readouterr().err.lower()


@pytest.mark.parametrize("scheme", sorted(all_backends()))
def test_a_backend_says_how_its_ids_are_spelled(scheme):
    """A wrong id of any backend is refused with a message that names accepted values."""
    with pytest.raises(ValueError, match=r"(?i)accepted"):
        Targets().resolve(f"{scheme}:no such thing, 1/2/3/4")
