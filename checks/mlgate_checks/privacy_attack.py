"""What an attacker learns from the release artifact about who was in the training table."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np

from pytest_mlgate.contract import AtMost, Columns, check
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Chart, Findings, Grade, Interval, Measurement, Series
from pytest_mlgate.levels import Tails
from pytest_mlgate.privacy import membership
from pytest_mlgate.subject import Subject

from ._privacy_attack_canaries import Mechanism, bounds_from, canaries_of, no_canaries
from ._privacy_attack_rows import Attacked, Overlap, attacked
from ._rows_needed import with_rows_needed
from ._slices import MOST_GROUPS, members_of

Sensitive = Annotated[tuple[str, ...], Columns(as_groups=True, most=MOST_GROUPS)]

_LOSS = (
    "advantage of the best threshold on the loss (Yeom et al. 2018); Kolmogorov-Smirnov distance of the "
    "losses of training and test rows, lower end over all thresholds at once"
)
_RATIO = (
    "advantage of the likelihood ratio of the loss, learned on half of the rows and judged on the other; "
    "score interval (Miettinen and Nurminen 1985)"
)
_FALSE_ALARMS = (0.01, 0.001)


@check("privacy_attack", reusable=False)  # the file of canaries may change under the same name
def privacy_attack(
    subject: Subject,
    *,
    max_advantage: AtMost = None,
    max_epsilon_lower_bound: AtMost = None,
    delta: float = 1e-5,
    sensitive: Sensitive = (),
    canaries: str = "",
    mechanism: Mechanism = "dp_sgd",
    overlap: Overlap = "error",
) -> Findings:
    """How well the release artifact's answers tell training rows from others, and what canaries show.

    `max_advantage` bounds the rate of recognised members less that of false alarms (0 to 1) of two attacks,
    on the loss and on its likelihood ratio, and of the first in every group of the `sensitive` columns.
    `max_epsilon_lower_bound` is the epsilon that is claimed at `delta`: a lower bound above it, shown by the
    `canaries` at the gate's confidence, refutes the claim. `canaries` is the file that `PhantomCanaries`
    wrote (JSON), or a table of `plant` (CSV, Parquet). `mechanism` says whether the claim is of DP-SGD or of
    any mechanism. Test rows that equal a training row are an error, or are left out with `overlap`.
    An attack that fails shows no leak, which is no proof of privacy.

    Raises:
        CheckError: there is no training table, which only canaries can do without; a row is in both tables,
            a loss or score is not finite, delta is not in 0 to 1, or the canaries cannot be used.
    """
    if not 0 < delta < 1:
        raise CheckError(f"delta={delta:g} must be above 0 and below 1, and well below 1 / training rows")
    found: list[Measurement] = []
    charts: list[Chart] = []
    rows = None
    # Canaries can answer alone; any other use needs training rows to recognise.
    if not canaries or max_advantage is not None or sensitive or "train" in subject.data.tables:
        rows = attacked(subject, overlap)
        bound = None if max_advantage is None else "max_advantage"
        try:
            found += _attacks(subject, rows, sensitive, max_advantage, bound)
        except ValueError as error:
            raise CheckError(f"membership cannot be attacked: {error}") from None
        charts.append(_roc(subject, rows))
    if canaries:
        bounds, chart = bounds_from(
            subject, canaries_of(subject, canaries), delta, mechanism, max_epsilon_lower_bound
        )
        found += bounds
        charts.append(chart)
    elif max_epsilon_lower_bound is not None:
        found.append(no_canaries(max_epsilon_lower_bound))
    return Findings(
        measurements=tuple(found),
        charts=tuple(charts),
        assumptions={
            "rows": "test rows were not trained on, and are drawn like the training rows: where the two "
            "differ for another reason, an attack sees that difference",
            "attacker": "knows the row, its label and the model's answer; has no model of their own",
            "loss": "squared error" if subject.data.task == "regression" else "cross-entropy of the label",
            "left out": f"{0 if rows is None else rows.left_out:,} test rows that equal a training row",
            "canaries": "each was included by its own fair coin, which nobody but the training saw",
        },
        not_covered=(
            *(("membership of ordinary rows: there is no training table",) if rows is None else ()),
            "attackers with shadow models, or with access to gradients and weights",
            "whether the file of canaries is of the training that made this model, and what else the "
            "training rows went into: see privacy_epsilon",
            "any proof of privacy: no leak shown says that these attacks failed",
        ),
    )


def _attacks(
    subject: Subject, rows: Attacked, sensitive: tuple[str, ...], most: float | None, bound: str | None
) -> list[Measurement]:
    trained = dict(members_of(subject, sensitive, "train"))
    groups = members_of(subject, sensitive)
    levels = subject.levels.split(2 + len(groups))
    tails = levels.tails("<=")
    cut = membership.halves(rows.members, rows.others, subject.seed)
    ratio = membership.judged(cut, membership.likelihood_ratio(cut), tails)
    found = [
        _by_loss(rows.members, rows.others, tails, bound),
        Measurement(
            metric="likelihood_ratio_advantage",
            value=ratio.value,
            unit="",
            n=ratio.members[1] + ratio.others[1],
            interval=Interval(low=ratio.interval[0], high=ratio.interval[1], confidence=tails.confidence),
            method=_RATIO,
            bound=bound,
            detail=f"takes {ratio.members[0]:,} of {ratio.members[1]:,} members and {ratio.others[0]:,} of "
            f"{ratio.others[1]:,} others for members",
        ),
    ]
    kept = np.full(len(subject.data.tables["test"]), -1)
    kept[rows.other_rows] = np.arange(len(rows.other_rows))
    for name, positions in groups:
        theirs = kept[positions]
        members = rows.members[trained.get(name, np.zeros(0, np.intp))]
        m = _by_loss(members, rows.others[theirs[theirs >= 0]], tails, bound)
        found.append(with_rows_needed(dataclasses.replace(m, scope=name), most, name))
    plain = subject.levels.tails("<=")
    area, (low, high) = membership.area(rows.members, rows.others, plain)
    found.append(
        _shown("attack_auc", area, (low, high), plain, rows, "ROC AUC of low loss for members; DeLong")
    )
    found += _at_low_false_alarms(cut, plain)
    found.append(_strength(ratio, plain))
    return found


def _by_loss(
    members: membership.Floats, others: membership.Floats, tails: Tails, bound: str | None
) -> Measurement:
    few = min(len(members), len(others))
    if few < membership.FEWEST_ROWS:
        return Measurement(
            metric="loss_attack_advantage",
            value=None,
            unit="",
            n=len(members) + len(others),
            interval=None,
            method=_LOSS,
            grade=Grade.MISSING,
            bound=bound,
            detail=f"{len(members)} training and {len(others)} test rows; {membership.FEWEST_ROWS} of each "
            "are needed",
        )
    value, (low, high) = membership.best_threshold(members, others, tails)
    return Measurement(
        metric="loss_attack_advantage",
        value=value,
        unit="",
        n=len(members) + len(others),
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method=_LOSS,
        bound=bound,
        detail=f"{len(members):,} training rows with a mean loss of {members.mean():.3g}, {len(others):,} "
        f"test rows with {others.mean():.3g}" + ("" if low > 0 else "; no leak shown"),
    )


def _shown(
    metric: str, value: float, interval: tuple[float, float], tails: Tails, rows: Attacked, method: str
) -> Measurement:
    return Measurement(
        metric=metric,
        value=value,
        unit="",
        n=len(rows.members) + len(rows.others),
        interval=Interval(low=interval[0], high=interval[1], confidence=tails.confidence),
        method=method,
    )


def _at_low_false_alarms(cut: membership.Halves, tails: Tails) -> list[Measurement]:
    found = []
    for allowed in _FALSE_ALARMS:
        at = membership.at_low_false_alarms(cut, allowed, tails)
        if at is None:
            continue
        hits, n = at.members
        low, high = at.recognised
        found.append(
            Measurement(
                metric=f"recognised_at_{allowed:g}_false_alarms",
                value=hits / n,
                unit="",
                n=n + at.others[1],
                interval=Interval(low=low, high=high, confidence=tails.confidence),
                method="threshold from the losses of half of the test rows, judged on the other half; "
                "Clopper-Pearson",
                detail=f"false alarms there: {at.others[0]:,} of {at.others[1]:,} "
                f"({at.false_alarms[0]:.2%} to {at.false_alarms[1]:.2%})",
            )
        )
    return found


def _strength(ratio: membership.Advantage, tails: Tails) -> Measurement:
    value = membership.strength(ratio, tails.lower)
    return Measurement(
        metric="attack_strength",
        value=value,
        unit="",
        n=ratio.members[1] + ratio.others[1],
        interval=Interval(low=value, high=value, confidence=1.0),
        method="least log ratio of the two rates of the likelihood-ratio attack; Clopper-Pearson",
        detail="on the scale of epsilon, and no bound on it: the rows of one model are no independent runs",
    )


def _roc(subject: Subject, rows: Attacked) -> Chart:
    alarms, hits = membership.roc(rows.members, rows.others)
    cut = membership.halves(rows.members, rows.others, subject.seed)
    ratio = membership.likelihood_ratio(cut)
    learned = membership.roc(-ratio(cut.members[1]), -ratio(cut.others[1]))
    series = (
        Series(name="loss", x=tuple(alarms.tolist()), y=tuple(hits.tolist())),
        Series(name="likelihood ratio", x=tuple(learned[0].tolist()), y=tuple(learned[1].tolist())),
    )
    return Chart(
        title="Attack on membership",
        kind="lines",
        x_label="test rows taken for training rows",
        y_label="training rows recognised",
        series=series,
        diagonal=True,
        note="on the diagonal the attacker guesses; the loss over all rows, the likelihood ratio over the "
        "half that it was not learned on",
    )
