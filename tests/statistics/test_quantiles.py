"""Means over independent repeats, against scipy, and how many runs a percentile needs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import geometric_mean_interval, mean_interval, runs_for_percentile

steady = settings(deadline=None, max_examples=80, derandomize=True)
samples = st.lists(st.floats(0.01, 100), min_size=2, max_size=30).map(np.array)


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


@pytest.mark.parametrize(
    ("percentile", "confidence", "runs"), [(99, 0.99, 459), (90, 0.99, 44), (50, 0.99, 7), (99.9, 0.99, 4603)]
)
def test_runs_for_known_percentiles(percentile, confidence, runs):
    """The published counts come out: 459 runs for p99 and 44 for p90, both at 99% confidence."""
    assert runs_for_percentile(percentile, confidence) == runs


@steady
@given(st.floats(1, 99.99), st.floats(0.5, 0.999))
def test_runs_are_the_fewest_that_suffice(percentile, confidence):
    """With the returned number of runs the maximum bounds the percentile; with one fewer it does not."""
    runs = runs_for_percentile(percentile, confidence)
    q = percentile / 100
    assert 1 - q**runs >= confidence - 1e-9
    assert 1 - q ** (runs - 1) < confidence + 1e-9


@pytest.mark.parametrize(
    ("percentile", "confidence"), [(0, 0.9), (100, 0.9), (99, 0), (99, 1), (math.nan, 0.9)]
)
def test_percentiles_without_an_answer_are_refused(percentile, confidence):
    """A percentile or a confidence at the end of its range raises an error."""
    with pytest.raises(ValueError, match="percentile"):
        runs_for_percentile(percentile, confidence)


def test_too_few_or_wrong_values_are_refused():
    """One value has no interval, and a geometric mean takes positive values only, so neither zero nor NaN."""
    with pytest.raises(ValueError, match="two values"):
        mean_interval(np.array([1.0]), Tails(0.025, 0.025))
    for values in ([1.0, 0.0], [1.0, -1.0], [1.0, math.nan]):
        with pytest.raises(ValueError, match="positive"):
            geometric_mean_interval(np.array(values), Tails(0.025, 0.025))
