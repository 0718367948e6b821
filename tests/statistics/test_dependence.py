"""Rank correlations of all pairs and their change, against scipy and by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics.dependence import correlation_change, rank_correlations


def mixed(rng, n, correlation=0.5):
    """A normal column, one that follows it, the same cut off at zero, in steps, and as a flag."""
    x = rng.normal(size=n)
    y = correlation * x + np.sqrt(1 - correlation**2) * rng.normal(size=n)
    return np.column_stack([x, np.exp(y), np.maximum(y, 0), np.floor(2 * np.abs(x + y)), y > 1])


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(0, 10_000), st.integers(30, 200), st.integers(1, 6))
def test_correlations_are_those_of_scipy(seed, rows, distinct):
    """Correlations are scipy's, ties included."""
    rng = np.random.default_rng(seed)
    values = np.column_stack(
        [rng.integers(0, distinct + 1, rows), rng.normal(size=rows), rng.poisson(1, rows)]
    )
    values = np.concatenate([values, [[0, 0, 0], [1, 1, 1]]]).astype(float)
    found = rank_correlations(values, 0)
    assert found.value == pytest.approx(spearmanr(values).statistic, abs=1e-12)
    assert (found.error[~np.eye(3, dtype=bool)] >= 0).all()


def test_the_error_is_that_of_repeated_samples():
    """The estimated errors are within a tenth of the spread over samples, for ties and for flags too."""
    rng = np.random.default_rng(1)
    found = [rank_correlations(mixed(rng, 400), 0) for _ in range(500)]
    apart = ~np.eye(5, dtype=bool)
    spread = np.std([f.value for f in found], axis=0)[apart]
    assert spread / np.mean([f.error for f in found], axis=0)[apart] == pytest.approx(1, abs=0.12)


def test_the_error_holds_with_missing_values():
    """Where a third of either column is missing, the errors are still those of repeated samples."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(400):
        values = mixed(rng, 600)[:, :3]
        values[rng.random(values.shape) < 0.3] = np.nan
        found.append(rank_correlations(values, 0))
    apart = ~np.eye(3, dtype=bool)
    spread = np.std([f.value for f in found], axis=0)[apart]
    assert spread / np.mean([f.error for f in found], axis=0)[apart] == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.0), (0.3, 0.6), (0.9, 0.8)])
def test_the_interval_covers_the_true_change(before, after):
    """The change lies below the lower end and above the upper one no more often than allowed."""
    rng = np.random.default_rng(4)
    tails = Tails(lower=0.025, upper=0.025)
    runs = 600
    truth = abs(np.diff([6 / np.pi * np.arcsin(r / 2) for r in (before, after)])[0])
    missed = np.zeros(2)
    for _ in range(runs):
        pair = [rank_correlations(mixed(rng, n, r)[:, :2], 0) for n, r in ((300, before), (200, after))]
        change = correlation_change(*pair, tails)
        missed += change.low[0, 1] > truth + 1e-12, change.high[0, 1] < truth
    assert (missed / runs <= 0.045).all()


def test_all_pairs_hold_together():
    """At the level of one of all pairs, clean tables seem changed in few samples, whatever the columns."""
    rng = np.random.default_rng(5)
    tails = Tails(lower=0.05 / 10, upper=0.025)
    wrong = 0
    for _ in range(300):
        change = correlation_change(*(rank_correlations(mixed(rng, 300), 0) for _ in "ab"), tails)
        wrong += bool((change.low[np.triu_indices(5, 1)] > 0).any())
    assert wrong / 300 <= 0.08


def test_a_column_that_does_not_vary_has_no_correlation():
    """What does not vary, or is seldom there, has none: nothing is invented."""
    rng = np.random.default_rng(6)
    values = np.column_stack([rng.normal(size=50), np.ones(50), np.where(np.arange(50) < 10, 1.5, np.nan)])
    found = rank_correlations(values, 0)
    assert np.isnan(found.value[0, 1:]).all()
    assert np.isnan(found.error[0, 1:]).all()


def test_a_copied_column_has_an_interval():
    """Two equal columns correlate perfectly in both tables: no change, and a little width."""
    x = np.random.default_rng(7).normal(size=100)
    found = rank_correlations(np.column_stack([x, x]), 0)
    change = correlation_change(found, found, Tails(0.025, 0.025))
    assert (change.value[0, 1], change.low[0, 1]) == (0, 0)
    assert 0 <= change.high[0, 1] < 0.1
