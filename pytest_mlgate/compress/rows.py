"""Training rows as a graph takes them, and what the graph answers to them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..candidate import OnnxModel
from ..candidate.model import cpu_session
from ..dataset import Frame
from .onnx_files import RecipeFailed, refusal
from .recipe import Material

#: Rows that fix the ranges of the activations; min-max gained nothing from more.
CALIBRATION_ROWS = 512
#: Rows for each run of a graph that takes any number: bounds the memory for its activations.
_BATCH_ROWS = 64

Feeds = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Rows:
    """Up to `limit` rows spread over a table, in batches of equal size.

    A graph with a fixed batch dimension takes batches of exactly that size. The last batch is filled up
    from the first row on: calibrators stack batches, and a repeated row moves no range.
    """

    model: OnnxModel
    frame: Frame
    limit: int = CALIBRATION_ROWS

    def batches(self) -> Iterator[Feeds]:
        """Yield the feeds of every batch."""
        size = self._batch_size
        order = np.arange(-(-self.count // size) * size) % self.count
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            yield {name: values[batch] for name, values in self._feeds.items()}

    def answers(self, onnx: bytes) -> list[NDArray[np.float64]]:
        """Return every floating-point output that has an entry for each row, of shape (rows, values).

        Raises:
            CheckError: ONNX Runtime refuses the graph.
            RecipeFailed: it breaks on the rows, or has no such output.
        """
        session = self.model.session if onnx == self.model.onnx else cpu_session(onnx)
        size = self._batch_size
        collected: list[list[NDArray[np.float64]]] = []
        for feeds in self.batches():
            try:
                answers = session.run(None, feeds)
            except Exception as error:  # ONNX Runtime has no common base for its errors
                raise RecipeFailed(f"the graph does not run on the training rows: {error}") from None
            arrays = [a for a in answers if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
            rowwise = [a for a in arrays if a.ndim and len(a) == size and a.size]
            if not rowwise:
                raise RecipeFailed("the graph has no floating-point output with an entry for each row")
            collected.append([a.astype(np.float64).reshape(size, -1) for a in rowwise])
        return [np.concatenate(parts)[: self.count] for parts in zip(*collected, strict=True)]

    @property
    def count(self) -> int:
        """The number of rows, without those that fill up the last batch."""
        return min(len(self.frame), self.limit)

    def fewer(self, limit: int) -> Rows:
        """Return the same with at most `limit` rows."""
        return dataclasses.replace(self, limit=min(limit, self.limit))

    @functools.cached_property
    def _feeds(self) -> Feeds:
        spread = np.linspace(0, len(self.frame) - 1, self.count).round().astype(int)
        return self.model.feeds(self.frame[spread.tolist()])

    @functools.cached_property
    def _batch_size(self) -> int:
        shapes = [entry.shape for entry in self.model.session.get_inputs()]
        fixed = next((s[0] for s in shapes if s and isinstance(s[0], int) and s[0] > 0), None)
        return fixed or min(_BATCH_ROWS, self.count)


class Reader:
    """Hands the rows to ONNX Runtime's calibrators, once."""

    def __init__(self, rows: Rows) -> None:
        self._batches = rows.batches()

    def get_next(self) -> Feeds | None:
        """Return the next batch, or nothing after the last."""
        return next(self._batches, None)


def complete_rows(frame: Frame, features: Sequence[str]) -> Frame:
    """Return the rows whose numeric features are all finite: one NaN leaves a tensor without a range."""
    complete = np.ones(len(frame), bool)
    for name in features:
        if frame[name].dtype.is_numeric():
            complete &= np.isfinite(np.asarray(frame[name].to_numpy(), np.float64))
    return frame.filter(complete.tolist())


def require_finite(onnx: bytes, rows: Rows) -> None:
    """Refuse a variant that answers NaN or infinity where the model it was made from does not.

    Raises:
        RecipeFailed: with the number of rows.
    """
    pairs = zip(rows.answers(rows.model.onnx), rows.answers(onnx), strict=True)
    broken = [(np.isfinite(before) & ~np.isfinite(after)).any(axis=1) for before, after in pairs]
    bad = np.logical_or.reduce(broken)
    if bad.any():
        raise RecipeFailed(
            f"the variant answers NaN or infinity for {int(bad.sum())} of {len(bad)} training rows on which "
            "the model it was made from answers with numbers: its values are beyond the variant's range"
        )


def difference(before: Sequence[NDArray[np.float64]], after: Sequence[NDArray[np.float64]]) -> float:
    """Return the largest difference between answers, over the largest answer where that exceeds one."""
    largest = 0.0
    for a, b in zip(before, after, strict=True):
        scale = max(1.0, float(np.max(np.abs(np.nan_to_num(a)), initial=0.0)))
        largest = max(largest, float(np.max(np.abs(np.nan_to_num(a - b)), initial=0.0)) / scale)
    return largest


def finished(onnx: bytes, material: Material) -> bytes:
    """Return a variant after it was loaded and, where there are training rows, run on them.

    Raises:
        RecipeFailed: ONNX Runtime refuses the graph, it breaks on the rows, or it answers NaN or infinity.
    """
    reason = refusal(onnx)
    if reason:
        raise RecipeFailed(f"ONNX Runtime refuses the variant: {reason}")
    train = material.data.tables.get("train")
    if train is not None and len(train):
        require_finite(onnx, Rows(material.model, train))
    return onnx
