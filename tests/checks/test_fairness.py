"""The fairness check: fairlearn's points, and intervals that decide for any number of groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fairlearn import metrics

from mlgate_checks._groups import Group
from mlgate_checks.fairness import _interval, fairness
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Comparator, Findings, Grade, Identity, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.subject import Subject

DIFFERENCES = ("demographic_parity_difference", "equal_opportunity_difference", "equalized_odds_difference")
METRICS = (*DIFFERENCES, "demographic_parity_ratio")
LEVELS = levels_for(0.05, 1)


class ReadsColumn:
    """A model whose score is a column of the table."""

    threshold = 0.5

    def __init__(self, column: str = "score") -> None:
        self.column = column
        self.identity = Identity(name=column, kind="test", digest=f"sha256:{column}")

    def predict_proba(self, frame: Any) -> np.ndarray:
        return np.asarray(frame[self.column].to_numpy(), dtype=np.float64)


def subject(frame: pd.DataFrame, parent: str = "score") -> Subject:
    release = ReadsColumn()
    return Subject(
        release=release,
        parent=release if parent == "score" else ReadsColumn(parent),
        baseline=None,
        data=Dataset(test=frame, label="label", features=("score",), sensitive=("race", "sex")),
        training_record=None,
        levels=LEVELS,
        seed=0,
    )


def table(
    rows: int,
    selection: Sequence[float] = (0.5, 0.5, 0.5),
    shares: Sequence[float] = (0.7, 0.2, 0.1),
    seed: int = 0,
) -> pd.DataFrame:
    """Rows whose selection rate depends on race alone, and whose label is a fair coin."""
    rng = np.random.default_rng(seed)
    race = rng.choice(len(shares), size=rows, p=shares)
    return pd.DataFrame(
        {
            "race": np.asarray(["white", "black", "hispanic", "asian", "other", "two"])[race],
            "sex": rng.choice(["female", "male"], rows),
            "label": rng.integers(0, 2, rows),
            "score": np.where(rng.random(rows) < np.asarray(selection)[race], 0.9, 0.1),
        }
    )


def check(frame: pd.DataFrame, metric: str = DIFFERENCES[0], **parameters: Any) -> Findings:
    parent = parameters.pop("parent", "score")
    parameters.setdefault("sensitive", ("race",))
    return fairness.function(subject(frame, parent), metric=metric, **parameters)


def verdicts(findings: Findings, bound: float, parameter: str = "max") -> list[Verdict]:
    comparator: Comparator = "<=" if parameter == "max" else ">="
    requirement = Requirement(
        id="f", check="fairness", parameter=parameter, comparator=comparator, bound=bound, source="test"
    )
    return [j.verdict for j in judge([requirement], findings.measurements)]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(5))
def test_points_are_those_of_fairlearn_on_the_rows(metric: str, seed: int):
    """The value of every scope equals fairlearn's on the unaggregated rows to 1e-12."""
    frame = table(700, selection=(0.6, 0.45, 0.5), seed=seed)
    bound: dict[str, Any] = {"min": 0.8} if metric.endswith("ratio") else {"max": 0.1}
    findings = check(frame, metric, sensitive=("race", "sex"), **bound)
    assert [m.scope for m in findings.measurements] == ["race", "sex", "race*sex"]
    answers = (frame["score"] >= 0.5).astype(int)
    for m in findings.measurements:
        groups = frame[m.scope.split("*")].agg("*".join, axis=1)
        expected = getattr(metrics, metric)(frame["label"], answers, sensitive_features=groups)
        assert m.value == pytest.approx(expected, abs=1e-12)
        assert m.interval is not None
        assert m.interval.low <= m.value <= m.interval.high


def groups_drawn(rng: np.random.Generator, rows: int, shares: np.ndarray, rates: np.ndarray) -> list[Group]:
    sizes = rng.multinomial(rows, shares)
    selected = rng.binomial(sizes, rates)
    return [
        Group(str(i), int(n), n / rows, int(n), int(k), 0, judged=True)
        for i, (n, k) in enumerate(zip(sizes, selected, strict=True))
    ]


