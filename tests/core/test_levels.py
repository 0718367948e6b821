"""How alpha is spent: a clean model is rarely blocked, a bad one is rarely released."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mlgate.evidence import Interval, Measurement, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import Levels, Tails, levels_for
from pytest_mlgate.statistics import clopper_pearson, mean_interval

ALPHA = 0.05
RUNS = 2000


@settings(deadline=None, max_examples=80, derandomize=True)
@given(st.floats(0.001, 0.5), st.integers(0, 50), st.integers(0, 30))
def test_alpha_is_divided_on_the_failing_side_only(alpha, requirements, parts):
    """The failing side is divided by requirements and parts; the releasing side keeps half of alpha."""
    levels = levels_for(alpha, requirements)
    assert levels.release == alpha / 2
    assert levels.fail * max(1, requirements) <= alpha * (1 + 1e-12)
    assert levels.fail <= alpha / 2
    inside = levels.split(parts)
    assert inside == Levels(fail=levels.fail / max(1, parts), release=levels.release)
    assert inside.tails("<=").confidence >= 1 - alpha - 1e-12


def test_tails_put_the_failing_error_on_the_failing_side():
    """An upper bound fails by the lower end of the interval, a lower bound by the upper end."""
    levels = Levels(fail=0.01, release=0.025)
    assert levels.tails("<=") == Tails(lower=0.01, upper=0.025)
    assert levels.tails(">=") == Tails(lower=0.025, upper=0.01)
    assert levels.tails("<=").confidence == pytest.approx(0.965)


def _verdicts(estimates, comparator, bound):
    requirement = Requirement(
        id="c.b", check="c", parameter="b", comparator=comparator, bound=bound, source="test"
    )
    found = []
    for value, low, high in estimates:
        interval = Interval(low=low, high=high, confidence=0.95)
        m = Measurement(metric="m", value=value, unit="", n=9, interval=interval, method="t", bound="b")
        found.append(judge([requirement], [m])[0].verdict)
    return np.array(found)


def _means(rng, tails, runs=RUNS, n=12):
    for _ in range(runs):
        mean, (low, high) = mean_interval(rng.normal(size=n), tails)
        yield mean, low, high


@pytest.mark.parametrize("comparator", ["<=", ">="])
def test_a_model_that_meets_every_requirement_exactly_rarely_fails(comparator):
    """With ten requirements met exactly at their bounds, at most 5% of the runs have any failure."""
    rng = np.random.default_rng(3)
    tails = levels_for(ALPHA, 10).tails(comparator)
    failed = _verdicts(_means(rng, tails, runs=10 * RUNS), comparator, 0.0) == Verdict.FAIL
    assert failed.reshape(RUNS, 10).any(axis=1).mean() <= ALPHA + 0.012
    assert failed.any()


@pytest.mark.parametrize("comparator", ["<=", ">="])
def test_a_model_on_the_wrong_edge_rarely_passes(comparator):
    """A model on the bound passes in about alpha/2 of the runs, however many requirements there are."""
    rng = np.random.default_rng(4)
    for requirements in (1, 10):
        tails = levels_for(ALPHA, requirements).tails(comparator)
        passed = _verdicts(_means(rng, tails), comparator, 0.0) == Verdict.PASS
        assert passed.mean() <= ALPHA / 2 + 0.012


def test_split_keeps_a_family_of_groups_from_failing_by_chance():
    """One requirement over eight groups, all at the bound, fails in at most alpha/2 of the runs."""
    rng = np.random.default_rng(6)
    tails = levels_for(ALPHA, 1).split(8).tails("<=")
    counts = rng.binomial(60, 0.2, size=(RUNS, 8))
    ends = {k: clopper_pearson(k, 60, tails) for k in range(61)}
    estimates = [(k / 60, *ends[k]) for k in counts.ravel().tolist()]
    failed = _verdicts(estimates, "<=", 0.2).reshape(RUNS, 8) == Verdict.FAIL
    assert failed.any(axis=1).mean() <= ALPHA / 2 + 0.012
