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
        output: whether the model answers with a `probability`, a `logit`, or the `value` of a regression.
        threshold: the probability from which on a row counts as positive.
        name: how reports call it; by default its class or file.
        features: the columns it reads, in its order, where they differ from the data's.
        loss: what compression recipes that train minimise: from (outputs, labels), both torch tensors, to
            a scalar; labels are class numbers, or 0.0 and 1.0 in the shape of a single output. By default
            cross-entropy, and the squared error for values.
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
    _require_fitting_output(candidate.output, data)
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
            positive_column=_positive_column(None, data),
            source=Source(loss=candidate.loss, student=candidate.student),
        )
    name = candidate.name or getattr(model, "__name__", type(model).__name__)
    sample = data.tables.get("train", data.tables["test"])
    adapter = None
    if export.is_torch_module(model):
        model, adapter = merge(model, matrix(sample.head(PARITY_ROWS), features))
        onnx, kind = export.export_torch(model, sample, features, name, candidate.output), "torch module"
    elif export.is_sklearn_estimator(model):
        onnx = export.export_sklearn(model, sample, features, name, candidate.output)
        kind = "scikit-learn estimator"
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
        positive_column=_positive_column(getattr(model, "classes_", None), data),
        source=Source(
            module=model if export.is_torch_module(model) else None,
            loss=candidate.loss,
            student=candidate.student,
        ),
        adapter=adapter,
        detail=f"exported to ONNX; agrees with the {kind} within {export.PARITY_TOLERANCE:g}",
    )


def _require_fitting_output(output: Output, data: Dataset) -> None:
    """Refuse values for classes, and probabilities for amounts.

    Raises:
        CandidateRefused: with the two ways out.
    """
    if output == "value" and data.task != "regression":
        raise CandidateRefused(
            f"output='value' is regression, and label {data.label!r} has {len(data.classes):,} classes "
            f"({data.task}). If the label is an amount, say so: Dataset(task='regression') or [data] task; "
            "if not, give a model that answers with probabilities or logits"
        )
    if output != "value" and data.task == "regression":
        raise CandidateRefused(
            f"output={output!r} is classification, and label {data.label!r} is an amount "
            "(task='regression'). Say that the model answers with values: Candidate(model, output='value') "
            "or [candidate] output"
        )


def _positive_column(own: Iterable[Any] | None, data: Dataset) -> int:
    """Return which score column is the positive class: columns stand in the order of the classes.

    Args:
        own: the classes that the model itself names, where it does; otherwise they are the data's.
        data: the data that it will be measured on.

    Raises:
        CandidateRefused: a model with classes of its own does not know the positive one, or has as many
            classes as the label and not the same.
    """
    if data.task == "regression":
        return 1
    names = list(data.classes if own is None else own)
    if len(names) != 2:
        if own is not None and len(names) == len(data.classes) and set(names) != set(data.classes):
            raise CandidateRefused(
                f"the model's classes are {_some(names)}, and those of label {data.label!r} in the test "
                f"table are {_some(data.classes)}"
            )
        return 1
    if data.positive not in names:
        raise CandidateRefused(
            f"the model's classes are {names!r}, and positive={data.positive!r} is not one of them"
        )
    return names.index(data.positive)


def _some(names: Sequence[Any]) -> str:
    return ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")


def _black_box(candidate: Candidate, name: str, features: tuple[str, ...], data: Dataset) -> BlackBox:
    def with_digest(digest: str) -> BlackBox:
        return BlackBox(
            function=candidate.model,
            name=name,
            features=features,
            digest=digest,
            output=candidate.output,
            threshold=candidate.threshold,
            positive_column=_positive_column(None, data),
        )

    scores = with_digest("").predict(data.tables["test"])
    behaviour = hashlib.sha256(np.ascontiguousarray(scores).tobytes()).hexdigest()
    return with_digest(f"behaviour-sha256:{behaviour}")
