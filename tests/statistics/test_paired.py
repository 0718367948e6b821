"""The interval for what changes between two models on the same rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multinomial

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import paired_difference_interval

TAILS = Tails(lower=0.025, upper=0.025)


@st.composite
def disagreements(draw):
    n = draw(st.integers(1, 500))
    first = draw(st.integers(0, n))
    return first, draw(st.integers(0, n - first)), n


@settings(deadline=None, max_examples=100, derandomize=True)
@given(disagreements())
def test_interval_is_antisymmetric_and_contains_the_estimate(counts):
    """Swapping the models mirrors the interval, which holds the observed difference and has a width."""
    first, second, n = counts
    low, high = paired_difference_interval(first, second, n, TAILS)
    assert low < high
    assert low - 1e-12 <= (first - second) / n <= high + 1e-12
    mirrored = paired_difference_interval(second, first, n, TAILS)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


def test_published_interval_and_test():
    """The ends and the test of Fagerland et al. 2014's airway data are those published for Tango's score."""
    # 1 against 7 of 21: R package ratesci; the lower end with its correction for skewness, the upper without.
    assert paired_difference_interval(1, 7, 21, TAILS) == pytest.approx((-0.5281, -0.0183), abs=5e-5)
    # At the p-value of McNemar's test with n - 1 the end stands at 0.
    _, high = paired_difference_interval(1, 7, 21, Tails(lower=0.025, upper=0.01921697))
    assert high == pytest.approx(0, abs=1e-6)


@settings(deadline=None, max_examples=80, derandomize=True)
@given(disagreements(), st.floats(0.001, 0.15), st.floats(0.001, 0.15))
def test_a_smaller_tail_moves_its_own_end_outward(counts, one, other):
    """Each end stays in -1 to 1, moves outward as its tail shrinks, and ignores the other tail."""
    small, large = sorted((one, other))
    near, far = (paired_difference_interval(*counts, Tails(t, t)) for t in (large, small))
    assert -1 <= far[0] <= near[0] + 1e-12
    assert 1 >= far[1] >= near[1] - 1e-12
    assert paired_difference_interval(*counts, Tails(small, large)) == (far[0], near[1])


@pytest.mark.parametrize(
    ("p", "q", "n"), [(0.1, 0.1, 50), (0.02, 0.01, 80), (0.2, 0.05, 40), (0.0, 0.0, 60), (0.01, 0.0, 60)]
)
def test_interval_covers_the_true_difference(p, q, n):
    """Over all outcomes, weighted by their probability, either end misses about as often as stated."""
    below = above = total = 0.0
    for first in range(n + 1):
        seconds = np.arange(n + 1 - first)
        cells = np.column_stack([np.full_like(seconds, first), seconds, n - first - seconds])
        weights = multinomial.pmf(cells, n, [p, q, 1 - p - q])
        for second, weight in zip(seconds.tolist(), weights.tolist(), strict=True):
            if weight > 1e-9:
                low, high = paired_difference_interval(first, second, n, TAILS)
                total += weight
                below += weight * (low > p - q)
                above += weight * (high < p - q)
    assert total == pytest.approx(1, abs=1e-4)
    assert max(below, above) <= 0.035


def test_more_rows_narrow_the_interval():
    """The same rates on four times the rows give about half the width."""
    low, high = paired_difference_interval(20, 10, 500, TAILS)
    low4, high4 = paired_difference_interval(80, 40, 2000, TAILS)
    assert (high - low) / (high4 - low4) == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("counts", [(0, 0, 0), (-1, 0, 5), (3, 3, 5), (0, 6, 5)])
def test_counts_that_do_not_fit_are_refused(counts):
    """Disagreements that exceed the rows raise an error that repeats them."""
    with pytest.raises(ValueError, match=f"{counts[0]} and {counts[1]} disagreements"):
        paired_difference_interval(*counts, TAILS)
