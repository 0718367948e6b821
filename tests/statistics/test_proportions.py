"""Intervals of proportions, against statsmodels and against their own promise of coverage."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import clopper_pearson, difference_interval, ratio_interval, wilson

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
@given(counts(), counts(), alphas)
def test_difference_agrees_with_statsmodels(first, second, alpha):
    """The difference of two proportions has Newcombe's interval, to nine digits as statsmodels has it."""
    expected = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff", alpha=alpha)
    found = difference_interval(*first, *second, Tails(alpha / 2, alpha / 2))
    assert found == pytest.approx(expected, abs=1e-9)


@steady
@given(counts(), alphas, alphas)
@pytest.mark.parametrize("interval", [wilson, clopper_pearson])
def test_each_end_depends_on_its_own_tail_only(interval, count, lower, upper):
    """An end of the interval moves with its own tail and not with the other one."""
    low, high = interval(*count, Tails(lower, upper))
    assert interval(*count, Tails(lower, 0.3))[0] == low
    assert interval(*count, Tails(0.3, upper))[1] == high
    assert low - 1e-12 <= count[0] / count[1] <= high + 1e-12


@steady
@given(counts(60), counts(60), alphas)
def test_difference_is_antisymmetric_and_contains_the_estimate(first, second, alpha):
    """Swapping the two samples mirrors the interval, which always holds the observed difference."""
    tails = Tails(alpha / 2, alpha / 2)
    low, high = difference_interval(*first, *second, tails)
    assert difference_interval(*second, *first, tails) == pytest.approx((-high, -low), abs=1e-12)
    assert -1 <= low <= first[0] / first[1] - second[0] / second[1] <= high <= 1


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
    assert ratio_interval(5, 10, 1, 10, TAILS)[1] is not None


@steady
@given(counts(60), counts(60))
def test_ratio_swaps_to_its_inverse(first, second):
    """The interval of the inverse ratio is the inverse interval."""
    assume(first[0] and second[0])
    low, high = ratio_interval(*first, *second, TAILS)
    inverse_low, inverse_high = ratio_interval(*second, *first, TAILS)
    assert high == pytest.approx(1 / inverse_low, rel=1e-6)
    assert low == pytest.approx(1 / inverse_high, rel=1e-6)


def _misses(interval, p1, n1, p2, n2, truth):
    weights = np.outer(binom.pmf(np.arange(n1 + 1), n1, p1), binom.pmf(np.arange(n2 + 1), n2, p2))
    above = below = 0.0
    for k1, k2 in np.argwhere(weights > 1e-10).tolist():
        low, high = interval(k1, n1, k2, n2, TAILS)
        below += weights[k1, k2] * (low > truth)
        above += weights[k1, k2] * (high is not None and high < truth)
    return below, above


CELLS = [
    (0.5, 20, 0.5, 20),
    (0.1, 30, 0.3, 30),
    (0.95, 30, 0.95, 30),
    (0.02, 50, 0.02, 50),
    (1.0, 20, 0.5, 20),
    (0.3, 20, 1.0, 20),
    (0.9, 40, 0.5, 10),
]


@pytest.mark.parametrize(("p1", "n1", "p2", "n2"), CELLS)
def test_ratio_covers_the_true_ratio(p1, n1, p2, n2):
    """Over all outcomes, weighted by their probability, the interval misses about as often as stated."""
    below, above = _misses(ratio_interval, p1, n1, p2, n2, p1 / p2)
    assert below + above <= 0.055
    assert max(below, above) <= 0.045


@pytest.mark.parametrize(("p1", "n1", "p2", "n2"), CELLS)
def test_difference_covers_the_true_difference(p1, n1, p2, n2):
    """Over all outcomes, the interval of a difference misses on either side about as often as stated."""
    below, above = _misses(difference_interval, p1, n1, p2, n2, p1 - p2)
    assert max(below, above) <= 0.032


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
    for interval in (difference_interval, ratio_interval):
        with pytest.raises(ValueError, match=message):
            interval(1, 2, k, n, TAILS)
        with pytest.raises(ValueError, match=message):
            interval(k, n, 1, 2, TAILS)
