"""The uniform model: scores for the rows of a table, an identity, and ONNX bytes where there are any."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import codec
from ..dataset import Frame, matrix
from ..errors import CheckError
from ..evidence import Identity
from .scores import Output, Scores, as_scores, positive_scores, require_probabilities

__all__ = [
    "CALLABLE",
    "BlackBox",
    "Model",
    "OnnxModel",
    "Output",
    "Scores",
    "Source",
    "answers_values",
    "cpu_session",
    "decisions",
    "positive_scores",
    "require_rowwise",
]

#: Largest difference between a row asked alone and among others, as a probability or as a share of the
#: standard deviation of the values: dynamic int8 scales by batch.
ROWWISE_TOLERANCE = 0.05
_ROWWISE_ROWS = 16
#: The kind of a model that has no bytes.
CALLABLE = "python callable"


class Model(Protocol):
    """What every check may ask of a model."""

    @property
    def identity(self) -> Identity:
        """Name, kind and digest of what is measured."""
        ...

    @property
    def threshold(self) -> float:
        """The probability from which on a row counts as positive."""
        ...

    def predict_proba(self, frame: Frame) -> Scores:
        """Return the probability of the positive class, shape (n,), or of every class, shape (n, k)."""
        ...

    def predict(self, frame: Frame) -> Scores:
        """Return the values of a regression, shape (n,), and what `predict_proba` returns otherwise."""
        ...


@dataclass(frozen=True, eq=False)
class Source:
    """What an exported model was made from, for recipes that train.

    Args:
        module: the torch module, in the state that was exported.
        loss: from (outputs, labels) to a scalar tensor; `None` for the standard loss of the output.
        student: an untrained torch module into which the candidate may be distilled.
    """

    module: Any = None
    loss: Callable[[Any, Any], Any] | None = None
    student: Any = None


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """An ONNX graph that ONNX Runtime runs on the CPU with one thread."""

    onnx: bytes = field(repr=False)
    name: str
    kind: str
    features: tuple[str, ...]
    output: Output = "probability"
    threshold: float = 0.5
    #: Which of two score columns is the positive class.
    positive_column: int = 1
    detail: str = ""
    #: What it was exported from; a variant has none of its own.
    source: Source = field(default=Source(), repr=False)
    #: What an adapter (LoRA and the like) added, where the candidate came with one.
    adapter: Any = field(default=None, repr=False)
    #: Its digest is that of the ONNX bytes: the file that would ship.
    identity: Identity = field(init=False)

    def __post_init__(self) -> None:
        """Take the digest once: every check asks for it."""
        identity = Identity(
            name=self.name,
            kind=self.kind,
            digest=codec.digest(self.onnx),
            size_bytes=len(self.onnx),
            detail=self.detail,
        )
        object.__setattr__(self, "identity", identity)

    @functools.cached_property
    def session(self) -> Any:
        """The ONNX Runtime session, CPU provider only, one thread."""
        return cpu_session(self.onnx)

    @property
    def batch(self) -> int:
        """The number of rows that one run takes: 1 unless the graph fixes another."""
        return self._fixed_batch or 1

    @property
    def free_batch(self) -> bool:
        """Whether the graph takes any number of rows at once."""
        return self._fixed_batch is None

    @functools.cached_property
    def _fixed_batch(self) -> int | None:
        """The batch dimension that the graph fixes, `None` where it is free."""
        fixed = [i.shape[0] for i in self.session.get_inputs() if i.shape and isinstance(i.shape[0], int)]
        return int(fixed[0]) if fixed and fixed[0] > 0 else None

    def feeds(self, frame: Frame) -> dict[str, NDArray[Any]]:
        """Return the graph's inputs for the rows: one matrix, or one column per named input."""
        inputs = self.session.get_inputs()
        if len(inputs) == 1:
            values = matrix(frame, self.features)
            shape = [d for d in inputs[0].shape[1:] if isinstance(d, int)]
            if len(shape) > 1:
                values = values.reshape(len(values), *shape)
            return {inputs[0].name: values.astype(_DTYPES.get(inputs[0].type, np.float32), copy=False)}
        return {i.name: _column(frame, i.name, i.type) for i in inputs}

    def predict_proba(self, frame: Frame) -> Scores:
        """Return probabilities, shape (n,) or (n, k).

        Raises:
            CheckError: the session refuses the rows, or answers with something that is no probability; or
                the model answers with values.
        """
        require_probabilities(self.name, self.output)
        return self.predict(frame)

    def predict(self, frame: Frame) -> Scores:
        """Return values, shape (n,), or probabilities, shape (n,) or (n, k): what the model answers with.

        Raises:
            CheckError: the session refuses the rows, or answers with something that is neither.
        """
        try:
            raw = self._run(self.feeds(frame), len(frame))
        except CheckError:
            raise
        except Exception as error:  # ONNX Runtime has no common base for its errors
            raise CheckError(f"{self.name} could not be run on the rows: {error}") from None
        return self._as_scores(raw, len(frame))

    def scores_of(self, answers: Sequence[Any], rows: int) -> Scores:
        """Return what a run elsewhere answered with, as `predict` would.

        Raises:
            CheckError: the answers hold no probabilities or values for so many rows.
        """
        return self._as_scores(_scores_among(answers), rows)

    def _as_scores(self, raw: NDArray[Any], rows: int) -> Scores:
        return as_scores(raw, self.output, self.name, rows, self.positive_column)

    def _run(self, feeds: Mapping[str, NDArray[Any]], rows: int) -> NDArray[Any]:
        size = self._fixed_batch
        if size is None or size == rows:
            return _scores_among(self.session.run(None, feeds))
        parts = []
        for start in range(0, rows, size):
            # The last part is filled up with rows taken again from the start; their answers are dropped.
            index = np.arange(start, start + size) % rows
            answer = _scores_among(self.session.run(None, {n: v[index] for n, v in feeds.items()}))
            if len(answer) != size:
                raise CheckError(f"{self.name} answered {size} rows with an array of shape {answer.shape}")
            parts.append(answer)
        return np.asarray(np.concatenate(parts)[:rows])


