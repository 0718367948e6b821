"""How many rows would decide: the interval decides there, and not one row earlier."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import (
    MOST_ROWS,
    auc_rows,
    clopper_pearson,
    difference_interval,
    difference_rows,
    paired_difference_interval,
    paired_rows,
    proportion_power,
    proportion_rows,
    roc_area,
    roc_area_pair,
    rows_to_decide,
)

steady = settings(deadline=None, max_examples=40, derandomize=True)
TAILS = Tails(lower=0.005, upper=0.025)


def decides(ends, bound):
    low, high = ends
    return low >= bound or high <= bound


@steady
@given(st.floats(0.01, 1), st.floats(0.001, 1), st.integers(1, 500))
def test_rows_are_the_fewest_for_a_width_that_shrinks_with_their_root(scale, distance, n):
    """Half-widths of scale / sqrt(n) ask for (scale / distance) squared rows, unless there are enough."""
    found = rows_to_decide(lambda rows: (-scale / math.sqrt(rows), scale / math.sqrt(rows)), distance, n)
    expected = max(n, math.ceil((scale / distance) ** 2 - 1e-9))
    assert found == pytest.approx(expected, abs=1)


def test_never_is_none():
    """An estimate on the bound, or an end that stays open, is decided by no number of rows."""
    assert rows_to_decide(lambda rows: (-1 / rows, 1 / rows), 0.0, 10) is None
    assert rows_to_decide(lambda rows: (None, None), 0.0, 10) is None
    assert rows_to_decide(lambda rows: (0.0, 1 / rows), 0.5 / MOST_ROWS, 10) is None
    with pytest.raises(ValueError, match="at least one"):
        rows_to_decide(lambda rows: (0.0, 1.0), 0.5, 0)


@steady
@given(st.integers(20, 400), st.floats(0.02, 0.98), st.floats(0.05, 0.95))
def test_rows_of_a_proportion_decide(n, rate, bound):
    """The exact interval decides with the returned rows and not with one fewer."""
    k = round(rate * n)
    assume(abs(k / n - bound) > 0.02)
    rows = proportion_rows(k, n, bound, TAILS)
    assert rows >= n
    assert decides(clopper_pearson(k * rows / n, rows, TAILS), bound)
    assert rows == n or not decides(clopper_pearson(k * (rows - 1) / n, rows - 1, TAILS), bound)


@steady
@given(st.integers(20, 300), st.integers(20, 300), st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_rows_of_a_difference_decide(n1, n2, rate1, rate2):
    """With the returned rows of both samples the interval decides, and neither sample shrinks."""
    k1, k2 = round(rate1 * n1), round(rate2 * n2)
    assume(abs(k1 / n1 - k2 / n2 - 0.1) > 0.03)
    rows1, rows2 = difference_rows(k1, n1, k2, n2, 0.1, TAILS)
    assert rows1 >= n1
    assert rows2 >= n2
    slack = 0.002  # both counts are rounded up from the same factor
    low, high = difference_interval(k1 * rows1 / n1, rows1, k2 * rows2 / n2, rows2, TAILS)
    assert low >= 0.1 - slack or high <= 0.1 + slack


def test_a_small_group_grows_alone_where_that_is_enough():
    """Where a group of 60 rows stands against 5,000, only rows of that group are asked for."""
    rows1, rows2 = difference_rows(18, 60, 2500, 5000, -0.1, TAILS)
    assert rows2 == 5000
    assert 60 < rows1 < 5000
    assert difference_rows(2500, 5000, 18, 60, 0.1, Tails(0.025, 0.005)) == (5000, rows1)
    rows1, rows2 = difference_rows(50, 100, 50, 100, 0.05, TAILS)
    assert rows1 == rows2 > 500


def test_a_difference_on_the_bound_is_never_decided():
    """No number of rows decides about an observed gap that equals its bound."""
    assert difference_rows(30, 100, 20, 100, 0.1, TAILS) is None


@steady
@given(st.integers(0, 30), st.integers(0, 30), st.floats(-0.2, 0.2))
def test_rows_of_a_paired_difference_decide(first, second, bound):
    """The paired interval decides with the returned rows and not with one fewer."""
    assume(abs((first - second) / 300 - bound) > 0.01)
    rows = paired_rows(first, second, 300, bound, TAILS)
    assert decides(paired_difference_interval(first * rows / 300, second * rows / 300, rows, TAILS), bound)
    fewer = rows - 1
    ends = paired_difference_interval(first * fewer / 300, second * fewer / 300, fewer, TAILS)
    assert rows == 300 or not decides(ends, bound)


def test_rows_of_an_area_decide_and_are_what_more_data_then_need():
    """The interval of an area decides with the returned rows, and more rows of the kind have that width."""
    rng = np.random.default_rng(3)

    def sample(n):
        positive = np.arange(n) < n // 4
        first = 1.2 * positive + rng.normal(size=n)
        return positive, first, first + 0.3 * rng.normal(size=n)

    positive, first, second = sample(400)
    area, pair = roc_area(positive, first), roc_area_pair(positive, first, second)
    rows = auc_rows(area, area.value - 0.03, TAILS)
    assert rows > 400
    low, high = area.grown(rows / 400).interval(TAILS)
    assert low == pytest.approx(area.value - 0.03, abs=1e-4)
    fresh_low, fresh_high = roc_area(*sample(rows)[:2]).interval(TAILS)
    assert fresh_high - fresh_low == pytest.approx(high - low, rel=0.1)
    more = auc_rows(pair, pair.difference + 0.01, TAILS)
    assert more > 400
    assert decides(pair.grown(more / 400).interval(TAILS), pair.difference + 0.01)
    assert not decides(pair.grown((more - 1) / 400).interval(TAILS), pair.difference + 0.01)


@steady
@given(st.integers(1, 300), st.floats(0, 1), st.floats(0.05, 0.95), st.sampled_from(["<=", ">="]))
def test_power_is_the_probability_of_passing(n, truth, bound, comparator):
    """The power equals the sum over every count that passes, one by one."""
    total = 0.0
    for k in range(n + 1):
        low, high = clopper_pearson(k, n, TAILS)
        passes = high <= bound if comparator == "<=" else low >= bound
        total += passes * binom.pmf(k, n, truth)
    assert proportion_power(truth, n, bound, comparator, TAILS) == pytest.approx(total, abs=1e-12)


def test_power_on_the_bound_is_the_error_of_releasing():
    """On its bound a model passes with at most the error of the releasing side; a better one mostly."""
    assert proportion_power(0.1, 1000, 0.1, "<=", TAILS) <= TAILS.upper
    assert proportion_power(0.06, 1000, 0.1, "<=", TAILS) > 0.9
    with pytest.raises(ValueError, match="n=0"):
        proportion_power(0.1, 0, 0.1, "<=", TAILS)
