"""Whether a mechanism is the Gaussian one it says it is: sums over its noise, and exact tests of them.

Noise is looked at in units of its declared standard deviation, in which it must be standard normal, drawn
anew in every step, and all that was added to the sum of clipped gradients. What is here tells the
distribution and the scale, never whether the generator's seed is secret.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckError
from .record import Layer, Noise, Probe

#: Of each layer, this many coordinates are followed over the steps, to see noise that comes back.
_FOLLOWED = 1024
#: A record or probe that an honest mechanism would produce less often than this is refused.
IMPLAUSIBLE = 1e-6
#: Rounding of single precision, over the sum of some thousand gradients.
CLIP_TOLERANCE = 1e-3

#: Takes gradients, shape (rows, coordinates), and returns their clipped and noised sum, shape (coordinates,).
TrainingStep = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class NoiseSums:
    """Sums of powers of the noise over all steps, by layer, without keeping any of it."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._values = [0] * len(names)
        self._squares = [0.0] * len(names)
        self._fourths = 0.0
        self._walks: list[NDArray[np.float64]] = []
        self._steps = 0

    def add(self, layers: Sequence[NDArray[Any]]) -> float:
        """Add one step's noise in units of its declared deviation; return the sum of its squares."""
        total = 0.0
        first = not self._walks
        for position, layer in enumerate(layers):
            z = np.asarray(layer, dtype=np.float64).ravel()
            squares = z * z
            square = float(squares.sum())
            self._values[position] += z.size
            self._squares[position] += square
            self._fourths += float(np.dot(squares, squares))
            total += square
            if first:
                self._walks.append(z[:_FOLLOWED].copy())
            else:
                self._walks[position] += z[:_FOLLOWED]
        self._steps += 1
        return total

    def noise(self) -> Noise | None:
        """Return the sums, or `None` where no step was seen or what was seen is not finite."""
        if not self._steps or not math.isfinite(self._fourths):
            return None
        walk = np.concatenate(self._walks)
        return Noise(
            values=sum(self._values),
            squares=math.fsum(self._squares),
            fourths=self._fourths,
            walk_values=walk.size,
            walk_squares=float(np.dot(walk, walk) / self._steps),
        )

    def layers(self) -> tuple[Layer, ...]:
        """Return the sums of squares by layer."""
        found = zip(self._names, self._values, self._squares, strict=True)
        return tuple(Layer(name=n, values=v, squares=s) for n, v, s in found if math.isfinite(s))


def clipped_sum(gradients: NDArray[Any], max_norm: float) -> NDArray[np.float64]:
    """Return the sum of the rows, each scaled down to the norm if it exceeds it; shape (coordinates,).

    Source: Abadi et al. 2016, 1607.00133, algorithm 1.
    """
    exact = np.asarray(gradients, dtype=np.float64)
    norms = np.linalg.norm(exact, axis=1)
    factors = np.minimum(1.0, max_norm / np.maximum(norms, np.finfo(np.float64).tiny))
    return np.asarray(factors @ exact)


def scale_p_value(values: int, squares: float) -> float:
    """Return the two-sided p-value of a deviation of 1: squares of `values` standard normals, chi-square."""
    from scipy.stats import chi2

    return float(min(1.0, 2 * min(chi2.cdf(squares, values), chi2.sf(squares, values))))


def scale_interval(values: int, squares: float, confidence: float) -> tuple[float, float]:
    """Return the exact confidence interval of the deviation, in units of the declared one."""
    from scipy.stats import chi2

    tail = (1 - confidence) / 2
    return (
        math.sqrt(squares / float(chi2.isf(tail, values))),
        math.sqrt(squares / float(chi2.ppf(tail, values))),
    )


def smallest_visible_deficit(values: int, power: float = 0.99) -> float:
    """Return the share by which noise must be too small for the scale test to see it with this power."""
    from scipy.stats import norm

    visible = float(norm.isf(IMPLAUSIBLE / 2) + norm.ppf(power)) / math.sqrt(2 * values)
    return min(1.0, visible)


def normal_p_value(noise: Noise) -> float:
    """Return the p-value of normality by kurtosis (Anscombe and Glynn 1983, Biometrika 70:227).

    Below 100 values the approximation does not hold, and 1 is returned.
    """
    from scipy.stats import norm

    n = noise.values
    if n < 100 or not noise.squares:
        return 1.0
    kurtosis = n * noise.fourths / noise.squares**2
    mean = 3.0 * (n - 1) / (n + 1)
    variance = 24.0 * n * (n - 2) * (n - 3) / ((n + 1.0) ** 2 * (n + 3) * (n + 5))
    x = (kurtosis - mean) / math.sqrt(variance)
    skew = 6.0 * (n * n - 5 * n + 2) / ((n + 7) * (n + 9))
    skew *= math.sqrt(6.0 * (n + 3) * (n + 5) / (n * (n - 2.0) * (n - 3)))
    a = 6 + 8 / skew * (2 / skew + math.sqrt(1 + 4 / skew**2))
    below = 1 + x * math.sqrt(2 / (a - 4))
    root = math.copysign(abs((1 - 2 / a) / below) ** (1 / 3), below) if below else math.inf
    z = (1 - 2 / (9 * a) - root) / math.sqrt(2 / (9 * a))
    return float(2 * norm.sf(abs(z)))


def distance_p_value(probe: Probe) -> float:
    """Return the p-value of the Kolmogorov-Smirnov distance of the probe's noise from normal."""
    from scipy.stats import kstwo

    return float(kstwo.sf(probe.distance, probe.noise.values))


