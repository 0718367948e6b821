"""The accountant against closed forms, against dp-accounting itself, and against brute force."""

from __future__ import annotations

import logging
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr
from scipy.stats import binom, norm

from pytest_mlgate.errors import CheckError
from pytest_mlgate.privacy.accounting import Part, cost, cost_of_fixed_size

RATE = 256 / 60_000


def gaussian_epsilon(sigma: float, delta: float) -> float:
    """The exact epsilon of one Gaussian mechanism (Balle and Wang 2018, ICML, theorem 8)."""

    def excess(epsilon: float) -> float:
        second = math.exp(epsilon + float(log_ndtr(-1 / (2 * sigma) - epsilon * sigma)))
        return float(ndtr(1 / (2 * sigma) - epsilon * sigma)) - second - delta

    return brentq(excess, 0.0, 500.0)


def reference(noise: float, rate: float, steps: int, delta: float) -> float:
    """What dp-accounting's PLD accountant itself says, on its own default grid."""
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
    return float(PLDAccountant().compose(event, steps).get_epsilon(delta))


@pytest.mark.parametrize(
    ("noise", "rate", "steps", "delta"),
    [
        (1.1, RATE, 14_062, 1e-5),
        (2.0, 0.064, 320, 1e-4),
        (3.0, 0.082, 1_220, 1e-5),
        (0.8, 0.01, 900, 1e-5),
    ],
)
def test_the_figure_is_that_of_dp_accounting(noise: float, rate: float, steps: int, delta: float):
    """Within 1e-3 of dp-accounting's PLD, in under two seconds of processor time."""
    cost([Part(1.0, 1)], 1e-5)  # loads the libraries
    began = time.process_time()
    found = cost([Part(noise, steps, rate)], delta)
    assert time.process_time() - began < 2.0
    assert found.epsilon == pytest.approx(reference(noise, rate, steps, delta), abs=1e-3)
    assert found.epsilon <= found.by_rdp


@settings(max_examples=4, deadline=None)
@given(st.lists(st.tuples(st.floats(4, 20), st.integers(1, 40)), min_size=1, max_size=4))
def test_steps_without_sampling_compose_exactly(steps: list[tuple[float, int]]):
    """Gaussian mechanisms add up in the squares of 1/noise, whatever their order; never undercut."""
    sigma = 1 / math.sqrt(sum(times / noise**2 for noise, times in steps))
    found = cost([Part(noise, times) for noise, times in steps], 1e-5)
    exact = gaussian_epsilon(sigma, 1e-5)
    assert exact <= found.epsilon <= exact * 1.001 + 1e-4


def test_several_rows_of_a_person_are_a_mixture():
    """One sampled step with three rows of one person agrees with numerical integration."""
    noise, rate, rows, delta = 1.5, 0.1, 3, 1e-3
    xs = np.linspace(-20, 25, 200_001)
    plain = norm.pdf(xs, 0, noise)
    mixed = sum(w * norm.pdf(xs, j, noise) for j, w in enumerate(binom.pmf(range(rows + 1), rows, rate)))

    def hockey_stick(epsilon: float) -> float:
        ratio, width = math.exp(epsilon), xs[1] - xs[0]
        removed = np.maximum(0.0, mixed - ratio * plain).sum() * width
        added = np.maximum(0.0, plain - ratio * mixed).sum() * width
        return float(max(removed, added))

    exact = brentq(lambda epsilon: hockey_stick(epsilon) - delta, 0.01, 5)
    found = cost([Part(noise, 1, rate, rows)], delta)
    assert exact - 1e-4 <= found.epsilon <= exact + 2e-3


def test_a_person_with_rows_costs_more_than_that_many_times_a_row():
    """Four rows cost over four times epsilon at the same delta; all rows together are the looser bound."""
    one, four = cost([Part(4.0, 50, 0.05)], 1e-5), cost([Part(4.0, 50, 0.05, 4)], 1e-5)
    assert four.epsilon > 4 * one.epsilon
    assert four.epsilon < four.by_rdp


def test_without_sampling_k_rows_are_k_times_the_sensitivity():
    """Three rows in the same full batches are a Gaussian of a third of the noise."""
    assert cost([Part(6.0, 4, rows=3)], 1e-5).epsilon == pytest.approx(gaussian_epsilon(1.0, 1e-5), rel=1e-3)


def test_trials_add_up():
    """Two trainings cost more than one and less than twice one."""
    one = cost([Part(2.0, 320, 0.064)], 1e-4).epsilon
    both = cost([Part(2.0, 320, 0.064)] * 2, 1e-4).epsilon
    assert both == pytest.approx(reference(2.0, 0.064, 640, 1e-4), abs=1e-3)
    assert one < both < 2 * one


def test_a_schedule_of_many_noises_is_bounded_closely():
    """Hundreds of noise multipliers are rounded to few, upwards in cost, by less than a tenth."""
    schedule = [1.5 + i / 300 for i in range(300)]
    found = cost([Part(noise, 1, 0.05) for noise in schedule], 1e-5)
    assert reference(2.5, 0.05, 300, 1e-5) < found.epsilon < reference(1.5, 0.05, 300, 1e-5)
    middle = (sum(noise**-2 for noise in schedule) / 300) ** -0.5
    assert found.epsilon == pytest.approx(reference(middle, 0.05, 300, 1e-5), rel=0.1)


def test_fixed_size_batches_of_a_large_table_are_amplified():
    """Fresh subsets of 100 of 100,000 rows cost far less than the same uses without amplification."""
    assert cost_of_fixed_size(3.0, 100_000, 100, 1_000, 1e-6) < 0.5
    assert cost([Part(3.0, 7)], 1e-6).epsilon > 4


@pytest.mark.parametrize("delta", [0.0, 1.0, -1.0, math.nan])
def test_an_unusable_delta_is_refused(delta: float):
    """Delta must be above 0 and below 1."""
    with pytest.raises(CheckError, match="delta is"):
        cost([Part(1.0, 1)], delta)


@pytest.mark.parametrize("noise", [0.0, 1e-9, math.nan])
def test_no_noise_has_no_cost(noise: float):
    """Without noise there is an error, never an epsilon."""
    with pytest.raises(CheckError, match="cannot be accounted for"):
        cost([Part(noise, 10, 0.1)], 1e-5)


def test_the_accountants_are_quiet(capfd: pytest.CaptureFixture[str]):
    """Nothing reaches the terminal, and the log level is as it was."""
    level = logging.getLogger("absl").level
    cost([Part(1.0, 320, 0.064)], 1e-4)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("absl").level == level
