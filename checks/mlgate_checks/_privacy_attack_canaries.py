"""What canaries show of a private training: lower bounds on its epsilon."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.dataset import read_table
from pytest_mlgate.errors import CheckError, Misuse
from pytest_mlgate.evidence import Chart, Grade, Interval, Measurement, Series
from pytest_mlgate.privacy.canaries import INCLUDED, read_scores
from pytest_mlgate.privacy.one_run import FEWEST_CANARIES, Audit, audit_any, audit_family
from pytest_mlgate.privacy.trade_offs import AnyMechanism, Family, Gaussian, SampledGaussian
from pytest_mlgate.subject import Subject

from ._privacy_attack_rows import losses_of

Mechanism = Literal["dp_sgd", "any"]
#: Fair coins fall so unevenly more rarely than this.
_UNFAIR = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Canaries:
    """Scores of canaries, shape (m,), higher for members, and which were members."""

    kind: str
    scores: NDArray[np.float64]
    included: NDArray[np.bool_]
    grade: Grade
    #: Sampling rate and steps of the training, where it counted them.
    sampling: tuple[float, int] | None = None


def canaries_of(subject: Subject, name: str) -> Canaries:
    """Return the canaries in a file: scores of phantoms (JSON), or a table of rows to ask the model about.

    Raises:
        CheckError: the file cannot be used; the message says why.
    """
    path = Path(name)
    found = _phantoms(path) if path.suffix == ".json" else _rows(subject, path)
    m, members = len(found.included), int(found.included.sum())
    if m < FEWEST_CANARIES:
        raise CheckError(
            f"canaries: {path.name} has {m}; {FEWEST_CANARIES} or more are needed, 1,000 are good"
        )
    if not bool(np.all(np.isfinite(found.scores))):
        broken = int((~np.isfinite(found.scores)).sum())
        raise CheckError(f"canaries: {path.name} has {broken} scores that are NaN or infinite")
    from scipy.stats import binomtest

    if binomtest(members, m).pvalue < _UNFAIR:
        raise CheckError(
            f"canaries: {members} of {m} in {path.name} are members, and a fair coin must have decided about "
            "each: a bound from other canaries would mean nothing"
        )
    return found


def _phantoms(path: Path) -> Canaries:
    read = read_scores(path)
    return Canaries(
        kind="phantom canaries",
        scores=np.asarray(read.scores, np.float64),
        included=np.asarray(read.included, np.bool_),
        grade=Grade.MEASURED if read.seal else Grade.DECLARED,
        sampling=(read.sampling_rate, read.steps),
    )


def _rows(subject: Subject, path: Path) -> Canaries:
    try:
        frame = read_table(str(path), "canary")
    except Misuse as error:
        raise CheckError(f"canaries: {error}") from None
    lacks = [c for c in (*subject.data.feature_names, subject.data.label, INCLUDED) if c not in frame.columns]
    if lacks:
        raise CheckError(f"canaries: {path.name} has no column {', '.join(map(repr, lacks))}")
    tosses = frame[INCLUDED].to_list()
    if any(value not in (True, False) for value in tosses):
        raise CheckError(f"canaries: column {INCLUDED!r} of {path.name} must be true or false in every row")
    return Canaries(
        kind="input canaries",
        scores=-losses_of(subject, frame),
        included=np.asarray(tosses, np.bool_),
        grade=Grade.MEASURED,
    )


def bounds_from(
    subject: Subject, canaries: Canaries, delta: float, mechanism: Mechanism, claim: float | None
) -> tuple[list[Measurement], Chart]:
    """Return the lower bound that answers to the claim, one for comparison, and their drawing."""
    error = subject.levels.tails("<=").lower
    family = _family(canaries, delta, mechanism)
    judged = audit_family(canaries.scores, canaries.included, family, error, subject.seed)
    plain = audit_any(canaries.scores, canaries.included, delta, error, subject.seed)
    measured = [
        _measured(
            canaries,
            judged,
            f"one-run audit in f-DP (Mahloujifar et al. 2025), {family.description}, delta {delta:g}",
            error,
            None if claim is None else "max_epsilon_lower_bound",
        ),
        _measured(
            canaries,
            plain,
            f"one-run audit (Steinke et al. 2023, theorem 5.2), any mechanism, delta {delta:g}; to compare",
            error,
            None,
            "epsilon_lower_bound_steinke",
        ),
    ]
    names = ["f-DP", "Steinke et al."]
    values: list[float | None] = [judged.epsilon, plain.epsilon]
    if claim is not None:
        names, values = ["claimed", *names], [claim, *values]
    chart = Chart(
        title=f"Epsilon: what is claimed and what {canaries.kind} show at least",
        kind="bars",
        x_label="source",
        y_label="epsilon",
        series=(Series(name="epsilon", x=tuple(names), y=tuple(values)),),
        bound=claim,
        note="an audit shows from below: a bar below the claim is no proof of it. Even ideal canaries seldom "
        "show more than about 60% of the true epsilon",
    )
    return measured, chart


def no_canaries(claim: float) -> Measurement:
    """Return the bound that nothing answers, with what would."""
    return Measurement(
        metric="epsilon_lower_bound",
        value=None,
        unit="",
        n=0,
        interval=None,
        method="one-run audit",
        grade=Grade.MISSING,
        bound="max_epsilon_lower_bound",
        detail=f"the claim of epsilon {claim:g} was not attacked, because no canaries were given: train with "
        "pytest_mlgate.privacy.canaries.PhantomCanaries and name its file in canaries=",
    )


def _family(canaries: Canaries, delta: float, mechanism: Mechanism) -> Family:
    if mechanism == "any":
        return AnyMechanism(delta)
    if canaries.sampling is None or canaries.sampling[0] >= 1:
        return Gaussian(delta)
    return SampledGaussian(delta, *canaries.sampling)


def _measured(
    canaries: Canaries,
    audit: Audit,
    method: str,
    error: float,
    bound: str | None,
    metric: str = "epsilon_lower_bound",
) -> Measurement:
    guesses = audit.guesses
    shown = (
        f"{guesses.right} of {guesses.made} guesses about {guesses.canaries} {canaries.kind} were right; at "
        f"{100 * (1 - error):.4g}% confidence the true epsilon is larger. "
    )
    if audit.epsilon <= 0:
        shown = f"no leak shown by {guesses.canaries} {canaries.kind}. "
    return Measurement(
        metric=metric,
        value=audit.epsilon,
        unit="",
        n=len(canaries.scores),
        interval=Interval(low=audit.epsilon, high=audit.epsilon, confidence=1.0),
        method=method,
        grade=canaries.grade,
        bound=bound,
        detail=f"{shown}It is a bound from below and proves no epsilon",
        n_decides=False,
    )
