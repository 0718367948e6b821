"""The calibration check: probabilities that mean what they say, overall, by group and after compression."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss

from mlgate_checks.calibration import calibration
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Findings, Grade, Identity, Measurement, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.statistics import calibration_error_interval
from pytest_mlgate.subject import Subject

LEVELS = levels_for(0.05, 2)


class ReadsColumns:
    """A model whose scores are columns of the table."""

    threshold = 0.5

    def __init__(self, *columns: str, output: str = "probability") -> None:
        self.columns = columns
        self.output = output
        self.identity = Identity(name=columns[0], kind="test", digest=f"sha256:{columns}")

    def predict_proba(self, frame: Any) -> np.ndarray:
        scores = np.stack([frame[name].to_numpy() for name in self.columns], axis=1).astype(np.float64)
        return scores if len(self.columns) > 1 else scores[:, 0]

    predict = predict_proba


def table(rows: int, seed: int = 0, sharper: float = 1.0) -> pd.DataFrame:
    """Rows whose true log-odds are known; `new` says them times `sharper`, `old` as they are."""
    rng = np.random.default_rng(seed)
    log_odds = 1.5 * rng.normal(size=rows)
    chance = 1 / (1 + np.exp(-log_odds))
    return pd.DataFrame(
        {
            "label": (rng.random(rows) < chance).astype(int),
            "old": chance,
            "new": 1 / (1 + np.exp(-sharper * log_odds)),
            "g": rng.choice(["a", "b"], rows, p=[0.7, 0.3]),
        }
    )


def subject(frame: pd.DataFrame, parent: str = "new", **data: Any) -> Subject:
    release = ReadsColumns("new")
    given = Dataset(test=frame, label="label", features=("new",), sensitive=("g",), **data)
    other = release if parent == "new" else ReadsColumns(parent)
    return Subject(release, other, None, given, None, LEVELS, 0)


def check(frame: pd.DataFrame, parent: str = "new", **parameters: Any) -> Findings:
    return calibration.function(subject(frame, parent), **parameters)


def verdicts(found: Findings, parameter: str, bound: float) -> list[Verdict]:
    requirement = Requirement(
        id="c", check="calibration", parameter=parameter, comparator="<=", bound=bound, source="test"
    )
    return [j.verdict for j in judge([requirement], found.measurements)]


def named(found: Findings, metric: str, scope: str = "") -> Measurement:
    return next(m for m in found.measurements if (m.metric, m.scope) == (metric, scope))


@pytest.mark.parametrize(
    ("rows", "sharper", "verdict"),
    [(5_000, 1.0, Verdict.PASS), (5_000, 2.5, Verdict.FAIL), (200, 1.0, Verdict.INCONCLUSIVE)],
)
def test_the_calibration_error_passes_fails_or_stays_open(rows: int, sharper: float, verdict: Verdict):
    """Probabilities as they are pass, overconfident ones fail, and few rows decide nothing."""
    assert verdicts(check(table(rows, sharper=sharper), max_error=0.05), "max_error", 0.05) == [verdict]


def test_a_calibrated_model_is_not_blocked_where_the_plug_in_error_blocks_it():
    """With 300 rows the usual error exceeds 0.05 in most samples, and the check never fails."""
    blocked = failed = 0
    for seed in range(60):
        found = check(table(300, seed), max_error=0.05)
        failed += verdicts(found, "max_error", 0.05) == [Verdict.FAIL]
        blocked += (named(found, "expected_calibration_error").value or 0) > 0.05
    assert failed == 0
    assert blocked > 30


def test_the_brier_score_is_scikit_learns():
    """Value to 1e-12, inside its interval, with what the base rate alone would score."""
    frame = table(800)
    found = named(check(frame, max_brier=0.2), "brier")
    assert found.value == pytest.approx(brier_score_loss(frame["label"], frame["new"]), abs=1e-12)
    assert found.interval is not None
    assert found.interval.low < found.value < found.interval.high
    rate = frame["label"].mean()
    assert f"{rate * (1 - rate):.3g}" in found.detail


@pytest.mark.parametrize(("bound", "verdict"), [(0.3, Verdict.PASS), (0.1, Verdict.FAIL)])
def test_the_brier_score_is_judged(bound: float, verdict: Verdict):
    """A bound well above the score passes, one well below fails."""
    assert verdicts(check(table(2_000), max_brier=bound), "max_brier", bound) == [verdict]


def test_brier_intervals_cover_at_a_low_base_rate():
    """With 300 rows and 5% positives the true score is inside in at least 92% of 250 samples."""
    rng = np.random.default_rng(5)
    chance = 1 / (1 + np.exp(-rng.normal(-3.5, 1.1, 1_000_000)))
    truth = float((chance * (1 - chance)).mean())
    covered = 0
    for _ in range(250):
        new = rng.choice(chance, 300)
        frame = pd.DataFrame({"label": (rng.random(300) < new).astype(int), "new": new, "g": "a"})
        frame.loc[:1, "label"] = [0, 1]
        interval = named(check(frame, max_brier=0.2), "brier").interval
        assert interval is not None
        covered += interval.low <= truth <= interval.high
    assert covered >= 230


def test_every_group_is_measured_as_one_of_a_family():
    """The error by group is that of its rows, at a level that is divided over the groups."""
    frame = table(3_000)
    found = check(frame, groups=("g",), max_group_error=0.1)
    tails = LEVELS.split(2).tails("<=")
    for group in ("a", "b"):
        mine = frame[frame["g"] == group]
        expected = calibration_error_interval(mine["new"].to_numpy(), mine["label"].to_numpy() == 1, tails)
        m = named(found, "calibration_error", f"g={group}")
        assert m.value == expected.value
        assert m.interval is not None
        assert (m.interval.low, m.interval.high) == expected.interval
    assert found.tables[-1].title == "Calibration error by group"


def test_a_group_that_is_off_fails_alone():
    """Probabilities that mean nothing in one group fail that group, though the whole may pass."""
    frame = table(6_000)
    frame.loc[frame["g"] == "b", "new"] = np.clip(frame["new"] + 0.25, 0, 1)
    found = check(frame, groups=("g",), max_group_error=0.08)
    assert verdicts(found, "max_group_error", 0.08) == [Verdict.PASS, Verdict.FAIL]


def test_a_group_of_one_row_is_not_run_and_a_small_one_asks_for_rows():
    """One row has no variance; seventy leave the verdict open and say how many more are needed."""
    frame = table(3_000)
    frame.loc[0, "g"] = "single"
    frame.loc[1:70, "g"] = "few"
    found = check(frame, groups=("g",), max_group_error=0.1)
    single = named(found, "calibration_error", "g=single")
    assert (single.value, single.grade, single.n) == (None, Grade.MISSING, 1)
    assert "two rows" in single.detail
    few = named(found, "calibration_error", "g=few")
    assert few.n == 70
    assert few.more_rows["g=few"] > 0
    told = dict(zip(["a", "b", "few", "single"], verdicts(found, "max_group_error", 0.1), strict=True))
    assert told["few"] is Verdict.INCONCLUSIVE
    assert told["single"] is Verdict.NOT_RUN


def test_a_group_of_one_class_is_measured():
    """Calibration needs no rows of both classes: low scores and no event agree."""
    frame = table(1_000)
    frame["g"] = np.where(frame["label"] == 1, "b", "a")
    found = named(check(frame, groups=("g",), max_group_error=0.9), "calibration_error", "g=a")
    assert found.value is not None
    assert found.value > 0.1


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"max_group_error": 0.1}, "none is named"),
        ({"max_error": 0.1, "bins": 0}, "bins=0"),
    ],
)
def test_bounds_without_what_they_need_are_refused(parameters: dict[str, Any], told: str):
    """What could never be judged is refused."""
    with pytest.raises(CheckError, match=told):
        check(table(100), **parameters)


def test_what_compression_did_is_reported_with_intervals():
    """The change of both figures against the float parent is for information, signed and enclosed."""
    frame = table(4_000, sharper=2.0)
    found = check(frame, parent="old", max_error=0.2)
    scope = "against the float parent"
    brier_change = named(found, "brier_change", scope)
    expected = brier_score_loss(frame["label"], frame["new"]) - brier_score_loss(frame["label"], frame["old"])
    assert brier_change.value == pytest.approx(expected, abs=1e-12)
    error_change = named(found, "calibration_error_change", scope)
    for m in (brier_change, error_change):
        assert m.bound is None
        assert m.interval is not None
        assert m.interval.low > 0
    assert [s.name for s in found.charts[0].series] == ["release artifact", "float parent"]


def test_the_reliability_diagram_shows_the_bins():
    """One point a bin with whiskers around it, beside the diagonal, and a histogram of all rows."""
    frame = table(2_000)
    diagram, histogram = check(frame, max_error=0.1).charts
    assert diagram.kind == "points"
    assert diagram.diagonal
    (series,) = diagram.series
    assert len(series.x) == 15
    for x, low, y, high in zip(series.x, series.low, series.y, series.high, strict=True):
        assert low <= y <= high
        assert 0 <= x <= 1
    assert sum(histogram.series[0].y) == pytest.approx(1)


def several_classes(rows: int = 4_000, sharper: float = 1.0, seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(rows, 3))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rng.random(rows)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    said = np.exp(sharper * logits)
    said /= said.sum(axis=1, keepdims=True)
    names = np.asarray(["ant", "bee", "cow"])[truth]
    return pd.DataFrame({"label": names, "a": said[:, 0], "b": said[:, 1], "c": said[:, 2]})


def of_several_classes(frame: pd.DataFrame, **parameters: Any) -> Findings:
    model = ReadsColumns("a", "b", "c")
    data = Dataset(test=frame, label="label", features=("a", "b", "c"))
    return calibration.function(Subject(model, model, None, data, None, LEVELS, 0), **parameters)


@pytest.mark.parametrize(("sharper", "verdict"), [(1.0, Verdict.PASS), (2.5, Verdict.FAIL)])
def test_several_classes_are_judged_by_their_top_label(sharper: float, verdict: Verdict):
    """The predicted class is right as often as its probability says, or the check fails; and says so."""
    found = of_several_classes(several_classes(sharper=sharper), max_error=0.05)
    assert verdicts(found, "max_error", 0.05) == [verdict]
    assert "top-label" in (found.assumptions or {})["event"]


def test_the_brier_score_of_several_classes_is_scikit_learns():
    """It is summed over the classes."""
    frame = several_classes(500)
    found = named(of_several_classes(frame, max_brier=1.0), "brier")
    expected = brier_score_loss(frame["label"], frame[["a", "b", "c"]], labels=["ant", "bee", "cow"])
    assert found.value == pytest.approx(expected, abs=1e-12)


def amounts(rows: int = 500, bias: float = 0.0) -> Subject:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"label": rng.normal(size=rows)})
    frame["new"] = frame["label"] + bias + 0.3 * rng.normal(size=rows)
    model = ReadsColumns("new", output="value")
    data = Dataset(test=frame, label="label", features=("new",), task="regression")
    return Subject(model, model, None, data, None, LEVELS, 0)


@pytest.mark.parametrize(("bias", "verdict"), [(0.0, Verdict.PASS), (-0.3, Verdict.FAIL)])
def test_a_regression_is_judged_by_its_mean(bias: float, verdict: Verdict):
    """The absolute mean error answers to the bound, the detail says which way, the rest is not covered."""
    found = calibration.function(amounts(bias=bias), max_error=0.1)
    assert verdicts(found, "max_error", 0.1) == [verdict]
    assert bias == 0 or "too low" in found.measurements[0].detail
    assert "beyond its mean" in found.not_covered[0]


@pytest.mark.parametrize("parameters", [{"max_brier": 0.1}, {"max_error": 0.1, "groups": ("new",)}])
def test_a_regression_has_no_probabilities(parameters: dict[str, Any]):
    """Bounds of probabilities are refused for amounts."""
    with pytest.raises(CheckError, match="no probabilities"):
        calibration.function(amounts(), **parameters)


@pytest.mark.parametrize("score", [np.nan, np.inf, 1.5, -0.5])
def test_answers_that_are_no_probabilities_are_refused(score: float):
    """One broken score is an error, not a bin."""
    frame = table(100)
    frame.loc[5, "new"] = score
    with pytest.raises(CheckError, match=r"NaN or infinity for 1|no probabilities"):
        check(frame, max_error=0.1)


def test_all_equal_scores_are_one_bin():
    """A model that always says 0.5 about a coin is calibrated, and one that says 0.9 is not."""
    frame = table(2_000)
    assert verdicts(check(frame.assign(new=0.5), max_error=0.1), "max_error", 0.1) == [Verdict.PASS]
    assert verdicts(check(frame.assign(new=0.9), max_error=0.1), "max_error", 0.1) == [Verdict.FAIL]


def test_one_row_is_refused():
    """There is nothing to tell calibration from luck."""
    with pytest.raises(CheckError, match="two rows or more"):
        check(table(1), max_error=0.1)


def test_a_column_of_identifiers_is_refused():
    """5,000 groups are named as too many."""
    frame = table(10_000)
    frame["g"] = [str(i % 5_000) for i in range(10_000)]
    with pytest.raises(CheckError, match="5,000 groups"):
        check(frame, groups=("g",), max_group_error=0.1)


def test_one_bin_of_different_scores_is_no_calibration():
    """In 59 rows errors of opposite sign would share the only bin, and an inverted model pass on its mean."""
    rng = np.random.default_rng(0)
    score = rng.random(59)
    frame = pd.DataFrame({"new": score, "label": (rng.random(59) > score).astype(int)})
    with pytest.raises(CheckError, match="errors that cancel are not seen: 60 rows make two"):
        check(frame, max_error=0.4)
    with pytest.raises(CheckError, match="bins=1: at least two"):
        check(table(2_000), max_error=0.1, bins=1)
