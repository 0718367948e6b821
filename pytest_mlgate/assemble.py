"""Puts the parts of a run together: evidence, facts, and what became of the tests, into one `Run`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from .decision import acceptable, decide
from .evidence import SCHEMA, CheckEvidence, PolicyIdentity, Run, Session
from .gate import Facts
from .judge import not_run
from .lock import environment
from .measure import without_measurements
from .plan import Request
from .policy import Policy


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When a run began and how long it took."""

    started_at: str
    duration_s: float


def assemble(
    *,
    policy: Policy,
    requests: Sequence[Request],
    evidence: Mapping[str, CheckEvidence],
    facts: Facts | None,
    session: Session,
    tool: str,
    reproduce: str,
    timing: Timing,
    release_file: str,
) -> Run:
    """Return the complete run with its decision.

    A request without evidence gets evidence that says so: `not_run`, with what became of its tests.
    """
    complete = tuple(_complete(request, evidence.get(request.id), session) for request in requests)
    waivers = facts.waivers if facts else ()
    holdout = facts.holdout if facts else None
    decision = decide(
        required=policy.fields.required,
        evidence=complete,
        waivers=waivers,
        session=session,
        holdout=holdout,
    )
    used = {j.waiver for item in complete for j in item.judgements if j.waiver}
    return Run(
        schema=SCHEMA,
        tool=tool,
        name=policy.fields.name or policy.folder.name,
        description=policy.fields.card,
        decision=decision,
        candidate=facts.candidate if facts else None,
        baseline=facts.baseline if facts else None,
        release=facts.release if facts else None,
        release_file=release_file,
        variants=facts.variants if facts else (),
        data=facts.data if facts else (),
        holdout=holdout,
        policy=PolicyIdentity(
            source=policy.source,
            digest=policy.digest,
            required=policy.fields.required,
            alpha=policy.fields.alpha,
        ),
        lock=facts.lock if facts else "",
        waivers=tuple(
            dataclasses.replace(w, state="not_needed")
            if w.state == "in_force" and w.requirement not in used
            else w
            for w in waivers
        ),
        session=session,
        evidence=complete,
        environment=facts.environment if facts else environment(policy.folder),
        reproduce=reproduce,
        started_at=timing.started_at,
        duration_s=timing.duration_s,
    )


def _complete(request: Request, evidence: CheckEvidence | None, session: Session) -> CheckEvidence:
    stopped = {
        t: s for t in request.tests if (s := session.tests.get(t, "not_run")) not in {"passed", "failed"}
    }
    if evidence is not None and not stopped:
        return evidence
    if stopped:
        reason = "; ".join(f"{test} was {state}" for test, state in stopped.items())
    else:
        reason = (
            "no test carries it, and the policy file itself was not run "
            "(pytest mlgate.toml does, if the policy names a candidate)"
        )
    if evidence is not None and not all(map(acceptable, evidence.judgements)):
        return evidence
    return without_measurements(request, not_run(request.requirements, reason))
