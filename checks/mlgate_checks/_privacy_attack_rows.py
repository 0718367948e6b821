"""Losses of the rows a model was trained on and of those it was not, told apart with care."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.candidate.model import positive_scores
from pytest_mlgate.dataset import Frame, is_missing
from pytest_mlgate.errors import CheckError
from pytest_mlgate.privacy.membership import probability_losses, squared_losses
from pytest_mlgate.subject import Subject

from ._answers import answers_of

Floats = NDArray[np.float64]
Overlap = Literal["error", "leave_out"]


@dataclass(frozen=True, slots=True, eq=False)
class Attacked:
    """Losses of members and others, shapes (n,) and (m,), and which rows of the two tables they are of."""

    members: Floats
    others: Floats
    member_rows: NDArray[np.intp]
    other_rows: NDArray[np.intp]
    #: Rows of the test table that were left out because the training table has them, too.
    left_out: int


def attacked(subject: Subject, overlap: Overlap) -> Attacked:
    """Return the losses of the training rows and of the test rows.

    Raises:
        CheckError: there is no training table, a row is in both, or a loss cannot be computed.
    """
    subject.require_train("privacy_attack compares training rows with test rows: it")
    shared = _in_both(subject)
    count = int(shared.sum())
    if count and overlap == "error":
        shown = ", ".join(map(str, np.flatnonzero(shared)[:5].tolist()))
        raise CheckError(
            f"{count:,} of {len(shared):,} test rows have the features and label of a training row (at "
            f"{shown}{', ...' if count > 5 else ''}): they are members and non-members at once, and hide a "
            "leak. Remove them from the test table, or leave them out here with overlap='leave_out' if they "
            "are different people who look alike"
        )
    kept = np.flatnonzero(~shared)
    return Attacked(
        members=_losses(subject, "train"),
        others=_losses(subject, "test")[kept],
        member_rows=np.arange(len(subject.data.tables["train"])),
        other_rows=kept,
        left_out=count,
    )


def losses_of(subject: Subject, frame: Frame) -> Floats:
    """Return the release artifact's losses on labelled rows of another table, shape (n,).

    Raises:
        CheckError: a label is none that the data has, or a loss cannot be computed.
    """
    data, model = subject.data, subject.release
    name = model.identity.name
    labels = frame[data.label].to_list()
    if data.task == "regression":
        truth = np.asarray(labels, np.float64)
        return _finite(squared_losses(np.asarray(model.predict(frame), np.float64) - truth), name, "canary")
    scores = np.asarray(model.predict_proba(frame), np.float64)
    strange = [value for value in labels if value not in set(data.classes)]
    if strange:
        raise CheckError(f"canaries: label {strange[0]!r} is none of the classes {data.classes[:10]}")
    if data.task == "binary":
        chance = positive_scores(scores)
        of_truth = np.where([value == data.positive for value in labels], chance, 1 - chance)
    else:
        subject.require_classes(model, scores)
        place = {value: i for i, value in enumerate(data.classes)}
        of_truth = scores[np.arange(len(labels)), [place[value] for value in labels]]
    return _finite(probability_losses(of_truth), name, "canary")


def _losses(subject: Subject, role: str) -> Floats:
    answers = answers_of(subject, subject.release, role)
    if answers.task == "regression":
        found = squared_losses(answers.errors)
    else:
        if answers.task == "multiclass" and bool(np.any(answers.truth < 0)):
            unknown = int((answers.truth < 0).sum())
            raise CheckError(
                f"{unknown:,} {role} rows have a class that the test table never shows, so that their loss "
                "cannot be told; give test rows of every class"
            )
        found = probability_losses(answers.of_truth)
    return _finite(found, subject.release.identity.name, role)


def _finite(losses: Floats, name: str, role: str) -> Floats:
    broken = int((~np.isfinite(losses)).sum())
    if broken:
        raise CheckError(
            f"the loss of {name} is NaN or infinite on {broken:,} of {len(losses):,} {role} rows, so that "
            "nothing can be said about what it gives away"
        )
    return losses


def _in_both(subject: Subject) -> NDArray[np.bool_]:
    """Return which test rows have the features and the label of some training row, shape (m,)."""
    data = subject.data
    columns = [*data.feature_names, data.label]
    seen = set(_keys(data.tables["train"], columns))
    return np.fromiter((key in seen for key in _keys(data.tables["test"], columns)), np.bool_)


def _keys(frame: Frame, columns: list[str]) -> list[tuple[Any, ...]]:
    """Return the rows as tuples in which a missing value equals another."""
    cells = [[None if is_missing(value) else value for value in frame[name].to_list()] for name in columns]
    return list(zip(*cells, strict=True))
