"""Runs on the board, unpacked beside the backends: starts one of them and answers with a marked line.

Standard library only, and nothing that is newer than the oldest Python that `remote` accepts.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from .conditions import conditions, machine
from .protocol import Answer, digest_of

#: Folders of jobs begin with this.
JOB_PREFIX = "mlgate-job-"
_BOOT = "import sys, runpy; sys.path[0] = sys.argv[1]; runpy.run_module(sys.argv[2], run_name='__main__')"
_STALE_S = 24 * 3600


def serve(nonce: str, folder: str) -> NoReturn:
    """Carry out the order in the folder and write `mlgate:NONCE:` and the answer to standard output.

    The nonce tells the answer from whatever the board's shell writes. Standard input ends when the
    connection does: then the work is stopped and the folder removed, as nobody else would.
    """
    here = Path(folder)
    order = json.loads((here / "order.json").read_text(encoding="utf-8"))
    _remove_stale(here)
    answer = _changed_on_the_way(here, order["files"]) or _run(here, order)
    job = order["job"]
    answer["machine"] = {**machine(), **answer["machine"]}
    answer["conditions"] = {**conditions(job["threads"]), **answer["conditions"]}
    made = {name: digest_of(here / name) for name in answer["files"].values() if (here / name).is_file()}
    sys.stdout.write(f"\nmlgate:{nonce}:{json.dumps({'answer': answer, 'made': made})}\n")
    sys.stdout.flush()
    # The thread that waits on standard input would keep the process alive.
    os._exit(0)


def _run(folder: Path, order: dict[str, Any]) -> dict[str, Any]:
    """Run the backend in a process of its own, so that a crash there is an answer here."""
    job = order["job"]
    threads = str(job["threads"])
    quiet = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "PYTHONWARNINGS": "ignore"}
    runner = Path(__file__).parent.parent
    command = [sys.executable, "-c", _BOOT, str(runner), f"{__package__}.{order['module']}"]
    with (
        open(folder / "answer.json", "w+b") as out,
        open(folder / "errors.txt", "w+b") as errors,
    ):
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=errors,
            cwd=folder,
            env={**os.environ, **quiet},
            start_new_session=True,
        )
        threading.Thread(target=_stop_when_left, args=(child, folder), daemon=True).start()
        try:
            child.communicate(json.dumps(job).encode(), timeout=float(order["limit_s"]))
        except subprocess.TimeoutExpired:
            _kill(child)
            return _refused(f"{order['module']} did not finish within {order['limit_s']:g} s")
        out.seek(0)
        errors.seek(0)
        return _read(child.returncode, out.read(), errors.read(), order["module"])


def _read(code: int, out: bytes, errors: bytes, module: str) -> dict[str, Any]:
    if code:
        lines = errors.decode(errors="replace").strip().splitlines() or ["no message"]
        return _refused(f"the process of {module} ended with code {code}: {lines[-1][:300]}")
    try:
        return dataclasses.asdict(Answer(**json.loads(out)))
    except (ValueError, TypeError):
        return _refused(f"{module} answered with something that is no answer: {out[:200]!r}")


def _changed_on_the_way(folder: Path, files: dict[str, str]) -> dict[str, Any] | None:
    for name, expected in files.items():
        found = digest_of(folder / name)
        if found != expected:
            return _refused(f"{name} arrived changed: it has sha256 {found}, not {expected}")
    return None


def _stop_when_left(child: subprocess.Popen[bytes], folder: Path) -> None:
    while os.read(0, 4096):
        pass
    _kill(child)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _kill(child: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    child.wait()


def _remove_stale(folder: Path) -> None:
    """Remove what jobs left behind whose connection broke before they began."""
    for old in folder.parent.glob(f"{JOB_PREFIX}*"):
        try:
            state = old.lstat()
        except OSError:  # another job has just removed its own
            continue
        if state.st_uid == os.getuid() and time.time() - state.st_mtime > _STALE_S:
            shutil.rmtree(old, ignore_errors=True)


def _refused(text: str) -> dict[str, Any]:
    return dataclasses.asdict(Answer(refusal=text, refusal_kind="failed"))
