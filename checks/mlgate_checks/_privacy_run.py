"""One training as the accountant has to see it, from a recorder's record or from one that was stated."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from pytest_mlgate import codec
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Grade
from pytest_mlgate.privacy.accounting import LEAST_NOISE, Part
from pytest_mlgate.privacy.mechanism import CLIP_TOLERANCE, contradictions, probe_contradictions
from pytest_mlgate.privacy.record import SCHEMA, Record, Step, verify

from ._privacy_law import require_independent_uses, require_poisson_sizes
from ._training_record import (
    STATED,
    TrainingRecord,
    most_passes,
    passes_over,
    read_record,
    require_consistent,
)

_NOT_SAMPLED = (
    "The figure is larger than one that takes {} for Poisson sampling, because only independent sampling is "
    "known to amplify privacy that much"
)


@dataclass(frozen=True, slots=True)
class FixedSize:
    """Steps that each drew a fresh uniform subset, for which amplification has a proof of its own."""

    noise_multiplier: float
    batch: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """What a training did, as far as privacy is concerned."""

    seal: str
    rows: int
    law: str
    parts: tuple[Part, ...]
    #: Why no finite epsilon exists; empty where one does.
    endless: str
    how: str
    #: What the parts leave out of the sentence about sampling: "20 passes accounted without amplification".
    brief: str
    noise_multiplier: float
    delta: float
    seed: int | None
    #: An epsilon that the training states of itself, and who states it.
    claim: float | None
    claimant: str
    grade: Grade
    #: Why it is no better than its grade; empty for a measured one.
    because: str
    fixed_size: FixedSize | None = None
    record: Record | None = None

    def parts_of(self, rows_of_one: int) -> tuple[Part, ...]:
        """Return the parts as one unit of so many rows sees them."""
        return tuple(replace(part, rows=part.rows * rows_of_one) for part in self.parts)


def read_run(raw: dict[str, Any], delta: float, train_rows: int | None, train_digest: str) -> TrainingRun:
    """Return the training that a record tells of, refused where it contradicts itself or the table.

    Raises:
        CheckError: the record is malformed, was changed, or contradicts itself, the table or the mechanism;
            the message names what is otherwise than stated.
    """
    if raw.get("schema", STATED) not in (SCHEMA, STATED):
        raise CheckError(
            f"training record: schema is {raw.get('schema')!r}. Accepted: {SCHEMA}, which a PrivacyRecorder "
            f"writes, and {STATED}, for stated figures"
        )
    if raw.get("schema") == SCHEMA:
        return _recorded(verify(raw), delta, train_rows, train_digest)
    stated = read_record(raw)
    require_consistent(stated, delta, train_rows)
    return _stated(stated, codec.digest_of(raw))


def _recorded(record: Record, delta: float, train_rows: int | None, train_digest: str) -> TrainingRun:
    header, steps = record.header, record.steps
    n = header.dataset_size
    _require_delta(delta, n)
    if train_rows is not None and train_rows != n:
        raise CheckError(
            f"training record: dataset_size is {n}, and the training table has {train_rows} rows"
        )
    if train_digest and header.dataset_digest not in (None, train_digest):
        raise CheckError(
            f"training record: it was trained on a table with digest {header.dataset_digest}, and the "
            "gate was "
            f"given one with {train_digest}: give the recorder and the gate the same training table"
        )
    _require_mechanism(record)
    endless = _endless(steps)
    parts, how, brief, fixed = ((), endless, "", None) if endless else _recorded_parts(record)
    unseen = sum(step.noise_squares is None for step in steps)
    because = ""
    if unseen and not endless:
        because = f"nobody looked at the noise of {unseen:,} of {len(steps):,} steps"
    elif (
        header.sampler.law == "poisson" and not header.sampler.recognised and not record.ending.participation
    ):
        because = "the loop states Poisson sampling, and does not tell which rows were in a batch"
    account = record.ending.account
    return TrainingRun(
        seal=record.seal,
        rows=n,
        law=header.sampler.law,
        parts=parts,
        endless=endless,
        how=how,
        brief=brief,
        noise_multiplier=min(step.noise_multiplier for step in steps),
        delta=header.delta,
        seed=header.seed,
        claim=None if account is None else account.epsilon,
        claimant="" if account is None else f"the training's own {account.mechanism} accountant",
        grade=Grade.DECLARED if because else Grade.MEASURED,
        because=because,
        fixed_size=fixed,
        record=record,
    )


def _recorded_parts(record: Record) -> tuple[tuple[Part, ...], str, str, FixedSize | None]:
    """Return the parts of recorded steps, on what grounds, that in brief, and what fixed sizes allow."""
    sampler, steps = record.header.sampler, record.steps
    weakest = min(step.noise_multiplier for step in steps)
    if sampler.law == "poisson":
        return _poisson(record)
    if sampler.law in ("weighted", "unknown"):
        raise CheckError(
            f"training record: rows were drawn by a {sampler.kind}, "
            + (
                "with unequal probabilities: rows drawn more often leak more, and weights that follow the "
                "data leak too, so no epsilon is computed. Train with Poisson sampling and weigh the loss"
                if sampler.law == "weighted"
                else "of which nothing is known: no epsilon is computed. Train with Poisson sampling "
                "(PrivacyEngine.make_private(poisson_sampling=True))"
            )
        )
    n = record.header.dataset_size
    most = max(step.rows for step in steps)
    if record.ending.heaviest is not None:
        times, rows = max(1, record.ending.heaviest), 1
    elif sampler.law == "shuffled":
        times, rows = passes_over(n, [step.rows for step in steps]), max(step.draws for step in steps)
    else:
        times, rows = len(steps), max(1, most if sampler.law == "with_replacement" else 1)
    how = (
        f"{sampler.law.replace('_', ' ')} ({sampler.kind}): a row's uses count as up to {times:,} full "
        "batches "
        f"of {len(steps):,}. " + _NOT_SAMPLED.format("shuffling" if sampler.law == "shuffled" else "it")
    )
    fixed = None
    if sampler.law == "fixed_size" and len({step.noise_multiplier for step in steps}) == 1 and most < n:
        require_independent_uses(
            record.ending.participation, len(steps), sum(s.rows for s in steps) / len(steps) / n, "fixed_size"
        )
        fixed = FixedSize(weakest, most, len(steps))
    brief = f"{times:,} passes accounted without amplification by sampling"
    return (Part(weakest, times, rows=rows),), how, brief, fixed


def _poisson(record: Record) -> tuple[tuple[Part, ...], str, str, None]:
    sampler, steps = record.header.sampler, record.steps
    n, rate = record.header.dataset_size, sampler.rate
    if not rate:
        raise CheckError("training record: sampling is poisson, and the sampler's rate is missing or 0")
    draws = sum(step.draws for step in steps)
    single = [step.rows for step in steps if step.draws == 1]
    if single:
        require_poisson_sizes(single, n, rate)
    require_independent_uses(record.ending.participation, draws, rate, f"poisson with sampling_rate {rate:g}")
    kinds = Counter((step.noise_multiplier, step.draws) for step in steps)
    parts = tuple(Part(noise, times, rate, uses) for (noise, uses), times in kinds.items())
    how = f"Poisson with rate {rate:g} in {len(steps):,} steps, as recorded"
    brief = ""
    if draws > len(steps):
        brief = f"{draws / len(steps):.3g} batches accumulated in each step: a row can count more than once"
        how += f"; {brief}"
    return parts, how, brief, None


def _require_mechanism(record: Record) -> None:
    """Refuse a training whose noise or clipping was not what it declared.

    Raises:
        CheckError: naming each lie.
    """
    found = []
    if record.ending.noise is not None:
        found += contradictions(record.ending.noise, record.ending.layers, "that the training added")
    if record.ending.probe is not None:
        found += probe_contradictions(record.ending.probe)
    worst = max((s for s in record.steps if s.clip_deviation is not None), key=_deviation, default=None)
    if worst is not None and _deviation(worst) > CLIP_TOLERANCE:
        found.append(
            f"the clipped sum of step {worst.number:,} differs by {_deviation(worst):.3g} clipping "
            "norms for each "
            f"row from the sum of its gradients clipped at {worst.max_grad_norm:g}"
        )
    if found:
        raise CheckError("training record: " + "; ".join(found))


def _deviation(step: Step) -> float:
    return step.clip_deviation or 0.0


def _endless(steps: tuple[Step, ...]) -> str:
    silent = sum(not step.noise_multiplier for step in steps)
    if silent:
        where = "" if silent == len(steps) else f" in {silent:,} of {len(steps):,} steps"
        return f"no noise was added{where}: epsilon is infinite"
    if any(step.max_grad_norm is None for step in steps):
        return "max_grad_norm is null, so that no gradient was clipped: epsilon is infinite"
    if any(step.noise_multiplier < LEAST_NOISE for step in steps):
        raise CheckError(
            "training record: noise_multiplier is too small to be accounted for; it is the standard "
            "deviation "
            "of the noise divided by the clipping norm"
        )
    return ""


def _require_delta(delta: float, n: int) -> None:
    if not 0 < delta < 1 / n:
        raise CheckError(
            f"delta={delta:g} must be above 0 and below 1/dataset_size = {1 / n:.3g}: a larger delta allows "
            "publishing a row outright"
        )


def _stated(record: TrainingRecord, seal: str) -> TrainingRun:
    """Return the training that somebody's figures tell of; nothing shows that it happened."""
    noise = record.noise_multiplier
    endless, how, brief = "", "", ""
    parts: tuple[Part, ...] = ()
    if not noise:
        endless = "no noise was added: epsilon is infinite"
    elif record.max_grad_norm is None:
        endless = "max_grad_norm is null, so that no gradient was clipped: epsilon is infinite"
    elif record.sampling == "poisson":
        parts = (Part(noise, record.steps, record.sampling_rate),)
        how = f"Poisson with rate {record.sampling_rate:g} in {record.steps:,} steps, as stated"
    elif record.sampling == "none":
        parts = (Part(noise, record.steps),)
        how = "none is stated, so that any row may be in any batch: all steps count, without amplification"
    else:
        passes = most_passes(record)
        parts = (Part(noise, passes),)
        brief = f"{passes:,} passes accounted without amplification by sampling"
        how = (
            f"shuffled: a row is in up to {passes:,} of {record.steps:,} batches, each of which counts "
            "in full. " + _NOT_SAMPLED.format("shuffling")
        )
    return TrainingRun(
        seal=seal,
        rows=record.dataset_size,
        law=record.sampling,
        parts=parts,
        endless=endless,
        how=endless or how,
        brief=brief,
        noise_multiplier=noise,
        delta=record.delta,
        seed=record.seed,
        claim=record.epsilon,
        claimant="the record",
        grade=Grade.DECLARED,
        because="its figures were stated, not recorded: attach a PrivacyRecorder to the training, "
        "or accept the grade 'declared' in the policy",
    )
