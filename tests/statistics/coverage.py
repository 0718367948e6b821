"""How often each interval misses the truth, at either end, where the truth is known.

    python -m tests.statistics.coverage              # all families, as markdown
    python -m tests.statistics.coverage paired auc   # some of them

Intervals of counts are not simulated: their miss rates are sums of binomial probabilities over all counts
that can occur, exact to about 1e-7. The others are simulated with fixed seeds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from pytest_mlgate import statistics as ours
from pytest_mlgate.levels import Tails

from . import rivals

SIZES = (300, 1000, 2000, 5000, 20000)
RATES = (0.02, 0.1, 0.5, 0.9)
AGREEMENTS = (0.9, 0.98, 0.998)
AREAS = (0.6, 0.8, 0.95, 0.99)
PREVALENCES = (0.02, 0.1, 0.5)
LEVELS = (0.025, 0.01, 0.005)
#: Counts less likely than this are left out.
UNLIKELY = 1e-8

Ends = tuple[float | None, float | None]
Method = Callable[..., Ends]


@dataclass(frozen=True)
class Cell:
    """The shares of samples whose interval lies above the truth, and below it, at one nominal tail."""

    where: str
    tail: float
    above: float
    below: float

    @property
    def worst(self) -> float:
        """How much more often than stated the worse end misses."""
        return max(self.above, self.below) - self.tail

    @property
    def coverage(self) -> float:
        """The share of samples whose interval holds the truth."""
        return 1 - self.above - self.below


def both(tail: float) -> Tails:
    """Return equal tails."""
    return Tails(lower=tail, upper=tail)


def misses(low: float | None, high: float | None, truth: float) -> tuple[bool, bool]:
    """Return whether the interval lies above the truth, and whether below it."""
    slack = 1e-12
    return low is not None and low > truth + slack, high is not None and high < truth - slack


def likely(n: int, p: float) -> range:
    """Return the counts that a binomial variable takes with more than a negligible probability."""
    return range(int(stats.binom.ppf(UNLIKELY, n, p)), int(stats.binom.isf(UNLIKELY, n, p)) + 1)


def exact(
    ends: Callable[[int, int], Ends],
    truth: float,
    outer: Sequence[int],
    weights: np.ndarray,
    inner: Callable[[int], tuple[int, float]],
) -> tuple[float, float]:
    """Return the two miss rates of an interval of two counts whose ends rise with the inner count.

    `ends(x, y)` is the interval at inner count x and outer count y; x is binomial with `inner(y)`. As y
    rises, more x are needed to move an end beyond the truth, so one walk along the frontier finds all.
    """
    totals = []
    for side in (0, 1):
        total, x = 0.0, 0
        for y, weight in zip(outer, weights, strict=True):
            n, p = inner(y)
            # The first x whose interval lies above the truth; or the first that no longer lies below it.
            x = min(x, n + 1)
            while x <= n and misses(*ends(x, y), truth)[side] == bool(side):
                x += 1
            while x > 0 and misses(*ends(x - 1, y), truth)[side] != bool(side):
                x -= 1
            total += weight * (stats.binom.cdf(x - 1, n, p) if side else stats.binom.sf(x - 1, n, p))
        totals.append(float(total))
    return totals[0], totals[1]


def proportion(method: Method = ours.clopper_pearson) -> Iterator[Cell]:
    """Yield the cells of one proportion, of all rows and of a group of 2% of them."""
    for n in sorted({*SIZES, *(n // 50 for n in SIZES)}):
        for p in (*RATES, 0.98):
            counts = np.array(likely(n, p))
            weights = stats.binom.pmf(counts, n, p)
            for tail in LEVELS:
                hit = np.array([misses(*method(k, n, both(tail)), p) for k in counts.tolist()])
                above, below = weights @ hit
                yield Cell(f"n={n}, p={p}", tail, float(above), float(below))


def _layouts() -> Iterator[tuple[int, int, int]]:
    for n in SIZES:
        yield n, n // 2, n - n // 2
        yield n, n // 50, n - n // 50


def _two_samples(method: Method, shift: Callable[[float], float], truth: Callable[[float, float], float]):
    for n, n1, n2 in _layouts():
        for p2 in RATES:
            for p1 in (p2, shift(p2)):
                outer = likely(n2, p2)
                weights = stats.binom.pmf(np.array(outer), n2, p2)
                for tail in LEVELS:
                    tails = both(tail)

                    def ends(x: int, y: int, n1=n1, n2=n2, tails=tails) -> Ends:
                        return method(x, n1, y, n2, tails)

                    found = exact(ends, truth(p1, p2), outer, weights, lambda _, n1=n1, p1=p1: (n1, p1))
                    yield Cell(f"n={n}, {n1} against {n2}, p={p1:.3g} and {p2:.3g}", tail, *found)


def difference(method: Method = ours.difference_interval) -> Iterator[Cell]:
    """Yield the cells of a difference of two proportions: 0, and 0.1 towards one half."""
    return _two_samples(method, lambda p: p + 0.1 if p <= 0.5 else p - 0.1, lambda a, b: a - b)


def ratio(method: Method = ours.ratio_interval) -> Iterator[Cell]:
    """Yield the cells of a ratio of two proportions: 1, and 1.25 or 0.8."""
    return _two_samples(method, lambda p: p * 1.25 if p <= 0.5 else p * 0.8, lambda a, b: a / b)


def paired(method: Method = ours.paired_difference_interval) -> Iterator[Cell]:
    """Yield the cells of a paired difference: disagreements half and half, 3 to 1, and all one way."""
    for n in SIZES:
        for agreement in AGREEMENTS:
            for share in (0.5, 0.75, 1.0):
                p, q = (1 - agreement) * share, (1 - agreement) * (1 - share)
                outer = likely(n, q)
                weights = stats.binom.pmf(np.array(outer), n, q)
                for tail in LEVELS:
                    tails = both(tail)

                    def ends(x: int, y: int, n=n, tails=tails) -> Ends:
                        return method(x, y, n, tails)

                    def inner(y: int, n=n, p=p, q=q) -> tuple[int, float]:
                        return n - y, p / (1 - q)

                    found = exact(ends, p - q, outer, weights, inner)
                    yield Cell(f"n={n}, agreement {agreement}, difference {p - q:.3g}", tail, *found)


def _simulated(
    where: str, truth: float, draw: Callable[[np.random.Generator], Callable[[Tails], Ends]], runs: int
) -> Iterator[Cell]:
    rng = np.random.default_rng([len(where), *where.encode()])
    hit = np.zeros((len(LEVELS), 2))
    for _ in range(runs):
        interval = draw(rng)
        for i, tail in enumerate(LEVELS):
            hit[i] += misses(*interval(both(tail)), truth)
    for tail, (above, below) in zip(LEVELS, hit / runs, strict=True):
        yield Cell(where, tail, float(above), float(below))


def _runs(n: int, most: int = 4000) -> int:
    return max(1000, min(most, 8_000_000 // n))


def auc(sizes: Sequence[int] = SIZES, runs: Callable[[int], int] = _runs) -> Iterator[Cell]:
    """Yield the cells of an area under the ROC curve of normal scores."""
    for n in sizes:
        for prevalence in PREVALENCES:
            positive = np.arange(n) < round(n * prevalence)
            for area in AREAS:
                shift = math.sqrt(2) * stats.norm.ppf(area)

                def draw(rng, positive=positive, shift=shift, n=n):
                    return ours.roc_area(positive, shift * positive + rng.normal(size=n)).interval

                yield from _simulated(f"n={n}, prevalence {prevalence}, AUC {area}", area, draw, runs(n))


def auc_difference(
    sizes: Sequence[int] = SIZES, runs: Callable[[int], int] = lambda n: 1000 if n < 20_000 else 400
) -> Iterator[Cell]:
    """Yield the cells of a paired difference of two areas whose scores correlate 0.8 in either class."""
    for n in sizes:
        for prevalence in PREVALENCES:
            positive = np.arange(n) < round(n * prevalence)
            for area in AREAS:
                for drop in (0.0, 0.02):
                    shifts = [math.sqrt(2) * stats.norm.ppf(a) for a in (area, area - drop)]

                    def draw(rng, positive=positive, shifts=shifts, n=n):
                        common = math.sqrt(0.8) * rng.normal(size=n)
                        first, second = (
                            s * positive + common + math.sqrt(0.2) * rng.normal(size=n) for s in shifts
                        )
                        return ours.roc_area_pair(positive, first, second).interval

                    where = f"n={n}, prevalence {prevalence}, AUC {area} and {area - drop:.2f}"
                    yield from _simulated(where, drop, draw, runs(n))


#: What errors of rows look like: name, draws, mean.
SHAPES: tuple[tuple[str, Callable[[np.random.Generator, int], np.ndarray], float], ...] = (
    ("normal", lambda rng, n: rng.normal(size=n), 0.0),
    ("absolute normal", lambda rng, n: np.abs(rng.normal(size=n)), math.sqrt(2 / math.pi)),
    ("exponential", lambda rng, n: rng.exponential(size=n), 1.0),
    ("lognormal", lambda rng, n: rng.lognormal(size=n), math.exp(0.5)),
)


def mean(
    method: Callable[..., tuple[float, Ends]] = ours.skewed_mean_interval,
    sizes: Sequence[int] = SIZES,
    runs: Callable[[int], int] = _runs,
) -> Iterator[Cell]:
    """Yield the cells of a mean over rows."""
    for n in sizes:
        for name, sample, truth in SHAPES:

            def draw(rng, sample=sample, n=n):
                values = sample(rng, n)
                return lambda tails: method(values, tails)[1]

            yield from _simulated(f"n={n}, {name}", truth, draw, runs(n))


def mean_difference(
    method: Callable[..., tuple[float, Ends]] = ours.welch_interval,
    sizes: Sequence[int] = SIZES,
    runs: Callable[[int], int] = _runs,
) -> Iterator[Cell]:
    """Yield the cells of a difference of two means, halves and a group of 2%."""
    for n, n1, n2 in _layouts():
        if n not in sizes:
            continue
        for name, sample, _ in SHAPES:

            def draw(rng, sample=sample, n1=n1, n2=n2):
                first, second = sample(rng, n1), sample(rng, n2)
                return lambda tails: method(first, second, tails)[1]

            yield from _simulated(f"n={n}, {n1} against {n2}, {name}", 0.0, draw, runs(n))


def quantile() -> Iterator[Cell]:
    """Yield the cells of a quantile: exact, since the positions of both ends do not depend on the values."""
    for n in SIZES:
        positions = np.arange(1.0, n + 1)
        for share in (0.5, 0.9, 0.99):
            for tail in LEVELS:
                low, high = ours.quantile_interval(positions, share, both(tail))[1]
                above = 0.0 if low is None else stats.binom.cdf(low - 1, n, share)
                below = 0.0 if high is None else stats.binom.sf(high - 1, n, share)
                yield Cell(f"n={n}, quantile {share}", tail, float(above), float(below))


def shift(sizes: Sequence[int] = SIZES, runs: Callable[[int], int] = _runs) -> Iterator[Cell]:
    """Yield the cells of both distances between two samples' distributions."""
    for n in sizes:
        for moved in (0.0, 0.1, 0.5):

            def draw_numbers(rng, n=n, moved=moved):
                first, second = rng.normal(size=n), rng.normal(moved, size=n)
                return lambda tails: ours.kolmogorov_smirnov_interval(first, second, tails)[1]

            truth = 2 * float(stats.norm.cdf(moved / 2)) - 1
            yield from _simulated(f"n={n}, KS, moved {moved}", truth, draw_numbers, runs(n, 1500))
        for before in ((0.25,) * 4, (0.4, 0.3, 0.2, 0.1), (0.02, 0.38, 0.3, 0.3)):
            after = (0.25,) * 4

            def draw_counts(rng, n=n, before=before):
                first, second = rng.multinomial(n, before), rng.multinomial(n, (0.25,) * 4)
                return lambda tails: ours.total_variation_interval(first, second, tails)[1]

            truth = float(np.abs(np.subtract(before, after)).sum() / 2)
            yield from _simulated(f"n={n}, total variation {truth:.3g}", truth, draw_counts, runs(n, 1500))


