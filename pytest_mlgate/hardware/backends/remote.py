"""What targets on other machines share: the runner is copied there, started there, and has to prove itself.

All that the other machine needs is a Python with numpy and the backend's own package. Each step is one
command of that Python; paths and code reach its shell quoted, and files lie under names that are made here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import io
import json
import pkgutil
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from ._remote_python import HELLO, LEAST_PYTHON, REMOVE, SHORT_S, START, Board, Python, Said, Settings
from .protocol import Answer, Backend, Job, Refusal, check_artifact, digest_of

#: What an answer of a board carries at best: what its backend does not measure is not measured by distance.
GRADES = {
    "latency": "measured",
    "throughput": "measured",
    "cold start": "measured",
    "memory": "measured",
    "numerics": "measured",
}
_YIELDS = {
    "time": "latency",
    "compare": "latency",
    "rank": "latency",
    "batches": "throughput",
    "predict": "numerics",
}
#: Fields of a job that name files.
_FILES = ("artifact", "reference", "inputs", "reference_inputs")
_WITHOUT_ARTIFACT = ("probe", "limits")
#: Backends that only lead to another machine: there is no way on from there.
_LEADING_ON = ("adb", "ssh")
#: Logs and outputs need room too.
_SPARE_BYTES = 4_000_000
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def split_id(rest: str) -> tuple[str, str]:
    """Return where the board is and the id of the backend on it, from what stands after the colon.

    Raises:
        ValueError: one of them is absent, or there is no such backend.
    """
    where, _, inner = rest.partition("/")
    if not where or not inner:
        raise ValueError(f"accepted: BOARD/TARGET, where TARGET is one on the board itself: {_able()}")
    _, backend = inner_backend(inner)
    try:
        backend.parse(inner.partition(":")[2])
    except ValueError as error:
        raise ValueError(f"{inner!r} on the board: {error}") from None
    return where, inner


def inner_backend(inner: str) -> tuple[str, Backend]:
    """Return the module and the description of the backend that an id on the board names.

    Raises:
        ValueError: there is none.
    """
    scheme = inner.partition(":")[0]
    found = _backends().get(scheme)
    if found is None:
        raise ValueError(f"there is no {scheme!r} on a board; accepted: {_able()}")
    return found


def carry_out(board: Board, job: Job, inner: str, settings: Settings) -> Answer:
    """Carry a job out on the board and return its answer, checked, and with the files it made.

    Raises:
        Refusal: the board cannot be worked with, or what it ran is not what was asked for.
    """
    module, backend = inner_backend(inner)
    metric = _YIELDS.get(job.task, "")
    grade = (
        backend.grades.get(metric, "estimated")
        if metric in GRADES and job.task in backend.tasks
        else "measured"
    )
    if grade != "measured" and metric != "numerics":
        raise Refusal("unsupported", f"{inner} does not measure {metric}, on a board as little as here")
    names = {} if job.task in _WITHOUT_ARTIFACT else _names(job)
    if names:
        check_artifact(job)
    runner = _runner()
    digest = hashlib.sha256(runner).hexdigest()
    python = Python(board, settings)
    found = _hello(python, digest)
    folder = found["folder"]
    try:
        _check_board(python, found, sum(job.path(n).stat().st_size for n in names) + 5 * len(runner))
        order = {
            "module": module,
            "job": _inner_job(job, inner, folder, names),
            "files": {there: digest_of(job.path(here)) for here, there in names.items()},
            "limit_s": settings.limit_s,
        }
        _send(board, job, names, folder, order, b"" if found["kept"] else runner)
        arguments = [digest, folder, found["cache"]]
        said, told = python.run(START, arguments, settings.limit_s + SHORT_S)
        answer = _answer(python, said, told, job, folder)
    finally:
        removed = _remove(python, folder)
    if grade != "measured":
        # An emulator's numbers stay an emulator's numbers wherever it runs.
        answer = dataclasses.replace(answer, grades={"outputs": grade, **answer.grades})
    if removed:
        return answer
    return dataclasses.replace(answer, notes=[*answer.notes, "the job's folder could not be removed there"])


def _hello(python: Python, digest: str) -> dict[str, Any]:
    """Make the folder for the job and learn what the board has."""
    wanted, name = python.settings.python, python.board.name
    said, found = python.run(HELLO, [digest, python.settings.folder])
    if not isinstance(found, dict):
        if said.code in (126, 127):
            raise Refusal("missing", f"{name} has no Python at {wanted!r} (option python): {said.last}")
        raise Refusal("failed", f"{wanted} on {name} ended with code {said.code}: {said.last}")
    if "folder" not in found:
        least = ".".join(map(str, LEAST_PYTHON))
        raise Refusal("missing", f"{wanted} on {name} is Python {found['python']}; it takes {least} or newer")
    return found


def _check_board(python: Python, found: dict[str, Any], needed: int) -> None:
    name = python.board.name
    if not found["numpy"]:
        install = python.install("pip install numpy")
        raise Refusal("missing", f"{python.settings.python} on {name} has no numpy", install)
    if found["free"] < needed + _SPARE_BYTES:
        free, more = found["free"] / 1e6, (needed + _SPARE_BYTES) / 1e6
        text = f"{name} has {free:.1f} MB free where jobs go, and {more:.1f} MB are needed"
        raise Refusal("failed", f"{text}: make room there, or name another place (option folder)")


def _send(
    board: Board, job: Job, names: dict[str, str], folder: str, order: dict[str, Any], runner: bytes
) -> None:
    with tempfile.TemporaryDirectory(prefix="mlgate-") as made:
        Path(made, "order.json").write_text(json.dumps(order), encoding="utf-8")
        if runner:
            Path(made, "runner.zip").write_bytes(runner)
        for file in sorted(Path(made).iterdir()):
            board.push(file, f"{folder}/{file.name}")
    for name, there in names.items():
        board.push(job.path(name), f"{folder}/{there}")


def _answer(python: Python, said: Said, told: Any, job: Job, folder: str) -> Answer:
    """Return what the board answered, after checking that it speaks of the artifact that was asked for."""
    name = python.board.name
    try:
        answer, made = Answer(**told["answer"]), dict(told["made"])
    except (KeyError, TypeError, ValueError):
        text = f"{name} gave no answer (code {said.code}); the last it said: {said.last}"
        raise Refusal("failed", text) from None
    if answer.refusal:
        install = python.install(answer.install)
        return dataclasses.replace(answer, refusal=f"on {name}: {answer.refusal}", install=install)
    if job.task not in _WITHOUT_ARTIFACT:
        asked = digest_of(job.path(job.artifact))
        if answer.sha256 != asked:
            ran = f"sha256 {answer.sha256}" if answer.sha256 else "something it gives no digest of"
            raise Refusal("failed", f"{name} ran {ran}, not the artifact with sha256 {asked}")
    own = _names(job)
    for file in answer.files.values():
        if not _PLAIN_NAME.fullmatch(file) or file in own:
            raise Refusal("failed", f"{name} offers a file of the name {file!r}, which is not taken")
        python.board.pull(f"{folder}/{file}", job.path(file))
        if digest_of(job.path(file)) != made.get(file):
            raise Refusal("failed", f"{file} arrived changed from {name}")
    return answer


def _remove(python: Python, folder: str) -> bool:
    try:
        return python.run(REMOVE, [folder])[0].code == 0
    except Refusal:  # the connection is gone; the board itself removes the folder then
        return False


def _names(job: Job) -> dict[str, str]:
    """Give every file of the job a name on the board that no shell can misread."""
    given = {getattr(job, field): field for field in _FILES}
    given |= {name: f"other{i}" for i, name in enumerate(job.others)}
    return {n: stem + re.sub(r"[^.A-Za-z0-9]", "", Path(n).suffix) for n, stem in given.items() if n}


def _inner_job(job: Job, inner: str, folder: str, names: dict[str, str]) -> dict[str, Any]:
    outer = {f.name for f in dataclasses.fields(Settings)}
    files: dict[str, Any] = {field: names.get(getattr(job, field), "") for field in _FILES}
    there = dataclasses.replace(
        job,
        target=inner,
        folder=folder,
        **files,
        others=tuple(names[name] for name in job.others if name in names),
        options={name: value for name, value in job.options.items() if name not in outer},
    )
    return dataclasses.asdict(there)


def _runner() -> bytes:
    """Return this folder's Python files as a zip whose bytes depend on nothing but their content."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for file in sorted(Path(__file__).parent.glob("*.py")):
            entry = zipfile.ZipInfo(f"backends/{file.name}", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _backends() -> dict[str, tuple[str, Backend]]:
    """Return the backends that can run on a board, with their modules, by scheme."""
    package = importlib.import_module(str(__package__))
    found: dict[str, tuple[str, Backend]] = {}
    for module in pkgutil.iter_modules(package.__path__):
        if module.name in _LEADING_ON:
            continue
        described = getattr(importlib.import_module(f"{__package__}.{module.name}"), "BACKEND", None)
        if described is not None:
            found[described.scheme] = (module.name, described)
    return found


def _able() -> str:
    return ", ".join(backend.spelling for _, backend in _backends().values())
