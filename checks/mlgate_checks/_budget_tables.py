"""What stands beside the budget for information: batch sizes, arithmetic, and what compression changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.candidate import Model, OnnxModel
from pytest_mlgate.candidate.model import Scores, decisions
from pytest_mlgate.dataset import Frame
from pytest_mlgate.evidence import Cell, Table
from pytest_mlgate.hardware.arithmetic import count, floor
from pytest_mlgate.hardware.target import Target
from pytest_mlgate.hardware.throughput import Batching
from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import paired_difference_interval
from pytest_mlgate.subject import Subject

from ._lost_accuracy import group_members

#: Standard deviations of every feature by which rows are shaken to see whether decisions hold.
_SHAKE = 0.1
_BINS = 10


def batch_table(seen: Sequence[Batching], percentile: float) -> list[Table]:
    """Return what each batch size gave in one process, with the best size that keeps the latency bound."""
    if not seen:
        return []
    best = max((b for b in seen if b.within), key=lambda b: b.rows_per_s, default=None)
    found = f"batch {best.batch} gives most rows" if best else "no batch size is"
    return [
        Table(
            title="Batch sizes",
            columns=("batch", "rows/s", f"p{percentile:g} of a batch, ms", "within the latency bound"),
            rows=tuple(
                (b.batch, round(b.rows_per_s), round(b.latency_ms, 4), "yes" if b.within else "no")
                for b in seen
            ),
            note=f"Within the latency bound {found}. One process, for information: a bound on throughput is "
            "judged on processes of its own.",
        )
    ]


def arithmetic_table(subject: Subject, place: Target) -> list[Table]:
    """Return multiply-accumulates, bytes, and the machine's limits beside the model's own time."""
    if not isinstance(subject.release, OnnxModel) or place.backend is None:
        return []
    arithmetic = count(subject.release)
    rows: list[tuple[Cell, ...]] = [
        ("multiply-accumulates of one row", arithmetic.multiply_accumulates, ""),
        ("bytes of weights", arithmetic.weight_bytes, ""),
    ]
    limits = floor(place, subject.release, subject.data.tables["test"], arithmetic)
    if limits is not None:
        rows += [
            ("one row takes (median)", round(limits.median_us, 3), "us"),
            ("an empty session takes", round(limits.empty_session_us, 3), "us"),
            *(
                [("its arithmetic at this machine's fastest", round(limits.arithmetic_us, 3), "us")]
                if limits.arithmetic_us is not None
                else []
            ),
            ("reading its weights at this machine's fastest", round(limits.memory_us, 3), "us"),
            ("times above the largest of these limits", round(limits.median_us / limits.floor_us, 3), ""),
        ]
    uncounted = f" Not counted: {', '.join(arithmetic.uncounted)}." if arithmetic.uncounted else ""
    if arithmetic.reduced_precision:
        uncounted += " Products of fewer bits than single precision have no such limit here."
    note = (
        "Limits of one thread: fastest single-precision matrix product, fastest reading of so many bytes "
        "(from the cache where they fit), and a model with the "
        f"same inputs that does nothing.{uncounted}"
    )
    return [
        Table(title="Arithmetic and limits", columns=("what", "value", "unit"), rows=tuple(rows), note=note)
    ]


def effects_table(subject: Subject) -> list[Table]:
    """Return what compression did to each group, to calibration and to robustness."""
    parent, release = subject.parent, subject.release
    if parent.identity.digest == release.identity.digest:
        return []
    before, after = subject.scores(parent), subject.scores()
    if subject.data.task == "regression":
        return [_moved_values(subject, before, after)]
    right = subject.right(parent, before), subject.right(release, after)
    everyone = {"all rows": np.ones(len(before), bool)}
    rows = [
        _group_row(subject, name, members, right, (before, after))
        for name, members in {**everyone, **group_members(subject)}.items()
    ]
    frame = subject.data.tables["test"]
    (error_before, flips_before), (error_after, flips_after) = [
        (_calibration_error(right[i], model, scores), _share_shaken(model, scores, frame, subject))
        for i, (model, scores) in enumerate(((parent, before), (release, after)))
    ]
    return [
        Table(
            title="What compression changed",
            columns=(
                "rows of",
                "n",
                "accuracy in float",
                "accuracy as released",
                "lost (95% interval)",
                "decided positively in float",
                "as released",
                "decisions changed",
            ),
            rows=tuple(rows),
            note="Float parent against release artifact on the same rows; Tango's score intervals.",
        ),
        Table(
            title="What compression did to calibration and robustness",
            columns=("figure", "in float", "as released"),
            rows=(
                ("expected calibration error of the decision, 10 bins", error_before, error_after),
                ("decisions that flip when every feature is shaken", flips_before, flips_after),
            ),
            note=f"Features shaken by normal noise of {_SHAKE:g} of their deviation, the same for both. "
            "Plug-in figures for comparison with each other, not for a verdict.",
        ),
    ]


def _moved_values(subject: Subject, before: Scores, after: Scores) -> Table:
    """Return what compression did to the values of a regression, for all rows and for each group."""
    targets = subject.data.targets()
    everyone = {"all rows": np.ones(len(before), bool)}
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            int(members.sum()),
            *(float(f"{np.mean(np.abs(v - targets)[members]):.6g}") for v in (before, after)),
            float(f"{np.max(np.abs(after - before)[members]):.6g}"),
        )
        for name, members in {**everyone, **group_members(subject)}.items()
    ]
    columns = ("rows of", "n", "mean absolute error in float", "as released", "largest change of a value")
    note = "Float parent against release artifact on the same rows, in units of the label."
    return Table(title="What compression changed", columns=columns, rows=tuple(rows), note=note)


def _group_row(
    subject: Subject,
    name: str,
    members: NDArray[np.bool_],
    right: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    scores: tuple[Scores, Scores],
) -> tuple[Cell, ...]:
    n = int(members.sum())
    lost, won = (int(np.sum(right[i] & ~right[1 - i] & members)) for i in (0, 1))
    low, high = paired_difference_interval(lost, won, n, Tails(lower=0.025, upper=0.025))
    decided = [
        _decided(model, s)[members]
        for model, s in zip((subject.parent, subject.release), scores, strict=True)
    ]
    binary = scores[0].ndim == 1
    return (
        name,
        n,
        round(float(right[0][members].mean()), 4),
        round(float(right[1][members].mean()), 4),
        f"{(lost - won) / n:+.4f} ({low:+.4f} to {high:+.4f})",
        round(float(decided[0].mean()), 4) if binary else None,
        round(float(decided[1].mean()), 4) if binary else None,
        int(np.sum(decided[0] != decided[1])),
    )


def _decided(model: Model, scores: Scores) -> NDArray[np.int64]:
    chosen = decisions(model, scores) if scores.ndim == 1 else scores.argmax(axis=1)
    return np.asarray(chosen, np.int64)


def _calibration_error(right: NDArray[np.bool_], model: Model, scores: Scores) -> float:
    """Return the expected calibration error of the decision's confidence (Guo et al. 2017, section 2)."""
    positive = _decided(model, scores)
    confidence = np.where(positive == 1, scores, 1 - scores) if scores.ndim == 1 else scores.max(axis=1)
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(float(right[bins == b].mean()) - float(confidence[bins == b].mean())) * int(np.sum(bins == b))
        for b in np.unique(bins).tolist()
    ]
    return round(sum(gaps) / len(scores), 4)


def _share_shaken(model: Model, scores: Scores, frame: Frame, subject: Subject) -> float | None:
    features = [n for n in subject.data.feature_names if frame[n].dtype.is_float()]
    if not features:
        return None
    # Not the bare seed: a table that was drawn with the same one would be shaken along with itself.
    chance = np.random.default_rng([subject.seed, *b"shaken"])
    shaken = {}
    for name in features:
        values = np.asarray(frame[name].to_numpy())
        noise = chance.normal(size=len(values)) * np.nanstd(values) * _SHAKE
        shaken[name] = (values + noise).astype(values.dtype)
    moved = model.predict_proba(frame.with_columns(*(_series(n, v, frame) for n, v in shaken.items())))
    return round(float(np.mean(_decided(model, moved) != _decided(model, scores))), 4)


def _series(name: str, values: NDArray[Any], frame: Frame) -> Any:
    return nw.new_series(name, values, backend=nw.get_native_namespace(frame))
