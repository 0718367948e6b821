"""Whatever is required and did not run, or did not end well, blocks: the one bug that must never ship."""

import pytest

REQUIRED = 'required = ["performance"]\n'


def test_a_model_that_meets_everything_is_released(project):
    """The green case: exit code 0, the decision is `release`, and the terminal says so."""
    project.policy(REQUIRED)
    result = project.run()
    assert result.ret == 0
    assert project.outcome == "release"
    result.stdout.fnmatch_lines(["*performance[[]accuracy[]].min*pass", "decision: release*"])


def test_a_model_that_fails_blocks_and_says_what_was_measured_and_what_to_do(project):
    """A failed requirement is a red test in the documented shape."""
    project.write(
        "test_gate.py",
        "from pytest_mlgate import performance\n\n"
        "@performance(metric='accuracy', min=0.99)\ndef test_release(mlgate): pass\n",
    )
    result = project.run()
    assert result.ret == 1
    assert project.outcome == "blocked"
    result.stdout.fnmatch_lines(
        [
            "*performance: accuracy 0.* CI 0.* to 0.*n=400) is below min=0.99*",
            "*required at test_gate.py:3; release artifact*",
            "*next: mlgate explain performance*",
        ]
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("-k", "unit"),
        ("-m", "not performance"),
        ("--deselect", "test_gate.py::test_release"),
        ("test_unit.py",),
        ("--ignore=test_gate.py",),
    ],
    ids=" ".join,
)
def test_taking_the_gate_out_of_the_run_blocks(project, arguments):
    """Deselecting, ignoring or not naming the test that carries the requirement is not a way to pass it."""
    project.policy(REQUIRED)
    project.write("test_unit.py", "def test_unit(): pass\n")
    result = project.run(*arguments)
    assert result.ret == 1
    assert project.outcome == "blocked"
    assert "performance" in project.reasons


@pytest.mark.parametrize(
    ("body", "state"),
    [
        ("@pytest.mark.skip(reason='later')\ndef test_release(mlgate): pass", "skipped"),
        ("def test_release(mlgate): pytest.skip('later')", "skipped"),
        ("@pytest.mark.xfail(run=False)\ndef test_release(mlgate): pass", "xfailed"),
        ("@pytest.mark.xfail\ndef test_release(mlgate): assert False", "xfailed"),
        ("@pytest.mark.usefixtures('broken')\ndef test_release(mlgate): pass", "error"),
        ("def test_release(mlgate, broken_later): pass", "error"),
    ],
    ids=["skip-mark", "skip-in-body", "xfail-not-run", "xfail", "broken-setup", "broken-teardown"],
)
def test_a_required_test_that_did_not_pass_blocks_and_is_named(project, body, state):
    """Skipped, xfailed and errored tests leave their requirement unproven, whatever pytest's exit code."""
    project.policy(REQUIRED)
    project.write(
        "test_gate.py",
        "import pytest\nfrom pytest_mlgate import performance\n\n"
        "@pytest.fixture\ndef broken(): raise RuntimeError('no')\n\n"
        "@pytest.fixture\ndef broken_later():\n    yield\n    raise RuntimeError('no')\n\n"
        f"@performance(metric='accuracy', min=0.7)\n{body}\n",
    )
    result = project.run()
    assert result.ret == 1
    assert project.outcome == "blocked"
    assert f"test_gate.py::test_release was {state}" in project.reasons


def test_an_expected_failure_of_a_requirement_still_blocks(project):
    """An xfail mark silences pytest; it does not turn a failed requirement into a pass."""
    project.write(
        "test_gate.py",
        "import pytest\nfrom pytest_mlgate import performance\n\n"
        "@pytest.mark.xfail\n@performance(metric='accuracy', min=0.99)\ndef test_release(mlgate): pass\n",
    )
    result = project.run()
    assert result.ret == 1
    assert project.verdicts == {"performance[accuracy].min": "fail"}


def test_a_requirement_that_holds_in_a_test_whose_own_assertion_fails_blocks(project):
    """What the user asserts beside the requirement counts."""
    project.write(
        "test_gate.py",
        "from pytest_mlgate import performance\n\n"
        "@performance(metric='accuracy', min=0.7)\ndef test_release(mlgate): assert False\n",
    )
    assert project.run().ret == 1
    assert "test_gate.py::test_release carries requirements and was failed" in project.reasons


def test_a_required_check_that_nobody_declares_blocks(project):
    """The policy's list is what must have run, not what happened to be written."""
    project.policy('required = ["performance", "fairness"]\n')
    assert project.run().ret == 1
    assert "fairness: required by the policy" in project.reasons


def test_a_policy_section_that_no_test_carries_blocks(project):
    """A bound in the policy cannot be forgotten."""
    project.policy(
        REQUIRED + '[checks.fairness]\nmetric = "demographic_parity_difference"\n'
        'sensitive = ["sex"]\nmax = 0.5\n'
    )
    assert project.run().ret == 1
    assert "no test carries it" in project.reasons


