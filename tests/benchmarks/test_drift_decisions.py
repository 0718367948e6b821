"""What the drift check decides on data with known truth, beside other tools at their defaults.

25 columns: 20 numeric (Gaussian copula, five blocks of four with correlation 0.3; normal, lognormal, uniform,
exponential, counts, half zero), 4 categorical (3, 5, 10, 50 levels), one binary label. Run as a script for
the whole grid as markdown:

    python tests/benchmarks/test_drift_decisions.py [--runs 200] [--rivals 3] [--rows 500 5000 50000]

Rivals that cannot be imported are marked as absent. evidently does not share an environment with this
project: MLGATE_EVIDENTLY_PYTHON names the interpreter of one that has it.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr, ndtri

from mlgate_checks.drift import drift
from pytest_mlgate.candidate.model import BlackBox
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.evidence import SEVERITY, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.subject import Subject

BOUNDS = {
    "max_shift": 0.10,
    "max_tail_shift": 0.002,
    "max_dependence_shift": 0.10,
    "max_label_shift": 0.05,
}
BLOCK = 4
LEVELS = (3, 5, 10, 50)
WORLDS = (
    *("clean", "m.1", "m.3", "lab5", "lab10", "pair", "pair+", "dep", "diffuse", "tail", "scale"),
    # Effects of a known size: a distance of 0.15 in a normal column; in ten categories, one of which gains,
    # or half of which do; 0.3 on the rank correlation of one pair.
    *("ks.15", "tv.15", "tv.15 spread", "pair.3", "tail zeros"),
)


def _latent(rng, n, world):
    strong = 0.7 if world == "dep" else 0.3
    columns = []
    for block in range(5):
        matrix = np.full((BLOCK, BLOCK), strong)
        if block == 0 and world in ("pair", "pair+", "pair.3"):
            # 2 sin(pi r / 6) is the normal correlation that a rank correlation of r comes from.
            ranks = 6 / np.pi * np.arcsin(0.3 / 2)
            changed = {"pair": 0.5, "pair+": 0.8, "pair.3": 2 * np.sin(np.pi / 6 * (ranks + 0.3))}[world]
            matrix[0, 1] = matrix[1, 0] = changed
        np.fill_diagonal(matrix, 1.0)
        columns.append(rng.normal(size=(n, BLOCK)) @ np.linalg.cholesky(matrix).T)
    return np.hstack(columns)


def _marginal(kind, z):
    from scipy.stats import poisson

    return {
        0: lambda: z,
        1: lambda: np.exp(z),
        2: lambda: ndtr(z),
        3: lambda: -np.log(ndtr(-z)),
        4: lambda: poisson.ppf(ndtr(z), 15),
        5: lambda: np.maximum(z, 0.0),
    }[kind]()


def table(rng, n, world="clean"):
    """Return n rows of a world."""
    z = _latent(rng, n, world)
    if world == "diffuse":
        z = z + 0.05
    z[:, 0] += {"m.1": 0.1, "m.3": 0.3, "ks.15": 2 * ndtri(0.575)}.get(world, 0.0)
    z[:, 0] *= 1.2 if world == "scale" else 1.0
    columns = {f"x{j}": _marginal(j % 6, z[:, j]) for j in range(z.shape[1])}
    if world in ("tail", "tail zeros"):
        name = "x1" if world == "tail" else "x5"
        wrong = rng.random(n) < 0.01
        columns[name] = np.where(wrong, columns[name] * 1000, columns[name])
    for levels in LEVELS:
        shares = np.full(levels, 1 / levels)
        if levels == 10 and world == "tv.15":
            shares += np.where(np.arange(levels) == 0, 0.15, -0.15 / 9)
        if levels == 10 and world == "tv.15 spread":
            shares += np.where(np.arange(levels) < 5, 0.03, -0.03)
        columns[f"k{levels}"] = pd.Categorical.from_codes(
            rng.choice(levels, n, p=shares), [f"level {i}" for i in range(levels)]
        )
    rate = 0.2 + {"lab5": 0.05, "lab10": 0.10}.get(world, 0.0)
    columns["label"] = (rng.random(n) < rate).astype(int)
    return pd.DataFrame(columns)


def verdict(train, current, bounds=BOUNDS):
    """Return the worst verdict of the drift check over the bounds, as one gate that declares only them."""
    data = Dataset(test=current, train=train, label="label")
    model = BlackBox(lambda x: np.full(len(x), 0.5), "half", data.feature_names, "sha256:0")
    on = Subject(
        release=model,
        parent=model,
        baseline=None,
        data=data,
        training_record=None,
        levels=levels_for(0.05, len(bounds)),
        seed=0,
    )
    # The attribution asks the model for text columns, which this one does not read: noted, not judged.
    findings = drift.function(on, **bounds)
    requirements = [
        Requirement(id=p, check="drift", parameter=p, comparator="<=", bound=b, source="benchmark")
        for p, b in bounds.items()
    ]
    return min((j.verdict for j in judge(requirements, findings.measurements)), key=SEVERITY.index)


def decisions(world, n, runs, seed=0, bounds=BOUNDS):
    """Return how often each verdict was given."""
    rng = np.random.default_rng([seed, n, WORLDS.index(world)])
    return Counter(verdict(table(rng, n), table(rng, n, world), bounds) for _ in range(runs))


# What other tools say at their defaults: whether they find drift anywhere; None where one is absent.


def alibi_detect(train, current):
    """Whether TabularDrift, with its correction, finds drift."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from alibi_detect.cd import TabularDrift

        codes = {i: None for i, c in enumerate(train) if train[c].dtype == "category" or c == "label"}
        first, second = (
            np.column_stack([t[c].cat.codes if t[c].dtype == "category" else t[c] for c in t])
            for t in (train, current)
        )
        detector = TabularDrift(first, p_val=0.05, categories_per_feature=codes)
        return bool(detector.predict(second)["data"]["is_drift"])


