"""What stands behind a performance figure: counts of right and wrong answers, or the sizes of errors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pytest_mlgate.evidence import Cell, Table
from pytest_mlgate.subject import Subject

from ._answers import Answers


def table_of(subject: Subject, models: Mapping[str, Answers], quantile: float) -> Table:
    """Return the table that fits the task, with one row or column for each model."""
    task = next(iter(models.values())).task
    if task == "binary":
        return _confusion(subject, models)
    return _by_class(subject, models) if task == "multiclass" else _errors(models, quantile)


def _confusion(subject: Subject, models: Mapping[str, Answers]) -> Table:
    thresholds = {
        "release artifact": subject.release.threshold,
        "float parent": subject.parent.threshold,
        "baseline": None if subject.baseline is None else subject.baseline.threshold,
    }
    rows: list[tuple[Cell, ...]] = []
    for name, a in models.items():
        cells = (a.chosen & a.truth, a.chosen & ~a.truth, ~a.chosen & a.truth, ~a.chosen & ~a.truth)
        rows.append((name, thresholds[name], *(int(cell.sum()) for cell in cells)))
    kinds = ("true positives", "false positives", "false negatives", "true negatives")
    return Table(title="Confusion counts", columns=("model", "threshold", *kinds), rows=tuple(rows))


def _by_class(subject: Subject, models: Mapping[str, Answers]) -> Table:
    classes = subject.data.classes
    truth = next(iter(models.values())).truth
    sizes = np.bincount(truth, minlength=len(classes))
    right = [np.bincount(truth[a.right], minlength=len(classes)) for a in models.values()]
    rows: list[tuple[Cell, ...]] = [
        (str(name), int(sizes[i]), *(int(counts[i]) for counts in right)) for i, name in enumerate(classes)
    ]
    columns = ("class", "n", *(f"right: {name}" for name in models))
    return Table(title="Right answers by class", columns=columns, rows=tuple(rows))


def _errors(models: Mapping[str, Answers], quantile: float) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, a in models.items():
        sizes = np.abs(a.errors)
        figures = (a.errors.mean(), sizes.mean(), np.quantile(sizes, 0.5), np.quantile(sizes, quantile))
        rows.append((name, *(float(figure) for figure in (*figures, sizes.max()))))
    quantiles = ("median absolute error", f"{quantile:g} quantile")
    return Table(
        title="Errors: prediction minus truth",
        columns=("model", "mean error", "mean absolute error", *quantiles, "largest"),
        rows=tuple(rows),
        note="in the unit of the label",
    )
