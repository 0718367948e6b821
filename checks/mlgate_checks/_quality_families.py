"""One family of measurements for every bound of the data-quality check, and what a simple model says once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pytest_mlgate.errors import CheckError, MissingExtra
from pytest_mlgate.evidence import Measurement
from pytest_mlgate.levels import Levels

from ._faults import Count
from ._quality_labels import Opinion
from ._quality_measures import Answer, Effect, of_counts, of_effects

Found = Iterable[Count] | Iterable[Effect]


@dataclass(frozen=True, slots=True)
class Family:
    """One bound: what answers to it, and what is not installed if it cannot be answered."""

    answer: Answer
    bound: float | None
    find: Callable[[], Found]
    #: Bounds from here on let everything pass.
    most: float | None = 1.0
    needs: str = ""

    def measured(self, levels: Levels) -> list[Measurement]:
        """Return the measurements, or a single one without a value that says why there is none.

        Raises:
            CheckError: the bound is out of its range.
        """
        name, bound = self.answer.parameter, self.bound or 0.0
        if bound < 0 or (self.most is not None and bound >= self.most):
            raise CheckError(f"{name}={bound:g} is not a share from 0 to below 1 (5% is written 0.05)")
        try:
            found = list(self.find())
        except ImportError:
            found = [nothing(str(MissingExtra(self.needs or "a library that reads tables", "data")))]
        if not found:
            found = [nothing("no column or row that this is about")]
        counts = [f for f in found if isinstance(f, Count)]
        effects = [f for f in found if isinstance(f, Effect)]
        of_these = of_counts(counts, self.answer, bound, levels)
        return of_these + of_effects(effects, self.answer, levels)


class Once:
    """The opinions of the simple model, made when first asked for: three bounds rest on them."""

    def __init__(self, make: Callable[[], list[Opinion] | str]) -> None:
        self._make = functools.cache(make)

    def of(self, measure: Callable[[list[Opinion]], Found]) -> Found:
        """Return what is measured on the opinions, or why there are none."""
        made = self._make()
        return [nothing(made)] if isinstance(made, str) else measure(made)


def of_share(name: str, bound: float | None, find: Callable[[], Found], needs: str = "") -> Family:
    """Return the family of a bound on a share of rows or cells, which are counted."""
    answer = Answer(parameter=f"max_{name}", method="count of all rows")
    return Family(answer, bound, find, needs=needs)


def of_effect(
    name: str, bound: float | None, find: Callable[[], Found], method: str, most: float | None = 1.0
) -> Family:
    """Return the family of a bound on anything else that should be small."""
    return Family(Answer(parameter=f"max_{name}", method=method), bound, find, most)


def nothing(why: str) -> Count:
    """Return what stands where nothing could be counted: it blocks, and says why."""
    return Count(scope="", count=None, n=0, detail=why)
