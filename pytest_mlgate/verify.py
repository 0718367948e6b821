"""Checks a report folder against itself: schema, lock, artifact, verdicts and every rendered byte."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from . import codec, discovery
from .candidate.model import CALLABLE
from .decision import decide, waive
from .evidence import SCHEMA, CheckEvidence, Run
from .holdout import share_of
from .judge import judge
from .lock import Lock


def problems(folder: Path) -> list[str]:
    """Return what does not hold about a report folder, each naming its file; empty if all of it holds.

    Everything is recomputed from `evidence.json`: the verdicts from the measurements, the decision from the
    verdicts, and the views from the evidence. The folder is not signed, so this shows that it is complete
    and agrees with itself, not who wrote it.
    """
    path = folder / "evidence.json"
    try:
        data = path.read_bytes()
        run = codec.from_json(data, Run)
    except OSError as error:
        return [f"evidence.json: cannot be read: {error.strerror}"]
    except ValueError as error:
        return [f"evidence.json: does not fit its schema: {error}"]
    return [
        *_evidence(run, data),
        *_holdout(run),
        *_lock(folder, run),
        *_artifact(folder, run),
        *_views(folder, run),
        *_strangers(folder, run),
    ]


def _evidence(run: Run, data: bytes) -> Iterator[str]:
    if run.schema != SCHEMA:
        yield f"evidence.json: schema is {run.schema!r}, expected {SCHEMA!r}"
    if codec.to_json(run) != data:
        yield "evidence.json: is not in canonical form, or holds fields that the schema does not know"
    for item in run.evidence:
        if not _same_verdicts(item, run):
            yield f"evidence.json: the verdicts of {item.id} do not follow from its measurements"
        judged = {j.requirement for j in item.judgements}
        for requirement in item.requirements:
            if requirement.id not in judged:
                yield f"evidence.json: {requirement.id} was not judged"
    decision = decide(
        required=run.policy.required,
        evidence=run.evidence,
        waivers=run.waivers,
        session=run.session,
        holdout=run.holdout,
    )
    if decision != run.decision:
        yield f"evidence.json: the decision {run.decision.outcome!r} does not follow from the verdicts"


def _same_verdicts(item: CheckEvidence, run: Run) -> bool:
    if not item.measurements:
        waivers = {w.requirement for w in run.waivers if w.state == "in_force"}
        return all(
            j.verdict in {"not_run", "error"} or (j.verdict == "waived" and j.requirement in waivers)
            for j in item.judgements
        )
    fresh = judge(item.requirements, item.measurements)
    digest = run.release.digest if run.release else None
    return item.judgements == waive(dataclasses.replace(item, judgements=fresh), run.waivers, digest)


def _holdout(run: Run) -> Iterator[str]:
    if run.candidate is None:
        return
    if run.holdout is None:
        yield "evidence.json: a candidate was judged, and the use of the test table was not counted"
        return
    use = run.holdout
    if use.test not in {table.digest for table in run.data if table.role == "test"}:
        yield "evidence.json: the test table whose uses were counted is not the one that was used"
    counts = (use.number, use.candidates, use.runs)
    if not 1 <= use.number <= use.candidates or use.runs < 1 or (use.ledger_is_new and counts != (1, 1, 1)):
        yield "evidence.json: the uses of the test table do not add up"
    if use.release_share not in (1.0, share_of(use.number)):
        yield "evidence.json: the candidate's share of alpha does not follow from the uses of the test table"


def _lock(folder: Path, run: Run) -> Iterator[str]:
    if run.candidate is None:
        if run.decision.outcome == "release":
            yield "evidence.json: a release without a candidate"
        return
    path = folder / "mlgate.lock"
    if not path.is_file():
        yield "mlgate.lock: is missing"
        return
    data = path.read_bytes()
    if codec.digest(data) != run.lock:
        yield "mlgate.lock: is not the one that the evidence names"
        return
    try:
        lock = codec.from_json(data, Lock)
    except ValueError as error:
        yield f"mlgate.lock: does not fit its schema: {error}"
        return
    requirements = tuple(r for item in run.evidence for r in item.requirements)
    share = run.holdout.release_share if run.holdout else 1.0
    locked = (lock.policy, lock.alpha, lock.release_share, lock.candidate, lock.data, lock.requirements)
    if locked != (run.policy.digest, run.policy.alpha, share, run.candidate, run.data, requirements):
        yield "mlgate.lock: policy, alpha, requirements, candidate or data differ from those in evidence.json"


def _artifact(folder: Path, run: Run) -> Iterator[str]:
    if any(v.status == "release" and v.identity != run.release for v in run.variants):
        yield "evidence.json: the variant that ships is not the release artifact"
    if not run.release_file:
        if run.release is not None and run.release.kind != CALLABLE:
            yield "evidence.json: names no file for the release artifact"
        return
    path = folder / run.release_file
    if not path.is_file() or path.name != run.release_file:
        yield f"{run.release_file}: is missing"
    elif run.release is None or codec.digest(path.read_bytes()) != run.release.digest:
        yield f"{run.release_file}: is not the release artifact that was measured"


def _views(folder: Path, run: Run) -> Iterator[str]:
    for name, view in discovery.views().items():
        path = folder / name
        if not path.is_file():
            yield f"{name}: is missing"
        elif path.read_bytes() != view.render(run).encode():
            yield f"{name}: does not show what evidence.json says"


def _strangers(folder: Path, run: Run) -> Iterator[str]:
    known = {"evidence.json", "mlgate.lock", run.release_file, *discovery.views()}
    for path in sorted(folder.iterdir()):
        if path.name not in known:
            yield f"{path.name}: does not belong to the report"
