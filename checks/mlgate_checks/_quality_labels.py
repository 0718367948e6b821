"""Wrong and shuffled labels, as a simple model sees them that learned from other rows."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.levels import Tails
from pytest_mlgate.statistics import absolute_interval, auc_interval, difference_interval

from ._faults import Count
from ._quality_leaks import Codes, label_codes
from ._quality_measures import Effect
from ._quality_tables import Floats, Tables, categories, kind_of, numbers, sampled

#: Rows read of each table.
MOST_ROWS = 5_000
#: A label that the model gives a lower probability than this is contradicted.
CONTRADICTED = 0.1
_FOLDS = 5
_FEWEST = 50
_MOST_CATEGORIES = 30
_ROUNDS = 40


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the model says of one table: labels as class numbers, shape (n,), probabilities, shape (n, k)."""

    role: str
    #: The positions in the table of the rows that were read, shape (n,).
    rows: NDArray[np.intp]
    labels: Codes
    probabilities: Floats
    classes: tuple[str, ...]

    @property
    def of_label(self) -> Floats:
        """The probability of the label that each row has, shape (n,)."""
        return np.asarray(self.probabilities[np.arange(len(self.labels)), self.labels])


def opinions(
    tables: Tables, features: list[str], label: str, is_amount: bool, seed: int
) -> list[Opinion] | str:
    """Return the opinion on each table of models that did not learn from it, or why there is none.

    Logistic regression and boosted trees, their probabilities averaged, learn from four fifths of train
    (without it: of test) and are asked about the last fifth; every test row is asked of one of the five,
    so that both tables meet models of the same size.
    """
    y, names = label_codes(tables, label, is_amount)
    first = "train" if "train" in tables else "test"
    rows = {role: sampled(len(t), MOST_ROWS, seed) for role, t in tables.items()}
    rows = {role: r[y[role][r] >= 0] for role, r in rows.items()}
    labels = {role: y[role][r] for role, r in rows.items()}
    counts = np.bincount(labels[first], minlength=len(names))
    if len(labels[first]) < _FEWEST or (counts >= 2 * _FOLDS).sum() < 2 or min(map(len, labels.values())) < 2:
        why = f"a model needs {_FEWEST} labelled rows of {first} and {2 * _FOLDS} of each of two classes"
        return f"{why}; there are {', '.join(f'{c:,}' for c in sorted(counts)[::-1][:5])}"
    kept = np.flatnonzero(counts >= 2 * _FOLDS)
    inside = {role: np.isin(labels[role], kept) for role in rows}
    rows = {role: r[inside[role]] for role, r in rows.items()}
    codes = {role: np.searchsorted(kept, labels[role][inside[role]]) for role in rows}
    read = {role: tables[role].iloc[rows[role]] for role in rows}
    matrices = _matrices(read, features, first)
    found = {role: np.zeros((len(codes[role]), len(kept))) for role in rows}
    rng = np.random.default_rng(seed)
    folds = {role: rng.permutation(len(codes[role])) % _FOLDS for role in rows}
    for fold in range(_FOLDS):
        learn = folds[first] != fold
        models = _fitted(matrices[first][learn], codes[first][learn], seed)
        for role in rows:
            ask = folds[role] == fold
            if ask.any():
                found[role][ask] = _asked(models, matrices[role][ask], len(kept))
    classes = tuple(names[i] for i in kept)
    return [Opinion(role, rows[role], codes[role], found[role], classes) for role in rows]


def disagreement_change(opinion: list[Opinion]) -> Iterator[Effect]:
    """Yield how far train and test are apart in the share of labels that the model disagrees with.

    A model is wrong about some right labels, too, and equally often in both tables if they come from one
    source: only the difference speaks of the labels. It disagrees where another class is likelier, and
    contradicts where the label has a probability below 0.1: the first shows best wrong labels that the
    model learned from, the second those that it was only asked about.
    """
    by_role = {o.role: o for o in opinion}
    if "train" not in by_role:
        why = "no training table was given: give Dataset(train=...) or [data] train"
        yield Effect(scope="labels", value=None, n=len(by_role["test"].labels), detail=why)
        return
    for scope, chosen in (("disagrees", _disagrees), ("contradicts", _contradicts)):
        (k1, n1), (k2, n2) = (
            (int(chosen(o).sum()), len(o.labels)) for o in (by_role["test"], by_role["train"])
        )
        change = functools.partial(difference_interval, k1, n1, k2, n2)
        yield Effect(
            scope=scope,
            value=abs(k1 / n1 - k2 / n2),
            n=min(n1, n2),
            ends=functools.partial(absolute_interval, change),
            detail=f"a model of other rows {scope} in {k1:,} of {n1:,} of test, {k2:,} of {n2:,} of train",
        )


