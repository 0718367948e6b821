"""`pytest mlgate.toml` is the whole gate with no test code."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

POLICY = """
required = ["performance", "budget"]
candidate = "model.onnx"

[data]
test = "test.{kind}"
train = "train.{kind}"
label = "y"
sensitive = ["sex"]

[checks.performance]
metric = "accuracy"
min = 0.7

[checks.budget]
size_mb = 1
"""


def _table(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n)})
    table["y"] = (table["a"] > 0).astype(int)
    table["sex"] = np.where(rng.random(n) < 0.5, "f", "m")
    return table


def _write_model(path: Path) -> None:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    train = _table(400, 1)
    model = LogisticRegression().fit(train[["a", "b"]].to_numpy(np.float32), train["y"])
    graph = to_onnx(model, train[["a", "b"]].to_numpy(np.float32)[:1], options={"zipmap": False})
    path.write_bytes(graph.SerializeToString())


@pytest.fixture
def files(project):
    """A project with nothing but files: a model, two tables, a policy."""
    (project.folder / "conftest.py").unlink()
    (project.folder / "test_gate.py").unlink()
    _write_model(project.folder / "model.onnx")
    return project


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_policy_with_a_model_and_tables_is_a_gate(files, kind):
    """Files alone are enough: one test per section, a decision, a report."""
    for name, seed in (("test", 0), ("train", 1)):
        table = _table(400, seed)
        if kind == "csv":
            table.to_csv(files.folder / f"{name}.csv", index=False)
        else:
            table.to_parquet(files.folder / f"{name}.parquet")
    files.policy(POLICY.format(kind=kind))
    result = files.run("mlgate.toml", "-v")
    assert result.ret == 0, result.stdout.str()
    assert files.outcome == "release"
    result.stdout.fnmatch_lines(["mlgate.toml::performance[[]accuracy[]] PASSED*"])


AMOUNTS = """
required = ["performance", "fairness"]

[candidate]
model = "amounts.onnx"
output = "value"

[data]
test = "test.csv"
train = "train.csv"
label = "price"
features = ["a", "b"]
sensitive = ["sex", "age"]
task = "regression"

[data.bins]
age = [40]

[checks.performance]
metric = "mae"
max = 1.0

[checks.fairness]
metric = "mae_difference"
sensitive = ["sex", "age"]
max = 0.5
"""


def test_a_regression_is_gated_from_files(files):
    """A regressor, its amounts and binned ages are judged by the metrics of amounts, and released."""
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression

    tables = {}
    for name, seed in (("test", 0), ("train", 1)):
        rng = np.random.default_rng(seed)
        tables[name] = table = _table(600, seed).drop(columns="y")
        table["age"] = rng.integers(18, 80, 600)
        table["price"] = 3 * table.a - 2 * table.b + 0.5 * rng.normal(size=600)
        table.to_csv(files.folder / f"{name}.csv", index=False)
    rows = tables["train"][["a", "b"]].to_numpy(np.float32)
    graph = to_onnx(LinearRegression().fit(rows, tables["train"].price), rows[:1])
    (files.folder / "amounts.onnx").write_bytes(graph.SerializeToString())
    files.policy(AMOUNTS)
    result = files.run("mlgate.toml")
    assert result.ret == 0, result.stdout.str()
    assert files.outcome == "release"
    assert set(files.verdicts.values()) == {"pass"}
    assert {m["metric"] for e in files.evidence["evidence"] for m in e["measurements"]} >= {"mae"}
    files.policy(AMOUNTS.replace('output = "value"', 'output = "probability"'))
    refused = files.run("mlgate.toml")
    assert refused.ret == 2
    refused.stdout.fnmatch_lines(["*label 'price' is an amount*output='value'*"])


def test_one_section_alone_is_not_the_gate(files):
    """Naming one item leaves the other requirement not run."""
    for name, seed in (("test", 0), ("train", 1)):
        _table(400, seed).to_csv(files.folder / f"{name}.csv", index=False)
    files.policy(POLICY.format(kind="csv"))
    assert files.run("mlgate.toml::performance[accuracy]").ret == 1
    assert files.verdicts["budget[cpu].size_mb"] == "not_run"


def test_a_policy_that_names_no_candidate_says_what_is_missing(files):
    """Running it by itself is misuse, with the lines to add."""
    files.policy('required = ["performance"]\n[checks.performance]\nmetric = "accuracy"\nmin = 0.7\n')
    result = files.run_alone("mlgate.toml")
    assert result.ret == 2
    result.stderr.fnmatch_lines(["*names no candidate (candidate = *) and no data (*"])


def test_a_table_that_is_missing_is_named(files):
    """A wrong path in the policy is one clear message."""
    files.policy(POLICY.format(kind="csv"))
    result = files.run("mlgate.toml")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*test table*test.csv' does not exist*"])


def test_the_policy_may_live_in_pyproject(files):
    """`[tool.mlgate]` says the same as mlgate.toml, and both at once are refused."""
    for name, seed in (("test", 0), ("train", 1)):
        _table(400, seed).to_csv(files.folder / f"{name}.csv", index=False)
    text = (
        POLICY.format(kind="csv")
        .replace("[data]", "[tool.mlgate.data]")
        .replace("[checks.", "[tool.mlgate.checks.")
    )
    files.write("pyproject.toml", "[tool.mlgate]\n" + text)
    assert files.run("pyproject.toml").ret == 0
    assert files.outcome == "release"
    files.policy(POLICY.format(kind="csv"))
    assert files.run_alone().ret == 2
