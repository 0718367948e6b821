"""From measurements to verdicts: only intervals decide, and nothing unusable ever passes."""

import dataclasses
import math
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_mlgate import codec
from pytest_mlgate.evidence import Grade, Interval, Judgement, Measurement, Requirement, Verdict
from pytest_mlgate.judge import describe, errored, judge, not_run, rows_needed, significant

steady = settings(deadline=None, max_examples=100, derandomize=True)
numbers = st.floats(-1000, 1000).map(lambda x: round(x, 6))
comparators = st.sampled_from(["<=", ">="])


def requirement(**changes) -> Requirement:
    fields = {
        "id": "drift.max",
        "check": "drift",
        "parameter": "max",
        "comparator": "<=",
        "bound": 0.1,
        "source": "mlgate.toml:3",
    }
    return Requirement(**{**fields, **changes})


def measurement(low=0.02, high=0.08, **changes) -> Measurement:
    fields = {
        "metric": "distance",
        "value": 0.05,
        "unit": "",
        "n": 100,
        "interval": Interval(low=low, high=high, confidence=0.95),
        "method": "test",
        "bound": "max",
    }
    return Measurement(**{**fields, **changes})


def verdict(r: Requirement, m: Measurement) -> Verdict:
    (judgement,) = judge([r], [m])
    return judgement.verdict


@st.composite
def measured(draw):
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    ends = draw(st.sampled_from([(low, high), (None, high), (low, None), (None, None)]))
    return measurement(
        *ends, value=value, n=draw(st.integers(1, 10**6)), scope=draw(st.sampled_from(["", "g"]))
    )


@pytest.mark.parametrize(
    ("comparator", "low", "high", "expected"),
    [
        ("<=", 0.02, 0.08, "pass"),
        ("<=", 0.02, 0.1, "pass"),
        ("<=", 0.1, 0.2, "inconclusive"),
        ("<=", 0.11, 0.2, "fail"),
        ("<=", None, 0.08, "pass"),
        ("<=", 0.02, None, "inconclusive"),
        ("<=", 0.11, None, "fail"),
        (">=", 0.11, 0.2, "pass"),
        (">=", 0.1, 0.2, "pass"),
        (">=", 0.02, 0.1, "inconclusive"),
        (">=", 0.02, 0.08, "fail"),
        (">=", 0.11, None, "pass"),
        (">=", None, 0.2, "inconclusive"),
        (">=", None, 0.08, "fail"),
    ],
)
def test_only_the_whole_interval_decides(comparator, low, high, expected):
    """The whole interval on one side of the bound decides; the bound itself is on the right side."""
    inside = low if high is None else high if low is None else (low + high) / 2
    assert verdict(requirement(comparator=comparator), measurement(low, high, value=inside)) == expected


@steady
@given(measured(), comparators, numbers, st.floats(0, 500))
@example(measurement(0.0, 0.2, value=0.1), "<=", 0.1, 0.1)
def test_loosening_a_bound_never_makes_the_verdict_worse(m, comparator, bound, more):
    """A looser bound turns neither a pass into anything else nor an inconclusive into a fail."""
    order = [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS]
    looser = bound + more if comparator == "<=" else bound - more
    before = verdict(requirement(comparator=comparator, bound=bound), m)
    after = verdict(requirement(comparator=comparator, bound=looser), m)
    assert order.index(after) >= order.index(before)


@steady
@given(measured(), numbers)
def test_opposite_bounds_never_both_fail(m, bound):
    """What fails an upper bound passes or leaves open the same number as a lower bound."""
    upper = verdict(requirement(bound=bound), m)
    lower = verdict(requirement(comparator=">=", bound=bound), m)
    assert (upper, lower) != (Verdict.FAIL, Verdict.FAIL)
    if upper is Verdict.FAIL:
        assert lower is Verdict.PASS


