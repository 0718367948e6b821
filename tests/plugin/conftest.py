"""A small project with a callable candidate, so that the plugin's behaviour is tested in seconds."""

import importlib
import json
from pathlib import Path

import pytest

from pytest_mlgate import discovery

# pytester forgets what was first imported inside a run; compiled modules cannot be imported a second time.
_COMPILED = (
    "fairlearn.metrics",
    "narwhals",
    "numpy",
    "onnx.checker",
    "onnxruntime",
    "pandas",
    "pyarrow.parquet",
    "pytest_mlgate.compress.search",
    "pytest_mlgate.policy_items",
    "pytest_mlgate.session",
    "pytest_mlgate.sources",
    "scipy.special",
    "scipy.stats",
    "sklearn.linear_model",
    "sklearn.metrics",
    "skl2onnx",
)
for _name in _COMPILED:
    importlib.import_module(_name)
discovery.checks()
discovery.views()

CONFTEST = """
import numpy as np
import pandas as pd
import pytest
from pathlib import Path
from pytest_mlgate import Dataset

def rows(n, seed):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n)})
    table["y"] = (table["a"] + 0.3 * rng.normal(size=n) > 0).astype(int)
    table["sex"] = np.where(rng.random(n) < 0.5, "f", "m")
    return table

@pytest.fixture(scope="session")
def mlgate_data():
    return Dataset(test=rows(400, 0), train=rows(400, 1), label="y", sensitive=["sex"])

@pytest.fixture(scope="session")
def mlgate_candidate():
    Path("candidate-was-loaded").touch()
    return lambda x: 1 / (1 + np.exp(-3 * x[:, 0].astype(float)))
"""

GATE = """
from pytest_mlgate import performance

@performance(metric="accuracy", min=0.7)
def test_release(mlgate):
    assert mlgate.evidence("performance").verdict == "pass"
"""


class Project:
    """A project in a temporary folder, and what the gate wrote about it."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.folder: Path = pytester.path
        self.write("conftest.py", CONFTEST)
        self.write("test_gate.py", GATE)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def policy(self, text: str) -> None:
        self.write("mlgate.toml", text)

    def run(self, *arguments: str) -> pytest.RunResult:
        return self.pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)

    def run_alone(self, *arguments: str) -> pytest.RunResult:
        return self.pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)

    @property
    def evidence(self) -> dict:
        return json.loads((self.folder / "mlgate-report" / "evidence.json").read_text())

    @property
    def outcome(self) -> str:
        return self.evidence["decision"]["outcome"]

    @property
    def reasons(self) -> str:
        return "\n".join(reason["text"] for reason in self.evidence["decision"]["reasons"])

    @property
    def verdicts(self) -> dict[str, str]:
        return {
            judgement["requirement"]: judgement["verdict"]
            for item in self.evidence["evidence"]
            for judgement in item["judgements"]
        }

    @property
    def candidate_was_loaded(self) -> bool:
        return (self.folder / "candidate-was-loaded").exists()


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose one requirement holds."""
    import pytest_mlgate

    monkeypatch.setattr(pytest_mlgate, "marks_imported", False)
    return Project(pytester)