#: Family, method as reported, cells; a family's own interval stands first, its rivals after it.
FAMILIES: dict[str, tuple[tuple[str, Callable[[], Iterator[Cell]]], ...]] = {
    "proportion": (
        ("Clopper-Pearson", proportion),
        ("Wilson", lambda: proportion(ours.wilson)),
    ),
    "difference": (
        ("Miettinen-Nurminen, corrected for skewness", difference),
        ("Newcombe", lambda: difference(rivals.newcombe)),
    ),
    "ratio": (
        ("Koopman, corrected for skewness", ratio),
        ("MOVER-R", lambda: ratio(rivals.mover_ratio)),
    ),
    "paired": (
        ("Tango, corrected for skewness", paired),
        ("Bonett-Price", lambda: paired(rivals.bonett_price)),
    ),
    "auc": (("wider of DeLong and Newcombe", auc),),
    "auc_difference": (("wider of MOVER and DeLong's with t", auc_difference),),
    "mean": (
        ("Student's t, corrected for skewness", mean),
        ("Student's t", lambda: mean(ours.mean_interval)),
        ("BCa bootstrap (n=300 and 1,000)", lambda: mean(rivals.bca, (300, 1000), lambda _: 500)),
    ),
    "mean_difference": (
        ("Welch, corrected for skewness", mean_difference),
        ("Welch", lambda: mean_difference(rivals.welch)),
    ),
    "quantile": (("order statistics", quantile),),
    "shift": (("Massart, Hoeffding; score", shift),),
}


