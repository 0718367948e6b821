"""Intervals for a difference and a ratio of two proportions, against the likelihood and against print."""

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import binom

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import difference_interval, ratio_interval

steady = settings(deadline=None, max_examples=80, derandomize=True)
TAILS = Tails(lower=0.025, upper=0.025)
alphas = st.floats(0.001, 0.15)


@st.composite
def counts(draw, largest=400):
    n = draw(st.integers(1, largest))
    return draw(st.integers(0, n)), n


def _z(statistic, variance, third, alpha):
    """Return how many allowances the statistic lies beyond its mean, written independently of the code."""
    quantile = -ndtri(alpha)
    skewness = third / variance**1.5
    return statistic / math.sqrt(variance) - (quantile + max(0.0, skewness) * (quantile**2 - 1) / 6)


def _likeliest(slope, lowest, highest):
    """Return where a log-likelihood with this falling slope is largest."""
    inside = (highest - lowest) * 1e-12
    if slope(lowest + inside) <= 0:
        return lowest
    if slope(highest - inside) >= 0:
        return highest
    return brentq(slope, lowest + inside, highest - inside, xtol=1e-15, rtol=1e-14)


def _slope(k, n, p):
    return (k / p if k else 0.0) - ((n - k) / (1 - p) if k < n else 0.0)


@steady
@given(counts(80), counts(80), alphas)
def test_the_ends_of_a_difference_are_where_the_test_begins_to_reject(first, second, alpha):
    """At either end the score statistic, with rates that maximise the likelihood, is at its limit."""
    (k1, n1), (k2, n2) = first, second
    for sign, end in zip((1, -1), difference_interval(*first, *second, Tails(alpha, alpha)), strict=True):
        if abs(end) > 0.999:
            continue
        p1 = _likeliest(
            lambda p, d=end: _slope(k1, n1, p) + _slope(k2, n2, p - d), max(0.0, end), min(1.0, 1 + end)
        )
        p2 = p1 - end
        v1, v2 = p1 * (1 - p1) / n1, p2 * (1 - p2) / n2
        third = sign * (v1 * (1 - 2 * p1) / n1 - v2 * (1 - 2 * p2) / n2)
        variance = (v1 + v2) * (n1 + n2) / (n1 + n2 - 1)
        assert _z(sign * (k1 / n1 - k2 / n2 - end), variance, third, alpha) == pytest.approx(0, abs=1e-6)


@steady
@given(counts(80), counts(80), alphas)
def test_the_lower_end_of_a_ratio_is_where_the_test_begins_to_reject(first, second, alpha):
    """At the lower end the score statistic, at the likeliest rates, is at its limit."""
    (k1, n1), (k2, n2) = first, second
    assume(k1)
    low, _ = ratio_interval(*first, *second, Tails(alpha, alpha))
    assume(low > 0)
    p2 = _likeliest(lambda p: low * _slope(k1, n1, low * p) + _slope(k2, n2, p), 0.0, min(1.0, 1 / low))
    p1 = low * p2
    v1, v2 = p1 * (1 - p1) / n1, low**2 * p2 * (1 - p2) / n2
    third = v1 * (1 - 2 * p1) / n1 - low * v2 * (1 - 2 * p2) / n2
    variance = (v1 + v2) * (n1 + n2) / (n1 + n2 - 1)
    assert _z(k1 / n1 - low * k2 / n2, variance, third, alpha) == pytest.approx(0, abs=1e-6)


def test_published_intervals():
    """Where skewness asks for no widening the ends are Miettinen and Nurminen's, as published."""
    # 5/56 against 0/29: Laud 2017 and the documentation of the R package ratesci.
    assert difference_interval(5, 56, 0, 29, TAILS) == pytest.approx((-0.0326, 0.1933), abs=5e-5)
    # 56/70 against 48/80: Newcombe 1998, table II, example (a).
    low, high = difference_interval(56, 70, 48, 80, TAILS)
    assert low == pytest.approx(0.0528, abs=5e-5)
    assert 0.3382 < high < 0.3400, "the long tail is on this side"
    low, high = ratio_interval(5, 56, 0, 29, TAILS)
    assert high is None
    # With the correction at either end, as Laud has it, the lower end is narrower: 0.7696.
    assert low == pytest.approx(0.7175, abs=5e-5)


@steady
@given(counts(), counts(), alphas, alphas)
def test_a_difference_holds_the_estimate_and_mirrors_itself(first, second, lower, upper):
    """Swapping the samples mirrors the interval, which lies in -1 to 1 and holds the observed difference."""
    low, high = difference_interval(*first, *second, Tails(lower, upper))
    mirrored = difference_interval(*second, *first, Tails(upper, lower))
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)
    assert -1 <= low <= first[0] / first[1] - second[0] / second[1] <= high <= 1
    assert high - low > 1e-4


