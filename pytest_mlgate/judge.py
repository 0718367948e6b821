"""The one place where measurements become verdicts and verdicts become a decision: pure functions only.

Only intervals decide. A requirement passes when the whole confidence interval lies on the right side of
the bound, fails when the whole interval lies on the wrong side, and is inconclusive otherwise. Whatever is
missing, not finite, or of a grade that the requirement does not accept is `not_run` or `error`, never a
pass.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from .evidence import (
    SEVERITY,
    CheckEvidence,
    Decision,
    Judgement,
    Measurement,
    Reason,
    Requirement,
    Session,
    Verdict,
    Waiver,
)

#: Where an interval would have to shrink more than this, the estimate sits on the bound and no n decides.
_LARGEST_USEFUL_N = 10_000_000
#: A value may lie outside its own interval by what rounding explains, and by no more.
_ROUNDING = 1e-9


def judge(requirements: Sequence[Requirement], measurements: Sequence[Measurement]) -> tuple[Judgement, ...]:
    """Return one judgement for every measurement that answers to a requirement.

    A requirement that no measurement answers to is `not_run`: silence is not evidence.
    """
    judgements: list[Judgement] = []
    for requirement in requirements:
        answering = [(i, m) for i, m in enumerate(measurements) if m.bound == requirement.parameter]
        if not answering:
            judgements.append(_not_run(requirement, "the check reported no measurement for this bound"))
        judgements.extend(_judge_one(requirement, i, m) for i, m in answering)
    return tuple(judgements)


def not_run(requirements: Sequence[Requirement], reason: str) -> tuple[Judgement, ...]:
    """Return a `not_run` judgement for every requirement, with the reason why nothing was measured."""
    return tuple(_not_run(requirement, reason) for requirement in requirements)


def errored(requirements: Sequence[Requirement], reason: str) -> tuple[Judgement, ...]:
    """Return an `error` judgement for every requirement of a check that broke."""
    return tuple(
        Judgement(requirement=r.id, scope="", verdict=Verdict.ERROR, message=f"{r.check}: {reason}")
        for r in requirements
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
) -> Decision:
    """Return `release` only if every declared requirement holds and everything required has run.

    Blocking: any verdict but `pass`, `waived` or a tolerated `inconclusive`; a required check without a
    requirement; a test carrying requirements that did not end in `passed`; an expired or orphaned waiver;
    a problem of the session itself; and evidence that is empty.
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
        check = re.split(r"[\[.#]", reason.subject, maxsplit=1)[0]
        rank = required.index(check) if check in required else len(required)
        return SEVERITY.index(reason.verdict), rank, reason.subject

    return Decision(
        outcome="blocked" if reasons else "release",
        reasons=tuple(sorted(_without_repeats(reasons), key=order)),
        warnings=tuple(sorted(_without_repeats(warnings), key=order)),
    )


def _judge_one(requirement: Requirement, position: int, m: Measurement) -> Judgement:
    verdict, why = _verdict(requirement, m)
    needed = rows_needed(requirement, m) if verdict is Verdict.INCONCLUSIVE else None
    if needed is not None:
        why += f"; n of about {needed:,} would decide"
    accepted = requirement.tolerates.get(m.scope, requirement.tolerates.get("any"))
    tolerated = verdict is Verdict.INCONCLUSIVE and accepted is not None
    if tolerated:
        why += f" (the policy accepts this as a warning: {accepted})"
    return Judgement(
        requirement=requirement.id,
        scope=m.scope,
        verdict=verdict,
        message=f"{requirement.check}: {why}",
        measurement=position,
        n_needed=needed,
        tolerated=tolerated,
    )


