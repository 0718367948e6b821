"""The one place where measurements become verdicts: pure functions only.

Only intervals decide. A requirement passes when the whole confidence interval lies on the right side of
the bound, fails when the whole interval lies on the wrong side, and is inconclusive otherwise. Whatever is
missing, not finite, or of a grade that the requirement does not accept is `not_run` or `error`, never a
pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .evidence import (
    Grade,
    Judgement,
    Measurement,
    Requirement,
    Verdict,
)

#: Where an interval would have to shrink more than this, the estimate sits on the bound and no n decides.
_LARGEST_USEFUL_N = 10_000_000
#: A message that names every one of thousands of groups says nothing.
_MOST_GROUPS_NAMED = 3
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


def _judge_one(requirement: Requirement, position: int, m: Measurement) -> Judgement:
    verdict, why = _verdict(requirement, m)
    needed = rows_needed(requirement, m) if verdict is Verdict.INCONCLUSIVE else None
    if verdict is Verdict.INCONCLUSIVE:
        why += _what_would_decide(m, needed)
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
    if m.off_target:
        return Verdict.FAIL, f"{what} cannot meet {bound}: {m.off_target}"
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
    graded = "" if m.grade is Grade.MEASURED else f" [{m.grade}, not measured]"
    measured = f"{what} {describe(m)}{graded}"
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
    if m.value is None or m.interval is None or m.value == requirement.bound or not m.n_decides:
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


def _what_would_decide(m: Measurement, needed: int | None) -> str:
    """Return how many rows would decide: more of the groups that the check names, or of all."""
    in_all = f"n of about {needed:,}" if needed is not None else ""
    asked = {group: more for group, more in m.more_rows.items() if 0 < more <= _LARGEST_USEFUL_N}
    if not asked or not m.n_decides:
        return f"; {in_all} would decide" if in_all else ""
    named = sorted(asked.items(), key=lambda item: (-item[1], item[0]))
    texts = [
        f"{_two_digits(more):,}{'' if position else ' more rows'} with {group}"
        for position, (group, more) in enumerate(named[:_MOST_GROUPS_NAMED])
    ]
    others = len(named) - len(texts)
    texts += [f"and more of {others} other group{'' if others == 1 else 's'}"] * bool(others)
    return f"; needs about {', '.join(texts)}{f', or {in_all} in all' if in_all else ''}"


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
