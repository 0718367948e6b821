"""The differential-privacy budget that the training spent, recomputed from what the training recorded."""

from __future__ import annotations

import dataclasses
from typing import Any

from pytest_mlgate.contract import AtMost, check
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Findings, Grade, Interval, Measurement
from pytest_mlgate.privacy.accounting import COARSE_ABOVE, COARSE_GRID, GRIDS, Cost, cost, cost_of_fixed_size
from pytest_mlgate.subject import Subject

from ._privacy_claims import claims_refuted
from ._privacy_report import charts, tables
from ._privacy_run import TrainingRun, read_run

#: Several runs that touched the same data: the one that ships, and all others.
BUNDLE = "https://pytest-mlgate.dev/training-records/v1"
#: Accountants round differently; a claim below the recomputed figure by more than this understates it.
_ROUNDING = 5e-3


@check("privacy_epsilon", guards_training_rows=True)
def privacy_epsilon(
    subject: Subject, epsilon: AtMost = None, *, delta: float = 1e-5, person: str | None = None
) -> Findings:
    """Epsilon of the training at the given delta, recomputed from the training record.

    `epsilon` bounds the recomputed figure; `delta` must be below 1 / (number of training rows). No epsilon
    in the record is believed. Poisson-sampled batches are accounted with amplification by sampling; batches
    from a shuffled table without it, since shuffling is not Poisson sampling (Chua et al. 2024, ICML:
    2403.17673). `person` names the column of the training table that says whose row it is: epsilon is then
    that of a person, with all rows. A record that no recorder made is only `declared`.

    Raises:
        CheckError: the record is malformed, was changed, or contradicts itself, the training table or what
            its noise, clipping and batches show; or delta is unusable.
        MissingExtra: dp-accounting is not installed.
    """
    if subject.training_record is None:
        return Findings(measurements=(_no_record(epsilon),))
    runs = _runs(subject, delta)
    released = runs[0]
    bound = None if epsilon is None else "epsilon"
    rows_of_one = _rows_of_one(subject, person)
    assumptions = _assumptions(runs, delta, person, rows_of_one)
    not_covered = _not_covered(subject, released, person, len(runs))
    endless = next((run for run in runs if run.endless), None)
    if endless is not None:
        found: tuple[Measurement, ...] = (_infinite(endless, bound),)
        refuted: list[str] = []
        result = None
    else:
        result = _cost(runs, delta, rows_of_one)
        same = len(runs) == rows_of_one == 1 and released.delta == delta
        refuted = _refuted(released, delta, result.epsilon if same else None)
        found = _finite(runs, result, delta, bound, refuted, rows_of_one)
    if released.claim is not None:
        found = (*found, _claimed(released))
    return Findings(
        measurements=found,
        tables=tables(runs, result, delta, refuted),
        charts=charts(released, result, epsilon),
        assumptions=assumptions,
        not_covered=not_covered,
    )


def _runs(subject: Subject, delta: float) -> list[TrainingRun]:
    """Return the released run and after it all others that touched the data.

    Raises:
        CheckError: a record is unusable, is there twice, or is of another table.
    """
    raw = subject.training_record
    assert raw is not None
    train = subject.data.tables.get("train")
    digest = next((i.digest for i in subject.data.identities() if i.role == "train"), "")
    records: list[Any] = [raw]
    if raw.get("schema") == BUNDLE:
        released, others = raw.get("released"), raw.get("others")
        if not isinstance(released, dict) or not isinstance(others, list):
            raise CheckError("training records: `released` must be a record, and `others` a list of records")
        records = [released, *others]
    runs: list[TrainingRun] = []
    for position, content in enumerate(records):
        if not isinstance(content, dict):
            raise CheckError(f"training records: number {position} of `others` is not a record")
        run = read_run(content, delta, None if train is None else len(train), digest)
        if any(run.seal == other.seal for other in runs):
            raise CheckError(f"training records: the record with seal {run.seal} is there twice")
        if run.rows != (runs[0] if runs else run).rows:
            raise CheckError(
                f"training records: one run had {runs[0].rows:,} rows and another {run.rows:,}; only runs on "
                "the same table are added up"
            )
        runs.append(run)
    return runs


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


def _rows_of_one(subject: Subject, person: str | None) -> int:
    """Return the most rows that one person has in the training table.

    Raises:
        CheckError: there is no training table, it has no such column, or rows without a person.
    """
    if person is None:
        return 1
    subject.require_train("epsilon of a person")
    train = subject.data.tables["train"]
    if person not in train.columns:
        raise CheckError(f"person={person!r} is no column of the training table")
    column = train[person]
    if column.null_count():
        raise CheckError(f"person={person!r} is empty in {column.null_count():,} rows: whose are they?")
    return int(column.value_counts(sort=True, name="rows")["rows"][0])


def _infinite(run: TrainingRun, bound: str | None) -> Measurement:
    return Measurement(
        metric="epsilon",
        value=None,
        unit="",
        n=run.rows,
        interval=None,
        method="recomputed from the training record",
        bound=bound,
        detail=run.endless,
        unbounded=True,
    )


def _cost(runs: list[TrainingRun], delta: float, rows_of_one: int) -> Cost:
    result = cost([part for run in runs for part in run.parts_of(rows_of_one)], delta)
    fixed = runs[0].fixed_size
    if fixed is None or len(runs) > 1 or rows_of_one > 1:
        return result
    amplified = cost_of_fixed_size(fixed.noise_multiplier, runs[0].rows, fixed.batch, fixed.steps, delta)
    if amplified >= result.epsilon:
        return result
    method = "RDP accountant (dp-accounting) for batches of fixed size, noise halved for replacing a row"
    return Cost(epsilon=amplified, by_rdp=amplified, method=method)


