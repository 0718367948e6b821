"""The report folder is replaced in one step: readers see the previous report whole, or the new one whole."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from pytest_mlgate.errors import Misuse
from pytest_mlgate.output import replace_folder, require_replaceable
from pytest_mlgate.session import report_names

OLD = {"evidence.json": b"{}", "model-card.md": b"old"}
NEW = {"evidence.json": b"{ }", "summary.md": b"new"}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def leftovers(folder):
    return [path.name for path in folder.parent.iterdir() if path != folder]


@pytest.mark.parametrize("before", ["absent", "empty", "report"])
def test_the_folder_holds_exactly_the_new_files(tmp_path, before):
    """Whatever was there before, the folder afterwards holds the new files and nothing else."""
    target = tmp_path / "report"
    if before == "empty":
        target.mkdir()
    if before == "report":
        replace_folder(target, OLD)
    replace_folder(target, NEW)
    assert contents(target) == NEW
    assert leftovers(target) == []
    assert target.stat().st_mode & 0o777 == 0o755


def test_parents_are_made(tmp_path):
    """Folders above the report are made as needed."""
    replace_folder(tmp_path / "a" / "b", NEW)
    assert contents(tmp_path / "a" / "b") == NEW


@pytest.mark.parametrize("files", [{"a": b"1", "b": object()}, {"a": b"1", "x" * 300: b"2"}])
def test_a_failing_write_leaves_the_previous_report(tmp_path, files):
    """If any file cannot be written, the previous report stays as it was and nothing is left beside it."""
    target = tmp_path / "report"
    replace_folder(target, OLD)
    with pytest.raises((TypeError, OSError)):
        replace_folder(target, files)
    assert contents(target) == OLD
    assert leftovers(target) == []


@pytest.mark.parametrize("name", ["../outside.txt", "sub/file", "/tmp/outside", "."])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, name):
    """A file name with a folder in it is refused, and the previous report stays."""
    target = tmp_path / "report"
    replace_folder(target, OLD)
    with pytest.raises(Misuse, match="would be written outside"):
        replace_folder(target, NEW | {name: b"x"})
    assert contents(target) == OLD
    assert leftovers(target) == []


def test_folders_with_other_contents_are_refused(tmp_path):
    """A folder that holds anything but a report is refused and named with what it holds."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(Misuse, match=r"would be replaced as a whole, and holds what no report has: 'notes"):
        require_replaceable(tmp_path, NEW)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


@pytest.mark.parametrize("stranger", ["notes.txt", ".hidden", "folder"])
def test_a_foreign_file_beside_evidence_is_refused_and_left_untouched(tmp_path, stranger):
    """A report folder with one more file or folder in it is refused, and nothing in it changes."""
    target = tmp_path / "report"
    replace_folder(target, OLD)
    if stranger == "folder":
        (target / stranger).mkdir()
    else:
        (target / stranger).write_text("mine")
    before = sorted(path.name for path in target.iterdir())
    with pytest.raises(Misuse, match=f"holds what no report has: '{stranger}'"):
        require_replaceable(target, report_names())
    assert sorted(path.name for path in target.iterdir()) == before
    assert (target / "evidence.json").read_bytes() == OLD["evidence.json"]


def test_an_absent_empty_or_report_folder_may_be_replaced(tmp_path):
    """A folder that is absent, empty, or holds only files of a report may be replaced."""
    require_replaceable(tmp_path / "absent", report_names())
    (tmp_path / "empty").mkdir()
    require_replaceable(tmp_path / "empty", report_names())
    replace_folder(tmp_path / "report", dict.fromkeys(report_names(), b"x"))
    require_replaceable(tmp_path / "report", report_names())


def test_files_and_links_are_refused(tmp_path):
    """A file, a link to a folder and a dangling link are no report folder."""
    (tmp_path / "file").write_text("mine")
    replace_folder(tmp_path / "real", OLD)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link", "dangling"):
        with pytest.raises(Misuse, match="is not a folder"):
            require_replaceable(tmp_path / name, NEW)
    assert contents(tmp_path / "real") == OLD


def test_a_reader_that_holds_the_folder_open_keeps_the_previous_report(tmp_path):
    """The names of an open folder are those of one report, never a mixture of two."""
    target = tmp_path / "report"
    replace_folder(target, OLD)
    handle = os.open(target, os.O_RDONLY)
    try:
        replace_folder(target, NEW)
        assert set(os.listdir(handle)) in ({*OLD}, set())
    finally:
        os.close(handle)
    assert contents(target) == NEW


WRITER = """\
import itertools, sys
from pathlib import Path
from pytest_mlgate.output import replace_folder

target = Path(sys.argv[1])
print("ready", flush=True)
for i in itertools.count():
    word = str(i).encode()
    replace_folder(target, {"evidence.json": word, **{f"part-{k}": word * 200 for k in range(6)}})
"""


def test_a_killed_writer_leaves_one_whole_report(tmp_path):
    """After SIGKILL at a random moment the folder is one report whole: all files, all of one generation."""
    target = tmp_path / "report"
    rng = random.Random(11)
    generations = set()
    for _ in range(15):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(0.02 + rng.random() * 0.1)
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        if not target.exists():
            continue
        found = contents(target)
        assert sorted(found) == ["evidence.json", *(f"part-{k}" for k in range(6))]
        generation = found.pop("evidence.json")
        assert set(found.values()) == {generation * 200}
        generations.add(generation)
    assert generations, "no report was ever written"
    replace_folder(target, NEW)
    assert contents(target) == NEW
