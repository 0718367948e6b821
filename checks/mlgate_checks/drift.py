"""How far the rows that a model meets have moved from those it was trained on, and what that does to it.

A detector that asks "is there any difference" says yes to every large sample. Here the effects, with
simultaneous intervals, are what a bound is compared with; the tests of no difference stand beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pytest_mlgate.contract import AtMost, ColumnNames, check
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Chart, Findings, Measurement, Table
from pytest_mlgate.subject import Subject

from ._comparison import Comparison, compare, not_compared
from ._drift_answers import compare_labels, compare_predictions
from ._drift_attribution import WORST, attribution
from ._drift_columns import Unreadable, read_pair
from ._drift_dependence import Variables, dependence, sample_rows
from ._drift_family import Judged, compared, extremes, missing, shifts, table, worst_of
from ._drift_multivariate import classifier_auc, kernel_distance
from ._drift_quality import QualityName, quality_drop
from ._drift_slices import Slices
from ._drift_windows import windows

#: Both distributions of so many of the worst are drawn.
DRAWN = 4


@check("drift")
def drift(
    subject: Subject,
    *,
    max_shift: AtMost = None,
    max_tail_shift: AtMost = None,
    max_dependence_shift: AtMost = None,
    max_label_shift: AtMost = None,
    max_prediction_shift: AtMost = None,
    max_quality_drop: AtMost = None,
    max_two_sample_auc: AtMost = None,
    columns: ColumnNames = (),
    slices: ColumnNames = (),
    time_column: str = "",
    metric: QualityName = "default",
    multivariate: Literal["none", "mmd"] = "none",
) -> Findings:
    """Shift of columns, their tails and dependence, label, predictions and quality since training.

    The reference is the training table. The other table is `current` where it is given, else `test`.

    `max_shift`, `max_label_shift` and `max_prediction_shift` are distances from 0 (same distribution) to 1
    (nothing in common): Kolmogorov-Smirnov for numbers, times, ordered levels and scores, total variation for
    categories, flags, codes and labels. `max_shift` holds for each of `columns` (by default all features),
    for the change in its share of missing values, for the properties of prose, and within every group of the
    columns named by `slices`. `max_tail_shift` is the rise of the share of rows beyond the extremes of the
    reference (0.002: two rows in a thousand), which a wrong unit in 1% of the rows raises by 0.01.
    `max_dependence_shift` is the largest change of a rank correlation over all pairs of columns.
    `max_quality_drop` is how much worse `metric` (accuracy; of amounts the mean absolute error) is on the
    labelled rows of `current` than on `test`, in its own unit. `max_two_sample_auc` is how well a classifier
    may tell the two tables apart (0.5: not at all). `time_column` draws the shift in windows of time;
    `multivariate="mmd"` adds the maximum mean discrepancy, for information.

    Raises:
        CheckError: no training table, a bound outside its range, slices or a time column without `max_shift`,
            a time column without order, or a model whose answers are none.

    Sources: those of `pytest_mlgate.statistics.shift`, `.extremes` and `.dependence`; alibi-detect for the
    classifier and the maximum mean discrepancy.
    """
    subject.require_train("drift")
    _require_in_range(
        max_shift=(max_shift, 0, 1),
        max_tail_shift=(max_tail_shift, 0, 1),
        max_dependence_shift=(max_dependence_shift, 0, 2),
        max_label_shift=(max_label_shift, 0, 1),
        max_prediction_shift=(max_prediction_shift, 0, 1),
        max_two_sample_auc=(max_two_sample_auc, 0.5, 1),
    )
    if (slices or time_column) and max_shift is None:
        raise CheckError("drift: slices and time_column say where a shift is: declare max_shift with them")
    data, levels = subject.data, subject.levels
    role = "current" if "current" in data.tables else "test"
    roles = ("train", role)
    report = _Report()
    of_columns = (max_shift, max_tail_shift, max_dependence_shift, max_two_sample_auc)
    if any(bound is not None for bound in of_columns) or multivariate == "mmd":
        names = [n for n in dict.fromkeys(columns or data.feature_names) if n != time_column]
        pairs_needed = max_dependence_shift is not None or max_two_sample_auc is not None
        found = _compare_columns(subject, names, slices, role, pairs_needed or multivariate == "mmd")
        if max_shift is not None:
            beside = sum(compared(members) for members in found.slices.values())
            judged = shifts(found.comparisons, "shift", "max_shift", levels, beside)
            report.add(judged)
            each = levels.split(compared(found.comparisons) + beside)
            report.measurements += [
                worst_of(members, group, "shift", "max_shift", each)
                for group, members in found.slices.items()
            ]
            worst = _worst_columns(judged)
            report.explain(subject, worst, role)
            if time_column:
                report.draw(*windows(subject, time_column, worst, role, max_shift))
        if max_tail_shift is not None:
            report.measurements += extremes(found.comparisons, "max_tail_shift", levels, role)
        report.relate(found.variables, roles, subject, max_dependence_shift, max_two_sample_auc, multivariate)
    if max_label_shift is not None:
        report.add(shifts([compare_labels(data, role)], "label_shift", "max_label_shift", levels))
    if max_prediction_shift is not None:
        predictions = compare_predictions(subject, role)
        report.add(shifts(predictions, "prediction_shift", "max_prediction_shift", levels))
    if max_quality_drop is not None:
        report.measurements.append(quality_drop(subject, metric, levels))
    return Findings(
        measurements=tuple(report.measurements),
        tables=(*((table(report.judged, "train", levels.fail),) if report.judged else ()), *report.tables),
        charts=tuple(report.charts),
        assumptions={
            "reference": f"the train table, {len(data.tables['train']):,} rows",
            "current": f"the {role} table, {len(data.tables[role]):,} rows",
            "rows": "independent draws; repeated rows of one person or one day make the intervals too short",
            "predictions": "scores of the release artifact; on rows it was trained on they can be more "
            "extreme than on new ones",
        },
        not_covered=tuple(
            text
            for text in (
                ""
                if max_dependence_shift is not None
                else "dependence between columns: declare max_dependence_shift",
                "" if max_tail_shift is not None else "tails of columns: declare max_tail_shift",
                f"{time_column}: new rows are newer than old ones" if time_column else "",
                ""
                if slices
                else "slices: a shift within one group of rows is diluted by the others; name slices=[...]",
                *report.notes,
            )
            if text
        ),
    )


@dataclass(slots=True, eq=False)
class _Found:
    """What was found column by column; none of the columns is kept."""

    comparisons: list[Comparison]
    slices: dict[str, list[Comparison]]
    variables: Variables


def _compare_columns(
    subject: Subject, names: Sequence[str], slices: Sequence[str], role: str, with_pairs: bool
) -> _Found:
    """Return all comparisons; each column is read and sorted once, and then let go."""
    tables = {table: subject.data.tables[table] for table in ("train", role)}
    roles = ("train", role)
    rows = sample_rows((len(tables["train"]), len(tables[role])), subject.seed)
    groups = Slices(subject.data, slices, role)
    found = _Found([], {}, Variables(rows, subject.seed))
    for name in names:
        try:
            pair = read_pair(name, tables)
        except Unreadable as problem:
            found.comparisons.append(not_compared(f"column {name}", str(problem)))
            found.variables.unreadable.append(name)
            continue
        found.comparisons += compare(pair, roles, subject.seed)
        for group, comparison in groups.compare(pair, roles):
            found.slices.setdefault(group, []).append(comparison)
        if with_pairs:
            found.variables.add(pair)
    return found


@dataclass(slots=True, eq=False)
class _Report:
    """The facts as they come in, in the order in which they are shown."""

    measurements: list[Measurement] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, judged: Sequence[Judged]) -> None:
        """Take in a family, worst first, and draw its worst members."""
        self.measurements += [j.measurement for j in judged]
        self.judged += judged
        sketches = [j.comparison.sketch for j in judged if j.measurement.value is not None]
        self.charts += [s for s in sketches if s is not None][:DRAWN]

    def draw(self, chart: Chart, shown: Table) -> None:
        """Take in a chart with its table."""
        self.charts.append(chart)
        self.tables.append(shown)

    def explain(self, subject: Subject, worst: Sequence[str], role: str) -> None:
        """Say what the drift of the worst columns does to the model, where it can be asked."""
        if subject.data.prediction is not None:
            self.notes.append(
                "what the drift does to the model: its scores are a column and cannot be asked for"
            )
            return
        try:
            shown = attribution(subject, worst[:WORST], role)
        except CheckError as problem:
            self.notes.append(f"what the drift does to the model: {problem}")
            return
        if shown is not None:
            self.tables.append(shown)

    def relate(
        self,
        variables: Variables,
        roles: tuple[str, str],
        subject: Subject,
        max_dependence_shift: float | None,
        max_two_sample_auc: float | None,
        multivariate: str,
    ) -> None:
        """Compare all columns together, as far as that was asked for."""
        if max_dependence_shift is not None:
            found, shown = dependence(variables, "max_dependence_shift", subject.levels, roles)
            self.measurements += found
            self.tables += [] if shown is None else [shown]
        if max_two_sample_auc is not None:
            bound = "max_two_sample_auc"
            self.measurements.append(classifier_auc(variables, bound, subject.levels))
            if variables.unreadable:
                reason = f"columns that could not be read: {', '.join(variables.unreadable)}"
                self.measurements.append(missing("two_sample_auc", "all columns", bound, reason, 0, "none"))
        if multivariate == "mmd":
            self.measurements.append(kernel_distance(variables))
        if variables.left_out:
            self.notes.append(f"dependence of {', '.join(variables.left_out)}")


def _worst_columns(judged: Sequence[Judged]) -> list[str]:
    """Return the columns that were compared, the one that moved most first."""
    compared_ones = (j.comparison for j in judged if j.measurement.value is not None)
    return list(dict.fromkeys(c.column for c in compared_ones if c.column))


def _require_in_range(**bounds: tuple[float | None, float, float]) -> None:
    """Refuse bounds that pass anything or nothing.

    Raises:
        CheckError: with the range.
    """
    for name, (value, least, most) in bounds.items():
        if value is not None and not (np.isfinite(value) and least <= value < most):
            kind = "a distance" if most == 1 and least == 0 else "a value"
            raise CheckError(f"{name}={value:g} is not {kind} from {least:g} to below {most:g}")
