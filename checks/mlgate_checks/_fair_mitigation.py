"""What thresholds chosen for each group would give: a suggestion, never evidence about the release."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.evidence import Table
from pytest_mlgate.statistics.simultaneous import Floats

from ._fair_intervals import why_undefined, worst_of
from ._fair_metrics import METRICS, Metric
from ._fair_parts import Bools, at_groups
from ._fair_rows import rate_counter
from ._groups import Grouping

#: Beyond this many rows a sample of them is used: the figures are rounded to what a person needs.
_MOST_ROWS = 20_000


class _Scored:
    """A fitted model, as fairlearn wants one, whose answer for a row is that row's only column."""

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, table: Any, labels: Any) -> _Scored:
        """Return itself: the scores are given."""
        del table, labels
        return self

    def predict(self, table: Any) -> Floats:
        """Return the only column, shape (n,)."""
        return np.asarray(table, dtype=np.float64).reshape(-1)


def suggestion(
    metric: Metric, grouping: Grouping, labels: Bools, scores: Floats, answers: Bools, seed: int
) -> Table | str:
    """Return what fairlearn's ThresholdOptimizer would make of the scores, or why it cannot say.

    The thresholds are fitted on one half of the test rows and measured on the other, both ways, so that the
    figures are not those of the rows they were chosen on. Source: Hardt, Price and Srebro 2016, NeurIPS
    ("Equality of opportunity in supervised learning").
    """
    constraint = METRICS[metric].constraint
    if not constraint:
        return f"thresholds by group do not aim at {metric}"
    try:
        from fairlearn.postprocessing import ThresholdOptimizer
    except ImportError:
        return "fairlearn is not installed. Install it with: pip install 'pytest-mlgate[fairness]'"
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(grouping.judged[grouping.codes])
    rows = rng.permutation(rows)[:_MOST_ROWS]
    order = np.argsort(2 * grouping.codes[rows] + labels[rows], kind="stable")
    # Every second row of each group and label, after shuffling: two halves of the same composition.
    halves = rows[order][::2], rows[order][1::2]
    answered = np.zeros(len(labels), dtype=bool)
    for fitted, asked in (halves, halves[::-1]):
        make: Any = ThresholdOptimizer  # its annotation lists the constraints that it takes
        optimizer = make(estimator=_Scored(), constraints=constraint, prefit=True, predict_method="predict")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                groups = grouping.codes[fitted]
                optimizer.fit(scores[fitted, None], labels[fitted].astype(int), sensitive_features=groups)
                found = optimizer.predict(
                    scores[asked, None], sensitive_features=grouping.codes[asked], random_state=seed
                )
        except Exception as problem:  # fairlearn refuses groups of one class, each in words of its own
            return f"fairlearn found no thresholds by group: {problem}"
        answered[asked] = np.asarray(found, dtype=float) > 0.5
    return _compared(metric, grouping, labels, answers, answered, rows)


def _compared(
    metric: Metric, grouping: Grouping, labels: Bools, now: Bools, then: Bools, rows: NDArray[np.intp]
) -> Table | str:
    kept = Grouping(grouping.scope, grouping.names, grouping.codes[rows], grouping.rows, grouping.judged)
    found = []
    for name, answers in (("release artifact as it is", now), ("with a threshold for each group", then)):
        parts = rate_counter(METRICS[metric].parts, labels[rows], [answers[rows]])(kept)
        judged = [at_groups(part, grouping.judged_groups) for part in parts]
        titles = [grouping.title(int(g)) for g in grouping.judged_groups]
        counts = [int(n) for n in grouping.rows[grouping.judged_groups]]
        if reason := why_undefined(METRICS[metric].kind, judged, titles, counts):
            return f"thresholds by group leave {metric} undefined: {reason}"
        value = worst_of(METRICS[metric].kind, judged).value
        found.append(
            (name, value, float((answers[rows] == labels[rows]).mean()), float(answers[rows].mean()))
        )
    return Table(
        title=f"Suggestion, not measured on the release: thresholds by {grouping.scope}",
        columns=("decision", metric, "accuracy", "selection rate"),
        rows=tuple(found),
        note=(
            f"fairlearn.postprocessing.ThresholdOptimizer on the release artifact's scores, constraint "
            f"{METRICS[metric].constraint}; each half of {len(rows):,} test rows with thresholds fitted on "
            "the other half. Deciding with the group needs a legal basis; no verdict rests on these figures"
        ),
    )