def _finite(
    runs: list[TrainingRun],
    result: Cost,
    delta: float,
    bound: str | None,
    refuted: list[str],
    rows_of_one: int,
) -> tuple[Measurement, ...]:
    run = runs[0]
    detail = f"{run.law} sampling, noise multiplier {run.noise_multiplier:g}, delta {delta:g}"
    detail += f", {run.brief}" if run.brief else ""
    if delta != run.delta:
        detail += f" (the record states {run.delta:g})"
    if rows_of_one > 1:
        detail += f"; of a person, who has up to {rows_of_one:,} rows"
    if len(runs) > 1:
        detail += f"; {len(runs):,} trainings on the same rows added up"
    weakest = next((r for r in runs if r.grade is Grade.DECLARED), run)
    detail += "".join(f"; {text}" for text in (*refuted, weakest.because) if text)
    recomputed = Measurement(
        metric="epsilon",
        value=result.epsilon,
        unit="",
        n=run.rows,
        interval=Interval(low=result.epsilon, high=result.epsilon, confidence=1.0),
        method=result.method,
        grade=weakest.grade,
        bound=bound,
        detail=detail,
    )
    cross_check = dataclasses.replace(
        recomputed,
        metric="epsilon_rdp",
        value=result.by_rdp,
        interval=Interval(low=result.by_rdp, high=result.by_rdp, confidence=1.0),
        method="RDP accountant (dp-accounting): a looser upper bound, as a cross-check",
        bound=None,
        detail="",
    )
    return recomputed, cross_check


def _claimed(run: TrainingRun) -> Measurement:
    return Measurement(
        metric="epsilon_claimed",
        value=run.claim,
        unit="",
        n=run.rows,
        interval=None,
        method=f"stated by {run.claimant}",
        grade=Grade.DECLARED,
        detail=f"at delta {run.delta:g}; a claim decides nothing",
    )


def _refuted(run: TrainingRun, delta: float, at_claim: float | None) -> list[str]:
    """Return which of the training's claims are not so, given epsilon at the claim's delta if it is known."""
    found = claims_refuted(run)
    if run.claim is not None:
        at_claim = cost(run.parts, run.delta).epsilon if at_claim is None else at_claim
        if run.claim < at_claim * (1 - _ROUNDING) - 1e-3:
            found.append(
                f"{run.claimant} claims epsilon {run.claim:.4g} at delta {run.delta:g}, and its own "
                "figures give "
                f"{at_claim:.4g}"
            )
        elif run.delta > delta * (1 + 1e-9):
            found.append(
                f"{run.claimant} claims epsilon {run.claim:.4g} at delta {run.delta:g}, which is easier than "
                f"the required {delta:g}"
            )
    if run.delta >= 1 / run.rows:
        found.append(f"its delta {run.delta:g} is not below 1/dataset_size = {1 / run.rows:.3g}")
    return found


def _assumptions(
    runs: list[TrainingRun], delta: float, person: str | None, rows_of_one: int
) -> dict[str, str]:
    run = runs[0]
    unit = (
        f"differ in one person of column {person!r}, added or removed with all of up to {rows_of_one:,} rows"
        if person is not None
        else "differ in one row, added or removed; with batches of fixed size, one row whose contribution is "
        "left out. A person with k rows has more than k times this epsilon at the same delta"
    )
    return {
        "accountant": "privacy loss distribution of dp-accounting, rounded up; RDP as a cross-check",
        "neighbouring data sets": unit,
        "sampling": run.how,
        "delta": f"{delta:g} is the requirement's; the record states {run.delta:g}",
        "discretisation": f"privacy loss in steps of {GRIDS[0]:g} or finer ({COARSE_GRID:g} above "
        f"epsilon {COARSE_ABOVE:g} and for mixtures of many kinds of steps), rounded up, so that the "
        "figure is "
        "an upper bound",
        "noise": f"Gaussian of {run.noise_multiplier:g} times the clipping norm, drawn secretly: who "
        f"knows the seed can subtract it (seed in the record: {run.seed})",
        "secrecy": "which rows were in which batch stays secret; the record holds batch sizes and the "
        "seed, and "
        "is not itself covered by epsilon",
    }


def _not_covered(subject: Subject, run: TrainingRun, person: str | None, runs: int) -> tuple[str, ...]:
    recorded = run.record is not None
    found = [
        "whether the released weights are those of the recorded training"
        if recorded
        else "whether the training that ran is the training that was recorded",
        "choices made by looking at the data: preprocessing, hyperparameters"
        + ("" if runs > 1 else ", earlier trainings: give their records in one bundle to add them up"),
    ]
    if not recorded or run.record is None or run.record.header.dataset_digest is None:
        found.append(
            "whether dataset_sha256 is that of the training table"
            + ("" if "train" in subject.data.tables else "; no training table was given to count rows of")
        )
    elif "train" not in subject.data.tables:
        found.append(
            "whether the recorded table is the right one: no training table was given to count rows of"
        )
    if recorded:
        found.append("a recorder that was itself changed to write what did not happen")
    if person is None:
        found.append("persons with several rows: name the column that tells them in person=")
    return tuple(found)