broken_intervals = st.sampled_from(
    [None, Interval(low=0.3, high=0.2, confidence=0.95)]
    + [Interval(low=low, high=0.2, confidence=0.95) for low in (math.nan, math.inf, -math.inf)]
    + [Interval(low=0.0, high=high, confidence=0.95) for high in (math.nan, math.inf, -math.inf)]
)
unusable = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, None]).map(lambda v: {"value": v}),
    broken_intervals.map(lambda i: {"interval": i}),
    st.integers(-5, 0).map(lambda n: {"n": n}),
    st.sampled_from([g for g in Grade if g is not Grade.MEASURED]).map(lambda g: {"grade": g}),
    st.just({"unbounded": True}),
)


@steady
@given(measured(), unusable, comparators, numbers)
def test_nothing_unusable_ever_passes(m, broken, comparator, bound):
    """NaN, infinity, no value, no interval, swapped ends, no rows or a weak grade: never a pass."""
    fields = {name: getattr(m, name) for name in Measurement.__dataclass_fields__}
    fields["grade"] = Grade.MEASURED
    found = verdict(requirement(comparator=comparator, bound=bound), Measurement(**{**fields, **broken}))
    assert found in {Verdict.NOT_RUN, Verdict.ERROR, Verdict.FAIL}
    assert found is not Verdict.FAIL or "unbounded" in broken


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (0.05, -math.inf, 0.08),
        (0.05, None, -math.inf),
        (0.05, math.inf, 0.08),
        (0.05, 0.02, math.inf),
        (0.2, 0.02, 0.08),
        (0.01, 0.02, 0.08),
        (0.09, None, 0.08),
        (0.01, 0.02, None),
    ],
)
@pytest.mark.parametrize("comparator", ["<=", ">="])
@pytest.mark.parametrize("bound", [-1e300, 0.0, 1e300])
def test_infinite_ends_and_values_outside_their_interval_are_errors(comparator, bound, value, low, high):
    """An end written as infinity, or a value outside its own interval, is an error under every bound."""
    r = requirement(comparator=comparator, bound=bound)
    (judgement,) = judge([r], [measurement(low, high, value=value)])
    assert judgement.verdict is Verdict.ERROR
    assert "not a usable number" in judgement.message


def test_rounding_does_not_put_a_value_outside_its_interval():
    """A value beyond an end by no more than rounding explains is judged as usual."""
    m = measurement(0.05, 0.05, value=0.05 + 1e-12)
    assert verdict(requirement(), m) is Verdict.PASS


def test_infinite_quantity_exceeds_every_upper_bound():
    """A quantity that is infinite, like the epsilon of a run without noise, fails every upper bound."""
    (judgement,) = judge(
        [requirement()], [measurement(unbounded=True, value=None, interval=None, detail="no noise")]
    )
    assert judgement.verdict is Verdict.FAIL
    assert "infinite and exceeds max=0.1: no noise" in judgement.message


def test_weaker_grade_passes_only_where_the_policy_accepts_it():
    """An estimate is not run by default, and is judged where the requirement accepts estimates."""
    m = measurement(grade=Grade.ESTIMATED, detail="vendor compiler")
    (judgement,) = judge([requirement()], [m])
    assert judgement.verdict is Verdict.NOT_RUN
    assert "is estimated, and max=0.1 accepts only measured; vendor compiler" in judgement.message
    assert verdict(requirement(accepts=(Grade.MEASURED, Grade.ESTIMATED)), m) is Verdict.PASS


def test_missing_value_stays_missing_even_where_every_grade_is_accepted():
    """Accepting every grade does not conjure up a value."""
    m = measurement(grade=Grade.MISSING, value=None, interval=None, detail="no device")
    (judgement,) = judge([requirement(accepts=tuple(Grade))], [m])
    assert judgement.verdict is Verdict.NOT_RUN
    assert "no device" in judgement.message


def test_silence_is_not_evidence():
    """A requirement that no measurement answers to is not run, whatever else was measured."""
    for measurements in ([], [measurement(bound=None)], [measurement(bound="min")]):
        (judgement,) = judge([requirement()], measurements)
        assert judgement.verdict is Verdict.NOT_RUN
        assert "max=0.1 was not judged: the check reported no measurement" in judgement.message


