"""Turns a backend's refusal into a measurement without a value: each kind of refusal has its verdict."""

from __future__ import annotations

from ..errors import CheckError
from ..evidence import Grade, Measurement
from .backends.protocol import Answer
from .target import Target


def without_value(metric: str, unit: str, reason: str) -> Measurement:
    """Return a measurement that has no value, for this reason."""
    return Measurement(
        metric=metric,
        value=None,
        unit=unit,
        n=0,
        interval=None,
        method="none",
        grade=Grade.MISSING,
        detail=reason,
    )


def unmapped(target: Target) -> str:
    """Return the sentence about an alias that stands for no device."""
    return (
        f"target {target.name!r} is an alias and the policy maps it to no device; say which is meant, e.g. "
        f'[targets] {target.name} = "qcom:soc69". What this machine knows: mlgate targets'
    )


def refused(metric: str, unit: str, target: Target, answer: Answer) -> Measurement:
    """Return the measurement that stands for a refusal.

    A missing tool or device and an artifact that the target cannot take leave nothing measured; a model of
    which a part runs elsewhere fails whatever was required of it on this target.

    Raises:
        CheckError: it was tried and broke.
    """
    if answer.refusal_kind == "failed":
        raise CheckError(f"target {target.spoken}: {answer.refusal}")
    if answer.refusal_kind == "off_target":
        return Measurement(
            metric=metric,
            value=None,
            unit=unit,
            n=0,
            interval=None,
            method="placement of every operator, as the runtime or compiler reports it",
            off_target=f"target {target.spoken}: {answer.refusal}",
            detail=answer.refusal,
        )
    install = f". Install it with: {answer.install}" if answer.install else ""
    return without_value(metric, unit, f"target {target.spoken}: {answer.refusal}{install}")
