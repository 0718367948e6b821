"""What other tools, at their defaults, say of pairs of tables; runs in an environment of theirs.

    python peer_data_checks.py {deepchecks,evidently,cleanlab} FOLDER LABEL

Reads `*.train.csv` and `*.test.csv` of the folder, writes one JSON line a pair: name, what fails, seconds.
"""

import contextlib
import json
import os
import sys
import time
import warnings
from pathlib import Path

import pandas as pd

#: In the clean tables of this benchmark cleanlab takes up to 7% of the labels for issues.
LABEL_ISSUES = 0.08


def deepchecks(train, test, label):
    """Both suites for tables; a warning is no failure, as deepchecks itself has it."""
    os.environ["DISABLE_DEEPCHECKS_ANONYMOUS_TELEMETRY"] = "True"
    os.environ["DISABLE_LATEST_VERSION_CHECK"] = "True"
    from deepchecks.tabular import Dataset
    from deepchecks.tabular.suites import data_integrity, train_test_validation

    texts = list(train.drop(columns=[label, "day"]).select_dtypes(object).columns)
    sets = [
        Dataset(t.astype({"day": "datetime64[ns]"}), label=label, cat_features=texts, datetime_name="day")
        for t in (train, test)
    ]
    results = [data_integrity().run(s) for s in sets] + [train_test_validation().run(*sets)]
    failing = set()
    for where, result in zip(("train", "test", "both"), results, strict=True):
        for check in result.get_not_passed_checks():
            failing |= {
                f"{check.check.name()} ({where})"
                for c in check.conditions_results
                if c.category.value == "FAIL"
            }
    return failing


def evidently(train, test, label):
    """The presets for a summary and for drift, with the tests that they bring."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset, DataSummaryPreset

    texts = [*train.drop(columns=[label, "day"]).select_dtypes(object).columns, label]
    numbers = [c for c in train.columns if c not in (*texts, "day")]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    sets = [
        Dataset.from_pandas(t.drop(columns="day").astype({label: str}), data_definition=definition)
        for t in (train, test)
    ]
    report = Report([DataSummaryPreset(), DataDriftPreset()], include_tests=True).run(sets[1], sets[0])
    # The names carry the reference's figures, which would make old failures look new.
    return {
        t["name"].split(":")[0] for t in report.dict()["tests"] if str(t["status"]).upper().endswith("FAIL")
    }


def cleanlab(train, test, label):
    """Label issues of either table, from a logistic regression's out-of-sample probabilities.

    It counts them and gives no verdict: more than `LABEL_ISSUES` of the labels are taken for a failure here.
    """
    from cleanlab.filter import find_label_issues
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    failing = set()
    for where, table in (("train", train), ("test", test)):
        x = pd.get_dummies(table.drop(columns=[label, "day"]).fillna(0)).to_numpy(float)
        y = pd.factorize(table[label], sort=True)[0]
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
        found = find_label_issues(y, cross_val_predict(model, x, y, method="predict_proba"), n_jobs=1)
        failing |= {f"label issues ({where})"} if found.mean() > LABEL_ISSUES else set()
    return failing


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    tool, folder, target = (
        {"deepchecks": deepchecks, "evidently": evidently, "cleanlab": cleanlab},
        *sys.argv[2:],
    )
    for path in sorted(Path(folder).glob("*.train.csv")):
        name = path.name.removesuffix(".train.csv")
        tables = [pd.read_csv(path.with_name(f"{name}.{part}.csv")) for part in ("train", "test")]
        started = time.perf_counter()
        try:
            with contextlib.redirect_stdout(sys.stderr):
                failing = sorted(tool[sys.argv[1]](*tables, target))
        except Exception as error:  # a tool that breaks finds nothing, and is shown to have broken
            failing = [f"broke: {type(error).__name__}: {str(error)[:120]}"]
        line = {"name": name, "failing": failing, "seconds": time.perf_counter() - started}
        print(json.dumps(line), flush=True)
