"""Four families of models, each trained once on real rows, for the benchmark of the compression search."""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import train_test_split
from torch import nn

from pytest_mlgate.candidate import Candidate
from pytest_mlgate.dataset import Dataset

CACHE = Path(os.environ.get("MLGATE_BENCHMARK_CACHE", Path(tempfile.gettempdir(), "mlgate-benchmark")))
_CHECKOUT = Path(__file__).parents[2]
_NUMBERS = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
_KINDS = (
    "workclass",
    "education",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "native_country",
)
_LABEL = "label"


@dataclass(frozen=True, eq=False)
class Family:
    """A trained candidate, the tables that a gate is given, and rows that nobody chooses on.

    `data.test` is what the gate judges on and what Olive validates on; `held_out` is for the comparison.
    """

    name: str
    candidate: Candidate
    data: Dataset
    held_out: pd.DataFrame
    max_accuracy_drop: float


def mlp() -> Family:
    """Return three layers of 512 (about 580,000 parameters) on the census table."""
    train, judged, held_out = census()
    _seed()
    module = _trained("mlp", _mlp(train.shape[1] - 1), train, epochs=4, rate=5e-4)
    return _family("mlp", Candidate(module), train, judged, held_out, 0.01)


def trees() -> Family:
    """Return 150 gradient-boosted trees on the census table."""
    train, judged, held_out = census()
    path = _cached("trees")
    if not path.is_file():
        estimator = GradientBoostingClassifier(n_estimators=150, max_depth=4, random_state=0)
        rows = train.drop(columns=_LABEL).to_numpy(np.float32)
        path.write_bytes(pickle.dumps(estimator.fit(rows, train[_LABEL].to_numpy())))
    return _family("trees", Candidate(pickle.loads(path.read_bytes())), train, judged, held_out, 0.01)


def cnn(split: int = 0) -> Family:
    """Return three convolutions with batch normalisation (310,000 parameters) on a split of the digits."""
    train, judged, held_out = digits(split)
    _seed()
    module = _trained(f"cnn-{split}", Convolutions(), train, epochs=60, rate=2e-3, shift=True)
    return _family(f"cnn, split {split}", Candidate(module, output="logit"), train, judged, held_out, 0.01)


def transformer() -> Family:
    """Return an encoder of two layers of width 64 that reads a digit as eight tokens."""
    train, judged, held_out = digits()
    _seed()
    module = _trained("transformer", Encoder(), train, epochs=200, rate=2e-3, shift=True)
    return _family("transformer", Candidate(module, output="logit"), train, judged, held_out, 0.02)


#: The digits leave few rows to compare on, and a network that loses nothing loses two of them by chance: the
#: convolutions are compared on the held-out rows of several splits together.
FAMILIES: dict[str, tuple[Callable[[], Family], ...]] = {
    "mlp": (mlp,),
    "cnn": tuple(functools.partial(cnn, split) for split in (0, 1, 2)),
    "transformer": (transformer,),
    "trees": (trees,),
}


def census() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the census table for training, for judging, and held out; kinds are one-hot."""
    folder = Path(os.environ.get("MLGATE_DATA", _CHECKOUT.parent / "shared" / "data"))
    if not (folder / "adult_train.csv").is_file():
        pytest.skip(f"no adult_train.csv in {folder}: set MLGATE_DATA to the folder with the census table")
    known, held_out = (pd.read_csv(folder / f"adult_{part}.csv") for part in ("train", "test"))
    train, judged = train_test_split(known, test_size=0.25, random_state=0, stratify=known["income"])
    mean, deviation = train[list(_NUMBERS)].mean(), train[list(_NUMBERS)].std()
    values = {kind: sorted(train[kind].dropna().unique()) for kind in _KINDS}

    def encoded(table: pd.DataFrame) -> pd.DataFrame:
        columns = {name: (table[name] - mean[name]) / deviation[name] for name in _NUMBERS}
        for kind, name in ((k, v) for k in _KINDS for v in values[k]):
            columns[f"{kind}_{name}"] = table[kind] == name
        out = pd.DataFrame(columns).astype(np.float32)
        out[_LABEL] = (table["income"] == ">50K").astype(int)
        return out.reset_index(drop=True)

    return encoded(train), encoded(judged), encoded(held_out)


def digits(split: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the digits for training (35%), for judging (40%), and held out (25%); 64 grey values, 0 to 1."""
    rows, labels = load_digits(return_X_y=True)
    table = pd.DataFrame(rows.astype(np.float32) / 16, columns=[f"p{i}" for i in range(64)])
    table[_LABEL] = labels
    known, held_out = train_test_split(table, test_size=0.25, random_state=split, stratify=labels)
    train, judged = train_test_split(known, test_size=40 / 75, random_state=split, stratify=known[_LABEL])
    return tuple(part.reset_index(drop=True) for part in (train, judged, held_out))


