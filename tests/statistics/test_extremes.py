"""The share of rows beyond the extremes of a reference, whose truth is known whatever the distribution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics.extremes import EXTREME_SHARE, extreme_share

values = st.lists(st.integers(-5, 5).map(float) | st.floats(-1e6, 1e6), min_size=1, max_size=80).map(np.array)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(values, values)
def test_rows_beyond_the_fences_are_counted_in_both_samples(reference, current):
    """The counts are those of a plain comparison, and the difference lies inside its interval."""
    found = extreme_share(np.sort(reference), np.sort(current))
    for sample, (beyond, rows) in ((reference, found.reference), (current, found.current)):
        assert rows == len(sample)
        assert beyond == int(((sample < found.low) | (sample > found.high)).sum())
    assert found.reference[0] <= 2 * EXTREME_SHARE * len(reference)
    low, high = found.interval(Tails(0.025, 0.025))
    assert -1 <= low <= found.value <= high <= 1


@pytest.mark.parametrize("draw", ["normal", "lognormal", "standard_cauchy"])
@pytest.mark.parametrize(("n", "m"), [(500, 500), (5_000, 1_000), (4_000, 8_000)])
def test_samples_of_one_source_seldom_look_worse_however_heavy_their_tails(draw, n, m):
    """The lower end lies above 0 in no more samples than its error allows: fences move with the tails."""
    rng = np.random.default_rng(2)
    tails = Tails(lower=0.025, upper=0.025)
    runs = 400
    wrong = 0
    for _ in range(runs):
        reference, current = (np.sort(getattr(rng, draw)(size=size)) for size in (n, m))
        wrong += extreme_share(reference, current).interval(tails)[0] > 0
    assert wrong / runs <= 0.025 + 3 * np.sqrt(0.025 / runs)


def test_the_interval_covers_the_true_rise_beyond_the_fences():
    """With 1% of rows far out the true rise beyond the very fences lies within the interval almost always."""
    rng = np.random.default_rng(3)
    missed = np.zeros(2)
    runs = 500
    for _ in range(runs):
        reference, current = np.sort(rng.uniform(size=3_000)), rng.uniform(size=3_000)
        current = np.sort(np.where(rng.random(3_000) < 0.01, 5.0, current))
        found = extreme_share(reference, current)
        truth = 0.01 * (found.high - found.low)
        low, high = found.interval(Tails(0.025, 0.025))
        missed += low > truth, high < truth
    assert (missed / runs <= 0.035).all()


def test_nothing_is_compared_with_nothing():
    """A sample without rows has no extremes."""
    with pytest.raises(ValueError, match="two samples with rows"):
        extreme_share(np.zeros(0), np.ones(3))
