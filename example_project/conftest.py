"""Gives the gate the candidate, the champion, the data, and the record of the private training run.

`LOAN_CANDIDATE=careless` gates the model that was trained without regard for privacy or fairness.
"""

import os

import pytest

from loan_approval.data import FEATURES, LABEL, SENSITIVE, careless_features, clean, load_raw, load_split
from loan_approval.model import MODELS, THRESHOLD, load_candidate, load_careless
from pytest_mlgate import Candidate, Dataset

CARELESS = os.environ.get("LOAN_CANDIDATE") == "careless"


@pytest.fixture(scope="session")
def mlgate_data() -> Dataset:
    """Half of the applications to judge on, the other half as the training reference."""
    columns = careless_features(clean(load_raw())) if CARELESS else FEATURES
    split = load_split(None if CARELESS else FEATURES)
    return Dataset(test=split.test, train=split.train, label=LABEL, features=columns, sensitive=SENSITIVE)


@pytest.fixture(scope="session")
def mlgate_candidate() -> Candidate:
    """The network proposed for release; it says yes from a probability of 0.25 on."""
    if CARELESS:
        return Candidate(load_careless(MODELS / "careless.pt"), threshold=THRESHOLD, name="careless-net")
    return Candidate(load_candidate(MODELS / "candidate.pt"), threshold=THRESHOLD, name="loan-net")


@pytest.fixture(scope="session")
def mlgate_baseline() -> Candidate:
    """The champion now in production: a logistic regression, trained without privacy."""
    return Candidate(MODELS / "baseline.onnx", name="champion", features=FEATURES)


@pytest.fixture(scope="session")
def mlgate_training_record() -> dict:
    """What the training run really did: steps, batches and noise."""
    from pytest_mlgate.sources import read_training_record

    name = "careless.training.json" if CARELESS else "candidate.training.json"
    return read_training_record(MODELS / name)
