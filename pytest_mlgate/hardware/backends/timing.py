"""Timing loops: warm-up until nothing changes any more, real rows in rotation, pairs in random order."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Feed = dict[str, NDArray[Any]]
Run = Callable[[Feed], Any]

#: Runs that are thrown away after the warm-up's own arithmetic, which drives the model out of the caches.
_SETTLE = 3
#: Warm-up goes on in blocks until the medians of three blocks in a row lie this close together.
STATIONARY_WITHIN = 0.05
_BLOCK_NS = 20_000_000
_WARM_UP_LIMIT_NS = 2_000_000_000
_LOOK_EVERY = 200
_BATCH_NS = 50_000_000
_LEAST_BLOCK = 5
_MOST_BLOCK = 200


def load_inputs(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file by input name; unicode arrays become arrays of text objects."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return {n: v.astype(object) if v.dtype.kind == "U" else v for n, v in arrays.items()}


def load_feeds(path: Path, batch: int = 1) -> list[Feed]:
    """Return feeds of `batch` rows each from an .npz file."""
    return batches(load_inputs(path), batch)


def batches(inputs: dict[str, NDArray[Any]], size: int) -> list[Feed]:
    """Return feeds of `size` consecutive rows each, rows taken round and round where there are too few."""
    rows = len(next(iter(inputs.values())))
    count = max(1, rows // size)
    order = [np.arange(i * size, (i + 1) * size) % rows for i in range(count)]
    return [{name: np.ascontiguousarray(values[index]) for name, values in inputs.items()} for index in order]


def warm_up(run: Run, feeds: Sequence[Feed]) -> tuple[int, bool]:
    """Run until the time of a run no longer drifts; return how many runs that took and whether it settled.

    Settled: the medians of three blocks in a row lie within `STATIONARY_WITHIN` of each other. Gives up
    after two seconds.
    """
    begun = time.perf_counter_ns()
    first = _timed(run, feeds[0])
    block = int(min(_MOST_BLOCK, max(_LEAST_BLOCK, _BLOCK_NS // max(1, first))))
    medians: list[float] = []
    done = 1
    while time.perf_counter_ns() - begun < _WARM_UP_LIMIT_NS:
        medians.append(float(np.median([_timed(run, feeds[(done + i) % len(feeds)]) for i in range(block)])))
        done += block
        last = medians[-3:]
        if len(last) == 3 and max(last) <= min(last) * (1 + STATIONARY_WITHIN):
            return done, True
    return done, False


def sample(run: Run, feeds: Sequence[Feed], runs: int, least: int = 1, seconds: float = 5.0) -> list[int]:
    """Return the nanoseconds of each run, rotating over the feeds.

    Ends after `seconds` if it has `least` runs by then: a slow model is timed less often.
    """
    for i in range(_SETTLE):
        run(feeds[i % len(feeds)])
    begun = time.perf_counter_ns()
    taken: list[int] = []
    while len(taken) < runs and (len(taken) < least or time.perf_counter_ns() - begun < seconds * 1e9):
        taken.append(_timed(run, feeds[len(taken) % len(feeds)]))
    return taken


def sample_rounds(
    runs: Sequence[Run],
    feeds: Sequence[Sequence[Feed]],
    rounds: int,
    least: int,
    seconds: float,
    seed: int,
    precision: float = 0.0,
) -> list[list[int]]:
    """Return the nanoseconds of every artifact for each round, all on the same row, in random order.

    What disturbs the machine for longer than a round disturbs all alike, so it cancels in the ratios. Ends
    early where the ratio of the first two is known to `precision`: on the spread alone, whatever the ratio.
    """
    chance = random.Random(seed)  # noqa: S311 - an order, not a secret
    order = list(range(len(runs)))
    for _ in range(_SETTLE):
        for run, rows in zip(runs, feeds, strict=True):
            run(rows[0])
    begun = time.perf_counter_ns()
    taken: list[list[int]] = []
    while len(taken) < rounds and (len(taken) < least or time.perf_counter_ns() - begun < seconds * 1e9):
        chance.shuffle(order)
        times = [0] * len(runs)
        for position in order:
            rows = feeds[position]
            times[position] = _timed(runs[position], rows[len(taken) % len(rows)])
        taken.append(times)
        due = precision > 0 and len(taken) >= least and not len(taken) % _LOOK_EVERY
        if due and _half_width(taken) <= precision:
            break
    return taken


def _half_width(rounds: Sequence[Sequence[int]]) -> float:
    """Return the half-width of the median ratio: 1.57 IQR / sqrt(n) (McGill, Tukey, Larsen 1978)."""
    pairs = np.asarray(rounds, np.float64)
    low, high = np.percentile(np.log(pairs[:, 0] / pairs[:, 1]), (25, 75))
    return float(1.57 * (high - low) / np.sqrt(len(pairs)))


def sample_batches(
    run: Run, inputs: dict[str, NDArray[Any]], sizes: Sequence[int], runs: int
) -> dict[str, list[int]]:
    """Return the nanoseconds of each run for each batch size, after three warm-up runs of that size."""
    found = {}
    for size in sizes:
        feeds = batches(inputs, size)
        first = max(_timed(run, feeds[0]) for _ in range(3))
        often = int(min(runs, max(5, _BATCH_NS // max(1, first))))
        found[str(size)] = sample(run, feeds, often)
    return found


def _timed(run: Run, feed: Feed) -> int:
    start = time.perf_counter_ns()
    run(feed)
    return time.perf_counter_ns() - start
