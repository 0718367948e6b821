"""Canaries: rows put into a private training by the toss of a coin, to see whether it gives the toss away.

A phantom canary is a gradient of a coordinate that the model does not have. It is clipped, summed and noised
by the training's own code in each step it is drawn into, and touches nothing else, so that it sees exactly
what the mechanism does to one row: noise too small, noise left out, steps not counted. Input canaries are
rows of the training table with wrong labels, which the released model is asked about. Both are scored, and
`one_run` says what the scores show.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import narwhals as nw
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from .. import codec
from ..dataset import read_table
from ..errors import CheckError, Misuse

Floats = NDArray[np.float64]

#: The column of a table of input canaries that says which of them were trained on.
INCLUDED = "canary_included"
#: A canary's gradient before clipping, in clipping norms: a loop that does not clip gives itself away.
_LOUDNESS = 10.0
#: The standard deviation of a normal variable over its median distance from 0.
_NORMAL = 1.4826


class CanaryScores(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a training left of its canaries: a score of each, and whether it was a member.

    `sampling_rate` and `steps` are those of the training as it counted them. `seal` is the digest of all
    other fields; without one the numbers are somebody's word.
    """

    schema: Literal["https://pytest-mlgate.dev/canaries/v1"] = "https://pytest-mlgate.dev/canaries/v1"
    scores: tuple[float, ...]
    included: tuple[bool, ...]
    sampling_rate: Annotated[float, Meta(gt=0, le=1)]
    steps: Annotated[int, Meta(ge=1)]
    seal: str = ""

    def write(self, path: Path | str) -> None:
        """Write the scores as JSON, sealed."""
        Path(path).write_bytes(codec.to_json(self.sealed()))

    def sealed(self) -> CanaryScores:
        """Return the same scores with their seal."""
        return msgspec.structs.replace(self, seal=codec.digest_of(msgspec.structs.replace(self, seal="")))