@pytest.mark.parametrize("rows", [300, 2_000])
@pytest.mark.parametrize("count", [2, 6])
@pytest.mark.parametrize("gap", [0.0, 0.1, 0.25])
def test_the_interval_of_a_difference_covers_the_true_gap(rows: int, count: int, gap: float):
    """Over 1,000 samples the true largest gap is inside the 95% interval in at least 94%."""
    rng = np.random.default_rng(7)
    shares = np.asarray([0.85, 0.15]) if count == 2 else np.asarray([0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
    rates = np.full(count, 0.5)
    rates[-1] -= gap
    tails = LEVELS.split(count * (count - 1) // 2).tails("<=")
    covered = 0
    for _ in range(1_000):
        low, high = _interval(DIFFERENCES[0], groups_drawn(rng, rows, shares, rates), tails)
        covered += low <= gap <= high
    assert covered >= 940


@pytest.mark.parametrize("rows", [300, 2_000])
@pytest.mark.parametrize("count", [2, 6])
@pytest.mark.parametrize("ratio", [1.0, 0.8])
def test_the_interval_of_a_ratio_covers_the_true_ratio(rows: int, count: int, ratio: float):
    """Over 1,000 samples the true smallest ratio is inside the 95% interval in at least 94%."""
    rng = np.random.default_rng(8)
    shares = np.asarray([0.85, 0.15]) if count == 2 else np.asarray([0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
    rates = np.full(count, 0.6)
    rates[-1] *= ratio
    tails = LEVELS.split(count * (count - 1) // 2).tails(">=")
    covered = 0
    for _ in range(1_000):
        low, high = _interval(METRICS[3], groups_drawn(rng, rows, shares, rates), tails)
        covered += low <= ratio <= high
    assert covered >= 940


@pytest.mark.parametrize(("count", "rows"), [(2, 300), (2, 2_000), (6, 2_000), (6, 5_000)])
def test_a_gap_on_the_bound_passes_and_fails_in_at_most_five_percent(count: int, rows: int):
    """With a true gap of exactly 0.10 and a true ratio of exactly 0.8, either verdict is rare."""
    rng = np.random.default_rng(9)
    shares = np.full(count, 1 / count)
    rates = np.full(count, 0.5)
    rates[-1] = 0.4
    wrong = np.zeros(4)
    pairs = count * (count - 1) // 2
    for _ in range(1_000):
        groups = groups_drawn(rng, rows, shares, rates)
        low, high = _interval(DIFFERENCES[0], groups, LEVELS.split(pairs).tails("<="))
        least, most = _interval(METRICS[3], groups, LEVELS.split(pairs).tails(">="))
        wrong += [high <= 0.1, low > 0.1, least >= 0.8, most < 0.8]
    assert (wrong <= 50).all(), wrong


def test_a_fair_model_never_fails():
    """In 200 samples of 600 rows a model that treats six groups alike is never judged `fail`."""
    rates, shares = [0.5] * 6, (0.4, 0.25, 0.15, 0.1, 0.06, 0.04)
    for seed in range(200):
        found = check(table(600, rates, shares, seed), "equalized_odds_difference", max=0.1)
        assert verdicts(found, 0.1) == [Verdict.INCONCLUSIVE]


def test_a_gap_of_a_quarter_mostly_fails_at_2000_rows():
    """A true gap of 0.25 fails a bound of 0.10 in at least 90% of samples of 2,000 rows."""
    failed = [
        verdicts(check(table(2_000, (0.6, 0.35, 0.6), seed=seed), max=0.1), 0.1) == [Verdict.FAIL]
        for seed in range(40)
    ]
    assert sum(failed) >= 36


def test_a_fair_model_passes_with_enough_rows():
    """With 20,000 rows a model that treats all groups alike passes in every scope."""
    frame = table(20_000, shares=(0.4, 0.3, 0.3))
    for metric in DIFFERENCES:
        found = check(frame, metric, sensitive=("race", "sex"), max=0.1)
        assert verdicts(found, 0.1) == [Verdict.PASS] * 3


@pytest.mark.parametrize(("black", "expected"), [(0.5, Verdict.PASS), (0.3, Verdict.FAIL)])
def test_the_ratio_answers_to_min(black: float, expected: Verdict):
    """The four-fifths rule passes equal rates and fails 0.3 against 0.5."""
    frame = table(20_000, (0.5, black, 0.5), (0.4, 0.3, 0.3))
    found = check(frame, "demographic_parity_ratio", min=0.8)
    assert verdicts(found, 0.8, "min") == [expected]


def test_equal_opportunity_looks_at_positives_only():
    """A gap among the positives fails, although the selection rates are equal."""
    frame = table(20_000, shares=(0.5, 0.5, 0.0))
    rng = np.random.default_rng(99)
    black, positive = frame["race"] == "black", frame["label"] == 1
    rate = np.where(black, np.where(positive, 0.3, 0.7), 0.5)
    frame["score"] = np.where(rng.random(len(frame)) < rate, 0.9, 0.1)
    assert verdicts(check(frame, max=0.1), 0.1) == [Verdict.PASS]
    found = check(frame, "equal_opportunity_difference", max=0.1)
    assert verdicts(found, 0.1) == [Verdict.FAIL]
    assert "positives)" in found.measurements[0].detail


@pytest.mark.parametrize(
    ("metric", "label", "missing"),
    [
        ("equal_opportunity_difference", 0, "no positives"),
        ("equalized_odds_difference", 0, "no positives"),
        ("equalized_odds_difference", 1, "no negatives"),
    ],
)
def test_a_group_without_a_denominator_is_never_zero(metric: str, label: int, missing: str):
    """A group in which the rate is undefined gives no value, names the group, and does not run."""
    frame = table(2_000)
    frame.loc[frame["race"] == "hispanic", "label"] = label
    found = check(frame, metric, max=0.9)
    assert found.measurements[0].value is None
    assert found.measurements[0].interval is None
    assert found.measurements[0].grade is Grade.MISSING
    assert "race=hispanic (n=" in found.measurements[0].detail
    assert missing in found.measurements[0].detail
    assert verdicts(found, 0.9) == [Verdict.NOT_RUN]


def test_a_ratio_of_zeros_is_not_measured():
    """Where nobody is selected, the ratio is undefined rather than 0 or 1."""
    found = check(table(500).assign(score=0.1), "demographic_parity_ratio", min=0.8)
    assert found.measurements[0].value is None
    assert "no row of any group is selected" in found.measurements[0].detail


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_tiny_group_can_neither_pass_nor_fail_a_fair_model(size: int):
    """A group of a few rows makes the verdict inconclusive, however its rows turned out."""
    for selected in (0.1, 0.9):
        frame = table(5_000, shares=(0.5, 0.5, 0.0))
        few = pd.DataFrame(
            {"race": ["asian"] * size, "sex": "male", "label": [0, 1, 0, 1, 0][:size], "score": selected}
        )
        found = check(pd.concat([frame, few], ignore_index=True), max=0.1)
        assert verdicts(found, 0.1) == [Verdict.INCONCLUSIVE]


def test_small_groups_may_be_left_out_and_are_named():
    """Under min_group_share a group is not judged, but shown in the table and named as not covered."""
    frame = table(5_000, shares=(0.5, 0.49, 0.01))
    frame.loc[frame["race"] == "hispanic", ["label", "score"]] = [0, 0.1]
    found = check(frame, max=0.1, min_group_share=0.02)
    assert verdicts(found, 0.1) == [Verdict.PASS]
    rows = {row[0]: row for row in found.tables[0].rows}
    n = int((frame["race"] == "hispanic").sum())
    assert rows["hispanic"] == ("hispanic", n, n / 5_000, 0, 0.0, None, 0.0, "no")
    assert rows["black"][-1] == "yes"
    assert any(text.startswith(f"race=hispanic (n={n}, ") for text in found.not_covered)
    assert found.measurements[0].n == 5_000 - n


def test_a_column_with_one_group_left_is_not_measured():
    """Where only one group is large enough there is nothing to compare, and that blocks."""
    found = check(table(1_000, shares=(0.99, 0.01, 0.0)), max=0.5, min_group_share=0.02)
    assert found.measurements[0].value is None
    assert "a gap needs two" in found.measurements[0].detail
    assert verdicts(found, 0.5) == [Verdict.NOT_RUN]


def test_missing_values_are_a_group_of_their_own():
    """Rows without a value form the group `unknown`, which is judged."""
    frame = table(2_000)
    frame["race"] = frame["race"].astype(object)
    frame.loc[::4, "race"] = None
    found = check(frame, max=0.1)
    assert ("unknown", 500) in [row[:2] for row in found.tables[0].rows]


def test_the_detail_names_the_worst_pair_with_counts_and_rates():
    """The message says which two groups, how many rows stand behind each, and their rates."""
    frame = table(2_000, (0.9, 0.4, 0.8))
    found = check(frame, max=0.1)
    black, white = (frame[frame["race"] == race] for race in ("black", "white"))
    expected = (
        f"selection rate: race=black (n={len(black)}) {(black['score'] > 0.5).mean():.3g} against "
        f"race=white (n={len(white):,}) {(white['score'] > 0.5).mean():.3g}"
    )
    assert found.measurements[0].detail == expected


def test_intersections_find_what_neither_column_shows_and_can_be_switched_off():
    """A model that is fair to each race and sex, but not to their combinations, fails in race*sex only."""
    frame = table(8_000, shares=(0.5, 0.5, 0.0))
    same = (frame["race"] == "black") == (frame["sex"] == "female")
    rng = np.random.default_rng(99)
    frame["score"] = np.where(rng.random(8_000) < np.where(same, 0.7, 0.3), 0.9, 0.1)
    found = check(frame, sensitive=("race", "sex"), max=0.1)
    assert verdicts(found, 0.1) == [Verdict.PASS, Verdict.PASS, Verdict.FAIL]
    alone = check(frame, sensitive=("race", "sex"), max=0.1, intersections=False)
    assert [m.scope for m in alone.measurements] == ["race", "sex"]


def test_the_change_from_the_float_parent_is_reported_without_a_bound():
    """Where compression changed the model, the change of the metric stands beside it, for information."""
    frame = table(2_000, (0.5, 0.3, 0.5))
    frame["before"] = table(2_000)["score"].sample(frac=1, random_state=0).to_numpy()
    found = check(frame, max=0.1, parent="before")
    value, change = found.measurements
    release = metrics.demographic_parity_difference(
        frame["label"], frame["score"] > 0.5, sensitive_features=frame["race"]
    )
    parent = metrics.demographic_parity_difference(
        frame["label"], frame["before"] > 0.5, sensitive_features=frame["race"]
    )
    assert (change.metric, change.bound, change.n) == ("demographic_parity_difference_change", None, 2_000)
    assert change.value == pytest.approx(release - parent, abs=1e-12)
    assert value.value == pytest.approx(release, abs=1e-12)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"metric": "demographic_parity_ratio", "max": 0.1}, "takes the bound min="),
        ({"metric": "equalized_odds_difference", "min": 0.8}, "takes the bound max="),
        ({"max": 0.1, "min_group_share": 1.5}, "min_group_share=1.5 is outside"),
        ({"max": 0.1, "min_group_share": float("nan")}, "min_group_share=nan is outside"),
        ({"max": 0.1, "sensitive": ()}, "names no column"),
        ({"max": 0.1, "sensitive": ("income",)}, "income has 2,000 groups"),
    ],
)
def test_unusable_parameters_are_refused(parameters: dict[str, Any], message: str):
    """A bound on the wrong side, an impossible share or a column of amounts is refused by name."""
    with pytest.raises(CheckError, match=message):
        check(table(2_000).assign(income=range(2_000)), **parameters)


def test_models_and_labels_of_several_classes_are_refused():
    """Rates of a positive class need a binary model and a binary label."""
    frame = table(300)
    with pytest.raises(CheckError, match="label has 3 classes"):
        check(frame.assign(label=np.arange(300) % 3), max=0.1)
    on = subject(frame)
    on.release.predict_proba = lambda rows: np.full((len(rows), 3), 1 / 3)  # type: ignore[method-assign]
    with pytest.raises(CheckError, match="3 classes"):
        fairness.function(on, metric=DIFFERENCES[0], sensitive=("race",), max=0.1)
