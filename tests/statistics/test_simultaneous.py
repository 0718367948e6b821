"""Limits of groups and intervals over all of them at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, studentized_range

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import mean_interval
from pytest_mlgate.statistics.simultaneous import (
    FEW,
    Limits,
    all_groups_tail,
    all_pairs_tail,
    gap_ends,
    largest_gap,
    mean_limits,
    rate_limits,
    ratio_ends,
    smallest_ratio,
)

TAILS = st.floats(1e-6, 0.2)
COUNTS = st.integers(1, 5_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def limits(counts: list[tuple[int, int]], tail: float) -> Limits:
    k, n = np.asarray(counts, dtype=float).T
    return rate_limits(k, n, tail)


@given(st.lists(COUNTS, min_size=1, max_size=6), TAILS)
def test_limits_of_rates_hold_the_rate_and_stay_in_range(counts, tail):
    """Every rate lies between its limits, and these in 0 to 1."""
    found = limits(counts, tail)
    assert (found.low >= 0).all()
    assert (found.high <= 1).all()
    assert (found.low <= found.value).all()
    assert (found.value <= found.high).all()


@given(COUNTS, TAILS)
def test_limits_of_rates_are_those_of_scipy(counts, tail):
    """Near 0 and n the limits are exact, elsewhere Wilson's, both as scipy computes them."""
    k, n = counts
    found = limits([counts], tail)
    method = "exact" if min(k, n - k) < FEW else "wilson"
    expected = binomtest(k, n).proportion_ci(1 - 2 * tail, method)
    assert found.low[0] == pytest.approx(expected.low, abs=1e-9)
    assert found.high[0] == pytest.approx(expected.high, abs=1e-9)


def test_a_rate_without_rows_has_no_limits():
    """A group without rows is refused rather than given limits."""
    with pytest.raises(ValueError, match="at least one row"):
        limits([(0, 0), (1, 2)], 0.025)


def test_a_critical_value_of_two_groups_is_the_normal_one():
    """For one pair there is nothing to correct."""
    assert all_pairs_tail(2, 1, 0.025) == pytest.approx(0.025, abs=1e-12)


@pytest.mark.parametrize("groups", [3, 6, 20, 200])
@pytest.mark.parametrize("tail", [0.025, 0.001, 1e-12])
def test_all_pairs_cost_less_than_bonferroni_and_more_than_one_pair(groups, tail):
    """The level lies between that of a single pair and that of Bonferroni's bound over all pairs."""
    found = all_pairs_tail(groups, 1, tail)
    assert 2 * tail / (groups * (groups - 1)) <= found * (1 + 1e-9)
    assert found < tail


def test_the_critical_value_is_that_of_the_range_of_normals():
    """In 200,000 draws the largest of all studentised pair differences exceeds it as often as stated."""
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((200_000, 6))
    critical = float(norm.isf(all_pairs_tail(6, 1, 0.025))) * math.sqrt(2)
    assert critical == pytest.approx(studentized_range.ppf(0.95, 6, math.inf), abs=1e-6)
    assert np.mean(np.ptp(draws, axis=1) > critical) == pytest.approx(0.05, abs=0.003)


@pytest.mark.parametrize(("groups", "tail"), [(1, 0.025), (3, 0.0), (3, 0.5)])
def test_pairs_need_two_groups_and_a_tail(groups, tail):
    """A single group has no pair, and a tail of 0 or 1/2 no critical value."""
    with pytest.raises(ValueError, match="a pair needs"):
        all_pairs_tail(groups, 1, tail)


@given(st.integers(1, 200), TAILS)
def test_independent_groups_hold_together_as_stated(groups, tail):
    """All groups hold at once with probability 1 - tail."""
    assert (1 - all_groups_tail(groups, tail)) ** groups == pytest.approx(1 - tail, rel=1e-9)


