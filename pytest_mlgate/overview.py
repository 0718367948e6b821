"""Which judgements an overview shows: all that do not pass, and of each requirement's passes the closest."""

from __future__ import annotations

import math

from .evidence import CheckEvidence, Judgement, Requirement, Verdict


def overview(evidence: CheckEvidence) -> list[tuple[Judgement, int]]:
    """Return the judgements to show, each with how many more passes of its requirement it stands for."""
    shown: list[tuple[Judgement, int]] = []
    for judgement in evidence.judgements:
        if judgement.verdict is not Verdict.PASS:
            shown.append((judgement, 0))
    for requirement in evidence.requirements:
        passes = [
            j for j in evidence.judgements if j.requirement == requirement.id and j.verdict is Verdict.PASS
        ]
        if passes:
            closest = min(passes, key=lambda j: _distance(evidence, requirement, j))
            shown.append((closest, len(passes) - 1))
    return shown


def _distance(evidence: CheckEvidence, requirement: Requirement, judgement: Judgement) -> float:
    """Return how far the deciding end of the interval is from the bound; infinite where it is not known."""
    position = judgement.measurement
    if position is None or not 0 <= position < len(evidence.measurements):
        return math.inf
    interval = evidence.measurements[position].interval
    end = None if interval is None else interval.high if requirement.comparator == "<=" else interval.low
    return math.inf if end is None else abs(end - requirement.bound)