@dataclass(frozen=True, eq=False)
class BlackBox:
    """Any Python callable from a feature matrix to scores: measured as it is, never compressed."""

    function: Callable[[NDArray[np.float32]], Any]
    name: str
    features: tuple[str, ...]
    digest: str
    output: Output = "probability"
    threshold: float = 0.5
    positive_column: int = 1

    @property
    def identity(self) -> Identity:
        """The digest is of the answers on the test rows: a callable has no bytes that could be hashed."""
        return Identity(
            name=self.name,
            kind=CALLABLE,
            digest=self.digest,
            detail="digest of its answers on the test rows; a callable has no bytes to hash",
        )

    def predict_proba(self, frame: Frame) -> Scores:
        """Return probabilities, shape (n,) or (n, k).

        Raises:
            CheckError: the callable answers with something that is no probability, or it answers with values.
        """
        require_probabilities(self.name, self.output)
        return self.predict(frame)

    def predict(self, frame: Frame) -> Scores:
        """Return values, shape (n,), or probabilities, shape (n,) or (n, k): what the callable answers with.

        Raises:
            CheckError: the callable breaks, or answers with something that is neither.
        """
        rows = matrix(frame, self.features)
        try:
            answer = np.asarray(self.function(rows), dtype=np.float64)
        except Exception as error:  # the callable is the user's own code
            raise CheckError(
                f"{self.name} broke on {len(rows)} rows: {type(error).__name__}: {error}"
            ) from None
        return as_scores(answer, self.output, self.name, len(frame), self.positive_column)


def require_rowwise(model: Model, frame: Frame) -> None:
    """Refuse a model whose answer for a row depends on the rows beside it, or on chance.

    Every check asks for whole tables, and the model is used on single rows: what is measured on one must
    hold for the other. Rows are spread over the table, asked together and one by one.

    Raises:
        CheckError: the answers differ by more than `ROWWISE_TOLERANCE`.
    """
    rows = frame.gather_every(max(1, len(frame) // _ROWWISE_ROWS)).head(_ROWWISE_ROWS)
    answers = model.predict(frame)
    together = answers[:: max(1, len(frame) // _ROWWISE_ROWS)][: len(rows)]
    alone = np.concatenate([model.predict(rows[i : i + 1]) for i in range(len(rows))])
    difference = float(np.max(np.abs(together - alone), initial=0.0))
    accepted = ROWWISE_TOLERANCE * (_spread(answers) if answers_values(model) else 1.0)
    if difference > accepted:
        raise CheckError(
            f"{model.identity.name} answers a row differently by {difference:.3g} when it is asked alone "
            f"(accepted: {accepted:.3g}): it depends on the other rows of a batch, or on chance"
        )


def answers_values(model: Model) -> bool:
    """Return whether a model answers with the values of a regression instead of probabilities."""
    return getattr(model, "output", "probability") == "value"


def decisions(model: Model, scores: Scores) -> NDArray[np.bool_]:
    """Return which rows the model answers positively at its threshold, shape (n,); binary models only."""
    return positive_scores(scores) >= model.threshold


def _spread(values: Scores) -> float:
    """Return the standard deviation of values; of equal ones their size."""
    return float(np.std(values)) or float(np.max(np.abs(values), initial=0.0)) or 1.0


def cpu_session(onnx: bytes) -> Any:
    """Return a single-threaded ONNX Runtime session on the CPU provider.

    Raises:
        CheckError: ONNX Runtime refuses the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has no common base for its errors
        raise CheckError(f"ONNX Runtime refuses the graph: {error}") from None


_DTYPES: Mapping[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


def _column(frame: Frame, name: str, kind: str) -> NDArray[Any]:
    if name not in frame.columns:
        raise CheckError(f"the model has an input {name!r}, which is not a column of the data")
    if kind == "tensor(string)":
        return np.asarray([str(v) for v in frame[name].to_list()], dtype=object).reshape(-1, 1)
    return matrix(frame, [name]).astype(_DTYPES.get(kind, np.float32))


def _scores_among(answers: Sequence[Any]) -> NDArray[Any]:
    """Return the output that holds scores: the last one that is a floating-point array."""
    arrays = [a for a in answers if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    if not arrays:
        raise CheckError("the model has no floating-point output to read scores from")
    return arrays[-1]


def reading(model: Model) -> list[Any]:
    """Return what turns a model's bytes into decisions; with another reading, evidence is other evidence."""
    fields = ("output", "features", "positive_column")
    return [model.threshold, *(getattr(model, field, None) for field in fields)]
