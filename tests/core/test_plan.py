"""Marks and policy, merged into what a run will judge: a mark may tighten the policy, never loosen it."""

import datetime
from typing import Annotated, Literal

import pandas as pd
import pytest

from pytest_mlgate import discovery, policy
from pytest_mlgate.contract import AtLeast, AtMost, ColumnNames, Columns, check
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import Misuse
from pytest_mlgate.evidence import Findings, Grade
from pytest_mlgate.plan import Declaration, make_plan, use_name

NOTHING = Findings(measurements=())
TODAY = datetime.date(2026, 6, 1)


@check("drift")
def drift(subject, *, max: AtMost = None, columns: ColumnNames = ()) -> Findings:
    """Drift."""
    return NOTHING


FewGroups = Annotated[tuple[str, ...], Columns(as_groups=True, most=3)]


@check("fairness")
def fairness(
    subject, *, metric: Literal["eo", "dp"] = "eo", sensitive: FewGroups = (), max: AtMost = None
) -> Findings:
    """Fairness."""
    return NOTHING


@check("score")
def score(subject, *, level: float, min: AtLeast = None) -> Findings:
    """Score."""
    return NOTHING


CHECKS = {"drift": drift, "fairness": fairness, "score": score, "budget": discovery.checks()["budget"]}


@pytest.fixture
def plan(tmp_path):
    """A function that merges a policy text with marks."""

    def make(text: str = "", *marks: Declaration, required: str = "drift"):
        path = tmp_path / "mlgate.toml"
        path.write_text(f'required = ["{required}"]\n{text}')
        return make_plan(policy.load(path), marks, CHECKS)

    return make


def mark(check: str, test: str = "t.py::test_a", line: int = 4, **kwargs) -> Declaration:
    return Declaration(check=check, args=(), kwargs=kwargs, source=f"t.py:{line}", test=test)


def test_policy_alone_declares_requests_without_tests(plan):
    """What the policy declares and no test carries stays a request, so that it cannot be forgotten."""
    (request,) = plan("[checks.drift]\nmax = 0.1\n").requests
    assert (request.id, request.tests, request.source) == ("drift", (), "mlgate.toml:2")
    (requirement,) = request.requirements
    assert (requirement.id, requirement.comparator, requirement.bound) == ("drift.max", "<=", 0.1)


def test_a_bare_mark_takes_the_bounds_of_the_policy(plan):
    """A mark without arguments carries the policy's request and its source."""
    (request,) = plan("[checks.drift]\nmax = 0.1\n", mark("drift")).requests
    assert (request.parameters, request.tests) == ({"max": 0.1}, ("t.py::test_a",))
    assert request.source == "mlgate.toml:2"


def test_a_bare_mark_stands_for_every_section_of_its_check(plan):
    """With two sections in the policy a bare mark carries both."""
    text = '[[checks.fairness]]\nmetric = "eo"\nmax = 0.1\n[[checks.fairness]]\nmetric = "dp"\nmax = 0.2\n'
    requests = plan(text, mark("fairness")).requests
    assert [(r.id, r.tests) for r in requests] == [
        ("fairness[eo]", ("t.py::test_a",)),
        ("fairness[dp]", ("t.py::test_a",)),
    ]


@pytest.mark.parametrize("bound", [0.1, 0.05])
def test_a_mark_may_tighten_a_bound(plan, bound):
    """An equal or stricter bound in the mark replaces the policy's and is attributed to the mark."""
    (request,) = plan("[checks.drift]\nmax = 0.1\n", mark("drift", max=bound)).requests
    assert request.requirements[0].bound == bound
    assert request.source == "t.py:4"


@pytest.mark.parametrize(
    ("text", "declaration", "message"),
    [
        (
            "[checks.drift]\nmax = 0.1\n",
            mark("drift", max=0.2),
            "max=0.2 is looser than max=0.1 at mlgate.toml:2",
        ),
        (
            "[checks.score]\nlevel = 1.0\nmin = 0.8\n",
            mark("score", min=0.7),
            "min=0.7 is looser than min=0.8 at mlgate.toml:2",
        ),
    ],
)
def test_a_mark_never_loosens_a_bound(plan, text, declaration, message):
    """A looser bound is misuse, and both places are named, whichever way the bound points."""
    with pytest.raises(Misuse, match=message) as refused:
        plan(text, declaration)
    assert str(refused.value).startswith("t.py:4: ")


