"""What a fairness metric compares between groups: rates from counts, or means of errors.

A part is one quantity (the true-positive rate, the mean error) in every judged group, for the release
artifact and, where two models are compared on the same rows, for the other one too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from pytest_mlgate.statistics.simultaneous import Floats, Limits, mean_limits, rate_limits

Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]
#: From this many positive and negative labels on, a group's own residual variance is trusted.
_ENOUGH_TO_SHARPEN = 30
#: Rows of pooled spread that are added to every group, so that equal values by luck are not certainty.
_PSEUDO_ROWS = 2
#: The same for the skewness, which needs more rows to be seen.
_PSEUDO_ROWS_OF_SKEWNESS = 5


@dataclass(frozen=True, eq=False)
class RatePart:
    """A rate: `cells` counts the rows of each kind, shape (g, c), for kinds of (label, both answers).

    `numerator` and `denominator`, shape (2, c), say which kinds count for the release artifact (row 0) and
    for the other model (row 1).
    """

    name: str
    #: What the denominator counts, as messages show it: " positives".
    of: str
    cells: Floats
    numerator: Bools
    denominator: Bools
    #: No gap can be larger than this.
    largest: float = 1.0

    def counts(self, model: int = 0) -> tuple[Floats, Floats]:
        """Return numerator and denominator of every group."""
        return self.cells @ self.numerator[model], self.cells @ self.denominator[model]

    def values(self, model: int = 0) -> Floats:
        """Return the rate of every group; every group must have a denominator."""
        k, n = self.counts(model)
        return np.asarray(k / n)

    @property
    def without_spread(self) -> bool:
        """Whether no row differs from any other, so that there is no interval: counts always have one."""
        return False

    @property
    def sizes(self) -> Floats:
        """What stands in the denominator in every group, for the release artifact."""
        return self.counts()[1]

    def limits(self, tail: float, at: Ints | None = None, sizes: Floats | None = None) -> Limits:
        """Return one-sided limits of some groups (all by default), as if they had these sizes."""
        k, n = self.counts()
        chosen = np.arange(len(n)) if at is None else at
        grown = n[chosen] if sizes is None else sizes
        return rate_limits((k / n)[chosen] * grown, grown, tail)

    def covariances(self, tail: float) -> Floats:
        """Return the covariance matrix of both models' rates in every group, shape (g, 2, 2).

        By the delta method, after adding one row to each kind of disagreement as Bonett and Price 2012 do
        (British Journal of Mathematical and Statistical Psychology 65:473), so that no disagreement seen
        still leaves a variance.
        """
        del tail  # rates need no allowance for an estimated variance
        cells = self.cells + self._one_row_for_each_disagreement()
        influence = np.empty((2, *cells.shape))
        for model in (0, 1):
            of, among = self.numerator[model].astype(float), self.denominator[model].astype(float)
            n = (cells @ among)[:, None]
            influence[model] = (of[None, :] - (cells @ of)[:, None] / n * among[None, :]) / n
        return np.asarray(np.einsum("gc,mgc,kgc->gmk", cells, influence, influence))

    def _one_row_for_each_disagreement(self) -> Floats:
        (of0, of1), (among0, among1) = self.numerator, self.denominator
        same = of0 == of1
        kinds = (of0 & ~of1, of1 & ~of0, same & among0 & ~among1, same & among1 & ~among0)
        added = np.zeros(len(of0))
        for kind in kinds:
            added += kind / max(1, int(kind.sum()))
        return added


@dataclass(frozen=True, eq=False)
class MeanPart:
    """A mean over rows, from its first three moments in every group; models as in `RatePart`.

    `means` has shape (2, g), `squares` (g, 2, 2) holds the centred sums of products, `cubes` (g,) the
    centred sums of cubes of the release artifact.
    """

    name: str
    of: str
    sizes: Floats
    means: Floats
    squares: Floats
    cubes: Floats
    largest: float = field(default=math.inf, kw_only=True)

    def values(self, model: int = 0) -> Floats:
        """Return the mean of every group."""
        return np.asarray(self.means[model])

    def limits(self, tail: float, at: Ints | None = None, sizes: Floats | None = None) -> Limits:
        """Return one-sided limits of some groups (all by default), as if they had these sizes."""
        chosen = np.arange(len(self.sizes)) if at is None else at
        grown = self.sizes[chosen] if sizes is None else sizes
        deviation = np.sqrt(self._variances()[:, 0, 0])
        pooled = float(np.sqrt(self._pooled()[0, 0]))
        added = _PSEUDO_ROWS_OF_SKEWNESS
        common = float(self.cubes.sum()) / float(self.sizes.sum())
        third = (self.cubes + added * common) / (self.sizes + added)
        with np.errstate(divide="ignore", invalid="ignore"):
            skewness = np.where(deviation > 0, third / deviation**3, 0.0) if pooled else deviation
        return mean_limits(self.means[0][chosen], deviation[chosen], skewness[chosen], grown, tail)

    @property
    def without_spread(self) -> bool:
        """Whether no row differs from the mean of its group."""
        return not float(self._pooled()[0, 0])

    def covariances(self, tail: float) -> Floats:
        """Return the covariance matrix of both models' means in every group, shape (g, 2, 2).

        Inflated by the square of Student's quantile over the normal one at `tail`; infinite for one row.
        """
        n = self.sizes
        t = stdtrit(np.maximum(n - 1, 1), 1 - tail) / float(-ndtri(tail))
        found = self._variances() * (t**2 / n)[:, None, None]
        unknown = np.asarray([[math.inf, 0.0], [0.0, math.inf]])
        return np.where((n < 2)[:, None, None], unknown, found)

    def _pooled(self) -> Floats:
        spare = max(1.0, float(self.sizes.sum()) - len(self.sizes))
        return np.asarray(self.squares.sum(axis=0) / spare)

    def _variances(self) -> Floats:
        added = _PSEUDO_ROWS * self._pooled()
        return np.asarray((self.squares + added) / (self.sizes + _PSEUDO_ROWS - 1)[:, None, None])


@dataclass(frozen=True, eq=False)
class CalibrationPart(MeanPart):
    """The mean of label minus score, whose limits follow from the count of positive labels.

    Given the scores, the labels of a group vary no more than a binomial count of equal mean does, so that
    limits of the share of positive labels, moved by the mean score, are valid (Hoeffding 1956, Annals of
    Mathematical Statistics 27:713). Where there are enough labels of both kinds the count is taken at its
    effective size, which rests on the residual variance (Korn and Graubard 1998, Survey Methodology 24:193).
    """

    #: Rows with a positive label in every group.
    positives: Floats

    def limits(self, tail: float, at: Ints | None = None, sizes: Floats | None = None) -> Limits:
        """Return one-sided limits of some groups (all by default), as if they had these sizes."""
        n, k = self.sizes, self.positives
        share, fewer = k / n, np.minimum(k, n - k)
        binomial = np.maximum(n * share * (1 - share), 1e-12)
        own = np.clip(self.squares[:, 0, 0] * n / np.maximum(n - 1, 1) / binomial, 0.01, 1.0)
        effect = np.where(fewer >= _ENOUGH_TO_SHARPEN, own, 1.0)
        chosen = np.arange(len(n)) if at is None else at
        grown = (n[chosen] if sizes is None else sizes) / effect[chosen]
        found = rate_limits(share[chosen] * grown, grown, tail)
        moved = self.means[0][chosen] - found.value
        return Limits(self.means[0][chosen], found.low + moved, found.high + moved)


Part = RatePart | MeanPart


def mean_part(
    name: str, rows: Floats, codes: Ints, groups: int, positives: Bools | None = None, of: str = ""
) -> MeanPart:
    """Return the moments of `rows`, shape (m, n) for m = 1 or 2 models, within each of the groups."""
    n = np.bincount(codes, minlength=groups).astype(float)
    whole = np.maximum(n, 1)
    both = rows if len(rows) == 2 else np.repeat(rows, 2, axis=0)
    means = np.asarray([np.bincount(codes, weights=r, minlength=groups) for r in both]) / whole
    centred = [r - m[codes] for r, m in zip(both, means, strict=True)]
    squares = np.empty((groups, 2, 2))
    for i, j in ((0, 0), (0, 1), (1, 1)):
        squares[:, i, j] = np.bincount(codes, weights=centred[i] * centred[j], minlength=groups)
        squares[:, j, i] = squares[:, i, j]
    cubes = np.bincount(codes, weights=centred[0] ** 3, minlength=groups).astype(float)
    if positives is None:
        return MeanPart(name, of, n, means, squares, cubes)
    labels = np.bincount(codes, weights=positives, minlength=groups).astype(float)
    return CalibrationPart(name, of, n, means, squares, cubes, labels, largest=2.0)


def at_groups(part: Part, groups: Ints) -> Part:
    """Return the part of some groups only."""
    if isinstance(part, RatePart):
        return replace(part, cells=part.cells[groups])
    kept = replace(
        part,
        sizes=part.sizes[groups],
        means=part.means[:, groups],
        squares=part.squares[groups],
        cubes=part.cubes[groups],
    )
    return replace(kept, positives=kept.positives[groups]) if isinstance(kept, CalibrationPart) else kept
