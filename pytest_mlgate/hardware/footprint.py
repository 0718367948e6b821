"""Cold start, peak memory, energy and cost of an inference, from the same processes as its latency."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ..evidence import Grade, Interval, Measurement
from ..levels import Tails
from ..statistics import next_value_interval
from .refusals import refused, without_value
from .times import PROCESSES, Times, describe_conditions, describe_machine

#: Power of a processor about which nothing is known: half of a thermal design power of 85 W, which is
#: codecarbon's constant mode.
UNKNOWN_PROCESSOR_W = 42.5


def cold_start(times: Times, tails: Tails) -> Measurement:
    """Return the time from opening the file to the first answer, in milliseconds, in a fresh process.

    Raises:
        CheckError: the timing was tried and broke.
    """
    method = "reading the file, creating the session and answering one row; imports not counted"
    return _over_processes("cold_start", "ms", times, times.figures("cold_start_ms"), method, tails)


def peak_memory(times: Times, tails: Tails) -> Measurement:
    """Return the memory that a process needs for the model, in millions of bytes.

    Raises:
        CheckError: the timing was tried and broke.
    """
    values = times.figures("memory_bytes")
    method = "peak of resident memory while loading and running, less what was resident before loading"
    found = _over_processes(
        "peak_memory", "MB", times, None if values is None else np.maximum(values, 1.0) / 1e6, method, tails
    )
    sram = times.answers[0].figures.get("sram_bytes")
    if found.value is not None or sram is None:
        return found
    return dataclasses.replace(
        found,
        value=sram / 1e6,
        n=1,
        interval=Interval(low=sram / 1e6, high=sram / 1e6, confidence=1.0),
        method="on-chip memory by the vendor compiler's allocation",
        grade=Grade.ESTIMATED,
        detail="; ".join(part for part in (f"target {times.target.spoken}", times.stands_in) if part),
    )


def energy(times: Times, tails: Tails) -> Measurement:
    """Return the energy of one inference in millijoules: counted by the processor, else estimated.

    The estimate is power times time, with the target's `watts` from the policy or that of an unknown
    processor. Source of the method: codecarbon, constant mode.

    Raises:
        CheckError: the timing was tried and broke.
    """
    counted = times.figures("energy_mj")
    if counted is not None:
        method = "the processor package's energy counter over all runs; other work on the package counts too"
        return _over_processes("energy", "mJ", times, counted, method, tails)
    means = _mean_seconds(times)
    watts = times.target.entry.watts
    source = "declared in the policy" if watts is not None else "an unknown processor's by codecarbon"
    power = UNKNOWN_PROCESSOR_W if watts is None else watts
    values = None if means is None else means * power * 1000
    found = _over_processes(
        "energy", "mJ", times, values, f"mean time of an inference times {power:g} W ({source})", tails
    )
    return found if found.value is None else dataclasses.replace(found, grade=Grade.ESTIMATED)


def cost_per_1000(times: Times, tails: Tails) -> Measurement:
    """Return what a thousand inferences cost, one after the other, in the unit of the policy's price.

    Raises:
        CheckError: the timing was tried and broke.
    """
    price = times.target.entry.price_per_hour
    if price is None:
        name = times.target.name
        reason = f"the policy names no price: [targets.{name}] id = {times.target.id!r}, price_per_hour = ..."
        return without_value("cost_per_1000", "", reason)
    means = _mean_seconds(times)
    values = None if means is None else means / times.batch * 1000 * price / 3600
    method = f"mean time of an inference at {price:g} per hour (declared), one request after the other"
    return _over_processes("cost_per_1000", "", times, values, method, tails)


def _mean_seconds(times: Times) -> NDArray[np.float64] | None:
    if times.refusal is not None or not times.timed:
        return None
    return np.asarray([np.mean(a.samples_ns) for a in times.answers], np.float64) / 1e9


def _over_processes(
    metric: str, unit: str, times: Times, values: NDArray[np.float64] | None, method: str, tails: Tails
) -> Measurement:
    if times.refusal is not None:
        return refused(metric, unit, times.target, times.refusal)
    if values is None:
        return without_value(metric, unit, f"{times.target.spoken} does not tell it ({times.where})")
    value, (low, high) = next_value_interval(values, tails)
    return Measurement(
        metric=metric,
        value=value,
        unit=unit,
        n=PROCESSES,
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method=f"{method}; geometric mean over {times.where}; prediction interval for the next process",
        detail="; ".join(part for part in (f"target {times.target.spoken}", times.stands_in) if part),
        n_decides=False,
        machine=describe_machine(times.answers[0]),
        conditions=describe_conditions(times.answers),
    )