@pytest.mark.parametrize(
    ("text", "declaration", "message"),
    [
        (
            "[checks.budget]\nlatency_ms = 10\n",
            mark("budget", percentile=50, latency_ms=10),
            r"percentile=50\.0 is not the percentile=99\.0 of mlgate\.toml:2",
        ),
        (
            "[checks.budget]\nlatency_ms = 10\npercentile = 95\n",
            mark("budget", percentile=50.0),
            r"percentile=50\.0 is not the percentile=95\.0",
        ),
        (
            '[checks.fairness]\nsensitive = ["race", "sex"]\nmax = 0.1\n',
            mark("fairness", sensitive="sex"),
            r"sensitive=\('sex',\) is not the sensitive=\('race', 'sex'\)",
        ),
        (
            "[checks.fairness]\nmax = 0.1\n",
            mark("fairness", sensitive="sex", max=0.05),
            r"sensitive=\('sex',\) is not the sensitive=\(\)",
        ),
        (
            "[checks.drift]\nmax = 0.1\n",
            mark("drift", columns="a"),
            r"columns=\('a',\) is not the columns=\(\)",
        ),
        (
            "[checks.score]\nlevel = 1.0\nmin = 0.8\n",
            mark("score", level=0.5),
            r"level=0\.5 is not the level=1\.0",
        ),
    ],
)
def test_a_mark_never_changes_what_is_measured(plan, text, declaration, message):
    """Another percentile, fewer groups or columns, or another level than the policy's, defaults included."""
    with pytest.raises(Misuse, match=message) as refused:
        plan(text, declaration)
    assert str(refused.value).startswith("t.py:4: ")
    assert "a mark may tighten the policy's bounds, and change nothing else" in str(refused.value)


def test_a_mark_may_say_what_the_policy_says(plan):
    """A mark that repeats the policy's own words, or its defaults, is the policy's request."""
    text = '[checks.fairness]\nsensitive = ["race", "sex"]\nmax = 0.1\n[checks.budget]\nlatency_ms = 10\n'
    repeated = [
        mark("fairness", sensitive=["race", "sex"], max=0.1),
        mark("budget", percentile=99, latency_ms=5),
    ]
    fairness, budget = plan(text, *repeated).requests
    assert fairness.parameters == {"sensitive": ("race", "sex"), "max": 0.1}
    assert budget.requirements[0].bound == 5


def test_a_mark_for_another_target_leaves_the_policys_budget_in_the_plan(plan):
    """A mark for a device that is not here stands beside the policy's budget, and does not replace it."""
    requests = plan(
        "[checks.budget]\nlatency_ms = 10\n", mark("budget", target="npu", latency_ms=10)
    ).requests
    assert [(r.id, r.tests, r.source) for r in requests] == [
        ("budget[npu]", ("t.py::test_a",), "t.py:4"),
        ("budget[cpu]", (), "mlgate.toml:2"),
    ]
    assert [q.id for r in requests for q in r.requirements] == [
        "budget[npu].latency_ms",
        "budget[cpu].latency_ms",
    ]


def test_a_mark_with_another_name_leaves_the_policy_alone(plan):
    """A mark for another metric than the policy's is a request beside it, and the policy's stays."""
    text = '[checks.fairness]\nmetric = "dp"\nmax = 0.1\n'
    requests = plan(text, mark("fairness", metric="eo", max=0.9)).requests
    assert [(r.id, r.requirements[0].bound) for r in requests] == [
        ("fairness[eo]", 0.9),
        ("fairness[dp]", 0.1),
    ]


def test_the_same_request_on_two_tests_is_measured_once(plan):
    """Equal marks on two tests are one request that both carry, spelled as integer or as float."""
    marks = [mark("drift", max=1), mark("drift", "t.py::test_b", 9, max=1.0)]
    (request,) = plan("", *marks).requests
    assert request.tests == ("t.py::test_a", "t.py::test_b")
    assert request.source == "t.py:4"


def test_different_requests_of_one_check_get_numbers(plan):
    """Two uses of one name are told apart by what differs, whatever the order they are collected in."""
    requests = plan("", mark("drift", max=0.1), mark("drift", "t.py::test_b", max=0.2)).requests
    assert [r.id for r in requests] == ["drift{max=0.1}", "drift{max=0.2}"]
    ids = [q.id for r in requests for q in r.requirements]
    assert ids == ["drift{max=0.1}.max", "drift{max=0.2}.max"]


def test_requests_are_found_by_test(plan):
    """A test is answered for by the requests that it carries, and by no others."""
    made = plan("[checks.score]\nlevel = 1.0\nmin = 0.5\n", mark("drift", max=0.1))
    assert [r.id for r in made.of_test("t.py::test_a")] == ["drift"]
    assert made.of_test("t.py::other") == ()


def test_levels_divide_alpha_by_all_requirements(plan):
    """Alpha is divided by the number of bounds that are declared."""
    made = plan("alpha = 0.1\n[checks.drift]\nmax = 0.1\n[checks.score]\nlevel = 1.0\nmin = 0.5\n")
    assert made.levels.fail == pytest.approx(0.05)
    assert made.levels.release == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("text", "marks", "message"),
    [
        ("", [mark("drift")], r"t.py:4: drift declares no bound.*Give at least one of: max"),
        ("[checks.drift]\n", [], r"mlgate.toml:2: drift declares no bound"),
        (
            "",
            [mark("score", min=0.5)],
            r"t.py:4: score needs level. Accepted: score\(level: float, min: number\)",
        ),
        (
            "[checks.dirft]\nmax = 1\n",
            [],
            r"mlgate.toml:2: there is no check 'dirft'. Installed: budget, drift, fairness",
        ),
        ("", [mark("drift", maximum=1)], r"t.py:4: drift: got an unexpected keyword argument 'maximum'"),
        (
            '[checks.drift]\nmax = 1\n[[inconclusive]]\nrequirement = "drift.min"\nreason = "x"\n',
            [],
            r"'drift.min' is not a declared requirement. Declared: drift.max",
        ),
        (
            '[[grades]]\nrequirement = "drift"\nreason = "x"\ngrade = "estimated"\n',
            [],
            r"'drift' is not a declared requirement. Declared: none",
        ),
    ],
)
def test_what_cannot_be_judged_is_misuse(plan, text, marks, message):
    """A use without a bound or a needed value, and entries about unknown requirements, are refused."""
    with pytest.raises(Misuse, match=message):
        plan(text, *marks)


