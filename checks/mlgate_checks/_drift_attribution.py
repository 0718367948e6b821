"""What the drift of one column alone does to the model: its scores, its decisions, its accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.candidate.model import answers_values
from pytest_mlgate.dataset import Frame
from pytest_mlgate.evidence import Cell, Table
from pytest_mlgate.subject import Subject

from ._drift_columns import Column, Pair, Unreadable, read_pair

Rows = NDArray[np.intp]

#: The model is asked once for these rows, and once for each column.
MOST_ROWS = 5_000
WORST = 5


def attribution(subject: Subject, names: Sequence[str], role: str) -> Table | None:
    """Return what moving each column alone, as far as it drifted, does to the answers on reference rows.

    Training rows keep all columns but one, whose values become those of the current table at the same rank
    (numbers, times, ordered levels), or are exchanged in as few rows as the shares require (categories). What
    this changes is due to that column's own distribution; changes of dependence are not in it. `None` if the
    model reads none of the columns, or cannot be asked.
    """
    data = subject.data
    train, current = data.tables["train"], data.tables[role]
    rng = np.random.default_rng(subject.seed)
    rows = _sample(len(train), rng)
    frame = train[rows.tolist()]
    before = np.asarray(subject.release.predict(frame), np.float64)
    found: list[tuple[Cell, ...]] = []
    for name in names:
        if name not in data.feature_names:
            continue
        try:
            pair = read_pair(name, {"train": frame, role: current})
        except Unreadable:
            continue  # already reported as not compared
        if not (pair.reference.present.any() and pair.current.present.any()):
            continue
        at, source = exchanged_rows(pair, rng)
        after = np.asarray(subject.release.predict(_replaced(frame, name, current, at, source)), np.float64)
        found.append((name, len(at) / len(rows), *_effects(subject, before, after, rows)))
    if not found:
        return None
    return Table(
        title="What the drift of one column alone does to the model",
        columns=(
            "column",
            "rows moved",
            "mean change of score",
            "mean size of change",
            "decisions",
            "accuracy",
        ),
        rows=tuple(tuple(round(v, 5) if isinstance(v, float) else v for v in row) for row in found),
        note=f"on {len(rows):,} training rows, of which the one column was moved as far as it drifted, all "
        "else kept; decisions: share of rows decided otherwise; accuracy: its change on these rows, by their "
        "own labels. Scores are those of the positive class, with more classes of the one first decided for",
    )


def exchanged_rows(pair: Pair, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Return the reference rows that change, and for each the current row whose value it takes."""
    first, second = np.flatnonzero(pair.reference.present), np.flatnonzero(pair.current.present)
    if pair.reference.numbers is not None or pair.kind == "ordinal":
        # Ties are broken at random, so that a heap of equal values can be spread.
        to = _ordered(pair.reference, first, rng)
        source = _ordered(pair.current, second, rng)
        at = np.minimum((np.arange(len(to)) + 0.5) / len(to) * len(source), len(source) - 1).astype(np.intp)
        return to, source[at]
    levels = len(pair.reference.levels)
    old, new = pair.reference.cells[first], pair.current.cells[second]
    have = np.bincount(old, minlength=levels)
    want = np.bincount(new, minlength=levels) / len(new) * len(old)
    lost = np.maximum(0, np.round(have - want)).astype(np.intp)
    gained = np.maximum(0.0, want - have)
    leaving = [rng.choice(first[old == k], lost[k], replace=False) for k in np.flatnonzero(lost)]
    if not leaving or not gained.sum():
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    to = np.concatenate(leaving)
    weights = (gained / np.maximum(1, np.bincount(new, minlength=levels)))[new]
    return to, rng.choice(second, len(to), p=weights / weights.sum())


def _ordered(column: Column, rows: Rows, rng: np.random.Generator) -> Rows:
    return np.asarray(rows[np.lexsort((rng.random(len(rows)), column.cells[rows]))])


def _replaced(frame: Frame, name: str, current: Frame, at: Rows, source: Rows) -> Frame:
    """Return the frame with the cells of some rows of a column taken from rows of the current table."""
    if not len(at):
        return frame
    cells, others = frame[name].to_list(), current[name]
    for row, value in zip(at.tolist(), others[source.tolist()].to_list(), strict=True):
        cells[row] = value
    moved = nw.new_series(name, cells, backend=frame.implementation)
    return frame.with_columns(moved)


def _effects(
    subject: Subject, before: NDArray[np.float64], after: NDArray[np.float64], rows: Rows
) -> tuple[float, float, float | None, float | None]:
    if answers_values(subject.release):
        change = after - before
        return float(change.mean()), float(np.abs(change).mean()), None, None
    decided = [_decided(subject, scores) for scores in (before, after)]
    if before.ndim == 2:
        of = decided[0] if before.shape[1] > 2 else np.ones(len(before), np.intp)
        before, after = (s[np.arange(len(s)), of] for s in (before, after))
    change = after - before
    otherwise = float((decided[0] != decided[1]).mean())
    data = subject.data
    if data.task == "regression":
        return float(change.mean()), float(np.abs(change).mean()), otherwise, None
    truth = data.class_numbers("train")[rows]
    if data.task == "binary":
        truth = (truth == data.classes.index(data.positive)).astype(np.intp)
    right = [float((d == truth).mean()) for d in decided]
    return float(change.mean()), float(np.abs(change).mean()), otherwise, right[1] - right[0]


def _decided(subject: Subject, scores: NDArray[np.float64]) -> NDArray[np.intp]:
    if scores.ndim == 2 and scores.shape[1] > 2:
        return np.asarray(scores.argmax(axis=1))
    positive = scores if scores.ndim == 1 else scores[:, -1]
    return np.asarray(positive >= subject.release.threshold, np.intp)


def _sample(n: int, rng: np.random.Generator) -> Rows:
    if n <= MOST_ROWS:
        return np.arange(n, dtype=np.intp)
    return np.sort(rng.choice(n, MOST_ROWS, replace=False)).astype(np.intp)
