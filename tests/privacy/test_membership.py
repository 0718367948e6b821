"""Membership inference on losses whose distributions are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from pytest_mlgate.levels import Tails
from pytest_mlgate.privacy import membership

TAILS = Tails(0.025, 0.025)


def normal(members: int, others: int, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=members) - shift, random.normal(size=others)


def truth(shift: float) -> float:
    """The advantage of the best threshold between two normal losses."""
    return float(2 * ndtr(shift / 2) - 1)


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_both_attacks_find_the_known_advantage(shift: float):
    """The advantage 2 Phi(shift/2) - 1 lies in both intervals, and the AUC is Phi(shift/sqrt 2)."""
    members, others = normal(4000, 2000, shift)
    value, (low, high) = membership.best_threshold(members, others, TAILS)
    assert low < truth(shift) < high
    assert value == pytest.approx(truth(shift), abs=0.04)
    cut = membership.halves(members, others, 0)
    ratio = membership.judged(cut, membership.likelihood_ratio(cut), TAILS)
    assert ratio.interval[0] < truth(shift) < ratio.interval[1]
    area, _ = membership.area(members, others, TAILS)
    assert area == pytest.approx(ndtr(shift / np.sqrt(2)), abs=0.02)


def test_no_leak_is_seldom_called_one():
    """Equal distributions: in 200 samples the lower ends are above 0 in at most 5% (2.5% allowed)."""
    by_loss = by_ratio = 0
    for seed in range(200):
        members, others = normal(600, 300, 0.0, seed)
        by_loss += membership.best_threshold(members, others, TAILS)[1][0] > 0
        cut = membership.halves(members, others, seed)
        by_ratio += membership.judged(cut, membership.likelihood_ratio(cut), TAILS).interval[0] > 0
    assert by_loss <= 10
    assert by_ratio <= 10


def test_the_likelihood_ratio_sees_what_a_threshold_cannot():
    """Members with losses in the middle and others on both sides: the ratio finds twice the advantage."""
    random = np.random.default_rng(0)
    members, others = random.normal(0, 0.3, 2000), random.normal(0, 2, 2000)
    cut = membership.halves(members, others, 0)
    ratio = membership.judged(cut, membership.likelihood_ratio(cut), TAILS)
    assert ratio.value > 1.5 * membership.best_threshold(members, others, TAILS)[0]


def test_few_false_alarms_are_few_and_recognise_what_is_known():
    """At 1% false alarms Phi(Phi^-1(0.01) + 2) of members are recognised; both intervals hold the truth."""
    members, others = normal(8000, 8000, 2.0)
    found = membership.at_low_false_alarms(membership.halves(members, others, 0), 0.01, TAILS)
    assert found is not None
    assert found.false_alarms[0] < 0.013
    assert found.false_alarms[1] > 0.007
    assert found.members[0] / found.members[1] == pytest.approx(float(ndtr(-2.326 + 2)), abs=0.06)
    few = membership.halves(*normal(100, 100, 2.0), 0)
    assert membership.at_low_false_alarms(few, 0.01, TAILS) is None


def test_the_strength_of_an_attack_is_the_log_ratio_of_its_rates():
    """400 of 500 members against 100 of 500 others: at most ln 4, at least ln 2.5."""
    attack = membership.Advantage(0.6, (0.5, 0.7), (400, 500), (100, 500))
    assert np.log(2.5) < membership.strength(attack, 0.025) < np.log(4)


@settings(max_examples=50, deadline=None)
@given(
    losses=st.lists(st.floats(0, 5, width=16), min_size=40, max_size=120),
    shift=st.floats(-2, 2),
    seed=st.integers(0, 9),
)
def test_every_attack_answers_within_its_interval(losses: list[float], shift: float, seed: int):
    """Ties, constant losses and any shift: values in [-1, 1] and inside their intervals, nothing is NaN."""
    members = np.array(losses)
    others = members[::2] + shift
    value, (low, high) = membership.best_threshold(members, others, TAILS)
    assert 0 <= low <= value <= high <= 1
    cut = membership.halves(members, others, seed)
    ratio = membership.judged(cut, membership.likelihood_ratio(cut), TAILS)
    assert -1 <= ratio.interval[0] <= ratio.value + 1e-9
    assert ratio.value - 1e-9 <= ratio.interval[1] <= 1
    alarms, hits = membership.roc(members, others)
    assert (np.diff(alarms) >= 0).all()
    assert (np.diff(hits) >= 0).all()
    assert (alarms[0], hits[0], alarms[-1], hits[-1]) == (0, 0, 1, 1)


def test_losses_that_are_not_finite_are_refused():
    """One NaN among members or others is an error with the count."""
    members, others = normal(50, 50, 1.0)
    members[3] = np.nan
    for attack in (membership.best_threshold, membership.area):
        with pytest.raises(ValueError, match="1 losses are NaN"):
            attack(members, others, TAILS)
    with pytest.raises(ValueError, match="needs 20 of each"):
        membership.halves(others, others[:19], 0)


def test_probabilities_of_0_and_1_have_finite_losses():
    """A model that is sure and wrong has a large loss, not an infinite one."""
    losses = membership.probability_losses(np.array([0.0, 0.5, 1.0]))
    assert np.isfinite(losses).all()
    assert losses[0] > 15
    assert losses[1] == pytest.approx(np.log(2))


def test_a_few_shadows_find_what_the_loss_alone_cannot():
    """Rows of very different difficulty hide members from a threshold; 8 shadows know how difficult."""
    random, n = np.random.default_rng(0), 1000
    difficulty, member = random.normal(0, 3, n), random.random(n) < 0.5

    def train(rows):
        inside = np.isin(np.arange(n), rows)
        return lambda: difficulty + inside + random.normal(0, 0.5, n)

    shadows, trained_on = membership.train_shadows(train, n, 8, seed=1)
    target = difficulty + member + random.normal(0, 0.5, n)
    score = membership.lira(target, shadows, trained_on)
    by_lira, _ = membership.area(-score[member], -score[~member], TAILS)
    by_loss, _ = membership.area(-target[member], -target[~member], TAILS)
    assert by_lira > 0.85
    assert by_loss < 0.65


def test_shadows_that_never_saw_a_row_are_refused():
    """A row must be in some shadows and out of others; shadows come in pairs."""
    with pytest.raises(ValueError, match="in some shadows"):
        membership.lira(np.zeros(2), np.zeros((2, 2)), np.array([[True, True], [True, False]]))
    with pytest.raises(ValueError, match="even number"):
        membership.train_shadows(lambda _: lambda: np.zeros(4), 4, 3, 0)
