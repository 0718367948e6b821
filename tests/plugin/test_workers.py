"""With several workers the decision is the same, and a lost worker loses nothing silently."""

TWO_TESTS = """
from pytest_mlgate import performance

@performance(metric="accuracy", min=0.7)
def test_accuracy(mlgate): pass

@performance(metric="roc_auc", min=0.7)
def test_ranking(mlgate): pass

def test_unit(): pass
"""


def test_two_workers_decide_like_one(project):
    """`pytest -n 2` collects evidence from both workers into one decision."""
    project.policy('required = ["performance"]\n')
    project.write("test_gate.py", TWO_TESTS)
    assert project.run_alone().ret == 0
    alone = project.verdicts
    assert project.run_alone("-n", "2").ret == 0
    assert project.verdicts == alone
    assert project.outcome == "release"


def test_two_workers_without_a_policy_decide_too(project):
    """Marks alone are enough for the controller to find out that there is a gate."""
    project.write(
        "test_gate.py", TWO_TESTS.replace("min=0.7)\ndef test_ranking", "min=0.9999)\ndef test_ranking")
    )
    assert project.run_alone("-n", "2").ret == 1
    assert project.outcome == "blocked"


def test_deselecting_in_workers_blocks(project):
    """What workers deselect reaches the controller."""
    project.policy('required = ["performance"]\n')
    project.write("test_gate.py", TWO_TESTS)
    assert project.run_alone("-n", "2", "-k", "unit").ret == 1
    assert "was deselected" in project.reasons


def test_a_crashed_worker_blocks(project):
    """A process that dies while it runs a required test leaves the requirement unproven."""
    project.policy('required = ["performance"]\n')
    project.write(
        "test_gate.py",
        TWO_TESTS.replace(
            "def test_ranking(mlgate): pass", "def test_ranking(mlgate):\n    import os\n    os._exit(1)"
        ),
    )
    assert project.run_alone("-n", "2").ret != 0
    assert project.outcome == "blocked"


def test_misuse_in_workers_ends_with_exit_code_2(project):
    """The message of misuse crosses the process boundary."""
    project.policy('required = ["performance"]\n')
    project.write("test_gate.py", TWO_TESTS.replace("min=0.7", "min='x'"))
    result = project.run_alone("-n", "2")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*min='x'*Accepted for min: number*"])


def test_two_workers_agree_on_one_compressed_release_artifact(project):
    """The first worker finds the release artifact alone on the machine; the other takes it over."""
    project.policy('required = ["performance", "budget"]\n')
    with (project.folder / "conftest.py").open("a") as file:
        file.write(
            "\n@pytest.fixture(scope='session')\ndef mlgate_candidate():\n"
            "    from sklearn.linear_model import LogisticRegression\n"
            "    table = rows(400, 1)\n"
            "    return LogisticRegression().fit(table[['a', 'b']].to_numpy(), table['y'])\n"
        )
    project.write(
        "test_gate.py",
        TWO_TESTS.replace("import performance", "import budget, performance").replace(
            "def test_accuracy", "@budget(latency_ms=50, size_mb=1)\ndef test_accuracy"
        ),
    )
    result = project.run_alone("-n", "2")
    assert result.ret == 0, result.stdout.str()
    assert project.outcome == "release"
    assert project.verdicts["budget[cpu].latency_ms"] == "pass"
