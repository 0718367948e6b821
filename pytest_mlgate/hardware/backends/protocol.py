"""What passes between the gate and a backend's process: a job as JSON in, an answer as JSON out.

A backend never answers with a figure of another device. Where it cannot do what was asked it refuses, with
the kind of refusal, because each kind has another verdict.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

#: probe: is the target there. time: one row per run. compare: two artifacts, interleaved. batches: rows per
#: second by batch size. predict: the target's outputs, as numpy files. compile: placement, size and the
#: vendor's estimates, without running. limits: the device's own arithmetic and memory speed. rank: several
#: artifacts, interleaved, to put them in order.
Task = Literal["probe", "time", "compare", "batches", "predict", "compile", "limits", "rank"]

#: missing: the tool or the device is not there. off_target: a part of the model would run elsewhere.
#: unsupported: the target cannot take this artifact. wrong_target: the id names nothing that exists.
#: failed: it was tried and broke.
Kind = Literal["missing", "off_target", "unsupported", "wrong_target", "failed"]


class Refusal(Exception):
    """The backend does not answer, and says why and what to do."""

    def __init__(self, kind: Kind, text: str, install: str = "") -> None:
        super().__init__(text)
        self.kind = kind
        self.install = install


@dataclass(frozen=True)
class Backend:
    """What a kind of target is and what can be learned about a model on it."""

    #: What stands before the colon of a target's id: "cpu", "qcom", "ssh".
    scheme: str
    summary: str
    #: How ids are spelled, for messages: "qcom:socNN".
    spelling: str
    #: Splits what stands after the colon; raises ValueError naming the accepted values.
    parse: Callable[[str], dict[str, str]]
    #: Carries one job out; `main` turns what it raises into a refusal.
    run: Callable[[Job], Answer]
    #: Strongest grade of each metric: {"latency": "measured", "numerics": "emulated", ...}.
    grades: Mapping[str, str]
    tasks: tuple[Task, ...]
    #: The exact command that brings the tool.
    install: str = ""
    #: Artifacts it takes, by ending.
    formats: tuple[str, ...] = ("onnx",)
    #: Ids that `mlgate targets` asks for when nobody named any; none where a device must be named.
    probes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One job for one backend; file names are relative to the folder of the job."""

    target: str
    task: Task
    folder: str
    artifact: str = ""
    #: Hex digest; the backend hashes what it really ran and answers with that.
    sha256: str = ""
    #: An .npz file with one array per model input, first axis rows; text is stored as unicode arrays.
    inputs: str = ""
    #: The second artifact of `compare`: the one in the denominator.
    reference: str = ""
    #: The inputs of the reference, where it reads other columns.
    reference_inputs: str = ""
    #: Further artifacts of `rank`.
    others: tuple[str, ...] = ()
    #: Timed runs (`time`), pairs (`compare`), rounds (`rank`), or runs for each batch size (`batches`).
    runs: int = 500
    #: A slow model is timed less often, but never less often than this.
    least_runs: int = 100
    #: A loop ends after this time if it has its `least_runs`.
    seconds: float = 5.0
    #: `compare` also ends when the median ratio is known this well (half-width); 0 to use all the time.
    precision: float = 0.0
    #: Rows of one run; more than one where the model fixes its batch dimension.
    batch: int = 1
    threads: int = 1
    batches: tuple[int, ...] = ()
    seed: int = 0
    options: dict[str, str] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """Return the path of a file of this job."""
        return Path(self.folder, name)

    @property
    def rest(self) -> str:
        """What stands after the colon of the target's id."""
        return self.target.partition(":")[2]


@dataclass(frozen=True)
class Answer:
    """What a backend found out. Times are whole nanoseconds, one per run, in the order they were taken."""

    samples_ns: list[int] = field(default_factory=list)
    #: `compare`: (artifact, reference) for each pair. `rank`: (artifact, *others) for each round.
    pairs_ns: list[list[int]] = field(default_factory=list)
    #: `batches`: batch size to the time of each run.
    batches_ns: dict[str, list[int]] = field(default_factory=dict)
    #: Single figures by name, in the unit of the name: cold_start_ms, memory_bytes, latency_ms (estimates),
    #: sram_bytes, flash_bytes, artifact_bytes, energy_mj ...
    figures: dict[str, float] = field(default_factory=dict)
    #: Grade of each figure that is not simply measured on the target: {"latency_ms": "estimated"}.
    grades: dict[str, str] = field(default_factory=dict)
    #: How many operators run where: {"QNNExecutionProvider": 34}.
    placement: dict[str, int] = field(default_factory=dict)
    #: Files that were written into the job's folder: {"outputs": "outputs.npz"}.
    files: dict[str, str] = field(default_factory=dict)
    #: Versions of everything that took part, drivers included.
    versions: dict[str, str] = field(default_factory=dict)
    #: What ran it: processor, device, system; no names of hosts or users.
    machine: dict[str, str] = field(default_factory=dict)
    #: Threads, affinity, governor, load, temperature: whatever may change from run to run.
    conditions: dict[str, str] = field(default_factory=dict)
    warm_up_runs: int = 0
    stationary: bool = True
    notes: list[str] = field(default_factory=list)
    sha256: str = ""
    refusal: str = ""
    refusal_kind: str = ""
    install: str = ""


def digest_of(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_artifact(job: Job) -> str:
    """Return the digest of the artifact after comparing it with the one that was asked for.

    Raises:
        Refusal: the file is another one.
    """
    found = digest_of(job.path(job.artifact))
    if job.sha256 and found != job.sha256:
        raise Refusal("failed", f"the artifact that arrived has sha256 {found}, not {job.sha256}")
    return found


def main(backend: Backend) -> NoReturn:
    """Read a job from standard input, carry it out, and write the answer to the real standard output.

    Whatever a library prints goes to standard error.
    """
    job = Job(**json.load(sys.stdin))
    with contextlib.redirect_stdout(sys.stderr), _standard_output_to_error() as real:
        answer = answer_to(backend, job)
    with os.fdopen(real, "w") as out:
        json.dump(dataclasses.asdict(answer), out)
    sys.stderr.flush()
    # Vendor libraries crash in their destructors; the answer is out.
    os._exit(0)


def answer_to(backend: Backend, job: Job) -> Answer:
    """Return the backend's answer; what it raises becomes a refusal."""
    try:
        if job.task not in backend.tasks:
            able = ", ".join(backend.tasks)
            raise Refusal("unsupported", f"{backend.scheme} cannot {job.task}; it can: {able}")
        return backend.run(job)
    except Refusal as refusal:
        return Answer(refusal=str(refusal), refusal_kind=refusal.kind, install=refusal.install)
    except ImportError as error:
        return Answer(refusal=f"{error}", refusal_kind="missing", install=backend.install)
    except Exception as error:  # whatever the vendor's tool raises is a failed try, not a figure
        return Answer(refusal=f"{type(error).__name__}: {error}", refusal_kind="failed")


@contextlib.contextmanager
def _standard_output_to_error() -> Any:
    """Send what C code prints to standard error too; yields a descriptor of the real standard output."""
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    yield real
