"""Where verdicts become a decision: waivers are applied, and what blocks is listed, worst first."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .evidence import (
    SEVERITY,
    CheckEvidence,
    Decision,
    HoldoutUse,
    Judgement,
    Reason,
    Session,
    Verdict,
    Waiver,
)


def waive(
    evidence: CheckEvidence, waivers: Sequence[Waiver], artifact_digest: str | None
) -> tuple[Judgement, ...]:
    """Return the judgements with those that a waiver in force covers turned into `waived`.

    An `error` is never waived: a check that broke says nothing about the model. A waiver whose scope is an
    artifact digest covers that artifact only.
    """
    return tuple(_waived(judgement, waivers, artifact_digest) for judgement in evidence.judgements)


def decide(
    *,
    required: Sequence[str],
    evidence: Sequence[CheckEvidence],
    waivers: Sequence[Waiver],
    session: Session,
    holdout: HoldoutUse | None,
) -> Decision:
    """Return `release` only if every declared requirement holds and everything required has run.

    Blocking: any verdict but `pass`, `waived` or a tolerated `inconclusive`; a required check without a
    requirement; a test carrying requirements that did not end in `passed`; an expired or orphaned waiver;
    a test table that more candidates were judged on than the policy allows; a problem of the session
    itself; and evidence that is empty.
    """
    reasons = [reason for item in evidence for reason in _reasons(item, blocking=True)]
    reasons += [
        Reason(verdict=Verdict.NOT_RUN, subject=item.id, text=f"{item.id}: declares no bound to be judged by")
        for item in evidence
        if not item.judgements
    ]
    declared = {item.check for item in evidence}
    reasons += [
        Reason(
            verdict=Verdict.NOT_RUN,
            subject=name,
            text=f"{name}: required by the policy, but no test and no policy section declares it",
        )
        for name in required
        if name not in declared
    ]
    reasons += [_waiver_reason(w) for w in waivers if w.state in {"expired", "orphaned"}]
    if holdout is not None and holdout.is_exhausted:
        reasons.append(_exhausted(holdout))
    explained = {
        test for item in evidence for test in item.tests if not all(map(acceptable, item.judgements))
    }
    reasons += [
        _test_reason(test, state)
        for test, state in session.tests.items()
        if state != "passed" and test not in explained
    ]
    reasons += [Reason(verdict=Verdict.ERROR, subject="session", text=text) for text in session.problems]
    if not evidence:
        reasons.append(
            Reason(verdict=Verdict.NOT_RUN, subject="gate", text="no requirement was declared: nothing ran")
        )
    warnings = [reason for item in evidence for reason in _reasons(item, blocking=False)]

    def order(reason: Reason) -> tuple[int, int, str]:
        """Worst verdict first; then as the policy lists its checks, which is how much they matter."""
        check = re.split(r"[\[.{]", reason.subject, maxsplit=1)[0]
        rank = required.index(check) if check in required else len(required)
        return SEVERITY.index(reason.verdict), rank, reason.subject

    return Decision(
        outcome="blocked" if reasons else "release",
        reasons=tuple(sorted(_without_repeats(reasons), key=order)),
        warnings=tuple(sorted(_without_repeats(warnings), key=order)),
    )


def acceptable(judgement: Judgement) -> bool:
    """Return whether a release may rest on this judgement."""
    return judgement.verdict in {Verdict.PASS, Verdict.WAIVED} or (
        judgement.verdict is Verdict.INCONCLUSIVE and judgement.tolerated
    )


def _waived(judgement: Judgement, waivers: Sequence[Waiver], artifact_digest: str | None) -> Judgement:
    if judgement.verdict in {Verdict.PASS, Verdict.ERROR} or judgement.tolerated:
        return judgement
    for waiver in waivers:
        covers = waiver.requirement == judgement.requirement
        in_scope = waiver.scope in {"any", judgement.scope} or (
            artifact_digest is not None and waiver.scope == artifact_digest
        )
        if waiver.state == "in_force" and covers and in_scope:
            return Judgement(
                requirement=judgement.requirement,
                scope=judgement.scope,
                verdict=Verdict.WAIVED,
                message=f"{judgement.message} [waived until {waiver.expires} by {waiver.approver}: "
                f"{waiver.reason}]",
                measurement=judgement.measurement,
                n_needed=judgement.n_needed,
                waiver=waiver.requirement,
            )
    return judgement


def _waiver_reason(waiver: Waiver) -> Reason:
    why = (
        f"expired on {waiver.expires}"
        if waiver.state == "expired"
        else "names a requirement that nobody declares"
    )
    return Reason(
        verdict=Verdict.ERROR,
        subject=waiver.requirement,
        text=f"waiver for {waiver.requirement} (owner {waiver.owner}) {why}: remove or renew it",
    )


def _exhausted(holdout: HoldoutUse) -> Reason:
    return Reason(
        verdict=Verdict.FAIL,
        subject="holdout",
        text=f"holdout: this is candidate number {holdout.number} on test table {holdout.test[:19]}, and the "
        f"policy allows {holdout.max_uses} ([holdout] max_uses): after so many tries a pass may be luck. "
        "Collect new test rows, and judge this candidate on them",
    )


def _test_reason(test: str, state: str) -> Reason:
    verdict = Verdict.FAIL if state in {"failed", "xfailed"} else Verdict.NOT_RUN
    if state in {"crashed", "error"}:
        verdict = Verdict.ERROR
    return Reason(verdict=verdict, subject=test, text=f"{test} carries requirements and was {state}")


def _reasons(item: CheckEvidence, *, blocking: bool) -> list[Reason]:
    """Return one reason for all judgements of one requirement with one verdict."""
    alike: dict[tuple[str, Verdict], list[str]] = {}
    for j in item.judgements:
        if acceptable(j) != blocking and (blocking or j.verdict is not Verdict.PASS):
            alike.setdefault((j.requirement, j.verdict), []).append(j.message)
    return [
        Reason(
            verdict=verdict,
            subject=requirement,
            text=messages[0] + (f" (and {len(messages) - 1} more like it)" if len(messages) > 1 else ""),
        )
        for (requirement, verdict), messages in alike.items()
    ]


def _without_repeats(reasons: list[Reason]) -> list[Reason]:
    return list(dict.fromkeys(reasons))
