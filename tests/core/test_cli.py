"""The `mlgate` command: its exit codes mean what a CI job reads from them."""

import subprocess
import sys
import tomllib

import pytest

from pytest_mlgate import cli, discovery, policy


def mlgate(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "pytest_mlgate.cli", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("decision", [None, "release", "blocked"])
@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 5, 130])
def test_only_a_release_and_a_clean_end_are_zero(code, decision):
    """Every pytest exit code with every decision maps to one meaning, and 0 only to a release."""
    found = cli.exit_code(code, decision)
    assert (found == 0) == (code == 0 and decision == "release")
    expected = {
        (0, None): cli.BLOCKED,
        (0, "blocked"): cli.BLOCKED,
        (1, None): cli.BROKEN,
        (2, None): cli.MISUSE,
        (4, None): cli.MISUSE,
        (5, None): cli.BROKEN,
        (3, "release"): cli.BROKEN,
        (3, "blocked"): cli.BROKEN,
        (3, None): cli.BROKEN,
        (1, "release"): cli.BLOCKED,
        (5, "release"): cli.BLOCKED,
    }
    assert found == expected.get((code, decision), found)
    assert found in {0, 1, 2, 3}


def test_init_writes_a_start_and_keeps_what_is_there(tmp_path, capsys):
    """The first call writes policy, test and fixtures; the second keeps each of them as it is now."""
    assert cli.main(["init", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("wrote") == 3
    (tmp_path / "mlgate.toml").write_text("# mine\n")
    (tmp_path / "tests" / "conftest.py").unlink()
    assert cli.main(["init", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["kept", "kept", "wrote"]
    assert (tmp_path / "mlgate.toml").read_text() == "# mine\n"


def test_what_init_writes_is_a_valid_policy_and_valid_python(tmp_path):
    """The starting policy reads, names the project, and requires only checks that are there."""
    folder = tmp_path / "loans"
    assert cli.main(["init", str(folder)]) == 0
    read = policy.load(folder / "mlgate.toml")
    assert read.fields.name == "loans"
    assert set(read.fields.required) <= set(discovery.checks())
    assert tomllib.loads((folder / "mlgate.toml").read_text())["alpha"] == 0.05
    for path in (folder / "tests").glob("*.py"):
        compile(path.read_text(), str(path), "exec")


@pytest.mark.parametrize("name", ['a"b', "back\\slash", "new\nline", "tab\t", "{braces}", "ünï", "'"])
def test_init_in_a_folder_of_any_name_writes_a_policy_that_reads(tmp_path, name):
    """Quotes, backslashes, braces and control characters in a folder's name stay a name in the policy."""
    folder = tmp_path / name
    folder.mkdir()
    assert cli.main(["init", str(folder)]) == 0
    assert tomllib.loads((folder / "mlgate.toml").read_text(encoding="utf-8"))["name"] == name
    assert policy.load(folder / "mlgate.toml").fields.name == name


def test_doctor_says_what_there_is(tmp_path, monkeypatch, capsys):
    """The doctor names machine, checks, extras, targets and policy, and a broken policy does not stop it."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    for word in ("machine: ", "packages: ", "checks: budget", "extra torch: installed", "policy: none here"):
        assert word in said
    (tmp_path / "mlgate.toml").write_text("required = []\n")
    assert cli.main(["doctor"]) == 0
    assert "policy: broken: mlgate.toml: `required` is empty" in capsys.readouterr().out
    (tmp_path / "mlgate.toml").write_text('required = ["budget"]\n[checks.budget]\nsize_mb = 1\n')
    assert cli.main(["doctor"]) == 0
    assert "policy: mlgate.toml, requires budget; declares 1 bounds" in capsys.readouterr().out


def test_verify_ends_with_the_state_of_the_report(build, tmp_path, capsys):
    """A report that agrees with itself is 0, one that does not is 1, and no folder at all is misuse."""
    folder = build().folder
    assert cli.main(["verify", str(folder)]) == 0
    assert "agrees with itself; not signed" in capsys.readouterr().out
    (folder / "extra").touch()
    assert cli.main(["verify", str(folder)]) == 1
    assert capsys.readouterr().out.endswith(f"{folder}: 1 problems\n")
    (tmp_path / "empty").mkdir()
    assert cli.main(["verify", str(tmp_path / "empty")]) == 1
    assert "evidence.json: cannot be read" in capsys.readouterr().out
    assert cli.main(["verify", str(tmp_path / "absent")]) == 2
    assert "is not a report folder" in capsys.readouterr().err


def test_explain_tells_what_a_check_found(build, capsys):
    """A check, or one of its requirements, is explained with value, bound, artifact and place."""
    folder = str(build().folder)
    for name in ("accuracy", "accuracy.min"):
        assert cli.main(["explain", name, "--report", folder]) == 0
        said = capsys.readouterr().out
        assert "accuracy: pass" in said
        assert "is at least min=0.6" in said
        assert "required at mlgate.toml:2 by test_it" in said


@pytest.mark.parametrize("name", ["fairness", "", "accuracy.max"])
def test_explaining_what_is_not_there_is_misuse(build, capsys, name):
    """An unknown name is misuse, and the names that the report has are given."""
    assert cli.main(["explain", name, "--report", str(build().folder)]) == 2
    assert f"has no evidence for {name!r}. It has: accuracy, width" in capsys.readouterr().err


def test_explaining_without_a_report_is_misuse(tmp_path, capsys):
    """Without a report the next step is named; a damaged report is misuse as well."""
    assert cli.main(["explain", "budget", "--report", str(tmp_path)]) == 2
    assert "Run the gate first: mlgate run" in capsys.readouterr().err
    (tmp_path / "evidence.json").write_text("{}")
    assert cli.main(["explain", "budget", "--report", str(tmp_path)]) == 2
    assert "evidence.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["verify", "--fast"], "unrecognized arguments: --fast"),
        (["release"], "invalid choice"),
        (["run"], "no policy: there is no mlgate.toml here. Write one with: mlgate init"),
        (["run", "--policy", "absent.toml"], "does not exist"),
    ],
)
def test_misuse_of_the_command_is_two(tmp_path, arguments, message):
    """A missing or unknown command, an unknown option and a missing policy end with 2 and one message."""
    done = mlgate(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_whatever_breaks_is_three(tmp_path, monkeypatch, capsys):
    """An error inside the command is never a release: the exit code is 3 and the message says so."""
    (tmp_path / "tests").write_text("a file where init wants a folder")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init"]) == 3
    assert "the gate itself broke; this is not a decision about the model" in capsys.readouterr().err
