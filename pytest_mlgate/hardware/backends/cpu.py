"""The CPU through ONNX Runtime."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from ._comparison import compare
from .conditions import conditions, energy_counter_uj, machine, reset_peak, resident_bytes
from .protocol import Answer, Backend, Job, Refusal, check_artifact, main
from .timing import Run, load_feeds, load_inputs, sample, sample_batches, warm_up

_PROVIDER = "CPUExecutionProvider"


def parse(rest: str) -> dict[str, str]:
    """Return the options in the id: there are none.

    Raises:
        ValueError: something stands after the colon.
    """
    if rest:
        raise ValueError("accepted: cpu")
    return {}


def run(job: Job) -> Answer:
    """Carry a job out on this machine's CPU."""
    import onnxruntime

    facts: dict[str, Any] = {
        "versions": {"onnxruntime": onnxruntime.__version__, "numpy": np.__version__},
        "machine": machine(),
        "conditions": conditions(job.threads),
    }
    if job.task == "probe":
        return Answer(**facts)
    if job.task == "limits":
        return Answer(**facts, figures=_limits(int(job.options.get("weight_bytes", "0"))))
    facts["sha256"] = check_artifact(job)
    if job.task == "time":
        return _time(job, facts)
    if job.task in ("compare", "rank"):
        return compare(job, lambda path: _runner(open_session(path, job.threads)), facts)
    session = open_session(job.path(job.artifact), job.threads)
    inputs = load_inputs(job.path(job.inputs))
    if job.task == "batches":
        taken = sample_batches(lambda feed: session.run(None, feed), inputs, job.batches, job.runs)
        return Answer(**facts, batches_ns=taken)
    outputs = {
        output.name: value
        for output, value in zip(session.get_outputs(), session.run(None, inputs), strict=True)
        if isinstance(value, np.ndarray)
    }
    np.savez(job.path("outputs.npz"), **outputs)
    return Answer(**facts, files={"outputs": "outputs.npz"})


def _runner(session: Any) -> Run:
    return lambda feed: session.run(None, feed)


def open_session(path: Path, threads: int) -> Any:
    """Return a session on the CPU provider alone.

    Raises:
        Refusal: ONNX Runtime does not take the model, or took another provider.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[_PROVIDER])
    except Exception as error:  # ONNX Runtime has no common base for its errors
        raise Refusal("unsupported", f"ONNX Runtime refuses the model: {error}") from None
    if session.get_providers() != [_PROVIDER]:
        raise Refusal("off_target", f"the session runs on {session.get_providers()}, not on the CPU alone")
    return session


def _time(job: Job, facts: dict[str, Any]) -> Answer:
    feeds = load_feeds(job.path(job.inputs), job.batch)
    reset_peak()
    before = resident_bytes("VmRSS")
    begun = time.perf_counter_ns()
    session = open_session(job.path(job.artifact), job.threads)
    session.run(None, feeds[0])
    figures = {"cold_start_ms": (time.perf_counter_ns() - begun) / 1e6}

    def run_once(feed: Any) -> Any:
        return session.run(None, feed)

    warm, stationary = warm_up(run_once, feeds)
    energy = energy_counter_uj()
    samples = sample(run_once, feeds, job.runs, job.least_runs, job.seconds)
    figures |= _energy(energy, energy_counter_uj(), len(samples))
    peak = resident_bytes("VmHWM")
    if before is not None and peak is not None:
        figures["memory_bytes"] = float(max(0, peak - before))
    return Answer(**facts, samples_ns=samples, figures=figures, warm_up_runs=warm, stationary=stationary)


def _energy(before: int | None, after: int | None, runs: int) -> dict[str, float]:
    """Millijoules of one run, where the machine counts them and the counter did not wrap."""
    if before is None or after is None or after <= before:
        return {}
    return {"energy_mj": (after - before) / 1000 / runs}


def _limits(weight_bytes: int) -> dict[str, float]:
    """Return the best arithmetic of one thread, and the best time to read so many bytes of weights.

    Weights that fit into a cache are read from there in every run but the first, so the reading is timed on
    a matrix of their size: a product with a vector touches each number once.
    """
    a = np.ones((512, 512), np.float32)
    columns = 256
    matrix = np.ones((max(1, weight_bytes // 4 // columns), columns), np.float32)
    vector = np.ones(columns, np.float32)
    product, reading = float("inf"), float("inf")
    deadline = time.perf_counter_ns() + 300_000_000
    while time.perf_counter_ns() < deadline:
        start = time.perf_counter_ns()
        a @ a
        middle = time.perf_counter_ns()
        product = min(product, middle - start)
        matrix @ vector  # once to bring it back into the caches
        start = time.perf_counter_ns()
        matrix @ vector
        reading = min(reading, time.perf_counter_ns() - start)
    share = weight_bytes / matrix.nbytes
    return {"gmacs_per_s": 512**3 / product, "reading_us": reading * share / 1e3}


BACKEND = Backend(
    scheme="cpu",
    summary="this machine's CPU through ONNX Runtime, one thread",
    spelling="cpu",
    parse=parse,
    run=run,
    grades={
        "latency": "measured",
        "throughput": "measured",
        "cold start": "measured",
        "memory": "measured",
        "numerics": "measured",
        "energy": "measured where the processor counts it, else estimated",
    },
    tasks=("probe", "time", "compare", "batches", "predict", "limits", "rank"),
    install="pip install onnxruntime",
    probes=("cpu",),
)

if __name__ == "__main__":
    main(BACKEND)