@steady
@given(counts(), counts(), alphas)
def test_failures_mirror_successes(first, second, alpha):
    """Counting failures instead of successes mirrors the interval of a difference."""
    tails = Tails(alpha, alpha)
    low, high = difference_interval(*first, *second, tails)
    (k1, n1), (k2, n2) = first, second
    assert difference_interval(n1 - k1, n1, n2 - k2, n2, tails) == pytest.approx((-high, -low), abs=1e-9)


@steady
@given(counts(), counts(), alphas, alphas)
@pytest.mark.parametrize("interval", [difference_interval, ratio_interval])
def test_a_smaller_tail_moves_its_own_end_outward(interval, first, second, one, other):
    """Each end moves outward as its own tail shrinks, and does not move with the other tail."""
    small, large = sorted((one, other))
    near, far = (interval(*first, *second, Tails(t, t)) for t in (large, small))
    assert far[0] <= near[0] + 1e-12
    assert far[1] is None or far[1] >= near[1] * (1 - 1e-12) - 1e-12
    assert interval(*first, *second, Tails(small, large)) == (far[0], near[1])


@steady
@given(counts(60), counts(60), alphas)
def test_one_more_success_moves_both_ends_up(first, second, alpha):
    """Both ends of a difference rise with the successes of the first sample: what the grid walk relies on."""
    k, n = first
    assume(k < n)
    before = difference_interval(k, n, *second, Tails(alpha, alpha))
    after = difference_interval(k + 1, n, *second, Tails(alpha, alpha))
    assert after[0] >= before[0] - 1e-9
    assert after[1] >= before[1] - 1e-9


@steady
@given(counts(60), counts(60))
@example((0, 5), (0, 5))
@example((5, 5), (5, 5))
@example((1, 1), (1, 1))
@example((0, 30), (30, 30))
def test_ratio_contains_the_estimate_and_is_never_of_zero_width(first, second):
    """The interval of a ratio holds the observed ratio and keeps its width with no and with all successes."""
    low, high = ratio_interval(*first, *second, TAILS)
    assert low >= 0
    assert high is None or high - low > 1e-3
    if second[0]:
        ratio = (first[0] / first[1]) / (second[0] / second[1])
        assert low <= ratio + 1e-12
        assert high is None or high >= ratio - 1e-12


def test_ratio_without_successes_below_is_unbounded_above():
    """A denominator that may be zero leaves the upper end open instead of inventing a number."""
    assert ratio_interval(5, 10, 0, 10, TAILS)[1] is None
    assert ratio_interval(0, 10, 0, 10, TAILS) == (0.0, None)
    assert ratio_interval(5, 10, 1, 10, TAILS)[1] is not None
    assert ratio_interval(10, 10, 1, 1_000_000, Tails(1e-6, 1e-6))[1] is None, "no number is infinite"


@steady
@given(counts(60), counts(60))
def test_ratio_swaps_to_its_inverse(first, second):
    """The interval of the inverse ratio is the inverse interval."""
    assume(first[0] and second[0])
    low, high = ratio_interval(*first, *second, TAILS)
    inverse_low, inverse_high = ratio_interval(*second, *first, TAILS)
    assert high == pytest.approx(1 / inverse_low, rel=1e-9)
    assert low == pytest.approx(1 / inverse_high, rel=1e-9)


def _misses(interval, p1, n1, p2, n2, truth):
    weights = np.outer(binom.pmf(np.arange(n1 + 1), n1, p1), binom.pmf(np.arange(n2 + 1), n2, p2))
    above = below = 0.0
    for k1, k2 in np.argwhere(weights > 1e-8).tolist():
        low, high = interval(k1, n1, k2, n2, TAILS)
        below += weights[k1, k2] * (low > truth)
        above += weights[k1, k2] * (high is not None and high < truth)
    return below, above


CELLS = [(0.5, 20, 0.5, 20), (0.1, 30, 0.3, 30), (1.0, 20, 0.5, 20), (0.3, 20, 1.0, 20), (0.9, 40, 0.5, 10)]


@pytest.mark.parametrize(("p1", "n1", "p2", "n2"), CELLS)
def test_few_rows_are_covered_too(p1, n1, p2, n2):
    """With 10 to 40 rows, over all outcomes, both intervals miss about as often as stated on either side."""
    for interval, truth in ((difference_interval, p1 - p2), (ratio_interval, p1 / p2)):
        below, above = _misses(interval, p1, n1, p2, n2, truth)
        assert below + above <= 0.06
        assert max(below, above) <= 0.04


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5), (1, -1)])
@pytest.mark.parametrize("interval", [difference_interval, ratio_interval])
def test_impossible_counts_are_refused(interval, k, n):
    """Counts that no sample can have raise an error that repeats them, in either place."""
    message = f"{k} successes of {n}"
    with pytest.raises(ValueError, match=message):
        interval(1, 2, k, n, TAILS)
    with pytest.raises(ValueError, match=message):
        interval(k, n, 1, 2, TAILS)