def _disagrees(opinion: Opinion) -> NDArray[np.bool_]:
    return np.asarray(opinion.probabilities.argmax(axis=1) != opinion.labels)


def _contradicts(opinion: Opinion) -> NDArray[np.bool_]:
    return np.asarray(opinion.of_label < CONTRADICTED)


def signal(opinion: list[Opinion]) -> Iterator[Effect]:
    """Yield, for every table, the area under the ROC curve of the model's opinion on its labels.

    With more than two classes it is that of the most frequent class against the rest. Shuffled labels
    have an area of 0.5, whatever the model.
    """
    for o in opinion:
        chosen = int(np.bincount(o.labels).argmax())
        positive, scores = o.labels == chosen, o.probabilities[:, chosen]
        scope = f"{o.role} labels"
        if positive.all() or not positive.any():
            yield Effect(scope=scope, value=None, n=len(positive), detail="holds one class only")
            continue
        value, _ = auc_interval(positive, scores, Tails(0.025, 0.025))

        def ends(tails: Tails, p: Any = positive, s: Any = scores) -> tuple[float, float]:
            return auc_interval(p, s, tails)[1]

        detail = f"class {o.classes[chosen]} against the rest"
        yield Effect(scope=scope, value=value, n=len(positive), ends=ends, detail=detail)


def label_errors(opinion: list[Opinion]) -> Iterator[Count]:
    """Yield, for every table, the labels that cleanlab takes for wrong.

    Source: confident learning, Northcutt, Jiang and Chuang 2021, Journal of Artificial Intelligence
    Research 70:1373, as `cleanlab.count.num_label_issues` counts them.

    Raises:
        ImportError: cleanlab is not installed.
    """
    count_of = importlib.import_module("cleanlab.count").num_label_issues
    for o in opinion:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            count = int(count_of(labels=o.labels, pred_probs=o.probabilities))
        least = o.rows[np.argsort(o.of_label, kind="stable")[: min(5, count)]].tolist()
        detail = f"least likely at row {', '.join(map(str, least))} (counted from 0)" if count else ""
        yield Count(scope=f"{o.role} labels", count=count, n=len(o.labels), detail=detail)


def _fitted(x: Floats, y: Codes, seed: int) -> list[Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    limited = importlib.import_module("threadpoolctl").threadpool_limits
    # On a busy machine contended threads take a hundred times as long for so little work.
    with warnings.catch_warnings(), limited(1):
        warnings.simplefilter("ignore")
        linear = LogisticRegression(C=0.3, max_iter=200).fit(x, y)
        settings: dict[str, Any] = {"max_iter": _ROUNDS, "max_leaf_nodes": 15, "early_stopping": False}
        trees = HistGradientBoostingClassifier(random_state=seed, **settings).fit(x, y)
        return [linear, trees]


def _asked(models: list[Any], x: Floats, classes: int) -> Floats:
    total = np.zeros((len(x), classes))
    for model in models:
        total[:, model.classes_] += model.predict_proba(x) / len(models)
    return total


def _matrices(tables: Tables, features: list[str], first: str) -> dict[str, NDArray[np.float64]]:
    """Return the features as numbers: ranks in the first table from -1 to 1, and one column a category."""
    parts: dict[str, list[Floats]] = {role: [] for role in tables}
    for column in features:
        kinds = {kind_of(t[column]) for t in tables.values()}
        if kinds == {"numbers"}:
            known = np.sort(numbers(tables[first][column]))
            known = known[np.isfinite(known)]
            for role, table in tables.items():
                values = numbers(table[column])
                place = (np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")) / 2
                rank = 2 * place / max(1, len(known)) - 1
                empty = np.isnan(values)
                parts[role] += [np.where(empty, 0.0, rank), empty.astype(np.float64)]
        elif "times" not in kinds:
            names = list(categories(tables[first][column]).index[:_MOST_CATEGORIES])
            for role, table in tables.items():
                texts = table[column].astype(object).map(str)
                parts[role] += [(texts == name).to_numpy(np.float64) for name in names]
    return {role: np.stack(p, axis=1) if p else np.zeros((len(tables[role]), 1)) for role, p in parts.items()}
