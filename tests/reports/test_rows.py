"""How the evidence is flattened into the rows of the reports."""

from __future__ import annotations

import dataclasses

from mlgate_reports._chart import interval_chart
from mlgate_reports._rows import headline, rows
from mlgate_reports._tables import group_tables, tables_of
from mlgate_reports._untested import not_tested
from pytest_mlgate.evidence import SEVERITY, Decision, Findings, Interval, Reason, Verdict


def test_rows_are_worst_first(blocked):
    """Every judgement has a row, ordered by severity."""
    listed = [SEVERITY.index(row.verdict) for row in rows(blocked)]
    assert listed == sorted(listed)
    assert len(listed) == sum(len(item.judgements) for item in blocked.evidence)


def test_the_headline_of_a_blocked_run_is_its_worst_reason(blocked):
    """One sentence says why, and how many more reasons there are."""
    assert headline(blocked).startswith("robustness: the check itself broke")
    assert headline(blocked).endswith("(and 4 more reasons).")


def test_the_headline_of_a_release_names_its_exceptions(released):
    """A release that rests on an accepted inconclusive verdict says so."""
    assert headline(released) == (
        "11 requirements met on loan-approval-int8-static, with 1 inconclusive and accepted in writing."
    )


def test_a_blocked_run_without_reasons_says_that(released):
    """Evidence that does not agree with itself is still readable."""
    run = dataclasses.replace(released, decision=Decision(outcome="blocked", reasons=(), warnings=()))
    assert headline(run) == "The evidence names no reason."


def test_a_judgement_that_points_nowhere_is_still_a_row(make_run, make_check, make_measurement):
    """A missing requirement or measurement gives dashes, not a crash: tampered folders must be readable."""
    item = make_check(
        "drift",
        {"max": ("<=", 1.0)},
        Findings(measurements=(make_measurement("m", 0.5, 0.4, 0.6, bound="max"),)),
    )
    lost = dataclasses.replace(item.judgements[0], requirement="gone", measurement=7)
    run = make_run([dataclasses.replace(item, judgements=(lost,))])
    (row,) = rows(run)
    assert (row.bound, row.observed, row.n) == ("—", "not measured", None)


def test_the_chart_shades_the_wrong_side(released, blocked):
    """Above an upper bound, below a lower one; a failing interval lies inside the shade."""
    by_id = {(r.judgement.requirement, r.judgement.scope): r for r in (*rows(blocked), *rows(released))}
    upper = interval_chart(next(r for r in rows(blocked) if r.judgement.scope == "race"))
    assert upper is not None
    assert upper.wrong_from == upper.bound < upper.low < upper.value < upper.high
    lower = interval_chart(by_id["performance[roc_auc].min", ""])
    assert lower is not None
    assert lower.wrong_from == 0.0
    assert lower.wrong_width == lower.bound < lower.low


def test_an_unbounded_end_runs_to_the_edge(make_run, make_check, make_measurement):
    """An interval without an upper end is drawn to the edge of the chart, with an arrow."""
    open_end = dataclasses.replace(
        make_measurement("m", 0.5, 0, 0, bound="max"), interval=Interval(low=0.4, high=None, confidence=0.95)
    )
    (row,) = rows(make_run([make_check("drift", {"max": ("<=", 1.0)}, Findings(measurements=(open_end,)))]))
    chart = interval_chart(row)
    assert chart is not None
    assert chart.open_high
    assert not chart.open_low
    assert row.interval == "0.4 to unbounded (95% CI)"


def test_there_is_no_chart_without_a_usable_interval(blocked, make_run, make_check, make_measurement):
    """Not measured, infinite, and too large to place on an axis: no drawing rather than a wrong one."""
    reasons = {"budget[npu].latency_ms", "privacy_epsilon.epsilon", "robustness.min_stable"}
    missing = [row for row in rows(blocked) if row.judgement.requirement in reasons]
    assert len(missing) == 3
    huge = make_measurement("m", 1e308, -1e308, 1.7e308, bound="max")
    missing += rows(make_run([make_check("drift", {"max": ("<=", 1.0)}, Findings(measurements=(huge,)))]))
    assert [interval_chart(row) for row in missing] == [None] * 4


def test_bars_stand_beside_shares_only(released):
    """Rates get bars; counts, shares of the rows and names do not."""
    (table,) = group_tables(released)
    with_bars = [name for name, bar in zip(table.table.columns, table.bars, strict=True) if bar]
    assert with_bars == ["selection rate", "false-positive rate"]
    drift = next(item for item in released.evidence if item.check == "drift")
    assert [t.by_group for t in tables_of(drift)] == [False]


def test_whatever_is_open_is_listed(blocked):
    """Unsettled requirements, groups without a value, and what checks leave out, all appear."""
    gaps = {gap.subject: gap.text for gap in not_tested(blocked)}
    unsettled = {"robustness.min_stable", "budget[npu].latency_ms", "calibration.max_error"}
    assert unsettled <= set(gaps)
    texts = " ".join(gap.text for gap in not_tested(blocked))
    assert "[race*sex] was not measured: hispanic women: 4 rows" in texts
    assert "Groups by race: group asian was not judged" in texts
    assert "energy, peak memory" in texts


def test_a_run_of_nothing_lists_everything(empty):
    """No candidate, no group, and every required check that nobody declares."""
    subjects = [gap.subject for gap in not_tested(empty)]
    assert subjects == ["candidate", *empty.policy.required, "groups of people"]


def test_reasons_are_not_taken_from_passing_rows(released):
    """A row with a value needs no reason for its absence."""
    assert {row.reason for row in rows(released)} == {""}
    assert isinstance(released.decision.warnings[0], Reason)
    assert released.decision.warnings[0].verdict is Verdict.INCONCLUSIVE
