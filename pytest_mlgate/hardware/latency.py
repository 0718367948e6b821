"""Latency percentiles on the CPU, over several fresh processes, with an interval over those processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..candidate import BlackBox, Model, OnnxModel
from ..dataset import Frame
from ..errors import CheckError
from ..evidence import Interval, Measurement
from ..levels import Tails
from ..statistics import geometric_mean_interval, runs_for_percentile
from .machine import load_average

#: Fresh processes; the interval is Student's t over their logarithms, so fewer would be all width.
PROCESSES = 5
#: At least so many runs in each process, more where the percentile needs them.
LEAST_RUNS = 500
_ROWS = 256
_TIMEOUT_S = 120


def cpu_latency(model: Model, frame: Frame, percentile: float, tails: Tails) -> Measurement:
    """Return a latency percentile in milliseconds, batch of one row, one thread.

    Every process runs often enough for its maximum to bound the percentile at 99% confidence
    (`runs_for_percentile`) and rotates over up to 256 real rows.

    Raises:
        CheckError: the model does not run in a process of its own.
    """
    runs = max(LEAST_RUNS, runs_for_percentile(percentile, 0.99))
    # Spread over the whole table: its first rows may be the easy ones.
    rows = frame.gather_every(max(1, len(frame) // _ROWS)).head(_ROWS)
    if isinstance(model, OnnxModel):
        values = _in_fresh_processes(model, rows, runs, percentile)
        where = f"{PROCESSES} fresh processes"
    elif isinstance(model, BlackBox):
        values = np.array([_in_this_process(model, rows, runs, percentile) for _ in range(PROCESSES)])
        where = f"{PROCESSES} repeats in one process (a callable cannot be moved to another)"
    else:
        raise CheckError(f"cannot time a {type(model).__name__}")
    value, (low, high) = geometric_mean_interval(values, tails)
    return Measurement(
        metric=f"latency_p{percentile:g}",
        value=value,
        unit="ms",
        n=PROCESSES,
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method=f"geometric mean of p{percentile:g} over {where}, {runs} runs each, batch 1, one thread, "
        f"rotating over {len(rows)} rows; Student's t interval over the processes",
        detail=f"target cpu, load average {load_average()}",
    )


def _in_fresh_processes(model: OnnxModel, rows: Frame, runs: int, percentile: float) -> Any:
    with tempfile.TemporaryDirectory(prefix="mlgate-") as folder:
        artifact, inputs = Path(folder, "model.onnx"), Path(folder, "inputs.npz")
        artifact.write_bytes(model.onnx)
        feeds = {name: v.astype(str) if v.dtype == object else v for name, v in model.feeds(rows).items()}
        np.savez(inputs, **feeds)
        command = [sys.executable, "-m", "pytest_mlgate.hardware.cpu_worker"]
        command += [str(artifact), str(inputs), str(runs), str(percentile)]
        return np.array([_run_worker(command) for _ in range(PROCESSES)])


def _run_worker(command: list[str]) -> float:
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, env=quiet, check=False)
    except subprocess.TimeoutExpired:
        raise CheckError(f"the model did not finish its timing runs within {_TIMEOUT_S} s") from None
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise CheckError(f"the timing process ended with code {done.returncode}: {last[0]}")
    answer = json.loads(done.stdout)
    if answer["providers"] != ["CPUExecutionProvider"]:
        raise CheckError(f"the model ran on {answer['providers']}, not on the CPU provider alone")
    return float(answer["percentile_ms"])


def _in_this_process(model: BlackBox, rows: Frame, runs: int, percentile: float) -> float:
    single = [rows[i : i + 1] for i in range(len(rows))]
    elapsed = []
    for i in range(runs):
        start = time.perf_counter_ns()
        model.predict_proba(single[i % len(single)])
        elapsed.append(time.perf_counter_ns() - start)
    return float(np.percentile(elapsed, percentile, method="higher")) / 1e6
