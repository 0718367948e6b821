"""What is fixed before the first measurement, and what is said of the machine."""

import dataclasses
import platform
import subprocess
import sys

import numpy
import pytest

from pytest_mlgate import codec
from pytest_mlgate.hardware.machine import fingerprint, load_average
from pytest_mlgate.lock import SCHEMA, Lock, environment


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_environment_names_revision_and_local_changes(tmp_path):
    """In a checkout the revision is named, and whether anything differs from it; elsewhere it is unknown."""
    found = environment(tmp_path)
    assert (found.revision, found.dirty) == ("unknown", None)
    git(tmp_path, "init")
    assert environment(tmp_path).revision == "unknown"
    (tmp_path / "a.txt").write_text("a")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    clean = environment(tmp_path)
    assert len(clean.revision) == 40
    assert clean.dirty is False
    (tmp_path / "a.txt").write_text("b")
    assert environment(tmp_path).dirty is True


def test_environment_of_a_folder_that_is_gone(tmp_path):
    """A folder that does not exist has no revision, and that is no error."""
    assert environment(tmp_path / "gone").revision == "unknown"


def test_environment_without_git(tmp_path, monkeypatch):
    """Where git is not installed the revision is unknown."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment(tmp_path).dirty is None


def test_environment_names_versions_that_are_installed(tmp_path):
    """The versions are those of the installed packages, and nothing that is not installed is listed."""
    packages = environment(tmp_path).packages
    assert packages["numpy"] == numpy.__version__
    assert packages["pytest-mlgate"] == "0.1.0"
    assert "" not in packages.values()


def test_environment_says_nothing_of_people_or_the_process(tmp_path, monkeypatch):
    """Neither host, user nor environment variables reach the evidence."""
    monkeypatch.setenv("SOME_TOKEN", "s3cret-value")
    text = codec.to_json(environment(tmp_path)).decode()
    assert "s3cret-value" not in text
    assert str(tmp_path) not in text
    assert set(fingerprint()) == {"processor", "architecture", "cores", "system", "python"}
    assert platform.node() not in fingerprint().values()


def test_fingerprint_is_of_this_machine():
    """The machine is named by its architecture and the Python that runs, with text in every field."""
    found = fingerprint()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["architecture"] == platform.machine()
    assert int(found["cores"]) >= 1
    assert all(found.values())
    assert load_average() == "unknown" or float(load_average()) >= 0


def test_the_lock_holds_what_was_declared(build, data):
    """The lock of a run names policy, alpha, seed, requirements, candidate and data, and reads back."""
    built = build()
    written = (built.folder / "mlgate.lock").read_bytes()
    lock = codec.from_json(written, Lock)
    assert codec.to_json(lock) == written
    assert (lock.schema, lock.policy, lock.alpha, lock.seed) == (SCHEMA, built.run.policy.digest, 0.05, 0)
    assert [r.id for r in lock.requirements] == ["accuracy.min", "width.max"]
    assert lock.candidate == built.run.candidate
    assert lock.data == built.run.data
    assert lock.meaning == data.meaning
    assert lock.reading == [[0.5, "probability", ["a", "b"], 1]]
    assert lock.training_record == "none"
    assert built.run.lock == codec.digest(written)


@pytest.mark.parametrize("change", [{"bins": {"a": (0.0,)}}, {"positive": 0}])
def test_the_lock_changes_with_the_meaning_of_the_data(build, data, change):
    """The same rows, read otherwise, give another lock."""
    other = dataclasses.replace(data, **change)
    assert build(folder="one").run.lock != build(given=other, folder="two").run.lock


@pytest.mark.parametrize("change", ["# a word\n", "seed = 1\n", "alpha = 0.04\n"])
def test_the_lock_changes_with_the_policy(build, change):
    """Any change of the policy's text gives another lock."""
    text = 'required = ["accuracy"]\n[checks.accuracy]\nmin = 0.6\n'
    assert build(text, folder="one").run.lock != build(change + text, folder="two").run.lock
