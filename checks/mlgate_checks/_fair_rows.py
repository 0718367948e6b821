"""What each test row contributes to a fairness metric: counted once, for any number of groupings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.candidate import Model
from pytest_mlgate.candidate.model import decisions, positive_scores
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.statistics.simultaneous import Floats
from pytest_mlgate.subject import Subject

from ._fair_metrics import Definition
from ._fair_parts import Bools, Ints, Part, RatePart, mean_part
from ._groups import Grouping

#: Numerator, denominator and its name in messages, from the label and the answer of a row.
_RATES: dict[str, tuple[Callable[[Bools, Bools], Bools], Callable[[Bools, Bools], Bools], str]] = {
    "selection rate": (lambda _, a: a, lambda y, _: y | True, ""),
    "true-positive rate": (lambda _, a: a, lambda y, _: y, " positives"),
    "false-positive rate": (lambda _, a: a, lambda y, _: ~y, " negatives"),
    "false-negative rate": (lambda _, a: ~a, lambda y, _: y, " positives"),
    "positive predictive value": (lambda y, _: y, lambda _, a: a, " selected"),
    "accuracy": (lambda y, a: y == a, lambda y, _: y | True, ""),
}
#: Every rate of a binary model, as the tables show them.
BINARY_RATES = tuple(_RATES)
#: The two ways in which a binary model errs.
ERROR_RATES = ("false-positive rate", "false-negative rate")


#: Counts what a metric compares within the groups of any grouping.
Count = Callable[[Grouping], list[Part]]


def counter(subject: Subject, definition: Definition, models: Sequence[Model]) -> Count:
    """Return the counter of the metric for one model, or for two that are compared on the same rows.

    Raises:
        CheckError: the answers do not suit the label, or are not numbers.
    """
    data = subject.data
    scores = [_finite(subject, model) for model in models]
    if data.task == "regression":
        errors = np.asarray([_values(m, s) for m, s in zip(models, scores, strict=True)]) - data.targets()
        name = definition.parts[0]
        rows = np.abs(errors) if name == "mean absolute error" else errors
        return lambda grouping: [mean_part(name, rows, grouping.codes, len(grouping.names))]
    if definition.parts == ("mean of label minus score",):
        return _calibration(data, [_probabilities(m, s) for m, s in zip(models, scores, strict=True)])
    if data.task == "multiclass":
        if definition.parts == ("selection rate",):
            for model, score in zip(models, scores, strict=True):
                subject.require_classes(model, score)
            chosen = [np.asarray(score.argmax(axis=1), np.intp) for score in scores]
            return lambda grouping: _by_class(grouping, chosen, data.classes)
        right = [subject.right(model, score) for model, score in zip(models, scores, strict=True)]
        return rate_counter(definition.parts, np.ones(len(right[0]), dtype=bool), right)
    answers = [decisions(model, score) for model, score in zip(models, scores, strict=True)]
    return rate_counter(definition.parts, data.labels(), answers)


def rate_counter(names: Sequence[str], labels: Bools, answers: Sequence[Bools]) -> Count:
    """Return the counter of the named rates of one or two binary answers to the same rows."""
    first, last = answers[0], answers[-1]
    kinds = 4 * labels.astype(np.intp) + 2 * first + last
    label, *answer = (np.arange(8) & bit > 0 for bit in (4, 2, 1))

    def parts(grouping: Grouping) -> list[Part]:
        groups = len(grouping.names)
        cells = np.bincount(grouping.codes * 8 + kinds, minlength=groups * 8).reshape(groups, 8)
        found: list[Part] = []
        for name in names:
            of, among, called = _RATES[name]
            numerator = np.asarray([of(label, a) & among(label, a) for a in answer])
            denominator = np.asarray([among(label, a) for a in answer])
            found.append(RatePart(name, called, cells.astype(float), numerator, denominator))
        return found

    return parts


def error_counter(subject: Subject, definition: Definition) -> Count | None:
    """Return the counter of both kinds of error of a binary model, where the metric is not one of them."""
    if subject.data.task != "binary" or set(definition.parts) <= set(ERROR_RATES):
        return None
    return rate_counter(ERROR_RATES, subject.data.labels(), [decisions(subject.release, subject.scores())])


def _by_class(grouping: Grouping, chosen: Sequence[Ints], classes: Sequence[object]) -> list[Part]:
    """Return the selection rate of every class against all others."""
    first, last = chosen[0], chosen[-1]
    groups, k = len(grouping.names), len(classes)

    def count(which: Ints, rows: NDArray[np.bool_] | slice) -> Floats:
        place = grouping.codes[rows] * k + which[rows]
        return np.bincount(place, minlength=groups * k).reshape(groups, k).astype(float)

    both = count(first, first == last)
    once, other = count(first, slice(None)) - both, count(last, slice(None)) - both
    neither = grouping.rows[:, None] - both - once - other
    answer = np.asarray([[False, False, True, True], [False, True, False, True]])
    everyone = np.ones((2, 4), dtype=bool)
    return [
        RatePart(
            f"selection rate of class {classes[c]}",
            "",
            np.stack([neither[:, c], other[:, c], once[:, c], both[:, c]], axis=1),
            answer,
            everyone,
        )
        for c in range(k)
    ]


def _calibration(data: Dataset, scores: Sequence[Floats]) -> Count:
    labels = data.labels()
    rows: Floats = labels.astype(float) - np.asarray(scores)
    name = "mean of label minus score"
    return lambda grouping: [mean_part(name, rows, grouping.codes, len(grouping.names), labels)]


def _finite(subject: Subject, model: Model) -> Floats:
    scores = np.asarray(subject.scores(model), dtype=np.float64)
    if not bool(np.isfinite(scores).all()):
        raise CheckError(
            f"{model.identity.name} answers {int((~np.isfinite(scores)).sum()):,} values of the test rows "
            "that are not finite numbers: no group can be compared on them"
        )
    return scores


def _values(model: Model, scores: Floats) -> Floats:
    if scores.ndim != 1:
        raise CheckError(
            f"{model.identity.name} answers {scores.shape[1]} values for a row; a regression needs one"
        )
    return scores


def _probabilities(model: Model, scores: Floats) -> Floats:
    positive = np.asarray(positive_scores(scores), dtype=np.float64)
    outside = int(((positive < 0) | (positive > 1)).sum())
    if outside:
        raise CheckError(
            f"{model.identity.name} answers {outside:,} scores outside 0 to 1, and calibration needs "
            "probabilities"
        )
    return positive