@given(st.integers(2, 200), st.floats(-100, 100), st.floats(0.01, 100), TAILS)
def test_without_skewness_a_mean_has_students_limits(n, mean, deviation, tail):
    """Hall's limits are Student's where nothing is skewed."""
    values = np.linspace(-1, 1, n)
    values = mean + deviation * (values - values.mean()) / values.std(ddof=1)
    _, (low, high) = mean_interval(values, Tails(lower=tail, upper=tail))
    one = np.ones(1)
    found = mean_limits(mean * one, deviation * one, 0 * one, n * one, tail)
    assert found.low[0] == pytest.approx(low, rel=1e-6, abs=1e-6)
    assert found.high[0] == pytest.approx(high, rel=1e-6, abs=1e-6)


def test_a_mean_of_one_row_has_no_limits():
    """A single row tells nothing about the spread, so both ends are unbounded."""
    one = np.ones(1)
    found = mean_limits(one, one, one, one, 0.025)
    assert (found.low[0], found.high[0]) == (-math.inf, math.inf)


def test_limits_of_a_skewed_mean_cover_where_students_do_not():
    """Means of 20 exponential values are covered from above twice as well as by Student's limits."""
    rng = np.random.default_rng(1)
    values = rng.exponential(size=(20_000, 20))
    mean, deviation = values.mean(axis=1), values.std(axis=1, ddof=1)
    size = np.full(len(values), 20.0)
    missed = {
        skewness: np.mean(mean_limits(mean, deviation, np.full_like(mean, skewness), size, 0.025).high < 1)
        for skewness in (0.0, 2.0)
    }
    assert missed[0.0] > 0.07
    assert missed[2.0] < missed[0.0] / 2


@given(st.lists(COUNTS, min_size=2, max_size=6), TAILS)
def test_the_largest_gap_is_in_its_interval_and_in_range(counts, tail):
    """The observed largest gap lies within its ends, and a gap is never below 0."""
    simultaneous, single = limits(counts, all_pairs_tail(len(counts), 1, tail)), limits(counts, tail)
    low, high = largest_gap(simultaneous, single)
    assert 0 <= low <= float(np.ptp(single.value)) + 1e-12
    assert high >= float(np.ptp(single.value)) - 1e-12


@given(st.lists(COUNTS, min_size=2, max_size=6), TAILS)
def test_the_smallest_ratio_is_in_its_interval_and_at_most_one(counts, tail):
    """The observed smallest ratio lies within its ends."""
    simultaneous, single = limits(counts, all_pairs_tail(len(counts), 1, tail)), limits(counts, tail)
    low, high = smallest_ratio(simultaneous, single)
    assert 0 <= low <= high <= 1
    if single.value.any():
        value = float(single.value.min() / single.value.max())
        assert low - 1e-9 <= value <= high + 1e-9


@given(COUNTS, COUNTS, TAILS)
def test_a_gap_turns_round_with_its_groups(first, second, tail):
    """The interval of a - b is that of b - a with signs and ends exchanged."""
    a, b = limits([first], tail), limits([second], tail)
    low, high = gap_ends(a, b)
    other_low, other_high = gap_ends(b, a)
    assert low == pytest.approx(-other_high, abs=1e-12)
    assert high == pytest.approx(-other_low, abs=1e-12)


@given(COUNTS, st.integers(1, 5_000), TAILS)
def test_a_ratio_to_nobody_has_no_upper_end(first, n, tail):
    """Where the second group has no successes the ratio may be any number."""
    _, high = ratio_ends(limits([first], tail), limits([(0, n)], tail))
    assert high[0] == math.inf


@given(st.lists(COUNTS, min_size=2, max_size=6), st.integers(2, 9))
def test_more_rows_narrow_the_gap(counts, times):
    """With every count multiplied the interval of the largest gap never widens on its releasing side."""
    grown = [(k * times, n * times) for k, n in counts if min(k, n - k) >= FEW]
    kept = [(k, n) for k, n in counts if min(k, n - k) >= FEW]
    if len(kept) < 2:
        return
    ends = [largest_gap(limits(c, 0.01), limits(c, 0.025)) for c in (kept, grown)]
    assert ends[1][1] <= ends[0][1] + 1e-12
    assert ends[1][0] >= ends[0][0] - 1e-12