def test_every_answering_measurement_is_judged_in_its_scope():
    """Each measurement that answers to a bound gets a verdict of its own, with its position and scope."""
    found = judge(
        [requirement()],
        [
            measurement(bound=None),
            measurement(scope="age"),
            measurement(0.2, 0.3, value=0.25, scope="sex"),
        ],
    )
    assert [(j.scope, j.verdict, j.measurement) for j in found] == [
        ("age", Verdict.PASS, 1),
        ("sex", Verdict.FAIL, 2),
    ]
    assert "distance [sex] 0.25" in found[1].message


def test_tolerance_in_writing_applies_to_its_scope_and_to_inconclusive_only():
    """A tolerated inconclusive keeps its verdict and quotes the reason; a fail is never tolerated."""
    r = requirement(tolerates={"sex": "few rows until June"})
    for scope, ends, tolerated in (
        ("sex", (0.02, 0.2), True),
        ("age", (0.02, 0.2), False),
        ("sex", (0.2, 0.3), False),
    ):
        (judgement,) = judge([r], [measurement(*ends, value=sum(ends) / 2, scope=scope)])
        assert judgement.tolerated is tolerated
        assert ("few rows until June" in judgement.message) is tolerated
    (judgement,) = judge([requirement(tolerates={"any": "accepted"})], [measurement(0.02, 0.2, scope="age")])
    assert judgement.tolerated


@steady
@given(measured(), comparators, numbers)
def test_judgements_survive_json(m, comparator, bound):
    """Requirement, measurement and judgement come back from JSON equal to what they were."""
    r = requirement(comparator=comparator, bound=bound, tolerates={"any": "because"})
    (judgement,) = judge([r], [m])
    for value in (r, m, judgement):
        assert codec.from_json(codec.to_json(value), type(value)) == value
        assert codec.to_json(codec.from_json(codec.to_json(value), type(value))) == codec.to_json(value)
    again = judge(
        [codec.from_json(codec.to_json(r), Requirement)], [codec.from_json(codec.to_json(m), Measurement)]
    )
    assert again == (judgement,)


@steady
@given(st.integers(10, 10**5), st.floats(0.01, 0.5), st.floats(0.05, 0.95))
def test_rows_needed_brings_the_end_to_the_bound(n, half_width, share):
    """Scaling the half-width by the square root of the growth in rows brings the interval to the bound."""
    m = measurement(-half_width, half_width, value=0.0, n=n)
    r = requirement(bound=half_width * share)
    needed = rows_needed(r, m)
    if needed is None:
        assert n / share**2 > 9_000_000
        return
    assert needed > n
    assert half_width * math.sqrt(n / needed) <= half_width * share * 1.0001
    assert needed <= n / share**2 * 1.1 + 10


@pytest.mark.parametrize(
    "m",
    [
        measurement(value=0.1, low=0.0, high=0.2),
        measurement(value=0.05, low=0.0, high=None),
        measurement(value=None),
        measurement(interval=None),
        measurement(value=0.0999999, low=0.0, high=0.5),
    ],
)
def test_no_number_of_rows_is_named_where_none_would_decide(m):
    """An estimate on the bound, an open end or a missing value gets no advice about rows."""
    assert rows_needed(requirement(), m) is None


def test_message_says_what_was_measured_against_what():
    """The message holds value, interval, n, bound, what stands behind it, and the rows that would do."""
    m = measurement(0.12, 0.18, value=0.148, n=1989, detail="groups race=black against race=white")
    (judgement,) = judge([requirement()], [m])
    assert judgement.message == (
        "drift: distance 0.148 (95% CI 0.12 to 0.18, n=1,989) exceeds max=0.1; "
        "groups race=black against race=white"
    )
    (judgement,) = judge([requirement()], [measurement(0.02, 0.15)])
    assert judgement.n_needed == 400
    assert judgement.message.endswith("cannot be told from max=0.1; n of about 400 would decide")


GROUPS = st.dictionaries(
    st.sampled_from(["race=a", "race=b", "sex=f", "sex=m", "age=<25"]), st.integers(-5, 10**8)
)