def summary(family: str, method: str, cells: Sequence[Cell]) -> str:
    """Return one row of the table: the least coverage and the worst end at each level, with its cell."""
    columns = [family, method, str(len({c.where for c in cells}))]
    wide = [c for c in cells if c.tail == LEVELS[0]]
    columns.append(f"{min(c.coverage for c in wide):.1%}")
    for tail in LEVELS:
        worst = max((c for c in cells if c.tail == tail), key=lambda c: c.worst)
        columns.append(f"{max(worst.above, worst.below):.2%} ({worst.where})")
    return f"| {' | '.join(columns)} |"


def rows_of(family: str, method: str, cells: Sequence[Cell]) -> Iterator[str]:
    """Yield the rows of the table: lognormal errors, on which no interval of a mean holds, stand apart."""
    heavy = [c for c in cells if "lognormal" in c.where]
    yield summary(family, method, [c for c in cells if c not in heavy])
    if heavy:
        yield summary(f"{family}, lognormal", method, heavy)


def main(families: Sequence[str]) -> None:
    """Print the table of these families."""
    heads = ("what", "interval", "cells", "least coverage at 95%", *(f"worst end at {t:.1%}" for t in LEVELS))
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for family in families or FAMILIES:
        for method, cells in FAMILIES[family]:
            print(*rows_of(family, method, list(cells())), sep="\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
