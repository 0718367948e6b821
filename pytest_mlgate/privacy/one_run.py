"""Lower bounds on epsilon from what an attack achieved: pure functions of scores and memberships.

Canaries are put into one training run, each by the toss of its own fair coin, and an attack scores them. The
highest scores are guessed to be members, as many of the lowest not to be, and about the others no guess is
made. How many guesses are right limits how private the run can have been. A bound is a statement about the
run at a confidence, and says nothing from above: an attack that fails proves no privacy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import bdtrc, betaincinv, expit

from .trade_offs import LARGEST_EPSILON, Family, Gaussian

Floats = NDArray[np.float64]

#: Shares of the canaries that are guessed about, tried one after the other at a share of the error each.
_SHARES = (1 / 2, 1 / 8)
#: Fewer guesses cannot show an epsilon of 1 at 95%.
_FEWEST_GUESSES = 8
#: Below this a number of a family stands for a mechanism that leaks nothing.
_SMALLEST = 1e-3
#: Where a number may be found more coarsely than this, every look at one is dear.
_FINE = 1e-6
#: With fewer canaries no bound gets off the ground.
FEWEST_CANARIES = 20


@dataclass(frozen=True, slots=True)
class Guesses:
    """How an attack did on canaries each of which was a member by the toss of a fair coin.

    Attributes:
        canaries: all of them, m.
        made: about how many a guess was made, r.
        right: how many of the guesses were right, v.
    """

    canaries: int
    made: int
    right: int

    def __post_init__(self) -> None:
        """Refuse numbers that no attack can have."""
        if not 0 <= self.right <= self.made <= self.canaries or self.made == 0:
            raise ValueError(f"{self.right} right of {self.made} guesses about {self.canaries} canaries")


@dataclass(frozen=True, slots=True)
class Audit:
    """The largest lower bound over the numbers of guesses that were tried, and the guesses it rests on."""

    epsilon: float
    guesses: Guesses


def guesses_at(scores: Floats, included: NDArray[np.bool_], seed: int) -> tuple[Guesses, ...]:
    """Return how the scores, shape (m,), do at each of the numbers of guesses that an audit tries.

    The numbers depend on m alone. Equal scores are put in an order by the seed, never by that of the rows,
    which may be sorted by membership.

    Raises:
        ValueError: there are fewer than `FEWEST_CANARIES`, or a score is not finite.
    """
    m = len(scores)
    if m < FEWEST_CANARIES or len(included) != m:
        raise ValueError(f"{m} scores and {len(included)} memberships; at least {FEWEST_CANARIES} are needed")
    if not bool(np.all(np.isfinite(scores))):
        raise ValueError("a score is NaN or infinite")
    shuffled = np.random.default_rng(seed).permutation(m)
    order = shuffled[np.argsort(scores[shuffled], kind="stable")]
    ordered = included[order]
    found = []
    for half in dict.fromkeys(max(1, int(m * share) // 2) for share in _SHARES):
        if 2 * half >= _FEWEST_GUESSES:
            right = int(ordered[m - half :].sum()) + int((~ordered[:half]).sum())
            found.append(Guesses(m, 2 * half, right))
    return tuple(found)


def steinke_p_value(guesses: Guesses, epsilon: float, delta: float) -> float:
    """Return the probability of so many right guesses at most, if the run were (epsilon, delta)-private.

    Source: Steinke, Nasr and Jagielski 2023, NeurIPS, theorem 5.2 (2305.08846).
    """
    accuracy = float(expit(epsilon))

    def at_least(k: NDArray[np.int_] | int) -> Floats:
        return np.where(
            np.asarray(k) <= 0, 1.0, bdtrc(np.maximum(np.asarray(k) - 1, 0), guesses.made, accuracy)
        )

    beta = float(at_least(guesses.right))
    if delta == 0 or guesses.right == 0:
        return beta
    i = np.arange(1, guesses.right + 1)
    # P(v > Binomial >= v - i), which i failures of delta could turn into a success each.
    alpha = float(np.max((at_least(guesses.right - i) - beta) / i, initial=0.0))
    return min(1.0, beta + 2 * guesses.canaries * delta * alpha)


def steinke_bound(guesses: Guesses, delta: float, error: float, least: float = 0.0) -> float:
    """Return the lower bound on epsilon that is above the true one with probability at most `error`.

    `least` is what is known already: a bound below it is not looked for. Source: `steinke_p_value`.
    """

    def refuted(epsilon: float) -> float:
        return error - steinke_p_value(guesses, epsilon, delta)

    return _largest_refuted(refuted, least, LARGEST_EPSILON, 1.0, 1e-9)


def f_dp_excess(guesses: Guesses, inverse: Callable[[float], float], error: float) -> float:
    """Return a number above 0 if so many right guesses refute the trade-off curve at the given error.

    Source: Mahloujifar, Melis and Chaudhuri 2025, ICML, algorithm 3 (2410.22235), for guesses between two.
    """
    m, made, right = guesses.canaries, guesses.made, guesses.right
    r, h = error * right / m, error * (made - right) / m
    for i in range(right - 1, -1, -1):
        more = inverse(r)
        if more <= h:
            break
        r = min(1.0, r + i / (made - i) * (more - h))
        h = more
    return r + h - made / m


def f_dp_bound(guesses: Guesses, family: Family, error: float, least: float = 0.0) -> float:
    """Return the largest number of the family that the guesses refute, `least` if none above it.

    `family.epsilon` of it is a lower bound on epsilon for mechanisms of the family. Source: `f_dp_excess`.
    """

    def refuted(leak: float) -> float:
        return f_dp_excess(guesses, family.inverse(leak), error)

    def gaussian(mu: float) -> float:
        return f_dp_excess(guesses, Gaussian(family.delta).inverse(mu), error)

    start = family.near(_largest_refuted(gaussian, 0.0, 100.0, 1.0, 1e-3))
    return _largest_refuted(refuted, least, family.most, start, family.precision)


def audit_any(scores: Floats, included: NDArray[np.bool_], delta: float, error: float, seed: int) -> Audit:
    """Return the lower bound on epsilon of any mechanism (Steinke et al.), over several numbers of guesses.

    `error` is divided by how many numbers are tried.
    """
    tried = guesses_at(scores, included, seed)
    return _best(tried, lambda g, least: steinke_bound(g, delta, error / len(tried), least), lambda e: e)


def audit_family(
    scores: Floats, included: NDArray[np.bool_], family: Family, error: float, seed: int
) -> Audit:
    """Return the lower bound on epsilon of a mechanism of the family (Mahloujifar et al.), as `audit_any`."""
    tried = guesses_at(scores, included, seed)
    return _best(tried, lambda g, least: f_dp_bound(g, family, error / len(tried), least), family.epsilon)


def many_runs_bound(members: tuple[int, int], others: tuple[int, int], delta: float, error: float) -> float:
    """Return the lower bound on epsilon from independent trainings, half of them with one canary.

    `members` is how many of the runs with the canary were said to have it, and of how many; `others` the
    same of the runs without it. The threshold must have been fixed before. Rows of one model are no
    independent runs: for them the figure is the strength of an attack, and bounds nothing.

    Source: Nasr et al. 2021, IEEE S&P (2101.04535): Clopper-Pearson limits of both rates, at half the error.
    """
    (said, runs), (alarms, without) = members, others
    missed, alarmed = _upper(runs - said, runs, error / 2), _upper(alarms, without, error / 2)
    found = 0.0
    for hit, alarm in ((1 - missed, alarmed), (1 - alarmed, missed)):
        if hit > delta:
            found = max(found, math.log(hit - delta) - math.log(alarm))
    return found


def _upper(count: int, n: int, error: float) -> float:
    return 1.0 if count >= n else float(betaincinv(count + 1, n - count, 1 - error))


def _best(
    tried: Sequence[Guesses], bound: Callable[[Guesses, float], float], epsilon: Callable[[float], float]
) -> Audit:
    best, of = 0.0, tried[0]
    for guesses in sorted(tried, key=lambda g: -g.right / g.made):
        found = bound(guesses, best)
        if found > best:
            best, of = found, guesses
    return Audit(epsilon(best) if best > 0 else 0.0, of)


def _largest_refuted(
    refuted: Callable[[float], float], least: float, most: float, start: float, precision: float
) -> float:
    """Return where `refuted`, which falls, crosses 0 above `least`; `least` where it is not refuted there.

    The search begins at `start`. What is returned is refuted itself, to `precision` of its size.
    """
    low = high = min(most, max(least, start, _SMALLEST))
    step = 2.0 if precision < _FINE else 1.2
    if refuted(low) > 0:
        while refuted(high) > 0:
            if high >= most:
                return most
            low, high = high, min(most, step * high)
    else:
        while refuted(low) <= 0:
            if low <= max(least, _SMALLEST):
                return least
            low, high = max(least, _SMALLEST, low / step), low
    found = float(brentq(refuted, low, high, xtol=1e-12, rtol=precision))
    return max(low, found * (1 - precision))
