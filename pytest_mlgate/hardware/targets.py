"""The targets a budget may name, and what this machine can say about each."""

from __future__ import annotations

from ..candidate import Model
from ..dataset import Frame
from ..evidence import Grade, Measurement
from ..levels import Tails
from .latency import cpu_latency


def measure_latency(target: str, model: Model, frame: Frame, percentile: float, tails: Tails) -> Measurement:
    """Return the latency on the target, or a measurement without a value and the reason why.

    A target that this machine does not have is never replaced by another one.
    """
    if target == "cpu":
        return cpu_latency(model, frame, percentile, tails)
    return Measurement(
        metric=f"latency_p{percentile:g}",
        value=None,
        unit="ms",
        n=0,
        interval=None,
        method="none",
        grade=Grade.MISSING,
        detail=f"nothing on this machine measures target={target!r}; it measures: cpu",
    )
