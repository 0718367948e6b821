"""The differential-privacy budget that the training spent, recomputed from what the training recorded."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

from pytest_mlgate.contract import AtMost, check
from pytest_mlgate.errors import CheckError, MissingExtra
from pytest_mlgate.evidence import Findings, Grade, Interval, Measurement
from pytest_mlgate.subject import Subject

from ._training_record import TrainingRecord, most_passes, read_record, require_consistent

#: Grids of the privacy loss, in epsilon. Every one gives an upper bound; a finer one a tighter bound.
_GRIDS = (1e-4, 1e-5)
#: Above this epsilon the fine grid no longer fits into memory, and nobody's bound is near.
_COARSE_ABOVE, _COARSE_GRID = 100.0, 1e-3
#: Above this epsilon the grid takes minutes; the RDP bound, which is valid too, stands for it.
_RDP_ONLY_ABOVE = 3000.0


@check("privacy_epsilon", guards_training_rows=True)
def privacy_epsilon(subject: Subject, epsilon: AtMost = None, *, delta: float = 1e-5) -> Findings:
    """Epsilon of the training at the given delta, recomputed from the training record.

    `epsilon` bounds the recomputed figure; `delta` must be below 1 / (number of training rows). No epsilon
    in the record is believed. Poisson-sampled batches are accounted with amplification by sampling; batches
    from a shuffled table without it, since shuffling is not Poisson sampling (Chua et al. 2024, ICML:
    2403.17673).

    Raises:
        CheckError: the record is malformed, contradicts itself or the training table, or delta is unusable.
        MissingExtra: dp-accounting is not installed.
    """
    if subject.training_record is None:
        return Findings(measurements=(_no_record(epsilon),))
    record = read_record(subject.training_record)
    train = subject.data.tables.get("train")
    require_consistent(record, delta, None if train is None else len(train))
    bound = None if epsilon is None else "epsilon"
    found: tuple[Measurement, ...]
    mechanism, how = _mechanism(record)
    if mechanism is None:
        found = (_infinite(record, bound, how),)
    else:
        found = _finite(record, mechanism, delta, bound)
    return Findings(
        measurements=found,
        assumptions={
            "accountant": "privacy loss distribution of dp-accounting, rounded up; RDP as a cross-check",
            "neighbouring data sets": "differ in one row, added or removed; with batches of fixed size, one "
            "row whose contribution is left out. A person with k rows has up to k times this epsilon",
            "sampling": how,
            "delta": f"{delta:g} is the requirement's; the record states {record.delta:g}",
            "discretisation": f"privacy loss in steps of {_GRIDS[0]:g} or finer ({_COARSE_GRID:g} above "
            f"epsilon {_COARSE_ABOVE:g}), rounded up, so that the figure is an upper bound",
            "noise": f"Gaussian of {record.noise_multiplier:g} times the clipping norm, drawn secretly: who "
            f"knows the seed can subtract it (seed in the record: {record.seed})",
        },
        not_covered=(
            "whether the training that ran is the training that was recorded",
            "choices made by looking at the data: preprocessing, hyperparameters, earlier trainings",
            "whether dataset_sha256 is that of the training table"
            + ("" if train is not None else "; no training table was given to count rows of"),
        ),
    )


def _no_record(epsilon: float | None) -> Measurement:
    return Measurement(
        metric="epsilon",
        value=None,
        unit="",
        n=0,
        interval=None,
        method="recomputed from the training record",
        grade=Grade.MISSING,
        bound=None if epsilon is None else "epsilon",
        detail="no training record was given: provide the mlgate_training_record fixture, or "
        "training_record in the policy",
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Mechanism:
    """A Gaussian mechanism, sampled with a rate (1: all rows), composed with itself."""

    noise_multiplier: float
    sampling_rate: float
    times: int


def _mechanism(record: TrainingRecord) -> tuple[_Mechanism | None, str]:
    """Return what the accountant has to account for, and on what grounds; `None` where nothing bounds it."""
    noise = record.noise_multiplier
    if not noise:
        return None, "no noise was added: epsilon is infinite"
    if record.max_grad_norm is None:
        return None, "max_grad_norm is null, so that no gradient was clipped: epsilon is infinite"
    if record.sampling == "poisson":
        mechanism = _Mechanism(noise, record.sampling_rate, record.steps)
        return mechanism, f"Poisson with rate {record.sampling_rate:g} in {record.steps:,} steps, as recorded"
    if record.sampling == "none":
        how = "none is recorded, so that any row may be in any batch: all steps count, without amplification"
        return _Mechanism(noise, 1.0, record.steps), how
    passes = most_passes(record)
    how = (
        f"shuffled: a row is in up to {passes:,} of {record.steps:,} batches, each of which counts in full. "
        "The figure is larger than one that takes shuffling for Poisson sampling, because only independent "
        "sampling is known to amplify privacy that much"
    )
    return _Mechanism(noise, 1.0, passes), how


def _infinite(record: TrainingRecord, bound: str | None, why: str) -> Measurement:
    return Measurement(
        metric="epsilon",
        value=None,
        unit="",
        n=record.dataset_size,
        interval=None,
        method="recomputed from the training record",
        bound=bound,
        detail=why,
        unbounded=True,
    )


def _finite(
    record: TrainingRecord, mechanism: _Mechanism, delta: float, bound: str | None
) -> tuple[Measurement, Measurement]:
    value, by_rdp, method = _epsilon(mechanism, delta)
    detail = f"{record.sampling} sampling, noise multiplier {record.noise_multiplier:g}, delta {delta:g}"
    if record.sampling == "shuffled":
        detail += f", {mechanism.times:,} passes accounted without amplification by sampling"
    if delta != record.delta:
        detail += f" (the record states {record.delta:g})"
    if record.epsilon is not None:
        at_claim = value if delta == record.delta else _epsilon(mechanism, record.delta)[0]
        if record.epsilon < at_claim * (1 - 1e-3):
            detail += (
                f"; the record claims epsilon {record.epsilon:.4g} at delta {record.delta:g}, and its own "
                f"figures give {at_claim:.4g}"
            )
    recomputed = Measurement(
        metric="epsilon",
        value=value,
        unit="",
        n=record.dataset_size,
        interval=Interval(low=value, high=value, confidence=1.0),
        method=method,
        bound=bound,
        detail=detail,
    )
    cross_check = dataclasses.replace(
        recomputed,
        metric="epsilon_rdp",
        value=by_rdp,
        interval=Interval(low=by_rdp, high=by_rdp, confidence=1.0),
        method="RDP accountant (dp-accounting): a looser upper bound, as a cross-check",
        bound=None,
        detail="",
    )
    return recomputed, cross_check


def _epsilon(mechanism: _Mechanism, delta: float) -> tuple[float, float, str]:
    """Return epsilon by privacy loss distribution, epsilon by RDP, and how the first was computed.

    Raises:
        CheckError: the two upper bounds are the wrong way round on the finest grid.
    """
    try:
        import dp_accounting
        from dp_accounting.pld import PLDAccountant
        from dp_accounting.rdp import RdpAccountant
    except ImportError:
        raise MissingExtra("dp-accounting", "privacy") from None
    event: Any = dp_accounting.GaussianDpEvent(mechanism.noise_multiplier)
    if mechanism.sampling_rate < 1:
        event = dp_accounting.PoissonSampledDpEvent(mechanism.sampling_rate, event)
    event = dp_accounting.SelfComposedDpEvent(event, mechanism.times)
    relation = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    with _quiet():
        by_rdp = float(RdpAccountant(neighboring_relation=relation).compose(event).get_epsilon(delta))
        if by_rdp > _RDP_ONLY_ABOVE:
            return by_rdp, by_rdp, "RDP accountant (dp-accounting); the privacy loss is too spread for a grid"
        for grid in (_COARSE_GRID,) if by_rdp > _COARSE_ABOVE else _GRIDS:
            value = float(PLDAccountant(relation, grid).compose(event).get_epsilon(delta))
            if value <= by_rdp * (1 + 1e-6):
                return value, by_rdp, f"PLD accountant (dp-accounting), pessimistic, grid {grid:g}"
    raise CheckError(
        f"the accountants contradict each other: PLD gives {value:.4g} and RDP {by_rdp:.4g}, and PLD must "
        "not be the larger one; so many steps with so little effect need another accountant"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep dp-accounting's warnings about single RDP orders, which it skips safely, off the terminal."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
