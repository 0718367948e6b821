"""A test that carries requirements and never reaches the gate is missed, however it was kept away."""

import pytest

STRICT = """
from pytest_mlgate import performance

@performance(metric="roc_auc", min=0.9999)
def test_strict(mlgate): pass
"""
POLICY = 'required = ["performance"]\n'


@pytest.fixture
def two(project):
    """A project in which one test passes and another one fails."""
    project.policy(POLICY)
    project.write("tests/test_strict.py", STRICT)
    return project


@pytest.mark.parametrize(
    "arguments",
    [
        ("test_gate.py",),
        ("test_gate.py::test_release",),
        ("--ignore=tests",),
        ("-o", "python_files=test_gate.py"),
    ],
    ids=" ".join,
)
def test_a_narrowed_run_is_no_release(two, arguments):
    """Naming one file, ignoring the other, or renaming what a test file is leaves a requirement out."""
    assert two.run(*arguments).ret == 1
    assert "tests/test_strict.py:4: test_strict carries marks, but was not collected" in two.reasons


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("tests/test_strict.py", "import pytest\npytest.skip('later', allow_module_level=True)\n" + STRICT),
        ("tests/test_strict.py", "import pytest\npytest.importorskip('no_such_library')\n" + STRICT),
        ("tests/conftest.py", "collect_ignore = ['test_strict.py']\n"),
        ("tests/test_strict.py", STRICT + "\ndef test_strict(): pass\n"),
        (
            "tests/conftest.py",
            "import pytest\n\n@pytest.hookimpl(tryfirst=True)\ndef pytest_collection_modifyitems(items):\n"
            "    items[:] = [i for i in items if 'strict' not in i.nodeid]\n",
        ),
    ],
    ids=["module-skip", "importorskip", "collect_ignore", "redefined", "hook"],
)
def test_a_test_that_the_project_hides_is_missed(two, file, text):
    """Skipped modules, ignore lists, second definitions and hooks do not make a requirement go away."""
    two.write(file, text)
    assert two.run().ret == 1
    assert "test_strict carries marks, but was not collected" in two.reasons


def test_marks_added_after_planning_are_refused(project):
    """A requirement that was never planned cannot have been met."""
    project.write("test_more.py", "def test_more(): pass\n")
    with (project.folder / "conftest.py").open("a") as file:
        file.write(
            "\ndef pytest_runtest_setup(item):\n    if 'more' in item.nodeid:\n"
            "        item.add_marker(pytest.mark.performance(metric='roc_auc', min=0.9999))\n"
        )
    result = project.run()
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*test_more*changed after collection*"])


def test_the_policy_above_the_working_directory_applies(two):
    """Running from a subfolder, or from outside with a path, does not leave the policy behind."""
    two.write("sub/test_plain.py", "def test_plain(): pass\n")
    two.policy('required = ["performance", "drift"]\n')
    for start, arguments in (("sub", ()), ("..", (str(two.folder),))):
        import subprocess
        import sys

        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
            cwd=two.folder / start,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, done.stdout
        assert "drift: required by the policy" in done.stdout


def test_plain_pytest_marks_count_where_the_project_imports_the_gate(project):
    """`@pytest.mark.performance(...)` is the same mark when conftest gives a Dataset."""
    import pytest_mlgate

    project.write(
        "test_gate.py",
        "import pytest\n\n@pytest.mark.performance(metric='roc_auc', min=0.9999)\ndef test_(): pass\n",
    )
    assert project.run_alone().ret == 1
    assert pytest_mlgate is not None


def test_a_hook_that_resets_the_exit_code_does_not_hide_a_block(project):
    """The gate sets the exit code after all other hooks."""
    project.policy(POLICY)
    with (project.folder / "conftest.py").open("a") as file:
        file.write("\ndef pytest_sessionfinish(session):\n    session.exitstatus = 0\n")
    assert project.run("-k", "nothing").ret == 1


