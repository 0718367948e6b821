"""Lower bounds on epsilon: right as an independent library has them, and never above the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binom

from pytest_mlgate.privacy.one_run import (
    Guesses,
    audit_any,
    audit_family,
    f_dp_bound,
    f_dp_excess,
    guesses_at,
    many_runs_bound,
    steinke_bound,
    steinke_p_value,
)
from pytest_mlgate.privacy.trade_offs import AnyMechanism, Family, Gaussian, SampledGaussian

DELTA = 1e-5
#: The error of a bound at the gate's default alpha of 0.05, where one or two requirements are declared.
ERROR = 0.025

#: Figures of jax-privacy 2.0.0, `auditing.CanaryScoreAuditor(...)` at significance 0.05 with the strategy
#: `Explicit(threshold)`: epsilon_one_run, epsilon_one_run_fdp, epsilon_clopper_pearson(one_sided=False).
#: Canaries, half of them members; guesses and right ones; delta.
PUBLISHED = [
    (500, 161, 121, 1e-5, 0.795457, 1.369276, 0.687647),
    (1000, 258, 248, 1e-5, 2.664329, 4.470997, 2.515578),
    (2000, 674, 673, 1e-6, 4.948966, 9.656729, 4.750656),
    (4000, 1074, 1028, 1e-3, 1.612502, 3.214234, 2.776402),
    (500, 201, 127, 1e-5, 0.290225, 0.495515, 0.21927),
]


@pytest.mark.parametrize(("m", "made", "right", "delta", "steinke", "f_dp", "many"), PUBLISHED)
def test_bounds_are_those_of_an_independent_library(
    m: int, made: int, right: int, delta: float, steinke: float, f_dp: float, many: float
):
    """One-run bounds agree with jax-privacy to 4 decimals, as does Clopper-Pearson's on two rates."""
    guesses, gaussian = Guesses(m, made, right), Gaussian(delta)
    assert steinke_bound(guesses, delta, 0.05) == pytest.approx(steinke, abs=5e-5)
    assert gaussian.epsilon(f_dp_bound(guesses, gaussian, 0.05)) == pytest.approx(f_dp, abs=5e-5)
    found = many_runs_bound((right, m // 2), (made - right, m // 2), delta, 0.05)
    assert found == pytest.approx(many, abs=5e-5)


@settings(max_examples=60, deadline=None)
@given(
    made=st.integers(1, 60),
    wrong=st.integers(0, 60),
    more=st.integers(0, 100),
    epsilon=st.floats(0, 5),
    delta=st.floats(0, 0.01),
)
def test_the_p_value_is_the_theorems_sum(made: int, wrong: int, more: int, epsilon: float, delta: float):
    """Theorem 5.2 written out as a sum over how many guesses delta could have turned gives the same."""
    right, m, q = max(0, made - wrong), made + more, float(expit(epsilon))
    beta = float(binom.sf(right - 1, made, q))
    alpha = (
        max((float(binom.sf(right - i - 1, made, q)) - beta) / i for i in range(1, right + 1)) if right else 0
    )
    expected = min(1.0, beta + 2 * m * delta * max(0.0, alpha))
    assert steinke_p_value(Guesses(m, made, right), epsilon, delta) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(right=st.integers(60, 99), delta=st.sampled_from([1e-6, 1e-4]))
def test_more_right_guesses_never_show_less(right: int, delta: float):
    """Every bound rises with the right guesses and falls with the confidence asked for."""
    fewer, more = Guesses(300, 100, right), Guesses(300, 100, right + 1)
    for family in (Gaussian(delta), AnyMechanism(delta)):
        at = f_dp_bound(more, family, 0.05)
        assert at >= f_dp_bound(fewer, family, 0.05)
        assert at >= f_dp_bound(more, family, 0.01)
    assert steinke_bound(more, delta, 0.05) >= steinke_bound(fewer, delta, 0.05)


def test_what_is_returned_is_refuted_and_little_more_is_not():
    """The bound lies on the edge: refuted there, not refuted 1% above, for every family."""
    guesses = Guesses(1000, 250, 225)
    families: list[Family] = [Gaussian(DELTA), AnyMechanism(DELTA), SampledGaussian(DELTA, 0.1, 100)]
    for family in families:
        found = f_dp_bound(guesses, family, 0.05)
        assert f_dp_excess(guesses, family.inverse(found * (1 - 1e-6)), 0.05) >= 0
        assert f_dp_excess(guesses, family.inverse(found * 1.01), 0.05) < 0


def test_sampling_everything_is_the_plain_gaussian():
    """DP-SGD with rate 1 for one step is a Gaussian mechanism: the two families give the same epsilon."""
    guesses = Guesses(1000, 250, 225)
    sampled, plain = SampledGaussian(DELTA, 1.0, 1), Gaussian(DELTA)
    found = sampled.epsilon(f_dp_bound(guesses, sampled, 0.05))
    assert found == pytest.approx(plain.epsilon(f_dp_bound(guesses, plain, 0.05)), rel=0.03)


def mu_of(epsilon: float) -> float:
    return float(brentq(lambda mu: Gaussian(DELTA).epsilon(mu) - epsilon, 0.05, 20))


@pytest.mark.parametrize("epsilon", [1.0, 4.0, 8.0])
def test_bounds_of_a_gaussian_mechanism_stay_below_the_truth(epsilon: float):
    """In 200 audits of 500 canaries no bound is above the true epsilon more than twice."""
    random, mu, m = np.random.default_rng(int(epsilon)), mu_of(epsilon), 500
    above = {"f-DP": 0, "Steinke": 0, "many runs": 0}
    for seed in range(200):
        included = random.random(m) < 0.5
        tried = guesses_at(random.normal(size=m) + mu * included, included, seed)
        inverse, share = Gaussian(DELTA).inverse(mu), ERROR / len(tried)
        above["f-DP"] += max(f_dp_excess(g, inverse, share) for g in tried) > 0
        above["Steinke"] += min(steinke_p_value(g, epsilon, DELTA) for g in tried) < share
        hits, alarms = (int(np.sum(random.normal(size=m) + by > mu / 2)) for by in (mu, 0.0))
        above["many runs"] += many_runs_bound((hits, m), (alarms, m), DELTA, ERROR) > epsilon
    assert max(above.values()) <= 2, above


@pytest.mark.parametrize("epsilon", [1.0, 4.0, 8.0])
def test_bounds_of_dp_sgd_stay_below_the_truth(epsilon: float):
    """In 200 simulated trainings (rate 0.1, 100 steps) phantoms refute the true epsilon at most twice."""
    family, m = SampledGaussian(DELTA, 0.1, 100), 300
    leak = float(brentq(lambda x: family.epsilon(x) - epsilon, 0.15, 2.0, xtol=1e-3))
    random, inverse, refuted = np.random.default_rng(int(epsilon)), family.inverse(leak), 0
    for seed in range(200):
        included = random.random(m) < 0.5
        taken = random.binomial(100, 0.1, m) * included
        scores = taken + np.sqrt(100) / leak * random.normal(size=m)
        tried = guesses_at(scores, included, seed)
        refuted += max(f_dp_excess(g, inverse, ERROR / len(tried)) for g in tried) > 0
    assert refuted <= 2


@pytest.mark.parametrize("epsilon", [1.0, 4.0])
def test_a_bound_for_any_mechanism_holds_for_randomised_response(epsilon: float):
    """The worst mechanism of its epsilon is flagged in at most 10 of 200 audits, where 5 are allowed."""
    random, m, above = np.random.default_rng(3), 400, 0
    for seed in range(200):
        included = random.random(m) < 0.5
        answers = included ^ (random.random(m) > expit(epsilon))
        above += audit_any(answers.astype(float), included, 0.0, ERROR, seed).epsilon > epsilon
    assert above <= 10


def test_an_attack_that_sees_everything_shows_much():
    """Perfect scores of 1,000 canaries show an epsilon above 4 of any mechanism, above 8 of a Gaussian."""
    included = np.random.default_rng(0).random(1000) < 0.5
    scores = included.astype(float)
    assert audit_any(scores, included, DELTA, ERROR, 0).epsilon > 4
    assert audit_family(scores, included, Gaussian(DELTA), ERROR, 0).epsilon > 8


def test_equal_scores_of_rows_sorted_by_membership_show_nothing():
    """A file with all members first and one score for all gives them not away."""
    included = np.repeat([True, False], 200)
    assert audit_any(np.zeros(400), included, DELTA, ERROR, 0).epsilon < 0.1


@pytest.mark.parametrize(
    ("scores", "included"),
    [
        (np.zeros(5), np.ones(5, bool)),
        (np.full(30, np.nan), np.ones(30, bool)),
        (np.zeros(30), np.ones(29, bool)),
    ],
)
def test_scores_that_cannot_be_audited_are_refused(scores: np.ndarray, included: np.ndarray):
    """Too few canaries, NaN scores and lengths that differ are errors, not an epsilon."""
    with pytest.raises(ValueError, match="score"):
        guesses_at(scores, included, 0)


@pytest.mark.parametrize("numbers", [(10, 0, 0), (10, 11, 5), (10, 5, 6), (10, 5, -1)])
def test_impossible_guesses_are_refused(numbers: tuple[int, int, int]):
    """More right than made, more made than canaries, or none at all."""
    with pytest.raises(ValueError, match="guesses about"):
        Guesses(*numbers)
