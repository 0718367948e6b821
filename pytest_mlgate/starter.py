"""The files that `mlgate init` writes: a policy and a test to start from."""

from __future__ import annotations

import json
from pathlib import Path

POLICY = """\
# What a release of this model needs. Bounds are judged by confidence intervals: see `mlgate explain`.
name = {name}

# Every check named here must run and pass, or the release is blocked.
required = ["budget", "performance", "data_quality"]

# The probability that a model which meets everything is blocked by chance.
alpha = 0.05

# With a candidate and data named here, `pytest mlgate.toml` is the whole gate. Without, the fixtures in
# conftest.py give them, and the tests carry the requirements.
# candidate = "models/model.onnx"
# [data]
# test = "data/test.csv"
# train = "data/train.csv"
# label = "label"

[checks.budget]
latency_ms = 10
percentile = 99
size_mb = 5
max_accuracy_drop = 0.01

[checks.performance]
metric = "roc_auc"
min = 0.75

[checks.data_quality]
max_leaked_share = 0.01
"""

TEST = '''\
"""The release gate: the marks say what must hold, the policy in mlgate.toml gives the bounds."""

from pytest_mlgate import budget, data_quality, performance


@budget
@performance
@data_quality
def test_release(mlgate):
    """The release artifact meets every requirement."""
    print(mlgate.release.identity)
'''

CONFTEST = '''\
"""Gives the gate its candidate and its data."""

import pytest


@pytest.fixture(scope="session")
def mlgate_candidate():
    """The model proposed for release: a torch module, a scikit-learn estimator, an ONNX path, a callable."""
    return None  # replace this by your model


@pytest.fixture(scope="session")
def mlgate_data():
    """The held-out rows to judge on, and the training rows."""
    return None  # replace this by pytest_mlgate.Dataset(test=..., train=..., label=...)
'''


def write(folder: Path) -> list[tuple[Path, bool]]:
    """Write the starting files that do not exist yet; return each path and whether it was written."""
    files = {
        folder / "mlgate.toml": POLICY.format(name=json.dumps(folder.resolve().name)),
        folder / "tests" / "test_release_gate.py": TEST,
        folder / "tests" / "conftest.py": CONFTEST,
    }
    written = []
    for path, text in files.items():
        is_new = not path.exists()
        if is_new:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        written.append((path, is_new))
    return written
