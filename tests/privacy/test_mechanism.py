"""Tests of the noise: each lie is seen, and honest noise never is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest, kurtosistest

from pytest_mlgate.errors import CheckError
from pytest_mlgate.privacy.mechanism import (
    NoiseSums,
    clipped_sum,
    contradictions,
    fresh_p_value,
    normal_p_value,
    probe_contradictions,
    probe_step,
    scale_interval,
    scale_p_value,
    smallest_visible_deficit,
)

SHAPES = (300, 20, 80)


def seen(draw, steps: int = 50) -> list[str]:
    """What is found in noise that `draw(rng, size, step)` makes, in declared units."""
    rng = np.random.default_rng(0)
    sums = NoiseSums([f"layer {i}" for i in range(len(SHAPES))])
    for step in range(steps):
        sums.add([draw(rng, size, step) for size in SHAPES])
    noise = sums.noise()
    assert noise is not None
    return contradictions(noise, sums.layers(), "of the test")


def normal(rng, size, step):
    return rng.normal(size=size)


def test_honest_noise_is_not_named():
    """Standard normal noise, fresh in every step, shows nothing."""
    assert seen(normal, 200) == []


@pytest.mark.parametrize("scale", [0.95, 0.97, 1.05])
def test_noise_of_another_scale_is_named(scale: float):
    """80,000 values show a deviation that is 3% off, with its size."""
    (found,) = seen(lambda rng, size, step: scale * rng.normal(size=size), 200)
    assert f"has {scale:.2f}"[:7] in found
    assert "times the declared standard deviation" in found


def test_uniform_noise_of_the_right_variance_is_named():
    """The variance is right, the tails are not."""
    (found,) = seen(lambda rng, size, step: rng.uniform(-np.sqrt(3), np.sqrt(3), size))
    assert "is not normal: its kurtosis is 1.8" in found


@pytest.mark.parametrize("period", [1, 2, 10])
def test_noise_that_comes_back_is_named(period: int):
    """The same noise in every step, or again every epoch, can be subtracted."""
    found = seen(lambda rng, size, step: np.random.default_rng([size, step % period]).normal(size=size), 60)
    assert any("not drawn anew in every step" in text for text in found)


def test_noise_that_is_taken_back_is_named():
    """Noise of alternating sign leaves next to nothing in the sum."""

    def draw(rng, size, step):
        return (-1) ** step * np.random.default_rng([size, step // 2]).normal(size=size)

    assert any("not drawn anew" in text for text in seen(draw))


def test_one_layer_without_noise_is_named():
    """A small layer that gets no noise is named though the whole has the right scale."""

    def draw(rng, size, step):
        return np.zeros(size) if size == 20 else np.sqrt(400 / 380) * rng.normal(size=size)

    found = seen(draw)
    assert "the noise of layer 1 of the test has 0 times" in found[0]


def test_honest_noise_is_named_as_seldom_as_stated():
    """Over 2,000 simulated trainings no p-value is smaller than chance makes it."""
    rng = np.random.default_rng(1)
    p_values = []
    for _ in range(2_000):
        sums = NoiseSums(["all"])
        for _ in range(4):
            sums.add([rng.normal(size=500)])
        noise = sums.noise()
        p_values.append(
            (scale_p_value(noise.values, noise.squares), normal_p_value(noise), fresh_p_value(noise))
        )
    for column in np.array(p_values).T:
        assert np.mean(column < 0.01) < 0.02
        assert kstest(column, "uniform").pvalue > 1e-4


def test_the_test_of_normality_is_scipys():
    """Computed from sums, it agrees with scipy's test on the values themselves."""
    values = np.random.default_rng(2).standard_t(8, size=400)
    values -= values.mean()
    sums = NoiseSums(["all"])
    sums.add([values])
    assert normal_p_value(sums.noise()) == pytest.approx(kurtosistest(values).pvalue, rel=1e-6)


def test_the_interval_holds_the_true_scale_as_often_as_it_says():
    """The 90% interval of the deviation covers in 90 of 100."""
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(1_000):
        low, high = scale_interval(200, float(np.sum((0.9 * rng.normal(size=200)) ** 2)), 0.90)
        hits += low <= 0.9 <= high
    assert 865 < hits < 935


def test_what_can_be_seen_is_said():
    """60,000 values show a deficit of 2.1%, 1,000 values one of 16%."""
    assert smallest_visible_deficit(60_000) == pytest.approx(0.0208, abs=5e-4)
    assert smallest_visible_deficit(1_000) == pytest.approx(0.161, abs=2e-3)


def test_gradients_are_clipped_by_their_norm():
    """A gradient over the bound is scaled down to it, one below stays, and zero stays zero."""
    gradients = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    assert clipped_sum(gradients, 1.0) == pytest.approx([0.9, 1.2])


def private_step(noise: float = 1.0, norm: float = 1.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    return lambda g: clipped_sum(g, norm) + noise * rng.normal(size=g.shape[1])


@pytest.mark.parametrize("coordinates", [10, 1_000, 50_000])
def test_an_honest_step_passes_its_probe(coordinates: int):
    """Steps that clip and add noise as declared show nothing."""
    probe = probe_step(private_step(), coordinates=coordinates, noise_multiplier=1.0, max_grad_norm=1.0)
    assert probe_contradictions(probe) == []


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (private_step(noise=0.97), "0.97 times the declared standard deviation"),
        (private_step(noise=0.5), "0.5 times the declared"),
        (private_step(norm=1.2), "clipping to norm 1 is not what the training's own step does"),
        (lambda g: g.sum(axis=0) + private_step()(0 * g), "clipping to norm 1 is not"),
        (lambda g: clipped_sum(g, 1.0) + private_step()(0 * g), "not drawn anew"),
    ],
)
def test_a_dishonest_step_is_named_by_its_probe(step, message: str):
    """Less noise, a looser norm, no clipping, and the same noise each time are each named."""
    probe = probe_step(step, coordinates=500, noise_multiplier=1.0, max_grad_norm=1.0)
    assert any(message in text for text in probe_contradictions(probe))


@pytest.mark.parametrize("answer", [lambda g: g, lambda g: g.sum(axis=0) * np.nan])
def test_a_step_that_answers_otherwise_is_refused(answer):
    """Another shape, or NaN, is an error that says what belongs there."""
    with pytest.raises(CheckError, match="must return the clipped and noised sum"):
        probe_step(answer, coordinates=5, noise_multiplier=1.0, max_grad_norm=1.0)


def test_without_noise_there_is_nothing_to_probe():
    """A noise multiplier of 0 is refused, never probed."""
    with pytest.raises(CheckError, match="epsilon is infinite"):
        probe_step(private_step(), coordinates=5, noise_multiplier=0.0, max_grad_norm=1.0)
