"""The calibration error: without bias, with an interval that covers, in time."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import calibration_error_interval
from pytest_mlgate.statistics.calibration import ROWS_PER_BIN, equal_mass_bins

from .calibration_decisions import WORLDS, coverage

TAILS = Tails(lower=0.025, upper=0.025)
SCORES = st.integers(2, 300).flatmap(
    lambda n: st.tuples(
        arrays(np.float64, n, elements=st.floats(0, 1)), arrays(np.bool_, n, elements=st.booleans())
    )
)


@given(SCORES, st.floats(1e-4, 0.4), st.floats(1e-4, 0.4))
@settings(max_examples=200, deadline=None)
def test_the_value_is_inside_its_interval_inside_0_to_1(rows, lower, upper):
    """Whatever the scores and outcomes, value and ends are in order, finite and probabilities."""
    found = calibration_error_interval(*rows, Tails(lower=lower, upper=upper))
    low, high = found.interval
    assert 0 <= low <= found.value <= high <= 1
    assert high > 0
    assert sum(b.n for b in found.bins) == len(rows[0])


@given(arrays(np.float64, st.integers(2, 2_000), elements=st.floats(0, 1)))
@settings(max_examples=100, deadline=None)
def test_bins_hold_rows_enough_and_keep_equal_scores_together(scores):
    """No bin is nearly empty, bins are in the order of the scores, and ties are never split."""
    codes = equal_mass_bins(scores)
    sizes = np.bincount(codes)
    assert (sizes > 0).all()
    assert len(sizes) == 1 or sizes.min() > ROWS_PER_BIN // 2
    order = np.argsort(scores, kind="stable")
    assert (np.diff(codes[order]) >= 0).all()
    assert all(len(set(codes[scores == value])) == 1 for value in np.unique(scores)[:20])


def test_the_squared_error_is_estimated_without_bias():
    """Averaged over samples, the debiased square is the true one, and the plug-in error is not."""
    rng = np.random.default_rng(0)
    values, plug_ins = [], []
    for _ in range(2_000):
        scores = rng.random(300)
        found = calibration_error_interval(scores, rng.random(300) < scores, TAILS)
        values.append(_squared(scores, found))
        plug_ins.append(found.plug_in)
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(len(values))
    assert np.mean(plug_ins) > 0.04


def _squared(scores, found):
    """The debiased square from the bins, before it is cut off at 0."""
    rows = np.asarray([b.n for b in found.bins], float)
    gaps = np.asarray([b.rate - b.score for b in found.bins])
    codes = equal_mass_bins(scores)
    rates = np.asarray([b.rate for b in found.bins])
    spread = np.bincount(codes, (scores - np.asarray([b.score for b in found.bins])[codes]) ** 2)
    # Outcomes given scores vary by score (1 - score) here, since the model is calibrated.
    variance = np.bincount(codes, scores * (1 - scores)) / rows
    assert (rates >= 0).all()
    assert (spread >= 0).all()
    return float(np.sum(rows / rows.sum() * (gaps**2 - variance / rows)))


def test_the_value_is_the_u_statistic_of_the_residuals():
    """In one bin the squared value is the mean product of two different rows' residuals."""
    rng = np.random.default_rng(1)
    scores, happened = rng.random(40) * 0.3, rng.random(40) < 0.7
    residuals = happened - scores
    products = np.outer(residuals, residuals)
    expected = (products.sum() - np.trace(products)) / (40 * 39)
    assert calibration_error_interval(scores, happened, TAILS).value ** 2 == pytest.approx(
        expected, rel=1e-12
    )


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("n", [60, 300, 1_000])
def test_the_interval_covers(world: str, n: int):
    """In every world the 95% interval covers the true error in at least 92% of 250 samples."""
    assert coverage(world, n, runs=250).covered >= 0.92


def test_calibrated_models_are_not_blocked():
    """A perfectly calibrated model fails a bound of 0.05 in at most 1% of samples of 300 rows."""
    cell = coverage("balanced, calibrated", 300, runs=250)
    assert cell.failed <= 0.01
    assert cell.plug_in_blocked > 0.5


def test_all_equal_scores_make_one_bin():
    """A model that always answers the same is judged by its mean alone, with an interval of some width."""
    happened = np.arange(100) % 2 == 0
    found = calibration_error_interval(np.full(100, 0.5), happened, TAILS)
    assert len(found.bins) == 1
    assert found.value == 0
    assert 0.02 < found.interval[1] < 0.2
    off = calibration_error_interval(np.full(100, 0.9), happened, TAILS)
    assert off.interval[0] > 0.25
    assert off.interval[1] < 0.55


@pytest.mark.parametrize("scores", [[0.5, np.nan], [0.5, 1.1], [-0.1, 0.5], [0.5, np.inf]])
def test_scores_that_are_no_probabilities_are_refused(scores):
    """NaN, infinities and values outside 0 to 1 raise instead of giving a number."""
    with pytest.raises(ValueError, match="not within 0 to 1"):
        calibration_error_interval(np.asarray(scores), np.asarray([True, False]), TAILS)


@pytest.mark.parametrize("rows", [0, 1])
def test_one_row_is_refused(rows: int):
    """Variance needs two rows."""
    with pytest.raises(ValueError, match="two rows or more"):
        calibration_error_interval(np.full(rows, 0.5), np.ones(rows, bool), TAILS)


def test_a_million_rows_take_no_time():
    """Work grows with the rows only once: a million take well under a second of processor time."""
    rng = np.random.default_rng(0)
    scores = rng.random(1_000_000)
    happened = rng.random(1_000_000) < scores
    started = time.process_time()
    calibration_error_interval(scores, happened, TAILS)
    assert time.process_time() - started < 1.0