def deepchecks(train, current):
    """Whether FeatureDrift, LabelDrift or MultivariateDrift fails its default condition."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from deepchecks.tabular import Dataset as Table
        from deepchecks.tabular.checks import FeatureDrift, LabelDrift, MultivariateDrift

        kinds = [f"k{levels}" for levels in LEVELS]
        first, second = (
            Table(t.astype(dict.fromkeys(kinds, str)), label="label", cat_features=kinds)
            for t in (train, current)
        )
        checks = (
            FeatureDrift().add_condition_drift_score_less_than(),
            LabelDrift().add_condition_drift_score_less_than(),
            MultivariateDrift().add_condition_overall_drift_value_less_than(),
        )
        results = [c.run(first, second, with_display=False) for c in checks]
        return any(not r.passed_conditions() for r in results)


_EVIDENTLY = """
import json, sys, warnings
warnings.simplefilter("ignore")
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
found = []
for train, current in json.load(sys.stdin):
    train, current = pd.read_pickle(train), pd.read_pickle(current)
    kinds = [c for c in train if train[c].dtype == object or c == "label"]
    definition = DataDefinition(
        categorical_columns=kinds, numerical_columns=[c for c in train if c not in kinds])
    pair = [Dataset.from_pandas(t, data_definition=definition) for t in (current, train)]
    result = Report([DataDriftPreset()]).run(*pair).dict()
    share = next(m["value"] for m in result["metrics"] if "DriftedColumnsCount" in m["metric_name"])
    found.append([share["share"] >= 0.5, share["count"] > 0])
