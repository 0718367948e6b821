"""The area under the ROC curve, against scikit-learn and by simulation from normal scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import auc_difference_interval, auc_interval

TAILS = Tails(lower=0.025, upper=0.025)


@st.composite
def scored(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    m, n = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    positive = np.repeat([True, False], [m, n])
    levels = draw(st.sampled_from([2, 5, 1000]))
    return positive, rng.integers(0, levels, m + n) / levels


@settings(deadline=None, max_examples=100, derandomize=True)
@given(scored())
def test_auc_agrees_with_scikit_learn(rows):
    """The area is that of scikit-learn to twelve digits, ties included, and lies inside its interval."""
    positive, scores = rows
    value, (low, high) = auc_interval(positive, scores, TAILS)
    assert value == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    assert 0 <= low <= value <= high <= 1
    assert low < high


@settings(deadline=None, max_examples=60, derandomize=True)
@given(scored())
def test_auc_depends_on_ranks_alone(rows):
    """A monotone transformation of the scores changes neither the area nor its interval."""
    positive, scores = rows
    assert auc_interval(positive, np.exp(3 * scores), TAILS) == auc_interval(positive, scores, TAILS)


def _scores(rng, positive, shift, common, rho):
    noise = rng.normal(size=len(positive))
    return shift * positive + np.sqrt(rho) * common + np.sqrt(1 - rho) * noise


@pytest.mark.parametrize(("shift", "m", "n"), [(1.0, 40, 40), (1.5, 60, 120), (0.0, 30, 30)])
def test_auc_interval_covers_the_true_area(shift, m, n):
    """Of 1500 samples from a known area, about 5% have an interval that misses it."""
    rng = np.random.default_rng(7)
    truth = norm.cdf(shift / np.sqrt(2))
    positive = np.repeat([True, False], [m, n])
    missed = 0
    for _ in range(1500):
        _, (low, high) = auc_interval(positive, shift * positive + rng.normal(size=m + n), TAILS)
        missed += not low <= truth <= high
    assert 0.025 <= missed / 1500 <= 0.075


def test_auc_of_few_positives_among_many_rows_keeps_its_lower_end():
    """With 15 rows against 300 and a high area, neither end misses in more than about 4% of 600 samples."""
    rng = np.random.default_rng(7)
    truth = norm.cdf(2 / np.sqrt(2))
    positive = np.repeat([True, False], [15, 300])
    ends = [auc_interval(positive, 2 * positive + rng.normal(size=315), TAILS)[1] for _ in range(600)]
    assert np.mean([low > truth for low, _ in ends]) <= 0.04
    assert np.mean([high < truth for _, high in ends]) <= 0.04
    assert np.mean([low for low, _ in ends]) > 0.75, "an interval that says nothing misses nothing"


def test_auc_difference_of_two_good_models_keeps_its_ends():
    """With 30 rows against 30 and two areas near 1, neither end misses in more than about 4% of 600 pairs."""
    rng = np.random.default_rng(8)
    positive = np.repeat([True, False], [30, 30])
    truth = norm.cdf(3 / np.sqrt(2)) - norm.cdf(2.5 / np.sqrt(2))
    ends = []
    for _ in range(600):
        common = rng.normal(size=60)
        first, second = (_scores(rng, positive, s, common, 0.8) for s in (3, 2.5))
        ends.append(auc_difference_interval(positive, first, second, TAILS)[1])
    assert np.mean([low > truth for low, _ in ends]) <= 0.04
    assert np.mean([high < truth for _, high in ends]) <= 0.04
    assert np.mean([high - low for low, high in ends]) < 0.3, "an interval that says nothing misses nothing"


def test_auc_difference_covers_the_true_difference():
    """Of 1000 pairs of correlated models, about 5% have an interval that misses the true difference."""
    rng = np.random.default_rng(8)
    positive = np.repeat([True, False], [80, 80])
    truth = norm.cdf(1.2 / np.sqrt(2)) - norm.cdf(0.8 / np.sqrt(2))
    missed = 0
    for _ in range(1000):
        common = rng.normal(size=160)
        first, second = (_scores(rng, positive, s, common, 0.6) for s in (1.2, 0.8))
        _, (low, high) = auc_difference_interval(positive, first, second, TAILS)
        missed += not low <= truth <= high
    assert 0.02 <= missed / 1000 <= 0.085


@pytest.mark.parametrize("n", [1, 3, 10, 100])
def test_perfect_separation_is_not_certainty(n):
    """Perfect separation leaves a width that shrinks with the smaller class, never zero."""
    positive = np.repeat([True, False], [n, 3 * n])
    value, (low, high) = auc_interval(positive, positive.astype(float), TAILS)
    assert (value, high) == (1.0, 1.0)
    assert low <= 0.025 ** (1 / n) + 1e-12
    value, (low, high) = auc_interval(positive, -positive.astype(float), TAILS)
    assert (value, low) == (0.0, 0.0)
    assert 0 < high < 1


def test_constant_scores_say_nothing():
    """A model that gives every row the same score has an area of one half and no finite knowledge of it."""
    positive = np.repeat([True, False], [50, 50])
    assert auc_interval(positive, np.full(100, 0.5), TAILS) == (0.5, (0.0, 1.0))


def test_same_model_twice_differs_by_zero_with_a_width():
    """A model against itself has difference 0 and an interval that holds 0 inside."""
    rng = np.random.default_rng(1)
    positive = np.repeat([True, False], [30, 50])
    scores = rng.random(80)
    value, (low, high) = auc_difference_interval(positive, scores, scores, TAILS)
    assert value == 0
    assert low < 0 < high


@settings(deadline=None, max_examples=60, derandomize=True)
@given(scored(), st.integers(0, 10**6))
def test_auc_difference_is_antisymmetric(rows, seed):
    """Swapping the models mirrors the interval of the difference."""
    positive, first = rows
    second = np.random.default_rng(seed).random(len(first))
    value, (low, high) = auc_difference_interval(positive, first, second, TAILS)
    swapped, (swapped_low, swapped_high) = auc_difference_interval(positive, second, first, TAILS)
    assert (swapped, swapped_low, swapped_high) == pytest.approx((-value, -high, -low), abs=1e-12)
    assert low < high


@pytest.mark.parametrize("positive", [np.zeros(4, bool), np.ones(4, bool)])
def test_one_class_is_refused(positive):
    """Rows of a single class have no area, and the error says which rows are needed."""
    with pytest.raises(ValueError, match="both classes"):
        auc_interval(positive, np.arange(4.0), TAILS)
    with pytest.raises(ValueError, match="both classes"):
        auc_difference_interval(positive, np.arange(4.0), np.arange(4.0), TAILS)
