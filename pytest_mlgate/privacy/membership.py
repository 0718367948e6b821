"""Membership inference: how well a row's loss tells whether the model was trained on it.

The attacker sees the model's answer and the row. Members are training rows, the others are rows that were
not trained on and are drawn alike. The advantage of an attack is the share of members that it recognises
less the share of others that it takes for members (Yeom et al. 2018, CSF, 1709.01604): 0 for a guess, 1 for
a model that gives every member away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..levels import Tails
from ..statistics import auc_interval, clopper_pearson, difference_interval, kolmogorov_smirnov_interval
from .one_run import many_runs_bound

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Interval = tuple[float, float]

#: Probabilities are kept away from 0 and 1 by this: losses stay finite, and single precision goes no finer.
_LEAST = 1e-7
#: Parts into which losses are cut to estimate their densities.
_BINS = 20
#: Fewer rows of either kind leave nothing to choose a threshold on and judge it, too.
FEWEST_ROWS = 20


def probability_losses(of_truth: Floats) -> Floats:
    """Return the cross-entropy of the probabilities that were given to what is true, shape (n,)."""
    return np.asarray(-np.log(np.clip(of_truth, _LEAST, 1 - _LEAST)), np.float64)


def squared_losses(errors: Floats) -> Floats:
    """Return the squared errors of a regression, shape (n,)."""
    return np.asarray(np.square(errors), np.float64)


@dataclass(frozen=True, slots=True)
class Advantage:
    """The advantage of an attack, with its interval, and what of each kind it took for a member."""

    value: float
    interval: Interval
    #: How many members were recognised, and of how many.
    members: tuple[int, int]
    #: How many others were taken for members, and of how many.
    others: tuple[int, int]


@dataclass(frozen=True, slots=True)
class AtLowFalseAlarms:
    """How many members an attack recognises with a threshold that few of the others pass."""

    allowed: float
    members: tuple[int, int]
    others: tuple[int, int]
    recognised: Interval
    false_alarms: Interval


def best_threshold(members: Floats, others: Floats, tails: Tails) -> tuple[float, Interval]:
    """Return the advantage of the best threshold on the losses, in either direction, with its interval.

    It is the Kolmogorov-Smirnov distance of the two samples. The lower end holds over all thresholds at once
    (Massart's inequality), so that having looked for the best one is paid for.

    Raises:
        ValueError: a loss is NaN or infinite, or one of the samples is empty.
    """
    _require_finite(members, others)
    return kolmogorov_smirnov_interval(members, others, tails)


def area(members: Floats, others: Floats, tails: Tails) -> tuple[float, Interval]:
    """Return the area under the ROC curve of taking low losses for members, with its interval."""
    _require_finite(members, others)
    member = np.repeat([True, False], [len(members), len(others)])
    return auc_interval(member, -np.concatenate([members, others]), tails)


def roc(members: Floats, others: Floats, points: int = 100) -> tuple[Floats, Floats]:
    """Return rates of false alarms and of recognised members, from (0, 0) to (1, 1), for low losses first."""
    cuts = np.quantile(np.concatenate([members, others]), np.linspace(0, 1, points))
    alarms, hits = (np.searchsorted(np.sort(s), cuts, "right") / len(s) for s in (others, members))
    return np.append(0.0, alarms), np.append(0.0, hits)


@dataclass(frozen=True, slots=True)
class Halves:
    """Losses of members and others, cut into rows on which an attack is chosen and rows that judge it."""

    members: tuple[Floats, Floats]
    others: tuple[Floats, Floats]


def halves(members: Floats, others: Floats, seed: int) -> Halves:
    """Return both samples cut into two random halves.

    Raises:
        ValueError: a loss is NaN or infinite, or one of the samples has fewer than `FEWEST_ROWS`.
    """
    _require_finite(members, others)
    if min(len(members), len(others)) < FEWEST_ROWS:
        raise ValueError(
            f"{len(members)} members and {len(others)} others; an attack needs {FEWEST_ROWS} of each"
        )
    random = np.random.default_rng(seed)
    cut = [np.array_split(random.permutation(sample), 2) for sample in (members, others)]
    return Halves((cut[0][0], cut[0][1]), (cut[1][0], cut[1][1]))


def likelihood_ratio(cut: Halves) -> Callable[[Floats], Floats]:
    """Return the log-likelihood ratio of being a member, of a loss, learned on the first halves.

    By the lemma of Neyman and Pearson no attack on the loss alone is better, densities being known; here they
    are shares of 20 parts with about equally many rows, half a row added to each.
    """
    members, others = cut.members[0], cut.others[0]
    edges = np.unique(np.quantile(np.concatenate([members, others]), np.linspace(0, 1, _BINS + 1)[1:-1]))

    def shares(sample: Floats) -> Floats:
        counts = np.bincount(np.searchsorted(edges, sample, "left"), minlength=len(edges) + 1)
        return np.asarray((counts + 0.5) / (len(sample) + 0.5 * len(counts)), np.float64)

    ratio = np.log(shares(members)) - np.log(shares(others))

    def of(losses: Floats) -> Floats:
        return np.asarray(ratio[np.searchsorted(edges, losses, "left")], np.float64)

    return of


def judged(cut: Halves, score: Callable[[Floats], Floats], tails: Tails) -> Advantage:
    """Return the advantage, on the second halves, of the threshold that is best on the first ones."""
    threshold = _best(score(cut.members[0]), score(cut.others[0]))
    members, others = score(cut.members[1]), score(cut.others[1])
    hits, alarms = int(np.sum(members >= threshold)), int(np.sum(others >= threshold))
    interval = difference_interval(hits, len(members), alarms, len(others), tails)
    value = hits / len(members) - alarms / len(others)
    return Advantage(value, interval, (hits, len(members)), (alarms, len(others)))


def at_low_false_alarms(cut: Halves, allowed: float, tails: Tails) -> AtLowFalseAlarms | None:
    """Return how many members a loss recognises where `allowed` of the others pass; `None` if too few.

    The threshold is taken on the first halves, both rates on the second, with exact intervals.
    """
    first = np.sort(cut.others[0])
    if allowed * len(first) < 1:
        return None
    threshold = first[int(allowed * len(first))]
    members, others = cut.members[1], cut.others[1]
    hits, alarms = int(np.sum(members < threshold)), int(np.sum(others < threshold))
    return AtLowFalseAlarms(
        allowed,
        (hits, len(members)),
        (alarms, len(others)),
        clopper_pearson(hits, len(members), tails),
        clopper_pearson(alarms, len(others), tails),
    )


def strength(advantage: Advantage, error: float) -> float:
    """Return the least log ratio of the two rates, by exact limits: how strong an attack is, not an epsilon.

    The rows of one model are no independent runs, so that it bounds nothing.
    """
    return many_runs_bound(advantage.members, advantage.others, 0.0, error)


def lira(target: Floats, shadows: Floats, trained_on: NDArray[np.bool_]) -> Floats:
    """Return the likelihood-ratio score of being a member, shape (n,), from a few shadow models.

    Args:
        target: the logit of the probability that the model gives to each row's label, shape (n,).
        shadows: the same of each shadow model, shape (s, n).
        trained_on: which rows each shadow model was trained on, shape (s, n).

    Source: Carlini et al. 2022, IEEE S&P (2112.03570), algorithm 1, online, with one variance for all rows,
    which is what a few shadows can estimate (section VI).

    Raises:
        ValueError: a row is in all of the shadows' training rows, or in none.
    """
    counts = trained_on.sum(axis=0)
    if not bool(np.all((counts > 0) & (counts < len(trained_on)))):
        raise ValueError("every row must be in some shadows' training rows and outside those of others")
    inside = np.where(trained_on, shadows, 0).sum(axis=0) / counts
    outside = np.where(trained_on, 0, shadows).sum(axis=0) / (len(trained_on) - counts)

    def spread(which: NDArray[np.bool_], mean: Floats) -> float:
        return max(float(np.sqrt(np.mean(np.square(shadows - mean)[which]))), 1e-6)

    within, without = spread(trained_on, inside), spread(~trained_on, outside)
    near, far = np.square((target - inside) / within) / 2, np.square((target - outside) / without) / 2
    return np.asarray(far - near - math.log(within / without), np.float64)


def train_shadows(
    train: Callable[[Rows], Callable[[], Floats]], rows: int, shadows: int, seed: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return what `lira` needs of shadow models: their logits and training rows, both of shape (s, n).

    `train` gets the positions of a random half of all rows, trains on them and returns a function that
    gives the logit of the probability of each row's label, shape (n,). Each pair of shadows shares no row.

    Raises:
        ValueError: the number of shadows is odd, or below 2.
    """
    if shadows < 2 or shadows % 2:
        raise ValueError(f"{shadows} shadows: an even number is needed, each half has its complement")
    random = np.random.default_rng(seed)
    answers, masks = [], []
    for _ in range(shadows // 2):
        half = random.permutation(rows) < rows // 2
        for mask in (half, ~half):
            answers.append(np.asarray(train(np.flatnonzero(mask))(), np.float64))
            masks.append(mask)
    return np.stack(answers), np.stack(masks)


def _best(members: Floats, others: Floats) -> float:
    """Return the threshold from which on most members and fewest others lie."""
    cuts = np.unique(np.concatenate([members, others]))
    hits, alarms = (1 - np.searchsorted(np.sort(s), cuts, "left") / len(s) for s in (members, others))
    return float(cuts[np.argmax(hits - alarms)])


def _require_finite(*samples: Sequence[float] | Floats) -> None:
    broken = sum(int((~np.isfinite(sample)).sum()) for sample in samples)
    if broken:
        raise ValueError(f"{broken:,} losses are NaN or infinite")
