"""How often a gate decides rightly, wrongly, or not at all, in worlds whose truth is known.

    python -m pytest tests/benchmarks/test_decision_quality.py -s      # markdown tables

Fair and unfair models over two groups, a group of 2% and six intersections; better and worse models on the
same rows as the baseline; calibrated and miscalibrated ones. Beside the intervals that the checks use stand
two rules in common use: the point estimate against the bound, and the percentile interval of the bootstrap
that fairlearn computes with `n_boot` (drawn as multinomials of the counts, which is the same law as drawing
rows). `MLGATE_TRIALS` sets the samples of a cell (2,000 by default).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from mlgate_checks._fair_intervals import interval_of
from mlgate_checks._fair_parts import RatePart
from pytest_mlgate.levels import Tails, levels_for
from pytest_mlgate.statistics import clopper_pearson, paired_difference_interval, roc_area_pair
from tests.statistics.calibration_decisions import SIZES, WORLDS, coverage

TRIALS = int(os.environ.get("MLGATE_TRIALS", "2000"))
#: The bootstrap costs a hundred times as much.
BOOTSTRAP_TRIALS, REPLICATES = TRIALS // 8, 300
LEVELS = levels_for(0.05, 1)
TAILS = Tails(lower=0.025, upper=0.025)
#: A cell may look this many standard errors of its own estimate worse than what is promised: of two hundred
#: cells one does by chance in a hundred runs.
ERRORS = 4
#: A cell that covers less than this is drawn anew, with ten times as many samples, and those count.
IN_DOUBT = 0.945
LAYOUTS = {
    "90 / 10": np.asarray([0.9, 0.1]),
    "98 / 2": np.asarray([0.98, 0.02]),
    "2 x 3 intersections": np.asarray([0.48, 0.3, 0.09, 0.06, 0.044, 0.026]),
}
ANSWER = np.asarray([[False, True], [False, True]])


@dataclass
class Counts:
    """What became of the samples of one cell."""

    truth: float
    bound: float
    verdicts: list[str] = field(default_factory=list)
    covered: int = 0
    point_blocks: int = 0
    seconds: float = 0.0

    def add(self, value: float, interval: tuple[float, float], seconds: float) -> None:
        """Count one sample: the requirement is at most the bound."""
        low, high = interval
        self.verdicts.append("pass" if high <= self.bound else "fail" if low > self.bound else "open")
        self.covered += low - 1e-9 <= self.truth <= high + 1e-9
        self.point_blocks += value > self.bound
        self.seconds += seconds

    def share(self, verdict: str) -> float:
        """Return the share of samples with this verdict."""
        return self.verdicts.count(verdict) / len(self.verdicts)

    @property
    def false_blocks(self) -> float:
        """The share of samples in which a model that meets the bound fails."""
        return self.share("fail") if self.truth <= self.bound else 0.0

    @property
    def misses(self) -> float:
        """The share of samples in which a model that violates the bound passes."""
        return self.share("pass") if self.truth > self.bound else 0.0

    def row(self, *names: object) -> str:
        """Return the line of the table."""
        n = len(self.verdicts)
        shares = [self.false_blocks, self.misses, self.share("open"), self.covered / n, self.point_wrong]
        cells = [
            *map(str, names),
            *(f"{100 * share:.1f}" for share in shares),
            f"{self.seconds / n * 1e3:.2f}",
        ]
        return f"| {' | '.join(cells)} |"

    def shortfall(self, *names: object) -> list[str]:
        """Say in what the cell falls short: 94% covered, and 5% wrong on either side."""
        n = len(self.verdicts)
        wrong = max(self.false_blocks, self.misses)
        found = [f"covers {self.covered / n:.3f}"] if self.covered / n < least(0.94, n) else []
        found += [f"decides wrongly in {wrong:.3f}"] if wrong > 1 - least(0.95, n) else []
        return [f"{names}: {text}" for text in found]

    @property
    def point_wrong(self) -> float:
        """The share of samples that the point estimate alone decides wrongly."""
        blocked = self.point_blocks / len(self.verdicts)
        return blocked if self.truth <= self.bound else 1 - blocked


COLUMNS = "falsely blocked % | missed % | inconclusive % | interval covers % | point rule wrong % | ms"


def least(share: float, n: int) -> float:
    """Return what a true share shows at least in n samples."""
    return share - ERRORS * (share * (1 - share) / n) ** 0.5


def head(*names: str) -> None:
    print(f"\n| {' | '.join(names)} | {COLUMNS} |\n" + "|---" * (len(names) + 6) + "|")


def part_of(selected: np.ndarray, sizes: np.ndarray) -> RatePart:
    """Return a selection rate as the fairness check counts it."""
    cells = np.stack([sizes - selected, selected], axis=1).astype(float)
    return RatePart("selection rate", "", cells, ANSWER, np.ones((2, 2), dtype=bool))


def bootstrap(rng: np.random.Generator, selected: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    """Return the percentile interval of the largest gap over resampled rows."""
    total = int(sizes.sum())
    drawn = np.maximum(rng.multinomial(total, sizes / total, size=REPLICATES), 1)
    gaps = np.ptp(rng.binomial(drawn, selected / sizes) / drawn, axis=1)
    return float(np.quantile(gaps, 0.025)), float(np.quantile(gaps, 0.975))


#: One sample: the value, and what computes its interval.
Sample = Callable[[], tuple[float, Callable[[], tuple[float, float]]]]


def sampled(truth: float, bound: float, draw: Sample, trials: int = TRIALS) -> Counts:
    """Return what becomes of so many samples; of ten times as many new ones where coverage is in doubt."""
    cell = Counts(truth, bound)
    for _ in range(trials):
        value, interval = draw()
        begun = time.perf_counter()
        found = interval()
        cell.add(value, found, time.perf_counter() - begun)
    doubtful = trials <= TRIALS and cell.covered / trials < IN_DOUBT
    return sampled(truth, bound, draw, 10 * TRIALS) if doubtful else cell


def test_fair_and_unfair_models():
    """The largest gap of selection rates against a bound of 0.10."""
    short: list[str] = []
    head("groups", "base rate", "n", "smallest", "true gap", "bootstrap blocks % / covers %")
    rng = np.random.default_rng(11)
    for layout, shares in LAYOUTS.items():
        for base in (0.1, 0.5):
            for n in SIZES:
                for gap in (0.0, 0.1, 0.15, 0.25):
                    rates = np.full(len(shares), base)
                    rates[-1] += gap

                    def counts(n=n, shares=shares, rates=rates):
                        sizes = np.maximum(rng.multinomial(n, shares), 1)
                        return rng.binomial(sizes, rates), sizes

                    def draw(counts=counts):
                        selected, sizes = counts()
                        part = part_of(selected, sizes)
                        return float(np.ptp(selected / sizes)), lambda: interval_of(
                            "difference", [part], LEVELS
                        )

                    cell = sampled(gap, 0.10, draw)
                    theirs = np.asarray([bootstrap(rng, *counts()) for _ in range(BOOTSTRAP_TRIALS)])
                    blocks = np.mean(theirs[:, 0] > 0.10)
                    holds = np.mean((theirs[:, 0] - 1e-9 <= gap) & (gap <= theirs[:, 1]))
                    names = (layout, base, f"{n:,}", round(n * shares[-1]), gap)
                    print(cell.row(*names, f"{100 * blocks:.1f} / {100 * holds:.0f}"), flush=True)
                    short += cell.shortfall(*names)
    assert not short, "\n".join(short)


def test_better_and_worse_models_on_the_same_rows():
    """Accuracy lost against the baseline, paired, against a bound of 0.01; two agreements of the models."""
    short: list[str] = []
    head("rows decided otherwise", "n", "true drop")
    rng = np.random.default_rng(12)
    for differing in (0.03, 0.10):
        for n in SIZES:
            for drop in (-0.01, 0.0, 0.01, 0.02):
                chances = [(differing + drop) / 2, (differing - drop) / 2, 1 - differing]

                def draw(n=n, chances=chances):
                    lost, won, _ = rng.multinomial(n, chances).tolist()
                    return (lost - won) / n, lambda: paired_difference_interval(lost, won, n, TAILS)

                cell = sampled(drop, 0.01, draw)
                print(cell.row(differing, f"{n:,}", drop), flush=True)
                short += cell.shortfall(differing, f"{n:,}", drop)
    assert not short, "\n".join(short)


def test_floors_of_accuracy():
    """Accuracy against a floor of 0.80, written as an error of at most 0.20."""
    short: list[str] = []
    head("n", "true error")
    rng = np.random.default_rng(13)
    for n in SIZES:
        for error in (0.17, 0.20, 0.23):

            def draw(n=n, error=error):
                wrong = int(rng.binomial(n, error))
                return wrong / n, lambda: clopper_pearson(wrong, n, TAILS)

            cell = sampled(error, 0.20, draw)
            print(cell.row(f"{n:,}", error), flush=True)
            short += cell.shortfall(f"{n:,}", error)
    assert not short, "\n".join(short)


@pytest.mark.parametrize("positives", [0.02, 0.5])
def test_better_and_worse_rankings(positives: float):
    """ROC AUC lost against the baseline on the same rows, against a bound of 0.02."""
    short: list[str] = []
    head("positives", "n", "true drop")
    for n in SIZES[:-1]:
        for drop in (0.0, 0.02, 0.05):
            rng = np.random.default_rng([14, n])
            world = ranking_world(drop)
            positive = np.arange(n) < max(6, round(positives * n))

            def draw(rng=rng, world=world, positive=positive):
                first, second = world(rng, positive)
                pair = roc_area_pair(positive, first, second)
                return pair.difference, lambda: pair.interval(TAILS)

            cell = sampled(drop, 0.02, draw, TRIALS // 4)
            print(cell.row(positives, f"{n:,}", drop), flush=True)
            short += cell.shortfall(positives, f"{n:,}", drop)
    assert not short, "\n".join(short)


def ranking_world(drop: float) -> Callable[[np.random.Generator, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return a source of scores of two models, of AUC 0.85 and less by the drop, that agree in part."""
    from scipy.stats import norm

    shifts = [float(np.sqrt(2) * norm.ppf(0.85 - lost)) for lost in (0.0, drop)]

    def draw(rng: np.random.Generator, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        common = rng.normal(size=len(positive)) * np.sqrt(0.8)
        first, second = (
            shift * positive + common + rng.normal(size=len(positive)) * np.sqrt(0.2) for shift in shifts
        )
        return first, second

    return draw


def test_calibrated_and_miscalibrated_models():
    """The calibration error against a bound of 0.05, beside the plug-in error of 15 bins."""
    short: list[str] = []
    names = ("falsely blocked %", "missed %", "inconclusive %", "interval covers %", "plug-in rule wrong %")
    print(f"\n| world | n | {' | '.join(names)} |\n" + "|---" * 7 + "|")
    for name in WORLDS:
        for n in SIZES:
            runs = TRIALS // 2 if n <= 5_000 else TRIALS // 5
            cell = coverage(name, n, runs=runs, seed=n)
            if cell.covered < IN_DOUBT:
                runs *= 5
                cell = coverage(name, n, runs=runs, seed=n + 1)
            meets = cell.truth <= 0.05
            shares = (
                cell.failed if meets else 0.0,
                0.0 if meets else cell.passed,
                1 - cell.passed - cell.failed,
                cell.covered,
                cell.plug_in_wrong,
            )
            print(f"| {name} ({cell.truth:.3f}) | {n:,} | {' | '.join(f'{100 * s:.1f}' for s in shares)} |")
            if cell.covered < least(0.94, runs) or cell.wrong > 1 - least(0.95, runs):
                short.append(f"{name}, {n}: covers {cell.covered:.3f}, decides wrongly in {cell.wrong:.3f}")
    assert not short, "\n".join(short)