@steady
@given(measured(), comparators, numbers, GROUPS)
def test_rows_wanted_by_group_turn_no_verdict(m, comparator, bound, more_rows):
    """What a check says of rows that would help changes at most the words of an inconclusive verdict."""
    r = requirement(comparator=comparator, bound=bound)
    (without,) = judge([r], [m])
    (with_rows,) = judge([r], [dataclasses.replace(m, more_rows=more_rows)])
    assert dataclasses.replace(with_rows, message="") == dataclasses.replace(without, message="")
    if without.verdict is not Verdict.INCONCLUSIVE:
        assert with_rows.message == without.message


@steady
@given(GROUPS)
def test_groups_are_named_in_the_order_of_their_need(more_rows):
    """The message names the neediest groups first, at most three, and counts the others."""
    (judgement,) = judge([requirement()], [measurement(0.02, 0.15, more_rows=more_rows)])
    named = re.findall(r"(\d[\d,]*)(?: more rows)? with (\S+?)(?=, |$)", judgement.message)
    wanted = {group: rows for group, rows in more_rows.items() if 0 < rows <= 10_000_000}
    order = sorted(wanted, key=lambda group: (-wanted[group], group))
    assert [group for _, group in named] == order[:3]
    assert all(
        wanted[group] <= int(rows.replace(",", "")) <= 1.1 * wanted[group] + 1 for rows, group in named
    )
    assert ("other group" in judgement.message) == (len(wanted) > 3)


@pytest.mark.parametrize(
    ("more_rows", "changes", "end"),
    [
        ({"race=hispan": 404}, {}, "; needs about 410 more rows with race=hispan, or n of about 400 in all"),
        (
            {"race=hispan": 120, "race=black": 1500},
            {"value": 0.1},
            "; needs about 1,500 more rows with race=black, 120 with race=hispan",
        ),
        (
            {"g=a": 4, "g=b": 3, "g=c": 2, "g=d": 1, "g=e": 1},
            {"value": 0.1},
            "; needs about 4 more rows with g=a, 3 with g=b, 2 with g=c, and more of 2 other groups",
        ),
        ({"g=a": 0}, {}, "; n of about 400 would decide"),
        ({"g=a": 10**9}, {"value": 0.1}, "cannot be told from max=0.1"),
        ({"g=a": 10}, {"n_decides": False}, "cannot be told from max=0.1"),
    ],
)
def test_an_inconclusive_message_says_which_rows_to_collect(more_rows, changes, end):
    """Groups stand before the n of all rows; where no number of rows would decide none is named."""
    (judgement,) = judge([requirement()], [measurement(0.02, 0.15, more_rows=more_rows, **changes)])
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.message.endswith(end)


def test_not_run_and_errored_speak_for_every_requirement():
    """A check that could not run or broke leaves a judgement on each of its requirements."""
    both = [requirement(), requirement(id="drift.min", parameter="min", comparator=">=")]
    assert [j.verdict for j in not_run(both, "no extra")] == [Verdict.NOT_RUN] * 2
    assert all("no extra" in j.message for j in not_run(both, "no extra"))
    broken = errored(both, "it broke")
    assert [j.requirement for j in broken] == ["drift.max", "drift.min"]
    assert {j.verdict for j in broken} == {Verdict.ERROR}
    assert all(isinstance(j, Judgement) and "drift: it broke" in j.message for j in broken)


@pytest.mark.parametrize(
    ("m", "text"),
    [
        (measurement(value=None), "not measured"),
        (measurement(interval=None, unit="ms"), "0.05 ms (n=100)"),
        (measurement(0.05, 0.05), "0.05 (exact)"),
        (measurement(None, 0.1), "0.05 (95% CI -inf to 0.1, n=100)"),
    ],
)
def test_values_are_described_with_interval_and_n(m, text):
    """A value never stands without its interval and n, or the word exact."""
    assert describe(m) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456, "0.123"), (1234.5, "1,234"), (-0.00012, "-0.00012"), (0.0, "0")]
)
def test_numbers_have_three_significant_digits(value, text):
    """Numbers below 1000 show three significant digits, larger ones whole units."""
    assert significant(value) == text
