"""Split-conformal prediction sets of the release artifact, from rows that it was not trained on."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.errors import CheckError
from pytest_mlgate.subject import Subject

from ._answers import Answers, Floats, Rows, answers_of

#: Calibration rows of which more than this share are test rows are the test table under another name.
_LARGEST_OVERLAP = 0.5


@dataclass(frozen=True, eq=False)
class Sets:
    """Prediction sets for the test rows: which hold the truth, and how large each is, shape (n,) both."""

    covers: NDArray[np.bool_]
    sizes: Floats
    #: The largest possible size; `None` for the intervals of a regression.
    largest: int | None
    calibration_rows: int
    #: Every set has the same size by construction.
    fixed_size: bool
    description: str


def split_conformal(subject: Subject, answers: Answers, level: float, rows: Rows) -> Sets:
    """Return the sets at `level`, calibrated on the given rows of the training table.

    Classification: all classes whose probability is at least 1 - q (LAC: Sadinle, Lei and Wasserman 2019,
    JASA 114:223). Regression: the prediction plus and minus q. q is the ceil((n + 1) level)-th smallest of
    the n calibration rows' scores: one minus the probability of the true class, or the absolute error
    (Angelopoulos and Bates 2023, "Conformal prediction: a gentle introduction", section 1).

    Raises:
        CheckError: the calibration rows are too few for the level, hold a class that the test rows do not
            have, or are the test rows.
    """
    n = len(rows)
    rank = math.ceil((n + 1) * level)
    if rank > n:
        raise CheckError(
            f"{n:,} calibration rows are too few for sets at level={level:g}: at least "
            f"{math.ceil(level / (1 - level)):,} are needed, and some hundreds for sets that are of use"
        )
    _refuse_test_rows(subject, rows)
    seen = answers_of(subject, subject.release, "train").take(rows)
    if answers.task == "multiclass" and seen.truth.min() < 0:
        raise CheckError(
            f"{int((seen.truth < 0).sum()):,} calibration rows are of classes that the test table does not "
            "have, so that their scores cannot be told apart: leave those rows out"
        )
    misfit = np.abs(seen.errors) if answers.task == "regression" else 1 - seen.of_truth
    q = float(np.partition(misfit, rank - 1)[rank - 1])
    if answers.task == "regression":
        return Sets(
            covers=np.abs(answers.errors) <= q,
            sizes=np.full(len(answers), 2 * q),
            largest=None,
            calibration_rows=n,
            fixed_size=True,
            description=f"split conformal at level {level:g}: prediction plus and minus {q:.3g}",
        )
    of_classes = (
        np.stack([1 - answers.scores, answers.scores], axis=1) if answers.task == "binary" else answers.scores
    )
    return Sets(
        covers=1 - answers.of_truth <= q,
        sizes=(1 - of_classes <= q).sum(axis=1).astype(np.float64),
        largest=of_classes.shape[1],
        calibration_rows=n,
        fixed_size=False,
        description=f"split conformal at level {level:g}: the classes of probability {1 - q:.3g} or more",
    )


def calibration_rows(subject: Subject, share: float, column: str) -> Rows:
    """Return the positions of the training rows that calibrate: a random share, or those that a column marks.

    Raises:
        CheckError: there is no training table, neither or both ways were named, or they give no rows.
    """
    subject.require_train("conformal calibration")
    if bool(share) == bool(column):
        raise CheckError(
            "conformal sets are calibrated on training rows that the model was not fitted to. Say which: "
            "calibration_column='...' (1 or true in those rows), or calibration_share=0.2 for a random share"
        )
    train = subject.data.tables["train"]
    if share:
        if not 0 < share <= 1:
            raise CheckError(f"calibration_share={share:g} is outside 0 to 1")
        count = round(share * len(train))
        return np.sort(np.random.default_rng(subject.seed).permutation(len(train))[:count])
    if column not in train.columns:
        raise CheckError(f"calibration_column={column!r} is not a column of the training table")
    marks = train[column].to_numpy()
    if not np.isin(marks, (0, 1)).all():
        raise CheckError(f"calibration_column={column!r} holds other values than 0 and 1, or false and true")
    rows = np.flatnonzero(marks.astype(bool))
    if not len(rows):
        raise CheckError(f"calibration_column={column!r} marks no row of the training table")
    return rows


def own_intervals(subject: Subject, answers: Answers, lower: str, upper: str) -> Sets:
    """Return the prediction intervals that two columns of the test table hold, for a regression.

    Raises:
        CheckError: one column is missing or not numeric, the task is another, or intervals are not usable.
    """
    if not lower or not upper:
        raise CheckError("prediction intervals need both columns: lower='...' and upper='...'")
    if answers.task != "regression":
        raise CheckError("lower and upper are ends of intervals for an amount: they need task='regression'")
    ends = []
    for name in (lower, upper):
        if name not in subject.data.tables["test"].columns:
            raise CheckError(f"the test table has no column {name!r} with ends of prediction intervals")
        try:
            ends.append(np.asarray(subject.data.tables["test"][name].to_numpy(), np.float64))
        except (TypeError, ValueError):
            raise CheckError(f"column {name!r} with ends of prediction intervals is not numeric") from None
    low, high = ends
    broken = int((~(low <= high)).sum())  # NaN is not smaller either
    if broken:
        raise CheckError(f"{lower!r} is missing or above {upper!r} in {broken:,} of {len(low):,} test rows")
    return Sets(
        covers=(low <= answers.truth) & (answers.truth <= high),
        sizes=high - low,
        largest=None,
        calibration_rows=0,
        fixed_size=False,
        description=f"prediction intervals in the columns {lower} and {upper}",
    )


def _refuse_test_rows(subject: Subject, rows: Rows) -> None:
    of_train, of_test = (_row_hashes(subject, role) for role in ("train", "test"))
    shared = int(np.isin(of_train[rows], of_test).sum())
    if shared > _LARGEST_OVERLAP * len(rows):
        raise CheckError(
            f"{shared:,} of {len(rows):,} calibration rows are test rows too; sets that are calibrated on "
            "the rows that judge them cover them whatever the model: calibrate on other rows"
        )


def _row_hashes(subject: Subject, role: str) -> NDArray[np.uint64]:
    """Return a hash of features and label for each row, shape (n,): equal for equal rows."""
    table = subject.data.tables[role]
    hashes = np.zeros(len(table), np.uint64)
    for name in (*subject.data.feature_names, subject.data.label):
        if table[name].dtype.is_numeric():
            cells = np.asarray(table[name].to_numpy(), np.float64).view(np.uint64)
        else:
            groups, codes = subject.data.group_codes(name, role)
            cells = np.asarray([zlib.crc32(group.encode()) for group in groups], np.uint64)[codes]
        hashes = (hashes ^ cells) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    return hashes
