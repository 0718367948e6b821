"""The training record of a recorder: what every step did, each step bound by its digest to those before.

Changing a byte, leaving out a step or swapping two breaks the chain, and the error says where. The chain has
no key: whoever writes a program that invents steps can chain them too. Against that stand the tests of the
record's contents (batch sizes, participation, the noise that was seen), never the chain.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ..errors import CheckError

SCHEMA = "https://pytest-mlgate.dev/training-record/v2"
#: The digest of the chain is kept after every so many steps, to say where a record was changed.
MARK_EVERY = 64

#: How rows get into batches. `fixed_size`: each batch is drawn anew, without replacement inside it;
#: `shuffled`: batches partition the table again and again; `with_replacement`: uniform, rows may repeat.
Law = Literal["poisson", "shuffled", "fixed_size", "with_replacement", "weighted", "none", "unknown"]

Count = Annotated[int, Meta(ge=0)]
Amount = Annotated[float, Meta(ge=0)]


class RecordError(CheckError):
    """The record is malformed, was changed, or contradicts itself: nothing is computed from it."""


class Sampler(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the loader draws batches: its law, the class that says so, its rate or batch size."""

    law: Law
    kind: str
    rate: Annotated[float, Meta(ge=0, le=1)] | None = None
    batch_size: Annotated[int, Meta(ge=1)] | None = None
    #: The law was read off the loader's class; otherwise the training loop stated it.
    recognised: bool = False


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was fixed before the first step."""

    delta: Annotated[float, Meta(gt=0, lt=1)]
    neighboring_relation: Literal["add_or_remove_one"] = "add_or_remove_one"
    dataset_size: Annotated[int, Meta(ge=1)]
    dataset_digest: str | None
    sampler: Sampler
    #: The class that clips and adds noise.
    mechanism: str
    #: Bound of the gradient's norm in each layer, where clipping is per layer.
    layer_norms: tuple[Amount, ...] | None = None
    seed: int | None
    libraries: dict[str, str]
    started_at: str


class Step(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One change of the weights."""

    number: Annotated[int, Meta(ge=1)]
    #: Rows whose gradients went into the step.
    rows: Count
    #: Rows of the batches that the loader drew for it, and how many such batches there were.
    drawn_rows: Count
    draws: Count
    #: Batches that the device processed for it: more than `draws` where they were split to fit its memory.
    physical: Count
    #: Standard deviation of the noise over the clipping norm, as the accountant has to take it.
    noise_multiplier: Amount
    max_grad_norm: Amount | None
    #: Sum of squares of the noise that was seen, in units of the declared deviation; `None`: not seen.
    noise_squares: Amount | None
    #: Largest relative deviation of the clipped sum from one computed apart; `None`: not compared.
    clip_deviation: Amount | None
    #: Neither gradients nor noise held NaN or infinity.
    finite: bool = True


class Layer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The noise seen in one tensor of weights, over all steps."""

    name: str
    #: Numbers of noise seen: entries of the tensor times steps.
    values: Count
    squares: Amount


class Noise(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sums of powers of the noise seen, in units of the declared deviation."""

    values: Count
    squares: Amount
    fourths: Amount
    #: For some coordinates, the sum over them of (sum of the noise over steps)^2 / steps.
    walk_values: Count
    walk_squares: Amount


class Probe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the training's own step did to probe gradients after the training."""

    noise: Noise
    #: Kolmogorov-Smirnov distance of the noise from the standard normal distribution.
    distance: Amount
    clip_deviation: Amount
    #: Noise multiplier and clipping norm that the probed step declared.
    noise_multiplier: Amount
    max_grad_norm: Amount


