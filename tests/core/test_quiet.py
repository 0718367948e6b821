"""While one worker measures, no other one runs a test."""

import multiprocessing
import subprocess
import sys
import time

import pytest

from pytest_mlgate.quiet import Quiet, available

pytestmark = pytest.mark.skipif(not available(), reason="this platform has no file locks")

WORKER = """\
import sys, time
from pathlib import Path
from pytest_mlgate.quiet import Quiet

folder, log, role = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
quiet = Quiet(folder)

def note(word):
    with open(log, "a") as file:
        file.write(f"{time.monotonic()} {role} {word}\\n")

for _ in range(6):
    with quiet.sharing():
        note("shares")
        if role == "measures":
            with quiet.alone():
                note("begins")
                time.sleep(0.02)
                note("ends")
        else:
            time.sleep(0.01)
        note("leaves")
"""


def test_whoever_measures_is_alone(tmp_path):
    """With two measuring and two testing processes, no test begins or runs while anything is measured."""
    log = tmp_path / "log"
    roles = ["measures", "measures", "tests", "tests"]
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path / "q"), str(log), role])
        for role in roles
    ]
    assert [worker.wait(timeout=60) for worker in workers] == [0] * 4
    events = sorted(
        (float(t), role, word) for t, role, word in (line.split() for line in log.read_text().splitlines())
    )
    assert len(events) == 2 * 6 * 4 + 2 * 6 * 2
    measuring = sharing = 0
    for _, role, word in events:
        if word == "begins":
            assert (measuring, sharing) == (0, 0)
        measuring += {"begins": 1, "ends": -1}.get(word, 0)
        if role == "tests":
            assert not measuring
            sharing += {"shares": 1, "leaves": -1}[word]
    assert (measuring, sharing) == (0, 0)


def _hold(folder, entered, leave):
    with Quiet(folder).sharing():
        entered.set()
        leave.wait(30)


def test_measuring_waits_for_running_tests_and_holds_back_new_ones(tmp_path):
    """A measurement begins only when the test that runs elsewhere has ended."""
    context = multiprocessing.get_context("fork")
    entered, leave = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, entered, leave))
    other.start()
    assert entered.wait(30)
    measurer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"from pathlib import Path; from pytest_mlgate.quiet import Quiet\n"
            f"with Quiet(Path({str(tmp_path)!r})).alone(): print('alone')",
        ],
        stdout=subprocess.PIPE,
    )
    with measurer:
        time.sleep(0.4)
        assert measurer.poll() is None
        leave.set()
        assert measurer.communicate(timeout=30)[0] == b"alone\n"
    other.join(30)


def test_tests_share(tmp_path):
    """Two tests may run at once; only measuring excludes."""
    with Quiet(tmp_path).sharing(), Quiet(tmp_path).sharing():
        pass


def test_alone_without_a_share_gives_everything_back(tmp_path):
    """Measuring outside a test takes the whole machine and leaves it free, also after an error."""
    quiet = Quiet(tmp_path)
    with pytest.raises(RuntimeError, match="broke"), quiet.alone():
        raise RuntimeError("broke")
    with quiet.sharing(), quiet.alone():
        pass
    with Quiet(tmp_path).alone():
        pass
