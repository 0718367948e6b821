"""Means over repeats, rows and two groups of rows, against scipy and against what skewness does."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import (
    geometric_mean_interval,
    mean_interval,
    paired_mean_interval,
    skewed_mean_interval,
    welch_interval,
)

steady = settings(deadline=None, max_examples=80, derandomize=True)
samples = st.lists(st.floats(0.01, 100), min_size=2, max_size=30).map(np.array)
rows = st.lists(st.floats(-50, 50).map(lambda x: round(x, 3)), min_size=2, max_size=40).map(np.array)
alphas = st.floats(0.001, 0.2)


@steady
@given(samples, st.floats(0.01, 0.3))
def test_mean_interval_is_that_of_scipy(values, alpha):
    """The mean has Student's t interval, as scipy has it."""
    mean, ends = mean_interval(values, Tails(alpha / 2, alpha / 2))
    expected = stats.ttest_1samp(values, 0).confidence_interval(1 - alpha) if np.ptp(values) > 1e-6 else None
    assert mean == pytest.approx(np.mean(values))
    if expected is not None:
        assert ends == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-9)


@steady
@given(samples)
def test_geometric_mean_interval_is_that_of_the_logarithms(values):
    """The geometric mean is scipy's, and its interval is the exponential of that of the logarithms."""
    tails = Tails(0.01, 0.05)
    value, ends = geometric_mean_interval(values, tails)
    assert value == pytest.approx(stats.gmean(values), rel=1e-9)
    assert np.log(ends) == pytest.approx(mean_interval(np.log(values), tails)[1], rel=1e-9, abs=1e-9)
    assert 0 < ends[0] <= value * (1 + 1e-12)
    assert value <= ends[1] * (1 + 1e-12)


def test_geometric_mean_interval_covers():
    """Of 2000 sets of five lognormal repeats, about 5% have an interval that misses the median."""
    rng = np.random.default_rng(2)
    ends = np.array(
        [geometric_mean_interval(rng.lognormal(0, 0.3, 5), Tails(0.025, 0.025))[1] for _ in range(2000)]
    )
    assert 0.03 <= np.mean((ends[:, 0] > 1) | (ends[:, 1] < 1)) <= 0.07


def _mirrored(values):
    return np.concatenate([values, values.max() + values.min() - values])


@steady
@given(rows, rows, alphas)
def test_without_skewness_the_intervals_are_those_of_scipy(first, second, alpha):
    """Samples that mirror themselves have Student's and Welch's intervals, as scipy has them."""
    assume(np.ptp(first) > 0.01 and np.ptp(second) > 0.01)
    first, second = _mirrored(first), _mirrored(second)
    tails = Tails(alpha / 2, alpha / 2)
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(1 - alpha)
    value, ends = welch_interval(first, second, tails)
    assert value == pytest.approx(first.mean() - second.mean(), abs=1e-9)
    assert ends == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-9)
    expected = stats.ttest_1samp(first, 0).confidence_interval(1 - alpha)
    _, ends = skewed_mean_interval(first, tails)
    assert ends == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-9)


@steady
@given(rows, alphas)
def test_skewness_only_widens(values, alpha):
    """Of the mean of rows the interval holds Student's, and is longer towards the long tail alone."""
    tails = Tails(alpha, alpha)
    mean, (low, high) = skewed_mean_interval(values, tails)
    _, (plain_low, plain_high) = mean_interval(values, tails)
    slack = 1e-9 * (1 + np.ptp(values))
    assert low <= plain_low + slack
    assert high >= plain_high - slack
    assert low - slack <= mean <= high + slack
    if np.ptp(values) > 0.01 and stats.skew(values) > 0.1:
        assert high - mean >= mean - low - slack


@steady
@given(rows, rows, alphas, alphas)
def test_two_means_mirror_each_other(first, second, lower, upper):
    """Swapping the groups, or the sign of all values, mirrors the interval; shifting all moves nothing."""
    value, (low, high) = welch_interval(first, second, Tails(lower, upper))
    there = pytest.approx((-high, -low), rel=1e-7, abs=1e-7)
    assert welch_interval(second, first, Tails(upper, lower))[1] == there
    assert welch_interval(-first, -second, Tails(upper, lower))[1] == there
    assert welch_interval(first + 7, second + 7, Tails(lower, upper))[1] == pytest.approx(
        (low, high), rel=1e-6, abs=1e-6
    )
    assert low <= value <= high


@steady
@given(rows, alphas, alphas)
def test_a_smaller_tail_moves_its_end_outward(values, one, other):
    """Each end of a mean over rows moves outward as its own tail shrinks."""
    small, large = sorted((one, other))
    near, far = (skewed_mean_interval(values, Tails(t, t))[1] for t in (large, small))
    assert far[0] <= near[0]
    assert far[1] >= near[1]
    assert skewed_mean_interval(values, Tails(small, large))[1] == (far[0], near[1])


@steady
@given(rows)
def test_paired_means_are_the_mean_of_differences(values):
    """The paired interval is that of the differences, whatever the two have in common."""
    common = np.random.default_rng(1).normal(size=len(values))
    value, ends = paired_mean_interval(values + common, common, Tails(0.01, 0.05))
    expected, expected_ends = skewed_mean_interval(values, Tails(0.01, 0.05))
    assert (value, *ends) == pytest.approx((expected, *expected_ends), abs=1e-9)


def test_hall_transformation_of_a_known_sample():
    """For errors 0, 0, 0, 0, 10 the long end solves Hall's cubic at Student's quantile."""
    values = np.array([0.0, 0.0, 0.0, 0.0, 10.0])
    mean, (_, high) = skewed_mean_interval(values, Tails(0.05, 0.05))
    t = (mean - high) / (values.std(ddof=1) / math.sqrt(5))
    a = stats.skew(values, bias=False) * (4 / 5) ** 0.0 / math.sqrt(5)
    transformed = t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6
    assert transformed == pytest.approx(stats.t.ppf(0.05, 4), abs=1e-9)


def test_constant_values_leave_no_width():
    """Values without any spread give their difference, and no error about dividing by zero."""
    same = np.full(5, 3.0)
    assert welch_interval(same, same - 1, Tails(0.025, 0.025)) == (1.0, (1.0, 1.0))
    assert skewed_mean_interval(same, Tails(0.025, 0.025)) == (3.0, (3.0, 3.0))


def test_too_few_or_wrong_values_are_refused():
    """One value has no interval, and a geometric mean takes positive values only, so neither zero nor NaN."""
    with pytest.raises(ValueError, match="two values"):
        mean_interval(np.array([1.0]), Tails(0.025, 0.025))
    for values in ([1.0, 0.0], [1.0, -1.0], [1.0, math.nan]):
        with pytest.raises(ValueError, match="positive"):
            geometric_mean_interval(np.array(values), Tails(0.025, 0.025))
    for interval in (skewed_mean_interval, lambda values, tails: welch_interval(values, np.ones(3), tails)):
        with pytest.raises(ValueError, match="two values"):
            interval(np.array([1.0]), Tails(0.025, 0.025))
    with pytest.raises(ValueError, match="same rows"):
        paired_mean_interval(np.ones(3), np.ones(4), Tails(0.025, 0.025))
