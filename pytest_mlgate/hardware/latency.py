"""Latency percentiles, with an interval that holds what the next process would show."""

from __future__ import annotations

import numpy as np

from ..evidence import Grade, Interval, Measurement
from ..levels import Tails
from ..statistics import next_value_interval
from .refusals import refused, without_value
from .times import PROCESSES, Times, describe_conditions, describe_machine


def latency(times: Times, percentile: float, tails: Tails) -> Measurement:
    """Return a latency percentile in milliseconds: timed, else the vendor compiler's estimate, else none.

    Raises:
        CheckError: the timing was tried and broke.
    """
    metric = f"latency_p{percentile:g}"
    if times.refusal is not None:
        return refused(metric, "ms", times.target, times.refusal)
    if not times.timed:
        return _estimated(times, metric)
    values = times.percentiles_ms(percentile)
    value, (low, high) = next_value_interval(values, tails)
    per_process = min(len(a.samples_ns) for a in times.answers)
    median = float(np.median([ns for a in times.answers for ns in a.samples_ns])) / 1e6
    return Measurement(
        metric=metric,
        value=value,
        unit="ms",
        n=PROCESSES,
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method=f"geometric mean of p{percentile:g} over {times.where}, {per_process} runs each after "
        f"warm-up, batch {times.batch}, rotating over {times.rows} rows; prediction interval for the next "
        "process",
        detail=f"target {times.target.spoken}, median {median:.3g} ms, processes from "
        f"{values.min():.3g} to {values.max():.3g} ms{_standing_in(times)}",
        n_decides=False,
        machine=describe_machine(times.answers[0]),
        conditions=describe_conditions(times.answers),
    )


def _estimated(times: Times, metric: str) -> Measurement:
    answer = times.answers[0]
    if "latency_ms" not in answer.figures:
        return without_value(
            metric,
            "ms",
            f"{times.target.spoken} can be compiled for and emulated here, which gives no latency; "
            "only the device does: measure on it with target ssh:HOST/... or adb:SERIAL/...",
        )
    value = answer.figures["latency_ms"]
    grade = Grade(answer.grades.get("latency_ms", "estimated"))
    return Measurement(
        metric=metric,
        value=value,
        unit="ms",
        n=1,
        # A compiler's model has one value; how far silicon lies from it is unknown, and the grade says so.
        interval=Interval(low=value, high=value, confidence=1.0),
        method="the vendor compiler's own estimate of one inference; it knows no percentiles",
        grade=grade,
        detail=f"target {times.target.spoken}, {', '.join(f'{n} {v}' for n, v in answer.versions.items())}; "
        + "; ".join(answer.notes)
        + _standing_in(times),
        n_decides=False,
    )


def _standing_in(times: Times) -> str:
    return f"; {times.stands_in}" if times.stands_in else ""
