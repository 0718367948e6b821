"""How many faults of real tables the data-quality check finds, and how often it fails clean ones.

Run with `make benchmark`. `MLGATE_FAULT_SEEDS` sets how often each fault is put in (10; clean tables are
drawn five times as often), `MLGATE_PEER_SEEDS` how often other tools are asked (1: they take half a minute a
pair), `MLGATE_PEERS` names an interpreter that has evidently and cleanlab (else one is made, by pip).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlgate_checks.data_quality import data_quality
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.levels import levels_for
from pytest_mlgate.subject import Subject

from . import data_faults
from .data_faults import FAULTS
from .data_quality_policy import ANSWERS, failing

SEEDS = int(os.environ.get("MLGATE_FAULT_SEEDS", "10"))
PEER_SEEDS = int(os.environ.get("MLGATE_PEER_SEEDS", "1"))
PEERS = ("evidently==0.7.23", "cleanlab==2.9.0", "scikit-learn<1.8", "pandas<3")
#: CPU seconds, the libraries loaded, of what rows are looked at in full for.
LIMIT_S = 10.0


def sources():
    """The tables that are here."""
    found = [data_faults.mortgage(), data_faults.breast_cancer(), data_faults.adult()]
    return [source for source in found if source is not None]


def hurt(source, fault, seed):
    """The tables of a seed with a fault."""
    return FAULTS[fault](*source.split(seed), source, np.random.default_rng(seed + 1000))


def shown(columns, rows):
    """Print a markdown table."""
    print("\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")


def test_faults_are_found_and_clean_tables_pass():
    """At least 90% of the faults fail a bound that is about them; at most 5% of clean tables fail any."""
    caught, alarms, seconds = defaultdict(list), defaultdict(list), []
    for source in sources():
        for seed in range(5 * SEEDS):
            started = time.perf_counter()
            alarms[source.name].append(failing(source, *source.split(seed), seed))
            seconds.append(time.perf_counter() - started)
        for fault in FAULTS:
            for seed in range(SEEDS):
                found = failing(source, *hurt(source, fault, seed), seed)
                caught[fault, source.name].append(bool(set(found) & ANSWERS[fault]))
    names = list(alarms)
    rows = [(f, *(f"{np.mean(caught[f, n]):.0%}" for n in names)) for f in FAULTS]
    rows.append(("clean tables that fail", *(f"{sum(map(bool, a))} of {len(a)}" for a in alarms.values())))
    shown(("share found", *names), rows)
    print(f"{np.median(seconds):.2f} s a pair of tables")
    every = [hit for hits in caught.values() for hit in hits]
    clean = [bool(found) for runs in alarms.values() for found in runs]
    for runs in alarms.values():
        print(*(message for found in runs for message in found.values()), sep="\n")
    assert np.mean(every) >= 0.9
    assert np.mean(clean) <= 0.05


def test_beside_other_tools(tmp_path):
    """More faults found, and fewer clean tables failed, than by any peer at its defaults."""
    asked = [s for s in sources() if s.name != "Adult"]
    tools = {"deepchecks": sys.executable, **dict.fromkeys(("evidently", "cleanlab"), peers(tmp_path))}
    results = {"pytest-mlgate": ours(asked)}
    for tool, python in tools.items():
        if isinstance(python, str) and not Path(python).is_file():
            print(f"{tool}: {python}")
            continue
        results[tool] = {}
        for source in asked:
            folder = tmp_path / source.name.replace(" ", "-")
            written(source, folder)
            script = Path(__file__).with_name("peer_data_checks.py")
            done = subprocess.run(
                [python, script, tool, folder, source.label], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr[-2000:]
            for line in map(json.loads, done.stdout.splitlines()):
                results[tool][source.name, line["name"]] = set(line["failing"]), line["seconds"]
    scores = {tool: score(found) for tool, found in results.items()}
    faults = [(f, *(s["caught"][f] for s in scores.values())) for f in FAULTS]
    totals = [(key, *(s[key] for s in scores.values())) for key in ("all faults", "clean failed", "seconds")]
    shown(("fault", *scores), faults + totals)
    best = scores.pop("pytest-mlgate")
    assert all(best["share"] > s["share"] and best["alarms"] <= s["alarms"] for s in scores.values())


def ours(asked):
    """What fails, and the seconds, by table and by fault and seed."""
    found = {}
    for source in asked:
        for seed in range(PEER_SEEDS):
            for fault in ("clean", *FAULTS):
                tables = source.split(seed) if fault == "clean" else hurt(source, fault, seed)
                started = time.perf_counter()
                messages = failing(source, *tables, seed)
                found[source.name, f"{fault}.{seed}"] = set(messages), time.perf_counter() - started
    return found


def written(source, folder):
    """Write all pairs of tables once."""
    if folder.is_dir():
        return
    folder.mkdir()
    for seed in range(PEER_SEEDS):
        for fault in ("clean", *FAULTS):
            tables = source.split(seed) if fault == "clean" else hurt(source, fault, seed)
            for part, table in zip(("train", "test"), tables, strict=True):
                table.to_csv(folder / f"{fault}.{seed}.{part}.csv", index=False)


def score(found):
    """A fault is caught if anything fails that did not fail on the clean tables of its seed."""
    caught, alarms = defaultdict(list), []
    for (table, name), (what, _) in found.items():
        fault, seed = name.rsplit(".", 1)
        clean = found[table, f"clean.{seed}"][0]
        if fault == "clean":
            alarms.append(bool(what))
        else:
            new = {w for w in what - clean if not w.startswith("broke:")}
            caught[fault].append(bool(new))
    every = [hit for hits in caught.values() for hit in hits]
    return {
        "caught": {fault: f"{sum(hits)} of {len(hits)}" for fault, hits in caught.items()},
        "share": np.mean(every),
        "alarms": np.mean(alarms),
        "all faults": f"{np.mean(every):.0%}",
        "clean failed": f"{sum(alarms)} of {len(alarms)}",
        "seconds": f"{np.median([s for _, s in found.values()]):.1f}",
    }


def peers(folder):
    """Return the interpreter that has the peers, or why there is none."""
    if os.environ.get("MLGATE_PEERS"):
        return os.environ["MLGATE_PEERS"]
    python = folder / "peers" / "bin" / "python"
    try:
        venv.create(folder / "peers", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PEERS], check=True, capture_output=True)
    except (subprocess.CalledProcessError, OSError) as error:
        return f"cannot be installed: {error}"
    return str(python)


@pytest.mark.parametrize("rows", [1_000_000])
def test_a_million_rows_take_seconds(rows):
    """Duplicates, leakage, missing cells and categories of two tables of 25 columns, in CPU seconds."""
    tables = [wide(rows, seed) for seed in (0, 1)]
    bounds = {"max_duplicate_share": 0.01, "max_leaked_share": 0.01, "max_missing_share": 0.01}
    bounds |= {"max_missing_change": 0.01, "max_unseen_share": 0.01, "max_misspelt_share": 0.01}
    more = {"max_near_duplicate_share": 0.01, "max_conflicting_share": 0.01, "max_unit_change_share": 0}
    more |= {"max_extreme_share": 0, "max_sentinel_share": 0, "max_order_power": 0.2}
    taken = []
    for asked in ({}, bounds, more):
        data = Dataset(test=tables[1], train=tables[0], label="y")
        subject = Subject(None, None, None, data, None, levels_for(0.05, 20), 0)
        started = time.process_time()
        data_quality.function(subject, **asked)
        taken.append(time.process_time() - started)
    names = ("the three defaults", "and duplicates, leaks, missing, categories", "and near duplicates, cells")
    shown(("bounds", "CPU seconds"), [(n, f"{t:.1f}") for n, t in zip(names, taken, strict=True)])
    assert taken[1] < LIMIT_S


def wide(rows, seed):
    """Twenty amounts, four columns of text and a label."""
    rng = np.random.default_rng(seed)
    columns = {f"x{i}": rng.lognormal(size=rows) if i % 2 else rng.normal(size=rows) for i in range(20)}
    for i, levels in enumerate((3, 5, 10, 50)):
        names = np.asarray([f"category{j}" for j in range(levels)], object)
        columns[f"c{i}"] = names[rng.integers(0, levels, rows)]
    return pd.DataFrame({**columns, "y": rng.integers(0, 2, rows)})
