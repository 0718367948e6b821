"""How the gate's alpha is spent, so that more checks do not mean more false alarms.

A gate with m requirements blocks a model that meets all of them with probability at most alpha if each may
wrongly fail with probability alpha/m (Bonferroni). Releasing needs no such correction: a model that
violates a requirement is released only if that very requirement wrongly passes (intersection-union test;
Berger 1982, Technometrics 24:295), so each passing side keeps alpha/2 for itself. The interval with these
two ends covers with probability at least 1 - alpha.

Why not Holm (1979), which divides by the number of requirements that are still open? It blocks exactly the
same releases: its first step is Bonferroni's, and one failure already blocks. What it adds is more failures
by name, once there is one. With 6 groups that each fail with probability 0.80 under Bonferroni, Holm names
0.80 of them where one group is bad, 0.83 where three are, 0.91 where all six are. It would cost what a reader
needs: the intervals that go with Holm's decisions (Strassburger and Bretz 2008, Statistics in Medicine
27:4914) end on the bound itself for every group named until all are, so that a gap of 0.3 and one of 0.11
would read alike. Where groups overlap or share rows, the joint distribution of their estimates gains what
Holm cannot, at the first step: see `pytest_mlgate.statistics.simultaneous`.
"""

from __future__ import annotations

from dataclasses import dataclass

from .evidence import Comparator


@dataclass(frozen=True, slots=True)
class Tails:
    """The one-sided error probabilities at the lower and the upper end of an interval."""

    lower: float
    upper: float

    @property
    def confidence(self) -> float:
        """The probability that the interval covers, at least."""
        return 1 - self.lower - self.upper


@dataclass(frozen=True, slots=True)
class Levels:
    """The error probability that one requirement may spend on either side."""

    fail: float
    release: float

    def split(self, parts: int) -> Levels:
        """Return the levels inside a family of `parts` comparisons, any of which can fail it.

        Only the failing side is divided: the family passes only if every part passes.
        """
        return Levels(fail=self.fail / max(1, parts), release=self.release)

    def attempt(self, number: int) -> Levels:
        """Return the levels of the given attempt, from 1 on, in a search that stops at its first pass.

        Whoever tries often enough passes by luck, so every attempt after the first has less: the i-th has
        1 / (i (i - 1)) of the releasing side. All of them together spend it twice, so a search releases what
        violates a bound with probability at most alpha. Source: spending by a convergent series, Lan and
        DeMets (1983), Biometrika 70:659.
        """
        share = 1.0 if number <= 1 else 1 / (number * (number - 1))
        return Levels(fail=self.fail, release=self.release * share)

    def tails(self, comparator: Comparator) -> Tails:
        """Return the tails of the interval that decides a bound with this comparator."""
        if comparator == "<=":
            return Tails(lower=self.fail, upper=self.release)
        return Tails(lower=self.release, upper=self.fail)


def levels_for(alpha: float, requirements: int) -> Levels:
    """Return what each of `requirements` may spend of the gate's alpha."""
    return Levels(fail=min(alpha / 2, alpha / max(1, requirements)), release=alpha / 2)