def fresh_p_value(noise: Noise) -> float:
    """Return the p-value of noise being independent between steps.

    The sum over steps of fresh noise has variance `steps` in every coordinate; noise that comes back makes
    it grow, noise that is taken back later shrink.
    """
    return scale_p_value(noise.walk_values, noise.walk_squares)


def contradictions(noise: Noise, layers: Sequence[Layer], where: str) -> list[str]:
    """Return what shows that noise is not standard normal in declared units, each named; none if honest.

    The tests share `IMPLAUSIBLE` (Bonferroni), so that an honest mechanism is named in at most one of a
    million cases.
    """
    level = IMPLAUSIBLE / (3 + len(layers))
    found = []
    if scale_p_value(noise.values, noise.squares) < level:
        found.append(_scale(f"the noise {where}", noise.values, noise.squares))
    for layer in layers:
        if not found and layer.values and scale_p_value(layer.values, layer.squares) < level:
            found.append(_scale(f"the noise of {layer.name} {where}", layer.values, layer.squares))
    if normal_p_value(noise) < level:
        kurtosis = noise.values * noise.fourths / noise.squares**2
        found.append(
            f"the noise {where} is not normal: its kurtosis is {kurtosis:.4g} over {noise.values:,} values, "
            "and a normal distribution's is 3"
        )
    if fresh_p_value(noise) < level:
        ratio = noise.walk_squares / noise.walk_values
        found.append(
            f"the noise {where} is not drawn anew in every step: summed over the steps, its variance is "
            f"{ratio:.3g} times that of independent draws"
            + (", so noise was used again and can be subtracted" if ratio > 1 else "")
        )
    return found


def probe_contradictions(probe: Probe) -> list[str]:
    """Return what the probe shows to be otherwise than declared, each named; none if honest."""
    found = contradictions(probe.noise, (), "that the training's own step added to probe gradients")
    if probe.clip_deviation > CLIP_TOLERANCE:
        found.append(
            f"clipping to norm {probe.max_grad_norm:g} is not what the training's own step does: its clipped "
            f"sum of probe gradients differs by {probe.clip_deviation:.3g} of that norm for each row"
        )
    if not found and distance_p_value(probe) < IMPLAUSIBLE:
        found.append(
            "the noise that the training's own step added to probe gradients is not normal: its distribution "
            f"is {probe.distance:.3g} away from one"
        )
    return found


def probe_step(
    step: TrainingStep,
    *,
    coordinates: int,
    noise_multiplier: float,
    max_grad_norm: float,
    seed: int = 0,
    values: int = 60_000,
) -> Probe:
    """Run a training step on probe gradients and return what its noise and its clipping were.

    Noise is seen on steps without gradients. For clipping, up to 1,000 equal gradients of ten times the norm
    must add up to that many times the norm, and as many of half the norm to half of that; what deviates
    beyond the noise counts. 60,000 values of noise show a deviation 3% too small in every run.

    Raises:
        CheckError: the step returned another shape or a value that is not finite.
    """
    from scipy.stats import kstest

    if not noise_multiplier > 0 or not max_grad_norm > 0:
        raise CheckError(
            f"noise multiplier {noise_multiplier:g} and clipping norm {max_grad_norm:g} must be above 0 "
            "to be "
            "probed: without both, epsilon is infinite"
        )
    deviation = noise_multiplier * max_grad_norm
    generator = np.random.default_rng(seed)
    sums = NoiseSums(["all"])
    seen = []
    for _ in range(min(2000, max(4, -(-values // coordinates)))):
        z = _answer(step, np.zeros((1, coordinates))) / deviation
        sums.add([z])
        seen.append(z)
    noise = sums.noise()
    assert noise is not None
    # As many as show a norm 1% off beside the noise, unless that many do not fit into memory.
    rows, worst = int(min(1000, max(50, 4_000_000 // coordinates))), 0.0
    for length in (10.0, 0.5):
        direction = generator.normal(size=coordinates)
        direction /= np.linalg.norm(direction)
        gradients = np.tile(length * max_grad_norm * direction, (rows, 1))
        along = float(_answer(step, gradients) @ direction) / max_grad_norm
        # Along one direction the noise is one normal value; what exceeds five deviations is not noise.
        excess = max(0.0, abs(along - min(1.0, length) * rows) - 5 * noise_multiplier)
        worst = max(worst, excess / rows)
    return Probe(
        noise=noise,
        distance=float(kstest(np.concatenate(seen), "norm").statistic),
        clip_deviation=worst,
        noise_multiplier=noise_multiplier,
        max_grad_norm=max_grad_norm,
    )


def _answer(step: TrainingStep, gradients: NDArray[np.float64]) -> NDArray[np.float64]:
    answer = np.asarray(step(gradients), dtype=np.float64).ravel()
    if answer.shape != (gradients.shape[1],) or not np.isfinite(answer).all():
        raise CheckError(
            f"the training step returned shape {answer.shape}"
            f"{'' if np.isfinite(answer).all() else ' with values that are not finite'} for gradients "
            "of shape "
            f"{gradients.shape}: it must return the clipped and noised sum, shape ({gradients.shape[1]},)"
        )
    return answer


def _scale(what: str, values: int, squares: float) -> str:
    ratio = math.sqrt(squares / values)
    low, high = scale_interval(values, squares, 0.99)
    return (
        f"{what} has {ratio:.3g} times the declared standard deviation (99% CI {low:.3g} to {high:.3g}, "
        f"{values:,} values)" + (": epsilon is larger than the declared noise gives" if ratio < 1 else "")
    )
