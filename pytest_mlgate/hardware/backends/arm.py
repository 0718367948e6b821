"""Arm Ethos-U through Vela, Arm's compiler: placement, and what the compiler estimates without the chip."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ._arm_figures import check_placement, figures_of, placement_of
from ._arm_ids import parse
from .conditions import machine
from .protocol import Answer, Backend, Job, Refusal, check_artifact, main

_INSTALL = "pip install ethos-u-vela==5.2.0"
#: Less than the gate waits, so that this process ends Vela rather than leaving it behind.
_TIMEOUT_S = 240
#: What a file says about itself at bytes 4 to 8, with the format that Vela writes for it.
_FORMATS = {b"TFL3": "tflite", b"TOSA": "raw"}
#: Not `python -m`, which does not exist in every version; the same interpreter, so the same installed Vela.
_START = "import sys; from ethosu.vela.vela import main; sys.exit(main())"
_NOTES = [
    "latency and memory are the compiler's model of the chip, not a run; Vela says of them that they are "
    "internal estimates and that performance is to be taken from an Arm FVP or an FPGA",
    "the same network came out up to 7% apart through different converters to TFLite and TOSA; how far the "
    "estimate is from silicon is not known",
]


def run(job: Job) -> Answer:
    """Compile the artifact for the accelerator and return what the compiler says about it."""
    target = _target(job)
    facts: dict[str, Any] = {"versions": _versions(), "machine": machine()}
    if job.task == "probe":
        with tempfile.TemporaryDirectory(prefix="mlgate-") as folder:
            done = _vela(["--version"], Path(folder))
        if done.returncode:
            raise Refusal("missing", f"Vela does not start: {_last_line(done)}", _INSTALL)
        return Answer(**facts)
    digest = check_artifact(job)
    with tempfile.TemporaryDirectory(prefix="mlgate-") as folder:
        written, printed = _compile(job, target, Path(folder))
        placement = placement_of(printed)
        check_placement(placement)
        figures = figures_of(Path(folder), target)
        compiled = job.path(f"compiled{written.suffix}")
        compiled.write_bytes(written.read_bytes())
    grades = dict.fromkeys(figures, "estimated")
    if compiled.suffix == ".tflite":
        # From TOSA comes an archive of arrays for a linker, whose size is not what ships.
        figures["artifact_bytes"] = float(compiled.stat().st_size)
        grades["artifact_bytes"] = "measured"
    return Answer(
        **facts,
        figures=figures,
        grades=grades,
        placement={"NPU": placement.npu},
        files={"compiled": compiled.name},
        notes=list(_NOTES),
        sha256=digest,
    )


def _target(job: Job) -> dict[str, str]:
    try:
        target = parse(job.rest)
    except ValueError as error:
        raise Refusal("wrong_target", str(error)) from None
    strange = {k: v for k, v in job.options.items() if target.get(k) != v}
    if strange:
        # An option can move operators to the CPU and so lower the estimate.
        raise Refusal("unsupported", f"arm takes no options beside its id; got {strange}")
    return target


def _versions() -> dict[str, str]:
    try:
        import ethosu.vela  # noqa: F401 - metadata may outlive the package
    except ImportError as error:
        raise Refusal(
            "missing", f"Vela, Arm's compiler for Ethos-U, is not installed: {error}", _INSTALL
        ) from None
    return {"vela": importlib.metadata.version("ethos-u-vela")}


def _compile(job: Job, target: dict[str, str], folder: Path) -> tuple[Path, str]:
    """Run Vela; return the file that it wrote and what it printed."""
    artifact = job.path(job.artifact).resolve()
    with artifact.open("rb") as file:
        kind = _FORMATS.get(file.read(8)[4:])
    if kind is None:
        what = "ONNX" if artifact.suffix == ".onnx" else "neither"
        raise Refusal(
            "unsupported",
            f"Vela takes TFLite or TOSA; the artifact is {what}. Convert it to int8 TFLite or TOSA (onnx2tf "
            'does from ONNX) and name the file with [targets.npu] artifact = "model.tflite"',
        )
    options = ["--accelerator-config", target["accelerator"], "--config", "Arm/vela.ini"]
    options += ["--system-config", target["system"], "--memory-mode", target["memory"]]
    options += ["--output-dir", str(folder), "--output-format", kind, "--show-cpu-operations"]
    done = _vela([str(artifact), *options], folder)
    _, invalid, details = done.stderr.partition("Validation error:")
    if done.returncode and invalid:
        why = " ".join(line.strip() for line in details.splitlines() if line.strip())
        raise Refusal("unsupported", f"Vela cannot put the artifact on the NPU: {why[:300]}")
    if done.returncode:
        raise Refusal("failed", f"Vela does not compile the artifact: {_last_line(done)}")
    written = [path for path in folder.iterdir() if path.stem == f"{artifact.stem}_vela"]
    if len(written) != 1:
        raise Refusal("failed", f"Vela wrote {len(written)} compiled files where one was expected")
    return written[0], done.stdout


def _vela(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    # An empty working folder: Python puts it first on the path of modules.
    command = [sys.executable, "-c", _START, *arguments]
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=folder,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Refusal("failed", f"Vela did not finish within {_TIMEOUT_S} s") from None


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {done.returncode}, no message"


BACKEND = Backend(
    scheme="arm",
    summary="Arm Ethos-U through the Vela compiler: placement, and its estimates of latency and memory",
    spelling="arm:ACCELERATOR/SYSTEM/MEMORY",
    parse=parse,
    run=run,
    grades={"latency": "estimated", "memory": "estimated", "placement": "measured", "size": "measured"},
    tasks=("probe", "compile"),
    install=_INSTALL,
    formats=("tflite", "tosa"),
    probes=("arm:ethos-u55-128/Ethos_U55_High_End_Embedded/Shared_Sram",),
)

if __name__ == "__main__":
    main(BACKEND)
