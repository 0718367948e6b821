"""Distances between two samples' distributions, against scipy and by simulation."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp, norm, wasserstein_distance

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import kolmogorov_smirnov_interval, total_variation_interval
from pytest_mlgate.statistics.shift import kolmogorov_smirnov

TAILS = Tails(lower=0.025, upper=0.025)
REPEATS = 800
values = st.lists(st.integers(0, 20).map(float) | st.floats(-5, 5), min_size=1, max_size=60).map(np.array)
count_vectors = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(values, values)
def test_distance_is_that_of_scipy(reference, current):
    """The distance is scipy's, ties included, and lies inside its interval."""
    distance, (low, high) = kolmogorov_smirnov_interval(reference, current, TAILS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy's p-value, which is not compared, fails for tiny samples
        expected = ks_2samp(reference, current).statistic
    assert distance == pytest.approx(expected, abs=1e-12)
    assert 0 <= low <= distance <= high <= 1
    assert low < high


@settings(deadline=None, max_examples=100, derandomize=True)
@given(values, values)
def test_distance_does_not_care_which_sample_is_which(reference, current):
    """Swapping the samples changes neither the distance nor its lower end."""
    there = kolmogorov_smirnov_interval(reference, current, TAILS)
    back = kolmogorov_smirnov_interval(current, reference, TAILS)
    assert there[0] == pytest.approx(back[0])
    assert there[1][0] == pytest.approx(back[1][0])


@settings(deadline=None, max_examples=100, derandomize=True)
@given(values, values, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(reference, current, random):
    """Shuffling the rows of either sample changes neither the distance nor any end."""
    before = kolmogorov_smirnov_interval(reference, current, TAILS)
    first, second = reference.tolist(), current.tolist()
    random.shuffle(first)
    random.shuffle(second)
    distance, ends = kolmogorov_smirnov_interval(np.array(first), np.array(second), TAILS)
    assert (distance, *ends) == pytest.approx((before[0], *before[1]), abs=1e-12)


def test_of_several_largest_gaps_the_widest_counts():
    """Where the largest gap stands at several cuts, the upper end is the same from either row first."""
    reference = np.array([1.0, 2.0, 3.0, 4.0])
    current = np.array([2.0, 2.0, 4.0, 4.0])
    highs = [
        kolmogorov_smirnov_interval(np.roll(reference, i), np.roll(current, j), TAILS)[1][1]
        for i in range(4)
        for j in range(4)
    ]
    assert max(highs) - min(highs) < 1e-12


def _ends(interval, draw, seed):
    rng = np.random.default_rng(seed)
    return np.array([interval(*draw(rng), TAILS)[1] for _ in range(REPEATS)])


@pytest.mark.parametrize(("shift", "n", "m"), [(0.0, 200, 100), (0.3, 200, 200), (1.0, 300, 80)])
def test_kolmogorov_smirnov_interval_covers_the_true_distance(shift, n, m):
    """The upper end lies above the true distance almost always, the lower end below it."""
    truth = 2 * norm.cdf(shift / 2) - 1
    ends = _ends(kolmogorov_smirnov_interval, lambda rng: (rng.normal(size=n), rng.normal(shift, size=m)), 3)
    assert np.mean(ends[:, 1] >= truth) >= 0.94
    assert np.mean(ends[:, 0] > truth) <= 0.05


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([0.25, 0.25, 0.25, 0.25], [0.25, 0.25, 0.25, 0.25]),
        ([0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25]),
        ([0.9, 0.1], [0.6, 0.4]),
    ],
)
def test_total_variation_interval_covers_the_true_distance(first, second):
    """The upper end lies above the true distance almost always, the lower end below it."""
    truth = np.abs(np.array(first) - second).sum() / 2
    ends = _ends(
        total_variation_interval,
        lambda rng: (rng.multinomial(300, first), rng.multinomial(150, second)),
        4,
    )
    assert np.mean(ends[:, 1] >= truth) >= 0.94
    assert np.mean(ends[:, 0] > truth) <= 0.05


