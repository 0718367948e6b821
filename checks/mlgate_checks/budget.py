"""What the release artifact may cost: latency on the named target, size, and accuracy lost on the way."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from pytest_mlgate.candidate.model import decisions
from pytest_mlgate.contract import AtMost, check
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Findings, Grade, Interval, Measurement
from pytest_mlgate.hardware.targets import measure_latency
from pytest_mlgate.statistics import paired_difference_interval
from pytest_mlgate.subject import Subject


@check("budget", reusable=False, selects=True, named_by=("target",))
def budget(
    subject: Subject,
    *,
    latency_ms: AtMost = None,
    percentile: float = 99.0,
    size_mb: AtMost = None,
    max_accuracy_drop: AtMost = None,
    target: Literal["cpu", "cuda", "npu"] = "cpu",
) -> Findings:
    """Cost of the release artifact: latency on the target, file size, accuracy lost to compression.

    `latency_ms` bounds the given percentile of one-row inference in milliseconds; `size_mb` the file in
    millions of bytes; `max_accuracy_drop` how much accuracy the artifact may lose against its float parent
    on the same rows (a fraction: 0.01 is one point).

    Raises:
        CheckError: the percentile is not between 50 and 100, or the model does not run.
    """
    if not 50 <= percentile < 100:
        raise CheckError(f"percentile={percentile:g} is outside 50 to 100")
    measurements = []
    tails = subject.levels.tails("<=")
    if latency_ms is not None:
        frame = subject.data.tables["test"]
        latency = measure_latency(target, subject.release, frame, percentile, tails)
        measurements.append(_answering("latency_ms", latency))
    if size_mb is not None:
        measurements.append(_size(subject))
    if max_accuracy_drop is not None:
        measurements.append(_accuracy_drop(subject))
    return Findings(
        measurements=tuple(measurements),
        assumptions={
            "latency": f"batch of one row, one thread, p{percentile:g}, target {target}",
            "machine": "figures hold for the machine named in this report, and for no other",
        },
        not_covered=("energy, peak memory, throughput and cold start",),
    )


def _answering(bound: str, m: Measurement) -> Measurement:
    return dataclasses.replace(m, bound=bound)


def _size(subject: Subject) -> Measurement:
    size = subject.release.identity.size_bytes
    megabytes = None if size is None else size / 1e6
    return Measurement(
        metric="size",
        value=megabytes,
        unit="MB",
        n=1,
        interval=None if megabytes is None else Interval(low=megabytes, high=megabytes, confidence=1.0),
        method="bytes of the file that ships, in millions",
        grade=Grade.MISSING if size is None else Grade.MEASURED,
        detail="" if size is not None else "a callable has no file",
        bound="size_mb",
    )


def _accuracy_drop(subject: Subject) -> Measurement:
    labels = subject.data.labels()
    right_parent = decisions(subject.parent, subject.scores(subject.parent)) == labels
    right_release = decisions(subject.release, subject.scores()) == labels
    only_parent = int(np.sum(right_parent & ~right_release))
    only_release = int(np.sum(right_release & ~right_parent))
    tails = subject.levels.tails("<=")
    low, high = paired_difference_interval(only_parent, only_release, len(labels), tails)
    return Measurement(
        metric="accuracy_drop",
        value=(only_parent - only_release) / len(labels),
        unit="",
        n=len(labels),
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method="accuracy of the float parent minus that of the release artifact on the same rows; "
        "Bonett-Price interval",
        detail=f"{only_parent} rows right only in float, {only_release} only in the release artifact",
        bound="max_accuracy_drop",
    )
