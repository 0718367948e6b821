"""Students: small networks that learn a candidate's answers and then stand in for it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .lessons import Lesson
from .recipe import Material, NotApplicable
from .surgery import calls, require_module, weight_count
from .thinning import thin

#: No hidden layer of a student is thinner than this.
_THINNEST = 8
#: Hidden layers of students of candidates that are no networks, or none of fully connected layers.
_WIDTHS = {"wide": (256, 128), "small": (64, 64), "tiny": (32, 32), "nano": (16,)}
#: What a student of a chain of fully connected layers divides the widths by.
_DIVISORS = {"small": 4, "tiny": 16}
#: The share of channels that the small student of another network does without.
_THINNED = {"small": 0.875}


def declared_student(material: Material, lesson: Lesson) -> Any:
    """Return a copy of the student that came with the candidate.

    Raises:
        NotApplicable: none was declared.
    """
    del lesson
    student = material.model.source.student
    if student is None:
        raise NotApplicable("no student was declared: Candidate(model, student=...)")
    return copy.deepcopy(student)


def derived_student(material: Material, lesson: Lesson, size: str) -> Any:
    """Return an untrained student, or a thinned copy of the candidate, of this size.

    A chain of fully connected layers gets a thinner chain of the same depth; another torch network a copy
    of itself with an eighth of the channels as its small student; everything else, and smaller sizes, fully
    connected layers on the standardised features.

    Raises:
        NotApplicable: the student would not be smaller than the candidate.
    """
    module = material.model.source.module
    widths: Sequence[int] = _WIDTHS[size]
    if module is not None:
        own = require_module(material)
        chain = hidden_widths(own, lesson)
        if chain is None and size in _THINNED:
            thin(own, lesson, _THINNED[size])
            return own
        if chain is not None and size in _DIVISORS:
            widths = [max(_THINNEST, width // _DIVISORS[size]) for width in chain]
    student = network(lesson, widths)
    size_bytes = 4 * weight_count(student)
    if size_bytes >= len(material.model.onnx):
        raise NotApplicable(
            f"the student would be no smaller ({size_bytes:,} bytes of weights) than the candidate "
            f"({len(material.model.onnx):,} bytes)"
        )
    return student


def hidden_widths(module: Any, lesson: Lesson) -> list[int] | None:
    """Return the widths of the hidden layers of a chain of fully connected ones; None for other networks."""
    import torch

    made = calls(module, lesson.rows)
    layers = [call.part for call in made if type(call.part) is torch.nn.Linear]
    norms = torch.nn.LayerNorm, torch.nn.modules.batchnorm._BatchNorm
    known = weight_count(torch.nn.ModuleList([*layers, *(c.part for c in made if isinstance(c.part, norms))]))
    # Weights that none of these holds belong to something else: attention, an embedding, a bare parameter.
    if len(layers) < 2 or len(set(layers)) < len(layers) or known < weight_count(module):
        return None
    return [layer.out_features for layer in layers[:-1]]


def network(lesson: Lesson, widths: Sequence[int]) -> Any:
    """Return fully connected layers that answer as the candidate does: same shape, same convention.

    Features are standardised by a step of their own while it trains; `folded` takes it away. Missing values
    become the column's mean, in a step that is there only if the training table has some.
    """
    import torch

    from .layers import Filled, Standardised

    rows = lesson.rows.astype(np.float64)
    missing = bool(np.isnan(rows).any())
    # Of a column without any value, or of one value, the deviation is 1: it adds a constant, or nothing.
    seen = ~np.isnan(rows)
    counts = np.maximum(1, seen.sum(axis=0))
    mean = np.where(seen, rows, 0.0).sum(axis=0) / counts
    deviation = np.sqrt((np.where(seen, rows - mean, 0.0) ** 2).sum(axis=0) / counts)
    deviation[deviation < 1e-6 * np.maximum(1.0, np.abs(mean))] = 1.0
    means, deviations = (torch.from_numpy(v.astype(np.float32)) for v in (mean, deviation))
    layers: list[Any] = [Filled(means)] if missing else []
    layers.append(Standardised(means, deviations))
    fans = [rows.shape[1], *widths]
    for fan_in, fan_out in itertools.pairwise(fans):
        layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
    layers.append(torch.nn.Linear(fans[-1], lesson.columns))
    if lesson.output == "probability":
        layers.append(torch.nn.Sigmoid() if lesson.columns == 1 else torch.nn.Softmax(dim=1))
    if not lesson.shape:
        layers.append(torch.nn.Flatten(0))
    return torch.nn.Sequential(*layers)


def folded(student: Any) -> Any:
    """Return a student with its standardisation folded into the first layer; any other module as it is.

    w (x - m) / s + b is (w / s) x + (b - (w / s) m): the same answers, one step fewer for every row.
    """
    import torch

    from .layers import Standardised

    parts: list[Any] = list(student) if isinstance(student, torch.nn.Sequential) else []
    place = next((i for i, part in enumerate(parts) if isinstance(part, Standardised)), None)
    if place is None:
        return student
    step, first = parts[place], parts[place + 1]
    with torch.no_grad():
        weight = first.weight.double() / step.deviation.double()
        first.bias.copy_((first.bias.double() - weight @ step.mean.double()).float())
        first.weight.copy_(weight.float())
    return torch.nn.Sequential(*parts[:place], *parts[place + 1 :]).train(student.training)