@settings(deadline=None, max_examples=100, derandomize=True)
@given(count_vectors)
def test_total_variation_is_half_the_sum_of_absolute_differences(pairs):
    """The distance is the textbook sum, and lies inside its interval."""
    reference, current = np.array(pairs).T
    if not reference.sum() or not current.sum():
        with pytest.raises(ValueError, match="rows in both"):
            total_variation_interval(reference, current, TAILS)
        return
    distance, (low, high) = total_variation_interval(reference, current, TAILS)
    shares = reference / reference.sum() - current / current.sum()
    assert distance == pytest.approx(np.abs(shares).sum() / 2, abs=1e-12)
    assert 0 <= low <= distance + 1e-12
    assert distance <= high + 1e-12
    assert low < high


@pytest.mark.parametrize("categories", [3, 10, 50, 300])
@pytest.mark.parametrize("rows", [(200, 100), (2000, 2000)])
def test_many_categories_do_not_raise_the_lower_end(categories, rows):
    """Chance alone keeps many categories apart; the lower end lies above the truth as seldom as allowed."""
    rng = np.random.default_rng(9)
    even = np.full(categories, 1 / categories)
    zipf = 1 / np.arange(1, categories + 1)
    zipf /= zipf.sum()
    gained = np.append(0.9 * zipf, 0.1)
    for first, second in ((even, even), (zipf, even), (np.append(zipf, 0), gained)):
        truth = np.abs(first - second).sum() / 2
        ends = [
            total_variation_interval(rng.multinomial(rows[0], first), rng.multinomial(rows[1], second), TAILS)
            for _ in range(300)
        ]
        assert np.mean([low > truth + 1e-12 for _, (low, _) in ends]) <= 0.05


def test_a_gap_of_fifteen_hundredths_is_told_from_one_of_ten_at_five_thousand_rows():
    """With the error of one of 25 columns, 0.15 lies above 0.10 in nearly all samples, spread or not."""
    rng = np.random.default_rng(10)
    tails = Tails(lower=0.001, upper=0.025)
    even = np.full(10, 0.1)
    one = even + np.where(np.arange(10) == 0, 0.15, -0.15 / 9)
    half = even + np.where(np.arange(10) < 5, 0.03, -0.03)
    for moved in (one, half):
        found = [
            total_variation_interval(rng.multinomial(5000, even), rng.multinomial(5000, moved), tails)
            for _ in range(300)
        ]
        assert np.mean([low > 0.10 for _, (low, _) in found]) >= 0.92


def test_wasserstein_distance_is_that_of_scipy():
    """The area between the distribution functions is scipy's Wasserstein distance."""
    rng = np.random.default_rng(11)
    first, second = np.sort(rng.normal(size=50)), np.sort(rng.poisson(2, 30).astype(float))
    found = kolmogorov_smirnov(first, second)
    assert found.wasserstein == pytest.approx(wasserstein_distance(first, second), abs=1e-12)
    huge = np.array([-1.7e308, 1.7e308])
    assert kolmogorov_smirnov(huge, huge[:1]).wasserstein is None


def test_identical_samples_have_a_width():
    """A sample against itself is at distance 0, and the upper end stays above 0."""
    sample = np.arange(50.0)
    distance, (low, high) = kolmogorov_smirnov_interval(sample, sample, TAILS)
    assert (distance, low) == (0, 0)
    assert high > 0
    same = np.array([10, 20])
    assert total_variation_interval(same, same, TAILS)[1][1] > 0


def test_empty_samples_and_other_categories_are_refused():
    """Samples without rows and count vectors over other categories raise an error."""
    with pytest.raises(ValueError, match="rows in both"):
        kolmogorov_smirnov_interval(np.array([]), np.array([1.0]), TAILS)
    with pytest.raises(ValueError, match="rows in both"):
        kolmogorov_smirnov_interval(np.array([1.0]), np.array([]), TAILS)
    with pytest.raises(ValueError, match="same categories"):
        total_variation_interval(np.array([1, 2]), np.array([1, 2, 3]), TAILS)
