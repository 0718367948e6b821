"""How often the intervals of the fairness check hold the truth, on samples of worlds that are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mlgate_checks._fair_change import worsening
from mlgate_checks._fair_intervals import interval_of, worst_of
from mlgate_checks._fair_metrics import Kind
from mlgate_checks._fair_parts import Part, RatePart, mean_part
from mlgate_checks._fair_rows import rate_counter
from mlgate_checks._groups import Grouping
from pytest_mlgate.levels import levels_for

LEVELS = levels_for(0.05, 1)
RUNS = 300
#: Of 300 intervals that cover 95% exactly, fewer than these cover once in 1,600 such tests.
LEAST = 272
LAYOUTS = {
    "90/10": np.asarray([0.9, 0.1]),
    "98/2": np.asarray([0.98, 0.02]),
    "2x3": np.asarray([0.48, 0.3, 0.09, 0.06, 0.044, 0.026]),
}


def selected(k: np.ndarray, n: np.ndarray) -> RatePart:
    """A selection rate from its counts."""
    answer = np.asarray([[False, True], [False, True]])
    cells = np.stack([n - k, k], axis=1).astype(float)
    return RatePart("selection rate", "", cells, answer, np.ones((2, 2), dtype=bool))


def drawn(rng: np.random.Generator, layout: str, rows: int, rates: np.ndarray) -> RatePart:
    sizes = np.maximum(rng.multinomial(rows, LAYOUTS[layout]), 1)
    return selected(rng.binomial(sizes, rates), sizes)


def share_covered(kind: Kind, truth: float, sample: Callable[[], Part]) -> int:
    """Count the samples whose interval holds the truth; the value must always be inside."""
    covered = 0
    for _ in range(RUNS):
        part = sample()
        low, high = interval_of(kind, [part], LEVELS)
        assert low - 1e-12 <= worst_of(kind, [part]).value <= high + 1e-12
        covered += low - 1e-9 <= truth <= high + 1e-9
    return covered


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("base", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("rows", [300, 2_000])
@pytest.mark.parametrize("gap", [0.0, 0.1, 0.25])
def test_the_interval_of_a_difference_covers(layout: str, base: float, rows: int, gap: float):
    """The true largest gap is inside the 95% interval, also with six rows in a group and rates near 0."""
    rng = np.random.default_rng(7)
    rates = np.full(len(LAYOUTS[layout]), base)
    rates[-1] += gap
    assert share_covered("difference", gap, lambda: drawn(rng, layout, rows, rates)) >= LEAST


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows", [1_000, 5_000])
@pytest.mark.parametrize("ratio", [1.0, 0.8, 0.5])
def test_the_interval_of_a_ratio_covers(layout: str, rows: int, ratio: float):
    """The true smallest ratio is inside the 95% interval."""
    rng = np.random.default_rng(8)
    rates = np.full(len(LAYOUTS[layout]), 0.4)
    rates[-1] *= ratio
    assert share_covered("ratio", ratio, lambda: drawn(rng, layout, rows, rates)) >= LEAST


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("worse", [0.0, 0.2])
def test_the_interval_of_the_worst_group_covers(layout: str, worse: float):
    """The true lowest accuracy of any group is inside the 95% interval."""
    rng = np.random.default_rng(9)
    rates = np.full(len(LAYOUTS[layout]), 0.8)
    rates[-1] -= worse
    assert share_covered("lowest", 0.8 - worse, lambda: drawn(rng, layout, 1_000, rates)) >= LEAST


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows", [300, 2_000])
def test_a_value_on_the_bound_passes_and_fails_in_at_most_five_percent(layout: str, rows: int):
    """With a true gap of exactly 0.10 and a true ratio of exactly 0.8, either verdict is rare."""
    rng = np.random.default_rng(10)
    rates = np.full(len(LAYOUTS[layout]), 0.5)
    rates[-1] = 0.4
    wrong = np.zeros(4)
    for _ in range(RUNS):
        part = drawn(rng, layout, rows, rates)
        low, high = interval_of("difference", [part], LEVELS)
        least, most = interval_of("ratio", [part], LEVELS)
        wrong += [high <= 0.1, low > 0.1, least >= 0.8, most < 0.8]
    assert (wrong <= 0.05 * RUNS).all(), wrong


def test_many_rates_at_once_keep_the_level():
    """With the largest of two rates over six equal groups the failing end is wrong in at most 5%."""
    rng = np.random.default_rng(11)
    wrong = 0
    for _ in range(RUNS):
        parts = [drawn(rng, "2x3", 3_000, np.full(6, rate)) for rate in (0.8, 0.2)]
        wrong += interval_of("difference", parts, LEVELS)[0] > 0
    assert wrong <= 0.05 * RUNS


def errors_of(world: str, rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Errors of mean 0 (signed), mean 1 (absolute) or label minus a calibrated score."""
    if world == "normal":
        return rng.standard_normal(rows), None
    if world == "absolute normal":
        return np.abs(rng.standard_normal(rows)) * np.sqrt(np.pi / 2), None
    if world == "exponential":
        return rng.exponential(size=rows), None
    score = rng.beta(0.4, 3.6, size=rows) if world == "calibrated, rare" else rng.beta(2, 2, size=rows)
    label = rng.random(rows) < score
    return label - score, label