def test_an_unknown_required_check_is_misuse(plan):
    """A misspelled name in `required` is refused with the installed names, not waited for."""
    with pytest.raises(
        Misuse, match=r"mlgate.toml: required: there is no check 'drfit'. Installed: budget, drift"
    ):
        plan("[checks.drift]\nmax = 1\n", required="drfit")


def test_entries_reach_their_requirement(plan):
    """Tolerance and weaker grades of the policy stand in the requirement they name, with their reasons."""
    text = (
        "[checks.drift]\nmax = 0.1\n[checks.score]\nlevel = 1.0\nmin = 0.5\n"
        '[[inconclusive]]\nrequirement = "drift.max"\nreason = "few rows"\nscope = "age"\n'
        '[[grades]]\nrequirement = "score.min"\nreason = "no device"\ngrade = "estimated"\n'
    )
    first, second = (r.requirements[0] for r in plan(text).requests)
    assert first.tolerates == {"age": "few rows"}
    assert first.accepts == (Grade.MEASURED,)
    assert second.tolerates == {}
    assert second.accepts == (Grade.MEASURED, Grade.ESTIMATED)


@pytest.mark.parametrize(
    ("requirement", "expires", "state"),
    [
        ("drift.max", "2026-06-01", "in_force"),
        ("drift.max", "2026-05-31", "expired"),
        ("drift.min", "2030-01-01", "orphaned"),
        ("drift.min", "2020-01-01", "orphaned"),
    ],
)
def test_waivers_have_a_state_on_the_day(plan, requirement, expires, state):
    """A waiver holds through its last day; then it has expired; without a requirement it is orphaned."""
    text = (
        "[checks.drift]\nmax = 0.1\n"
        f'[[waivers]]\nrequirement = "{requirement}"\nexpires = {expires}\n'
        'owner = "a"\napprover = "b"\nreason = "c"\n'
    )
    (waiver,) = plan(text).waivers(TODAY)
    assert (waiver.state, waiver.expires, waiver.scope) == (state, expires, "any")


def dataset(groups) -> Dataset:
    n = len(groups)
    table = pd.DataFrame({"a": range(n), "sex": groups, "y": [i % 2 for i in range(n)]})
    return Dataset(test=table, train=table[["a", "y"]], label="y", features=["a"])


def test_unknown_columns_are_refused_with_the_columns_there_are(plan):
    """A parameter that names a column which a table lacks is misuse that names the table's columns."""
    data = dataset(["m", "f", "m", "f"])
    made = plan("", mark("drift", max=0.1, columns=["agge"]))
    with pytest.raises(
        Misuse, match=r"t.py:4: drift: columns: the test table has no column 'agge'. Its columns: a,"
    ):
        made.validate(data, CHECKS)
    made = plan("", mark("drift", max=0.1, columns=["sex"]))
    with pytest.raises(Misuse, match="the train table has no column 'sex'"):
        made.validate(data, CHECKS)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["m"] * 4, "column 'sex' has the single group 'm' in the test table"),
        (["m", "f", "x", None], "column 'sex' has 4 groups in the 4 rows .* at most 3 can be compared"),
    ],
)
def test_groups_that_cannot_be_compared_are_refused(plan, groups, message):
    """A single group, or more than the check says it can compare, is misuse before anything is measured."""
    table = dataset(groups)
    data = Dataset(test=table.test, label="y", features=["a"])
    made = plan("", mark("fairness", sensitive="sex", max=0.1))
    with pytest.raises(Misuse, match=message):
        made.validate(data, CHECKS)


@pytest.mark.parametrize("groups", [["m", "f", "m", "f"], ["m", "m", "m", "x"], ["m", "m", "f", None]])
def test_good_columns_and_groups_are_accepted(plan, groups):
    """Columns that exist and groups, be they of one row, pass validation."""
    data = Dataset(test=dataset(groups).test, label="y", features=["a"])
    plan("", mark("fairness", sensitive=["sex"], max=0.1), mark("drift", max=1, columns="a")).validate(
        data, CHECKS
    )


def test_sections_are_named_by_what_tells_them_apart(tmp_path):
    """The name of a use holds its naming parameters, their defaults included."""
    use = policy.CheckUse(check="fairness", parameters={"max": 0.1}, source="mlgate.toml:2")
    assert use_name(use, CHECKS) == "fairness[eo]"
    use = policy.CheckUse(check="drift", parameters={"max": 0.1}, source="mlgate.toml:2")
    assert use_name(use, CHECKS) == "drift"
