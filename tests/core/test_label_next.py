"""Which rows to label next: the draw is fair whatever the model believes, and the interval covers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mlgate.label_next import choose, error_chances, estimate
from pytest_mlgate.levels import Tails

TAILS = Tails(0.025, 0.025)
CHANCES = st.lists(st.floats(0, 1), min_size=1, max_size=300).map(np.asarray)


def calibrated(rng, rows):
    """A model that knows how often it errs."""
    chances = error_chances(rng.beta(0.4, 0.4, rows))
    return chances, rng.random(rows) >= chances


def uninformative(rng, rows):
    """A model whose doubts say nothing."""
    return rng.random(rows) / 2, rng.random(rows) >= 0.1


def contrary(rng, rows):
    """A model that is surest where it errs most."""
    errors = rng.beta(1, 5, rows) / 2
    return 0.5 - errors, rng.random(rows) >= errors


@given(CHANCES, st.integers(1, 400), st.integers(0, 10))
@settings(max_examples=150, deadline=None)
def test_exactly_n_distinct_rows_are_drawn_with_probabilities_that_add_up(chances, n, seed):
    """So many rows, none twice, whose inverse probabilities sum to the size of the pool."""
    chosen = choose(chances, n, seed)
    assert len(chosen.rows) == len(chosen.probabilities) == min(n, len(chances))
    assert len(np.unique(chosen.rows)) == len(chosen.rows)
    assert chosen.rows.min() >= 0
    assert chosen.rows.max() < len(chances)
    assert np.sum(1 / chosen.probabilities) == pytest.approx(len(chances))


@given(CHANCES, st.integers(1, 400))
@settings(max_examples=50, deadline=None)
def test_a_seed_draws_the_same_rows_again(chances, n):
    """What was asked to be labelled can be recomputed."""
    first, second = choose(chances, n, 3), choose(chances, n, 3)
    assert np.array_equal(first.rows, second.rows)
    assert np.array_equal(first.probabilities, second.probabilities)


def test_doubtful_rows_are_drawn_more_often_and_sure_ones_still_are():
    """A row in doubt is more than twice as likely to be asked for as one that the model is sure of."""
    chances = np.r_[np.full(9000, 0.001), np.full(1000, 0.5)]
    chosen = choose(chances, 300, 0)
    doubtful = chosen.rows >= 9000
    assert 0 < doubtful.sum() < 300
    assert chosen.probabilities[doubtful].mean() > 2 * chosen.probabilities[~doubtful].mean()


def test_every_row_is_as_likely_to_be_drawn_as_it_says():
    """Over many draws, each row comes as often as its probability promises."""
    rng = np.random.default_rng(0)
    chances = rng.beta(0.4, 2, 200)
    came, promised = np.zeros(200), np.full(200, np.nan)
    for seed in range(2000):
        chosen = choose(chances, 50, seed)
        came[chosen.rows] += 1 / 2000
        promised[chosen.rows] = chosen.probabilities
    assert not np.isnan(promised).any()
    assert np.max(np.abs(came - promised)) < 5 * np.sqrt(0.25 / 2000)


@pytest.mark.parametrize("world", [calibrated, uninformative, contrary])
def test_the_estimate_is_unbiased_and_the_interval_covers(world):
    """Whatever the model believes of itself, 95% intervals cover the source's accuracy in 94% and more."""
    truth = world(np.random.default_rng(1), 2_000_000)[1].mean()
    rng = np.random.default_rng(2)
    values, covered = [], 0
    for seed in range(600):
        chances, right = world(rng, 4000)
        chosen = choose(chances, 200, seed)
        value, (low, high) = estimate(right[chosen.rows], chosen.probabilities, TAILS)
        values.append(value)
        covered += low <= truth <= high
    # Four standard errors of the simulation, and of 94% over 600 runs.
    assert abs(np.mean(values) - truth) < 4 * np.std(values) / np.sqrt(600)
    assert covered / 600 > 0.94 - 0.02


def test_labels_are_saved_where_the_model_knows_its_doubts():
    """The same number of labels says more than a random sample's if the model is calibrated."""
    rng = np.random.default_rng(3)
    chosen_values, random_values = [], []
    for seed in range(400):
        chances, right = calibrated(rng, 4000)
        chosen = choose(chances, 200, seed)
        chosen_values.append(estimate(right[chosen.rows], chosen.probabilities, TAILS)[0])
        random_values.append(right[rng.choice(4000, 200, replace=False)].mean())
    assert np.var(chosen_values) < 0.85 * np.var(random_values)


def test_all_rows_give_the_share_itself():
    """With every row labelled the estimate is the pool's share of right decisions."""
    right = np.arange(40) % 4 != 0
    chosen = choose(np.linspace(0, 1, 40), 100, 0)
    value, (low, high) = estimate(right[chosen.rows], chosen.probabilities, TAILS)
    assert value == pytest.approx(0.75)
    assert 0 <= low < value < high <= 1


def test_chances_of_an_error_follow_the_decision():
    """A binary decision at a threshold errs with the chance of the other class."""
    assert error_chances(np.array([0.1, 0.3, 0.9]), threshold=0.25) == pytest.approx([0.1, 0.7, 0.1])
    assert error_chances(np.array([[0.2, 0.5, 0.3], [1, 0, 0]])) == pytest.approx([0.5, 0.0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: choose(np.array([]), 5, 0), "pool of 0 rows"),
        (lambda: choose(np.array([0.1]), 0, 0), "0 labels"),
        (lambda: choose(np.array([0.1, np.nan]), 1, 0), "outside of 0 to 1"),
        (lambda: error_chances(np.array([-1.0, 2.0])), "are not probabilities"),
        (lambda: estimate(np.array([], bool), np.array([]), TAILS), "0 labels"),
        (lambda: estimate(np.array([True]), np.array([0.5, 0.5]), TAILS), "not of the same rows"),
        (lambda: estimate(np.array([True]), np.array([0.0]), TAILS), "outside of 0 to 1"),
    ],
)
def test_what_cannot_be_drawn_or_weighed_is_refused(call, words):
    """Empty pools, scores that are no probabilities and labels of other rows are errors, never a number."""
    with pytest.raises(ValueError, match=words):
        call()