class Convolutions(nn.Module):
    """Reads a flat row as an image of 8 by 8."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise((1, 64, 128, 128)):
            layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1), nn.BatchNorm2d(fan_out), nn.ReLU()]
        self.body = nn.Sequential(*layers[:6], nn.MaxPool2d(2), *layers[6:], nn.MaxPool2d(2))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(512, 160), nn.ReLU(), nn.Linear(160, 10))

    def forward(self, rows):
        return self.head(self.body(rows.reshape(-1, 1, 8, 8)))


class Encoder(nn.Module):
    """Reads a flat row as eight tokens, one for each line of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(8, 64)
        self.place = nn.Parameter(0.1 * torch.randn(8, 64))
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.1, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(64, 10)

    def forward(self, rows):
        tokens = self.embedding(rows.reshape(-1, 8, 8)) + self.place
        return self.head(self.body(tokens).mean(dim=1))


def _mlp(columns: int) -> nn.Module:
    parts: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise((columns, 512, 512, 512)):
        parts += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(512, 1), nn.Sigmoid())


def _family(
    name: str, candidate: Candidate, train: Any, judged: Any, held_out: Any, max_accuracy_drop: float
) -> Family:
    data = Dataset(test=judged, train=train, label=_LABEL)
    return Family(name, candidate, data, held_out, max_accuracy_drop)


def _fit(
    module: nn.Module, train: pd.DataFrame, *, epochs: int, rate: float, shift: bool = False
) -> nn.Module:
    """Train with AdamW and a cosine schedule; `shift` moves every image by up to one pixel."""
    rows = torch.from_numpy(train.drop(columns=_LABEL).to_numpy(np.float32))
    labels = torch.from_numpy(train[_LABEL].to_numpy())
    batch = 256 if len(rows) > 5000 else 64
    steps = epochs * (len(rows) // batch)
    optimiser = torch.optim.AdamW(module.parameters(), rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(rows))[: len(rows) // batch * batch]
        for picked in order.split(batch):
            optimiser.zero_grad()
            answers = module(_shifted(rows[picked]) if shift else rows[picked])
            if answers.shape[1] == 1:
                loss = nn.functional.binary_cross_entropy(answers[:, 0], labels[picked].float())
            else:
                loss = nn.functional.cross_entropy(answers, labels[picked])
            loss.backward()
            optimiser.step()
            schedule.step()
    return module.eval()


def _shifted(rows: torch.Tensor) -> torch.Tensor:
    padded = nn.functional.pad(rows.reshape(-1, 8, 8), (1, 1, 1, 1))
    down, right = torch.randint(0, 3, (2, len(rows)))
    moved = [image[d : d + 8, r : r + 8] for image, d, r in zip(padded, down, right, strict=True)]
    return torch.stack(moved).reshape(-1, 64)


def _trained(name: str, module: nn.Module, train: pd.DataFrame, **how: Any) -> nn.Module:
    """Return the module after training, or with the weights of an earlier run of this same file."""
    path = _cached(name)
    if not path.is_file():
        torch.save(_fit(module, train, **how).state_dict(), path)
    module.load_state_dict(torch.load(path, weights_only=True))
    return module.eval()


def _cached(name: str) -> Path:
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    return CACHE / f"{name}-{code}"


def _seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
