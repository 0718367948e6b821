"""The record that somebody states without a recorder, read strictly and tested wherever it can be."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pytest_mlgate.errors import CheckError
from pytest_mlgate.privacy.accounting import LEAST_NOISE

from ._privacy_law import require_poisson_sizes

#: The format of records that are stated rather than recorded.
STATED = "https://pytest-mlgate.dev/training-record/v1"


class TrainingRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a training loop says of itself; every field is needed but `epsilon`, which is a claim."""

    schema: Literal["https://pytest-mlgate.dev/training-record/v1"]
    sampling: Literal["poisson", "shuffled", "none"]
    sampling_rate: Annotated[float, Meta(ge=0, le=1)]
    batch_sizes: tuple[Annotated[int, Meta(ge=0)], ...]
    steps: Annotated[int, Meta(ge=1)]
    noise_multiplier: Annotated[float, Meta(ge=0)]
    max_grad_norm: Annotated[float, Meta(gt=0)] | None
    dataset_size: Annotated[int, Meta(ge=1)]
    dataset_sha256: str
    delta: Annotated[float, Meta(gt=0, lt=1)]
    neighboring_relation: Literal["add_or_remove_one"]
    seed: int | None
    libraries: dict[str, str]
    recorded_at: str
    epsilon: Annotated[float, Meta(ge=0)] | None = None


def read_record(raw: dict[str, Any]) -> TrainingRecord:
    """Return the record with every field's type and range checked.

    Raises:
        CheckError: a field is missing, unknown, of the wrong type or out of range; the message names it.
    """
    try:
        record = msgspec.convert(raw, type=TrainingRecord, strict=True)
    except msgspec.ValidationError as error:
        raise CheckError(f"training record: {error}") from None
    for name in ("sampling_rate", "noise_multiplier", "max_grad_norm", "delta", "epsilon"):
        value = getattr(record, name)
        if value is not None and not math.isfinite(value):
            raise CheckError(f"training record: {name} is {value}, not a finite number")
    if 0 < record.noise_multiplier < LEAST_NOISE:
        raise CheckError(
            f"training record: noise_multiplier is {record.noise_multiplier:g}, too small to be accounted "
            "for; it is the standard deviation of the noise divided by the clipping norm"
        )
    return record


def require_consistent(record: TrainingRecord, delta: float, train_rows: int | None) -> None:
    """Refuse a record that contradicts itself, the requirement or the training table.

    Raises:
        CheckError: with the field and what it contradicts.
    """
    n, sizes = record.dataset_size, record.batch_sizes
    if not 0 < delta < 1 / n:
        raise CheckError(
            f"delta={delta:g} must be above 0 and below 1/dataset_size = {1 / n:.3g}: a larger delta allows "
            "publishing a row outright"
        )
    if len(sizes) != record.steps:
        raise CheckError(
            f"training record: steps is {record.steps}, and batch_sizes has {len(sizes)} entries"
        )
    if max(sizes) > n:
        raise CheckError(
            f"training record: batch_sizes holds {max(sizes)}, more than dataset_size, which is {n}"
        )
    if train_rows is not None and train_rows != n:
        raise CheckError(
            f"training record: dataset_size is {n}, and the training table has {train_rows} rows"
        )
    if record.sampling == "poisson":
        if not record.sampling_rate > 0:
            raise CheckError("training record: sampling_rate is 0, and sampling is poisson")
        require_poisson_sizes(sizes, n, record.sampling_rate)


def most_passes(record: TrainingRecord) -> int:
    """Return in how many batches one row can have been: once in each pass over the shuffled table."""
    return passes_over(record.dataset_size, record.batch_sizes)


def passes_over(n: int, sizes: Sequence[int]) -> int:
    """Return how many passes over n shuffled rows these batches can have been.

    Where the batch sizes show the passes (they add up to the table again and again), these are counted.
    Otherwise the last rows of a pass may have been dropped; the shortest pass then has floor(n / largest
    batch) steps, and the most passes follow from it.
    """
    sums = set(itertools.accumulate(sizes))
    total = sum(sizes)
    if all(k * n in sums for k in range(1, total // n + 1)):
        return max(1, math.ceil(total / n))
    return math.ceil(len(sizes) / (n // max(sizes)))
