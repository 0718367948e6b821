"""Drawings and tables of calibration: how often things happen at each score, and how the scores spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.evidence import Cell, Chart, Measurement, Series, Table
from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import wilson
from pytest_mlgate.statistics.calibration import CalibrationError

from ._answers import Answers, Floats

#: What the whiskers of a drawing cover; no verdict rests on them.
_WHISKERS = Tails(lower=0.025, upper=0.025)
_HISTOGRAM_BINS = 20


def claims(answers: Answers) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the probabilities that are judged and whether what they speak of happened, shape (n,) each.

    Two classes: the probability of the positive class. More: that of the predicted class, and whether it is
    the true one (top-label calibration: Guo et al. 2017, "On calibration of modern neural networks").
    """
    if answers.task == "binary":
        return answers.scores, answers.truth
    return answers.scores[np.arange(len(answers)), answers.chosen], answers.right


def charts_of(models: dict[str, CalibrationError], scores: Floats) -> tuple[Chart, Chart]:
    """Return the reliability diagram of the models, and the histogram of the release artifact's scores."""
    return (
        Chart(
            title="Reliability diagram",
            kind="points",
            x_label="mean score of the bin",
            y_label="share of rows in which it happened",
            series=tuple(_points(name, error) for name, error in models.items()),
            diagonal=True,
            note="bins of about equally many rows; whiskers are 95% Wilson intervals of single bins",
        ),
        _histogram(scores),
    )


def _points(name: str, error: CalibrationError) -> Series:
    whiskers = [wilson(round(b.rate * b.n), b.n, _WHISKERS) for b in error.bins]
    return Series(
        name=name,
        x=tuple(b.score for b in error.bins),
        y=tuple(b.rate for b in error.bins),
        low=tuple(low for low, _ in whiskers),
        high=tuple(high for _, high in whiskers),
    )


def _histogram(scores: Floats) -> Chart:
    counts, edges = np.histogram(scores, bins=_HISTOGRAM_BINS, range=(0.0, 1.0))
    shares = counts / len(scores)
    return Chart(
        title="Scores",
        kind="steps",
        x_label="score",
        y_label="share of the rows",
        series=(
            Series(
                name="release artifact",
                x=tuple(float(edge) for edge in edges),
                y=(*(float(share) for share in shares), 0.0),
            ),
        ),
    )


def bins_table(error: CalibrationError) -> Table:
    """Return the bins with their rows, mean score and rate."""
    rows: list[tuple[Cell, ...]] = [(b.n, b.score, b.rate, b.rate - b.score) for b in error.bins]
    return Table(
        title="Bins of the reliability diagram",
        columns=("n", "mean score", "rate", "rate minus score"),
        rows=tuple(rows),
    )


def group_table(found: Sequence[Measurement]) -> Table:
    """Return the groups with their calibration error, worst first, those without one last."""
    rows: list[tuple[Cell, ...]] = [
        (m.scope, m.n, m.value, *((None, None) if m.interval is None else (m.interval.low, m.interval.high)))
        for m in sorted(found, key=lambda m: -1.0 if m.value is None else m.value, reverse=True)
    ]
    return Table(
        title="Calibration error by group",
        columns=("group", "n", "calibration error", "low", "high"),
        rows=tuple(rows),
        note="a small group has fewer bins; the lower ends hold for all groups at once",
    )
