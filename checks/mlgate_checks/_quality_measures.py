"""What was found in the tables as measurements: shares with exact intervals, counts, and other effects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pytest_mlgate.evidence import Comparator, Grade, Interval, Measurement
from pytest_mlgate.levels import Levels, Tails
from pytest_mlgate.statistics import clopper_pearson

from ._faults import Count

#: Makes the interval of one value.
Ends = Callable[[Tails], tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One value that is no share of rows, with its interval; `None` and the reason where there is none."""

    scope: str
    value: float | None
    n: int
    #: `None`: the value was counted, not sampled.
    ends: Ends | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a family of measurements is called, what it answers to, and how it was come by."""

    parameter: str
    method: str
    comparator: Comparator = "<="
    grade: Grade = Grade.MEASURED

    @property
    def metric(self) -> str:
        """The name of the bound without its side."""
        return self.parameter.removeprefix("max_").removeprefix("min_")


def of_counts(counts: Iterable[Count], answer: Answer, bound: float, levels: Levels) -> list[Measurement]:
    """Return one measurement per count, worst first; columns without the fault share one.

    A share bounded by 0 speaks of these very rows and is exact. Any other is judged by the interval of
    Clopper and Pearson, divided over the counts.
    """
    listed = list(counts)
    tails = levels.split(len(listed)).tails(answer.comparator)
    found = []
    for c in _together(listed):
        value = interval = None
        if c.count is not None and c.n > 0:
            value = c.count / c.n
            if bound == 0:
                interval = Interval(low=value, high=value, confidence=1.0)
            else:
                low, high = clopper_pearson(c.count, c.n, tails)
                interval = Interval(low=low, high=high, confidence=tails.confidence)
        how = "" if bound == 0 else "; Clopper-Pearson interval of the share"
        found.append(_measurement(answer, c.scope, value, c.n, interval, answer.method + how, c.detail))
    return sorted(found, key=lambda m: _worst_first(m, answer.comparator))


def of_effects(effects: Iterable[Effect], answer: Answer, levels: Levels) -> list[Measurement]:
    """Return one measurement per effect, worst first, the level divided over those that have an interval."""
    listed = list(effects)
    family = sum(e.value is not None and e.ends is not None for e in listed)
    tails = levels.split(family).tails(answer.comparator)
    found = []
    for e in listed:
        interval = None
        if e.value is not None:
            low, high = (e.value, e.value) if e.ends is None else e.ends(tails)
            confidence = 1.0 if e.ends is None else tails.confidence
            interval = Interval(low=min(low, e.value), high=max(high, e.value), confidence=confidence)
        found.append(_measurement(answer, e.scope, e.value, e.n, interval, answer.method, e.detail))
    return sorted(found, key=lambda m: _worst_first(m, answer.comparator))


def _measurement(
    answer: Answer, scope: str, value: float | None, n: int, interval: Interval | None, how: str, detail: str
) -> Measurement:
    return Measurement(
        metric=answer.metric,
        value=value,
        unit="",
        n=n,
        interval=interval,
        method=how,
        grade=Grade.MISSING if value is None else answer.grade,
        scope=scope,
        bound=answer.parameter,
        detail=detail,
    )


def _together(counts: Sequence[Count]) -> list[Count]:
    """Return the counts with the columns of one table that have no fault merged into one."""
    clean: dict[str, list[Count]] = {}
    for c in counts:
        if c.table and c.count == 0:
            clean.setdefault(c.table, []).append(c)
    merged = [
        Count(
            scope=f"other columns ({table})",
            count=0,
            n=min(c.n for c in members),
            detail=f"{len(members)} columns without any",
            table=table,
        )
        for table, members in clean.items()
    ]
    return [c for c in counts if not c.table or c.count != 0] + merged


def _worst_first(m: Measurement, comparator: Comparator) -> float:
    if m.value is None:
        return float("-inf")
    return -m.value if comparator == "<=" else m.value