def test_a_project_with_a_policy_and_no_tests_at_all_blocks(project):
    """Pytest's `no tests ran` is no release."""
    project.policy(REQUIRED)
    (project.folder / "test_gate.py").unlink()
    assert project.run().ret == 1
    assert project.outcome == "blocked"


def test_a_test_file_that_cannot_be_collected_blocks(project):
    """A syntax error must not make requirements disappear."""
    project.policy(REQUIRED)
    project.write("test_broken.py", "def test_(:\n")
    result = project.run("--continue-on-collection-errors")
    assert result.ret == 1
    assert project.outcome == "blocked"
    assert "test_broken.py could not be collected" in project.reasons


def test_stopping_at_the_first_failure_leaves_the_rest_not_run(project):
    """`-x` ends the session before the gate: what did not run is not a pass."""
    project.policy(REQUIRED)
    project.write("test_aaa.py", "def test_first(): assert False\n")
    assert project.run("-x").ret == 1
    assert project.verdicts == {"performance[accuracy].min": "not_run"}


def test_listing_fixtures_only_is_no_release(project):
    """`--setup-plan` reports tests as passed without running anything."""
    project.policy(REQUIRED)
    assert project.run("--setup-plan").ret == 1
    assert project.outcome == "blocked"


def test_shadowing_the_fixture_is_no_release(project):
    """A fixture of the user's that is called mlgate measures nothing."""
    project.policy(REQUIRED)
    with (project.folder / "conftest.py").open("a") as file:
        file.write("\n@pytest.fixture\ndef mlgate():\n    pass\n")
    project.write(
        "test_gate.py",
        "from pytest_mlgate import performance\n\n"
        "@performance(metric='accuracy', min=0.7)\ndef test_release(mlgate): pass\n",
    )
    assert project.run().ret == 1
    assert project.verdicts == {"performance[accuracy].min": "not_run"}


def test_predictions_that_are_not_numbers_are_an_error(project):
    """NaN from the candidate is neither a value nor a reason to skip."""
    with (project.folder / "conftest.py").open("a") as file:
        file.write(
            "\n@pytest.fixture(scope='session')\ndef mlgate_candidate():\n"
            "    return lambda x: np.where(np.arange(len(x)) < 3, np.nan, 0.5)\n"
        )
    result = project.run()
    assert result.ret == 1
    assert project.verdicts == {"performance[accuracy].min": "error"}
    result.stdout.fnmatch_lines(["*answered NaN or infinity for 3 of 400 rows*"])


def test_a_check_that_crashes_is_an_error_and_the_others_still_run(project):
    """One broken check blocks by itself and hides nothing else."""
    project.write(
        "test_gate.py",
        "from pytest_mlgate import performance, drift\nimport pytest\n\n"
        "@performance(metric='accuracy', min=0.7)\ndef test_release(mlgate): pass\n\n"
        "@pytest.fixture(autouse=True)\ndef broken(monkeypatch):\n"
        "    import pytest_mlgate.dataset as d\n"
        "    monkeypatch.setattr(d.Dataset, 'labels', lambda *a: 1 / 0)\n",
    )
    assert project.run().ret == 1
    assert project.verdicts == {"performance[accuracy].min": "error"}


def test_two_candidates_in_one_session_are_refused(project):
    """A decision speaks of one candidate."""
    with (project.folder / "conftest.py").open("a") as file:
        file.write(
            "\n@pytest.fixture\ndef mlgate_candidate(request):\n"
            "    steep = 9 if 'ranking' in request.node.name else 3\n"
            "    return lambda x: 1 / (1 + np.exp(-steep * x[:, 0].astype(float)))\n"
        )
    project.write(
        "test_gate.py",
        "from pytest_mlgate import performance\n\n"
        "@performance(metric='accuracy', min=0.7)\ndef test_release(mlgate): pass\n\n"
        "@performance(metric='roc_auc', min=0.7)\ndef test_ranking(mlgate): pass\n",
    )
    result = project.run()
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*two candidates, baselines, training records or data sets in one session*"])


def test_waived_requirements_release_and_are_shown_and_expired_ones_block(project):
    """A waiver in force turns a failure into `waived`; past its date it blocks by itself."""
    project.write(
        "test_gate.py",
        "from pytest_mlgate import performance\n\n"
        "@performance(metric='accuracy', min=0.99)\ndef test_release(mlgate): pass\n",
    )
    waiver = (
        '[[waivers]]\nrequirement = "performance[accuracy].min"\nowner = "model team"\n'
        'approver = "risk office"\nreason = "pilot"\nexpires = {}\n'
    )
    project.policy(REQUIRED + waiver.format("2999-01-01"))
    assert project.run().ret == 0
    assert project.verdicts == {"performance[accuracy].min": "waived"}
    project.policy(REQUIRED + waiver.format("2020-01-01"))
    assert project.run().ret == 1
    assert "expired on 2020-01-01" in project.reasons
