"""How often calibration is decided rightly and wrongly where the truth is known.

    python -m tests.statistics.calibration_decisions        # a markdown table, about three minutes

A model is required to have a calibration error of at most 0.05. Next to the interval stands the rule that is
in common use: block if the plug-in expected calibration error of 15 bins exceeds the bound.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import calibration_error_interval
from pytest_mlgate.statistics.calibration import equal_mass_bins

BOUND = 0.05
SIZES = (300, 1_000, 2_000, 5_000, 20_000)
TAILS = Tails(lower=0.025, upper=0.025)


@dataclass(frozen=True)
class World:
    """True log-odds of a row, normal with this mean and spread, and the log-odds that the model says."""

    mean: float
    spread: float
    said: Callable[[np.ndarray], np.ndarray]

    def draw(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and true probabilities of n rows."""
        log_odds = rng.normal(self.mean, self.spread, n)
        return expit(self.said(log_odds)), expit(log_odds)


#: The factors and shifts give a mean absolute error of 0.03 and 0.10 where the name says so.
WORLDS = {
    "balanced, calibrated": World(0.0, 1.5, lambda z: z),
    "balanced, ECE 0.03": World(0.0, 1.5, lambda z: 1.2170 * z),
    "balanced, ECE 0.10": World(0.0, 1.5, lambda z: 1.9738 * z),
    "base rate 0.05, calibrated": World(-3.5, 1.1, lambda z: z),
    "base rate 0.05, ECE 0.03": World(-3.5, 1.1, lambda z: z + 0.5626),
    "base rate 0.05, ECE 0.10": World(-3.5, 1.1, lambda z: z + 1.3752),
}


@dataclass(frozen=True)
class Cell:
    """Shares of the samples of one world and size."""

    truth: float
    covered: float
    passed: float
    failed: float
    plug_in_blocked: float
    plug_in_mean: float

    @property
    def wrong(self) -> float:
        """The share of samples that the interval decides wrongly."""
        return self.failed if self.truth <= BOUND else self.passed

    @property
    def plug_in_wrong(self) -> float:
        """The share of samples that the plug-in rule decides wrongly."""
        return self.plug_in_blocked if self.truth <= BOUND else 1 - self.plug_in_blocked


def coverage(name: str, n: int, runs: int, seed: int = 0) -> Cell:
    """Return what happens to so many samples of n rows."""
    world, rng = WORLDS[name], np.random.default_rng(seed)
    covered, passed, failed, blocked, plug_ins, truth = 0, 0, 0, 0, 0.0, math.nan
    for _ in range(runs):
        scores, chances = world.draw(n, rng)
        happened = rng.random(n) < chances
        found = calibration_error_interval(scores, happened, TAILS)
        low, high = found.interval
        truth = _truth(name, len(found.bins))
        covered += low - 1e-12 <= truth <= high + 1e-12
        passed += high <= BOUND
        failed += low > BOUND
        plug_in = plug_in_error(scores, happened)
        plug_ins += plug_in
        blocked += plug_in > BOUND
    return Cell(truth, covered / runs, passed / runs, failed / runs, blocked / runs, plug_ins / runs)


def plug_in_error(scores: np.ndarray, happened: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error as it is usually computed, over 15 bins of equal mass."""
    parts = np.array_split(np.argsort(scores, kind="stable"), bins)
    gaps = [len(rows) * abs(happened[rows].mean() - scores[rows].mean()) for rows in parts]
    return float(sum(gaps) / len(scores))


@functools.cache
def _truth(name: str, bins: int) -> float:
    """Return the root mean squared error over bins of equal mass, from a million rows with known chances."""
    scores, chances = WORLDS[name].draw(1_000_000, np.random.default_rng(99))
    codes = equal_mass_bins(scores, bins)
    rows = np.bincount(codes)
    gaps = np.bincount(codes, chances - scores) / rows
    return math.sqrt(float(np.sum(rows * gaps**2)) / len(scores))


def main() -> None:
    """Print the table."""
    print(
        "| world (true error) | n | interval covers | passes | fails | open | wrong "
        f"| plug-in ECE > {BOUND:g} | wrong |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in WORLDS:
        for n in SIZES:
            cell = coverage(name, n, runs=1_000 if n <= 5_000 else 400, seed=n)
            figures = (cell.covered, cell.passed, cell.failed, 1 - cell.passed - cell.failed, cell.wrong)
            rule = (cell.plug_in_blocked, cell.plug_in_wrong)
            shares = " | ".join(f"{100 * share:.1f} %" for share in (*figures, *rule))
            print(f"| {name} ({cell.truth:.3f}) | {n:,} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
