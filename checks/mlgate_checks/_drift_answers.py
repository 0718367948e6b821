"""The labels and the predictions of two tables, compared like columns."""

from __future__ import annotations

import numpy as np

from pytest_mlgate.data_values import as_text
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.subject import Subject

from ._comparison import Comparison, compare_numbers, compare_values, not_compared, of_counts
from ._drift_columns import Unreadable, read_pair


def compare_labels(data: Dataset, role: str) -> Comparison:
    """Return the comparison of the labels, over the rows of either table that have one."""
    scope, roles = f"label {data.label}", ("train", role)
    if data.label not in data.tables[role].columns:
        return not_compared(scope, f"the {role} table has no label column {data.label!r}")
    if data.task == "regression":
        try:
            pair = read_pair(data.label, {table: data.tables[table] for table in roles})
        except Unreadable as problem:
            return not_compared(scope, str(problem))
        unlabelled = len(pair.current) - int(pair.current.present.sum())
        return compare_values(pair, scope, roles, _left_out(unlabelled))
    found = [data.distinct_labels(table) for table in roles]
    texts = [[as_text(value) for value in f.values] for f in found]
    place = {text: i for i, text in enumerate(dict.fromkeys(texts[0] + texts[1]))}
    tallies = []
    for f, names in zip(found, texts, strict=True):
        codes = f.spread([place[name] for name in names], -1, np.intp)
        tallies.append(np.bincount(codes[codes >= 0], minlength=len(place)).astype(np.int64))
    if not all(t.sum() for t in tallies):
        empty = " and the ".join(t for t, tally in zip(roles, tallies, strict=True) if not tally.sum())
        return not_compared(scope, f"no row of the {empty} table has a label")
    return of_counts(scope, "categorical", tallies, tuple(place), roles, _left_out(found[1].missing))


def compare_predictions(subject: Subject, role: str) -> list[Comparison]:
    """Return one comparison of the scores, or one for each class where there are more than two."""
    reference, current = (np.asarray(subject.scores(role=table), np.float64) for table in ("train", role))
    if reference.ndim == 1:
        pairs = {"score": (reference, current)}
    elif reference.shape[1] == 2:
        pairs = {"score": (reference[:, 1], current[:, 1])}
    else:
        pairs = {f"score of class {k}": (reference[:, k], current[:, k]) for k in range(reference.shape[1])}
    compared = []
    for scope, (first, second) in pairs.items():
        strange = int((~np.isfinite(first)).sum() + (~np.isfinite(second)).sum())
        if strange:
            compared.append(not_compared(scope, f"the model answered NaN or infinity for {strange:,} rows"))
        else:
            compared.append(compare_numbers(scope, first, second, ("train", role), kind="score"))
    return compared


def _left_out(unlabelled: int) -> str:
    return f"{unlabelled:,} rows without a label left out" if unlabelled else ""
