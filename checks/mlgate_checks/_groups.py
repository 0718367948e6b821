"""The groups of people in the test table, as counts from which every fairness metric follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.candidate import Model
from pytest_mlgate.candidate.model import decisions
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Cell, Table
from pytest_mlgate.subject import Subject

#: What the denominator of a rate counts.
OF = {"selection rate": "", "true-positive rate": " positives", "false-positive rate": " negatives"}
#: Beyond this the column holds amounts or identifiers, and the pairs of groups run into the ten thousands.
_MOST_GROUPS = 200


@dataclass(frozen=True, slots=True)
class Group:
    """The counts of one group, from which every rate follows."""

    title: str
    n: int
    share: float
    positives: int
    true_positives: int
    false_positives: int
    judged: bool

    def counts(self, rate: str) -> tuple[int, int]:
        """Return numerator and denominator of a rate."""
        if rate == "true-positive rate":
            return self.true_positives, self.positives
        if rate == "false-positive rate":
            return self.false_positives, self.n - self.positives
        return self.true_positives + self.false_positives, self.n

    def value(self, rate: str) -> float | None:
        """Return a rate, `None` where nothing stands in its denominator."""
        k, n = self.counts(rate)
        return k / n if n else None

    def describe(self, rate: str) -> str:
        """Return the group with a rate, as messages show it."""
        k, n = self.counts(rate)
        return f"{self.title} (n={n:,}{OF[rate]}) {k / n:.3g}"


def groups_of(subject: Subject, model: Model, scope: Sequence[str], least_share: float) -> list[Group]:
    """Return the groups that the columns of `scope` form together, with what the model answers them.

    Raises:
        CheckError: there are too many groups to be compared in pairs.
    """
    labels = subject.data.labels()
    answers = decisions(model, subject.scores(model))
    keys = np.stack([subject.data.groups(name) for name in scope], axis=1)
    names, codes = _distinct_rows(keys)
    if len(names) > _MOST_GROUPS:
        raise CheckError(
            f"{'*'.join(scope)} has {len(names):,} groups; more than {_MOST_GROUPS} cannot be compared: join "
            "values into fewer groups, or set intersections=False"
        )

    def count(rows: NDArray[np.bool_]) -> list[int]:
        return [int(v) for v in np.bincount(codes[rows], minlength=len(names))]

    everyone = count(np.ones(len(labels), dtype=bool))
    parts = zip(
        names, everyone, count(labels), count(labels & answers), count(~labels & answers), strict=True
    )
    title = "*".join(scope)
    return [
        Group(f"{title}={name}", n, n / len(labels), pos, tp, fp, judged=n / len(labels) >= least_share)
        for name, n, pos, tp, fp in parts
    ]


def _distinct_rows(keys: NDArray[np.str_]) -> tuple[list[str], NDArray[np.intp]]:
    """Return the names of the groups, and the group of every row, shape (n,)."""
    distinct, codes = np.unique(keys, axis=0, return_inverse=True)
    return ["*".join(parts) for parts in distinct.tolist()], np.asarray(codes).reshape(-1)


def group_table(scope: str, groups: Sequence[Group]) -> Table:
    """Return the groups with their counts and rates, whether judged or not."""
    rates = ("selection rate", "true-positive rate", "false-positive rate")
    rows: list[tuple[Cell, ...]] = [
        (
            g.title.removeprefix(f"{scope}="),
            g.n,
            g.share,
            g.positives,
            *(g.value(rate) for rate in rates),
            "yes" if g.judged else "no",
        )
        for g in groups
    ]
    return Table(
        title=f"Groups by {scope}",
        columns=("group", "n", "share", "positives", *rates, "judged"),
        rows=tuple(rows),
        note="positives are rows whose label is the positive class; a rate without rows to stand on is empty",
    )
