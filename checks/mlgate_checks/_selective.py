"""Accuracy and share of the rows that a model answers when it may leave out the uncertain ones."""

from __future__ import annotations

import numpy as np

from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Chart, Grade, Interval, Measurement, Series
from pytest_mlgate.levels import Levels
from pytest_mlgate.statistics import clopper_pearson

from ._answers import Answers, Floats

_MOST_POINTS = 100


def selective(
    answers: Answers, answered_from: float, levels: Levels, bounds: tuple[str | None, str | None]
) -> tuple[Measurement, Measurement]:
    """Return the accuracy among the answered rows, and their share.

    A row is answered where the probability of what the model would say is at least `answered_from` (El-Yaniv
    and Wiener 2010, "On the foundations of noise-free selective classification", JMLR 11:1605).
    """
    answered = confidence(answers) >= answered_from
    n, count = len(answers), int(answered.sum())
    tails = levels.tails(">=")
    rule = f"answered from a probability of {answered_from:g} on"
    low, high = clopper_pearson(count, n, tails)
    share = Measurement(
        metric="answered_share",
        value=count / n,
        unit="",
        n=n,
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method=f"share of the rows that are {rule}; Clopper-Pearson interval",
        bound=bounds[1],
    )
    accuracy = Measurement(
        metric="selective_accuracy",
        value=None,
        unit="",
        n=count,
        interval=None,
        method=f"share of right answers among the rows that are {rule}; Clopper-Pearson interval",
        grade=Grade.MISSING,
        bound=bounds[0],
        detail=f"none of the {n:,} rows is {rule}",
    )
    if count:
        right = int((answers.right & answered).sum())
        low, high = clopper_pearson(right, count, tails)
        accuracy = Measurement(
            metric=accuracy.metric,
            value=right / count,
            unit="",
            n=count,
            interval=Interval(low=low, high=high, confidence=tails.confidence),
            method=accuracy.method,
            bound=bounds[0],
            detail=f"{count:,} of {n:,} rows are {rule}; of all rows {answers.right.mean():.3g} are right",
        )
    return accuracy, share


def confidence(answers: Answers) -> Floats:
    """Return the probability of what the model says, shape (n,).

    Raises:
        CheckError: the task is regression.
    """
    if answers.task == "regression":
        raise CheckError(
            "selective prediction needs probabilities, and this label is an amount: leave it out"
        )
    if answers.task == "binary":
        return np.asarray(np.where(answers.chosen, answers.scores, 1 - answers.scores))
    return np.asarray(answers.scores[np.arange(len(answers)), answers.chosen])


def curve(answers: Answers) -> Chart:
    """Return the accuracy among the surest rows, by the share of rows that are answered."""
    order = np.argsort(-confidence(answers), kind="stable")
    n = len(answers)
    counts = np.unique(np.linspace(1, n, min(n, _MOST_POINTS)).astype(np.intp))
    right = np.cumsum(answers.right[order])[counts - 1] / counts
    return Chart(
        title="Accuracy by share of rows answered",
        kind="lines",
        x_label="share of the rows answered, the surest first",
        y_label="accuracy among them",
        series=(
            Series(
                name="release artifact",
                x=tuple(float(x) for x in counts / n),
                y=tuple(float(y) for y in right),
            ),
        ),
    )
