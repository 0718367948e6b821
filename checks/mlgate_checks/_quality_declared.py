"""What was declared about the data and does not hold: a schema, and the answers of the serving path."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.dataset import read_table
from pytest_mlgate.errors import CheckError

from ._faults import Count, row_keys, shown_rows
from ._quality_tables import Tables, kind_of, numbers

#: Two computations of one feature may differ by rounding in 32 bits.
_RELATIVE = 1e-5


def invalid(tables: Tables, path: str) -> Iterator[Count]:
    """Yield, for every column of every table, the rows that break a rule of the pandera schema.

    What concerns a whole column (it is not there, or of another type) counts for all of its rows.

    Raises:
        CheckError: the file is no pandera schema in YAML.
        ImportError: pandera is not installed.
    """
    schema = _schema(path)
    broken_rules = importlib.import_module("pandera.errors").SchemaErrors
    for role, table in tables.items():
        broken: dict[str, NDArray[np.bool_]] = {}
        rules: dict[str, list[str]] = {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                schema.validate(table, lazy=True)
        except broken_rules as error:
            for case in error.failure_cases.itertuples():
                # A column that is not there is named by the case itself.
                absent = case.column is None or case.check == "column_in_dataframe"
                column = str(case.failure_case if absent else case.column)
                rows = broken.setdefault(column, np.zeros(len(table), np.bool_))
                rows[slice(None) if case.index is None or case.index != case.index else int(case.index)] = (
                    True
                )
                rule = str(case.check)
                if rule not in rules.setdefault(column, []):
                    rules[column].append(rule)
        for column in dict.fromkeys([*map(str, schema.columns), *broken]):
            rows = broken.get(column, np.zeros(len(table), np.bool_))
            named = "; ".join(rules.get(column, []))
            detail = f"{named}; {shown_rows(rows)}" if named else ""
            scope = f"column {column} ({role})"
            yield Count(scope=scope, count=int(rows.sum()), n=len(table), detail=detail, table=role)


def _schema(path: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from_yaml = importlib.import_module("pandera.pandas").DataFrameSchema.from_yaml
        if not Path(path).is_file():
            raise CheckError(f"data_quality: schema={path!r} is no file: name a pandera schema in YAML")
        try:
            return from_yaml(Path(path))
        except Exception as error:  # YAML and pandera each refuse in ways of their own
            raise CheckError(f"data_quality: {path!r} is no pandera schema in YAML: {error}") from None


def serving_skew(tables: Tables, features: list[str], path: str, key: tuple[str, ...]) -> Iterator[Count]:
    """Yield, for every feature, the test rows whose value on the serving path is another one.

    The rows of both tables are told by `key`. Numbers are the same within a hundred-thousandth, or both
    missing; everything else is compared as text. First comes how many test rows the serving table has not.

    Raises:
        CheckError: no key is named, a table lacks a column of it, or several rows share one.
        Misuse: the file is no table.
    """
    if not key:
        raise CheckError("data_quality: serving needs key=[...], the columns that tell which row is which")
    both = {"test": tables["test"], "serving": read_table(path, "serving").to_pandas().reset_index(drop=True)}
    for role, table in both.items():
        lacking = [c for c in key if c not in table.columns]
        if lacking:
            raise CheckError(
                f"data_quality: the {role} table has no key column {', '.join(map(repr, lacking))}"
            )
    keys = row_keys(both, list(key))
    for role, of_rows in keys.items():
        repeated = len(of_rows) - len(np.unique(of_rows))
        if repeated:
            raise CheckError(f"data_quality: {repeated:,} rows of the {role} table repeat the key of another")
    test, served = both["test"], both["serving"]
    order = np.argsort(keys["serving"])
    at = np.minimum(np.searchsorted(keys["serving"][order], keys["test"]), len(served) - 1)
    found = keys["serving"][order][at] == keys["test"]
    rows = order[at][found]
    n = int(found.sum())
    yield Count(
        scope="rows that are not served",
        count=int((~found).sum()),
        n=len(test),
        detail=shown_rows(~found),
    )
    for column in features:
        scope = f"column {column}"
        if column not in served.columns:
            yield Count(scope=scope, count=n or None, n=n, detail="the serving table has no such column")
            continue
        if not n:
            yield Count(scope=scope, count=None, n=0, detail="no row of test is in the serving table")
            continue
        differs = np.zeros(len(test), np.bool_)
        differs[found] = _differs(test[column][found], served[column].iloc[rows])
        yield Count(
            scope=scope, count=int(differs.sum()), n=n, detail=shown_rows(differs), table="test and serving"
        )


def _differs(ours: Any, theirs: Any) -> NDArray[np.bool_]:
    if kind_of(ours) == kind_of(theirs) == "numbers":
        return ~np.isclose(numbers(ours), numbers(theirs), rtol=_RELATIVE, atol=1e-12, equal_nan=True)
    a, b = (s.astype(object).where(s.notna(), None).map(str).to_numpy() for s in (ours, theirs))
    return np.asarray(a != b)
