"""What drift costs on 25 columns: beside sorting them once, and beside deepchecks and evidently.

Run with `make benchmark`. evidently does not share an environment with this project:
MLGATE_EVIDENTLY_PYTHON names the interpreter of one that has it; it is marked as absent otherwise.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import time
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.stats  # noqa: F401 - its import is not what is timed

from mlgate_checks.drift import drift
from pytest_mlgate.candidate.model import BlackBox
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.levels import levels_for
from pytest_mlgate.subject import Subject

BOUNDS = {"max_shift": 0.1, "max_tail_shift": 0.002, "max_dependence_shift": 0.1}
MILLION = 1_000_000


def columns(rows, seed):
    """Return 25 columns: 13 normal, 7 lognormal, 4 counts, one of ten categories, and a label."""
    rng = np.random.default_rng(seed)
    made = {f"x{i}": rng.normal(size=rows) for i in range(20)}
    made |= {name: np.exp(values) for name, values in made.items() if int(name[1:]) % 3 == 0}
    made |= {f"n{i}": rng.poisson(3 + 50 * i, rows) for i in range(4)}
    made["kind"] = pd.Categorical.from_codes(rng.integers(0, 10, rows), list("abcdefghij"))
    made["label"] = rng.integers(0, 2, rows)
    return pd.DataFrame(made)


def subject(train, test):
    """A subject that has read its tables and nothing else."""
    data = Dataset(train=train, test=test, label="label")
    model = BlackBox(lambda x: np.full(len(x), 0.5), "half", data.feature_names, "sha256:0")
    assert set(data.tables) == {"train", "test"}
    return Subject(
        release=model,
        parent=model,
        baseline=None,
        data=data,
        training_record=None,
        levels=levels_for(0.05, 3),
        seed=0,
    )


def sorted_once(*tables):
    """Sort every column of the tables once, categories by their codes."""
    for table in tables:
        for name in table.columns.drop("label"):
            values = table[name].cat.codes if table[name].dtype == "category" else table[name]
            np.sort(values.to_numpy(np.float64))


def seconds(what):
    """Return the CPU seconds of a call: other work on the machine does not count."""
    start = time.process_time()
    what()
    return time.process_time() - start


def test_a_million_rows():
    """All statistics of 25 columns and their pairs: under 3 times the sorting, under 2 times the memory."""
    tables = columns(MILLION, 0), columns(MILLION, 1)
    size = sum(int(t.memory_usage(deep=True).sum()) for t in tables)
    on = subject(*tables)
    sorting = min(seconds(lambda: sorted_once(*tables)) for _ in range(2))
    taken = min(seconds(lambda: drift.function(on, **BOUNDS)) for _ in range(2))
    tracemalloc.start()
    drift.function(on, **BOUNDS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(
        f"\n{MILLION:,} rows twice, 25 columns: sorting once {sorting:.2f} s, drift {taken:.2f} s CPU "
        f"({taken / sorting:.2f} times); tables {size / 1e6:.0f} MB, {peak / 1e6:.0f} MB more at the peak "
        f"({1 + peak / size:.2f} times)"
    )
    assert taken < 3 * sorting
    assert size + peak < 2 * size


_PRESET = """
import sys, time, warnings
warnings.simplefilter("ignore")
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
train, test = (pd.read_pickle(path) for path in sys.argv[1:3])
kinds = ["kind", "label"]
definition = DataDefinition(
    categorical_columns=kinds, numerical_columns=[c for c in train if c not in kinds])
start = time.process_time()
pair = [Dataset.from_pandas(t, data_definition=definition) for t in (test, train)]
Report([DataDriftPreset()]).run(*pair).json()
print(time.process_time() - start)
"""


def evidently_s(train, test, folder):
    """Return the CPU seconds of evidently's drift preset, `None` where it is absent."""
    python = os.environ.get("MLGATE_EVIDENTLY_PYTHON")
    if not python:
        return None
    paths = [str(folder / f"{i}.pickle") for i in range(2)]
    for frame, path in zip((train, test), paths, strict=True):
        frame.astype({"kind": object}).to_pickle(path)
    done = subprocess.run([python, "-c", _PRESET, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return float(done.stdout.splitlines()[-1])


def deepchecks_s(train, test):
    """Return the CPU seconds of deepchecks' suite that compares two tables, `None` where it is absent."""
    if importlib.util.find_spec("deepchecks") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from deepchecks.tabular import Dataset as Table
        from deepchecks.tabular.suites import train_test_validation

        pair = [Table(t.astype({"kind": str}), label="label", cat_features=["kind"]) for t in (train, test)]
        return seconds(lambda: train_test_validation().run(*pair))


@pytest.mark.filterwarnings("ignore")
def test_beside_other_tools_at_three_hundred_thousand_rows(tmp_path):
    """At least ten times as fast as either of them on the same tables in the same run."""
    train, test = columns(300_000, 0), columns(300_000, 1)
    on = subject(train, test)
    ours = min(seconds(lambda: drift.function(on, **BOUNDS)) for _ in range(3))
    found = {
        "deepchecks suite": deepchecks_s(train, test),
        "evidently preset": evidently_s(train, test, tmp_path),
    }
    shown = (
        f"{name} {'absent' if s is None else f'{s:.1f} s ({s / ours:.0f} times)'}"
        for name, s in found.items()
    )
    print(f"\n300,000 rows: drift {ours:.2f} s CPU; {'; '.join(shown)}")
    assert all(s >= 10 * ours for s in found.values() if s is not None)
