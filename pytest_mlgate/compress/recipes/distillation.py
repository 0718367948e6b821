"""Distillation: a smaller network learns the candidate's answers and is shipped in its place."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..lessons import Lesson, make_lesson
from ..objectives import Plan
from ..recipe import Material, Recipe
from ..students import declared_student, derived_student, folded
from ..surgery import quietly, require_torch, shipped
from ..training import fine_tune, undisturbed

#: Students start from nothing: more steps and a higher rate than fine-tuning takes.
_PLAN = Plan(steps=12_000, rate=2e-3, teacher_share=0.9)
_THEN = ("int8-static", "fp32-optimized")
#: Eight bits cost networks of this size more than they save.
_THEN_OF_THE_SMALLEST = ("fp32-optimized",)

MakeStudent = Callable[[Material, Lesson], Any]


def distil(material: Material, make_student: MakeStudent) -> bytes:
    """Return a student that has learned the candidate's answers on training rows and on rows near them.

    The candidate may be anything that runs: only its answers are used (Hinton, Vinyals, Dean 2015,
    section 2; Bucila, Caruana, Niculescu-Mizil 2006 for the rows near them). A derived
    student's standardisation goes into its first layer: a step less for every row.

    Raises:
        NotApplicable: torch, the student or the training table is missing, a feature is no number, or the
            student would be no smaller than the candidate.
        TrainingFailed: the training rows do not do, the student answers in another shape than the candidate,
            or the loss is no number.
    """
    require_torch()
    with undisturbed(material.seed), quietly():
        lesson = make_lesson(material, "a student learns from the training table")
        student = make_student(material, lesson)
        fit = fine_tune(student, lesson, _PLAN, seed=material.seed, seconds=material.seconds)
        return shipped(material, folded(student), fit)


def _derived(size: str, what: str) -> Recipe:
    make_student = functools.partial(derived_student, size=size)
    return Recipe(
        name=f"distilled-{size}",
        summary=f"a student distilled from the candidate's answers (torch): {what}",
        apply=functools.partial(distil, make_student=make_student),
        trains=True,
        then=_THEN_OF_THE_SMALLEST if size in ("tiny", "nano") else _THEN,
    )


RECIPES = (
    Recipe(
        name="distilled",
        summary="the declared student, distilled from the candidate's answers (torch)",
        apply=functools.partial(distil, make_student=declared_student),
        trains=True,
        then=_THEN,
    ),
    _derived("wide", "fully connected layers of 256 and 128 on the features"),
    _derived("small", "a quarter of the width, an eighth of the channels, or layers of 64 and 64"),
    _derived("tiny", "a sixteenth of the width, or fully connected layers of 32 and 32"),
    _derived("nano", "one fully connected layer of 16 on the features"),
)