def _verdict(requirement: Requirement, m: Measurement) -> tuple[Verdict, str]:
    what = f"{m.metric}{f' [{m.scope}]' if m.scope else ''}"
    sign = "max" if requirement.comparator == "<=" else "min"
    bound = f"{requirement.parameter}={requirement.bound:g}"
    if m.unbounded:
        if requirement.comparator == "<=":
            return Verdict.FAIL, f"{what} is infinite and exceeds {bound}: {m.detail}"
        return Verdict.ERROR, f"{what} is infinite: {m.detail}"
    if m.grade not in requirement.accepts:
        accepted = ", ".join(requirement.accepts)
        reason = f"; {m.detail}" if m.detail else ""
        return Verdict.NOT_RUN, f"{what} is {m.grade}, and {bound} accepts only {accepted}{reason}"
    if m.value is None or m.interval is None:
        return Verdict.NOT_RUN, f"{what} was not measured: {m.detail or 'the check gave no reason'}"
    if m.n <= 0:
        return Verdict.NOT_RUN, f"{what} rests on no rows"
    given = [m.value, *(end for end in (m.interval.low, m.interval.high) if end is not None)]
    low = -math.inf if m.interval.low is None else m.interval.low
    high = math.inf if m.interval.high is None else m.interval.high
    slack = _ROUNDING * max(1.0, abs(m.value))
    if not all(map(math.isfinite, given)) or not low - slack <= m.value <= high + slack or low > high:
        return Verdict.ERROR, f"{what} is {m.value} with interval {low} to {high}: not a usable number"
    measured = f"{what} {describe(m)}"
    outside, inside = ("exceeds", "is within") if sign == "max" else ("is below", "is at least")
    too_low, too_high = low > requirement.bound, high < requirement.bound
    right, wrong = (
        (high <= requirement.bound, too_low) if sign == "max" else (low >= requirement.bound, too_high)
    )
    if wrong:
        return Verdict.FAIL, f"{measured} {outside} {bound}{_behind(m)}"
    if right:
        return Verdict.PASS, f"{measured} {inside} {bound}{_behind(m)}"
    return Verdict.INCONCLUSIVE, f"{measured} cannot be told from {bound}{_behind(m)}"


def describe(m: Measurement) -> str:
    """Return the value with its unit, interval and n, as every message and table shows it."""
    if m.value is None:
        return "not measured"
    unit = f" {m.unit}" if m.unit else ""
    text = f"{significant(m.value)}{unit}"
    if m.interval is None:
        return f"{text} (n={m.n:,})"
    if m.interval.low is not None and m.interval.low == m.interval.high:
        return f"{text} (exact)"
    low = "-inf" if m.interval.low is None else significant(m.interval.low)
    high = "inf" if m.interval.high is None else significant(m.interval.high)
    return f"{text} ({m.interval.confidence * 100:.3g}% CI {low} to {high}, n={m.n:,})"


def significant(value: float) -> str:
    """Return the number with three significant digits, whole from 1000 to a million million."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:.3g}"


def rows_needed(requirement: Requirement, m: Measurement) -> int | None:
    """Return about how many rows would decide, the estimate staying where it is; `None` where none would.

    The half-width of an interval shrinks with the square root of n, so n grows with the square of the
    ratio of the present half-width to the distance from the bound.
    """
    if m.value is None or m.interval is None or m.value == requirement.bound:
        return None
    end = m.interval.high if m.value < requirement.bound else m.interval.low
    if end is None:
        return None
    try:
        needed = m.n * ((end - m.value) / (requirement.bound - m.value)) ** 2
    except (OverflowError, ZeroDivisionError):
        return None
    if not math.isfinite(needed) or needed > _LARGEST_USEFUL_N or needed <= m.n:
        return None
    return _two_digits(math.ceil(needed))


def _two_digits(n: int) -> int:
    step = int(10 ** max(0, len(str(n)) - 2))
    return -(-n // step) * step


def _behind(m: Measurement) -> str:
    return f"; {m.detail}" if m.detail else ""


def _not_run(requirement: Requirement, reason: str) -> Judgement:
    return Judgement(
        requirement=requirement.id,
        scope="",
        verdict=Verdict.NOT_RUN,
        message=f"{requirement.check}: {requirement.parameter}={requirement.bound:g} was not judged: "
        f"{reason}",
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


def acceptable(judgement: Judgement) -> bool:
    """Return whether a release may rest on this judgement."""
    return judgement.verdict in {Verdict.PASS, Verdict.WAIVED} or (
        judgement.verdict is Verdict.INCONCLUSIVE and judgement.tolerated
    )


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
