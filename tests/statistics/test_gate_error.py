"""The error of the whole gate: ten requirements of ten kinds, judged by the intervals that checks use.

Every requirement is met exactly at its bound, which is where failing by chance, and passing by chance what
lies a hair beyond, are most likely.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from pytest_mlgate import statistics as s
from pytest_mlgate.evidence import Interval, Measurement, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for

ALPHA = 0.05
RUNS = 1200
#: Three standard errors of a rate of 0.05 in so many runs.
NOISE = 3 * (0.05 * 0.95 / RUNS) ** 0.5
LEVELS = levels_for(ALPHA, 10)
POSITIVE = np.arange(400) < 100
SHIFT = float(np.sqrt(2) * norm.ppf(0.8))


def _accuracy(rng, tails):
    k = rng.binomial(600, 0.9)
    return k / 600, s.clopper_pearson(k, 600, tails)


def _gap(rng, tails):
    k1, k2 = rng.binomial(40, 0.3), rng.binomial(560, 0.2)
    return k1 / 40 - k2 / 560, s.difference_interval(k1, 40, k2, 560, tails)


def _impact(rng, tails):
    k1, k2 = rng.binomial(60, 0.4), rng.binomial(540, 0.5)
    return (k1 / 60) / (k2 / 540), s.ratio_interval(k1, 60, k2, 540, tails)


def _drop(rng, tails):
    lost, won, _ = rng.multinomial(600, [0.025, 0.005, 0.97])
    return (lost - won) / 600, s.paired_difference_interval(lost, won, 600, tails)


def _area(rng, tails):
    return s.auc_interval(POSITIVE, SHIFT * POSITIVE + rng.normal(size=400), tails)


def _area_drop(rng, tails):
    common = rng.normal(size=400)
    first, second = (SHIFT * POSITIVE + common + 0.5 * rng.normal(size=400) for _ in range(2))
    return s.auc_difference_interval(POSITIVE, first, second, tails)


def _error(rng, tails):
    return s.skewed_mean_interval(rng.exponential(size=400), tails)


def _error_gap(rng, tails):
    return s.welch_interval(rng.exponential(size=60), rng.exponential(size=540), tails)


def _percentile(rng, tails):
    return s.quantile_interval(rng.random(600), 0.9, tails)


def _shift(rng, tails):
    truth = 0.5
    return s.kolmogorov_smirnov_interval(rng.normal(size=500), rng.normal(truth, size=500), tails)


#: What is measured, its comparator, and its true value, which is the bound.
KINDS = {
    "accuracy": (_accuracy, ">=", 0.9),
    "gap of rates": (_gap, "<=", 0.1),
    "ratio of rates": (_impact, ">=", 0.8),
    "paired drop": (_drop, "<=", 0.02),
    "area": (_area, ">=", 0.8),
    "drop of the area": (_area_drop, "<=", 0.0),
    "mean error": (_error, "<=", 1.0),
    "gap of mean errors": (_error_gap, "<=", 0.0),
    "90th percentile": (_percentile, "<=", 0.9),
    "shift": (_shift, "<=", 2 * float(norm.cdf(0.25)) - 1),
}


def _verdict(kind, rng):
    measure, comparator, bound = KINDS[kind]
    tails = LEVELS.tails(comparator)
    value, (low, high) = measure(rng, tails)
    requirement = Requirement(
        id="c.b", check="c", parameter="b", comparator=comparator, bound=bound, source="test"
    )
    m = Measurement(
        metric=kind,
        value=value,
        unit="",
        n=400,
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method="test",
        bound="b",
    )
    return judge([requirement], [m])[0].verdict


@pytest.fixture(scope="module")
def verdicts():
    """Return the verdicts of every run, one column a kind."""
    rng = np.random.default_rng(12)
    return np.array([[_verdict(kind, rng) for kind in KINDS] for _ in range(RUNS)])


def test_ten_requirements_that_are_met_rarely_block(verdicts):
    """With ten independent requirements, all met, some verdict is `fail` in at most 5% of the runs."""
    failed = verdicts == Verdict.FAIL
    assert failed.any(axis=1).mean() <= ALPHA + NOISE
    assert failed.any(), "a gate that never fails proves nothing"


def test_ten_requirements_on_the_same_data_rarely_block():
    """With ten requirements that stand or fall together, some verdict is `fail` in at most 5% of the runs."""
    for kind in ("gap of rates", "paired drop", "mean error"):
        failed = 0
        for run in range(300):
            found = {_verdict(kind, np.random.default_rng([run, 5])) for _ in range(10)}
            failed += Verdict.FAIL in found
        assert failed / 300 <= ALPHA


def test_a_model_that_violates_one_requirement_rarely_passes_all(verdicts):
    """Whichever one requirement is violated by a hair, all the others met with ease, at most 5% pass."""
    passed = (verdicts == Verdict.PASS).mean(axis=0)
    assert dict(zip(KINDS, passed.round(3).tolist(), strict=True)) == {
        kind: pytest.approx(0, abs=ALPHA) for kind in KINDS
    }
    assert passed.max() > 0.005, "a gate that never passes proves nothing"


@settings(deadline=None, max_examples=15, derandomize=True)
@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=12))
def test_holm_would_block_the_same_releases(p_values):
    """Holm rejects some hypothesis exactly where Bonferroni does: no release would be decided otherwise."""
    holm, bonferroni = (multipletests(p_values, 0.05, method=m)[0].any() for m in ("holm", "bonferroni"))
    assert holm == bonferroni