def read_scores(path: Path) -> CanaryScores:
    """Return the canaries' scores from a JSON file.

    Raises:
        CheckError: there is no such file, it is not of this form, or it was changed after it was sealed.
    """
    try:
        found = codec.from_json(path.read_bytes(), CanaryScores)
    except OSError as error:
        raise CheckError(f"canaries: {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CheckError(f"canaries: {path.name} is no file of canary scores: {error}") from None
    if len(found.scores) != len(found.included):
        raise CheckError(
            f"canaries: {path.name} has {len(found.scores)} scores and {len(found.included)} memberships"
        )
    if found.seal and found.seal != found.sealed().seal:
        raise CheckError(
            f"canaries: {path.name} was changed after the training wrote it (its seal does not fit): take "
            "the file that the training wrote, or train again"
        )
    return found


class PhantomCanaries:
    """Canaries in gradient coordinates that the model does not have, for one DP-SGD run.

    With Opacus: `canaries.attach(optimizer)` before training. In a loop of your own, in every step: append
    the rows of `gradients()` to the per-example gradients, on as many extra coordinates (0 for all other
    rows), clip, sum and add noise to all coordinates as always, and hand the extra ones to `observe`. After
    training: `canaries.result().write("canaries.json")`. The model's own gradients stay as they are.

    Args:
        sampling_rate: the probability with which a row is in a batch.
        max_grad_norm: the clipping norm.
        count: how many canaries; about half of them are members.
        seed: of the coin tosses; by default nobody can know it.
    """

    def __init__(
        self, *, sampling_rate: float, max_grad_norm: float, count: int = 1000, seed: int | None = None
    ) -> None:
        if not 0 < sampling_rate <= 1 or not 0 < max_grad_norm < math.inf or count < 1:
            raise Misuse(
                f"PhantomCanaries(sampling_rate={sampling_rate}, max_grad_norm={max_grad_norm}, "
                f"count={count}): the rate is above 0 and at most 1, the norm finite and above 0, the count "
                "1 or more"
            )
        self._random = np.random.default_rng(seed)
        self._included: NDArray[np.bool_] = self._random.random(count) < 0.5
        self._rate, self._norm = sampling_rate, max_grad_norm
        self._scores: Floats = np.zeros(count)
        self._steps, self._drawn = 0, False

    def gradients(self) -> Floats:
        """Draw the canaries of the next batch; return their gradients before clipping, shape (drawn, count).

        Raises:
            Misuse: those of the step before were never observed.
        """
        if self._drawn:
            raise Misuse(
                "PhantomCanaries: gradients() was called twice without observe(); call both each step"
            )
        self._drawn = True
        count = len(self._included)
        drawn = np.flatnonzero(self._included & (self._random.random(count) < self._rate))
        rows = np.zeros((len(drawn), count))
        rows[np.arange(len(drawn)), drawn] = _LOUDNESS * self._norm
        return rows

    def observe(self, noisy: Any) -> None:
        """Take what the step made of the extra coordinates, shape (count,): sum plus noise, not yet averaged.

        A canary's score is the log-likelihood ratio of its being a member, with the noise estimated from all
        coordinates of the step.

        Raises:
            Misuse: `gradients` was not called before, or the values are not finite or too many or too few.
        """
        values = np.asarray(noisy, np.float64).reshape(-1) / self._norm
        if not self._drawn or len(values) != len(self._scores) or not bool(np.all(np.isfinite(values))):
            raise Misuse(
                f"PhantomCanaries: observe() takes {len(self._scores)} finite values after each gradients(), "
                f"and got {len(values)}"
            )
        self._drawn = False
        self._steps += 1
        # With no noise at all every score is exact; the ratio then needs some to be finite.
        deviation = max(_NORMAL * float(np.median(np.abs(values))), 0.05)
        likelihood = np.clip((2 * values - 1) / (2 * deviation**2), -700, 700)
        self._scores += np.log1p(self._rate * np.expm1(likelihood))

    def result(self) -> CanaryScores:
        """Return the scores and memberships, sealed.

        Raises:
            Misuse: no step was observed.
        """
        if not self._steps:
            raise Misuse("PhantomCanaries: no step was observed; attach() or observe() while training")
        return CanaryScores(
            scores=tuple(self._scores.tolist()),
            included=tuple(self._included.tolist()),
            sampling_rate=self._rate,
            steps=self._steps,
        ).sealed()

    def attach(self, optimizer: Any) -> None:
        """Let every step of an Opacus optimizer clip, sum and noise the canaries, too.

        Attach canaries before anything else that watches the optimizer. In each step the canaries are
        clipped as a batch of their own by the optimizer's own code, and noised in the same call as the
        model's gradients.

        Raises:
            Misuse: it is no Opacus optimizer with one clipping norm, or it is already watched.
        """
        import torch

        if not all(
            hasattr(optimizer, name) for name in ("clip_and_accumulate", "add_noise", "max_grad_norm")
        ):
            raise Misuse(
                f"PhantomCanaries.attach: {type(optimizer).__name__} is no Opacus optimizer; in a loop of "
                "your own call gradients() and observe() in each step"
            )
        if hasattr(optimizer, "max_grad_norms") or hasattr(optimizer, "accumulate"):
            raise Misuse("PhantomCanaries.attach: clipping per layer and ghost clipping are not supported")
        if {"clip_and_accumulate", "add_noise"} & set(vars(optimizer)):
            raise Misuse("PhantomCanaries.attach: attach the canaries before the recorder, and only once")
        like = optimizer.params[0]
        phantom = torch.nn.Parameter(torch.zeros(len(self._scores), dtype=like.dtype, device=like.device))
        clip, noise = optimizer.clip_and_accumulate, optimizer.add_noise
        groups = optimizer.original_optimizer.param_groups
        seen: list[Any] = []

        def clip_with_canaries() -> None:
            clip()
            if seen:  # noise that no step used: somebody probes the optimizer
                seen.clear()
                self._drawn = False
            if self._drawn:  # a further part of the same batch
                return
            rows = torch.as_tensor(self.gradients(), dtype=like.dtype, device=like.device)
            kept = [p.grad_sample for p in optimizer.params]
            owners = list(optimizer.params)
            for p in owners:
                p.grad_sample = torch.zeros(len(rows), *p.shape, dtype=p.dtype, device=p.device)
            parameter: Any = phantom  # Opacus keeps both on the parameters themselves
            parameter.grad_sample, parameter.summed_grad = rows, None
            groups.append({"params": [phantom]})
            try:
                clip()
            finally:
                groups.pop()
                for p, own in zip(owners, kept, strict=True):
                    p.grad_sample = own

        def noise_with_canaries() -> None:
            groups.append({"params": [phantom]})
            try:
                noise()
            finally:
                groups.pop()
            noised: Any = phantom.grad
            seen.append(noised.detach().cpu().numpy())

        def step_was_made(*_: Any) -> None:
            if seen:
                self.observe(seen.pop())

        optimizer.original_optimizer.register_step_post_hook(step_was_made)
        optimizer.clip_and_accumulate, optimizer.add_noise = clip_with_canaries, noise_with_canaries


def plant(rows: Any, label: str, seed: int) -> Any:
    """Return rows as input canaries: each with a wrong label, and a coin toss in the column `INCLUDED`.

    Train on those that are included (without that column) beside the ordinary rows, keep the table, and name
    it in `privacy_attack(canaries=...)`. Take rows that are in neither the training nor the test table.

    Raises:
        Misuse: there is no such column, or it has fewer than two values.
    """
    frame = read_table(rows, "canary")
    if label not in frame.columns:
        raise Misuse(f"plant: there is no column {label!r} among {', '.join(frame.columns[:40])}")
    values = frame[label].to_list()
    classes = sorted(set(values), key=repr)
    if len(classes) < 2:
        raise Misuse(f"plant: column {label!r} has {len(classes)} values; a wrong label needs two")
    random = np.random.default_rng(seed)
    place = {value: i for i, value in enumerate(classes)}
    moved = random.integers(1, len(classes), len(values))
    wrong = [classes[(place[v] + int(by)) % len(classes)] for v, by in zip(values, moved, strict=True)]
    tosses = (random.random(len(values)) < 0.5).tolist()
    library = frame.implementation
    columns = (
        nw.new_series(label, wrong, frame[label].dtype, backend=library),
        nw.new_series(INCLUDED, tosses, nw.Boolean(), backend=library),
    )
    return frame.with_columns(*columns).to_native()
