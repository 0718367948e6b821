"""Whether batches and participations fit the law by which the loader is said to draw."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from pytest_mlgate.errors import CheckError

#: A record that would occur less often than this under the sampling it states is refused.
IMPLAUSIBLE = 1e-6


def require_poisson_sizes(sizes: Sequence[int], n: int, rate: float) -> None:
    """Refuse batch sizes that Poisson sampling would hardly ever give: they are Binomial(n, rate).

    Three exact tests, each at 1e-6: the total, which is Binomial(n * steps, rate); the most extreme batch
    (union bound over steps); and how often the commonest size occurs, whose count for one given size is
    binomial with at most the probability of the mode (union bound over the n + 1 sizes).

    Raises:
        CheckError: with the finding that does not fit.
    """
    from scipy.stats import binom

    steps, total = len(sizes), sum(sizes)
    claim = f"training record: sampling is poisson with sampling_rate {rate:g} of {n} rows"
    if 2 * _smaller_tail(total, n * steps, rate) < IMPLAUSIBLE:
        raise CheckError(
            f"{claim}, but the batch_sizes are {total / steps:.4g} on average, not {n * rate:.4g}"
            + _likely(total / steps / (n * rate))
        )
    for size in (min(sizes), max(sizes)):
        if 2 * steps * _smaller_tail(size, n, rate) < IMPLAUSIBLE:
            raise CheckError(f"{claim}, but batch_sizes holds {size}, which is out of its reach")
    common, times = Counter(sizes).most_common(1)[0]
    mode = float(binom.pmf(min(n, math.floor((n + 1) * rate)), n, rate))
    if (n + 1) * float(binom.sf(times - 1, steps, min(1.0, mode))) < IMPLAUSIBLE:
        raise CheckError(
            f"{claim}, but {times} of {steps} batch_sizes are exactly {common}: Poisson batches vary by "
            f"about {math.sqrt(n * rate * (1 - rate)):.1f}. Batches of fixed size come from shuffling"
        )


def require_independent_uses(
    participation: Sequence[tuple[int, int]], batches: int, rate: float, what: str
) -> None:
    """Refuse participations that do not come from drawing every row anew, and alike, for each batch.

    Each row's number of batches is Binomial(batches, rate). Their squared deviations over rows follow, to two
    moments, a gamma distribution; too little spread means that rows took turns (shuffling), too much that
    some rows were drawn more often than others (weights).

    Raises:
        CheckError: with the spread that was found and what it comes from.
    """
    p_low, p_high, ratio = _spread(participation, batches, rate)
    mean = f"{batches * rate:.3g}"
    if p_low < IMPLAUSIBLE / 2:
        raise CheckError(
            f"training record: sampling is {what}, but rows took turns: they were in {mean} batches "
            "each with "
            f"{ratio:.2g} times the variance of independent draws, as shuffling does. Account for shuffled "
            "batches, or train on a loader that samples"
        )
    if p_high < IMPLAUSIBLE / 2:
        raise CheckError(
            f"training record: sampling is {what}, but some rows were drawn more often than others: "
            "they were "
            f"in {mean} batches on average with {ratio:.3g} times the variance of equal draws, as a weighted "
            "sampler does, or a table that is larger than was trained on. Rows drawn more often leak more"
        )


def _spread(
    participation: Sequence[tuple[int, int]], batches: int, rate: float
) -> tuple[float, float, float]:
    """Return the lower and upper tail of the spread of participations, and its ratio to the expected one."""
    from scipy.stats import gamma

    n = sum(rows for _, rows in participation)
    variance = batches * rate * (1 - rate)
    if variance <= 0:
        return 1.0, 1.0, 1.0
    spread = math.fsum(rows * (uses - batches * rate) ** 2 for uses, rows in participation) / variance
    # The variance of a squared standardised binomial is 2 plus its excess kurtosis.
    each = 2 + (1 - 6 * rate * (1 - rate)) / variance
    shape, scale = n / each, each
    return (
        float(gamma.cdf(spread, shape, scale=scale)),
        float(gamma.sf(spread, shape, scale=scale)),
        spread / n,
    )


def _likely(ratio: float) -> str:
    """Return what a ratio of real to declared batch sizes usually comes from."""
    whole = round(ratio)
    if whole >= 2 and abs(ratio / whole - 1) < 0.05:
        return f": {whole} batches were accumulated in each step, or the table counted {whole} times"
    inverse = round(1 / ratio) if ratio > 0 else 0
    if inverse >= 2 and abs(ratio * inverse - 1) < 0.05:
        return f": the table was counted {inverse} times"
    return ""


def _smaller_tail(count: int, n: int, rate: float) -> float:
    from scipy.stats import binom

    return min(float(binom.cdf(count, n, rate)), float(binom.sf(count - 1, n, rate)))
