"""What training minimises: the labels, and the candidate's softened answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .lessons import Lesson

#: A network's own probabilities are clipped only where float32 ends: beyond, a wrong answer has no gradient
#: that could put it right.
_SMALLEST_PROBABILITY, _LARGEST_PROBABILITY = 1e-30, 1 - 1e-7


@dataclass(frozen=True)
class Plan:
    """How long and how hard to train.

    Args:
        steps: optimiser steps that are wanted; rounded up to whole epochs and cut to the time.
        rate: the peak learning rate.
        temperature: of the softened answers; 1 leaves them as they are.
        teacher_share: weight of the candidate's answers against the labels, 0 to 1.
        patience: share of the epochs without improvement after which training stops.
    """

    steps: int = 1500
    rate: float = 1e-3
    temperature: float = 2.0
    teacher_share: float = 0.7
    patience: float = 0.4


def objective(module: Any, lesson: Lesson, plan: Plan, picked: Any, invented: Any) -> Any:
    """Return the loss on picked training rows and, where there are invented ones, on those picked too.

    Both go through the module as one batch: batch normalisation that saw only one kind would treat the other
    as something else.
    """
    import torch

    rows = lesson.rows[picked]
    if not len(lesson.extra):
        return _known_loss(module(torch.from_numpy(rows)), lesson, plan, picked)
    answers = module(torch.from_numpy(np.concatenate([rows, lesson.extra[invented]])))
    known, further = answers[: len(rows)], answers[len(rows) :]
    # Invented rows have no labels: the candidate's answers are all there is.
    teacher = torch.from_numpy(lesson.extra_teacher[invented])
    soft = softened(_logits(further, lesson), teacher, plan.temperature)
    return _known_loss(known, lesson, plan, picked) + plan.teacher_share * soft


def label_loss(module: Any, lesson: Lesson, plan: Plan, picked: Any) -> Any:
    """Return the loss of labels and softened answers together (Hinton, Vinyals, Dean 2015, section 2)."""
    import torch

    return _known_loss(module(torch.from_numpy(lesson.rows[picked])), lesson, plan, picked)


def _known_loss(answers: Any, lesson: Lesson, plan: Plan, picked: Any) -> Any:
    import torch

    labels = torch.from_numpy(lesson.labels[picked])
    logits = _logits(answers, lesson)
    if lesson.columns == 1:
        labels = labels.reshape(answers.shape)
    if lesson.loss is not None:
        hard = lesson.loss(answers, labels)
    elif lesson.columns == 1:
        hard = torch.nn.functional.binary_cross_entropy_with_logits(logits.reshape(answers.shape), labels)
    else:
        hard = torch.nn.functional.cross_entropy(logits, labels)
    soft = softened(logits, torch.from_numpy(lesson.teacher[picked]), plan.temperature)
    return (1 - plan.teacher_share) * hard + plan.teacher_share * soft


def softened(logits: Any, teacher: Any, temperature: float) -> Any:
    """Return the cross-entropy with the softened answers of the teacher, less their entropy, times T squared.

    The factor keeps the gradients of the same size whatever the temperature (Hinton, Vinyals, Dean 2015,
    section 2); the entropy is constant and makes zero mean agreement.
    """
    import torch

    if logits.shape[1] == 1:
        pair = [torch.cat([torch.zeros_like(z), z], dim=1) for z in (logits, teacher)]
    else:
        pair = [logits, teacher]
    student, target = (torch.log_softmax(z / temperature, dim=1) for z in pair)
    divergence = torch.nn.functional.kl_div(student, target, reduction="batchmean", log_target=True)
    return temperature**2 * divergence


def _logits(answers: Any, lesson: Lesson) -> Any:
    """Return logits, shape (n, columns), of answers in the candidate's convention."""
    import torch

    columns = answers.reshape(len(answers), -1)
    if lesson.output == "logit":
        return columns
    if columns.shape[1] == 1:
        inside = columns.clamp(_SMALLEST_PROBABILITY, _LARGEST_PROBABILITY)
        return torch.log(inside) - torch.log1p(-inside)
    return torch.log(columns.clamp_min(_SMALLEST_PROBABILITY))
