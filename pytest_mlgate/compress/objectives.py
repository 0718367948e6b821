"""What training minimises: the labels, and the candidate's softened answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    """Return the loss on picked training rows and, where there are invented ones, on those picked too."""
    loss = label_loss(module, lesson, plan, picked)
    return loss + _extra_loss(module, lesson, plan, invented) if len(lesson.extra) else loss


def label_loss(module: Any, lesson: Lesson, plan: Plan, picked: Any) -> Any:
    """Return the loss of labels and softened answers together (Hinton, Vinyals, Dean 2015, section 2)."""
    import torch

    answers = module(torch.from_numpy(lesson.rows[picked]))
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


def _extra_loss(module: Any, lesson: Lesson, plan: Plan, picked: Any) -> Any:
    """Return the loss on the candidate's answers alone: invented rows have no labels.

    They must not move the running statistics of batch normalisation either.
    """
    import torch

    frozen = [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for part in frozen:
        part.eval()
    logits = _logits(module(torch.from_numpy(lesson.extra[picked])), lesson)
    for part in frozen:
        part.train()
    soft = softened(logits, torch.from_numpy(lesson.extra_teacher[picked]), plan.temperature)
    return plan.teacher_share * soft


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
