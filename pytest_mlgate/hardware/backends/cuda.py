"""NVIDIA graphics processors through ONNX Runtime: its CUDA provider, or TensorRT where the id says so."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ._comparison import compare
from ._gpu import gpu_facts, gpu_of, gpu_state, gpus_found
from .conditions import conditions, machine
from .protocol import Answer, Backend, Job, Refusal, check_artifact, main
from .timing import Run, load_feeds, load_inputs, sample, sample_batches, warm_up

CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
_INSTALL = "pip install onnxruntime-gpu"
_ID = re.compile(r"(?:(?P<way>tensorrt)(?::|$))?(?P<device>[0-9]{1,2})?")
_RECORD = "session.record_ep_graph_assignment_info"
#: An ONNX model of one Relu, to see whether a session opens at all.
_RELU = bytes.fromhex(
    "080812003a330a0c0a0178120179220452656c751201675a0f0a0178120a0a08080112040a020801620f0a01"
    "79120a0a08080112040a02080142040a001011"
)
_TIMED = "host to host: inputs and outputs in the computer's memory, copies to the GPU and back included"


def parse(rest: str) -> dict[str, str]:
    """Return the provider and the number of the device.

    Raises:
        ValueError: it is spelled otherwise.
    """
    found = _ID.fullmatch(rest)
    if found is None or rest.endswith(":"):
        raise ValueError("accepted: cuda, cuda:0, cuda:tensorrt, cuda:tensorrt:0")
    return {"provider": TENSORRT if found["way"] else CUDA, "device": found["device"] or "0"}


def run(job: Job) -> Answer:
    """Carry a job out on the graphics processor."""
    try:
        target = parse(job.rest)
    except ValueError as error:
        raise Refusal("wrong_target", str(error)) from None
    # CUDA by itself counts the fastest device first, nvidia-smi by slot.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    version = _check_provider(target["provider"])
    device = _Device(target["provider"], target["device"])
    gpu = gpu_of(int(target["device"]))
    found = gpu_facts(gpu)
    facts: dict[str, Any] = {
        "versions": {
            "onnxruntime": version,
            "numpy": np.__version__,
            "driver": found.pop("driver_version", "unknown"),
        },
        "machine": {**machine(), "gpu": ", ".join(found.values()) or "unknown", "provider": device.provider},
        "conditions": {**conditions(job.threads), **gpu_state(gpu)},
        "notes": [_TIMED],
    }
    if job.task == "probe":
        device.check_present()
        return Answer(**facts)
    facts["sha256"] = check_artifact(job)
    if job.task == "time":
        return _time(job, facts, device)
    if job.task in ("compare", "rank"):
        return _compare(job, facts, device)
    session, facts["placement"] = device.open_session(job.path(job.artifact), job.threads)
    inputs = load_inputs(job.path(job.inputs))
    if job.task == "batches":
        taken = sample_batches(lambda feed: session.run(None, feed), inputs, job.batches, job.runs)
        return Answer(**facts, batches_ns=taken)
    outputs: dict[str, Any] = {
        output.name: value
        for output, value in zip(session.get_outputs(), session.run(None, inputs), strict=True)
        if isinstance(value, np.ndarray)
    }
    np.savez(job.path("outputs.npz"), **outputs)
    return Answer(**facts, files={"outputs": "outputs.npz"})


def placement_of(assigned: Iterable[tuple[str, str]], wanted: str) -> dict[str, int]:
    """Return how many operators each provider runs, given the provider and the operator of every node.

    What TensorRT has no kernel for runs on CUDA, still on the device; but something must run on TensorRT.

    Raises:
        Refusal: an operator runs elsewhere, or none runs on the provider that was asked for.
    """
    pairs = list(assigned)
    allowed = {CUDA, wanted}
    strange = Counter(f"{operator} on {provider}" for provider, operator in pairs if provider not in allowed)
    if strange:
        which = ", ".join(f"{count} x {name}" for name, count in strange.most_common(8))
        raise Refusal("off_target", f"{strange.total()} of {len(pairs)} operators run elsewhere: {which}")
    placement = Counter(provider for provider, _ in pairs)
    if not placement[wanted]:
        raise Refusal(
            "off_target", f"no operator runs on {wanted}: {dict(placement) or 'the model is empty'}"
        )
    return dict(placement)


class _Device:
    """Sessions on one device, all with proof of where their operators run."""

    def __init__(self, provider: str, number: str) -> None:
        self.provider = provider
        chosen = [provider] if provider == CUDA else [provider, CUDA]
        self._providers = [(name, {"device_id": number}) for name in chosen]

    def open_session(self, path: Path, threads: int) -> tuple[Any, dict[str, int]]:
        """Return a session that runs on the device alone, and its placement.

        Raises:
            Refusal: ONNX Runtime does not take the model, or would run a part of it elsewhere.
        """
        try:
            session = self._session(path, threads, fallback=False)
        except Refusal:
            # A session that may not fall back does not open, and names no operator; one that may does.
            placement_of(_assigned(self._session(path, threads, fallback=True)), self.provider)
            raise
        return session, placement_of(_assigned(session), self.provider)

    def check_present(self) -> None:
        """Refuse where the provider does not start: no device, or libraries of CUDA that are not there."""
        with tempfile.TemporaryDirectory(prefix="mlgate-") as folder:
            path = Path(folder, "relu.onnx")
            path.write_bytes(_RELU)
            self.open_session(path, 1)

    def _session(self, path: Path, threads: int, *, fallback: bool) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry(_RECORD, "1")
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "0" if fallback else "1")
        try:
            session = onnxruntime.InferenceSession(
                str(path), options, providers=self._providers, enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime has no common base for its errors
            if re.search("cuda|cudnn|gpu", f"{error}", re.IGNORECASE):
                raise Refusal(
                    "missing", f"CUDA does not work here: {error}; {gpus_found()}", _INSTALL
                ) from None
            raise Refusal("unsupported", f"ONNX Runtime refuses the model: {error}") from None
        if self.provider not in session.get_providers():
            text = (
                f"{self.provider} did not start (its libraries or the device are not there); {gpus_found()}"
            )
            raise Refusal("missing", text, "pip install 'onnxruntime-gpu[cuda,cudnn]'")
        return session


def _check_provider(provider: str) -> str:
    """Return the version of an ONNX Runtime that has the provider and can show where operators run."""
    try:
        import onnxruntime
    except ImportError:
        raise Refusal("missing", f"onnxruntime is not installed; {gpus_found()}", _INSTALL) from None
    able = onnxruntime.get_available_providers()
    version = str(onnxruntime.__version__)
    if provider not in able:
        text = f"onnxruntime {version} has no {provider}, only {', '.join(able)}; {gpus_found()}"
        text += "; onnxruntime-gpu takes the place of onnxruntime: uninstall that first"
        raise Refusal("missing", text, _INSTALL)
    if not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
        text = f"onnxruntime {version} cannot show which provider runs which operator"
        raise Refusal("missing", text, _INSTALL.replace("install", "install --upgrade"))
    return version


def _assigned(session: Any) -> list[tuple[str, str]]:
    parts = session.get_provider_graph_assignment_info()
    return [(part.ep_name, node.op_type) for part in parts for node in part.get_nodes()]


def _time(job: Job, facts: dict[str, Any], device: _Device) -> Answer:
    feeds = load_feeds(job.path(job.inputs), job.batch)
    begun = time.perf_counter_ns()
    session, facts["placement"] = device.open_session(job.path(job.artifact), job.threads)
    session.run(None, feeds[0])
    figures = {"cold_start_ms": (time.perf_counter_ns() - begun) / 1e6}

    def run_once(feed: Any) -> Any:
        # Returns when the outputs have arrived in the computer's memory, hence after the device is done.
        return session.run(None, feed)

    warm, stationary = warm_up(run_once, feeds)
    samples = sample(run_once, feeds, job.runs, job.least_runs, job.seconds)
    return Answer(**facts, samples_ns=samples, figures=figures, warm_up_runs=warm, stationary=stationary)


def _compare(job: Job, facts: dict[str, Any], device: _Device) -> Answer:
    def opened(path: Path) -> Run:
        session, placement = device.open_session(path, job.threads)
        if path == job.path(job.artifact):
            facts["placement"] = placement
        return lambda feed: session.run(None, feed)

    return compare(job, opened, facts)


BACKEND = Backend(
    scheme="cuda",
    summary="an NVIDIA graphics processor through ONNX Runtime's CUDA or TensorRT provider",
    spelling="cuda, cuda:N, cuda:tensorrt or cuda:tensorrt:N",
    parse=parse,
    run=run,
    grades={
        "latency": "measured",
        "throughput": "measured",
        "cold start": "measured",
        "numerics": "measured",
    },
    tasks=("probe", "time", "compare", "batches", "predict", "rank"),
    install=_INSTALL,
    probes=("cuda",),
)

if __name__ == "__main__":
    main(BACKEND)
