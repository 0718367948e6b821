"""What the release artifact may cost: time, size, memory, energy, money, and accuracy lost on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Literal

from pytest_mlgate.contract import Accepts, AtLeast, AtMost, Bound, MinEvidence, TargetName, check
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Findings, Grade, Measurement, Table
from pytest_mlgate.hardware.footprint import cold_start, cost_per_1000, energy, peak_memory
from pytest_mlgate.hardware.latency import latency
from pytest_mlgate.hardware.ratio import latency_ratio
from pytest_mlgate.hardware.refusals import unmapped, without_value
from pytest_mlgate.hardware.target import Target
from pytest_mlgate.hardware.throughput import look_at_batches, throughput
from pytest_mlgate.hardware.times import Times, take_times
from pytest_mlgate.levels import Tails
from pytest_mlgate.subject import Subject

from ._budget_tables import arithmetic_table, batch_table, effects_table
from ._lost_accuracy import accuracy_drop, group_accuracy_drops
from ._size import adapter_size, artifact_size, trainable_share

#: Numerics are the same wherever the target's arithmetic is carried out faithfully.
Quality = Annotated[float | None, Bound("<=", of_quality=True), Accepts((Grade.MEASURED, Grade.EMULATED))]

#: Bounds that are answered by timing the model on the target, with what answers them.
_FROM_TIMES: dict[str, Callable[[Times, Tails], Measurement]] = {
    "cold_start_ms": cold_start,
    "memory_mb": peak_memory,
    "energy_mj": energy,
    "cost_per_1000": cost_per_1000,
}
_UNITS = {"latency_ms": "ms", "cold_start_ms": "ms", "memory_mb": "MB", "energy_mj": "mJ"}
_UNITS |= {"throughput_per_s": "rows/s"}


@check("budget", reusable=False, selects=True, named_by=("target",))
def budget(
    subject: Subject,
    *,
    latency_ms: AtMost = None,
    percentile: float = 99.0,
    max_latency_ratio: AtMost = None,
    against: Literal["baseline", "parent"] = "baseline",
    throughput_per_s: AtLeast = None,
    cold_start_ms: AtMost = None,
    memory_mb: AtMost = None,
    size_mb: AtMost = None,
    energy_mj: AtMost = None,
    cost_per_1000: AtMost = None,
    adapter_mb: AtMost = None,
    max_trainable_share: AtMost = None,
    max_accuracy_drop: Quality = None,
    max_group_accuracy_drop: Quality = None,
    target: TargetName = "cpu",
    min_evidence: MinEvidence = "measured",
    minimize: Literal["size", "latency", "memory", "cost"] = "size",
) -> Findings:
    """Cost of the release artifact: time, size, memory, energy and money on the target, accuracy lost.

    `latency_ms` bounds the given percentile of one-row inference in milliseconds; `max_latency_ratio` the
    time relative to the baseline (or to the float parent), which travels between machines;
    `throughput_per_s` rows per second at the best batch size that keeps `latency_ms`; `cold_start_ms` the
    time to the first answer; `memory_mb` the peak memory of a process that runs the model, `size_mb` the
    file, `adapter_mb` the adapter's weights, all in millions of bytes; `energy_mj` millijoules and
    `cost_per_1000` money of an inference and of a thousand; `max_trainable_share` the share of parameters
    that were trained; `max_accuracy_drop` how much accuracy the artifact may lose against its float parent
    on the same rows, and `max_group_accuracy_drop` the same in every group of the sensitive columns
    (fractions: 0.01 is one point). `min_evidence` says with which grade of evidence the bounds are content
    on a target that cannot be measured; `minimize` says what the cheapest artifact is.

    Raises:
        CheckError: the percentile is not between 50 and 100, there is no baseline to time against, or the
            model does not run.
    """
    if not 50 <= percentile < 100:
        raise CheckError(f"percentile={percentile:g} is outside 50 to 100")
    place = subject.targets.resolve(target)
    wanted: dict[str, float | None] = {
        "latency_ms": latency_ms,
        "cold_start_ms": cold_start_ms,
        "memory_mb": memory_mb,
        "energy_mj": energy_mj,
        "cost_per_1000": cost_per_1000,
    }
    measurements = _timed(
        subject, place, percentile, [name for name, bound in wanted.items() if bound is not None]
    )
    tables: list[Table] = []
    if max_latency_ratio is not None:
        measurements.append(_ratio(subject, place, against))
    if throughput_per_s is not None:
        found, table = _throughput(subject, place, percentile, latency_ms)
        measurements.append(found)
        tables += table
    elif latency_ms is not None and place.backend is not None:
        frame = subject.data.tables["test"]
        seen = look_at_batches(place, subject.release, frame, percentile, latency_ms)
        tables += batch_table(seen, percentile)
    if size_mb is not None:
        measurements.append(artifact_size(subject))
    if adapter_mb is not None:
        measurements.append(adapter_size(subject))
    if max_trainable_share is not None:
        measurements.append(trainable_share(subject))
    if max_accuracy_drop is not None:
        measurements.append(accuracy_drop(subject, place))
    if max_group_accuracy_drop is not None:
        measurements += group_accuracy_drops(subject, place)
    tables += effects_table(subject)
    if latency_ms is not None or throughput_per_s is not None or max_latency_ratio is not None:
        tables += arithmetic_table(subject, place)
    return Findings(
        measurements=tuple(measurements),
        tables=tuple(tables),
        assumptions={
            "latency": f"one thread, p{percentile:g}, target {place.spoken}",
            "machine": "figures hold for the machine named beside them, and for no other; a ratio travels",
            "evidence": f"bounds are content with figures that are {min_evidence}, and stronger",
            "cheapest": f"the release artifact is the one of least {minimize} that meets the whole budget",
        },
    )


def _timed(subject: Subject, place: Target, percentile: float, wanted: list[str]) -> list[Measurement]:
    if not wanted:
        return []
    if place.backend is None:
        missing = [without_value(name, _UNITS.get(name, ""), unmapped(place)) for name in wanted]
        return [_answering(name, m) for name, m in zip(wanted, missing, strict=True)]
    times = take_times(place, subject.release, subject.data.tables["test"], percentile)
    tails = subject.levels.tails("<=")
    found = [
        latency(times, percentile, tails) if name == "latency_ms" else _FROM_TIMES[name](times, tails)
        for name in wanted
    ]
    return [_answering(name, m) for name, m in zip(wanted, found, strict=True)]


def _ratio(subject: Subject, place: Target, against: str) -> Measurement:
    if place.backend is None:
        return _answering("max_latency_ratio", without_value("latency_ratio", "", unmapped(place)))
    reference = subject.parent if against == "parent" else subject.baseline
    if reference is None:
        raise CheckError(
            "max_latency_ratio compares with the baseline, and there is none: give one with the fixture "
            "mlgate_baseline, or compare with the float model by against='parent'"
        )
    tails = subject.levels.tails("<=")
    frame = subject.data.tables["test"]
    found = latency_ratio(place, subject.release, reference, against, frame, tails)
    return _answering("max_latency_ratio", found)


def _throughput(
    subject: Subject, place: Target, percentile: float, latency_ms: float | None
) -> tuple[Measurement, list[Table]]:
    if place.backend is None:
        return _answering("throughput_per_s", without_value("throughput", "rows/s", unmapped(place))), []
    frame, tails = subject.data.tables["test"], subject.levels.tails(">=")
    found, seen = throughput(place, subject.release, frame, percentile, latency_ms, tails)
    return _answering("throughput_per_s", found), batch_table(seen, percentile)


def _answering(bound: str, m: Measurement) -> Measurement:
    return dataclasses.replace(m, bound=bound)
