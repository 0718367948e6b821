"""The interval of an absolute difference, against the two one-sided tests that it stands for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.weightstats import ttost_paired

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import absolute_interval, mean_interval, paired_difference_interval

steady = settings(deadline=None, max_examples=80, derandomize=True)


@steady
@given(st.integers(0, 10**6), st.integers(5, 60), st.floats(0.001, 0.2), st.floats(0.05, 2))
def test_the_outer_end_decides_as_tost_does(seed, n, alpha, margin):
    """The interval lies within the margin exactly when both one-sided tests of statsmodels reject."""
    values = np.random.default_rng(seed).normal(0.2, 1, n)
    p, *_ = ttost_paired(values, np.zeros(n), -margin, margin)
    _, high = absolute_interval(lambda tails: mean_interval(values, tails)[1], Tails(0.01, alpha))
    if abs(p - alpha) > 1e-9:
        assert (high < margin) == (p < alpha)


@steady
@given(st.integers(0, 40), st.integers(0, 40), st.floats(0.001, 0.1), st.floats(0.001, 0.1))
def test_direction_does_not_matter(first, second, lower, upper):
    """The interval is the same whichever model is named first, and never below 0."""
    tails = Tails(lower, upper)
    there, back = (
        absolute_interval(lambda t, a=a, b=b: paired_difference_interval(a, b, 100, t), tails)
        for a, b in ((first, second), (second, first))
    )
    assert there == pytest.approx(back, abs=1e-9)
    assert 0 <= there[0] <= there[1] <= 1
    assert there[0] <= abs(first - second) / 100 + 1e-12 <= there[1] + 1e-9


def test_a_clear_difference_is_shown_from_both_sides():
    """Where the models clearly differ, the lower end is above 0 whatever the sign."""
    for counts in ((40, 5), (5, 40)):
        low, high = absolute_interval(
            lambda t, c=counts: paired_difference_interval(*c, 200, t), Tails(0.025, 0.025)
        )
        assert 0.08 < low < 0.175 < high
