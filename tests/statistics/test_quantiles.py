"""Where a quantile lies, from order statistics, and how many runs a percentile needs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import quantile_interval, runs_for_percentile

steady = settings(deadline=None, max_examples=80, derandomize=True)
alphas = st.floats(0.001, 0.2)


@steady
@given(st.integers(1, 3000), st.floats(0.005, 0.995), alphas, alphas)
def test_ends_of_a_quantile_are_the_tightest_that_hold(n, share, lower, upper):
    """Each end is an order statistic that misses no more often than stated, and the next one inward would."""
    value, (low, high) = quantile_interval(np.arange(1.0, n + 1), share, Tails(lower, upper))
    below = stats.binom(n, share)
    first = 0 if low is None else int(low)
    last = n + 1 if high is None else int(high)
    assert first == 0 or below.cdf(first - 1) <= lower * (1 + 1e-9)
    assert below.cdf(first) > lower * (1 - 1e-9)
    assert last == n + 1 or below.sf(last - 1) <= upper * (1 + 1e-9)
    assert below.sf(last - 2) > upper * (1 - 1e-9)
    assert first <= value <= last
    assert value == np.quantile(np.arange(1.0, n + 1), share, method="inverted_cdf")


def test_published_interval_of_a_median():
    """With 100 values the 95% interval of a median runs from the 40th to the 61st: Conover, table 5."""
    _, ends = quantile_interval(np.arange(1.0, 101), 0.5, Tails(0.025, 0.025))
    assert ends == (40.0, 61.0)


@steady
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=60).map(np.array), st.floats(0.05, 0.95), alphas)
def test_a_quantile_mirrors_itself_and_ignores_the_order(values, share, alpha):
    """Turning the values around mirrors the interval of the opposite quantile, in whatever order."""
    _, (low, high) = quantile_interval(values, share, Tails(alpha, 0.03))
    _, turned = quantile_interval(-values[::-1], 1 - share, Tails(0.03, alpha))
    assert turned == (None if high is None else -high, None if low is None else -low)


def test_too_few_values_leave_an_end_open():
    """Fifty values say nothing about how high the 99th percentile may be, and the end stays open."""
    _, (low, high) = quantile_interval(np.arange(50.0), 0.99, Tails(0.025, 0.025))
    assert low is not None
    assert high is None


@pytest.mark.parametrize(("n", "share"), [(0, 0.5), (5, 0.0), (5, 1.0), (5, math.nan)])
def test_quantiles_that_do_not_exist_are_refused(n, share):
    """A quantile of nothing, or at the ends of its range, raises an error."""
    with pytest.raises(ValueError, match="quantile"):
        quantile_interval(np.arange(float(n)), share, Tails(0.025, 0.025))


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
