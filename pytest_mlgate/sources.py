"""Reads what the policy names: models, data and the training record, from files or the project's code."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any, get_args

from .candidate import Candidate
from .candidate.model import Output
from .dataset import Dataset
from .errors import Misuse
from .policy import ModelEntry, Policy

_REFERENCE = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")


def candidate_of(policy: Policy) -> Any:
    """Return the candidate that the policy names, or `None`."""
    return _model(policy, policy.fields.candidate, "candidate")


def baseline_of(policy: Policy) -> Any:
    """Return the baseline that the policy names, or `None`."""
    return _model(policy, policy.fields.baseline, "baseline")


def data_of(policy: Policy) -> Dataset | None:
    """Return the data that the policy names, or `None`.

    Raises:
        Misuse: the named function does not return a `Dataset`.
    """
    entry = policy.fields.data
    if entry is None:
        return None
    if isinstance(entry, str):
        data = _call(policy, entry, "data")
        if not isinstance(data, Dataset):
            raise Misuse(f"{policy.source}: data={entry!r} returned a {type(data).__name__}, not a Dataset")
        return data

    def path(name: str | None) -> Path | None:
        return None if name is None else policy.folder / name

    return Dataset(
        test=path(entry.test),
        train=path(entry.train),
        current=path(entry.current),
        label=entry.label,
        features=entry.features,
        sensitive=entry.sensitive,
        prediction=entry.prediction,
        positive=entry.positive,
        task=entry.task,
        bins=entry.bins,
    )


def training_record_of(policy: Policy) -> dict[str, Any] | None:
    """Return the training record that the policy names, or `None`."""
    name = policy.fields.training_record
    return None if name is None else read_training_record(policy.folder / name)


def read_training_record(path: Path) -> dict[str, Any]:
    """Return the JSON object in a training record's file.

    Raises:
        Misuse: the file is absent, or is not a JSON object.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Misuse(f"training record {path.name!r} cannot be read: {error}") from None
    if not isinstance(record, dict):
        raise Misuse(f"training record {path.name!r} is not a JSON object")
    return record


def _model(policy: Policy, entry: str | ModelEntry | None, what: str) -> Any:
    if entry is None:
        return None
    named = ModelEntry(model=entry) if isinstance(entry, str) else entry
    if named.output not in get_args(Output):
        accepted = ", ".join(get_args(Output))
        raise Misuse(f"{policy.source}: {what}: output={named.output!r}. Accepted: {accepted}")
    if not _REFERENCE.match(named.model):
        path = policy.folder / named.model
        return Candidate(path, output=named.output, threshold=named.threshold)  # type: ignore[arg-type]
    model = _call(policy, named.model, what)
    if isinstance(model, Candidate):
        return model
    return Candidate(model, output=named.output, threshold=named.threshold)  # type: ignore[arg-type]


def _call(policy: Policy, reference: str, what: str) -> Any:
    """Import `package.module:function`, with the policy's folder importable, and call it."""
    if not _REFERENCE.match(reference):
        raise Misuse(f"{policy.source}: {what}={reference!r}. Accepted: a file, or package.module:function")
    module_name, function_name = reference.split(":")
    folder = str(policy.folder)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise Misuse(f"{policy.source}: {what}={reference!r}: {error}") from None
    return function()
