"""A gate that is killed leaves the previous report whole."""

import random
import signal
import subprocess
import sys
import time

from pytest_mlgate.verify import problems


def test_a_killed_gate_leaves_a_whole_report(project):
    """Whenever the process dies, the report folder holds one complete report that agrees with itself."""
    project.policy('required = ["performance"]\n')
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = time.monotonic()
    assert subprocess.run(command, cwd=project.folder, check=False, **quiet).returncode == 0
    whole = time.monotonic() - started
    report = project.folder / "mlgate-report"
    chance = random.Random(0)
    for _ in range(6):
        # The last third of a run is where files are written.
        process = subprocess.Popen(command, cwd=project.folder, **quiet)
        time.sleep(chance.uniform(0.6, 1.1) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert problems(report) == []
