"""How long fairness takes over two sensitive columns and their intersections; run with `make benchmark`.

Against fairlearn's own bootstrap of the same rates over the same groups, in the same run, at 2,000 rows.
It is given few replicates and the time of 1,000 is extrapolated from them, which is printed as such.
"""

import statistics
import time

import numpy as np
import pandas as pd
import pytest

from mlgate_checks.fairness import fairness
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.evidence import Identity
from pytest_mlgate.levels import levels_for
from pytest_mlgate.subject import Subject

METRIC = "equalized_odds_difference"
COLUMNS = ("race", "sex")
#: Rows, and the longest that the check may take, counting included, inference not.
LIMITS_S = {2_000: 0.050, 1_000_000: 1.0}
REPEATS = 5
FAIRLEARN_REPLICATES = 10
REPLICATES = 1_000


class Scored:
    """A model whose scores are a column of the table."""

    threshold = 0.5

    def __init__(self, column):
        self.column = column
        self.identity = Identity(name=column, kind="test", digest=f"sha256:{column}")

    def predict_proba(self, frame):
        return np.asarray(frame[self.column].to_numpy(), dtype=np.float64)

    predict = predict_proba


def people(rows):
    """Three races and two sexes, a fair coin as label, and two models of it that err alike everywhere."""
    rng = np.random.default_rng(0)
    race = np.asarray(["white", "black", "hispanic"])[rng.choice(3, size=rows, p=[0.7, 0.2, 0.1])]
    sex = np.asarray(["female", "male"])[rng.integers(0, 2, rows)]
    label = rng.integers(0, 2, rows)
    score = np.clip(0.5 + 0.3 * (label - 0.5) + 0.3 * rng.standard_normal(rows), 0, 1)
    before = np.clip(score + 0.02 * rng.standard_normal(rows), 0, 1)
    return pd.DataFrame({"race": race, "sex": sex, "label": label, "score": score, "before": before})


def fresh(frame, parent):
    """A subject that has its scores and nothing else yet: groups and labels are read in the timed part."""
    release = Scored("score")
    on = Subject(
        release=release,
        parent=Scored(parent) if parent else release,
        baseline=None,
        data=Dataset(test=frame, label="label", features=("score",), sensitive=COLUMNS),
        training_record=None,
        levels=levels_for(0.05, 1),
        seed=0,
    )
    on.scores()
    on.scores(on.parent)
    return on


def measured(frame, parent="", read=False):
    """Return the seconds of each repeat, after one that loads the libraries."""
    taken = []
    for i in range(REPEATS + 1):
        on = fresh(frame, parent)
        if read:
            on.data.labels()
            for column in COLUMNS:
                on.data.group_codes(column)
        start = time.perf_counter()
        fairness.function(on, metric=METRIC, sensitive=COLUMNS, max=0.5)
        if i:
            taken.append(time.perf_counter() - start)
    return taken


@pytest.mark.parametrize("rows", LIMITS_S)
def test_two_columns_and_their_intersections(rows):
    """Values, simultaneous intervals, tables and charts: 50 ms at 2,000 rows, 1 s at a million."""
    frame = people(rows)
    cold = statistics.median(measured(frame))
    warm = statistics.median(measured(frame, read=True))
    change = statistics.median(measured(frame, parent="before", read=True))
    print(
        f"\n{rows:,} rows: {cold * 1e3:.1f} ms with reading groups and labels, {warm * 1e3:.1f} ms with both "
        f"at hand, {change * 1e3:.1f} ms with the change against the float parent (medians of {REPEATS})"
    )
    assert warm < LIMITS_S[rows]
    assert change < LIMITS_S[rows]


def test_against_the_bootstrap_of_fairlearn():
    """The check is at least a hundred times faster than 1,000 bootstrap replicates of the same rates."""
    from fairlearn.metrics import MetricFrame, false_positive_rate, true_positive_rate

    frame = people(2_000)
    both = {"true-positive rate": true_positive_rate, "false-positive rate": false_positive_rate}
    answers = (frame["score"] >= 0.5).astype(int)
    start = time.perf_counter()
    for columns in (["race"], ["sex"], ["race", "sex"]):
        by = MetricFrame(
            metrics=both,
            y_true=frame["label"],
            y_pred=answers,
            sensitive_features=frame[columns],
            n_boot=FAIRLEARN_REPLICATES,
            ci_quantiles=[0.025, 0.975],
            random_state=0,
        )
        by.difference_ci()
    few = time.perf_counter() - start
    all_of_them = few * REPLICATES / FAIRLEARN_REPLICATES
    ours = statistics.median(measured(frame, read=True))
    print(
        f"\nfairlearn: {few:.2f} s for {FAIRLEARN_REPLICATES} replicates, so about {all_of_them:.0f} s for "
        f"{REPLICATES:,} (extrapolated); the check: {ours * 1e3:.1f} ms (median of {REPEATS}), "
        f"{all_of_them / ours:,.0f} times faster"
    )
    assert all_of_them > 100 * ours
