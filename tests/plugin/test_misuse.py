"""Misuse ends with exit code 2 and one clear message, before any model is loaded."""

import pytest

HEADER = "from pytest_mlgate import fairness, performance, robustness\n\n"


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("@performance(metric='aucc', min=0.7)", "*metric='aucc'*Accepted for metric: one of roc_auc*"),
        ("@performance(metric='accuracy', min='high')", "*min='high'*Accepted for min: number*"),
        ("@performance(metric='accuracy', min=float('nan'))", "*min=nan*finite*"),
        ("@performance(metric='accuracy', floor=0.7)", "*floor*Accepted: performance(*"),
        ("@performance(metric='accuracy')", "*declares no bound*min, *max_drop*"),
        ("@robustness(increasing='aa', max_violation_rate=0.1)", "*the test table has no column 'aa'*"),
        (
            "@fairness(metric='demographic_parity_difference', sensitive='race', max=0.1)",
            "*has no column 'race'. Its columns: a, b, y, sex*",
        ),
    ],
)
def test_a_mark_that_cannot_be_carried_out_is_refused_before_the_model_loads(project, mark, message):
    """Unknown metrics, columns and parameters and bounds that are no numbers name what is accepted."""
    project.write("test_gate.py", f"{HEADER}{mark}\ndef test_release(mlgate): pass\n")
    result = project.run()
    assert result.ret == 2
    result.stdout.fnmatch_lines([message])
    assert not project.candidate_was_loaded
    assert not (project.folder / "mlgate-report").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("table = table[table['y'] == 1] if seed == 0 else table", "*single value 1*"),
        ("table = table[:0] if seed == 0 else table", "*the test table has no rows*"),
        ("table = table.drop(columns='b') if seed == 1 else table", "*the train table has no column 'b'*"),
        ("table['sex'] = 'f'", "*single group 'f'*"),
        ("table.loc[:2, 'y'] = None", "*label 'y' has missing values in the test table (3 of 400 rows)*"),
        ("table['y'] += table['a'] / 100", "*label 'y' has 400 different values*task='regression'*"),
        ("table.loc[:3, 'y'] = 2", "*"),
    ],
    ids=[
        "one-class",
        "no-rows",
        "column-in-one-table",
        "one-group",
        "missing-labels",
        "amounts",
        "third-class",
    ],
)
def test_data_that_nothing_can_be_said_about_is_refused_before_the_model_loads(project, change, message):
    """Empty tables, one class, lone columns, a single group and labels that are none are named."""
    text = (
        (project.folder / "conftest.py")
        .read_text()
        .replace("    return table\n", f"    {change}\n    return table\n")
    )
    project.write("conftest.py", text)
    project.write(
        "test_gate.py",
        f"{HEADER}@fairness(metric='demographic_parity_difference', sensitive='sex', max=0.5)\n"
        "def test_release(mlgate): pass\n",
    )
    result = project.run()
    if message == "*":
        assert result.ret == 1
        assert project.outcome == "blocked"
        return
    assert result.ret == 2
    result.stdout.fnmatch_lines([message])
    assert not project.candidate_was_loaded


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a model", "*is not a valid ONNX model*"),
        (b"", "*is empty*"),
        (b"\x80\x04\x95", "*a pickle*runs code when it is read*"),
        (None, "*does not exist*"),
    ],
    ids=["text", "empty", "pickle", "absent"],
)
def test_a_file_that_is_not_a_model_is_refused(project, content, message):
    """The format is told from the bytes, and the message says what to do."""
    if content is not None:
        (project.folder / "model.onnx").write_bytes(content)
    with (project.folder / "conftest.py").open("a") as file:
        file.write("\n@pytest.fixture(scope='session')\ndef mlgate_candidate():\n    return 'model.onnx'\n")
    result = project.run()
    assert result.ret == 2
    result.stdout.fnmatch_lines([message])


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("required = []\n", "*requires nothing*"),
        ("alpha = 0.05\n", "*no `required` list*"),
        ('required = ["fairnes"]\n', "*no check 'fairnes'. Installed: *fairness*"),
        ('required = ["performance"]\nfoo = 1\n', "*foo*Accepted: required*"),
    ],
)
def test_a_policy_that_cannot_be_meant_ends_with_exit_code_2(project, policy, message):
    """A policy that requires nothing decides nothing."""
    project.policy(policy)
    result = project.run_alone()
    assert result.ret == 2
    (result.stderr if result.stderr.lines else result.stdout).fnmatch_lines([message])


def test_a_mark_may_not_loosen_the_policy(project):
    """The looser and the stricter place are both named."""
    project.policy('required = ["performance"]\n[checks.performance]\nmetric = "accuracy"\nmin = 0.8\n')
    result = project.run()
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*min=0.7 is looser than min=0.8 at mlgate.toml:2*"])


def test_a_report_folder_that_holds_something_else_is_not_replaced(project):
    """The gate replaces its report as a whole, and nothing else."""
    project.policy('required = ["performance"]\n')
    project.write("mlgate-report/thesis.txt", "years of work")
    result = project.run_alone()
    assert result.ret == 2
    assert (project.folder / "mlgate-report" / "thesis.txt").read_text() == "years of work"


def test_without_data_or_candidate_the_message_names_the_fixture(project):
    """The first run of a new project says what to write next."""
    project.write("conftest.py", "")
    result = project.run()
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*return a pytest_mlgate.Dataset from the mlgate_data fixture*"])
