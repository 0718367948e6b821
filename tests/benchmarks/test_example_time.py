"""How long the example takes, from scratch and with nothing changed; run with `make benchmark`."""

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "example_project"
FROM_SCRATCH_S = 90.0
WARM_S = 10.0
REPEATS = 3


def _timed(folder: Path, *command: str) -> float:
    start = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def test_example_from_scratch_and_warm(tmp_path):
    """From nothing, training included, it takes less than 90 s; with nothing changed less than 10 s."""
    folder = tmp_path / "example_project"
    generated = shutil.ignore_patterns("models", "mlgate-report*", ".mlgate", "__pycache__", ".pytest_cache")
    scratch, warm = [], []
    for _ in range(REPEATS):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(EXAMPLE, folder, ignore=generated)
        train = _timed(folder, sys.executable, "-m", "loan_approval.train", "--if-missing")
        gate = (sys.executable, "-m", "pytest_mlgate.cli", "run")
        scratch.append(train + _timed(folder, *gate))
        warm.append(_timed(folder, *gate))
    cold, again = statistics.median(scratch), statistics.median(warm)
    print(f"\nfrom scratch {cold:.1f} s, warm {again:.1f} s (medians of {REPEATS})")
    assert cold < FROM_SCRATCH_S
    assert again < WARM_S
