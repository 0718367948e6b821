"""The way down from the float model: which cheaper variants can be shown to keep its quality.

A search that tries the cheapest first pays for every failure: whoever tries often enough passes by luck, so
each further try has less of the error probability (`Levels.attempt`), and when it comes to a good variant a
small test table can show nothing any more. Going down from the variants that most resemble the float model
costs nothing as long as they pass: a violating variant is released only if it passes itself, and the r-th
violating one is tried after r - 1 failures at least, so the same series bounds the error of the whole way.
The order must not come from the test rows. Source: fixed-sequence tests, Westfall and Krishen 2001, Journal
of Statistical Planning and Inference 99:25; going on after a failure with what is left as in the fallback
of Wiens 2003, Pharmaceutical Statistics 2:211.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..evidence import Judgement
from .make import Made

#: A step down is taken only to what is cheaper by a tenth; what lies between is looked at in the end.
_STEP = 0.9
#: After so many failures the share of the error probability that is left shows nothing.
MOST_FAILURES = 5

#: The judgements on a variant's quality that keep it from being released, in the given try.
JudgeQuality = Callable[[Made, int], Sequence[Judgement]]


@dataclass(frozen=True)
class Descent:
    """What the way down has shown.

    Args:
        kept: by what answers alike, the try at which its quality was shown to be kept.
        failures: what failed, with the judgements that say so, in the order of the tries.
    """

    kept: Mapping[str, int]
    failures: Sequence[tuple[Made, Sequence[Judgement]]]


def descend(
    made: Sequence[Made],
    prices: Mapping[str, float],
    distances: Mapping[str, float],
    judge_quality: JudgeQuality,
) -> Descent:
    """Return which variants keep the quality, going from the most alike to the cheapest.

    Args:
        made: the variants that are worth a try.
        prices: what each costs, by recipe.
        distances: how far the answers of each are from the float model's.
        judge_quality: measures the quality bounds on one variant.
    """
    way = sorted(made, key=lambda one: (distances[one.recipe], -prices[one.recipe]))
    kept: dict[str, int] = {}
    failures: list[tuple[Made, Sequence[Judgement]]] = []
    known: set[str] = set()
    lowest = float("inf")
    for step in (_STEP, 1.0):
        for one in way:
            if len(failures) >= MOST_FAILURES:
                return Descent(kept=kept, failures=failures)
            if one.answers_as in kept:
                lowest = min(lowest, prices[one.recipe])
            if one.answers_as in known or prices[one.recipe] >= step * lowest:
                continue
            known.add(one.answers_as)
            attempt = len(failures) + 1
            bad = judge_quality(one, attempt)
            if bad:
                failures.append((one, bad))
            else:
                kept[one.answers_as] = attempt
                lowest = prices[one.recipe]
    return Descent(kept=kept, failures=failures)