@pytest.mark.parametrize(
    "world", ["normal", "absolute normal", "exponential", "calibrated", "calibrated, rare"]
)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows", [300, 2_000])
def test_the_interval_of_a_gap_of_means_covers(world: str, layout: str, rows: int):
    """A true gap of 0 is inside the 95% interval for symmetric, skewed and calibrated errors."""
    rng = np.random.default_rng(12)
    shares = LAYOUTS[layout]
    codes = np.repeat(np.arange(len(shares)), np.maximum(2, np.round(rows * shares)).astype(int))

    def sample() -> Part:
        errors, labels = errors_of(world, rng, len(codes))
        return mean_part("error", errors[None], codes, len(shares), labels)

    assert share_covered("difference", 0.0, sample) >= LEAST


@pytest.mark.parametrize("world", ["absolute normal", "exponential"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_interval_of_the_worst_mean_error_covers(world: str, layout: str):
    """The true highest mean absolute error is inside the 95% interval."""
    rng = np.random.default_rng(13)
    shares = LAYOUTS[layout]
    codes = np.repeat(np.arange(len(shares)), np.round(1_000 * shares).astype(int))
    sample = lambda: mean_part("error", errors_of(world, rng, len(codes))[0][None], codes, len(shares))  # noqa: E731
    assert share_covered("highest", 1.0, sample) >= LEAST


def two_models(
    rng: np.random.Generator, layout: str, rows: int, before: float, after: float
) -> tuple[np.ndarray, list[Part]]:
    """Both answers to the same rows: selected at 0.4, and in the last group at these gaps more."""
    shares = LAYOUTS[layout]
    codes = rng.choice(len(shares), size=rows, p=shares)
    codes[: len(shares)] = np.arange(len(shares))
    last = codes == len(shares) - 1
    luck = rng.random((2, rows))
    luck[1] = np.where(rng.random(rows) < 0.9, luck[0], luck[1])
    release, other = luck[0] < 0.4 + after * last, luck[1] < 0.4 + before * last
    n = np.bincount(codes, minlength=len(shares))
    grouping = Grouping("g", tuple("abcdef"[: len(n)]), codes, n, n > 0)
    labels = rng.random(rows) < 0.5
    return labels, rate_counter(["selection rate"], labels, [release, other])(grouping)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("before", "after"), [(0.0, 0.0), (0.1, 0.1), (0.0, 0.15), (0.15, 0.0), (0.1, 0.3), (-0.1, 0.1)]
)
@pytest.mark.parametrize("kind", ["difference", "ratio"])
def test_the_interval_of_a_worsening_covers(layout: str, before: float, after: float, kind: Kind):
    """What the metric truly lost is inside the 95% interval, whichever pairs are the worst."""
    rng = np.random.default_rng(14)
    if kind == "difference":
        truth = abs(after) - abs(before)
    else:
        ratios = [min((0.4 + g) / 0.4, 0.4 / (0.4 + g)) for g in (after, before)]
        truth = 1 - ratios[0] / ratios[1]
    covered = runs = 0
    for _ in range(RUNS // 3):
        _, parts = two_models(rng, layout, 2_000, before, after)
        if any((part.values(model) == 0).any() for part in parts for model in (0, 1)):
            continue
        found = worsening(kind, parts, LEVELS)
        assert found.low <= found.value <= found.high
        runs += 1
        covered += found.low - 1e-9 <= truth <= found.high + 1e-9
    assert runs >= RUNS // 4
    assert covered >= 0.91 * runs


def test_the_same_rows_tell_more_than_two_samples():
    """Where 10% of the answers were drawn anew, the paired interval is less than half as wide as unpaired."""
    rng = np.random.default_rng(15)
    _, parts = two_models(rng, "90/10", 20_000, 0.1, 0.1)
    found = worsening("difference", parts, LEVELS)
    low, high = interval_of("difference", parts, LEVELS)
    assert found.high - found.value < (high - low) / 2 * np.sqrt(2) / 2