class Account(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the training's own accountant counted: a claim, compared with the steps and never believed."""

    mechanism: str
    #: Noise multiplier, sampling rate and number of steps, for each stretch of equal steps.
    history: tuple[tuple[float, float, int], ...]
    epsilon: Amount | None
    delta: Annotated[float, Meta(gt=0, lt=1)]


class Ending(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known after the last step."""

    #: Batches that the loader drew, used or not.
    drawn: Count
    #: Changes of the weights that the inner optimizer made; `None` where it was not watched.
    updates: Count | None
    #: (number of batches, rows that were in so many); empty where the loader could not tell rows.
    participation: tuple[tuple[Count, Count], ...]
    #: The largest sum over steps, for one row, of the square of its multiplicity in the step.
    heaviest: Count | None
    layers: tuple[Layer, ...]
    noise: Noise | None
    probe: Probe | None
    account: Account | None
    ended_at: str


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole training run; `seal` is the digest that the ledger knows it by."""

    schema: Literal["https://pytest-mlgate.dev/training-record/v2"]
    header: Header
    steps: Annotated[tuple[Step, ...], Meta(min_length=1)]
    marks: tuple[str, ...]
    ending: Ending
    seal: str


class Chain:
    """The digest that grows with every step."""

    def __init__(self, header: Header) -> None:
        self.head = _link("", header)
        self.marks: list[str] = []
        self._steps = 0

    def add(self, step: Step) -> None:
        """Bind a step to those before."""
        self.head = _link(self.head, step)
        self._steps += 1
        if self._steps % MARK_EVERY == 0:
            self.marks.append(self.head)

    def seal(self, ending: Ending) -> str:
        """Return the digest of header, steps and ending."""
        return _link(self.head, ending)


def sealed(header: Header, steps: Iterable[Step], ending: Ending) -> dict[str, Any]:
    """Return the record as plain JSON values, chained and sealed."""
    steps, chain = tuple(steps), Chain(header)
    for step in steps:
        chain.add(step)
    record = Record(
        schema="https://pytest-mlgate.dev/training-record/v2",
        header=header,
        steps=steps,
        marks=tuple(chain.marks),
        ending=ending,
        seal=chain.seal(ending),
    )
    plain: dict[str, Any] = msgspec.to_builtins(record)
    return plain


def verify(raw: dict[str, Any]) -> Record:
    """Return the record, if every field is of its type and range and the chain is whole.

    Raises:
        RecordError: with the field or the step that is wrong.
    """
    try:
        record = msgspec.convert(raw, type=Record, strict=True)
    except msgspec.ValidationError as error:
        raise RecordError(f"training record: {error}") from None
    _require_finite(raw, "")
    for position, step in enumerate(record.steps, start=1):
        if step.number != position:
            raise RecordError(
                f"training record: step {position} is missing: step {step.number} stands in its place"
            )
    _require_chain(record)
    _require_sums(record)
    return record


def _require_chain(record: Record) -> None:
    chain = Chain(record.header)
    if len(record.marks) != len(record.steps) // MARK_EVERY:
        raise RecordError(
            f"training record: {len(record.marks)} marks for {len(record.steps)} steps: steps were "
            "added or taken away after it was written"
        )
    for step in record.steps:
        chain.add(step)
        if step.number % MARK_EVERY == 0 and chain.head != record.marks[step.number // MARK_EVERY - 1]:
            first = step.number - MARK_EVERY + 1
            what = "the header or " if first == 1 else ""
            raise RecordError(
                f"training record: {what}a step from {first} to {step.number} was changed after it was "
                "written"
            )
    if chain.seal(record.ending) != record.seal:
        first = len(record.marks) * MARK_EVERY + 1
        raise RecordError(
            "training record: it was changed after it was written: the seal is not that of "
            + ("the header, the steps and the ending" if first == 1 else f"what follows step {first - 1}")
        )


def _require_sums(record: Record) -> None:
    n, steps, ending = record.header.dataset_size, record.steps, record.ending
    draws = sum(step.draws for step in steps)
    if draws > ending.drawn:
        raise RecordError(
            f"training record: {draws:,} batches were used and {ending.drawn:,} were drawn by the loader"
        )
    without = [step.number for step in steps if not step.draws]
    if without:
        raise RecordError(
            f"training record: more steps than batches: {_numbers(without)} used no batch that the recorded "
            "loader drew. Train on the loader that the recorder's attach() returned, one batch for each step"
        )
    other = [step for step in steps if step.rows != step.drawn_rows]
    if other:
        raise RecordError(
            f"training record: {_numbers([s.number for s in other])} used other rows than were drawn: step "
            f"{other[0].number} took gradients of {other[0].rows:,} rows, and {other[0].drawn_rows:,} were "
            "drawn"
        )
    not_finite = [step.number for step in steps if not step.finite]
    if not_finite:
        raise RecordError(
            f"training record: gradients or noise were NaN or infinite in {_numbers(not_finite)}: a "
            "norm that "
            "is not a number cannot be clipped, so nothing bounds what one row did"
        )
    if ending.updates is not None and ending.updates != len(steps):
        raise RecordError(
            f"training record: the weights were changed {ending.updates:,} times, and noise was added in "
            f"{len(steps):,} steps"
        )
    if ending.participation:
        rows = sum(many for _, many in ending.participation)
        uses = sum(count * many for count, many in ending.participation)
        used = sum(step.rows for step in steps)
        if rows != n or uses != used:
            raise RecordError(
                f"training record: participation tells of {rows:,} rows in {uses:,} uses, and the steps of "
                f"{n:,} rows in {used:,} uses"
            )


def _require_finite(value: Any, path: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise RecordError(f"training record: {path[1:]} is {value}, not a finite number")
    if isinstance(value, dict):
        for key, item in value.items():
            _require_finite(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            _require_finite(item, f"{path}[{position}]")


def _link(before: str, content: msgspec.Struct) -> str:
    data = before.encode() + b"\n" + msgspec.json.encode(content, order="sorted")
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(f"{number:,}" for number in numbers[:5])
    more = f" and {len(numbers) - 5:,} more" if len(numbers) > 5 else ""
    return f"step{'s' if len(numbers) > 1 else ''} {shown}{more}"