def test_a_training_record_that_a_test_writes_to_is_not_what_is_measured(project):
    """What was locked is what is measured, whatever a test does to what a fixture returned."""
    with (project.folder / "conftest.py").open("a") as file:
        file.write(
            "\n@pytest.fixture(scope='session')\ndef mlgate_training_record():\n    return dict(\n"
            "        schema='https://pytest-mlgate.dev/training-record/v1', sampling='poisson', steps=200,\n"
            "        sampling_rate=.05, noise_multiplier=0.5, max_grad_norm=1.0, dataset_size=400,\n"
            "        delta=1e-5, dataset_sha256='x', seed=None, libraries={},\n"
            "        neighboring_relation='add_or_remove_one',\n"
            "        recorded_at='now',\n"
            "        batch_sizes=np.random.default_rng(0).binomial(400, .05, 200).tolist())\n"
        )
    project.write(
        "test_gate.py",
        "from pytest_mlgate import performance, privacy_epsilon\n\n"
        "@performance(metric='accuracy', min=0.6)\ndef test_1(mlgate, mlgate_training_record):\n"
        "    mlgate_training_record['noise_multiplier'] = 20.0\n\n"
        "@privacy_epsilon(3.0, delta=1e-5)\ndef test_2(mlgate): pass\n",
    )
    project.policy(
        POLICY + "[[grades]]\nrequirement = 'privacy_epsilon.epsilon'\ngrade = 'declared'\n"
        "reason = 'the record was typed for this test'\n"
    )
    assert project.run().ret == 1
    assert project.verdicts["privacy_epsilon.epsilon"] == "fail"


@pytest.mark.parametrize(
    "model",
    [
        "lambda x: 1 / (1 + np.exp(-3 * (x[:, 0] - x[:, 0].mean()) / (x[:, 0].std() + 1e-9)))",
        "lambda x: np.random.default_rng().random(len(x))",
    ],
    ids=["batch", "chance"],
)
def test_a_model_that_depends_on_its_batch_or_on_chance_is_an_error(project, model):
    """What is measured on a table must hold for single rows."""
    with (project.folder / "conftest.py").open("a") as file:
        file.write(f"\n@pytest.fixture(scope='session')\ndef mlgate_candidate():\n    return {model}\n")
    result = project.run()
    assert result.ret == 1
    assert project.verdicts == {"performance[accuracy].min": "error"}
    result.stdout.fnmatch_lines(["*when it is asked alone*"])


def test_a_process_that_ends_itself_with_0_is_no_release(project):
    """`mlgate run` believes only evidence that this run wrote."""
    import subprocess
    import sys

    project.policy(POLICY)
    command = [sys.executable, "-m", "pytest_mlgate.cli", "run", "-q"]
    assert subprocess.run(command, cwd=project.folder, check=False, capture_output=True).returncode == 0
    project.write("test_zzz.py", "def test_(mlgate):\n    import os\n    os._exit(0)\n")
    with (project.folder / "test_gate.py").open("a") as file:
        file.write(
            "\n@performance(metric='accuracy', min=0.6)\n"
            "def test_end(mlgate):\n    import os\n    os._exit(0)\n"
        )
    assert subprocess.run(command, cwd=project.folder, check=False, capture_output=True).returncode != 0


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            "from pytest_mlgate import performance\n\n@performance(metric='roc_auc', min=0.9999)\n"
            "class TestStrict:\n    def test_(self, mlgate): pass\n",
            "TestStrict",
        ),
        (
            "from pytest_mlgate import performance\n\n"
            "pytestmark = [performance(metric='roc_auc', min=0.9999)]\n\ndef test_(mlgate): pass\n",
            "pytestmark",
        ),
    ],
)
def test_marks_on_classes_and_files_are_missed_too(two, text, name):
    """A class or a whole file that carries requirements must have been collected, and then counts."""
    two.write("tests/test_strict.py", text)
    assert two.run().ret == 1
    assert "not collected" not in two.reasons
    assert two.run("--ignore=tests").ret == 1
    assert f"{name} carries marks, but was not collected" in two.reasons
