"""In a project that does not use the gate, nothing happens and nothing heavy is imported."""

import subprocess
import sys


def test_labels_that_are_called_like_checks_stay_labels(project):
    """Marks named drift or budget belong to everybody; without a policy or a fixture they do nothing."""
    project.write("conftest.py", "")
    project.write(
        "test_gate.py",
        "import pytest\n\n@pytest.mark.drift\n@pytest.mark.budget(0.5, of='mine')\ndef test_(): pass\n",
    )
    result = project.run("--strict-markers")
    assert result.ret == 0
    assert not (project.folder / "mlgate-report").exists()
    assert not (project.folder / ".mlgate").exists()


def test_the_plugin_imports_nothing_heavy_when_unused(project):
    """Neither numpy nor torch nor the evidence model is loaded by a run that does not use the gate."""
    project.write("conftest.py", "")
    project.write(
        "test_gate.py",
        "import sys\n\ndef test_():\n"
        "    heavy = {'numpy', 'torch', 'onnx', 'onnxruntime', 'msgspec', 'pandas'}\n"
        "    assert not heavy & set(sys.modules)\n",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:hypothesispytest", "-p", "no:anyio"],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_marks_and_their_parameters_are_listed(project):
    """`pytest --markers` shows every check's parameters, taken from its signature."""
    result = project.run("--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.budget(latency_ms: number, percentile: float=99.0*"])
    result.stdout.fnmatch_lines(["@pytest.mark.fairness(*"])


def test_workers_in_a_folder_without_a_gate_write_nothing(project):
    """`pytest -n 2` on a plain test passes and leaves no file of the gate behind."""
    project.write("conftest.py", "")
    project.write("test_gate.py", "def test_(): pass\n")
    before = {path.name for path in project.folder.iterdir()}
    result = project.run_alone("-n", "2")
    assert result.ret == 0
    left = {path.name for path in project.folder.iterdir()} - before
    of_pytest = ("__pycache__", "runpytest-", "stdout", "stderr")
    assert [name for name in left if not name.startswith(of_pytest)] == []
