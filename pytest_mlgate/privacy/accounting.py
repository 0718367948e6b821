"""What noisy steps cost together: epsilon by dp-accounting, from what the steps did.

The figure is that of the privacy loss distribution (PLD), rounded up; Renyi differential privacy (RDP) is
computed apart and must not be the smaller one. The central limit ("GDP") is no bound and is never used.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import CheckError, MissingExtra

#: Grids of the privacy loss, in epsilon. Every one gives an upper bound; a finer one a tighter bound.
GRIDS = (1e-4, 1e-5)
#: Above this epsilon the fine grid no longer fits into memory, and nobody's bound is near.
COARSE_ABOVE, COARSE_GRID = 100.0, 1e-3
#: Above this epsilon the grid takes minutes; the RDP bound, which is valid too, stands for it.
_RDP_ONLY_ABOVE = 3000.0
#: Below this the accountants overflow.
LEAST_NOISE = 1e-3
#: More kinds of steps than this are rounded to fewer, each to the lesser noise.
_MOST_KINDS = 16
#: Mixtures of more Gaussians than this take minutes.
_MOST_ROWS = 64


@dataclass(frozen=True, slots=True)
class Part:
    """Steps that are alike: a Gaussian mechanism on sampled rows, composed with itself.

    `rate` is the probability with which each row is in the step (1: nothing is known to sample it), `rows`
    how many rows, or uses of a row, of the one whose privacy is meant can be in one step.
    """

    noise_multiplier: float
    times: int
    rate: float = 1.0
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Cost:
    """Epsilon by PLD, which is the figure; epsilon by RDP, which is looser; and how the figure came about."""

    epsilon: float
    by_rdp: float
    method: str


def cost(parts: Sequence[Part], delta: float) -> Cost:
    """Return the epsilon of all parts together at delta, for adding or removing one unit.

    Several rows of one person under Poisson sampling are a mixture of Gaussians with binomial weights
    (Charles et al. 2024, 2407.07737, theorem 3.1; Choquette-Choo et al. 2024, 2310.15526); without sampling,
    k rows are one Gaussian of k times the sensitivity.

    Raises:
        CheckError: delta is not between 0 and 1, a noise multiplier is 0 or too small to be accounted for,
            or the two upper bounds are the wrong way round on the finest grid.
        MissingExtra: dp-accounting is not installed.
    """
    if not 0 < delta < 1:
        raise CheckError(f"delta is {delta:g}, and must be above 0 and below 1")
    if not parts:
        return Cost(epsilon=0.0, by_rdp=0.0, method="nothing was computed from the data")
    weakest = min(part.noise_multiplier for part in parts)
    if not weakest >= LEAST_NOISE:
        raise CheckError(
            f"noise multiplier {weakest:g} cannot be accounted for: it is the standard deviation of the "
            "noise "
            f"over the clipping norm, and below {LEAST_NOISE:g} no accountant holds"
        )
    try:
        import dp_accounting
        from dp_accounting.pld import PLDAccountant
        from dp_accounting.rdp import RdpAccountant
    except ImportError:
        raise MissingExtra("dp-accounting", "privacy") from None
    relation = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    kinds = _kinds(parts)
    with _quiet():
        rdp = RdpAccountant(neighboring_relation=relation)
        for part in kinds:
            rdp.compose(_without_mixture(part), part.times)
        by_rdp = float(rdp.get_epsilon(delta))
        if by_rdp > _RDP_ONLY_ABOVE:
            method = "RDP accountant (dp-accounting); the privacy loss is too spread for a grid"
            return Cost(epsilon=by_rdp, by_rdp=by_rdp, method=method)
        slow = len(kinds) > 2 or any(part.rows > 1 and part.rate < 1 for part in kinds)
        for grid in (COARSE_GRID,) if by_rdp > COARSE_ABOVE or slow else GRIDS:
            accountant = PLDAccountant(relation, grid)
            for part in kinds:
                accountant.compose(_event(part), part.times)
            value = float(accountant.get_epsilon(delta))
            if value <= by_rdp * (1 + 1e-6) or slow:
                method = f"PLD accountant (dp-accounting), pessimistic, grid {grid:g}"
                return Cost(epsilon=min(value, by_rdp), by_rdp=by_rdp, method=method)
    raise CheckError(
        f"the accountants contradict each other: PLD gives {value:.4g} and RDP {by_rdp:.4g}, and PLD must "
        "not be the larger one; so many steps with so little effect need another accountant"
    )


def cost_of_fixed_size(noise_multiplier: float, rows: int, batch: int, steps: int, delta: float) -> float:
    """Return epsilon where each batch is a fresh uniform subset of fixed size, by RDP.

    Amplification is proven for replacing one row by another (Wang, Balle and Kasiviswanathan 2019, theorem
    27 of 1808.00087), of which leaving out a row's contribution is a case; the sensitivity is then twice the
    clipping norm.
    """
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    event = dp_accounting.SampledWithoutReplacementDpEvent(
        rows, batch, dp_accounting.GaussianDpEvent(noise_multiplier / 2)
    )
    with _quiet():
        accountant = RdpAccountant(neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE)
        return float(accountant.compose(event, steps).get_epsilon(delta))


def _kinds(parts: Sequence[Part]) -> list[Part]:
    """Return the parts with equal ones added up and those without sampling as one Gaussian.

    Gaussians compose exactly: the squares of sensitivity over noise add up.
    """
    plain = math.fsum(p.times * (p.rows / p.noise_multiplier) ** 2 for p in parts if p.rate >= 1)
    times: Counter[Part] = Counter()
    for part in parts:
        if part.rate < 1 and part.times:
            times[replace(part, times=0)] += part.times
    if len(times) > _MOST_KINDS:
        times = _fewer(times)
    kinds = [replace(part, times=count) for part, count in times.items()]
    return [*kinds, Part(noise_multiplier=1 / math.sqrt(plain), times=1)] if plain else kinds


def _fewer(times: Counter[Part]) -> Counter[Part]:
    """Return steps of fewer kinds, which cost no less: noise rounded down, rates and rows up."""
    fewer: Counter[Part] = Counter()
    low = min(part.noise_multiplier for part in times)
    high = max(part.noise_multiplier for part in times)
    width = math.log(high / low) / (_MOST_KINDS - 1) or 1.0
    rate, rows = max(part.rate for part in times), max(part.rows for part in times)
    for part, count in times.items():
        level = math.floor(math.log(part.noise_multiplier / low) / width + 1e-9)
        noise = min(part.noise_multiplier, low * math.exp(level * width))
        fewer[Part(noise_multiplier=noise, times=0, rate=rate, rows=rows)] += count
    return fewer


def _event(part: Part) -> Any:
    import dp_accounting
    from dp_accounting.dp_event import MixtureOfGaussiansDpEvent

    if part.rate >= 1:
        return dp_accounting.GaussianDpEvent(part.noise_multiplier / part.rows)
    if part.rows == 1:
        return dp_accounting.PoissonSampledDpEvent(
            part.rate, dp_accounting.GaussianDpEvent(part.noise_multiplier)
        )
    if part.rows > _MOST_ROWS:
        return _without_mixture(part)
    import numpy as np
    from scipy.stats import binom

    weights = np.asarray(binom.pmf(np.arange(part.rows + 1), part.rows, part.rate))
    return MixtureOfGaussiansDpEvent(
        part.noise_multiplier, list(range(part.rows + 1)), list(weights / weights.sum())
    )


def _without_mixture(part: Part) -> Any:
    """Return an event that costs no less: all rows of a person are in the step together, if any is."""
    import dp_accounting

    gaussian = dp_accounting.GaussianDpEvent(part.noise_multiplier / part.rows)
    if part.rate >= 1:
        return gaussian
    rate = -math.expm1(part.rows * math.log1p(-part.rate))
    return dp_accounting.PoissonSampledDpEvent(min(1.0, rate), gaussian)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep dp-accounting's warnings about single RDP orders, which it skips safely, off the terminal."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
