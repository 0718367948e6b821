"""What the installed but unused plugin costs a pytest run; run with `make benchmark`."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

PAIRS = 40
BOUND_MS = 15.0
#: As users run it: compiled modules are kept.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def _collect(folder: Path, *arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        check=True,
    )
    return (time.perf_counter() - start) * 1000


def test_unused_plugin_adds_at_most_15_ms(tmp_path):
    """The median difference of interleaved pairs, with and without the plugin, is at most 15 ms."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_a.py").write_text("def test_a(): pass\n")
    differences, without = [], []
    for pair in range(PAIRS):
        runs = [("-p", "no:mlgate"), ()]
        timed = {}
        for arguments in runs if pair % 2 else reversed(runs):
            timed[arguments] = _collect(tmp_path, *arguments)
        without.append(timed["-p", "no:mlgate"])
        differences.append(timed[()] - timed["-p", "no:mlgate"])
    median = statistics.median(differences)
    print(f"\nadds {median:.1f} ms (median of {PAIRS} pairs) to {statistics.median(without):.0f} ms")
    assert median <= BOUND_MS
