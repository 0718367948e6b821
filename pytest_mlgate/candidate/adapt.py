"""Turns whatever a fixture or a policy calls the candidate into a model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ..dataset import Dataset, matrix
from ..errors import CandidateRefused
from . import export
from .adapters import merge
from .export import PARITY_ROWS
from .loading import read_onnx
from .model import BlackBox, Model, OnnxModel, Output, Source


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model together with what its answers mean.

    Args:
        model: a torch module, a fitted scikit-learn estimator or pipeline, the path of an ONNX file, or a
            callable from a float32 matrix (rows, features) to scores.
        output: whether the model answers with probabilities or with logits.
        threshold: the probability from which on a row counts as positive.
        name: how reports call it; by default its class or file.
        features: the columns it reads, in its order, where they differ from the data's.
        loss: what compression recipes that train minimise: from (outputs, labels), both torch tensors, to
            a scalar; labels are class numbers, or 0.0 and 1.0 in the shape of a single output. By default
            cross-entropy.
        student: an untrained torch module, smaller than the candidate, to distil it into.
    """

    model: Any
    output: Output = "probability"
    threshold: float = 0.5
    name: str = ""
    features: Sequence[str] | None = None
    loss: Callable[[Any, Any], Any] | None = None
    student: Any = None


def as_model(given: Any, data: Dataset) -> Model:
    """Return the uniform model for what was given.

    Raises:
        CandidateRefused: it is none of the accepted kinds, is unsafe to load, or cannot be exported.
    """
    candidate = given if isinstance(given, Candidate) else Candidate(given)
    model = candidate.model
    if candidate.output not in get_args(Output):
        raise CandidateRefused(f"output={candidate.output!r}. Accepted: {', '.join(get_args(Output))}")
    features = data.feature_names if candidate.features is None else tuple(candidate.features)
    for role in data.tables:
        data.require_columns(features, role, "candidate: features")
    is_number = isinstance(candidate.threshold, int | float) and not isinstance(candidate.threshold, bool)
    if not is_number or not 0 < candidate.threshold < 1:
        raise CandidateRefused(f"threshold={candidate.threshold!r} must be a probability between 0 and 1")
    if isinstance(model, str | Path):
        path = Path(model)
        return OnnxModel(
            onnx=read_onnx(path),
            name=candidate.name or path.stem,
            kind="ONNX file",
            features=features,
            output=candidate.output,
            threshold=candidate.threshold,
            positive_column=_positive_column(data.classes, data),
            source=Source(loss=candidate.loss, student=candidate.student),
        )
    name = candidate.name or getattr(model, "__name__", type(model).__name__)
    sample = data.tables.get("train", data.tables["test"])
    adapter = None
    if export.is_torch_module(model):
        model, adapter = merge(model, matrix(sample.head(PARITY_ROWS), features))
        onnx, kind = export.export_torch(model, sample, features, name), "torch module"
    elif export.is_sklearn_estimator(model):
        onnx, kind = export.export_sklearn(model, sample, features, name), "scikit-learn estimator"
    elif callable(model):
        return _black_box(candidate, name, features, data)
    else:
        raise CandidateRefused(
            f"the candidate is a {type(model).__name__}. Accepted: a torch module, a scikit-learn estimator, "
            "the path of an ONNX file, or a callable"
        )
    return OnnxModel(
        onnx=onnx,
        name=name,
        kind=kind,
        features=features,
        output=candidate.output,
        threshold=candidate.threshold,
        positive_column=_positive_column(getattr(model, "classes_", data.classes), data),
        source=Source(
            module=model if export.is_torch_module(model) else None,
            loss=candidate.loss,
            student=candidate.student,
        ),
        adapter=adapter,
        detail=f"exported to ONNX; agrees with the {kind} within {export.PARITY_TOLERANCE:g}",
    )


def _positive_column(classes: Iterable[Any], data: Dataset) -> int:
    """Return which score column is the positive class: columns stand in the order of the classes.

    Raises:
        CandidateRefused: a model with classes of its own does not know the positive one.
    """
    names = list(classes)
    if len(names) != 2:
        return 1
    if data.positive not in names:
        raise CandidateRefused(
            f"the model's classes are {names!r}, and positive={data.positive!r} is not one of them"
        )
    return names.index(data.positive)


def _black_box(candidate: Candidate, name: str, features: tuple[str, ...], data: Dataset) -> BlackBox:
    def with_digest(digest: str) -> BlackBox:
        return BlackBox(
            function=candidate.model,
            name=name,
            features=features,
            digest=digest,
            output=candidate.output,
            threshold=candidate.threshold,
            positive_column=_positive_column(data.classes, data),
        )

    scores = with_digest("").predict_proba(data.tables["test"])
    behaviour = hashlib.sha256(np.ascontiguousarray(scores).tobytes()).hexdigest()
    return with_digest(f"behaviour-sha256:{behaviour}")
