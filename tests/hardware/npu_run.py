"""Runs a backend as the gate does: a process of its own, a job on standard input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest_mlgate.hardware

_FOLDER = Path(pytest_mlgate.hardware.__file__).parent
_BOOT = (
    "import sys, runpy; sys.path.append({folder!r}); sys.modules.update(dict.fromkeys({hidden!r}))\n"
    "{before}\n"
    "runpy.run_module('backends.{name}', run_name='__main__')"
)


def start(name, job, *, hidden=(), before="pass", env=None):
    """Run a backend as the gate does, as a process with a job on standard input; returns the process.

    `hidden` packages cannot be imported in it; `before` is a statement that runs first.
    """
    code = _BOOT.format(folder=str(_FOLDER), hidden=list(hidden), before=before, name=name)
    return subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        check=False,
    )


def answer(name, folder, *, hidden=(), **job):
    """Return the backend's answer to a job in this folder."""
    done = start(name, {"folder": str(folder), **job}, hidden=hidden)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal(name, folder, *, hidden=(), **job):
    """Return kind and text of the backend's refusal, after holding that it gave no figure beside it."""
    said = answer(name, folder, hidden=hidden, **job)
    assert said["refusal"]
    given = ("samples_ns", "pairs_ns", "batches_ns", "figures", "files", "placement")
    assert [name for name in given if said[name]] == []
    return said["refusal_kind"], said["refusal"]
