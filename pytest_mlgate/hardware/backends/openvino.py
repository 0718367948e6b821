"""Intel's OpenVINO on this machine's CPU, or on its NPU where there is one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ._comparison import compare
from ._openvino_session import INSTALL, PRECISIONS, Compiled, device_of, load_openvino, output_names
from ._rows import run_rows
from .conditions import conditions, energy_counter_uj, machine, reset_peak, resident_bytes
from .protocol import Answer, Backend, Job, Refusal, check_artifact, main
from .timing import load_feeds, load_inputs, sample, sample_batches, warm_up

_DEVICES = ("CPU", "NPU")


def parse(rest: str) -> dict[str, str]:
    """Return the device; `AUTO` and `HETERO` are none, because they fall back to the CPU without a word.

    Raises:
        ValueError: it is neither CPU nor NPU.
    """
    if rest not in _DEVICES:
        raise ValueError(f"openvino:{rest} names no device taken here; accepted: openvino:CPU, openvino:NPU")
    return {"device": rest}


def run(job: Job) -> Answer:
    """Carry a job out on the device."""
    device, precision = _target(job)
    ov = load_openvino()
    core = ov.Core()
    facts: dict[str, Any] = {
        "versions": {"openvino": ov.__version__, "numpy": np.__version__},
        "machine": machine() | {"device": device_of(core, device)},
        "conditions": conditions(job.threads),
    }
    if job.task == "probe":
        return Answer(**facts)
    if Path(job.artifact).suffix != ".onnx":
        raise Refusal("unsupported", f"openvino takes ONNX here; the artifact is {Path(job.artifact).suffix}")
    facts["sha256"] = check_artifact(job)

    def compiled(path: Path) -> Compiled:
        model = Compiled(ov, core, path, device, precision, job.threads)
        facts["conditions"] |= model.settings
        if path == job.path(job.artifact):
            facts["placement"] = {device: model.operators()}
        return model

    if job.task in ("compare", "rank"):
        return compare(job, compiled, facts)
    if job.task == "time":
        return _time(job, facts, compiled)
    model = compiled(job.path(job.artifact))
    inputs = load_inputs(job.path(job.inputs))
    if job.task == "batches":
        return Answer(**facts, batches_ns=sample_batches(model, inputs, job.batches, job.runs))
    rows = model.batch() or max(1, len(next(iter(inputs.values()), ())))
    outputs = run_rows(model.outputs, inputs, rows)
    names = output_names(job.path(job.artifact))
    np.savez(job.path("outputs.npz"), **dict(zip(names, outputs, strict=True)))
    return Answer(**facts, files={"outputs": "outputs.npz"})


def _target(job: Job) -> tuple[str, str]:
    try:
        device = parse(job.rest)["device"]
    except ValueError as error:
        raise Refusal("wrong_target", str(error)) from None
    options = dict(job.options)
    # Where a processor has bfloat16, OpenVINO uses it for float32 models by itself. An NPU has its own.
    precision = options.pop("precision", "f32" if device == "CPU" else "")
    if precision not in ("", *PRECISIONS) or options.pop("device", device) != device or options:
        raise Refusal("unsupported", f"openvino takes one option, precision = f32 or bf16; got {job.options}")
    return device, precision


def _time(job: Job, facts: dict[str, Any], compiled: Callable[[Path], Compiled]) -> Answer:
    feeds = load_feeds(job.path(job.inputs), job.batch)
    reset_peak()
    before = resident_bytes("VmRSS")
    begun = time.perf_counter_ns()
    model = compiled(job.path(job.artifact))
    model(feeds[0])
    figures = {"cold_start_ms": (time.perf_counter_ns() - begun) / 1e6}
    warm, stationary = warm_up(model, feeds)
    counted = energy_counter_uj()
    samples = sample(model, feeds, job.runs, job.least_runs, job.seconds)
    counted_after = energy_counter_uj()
    # The counter is the processor's: it knows nothing of an NPU, and it may wrap.
    if facts["placement"].get("CPU") and counted is not None and (counted_after or 0) > counted:
        figures["energy_mj"] = ((counted_after or 0) - counted) / 1000 / len(samples)
    peak = resident_bytes("VmHWM")
    if before is not None and peak is not None:
        figures["memory_bytes"] = float(max(0, peak - before))
    return Answer(**facts, samples_ns=samples, figures=figures, warm_up_runs=warm, stationary=stationary)


BACKEND = Backend(
    scheme="openvino",
    summary="Intel's OpenVINO on this machine's CPU (float32 unless asked), or on its NPU",
    spelling="openvino:CPU or openvino:NPU",
    parse=parse,
    run=run,
    grades={
        "latency": "measured",
        "throughput": "measured",
        "cold start": "measured",
        "memory": "measured",
        "numerics": "measured",
    },
    tasks=("probe", "time", "compare", "rank", "batches", "predict"),
    install=INSTALL,
    probes=("openvino:CPU", "openvino:NPU"),
)

if __name__ == "__main__":
    main(BACKEND)
