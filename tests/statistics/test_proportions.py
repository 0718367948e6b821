"""Intervals of one proportion, against statsmodels and against their own promise of coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import clopper_pearson, wilson

steady = settings(deadline=None, max_examples=100, derandomize=True)
TAILS = Tails(lower=0.025, upper=0.025)
alphas = st.floats(0.001, 0.2)


@st.composite
def counts(draw, largest=400):
    n = draw(st.integers(1, largest))
    return draw(st.integers(0, n)), n


@steady
@given(counts(), alphas)
def test_wilson_agrees_with_statsmodels(count, alpha):
    """The Wilson interval is that of statsmodels to nine digits."""
    expected = proportion_confint(*count, alpha=alpha, method="wilson")
    assert wilson(*count, Tails(alpha / 2, alpha / 2)) == pytest.approx(expected, abs=1e-9)


@steady
@given(counts(), alphas)
def test_clopper_pearson_agrees_with_statsmodels(count, alpha):
    """The exact interval is that of statsmodels to nine digits, with the ends 0 and 1 where they belong."""
    k, n = count
    low, high = clopper_pearson(k, n, Tails(alpha / 2, alpha / 2))
    expected = proportion_confint(k, n, alpha=alpha, method="beta")
    expected = (0.0 if k == 0 else expected[0], 1.0 if k == n else expected[1])
    assert (low, high) == pytest.approx(expected, abs=1e-9)


@steady
@given(counts(), alphas, alphas)
@pytest.mark.parametrize("interval", [wilson, clopper_pearson])
def test_each_end_depends_on_its_own_tail_only(interval, count, lower, upper):
    """An end of the interval moves with its own tail and not with the other one."""
    low, high = interval(*count, Tails(lower, upper))
    assert interval(*count, Tails(lower, 0.3))[0] == low
    assert interval(*count, Tails(0.3, upper))[1] == high
    assert low - 1e-12 <= count[0] / count[1] <= high + 1e-12


@pytest.mark.parametrize("p", [0.01, 0.2, 0.5, 0.93])
@pytest.mark.parametrize("n", [5, 30, 200])
def test_clopper_pearson_never_covers_less_than_stated(n, p):
    """The exact interval misses at most as often as stated on either side, for every n and p."""
    weights = binom.pmf(np.arange(n + 1), n, p)
    ends = [clopper_pearson(k, n, TAILS) for k in range(n + 1)]
    assert sum(w for w, (low, _) in zip(weights, ends, strict=True) if low > p) <= 0.025 + 1e-12
    assert sum(w for w, (_, high) in zip(weights, ends, strict=True) if high < p) <= 0.025 + 1e-12


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5), (1, -1)])
def test_impossible_counts_are_refused(k, n):
    """Counts that no sample can have raise an error that repeats them."""
    message = f"{k} successes of {n}"
    for interval in (wilson, clopper_pearson):
        with pytest.raises(ValueError, match=message):
            interval(k, n, TAILS)
