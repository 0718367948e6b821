"""Families of mechanisms, ordered by how much they leak, as trade-off curves of a membership guess.

The trade-off f of a mechanism is the least rate of missed members at each rate of false alarms (Dong, Roth
and Su 2022, JRSS B 84:3). An audit needs the inverse of x -> 1 - f(x): how rare the worst event must still
be without a row if it has a given probability with it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri

from ..errors import MissingExtra

#: Nobody needs to know how far above this an epsilon is, and accountants run out of grid.
LARGEST_EPSILON = 100.0
#: Epsilons at which the curve of a sampled mechanism is supported; between them it is bounded from below.
_SUPPORTS = np.concatenate([np.linspace(0, 4, 41), np.geomspace(4.2, 60, 60)])
#: Grid of the privacy loss, in epsilon, of one step out of one; its error grows with the steps and falls with
#: its square. The curve is looked at often; the epsilon that is reported, once.
_GRID, _FINE_GRID = 0.1, 0.02

Inverse = Callable[[float], float]


class Family(Protocol):
    """Mechanisms that one positive number puts in order, the leakier the larger."""

    @property
    def delta(self) -> float:
        """The delta at which epsilon is stated."""
        ...

    @property
    def description(self) -> str:
        """What the bound supposes of the mechanism, for a reader of the report."""
        ...

    @property
    def most(self) -> float:
        """The largest number that is looked at."""
        ...

    @property
    def precision(self) -> float:
        """To which share of itself the number is worth finding."""
        ...

    def near(self, mu: float) -> float:
        """Return a number of the family about as leaky as a Gaussian mechanism with this mu."""
        ...

    def inverse(self, leak: float) -> Inverse:
        """Return the inverse of 1 - f for the mechanism with this number."""
        ...

    def epsilon(self, leak: float) -> float:
        """Return the epsilon of the mechanism with this number, at the family's delta."""
        ...


@dataclass(frozen=True, slots=True)
class AnyMechanism:
    """All mechanisms that are (epsilon, delta)-private, whatever they are made of; ordered by epsilon."""

    delta: float

    @property
    def description(self) -> str:
        """Nothing but the claim itself is supposed."""
        return "any mechanism"

    @property
    def most(self) -> float:
        """The largest epsilon."""
        return LARGEST_EPSILON

    @property
    def precision(self) -> float:
        """Costs nothing."""
        return 1e-9

    def near(self, mu: float) -> float:
        """Return an epsilon of the same order."""
        return max(mu, 1e-3)

    def inverse(self, leak: float) -> Inverse:
        """Return the inverse of 1 - f; f is two lines (Wasserman and Zhou 2010, JASA 105:375)."""
        return _Lines(np.array([leak]), np.array([self.delta]))

    def epsilon(self, leak: float) -> float:
        """Return the number itself."""
        return leak


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Mechanisms no leakier than one Gaussian with sensitivity mu and deviation 1; ordered by mu."""

    delta: float

    @property
    def description(self) -> str:
        """What is supposed."""
        return "Gaussian mechanism (mu-GDP)"

    @property
    def most(self) -> float:
        """The mu of the largest epsilon."""
        return float(brentq(lambda mu: _gaussian_excess(LARGEST_EPSILON, mu, self.delta), 1e-3, 100.0))

    @property
    def precision(self) -> float:
        """Costs nothing."""
        return 1e-9

    def near(self, mu: float) -> float:
        """Return mu itself."""
        return mu

    def inverse(self, leak: float) -> Inverse:
        """Return the inverse of 1 - f: Phi(Phi^-1(y) - mu) (Dong, Roth and Su 2022, equation 6)."""

        def of(y: float) -> float:
            return float(ndtr(ndtri(y) - leak))

        return of

    def epsilon(self, leak: float) -> float:
        """Return epsilon at delta (Balle and Wang 2018, ICML, theorem 8)."""
        if leak <= 0 or _gaussian_excess(0.0, leak, self.delta) <= 0:
            return 0.0
        if _gaussian_excess(LARGEST_EPSILON, leak, self.delta) >= 0:
            return LARGEST_EPSILON
        found = brentq(lambda e: _gaussian_excess(e, leak, self.delta), 0.0, LARGEST_EPSILON, xtol=1e-9)
        return float(found)


@dataclass(frozen=True, slots=True)
class SampledGaussian:
    """DP-SGD: Gaussian noise on Poisson-sampled batches, composed; ordered by 1 / noise multiplier."""

    delta: float
    sampling_rate: float
    steps: int

    @property
    def description(self) -> str:
        """What is supposed."""
        return f"DP-SGD, {self.steps:,} steps at sampling rate {self.sampling_rate:g}"

    @property
    def most(self) -> float:
        """The inverse of the least noise that accountants bear."""
        return 10.0

    @property
    def precision(self) -> float:
        """Every curve takes a tenth of a second."""
        return 2e-3

    def near(self, mu: float) -> float:
        """Return what the central limit theorem gives (Bu et al. 2020, Harvard Data Science Review 2:3)."""
        return math.sqrt(math.log1p((mu / self.sampling_rate) ** 2 / self.steps))

    def inverse(self, leak: float) -> Inverse:
        """Return the inverse of 1 - f, from the pessimistic privacy-loss distribution at 101 epsilons.

        A curve that satisfies (epsilon, delta) at some epsilons only is leakier than the true one, so that
        the audit claims less than it could.

        Raises:
            MissingExtra: dp-accounting is not installed.
        """
        deltas = np.asarray(self._composed(leak, _GRID).get_delta_for_epsilon(_SUPPORTS), np.float64)
        return _Lines(_SUPPORTS, np.clip(deltas, 0.0, 1.0))

    def epsilon(self, leak: float) -> float:
        """Return epsilon at delta, from the pessimistic privacy-loss distribution."""
        return min(LARGEST_EPSILON, float(self._composed(leak, _FINE_GRID).get_epsilon_for_delta(self.delta)))

    def _composed(self, leak: float, grid: float) -> Any:
        return _composed(leak, self.sampling_rate, self.steps, grid / math.sqrt(self.steps))


@functools.lru_cache(maxsize=32)
def _composed(leak: float, sampling_rate: float, steps: int, grid: float) -> Any:
    """Return the privacy-loss distribution of DP-SGD, rounded to the side of more loss."""
    try:
        from dp_accounting.pld import privacy_loss_distribution as pld
    except ImportError:
        raise MissingExtra("dp-accounting", "privacy") from None
    one = pld.from_gaussian_mechanism(
        1 / leak, sampling_prob=sampling_rate, value_discretization_interval=grid
    )
    return one.self_compose(steps)


class _Lines:
    """The inverse of 1 - f for f the upper envelope of the lines of (epsilon, delta)-privacy."""

    def __init__(self, epsilons: Any, deltas: Any) -> None:
        self._rising, self._falling = np.exp(-epsilons), np.exp(epsilons)
        self._deltas = deltas

    def __call__(self, y: float) -> float:
        """Return the least x with 1 - f(x) >= y."""
        first = float(np.max((y - self._deltas) * self._rising))
        second = float(np.max(1 - self._deltas - (1 - y) * self._falling))
        return max(0.0, first, second)


def _gaussian_excess(epsilon: float, mu: float, delta: float) -> float:
    """Return how far the delta of a Gaussian mechanism at epsilon is above the given one, in logarithms."""
    above = float(log_ndtr(mu / 2 - epsilon / mu))
    below = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))
    return -math.inf if below >= above else above + math.log1p(-math.exp(below - above)) - math.log(delta)
