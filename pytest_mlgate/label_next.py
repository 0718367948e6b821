"""Which rows of an unlabelled pool to label next, and what the labels then say: an unbiased answer sooner.

Labels are drawn where the model is likely to be wrong, in strata, and each drawn row carries the probability
with which it was drawn. Whatever the model believes of itself, the estimate is unbiased and the interval
holds: a model that is sure of its errors only makes the labels worth less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from .levels import Tails
from .statistics import clopper_pearson

Floats = NDArray[np.float64]

#: Labels of a stratum that are expected at least, and the most strata; more of either gain nothing.
_LABELS_OF_STRATUM, _MOST_STRATA = 20, 8
#: This share of the labels goes to every stratum by its size, in case the model's chances are wrong.
_BY_SIZE = 0.3
#: A row that the model is sure of counts as one with this chance of an error.
_LEAST_CHANCE = 0.02
_FEWEST_OF_STRATUM = 2


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The rows to label, ascending, and the probability with which each was drawn; both of shape (n,)."""

    rows: NDArray[np.intp]
    probabilities: Floats


def error_chances(scores: Floats, threshold: float = 0.5) -> Floats:
    """Return how likely the model itself takes each of its decisions to be wrong, shape (n,).

    `scores` are probabilities of the positive class, shape (n,), decided at the threshold, or of every
    class, shape (n, k), of which the largest is the decision.

    Raises:
        ValueError: the scores are no probabilities.
    """
    values = np.asarray(scores, np.float64)
    if values.ndim not in (1, 2) or not bool(np.all((values >= 0) & (values <= 1))):
        raise ValueError("scores are not probabilities from 0 to 1, of shape (n,) or (n, k)")
    if values.ndim == 2:
        return np.asarray(1 - values.max(axis=1))
    return np.where(values >= threshold, 1 - values, values)


def choose(chances: Floats, n: int, seed: int) -> Chosen:
    """Return n rows of a pool to label, given the chance that each is decided wrongly, shape (N,).

    Rows are put in strata by their chance, and each stratum has labels in proportion to its size times the
    standard deviation sqrt(c (1 - c)) of an error in it (Neyman 1934, JRSS 97:558), where no chance counts
    as less than 0.02; three tenths of the labels go by size alone, and two at least to every stratum.
    Inside, rows are drawn without replacement. With n of N or more, all are returned.

    Raises:
        ValueError: n is not positive, the pool is empty, or a chance is outside of 0 to 1.
    """
    chances = np.asarray(chances, np.float64)
    size = len(chances)
    if n <= 0 or not size:
        raise ValueError(f"{n} labels of a pool of {size} rows: both must be positive")
    if chances.ndim != 1 or not bool(np.all((chances >= 0) & (chances <= 1))):
        raise ValueError("a chance of an error is outside of 0 to 1")
    if n >= size:
        return Chosen(np.arange(size), np.ones(size))
    kept = np.clip(chances, _LEAST_CHANCE, 1 - _LEAST_CHANCE)
    deviations = np.sqrt(kept * (1 - kept))
    strata = _strata(deviations, max(1, min(_MOST_STRATA, n // _LABELS_OF_STRATUM)))
    labels = _allocated(strata, deviations, n)
    rng = np.random.default_rng(seed)
    rows = [rng.choice(s, k, replace=False) for s, k in zip(strata, labels, strict=True)]
    probabilities = [np.full(k, k / len(s)) for s, k in zip(strata, labels, strict=True)]
    drawn, p = np.concatenate(rows), np.concatenate(probabilities)
    order = np.argsort(drawn)
    return Chosen(np.asarray(drawn[order], np.intp), p[order])


def estimate(
    right: NDArray[np.bool_], probabilities: Floats, tails: Tails
) -> tuple[float, tuple[float, float]]:
    """Return the share of right decisions from the labels of all chosen rows, and its interval.

    `right`, shape (n,), tells whether the decision of each row was right, `probabilities`, shape (n,), with
    which probability it was drawn. The value is that of Horvitz and Thompson (1952, JASA 47:663), unbiased
    over draws; the share is that of the source of the pool, so that the pool's own sampling counts, too.
    The interval combines the exact limits of the strata, told by their probabilities (Yan and Su 2010,
    Statistics in Biopharmaceutical Research 2:329; Zou and Donner 2008, Statistics in Medicine 27:1693).
    A chosen row that stays without a label makes both wrong: label all of them, or choose anew.

    Raises:
        ValueError: there is no row, the shapes differ, or a probability is outside of 0 to 1.
    """
    right, probabilities = np.asarray(right, np.bool_), np.asarray(probabilities, np.float64)
    if not len(right) or right.shape != probabilities.shape:
        raise ValueError(
            f"{len(right)} labels and {len(probabilities)} probabilities are not of the same rows"
        )
    if not bool(np.all((probabilities > 0) & (probabilities <= 1))):
        raise ValueError("a probability of being drawn is outside of 0 to 1")
    _, stratum, drawn = np.unique(np.round(probabilities, 12), return_inverse=True, return_counts=True)
    hits = np.bincount(stratum, weights=right)
    sizes = np.bincount(stratum, weights=1 / probabilities)
    total = float(sizes.sum())
    weights, rates = sizes / total, hits / drawn
    value = float(weights @ rates)
    # What the strata differ by, over the pool: the part of its sampling that no label inside of one shows.
    between = float(weights @ (rates - value) ** 2) / total
    ends = np.array([clopper_pearson(float(h), float(d), tails) for h, d in zip(hits, drawn, strict=True)])

    def end(limits: Floats, alpha: float) -> float:
        return math.sqrt(
            float(np.sum((weights * (limits - rates)) ** 2)) + float(ndtri(alpha)) ** 2 * between
        )

    low, high = value - end(ends[:, 0], tails.lower), value + end(ends[:, 1], tails.upper)
    return value, (max(0.0, low), min(1.0, high))


def _strata(deviations: Floats, count: int) -> list[NDArray[np.intp]]:
    """Return the rows of each stratum, such that all have about the same sum of deviations.

    Source: the rule of equal cumulated roots in the form of Dalenius and Hodges 1959, JASA 54:88.
    """
    order = np.argsort(deviations, kind="stable")
    reached = np.cumsum(deviations[order])
    cuts = np.searchsorted(reached, reached[-1] * np.arange(1, count) / count)
    return [part for part in np.split(order, np.unique(cuts)) if len(part)]


def _allocated(strata: list[NDArray[np.intp]], deviations: Floats, n: int) -> list[int]:
    """Return how many labels each stratum has; they sum to n, and none has more than rows."""
    sizes = np.array([len(s) for s in strata])
    spread = np.array([float(deviations[s].sum()) for s in strata])
    wanted = n * ((1 - _BY_SIZE) * spread / spread.sum() + _BY_SIZE * sizes / sizes.sum())
    least = np.minimum(sizes, _FEWEST_OF_STRATUM if n >= _FEWEST_OF_STRATUM * len(strata) else 1)
    labels = np.clip(np.floor(wanted).astype(int), least, sizes)
    while labels.sum() != n:
        # One label more where it is missed most, or less where it is missed least.
        step = 1 if labels.sum() < n else -1
        allowed = labels < sizes if step > 0 else labels > least
        gap = np.where(allowed, (wanted - labels) * step, -np.inf)
        labels[int(gap.argmax())] += step
    return [int(k) for k in labels]
