"""Size of the release artifact's file, and of an adapter beside its base model."""

from __future__ import annotations

from pytest_mlgate.evidence import Grade, Interval, Measurement
from pytest_mlgate.subject import Subject


def artifact_size(subject: Subject) -> Measurement:
    """Return the size of the file that ships, in millions of bytes."""
    size = subject.release.identity.size_bytes
    return _exact("size", None if size is None else size / 1e6, "MB", "size_mb", "a callable has no file")


def adapter_size(subject: Subject) -> Measurement:
    """Return the size of the adapter's weights before they were merged, in millions of bytes."""
    facts = getattr(subject.parent, "adapter", None)
    size = None if facts is None else facts.adapter_bytes / 1e6
    return _exact("adapter_size", size, "MB", "adapter_mb", _NO_ADAPTER)


def trainable_share(subject: Subject) -> Measurement:
    """Return the share of the parameters that the adapter trained."""
    facts = getattr(subject.parent, "adapter", None)
    share = None if facts is None else facts.trainable_share
    return _exact("trainable_share", share, "", "max_trainable_share", _NO_ADAPTER)


_NO_ADAPTER = "the candidate came without an adapter (a module with merge_and_unload, as peft makes them)"


def _exact(metric: str, value: float | None, unit: str, bound: str, reason: str) -> Measurement:
    return Measurement(
        metric=metric,
        value=value,
        unit=unit,
        n=1,
        interval=None if value is None else Interval(low=value, high=value, confidence=1.0),
        method="counted",
        grade=Grade.MISSING if value is None else Grade.MEASURED,
        detail="" if value is not None else reason,
        bound=bound,
    )
