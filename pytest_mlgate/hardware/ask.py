"""Runs a backend as a process of its own, with its own interpreter, and reads its answer."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckError
from .backends.protocol import Answer, Job, Task, digest_of
from .target import Target

_HERE = Path(__file__).parent
_BOOT = (
    "import sys, runpy; sys.path.append({folder!r}); "
    "runpy.run_module('backends.{module}', run_name='__main__')"
)
#: A backend that does not answer in this time has failed; compilers and boards are slow.
TIMEOUT_S = 300


@dataclass(frozen=True)
class Bench:
    """A folder with the files of one artifact, in which jobs are run."""

    target: Target
    folder: Path
    artifact: str
    sha256: str

    @property
    def stands_in(self) -> str:
        """What is measured in place of the release artifact, where the policy names another file."""
        own = self.target.entry.artifact
        if own is None:
            return ""
        return (
            f"measured on {Path(own).name} (sha256:{self.sha256}), which the policy names in place of the "
            "release artifact; that it is the same model was not measured"
        )

    def ask(self, task: Task, **fields: Any) -> Answer:
        """Return the backend's answer to one job; a crash or a timeout is a refusal."""
        job = Job(
            target=self.target.id,
            task=task,
            folder=str(self.folder),
            artifact=self.artifact,
            sha256=self.sha256,
            inputs="inputs.npz",
            options=dict(self.target.entry.options),
        )
        return run_backend(self.target, dataclasses.replace(job, **fields))

    def add(self, name: str, content: bytes) -> str:
        """Write another artifact into the folder and return its name."""
        Path(self.folder, name).write_bytes(content)
        return name

    def add_inputs(self, name: str, inputs: Mapping[str, NDArray[Any]]) -> str:
        """Write further inputs into the folder and return their file's name."""
        stored = {n: v.astype(str) if v.dtype == object else v for n, v in inputs.items()}
        with open(Path(self.folder, name), "wb") as out:
            np.savez(out, **stored)
        return name


@contextlib.contextmanager
def bench(target: Target, artifact: bytes, inputs: Mapping[str, NDArray[Any]]) -> Iterator[Bench]:
    """Yield a private folder with the artifact and its inputs; it is removed afterwards.

    Where the policy names another file for the target, that file is the artifact.

    Raises:
        CheckError: the policy's file cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="mlgate-") as name:
        folder = Path(name)
        content, file = _artifact(target, artifact)
        Path(folder, file).write_bytes(content)
        desk = Bench(target=target, folder=folder, artifact=file, sha256=digest_of(Path(folder, file)))
        desk.add_inputs("inputs.npz", inputs)
        yield desk


def _artifact(target: Target, release: bytes) -> tuple[bytes, str]:
    """Return what the target is given and the name of its file: the release artifact, or its stand-in."""
    own = target.entry.artifact
    if own is None:
        return release, "model.onnx"
    try:
        return Path(own).read_bytes(), f"artifact{Path(own).suffix}"
    except OSError as error:
        raise CheckError(
            f"target {target.spoken}: its artifact {own!r} cannot be read ({error.strerror}); "
            f"[targets.{target.name}] artifact names it"
        ) from None


def run_backend(target: Target, job: Job, timeout_s: float = TIMEOUT_S) -> Answer:
    """Return the answer of the target's backend to a job, run with the target's interpreter."""
    assert target.backend is not None
    module = target.backend.run.__module__.rpartition(".")[2]
    python = target.entry.python or sys.executable
    command = [python, "-c", _BOOT.format(folder=str(_HERE), module=module)]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(dataclasses.asdict(job)),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            cwd=job.folder or None,
            env=_environment(foreign=target.entry.python is not None),
            check=False,
        )
    except FileNotFoundError:
        return _refused("missing", f"the interpreter {python!r} of target {target.name} does not exist")
    except subprocess.TimeoutExpired:
        return _refused("failed", f"{target.spoken} did not answer within {timeout_s:g} s")
    if done.returncode:
        return _refused(
            "failed", f"the process of {target.spoken} {_ending(done.returncode)}: {_last(done.stderr)}"
        )
    try:
        return Answer(**json.loads(done.stdout))
    except (ValueError, TypeError):
        return _refused(
            "failed", f"{target.spoken} answered with something that is no answer: {done.stdout[:200]!r}"
        )


def _environment(*, foreign: bool) -> dict[str, str]:
    kept = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    if foreign:
        # Paths of this interpreter's packages would break another one's.
        kept.pop("PYTHONPATH", None)
    return kept


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"was killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"


def _last(stderr: str) -> str:
    lines = [line for line in stderr.strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"


def _refused(kind: str, text: str) -> Answer:
    return Answer(refusal=text, refusal_kind=kind)