print(json.dumps(found))
"""


def evidently(pairs):
    """Return for each pair whether the dataset verdict, and whether any column test, finds drift."""
    python = os.environ.get("MLGATE_EVIDENTLY_PYTHON")
    if not python:
        return None
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for i, pair in enumerate(pairs):
            names = [str(Path(folder) / f"{i}-{j}.pickle") for j in range(2)]
            for frame, path in zip(pair, names, strict=True):
                frame.astype({f"k{levels}": object for levels in LEVELS}).to_pickle(path)
            paths.append(names)
        done = subprocess.run(
            [python, "-c", _EVIDENTLY], input=json.dumps(paths), capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def rivals(world, n, runs):
    """Return the share of runs in which each rival finds drift, by name; `None` for one that is absent."""
    rng = np.random.default_rng([1, n, WORLDS.index(world)])
    pairs = [(table(rng, n), table(rng, n, world)) for _ in range(runs)]
    found = {}
    for tool in (alibi_detect, deepchecks):
        try:
            found[tool.__name__] = sum(tool(*pair) for pair in pairs) / runs
        except ImportError:
            found[tool.__name__] = None
    answers = evidently(pairs)
    for i, name in enumerate(("evidently, dataset", "evidently, any column")):
        found[name] = None if answers is None else sum(a[i] for a in answers) / runs
    return found


def grid(rows, worlds, runs, rival_runs):
    """Print the share of runs that fail, and that are inconclusive, as markdown; rivals below."""
    for n in rows:
        print(f"\n### n = {n:,} ({runs} runs; rivals {rival_runs})\n")
        print("| rule | " + " | ".join(worlds) + " |\n|---" + "|---" * len(worlds) + "|")
        for name, bounds in (("all four bounds", BOUNDS), ("max_shift alone", {"max_shift": 0.10})):
            found = [decisions(world, n, runs, bounds=bounds) for world in worlds]
            for shown in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS):
                shares = " | ".join(f"{c[shown] / runs:.2f}" for c in found)
                print(f"| drift check, {name}: {shown} | {shares} |", flush=True)
        if rival_runs:
            others = [rivals(world, n, rival_runs) for world in worlds]
            for name in others[0]:
                cells = ("absent" if o[name] is None else f"{o[name]:.2f}" for o in others)
                print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


@functools.cache
def _failed(world, n, runs):
    return decisions(world, n, runs)[Verdict.FAIL] / runs


@pytest.mark.parametrize("n", [500, 5_000, 50_000])
def test_clean_data_fails_in_at_most_five_percent_of_runs(n):
    """Whatever the mix of column kinds, rows of one source do not fail."""
    assert _failed("clean", n, {500: 100, 5_000: 60, 50_000: 8}[n]) <= 0.05


@pytest.mark.parametrize("world", ["ks.15", "tv.15", "tv.15 spread"])
def test_a_distance_of_fifteen_hundredths_fails_a_bound_of_ten(world):
    """One of 25 columns at a distance of 0.15 is caught at 5,000 rows where its bound is the only one.

    The aim is 95%; of a hundred runs that succeed so often, fewer than 90 do in 1% of cases.
    """
    assert decisions(world, 5_000, 100, bounds={"max_shift": 0.10})[Verdict.FAIL] >= 90


@pytest.mark.parametrize("world", ["lab10", "pair+", "dep", "tail", "tv.15", "pair.3"])
def test_what_is_beyond_its_bound_is_caught_at_five_thousand_rows(world):
    """A label rate up by 10 points, one pair moved by 0.3, all of them, 1% in the wrong unit: caught."""
    assert _failed(world, 5_000, 40) >= 0.95


def test_a_tiny_shift_at_a_million_rows_passes():
    """0.02 standard deviations at a million rows pass a bound of 0.10, and the effect is shown."""
    rng = np.random.default_rng(3)
    train, current = (pd.DataFrame({"x": rng.normal(shift, size=1_000_000)}) for shift in (0.0, 0.02))
    train["label"] = current["label"] = np.arange(1_000_000) % 2
    assert verdict(train, current, {"max_shift": 0.10}) is Verdict.PASS


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--rivals", type=int, default=2)
    parser.add_argument("--rows", type=int, nargs="+", default=[500, 5_000, 50_000])
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS))
    given = parser.parse_args()
    grid(given.rows, given.worlds, given.runs, given.rivals)
