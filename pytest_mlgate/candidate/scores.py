"""What a model's raw answers mean: probabilities, logits, or the values of a regression."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..data_labels import CHOOSE_ANOTHER_METRIC
from ..errors import CheckError

Scores = NDArray[np.float64]
Output = Literal["probability", "logit", "value"]


def as_scores(raw: NDArray[Any], output: Output, name: str, rows: int, positive_column: int) -> Scores:
    """Return the raw answers as a model's scores: values, shape (n,), or probabilities, (n,) or (n, k).

    Raises:
        CheckError: they are not what the output says.
    """
    if output == "value":
        return as_values(raw, name, rows)
    return _binary(as_probabilities(raw, output, name, rows), positive_column)


def as_values(raw: NDArray[Any], name: str, rows: int) -> Scores:
    """Return the raw answers of a regression, shape (n,).

    Raises:
        CheckError: another number of answers than one for each row, NaN, or infinities.
    """
    values = _finite(raw, name, rows)
    if values.ndim != 1:
        raise CheckError(
            f"{name} answered {rows} rows with an array of shape {np.shape(raw)}; with output='value' a row "
            "has one number"
        )
    return values


def as_probabilities(raw: NDArray[Any], output: Output, name: str, rows: int) -> Scores:
    """Return the raw answers as probabilities, shape (n,) or (n, k).

    Raises:
        CheckError: wrong number of rows, NaN, infinities, or values outside 0 to 1.
    """
    scores = _finite(raw, name, rows)
    if output == "logit":
        return _from_logits(scores)
    if scores.size and (scores.min() < -1e-6 or scores.max() > 1 + 1e-6):
        raise CheckError(
            f"{name} answered {scores.min():.3g} to {scores.max():.3g}, which are no probabilities; if they "
            "are logits, say so: Candidate(model, output='logit'); if they are the values of a regression: "
            "Candidate(model, output='value')"
        )
    return np.clip(scores, 0.0, 1.0)


def _finite(raw: NDArray[Any], name: str, rows: int) -> Scores:
    """Return the raw answers as finite numbers, shape (n,) or (n, k) with k > 1."""
    scores = np.asarray(raw, dtype=np.float64)
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    if scores.ndim not in (1, 2) or len(scores) != rows:
        raise CheckError(f"{name} answered {rows} rows with an array of shape {np.shape(raw)}")
    broken = int((~np.isfinite(scores)).reshape(rows, -1).any(axis=1).sum())
    if broken:
        raise CheckError(f"{name} answered NaN or infinity for {broken} of {rows} rows")
    return scores


def require_probabilities(name: str, output: Output) -> None:
    """Refuse to read the values of a regression as probabilities.

    Raises:
        CheckError: the output is `value`.
    """
    if output == "value":
        raise CheckError(
            f"{name} answers with values (output='value'), and probabilities were asked for: this needs a "
            f"classifier; {CHOOSE_ANOTHER_METRIC}"
        )


def positive_scores(scores: Scores) -> Scores:
    """Return the probability of the positive class, shape (n,), of a binary model.

    Raises:
        CheckError: the model has more than two classes.
    """
    if scores.ndim == 1:
        return scores
    if scores.shape[1] == 2:
        return scores[:, 1]
    raise CheckError(f"the model has {scores.shape[1]} classes; this requirement needs a binary model")


def _binary(scores: Scores, positive_column: int) -> Scores:
    """Return the positive class's column where there are two, everything else as it is."""
    return scores[:, positive_column] if scores.ndim == 2 and scores.shape[1] == 2 else scores


def _from_logits(scores: Scores) -> Scores:
    if scores.ndim == 1:
        return np.asarray(1 / (1 + np.exp(-np.clip(scores, -700, 700))), dtype=np.float64)
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float64)
