"""What is fixed before the first measurement: policy, thresholds, data, candidate, seeds, code, packages."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .evidence import DataIdentity, Environment, Identity, Json, Requirement
from .hardware.machine import fingerprint

SCHEMA = "https://pytest-mlgate.dev/lock/v1"

#: Packages whose version can change a figure or a verdict.
_PACKAGES = (
    "pytest-mlgate",
    "numpy",
    "scipy",
    "onnx",
    "onnxruntime",
    "torch",
    "scikit-learn",
    "skl2onnx",
    "pandas",
    "polars",
    "fairlearn",
    "alibi-detect",
    "deepchecks",
    "dp-accounting",
    "opacus",
    "hypothesis",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The commitments of a run; its digest stands in the evidence."""

    schema: str
    policy: str
    alpha: float
    #: Share of alpha's releasing side that the candidate has, after others were judged on the same rows.
    release_share: float
    seed: int
    requirements: tuple[Requirement, ...]
    candidate: Identity
    baseline: Identity | None
    training_record: str
    data: tuple[DataIdentity, ...]
    #: What the columns of the data mean: label, task, features, groups; see `Dataset.meaning`.
    meaning: list[Json]
    #: How the answers of candidate and baseline are read: threshold, output, features, column.
    reading: list[Json]
    environment: Environment


def environment(folder: Path) -> Environment:
    """Return machine, package versions and code revision; nothing of the process environment."""
    revision, dirty = _revision(folder)
    return Environment(machine=fingerprint(), packages=package_versions(), revision=revision, dirty=dirty)


@functools.cache
def code_digest() -> str:
    """Return the digest of the gate's own source: evidence made by other code is never reused."""
    state = hashlib.sha256()
    for package in ("pytest_mlgate", "mlgate_checks"):
        root = Path(str(importlib.util.find_spec(package).origin)).parent  # type: ignore[union-attr]
        for path in sorted(root.rglob("*.py")):
            state.update(f"{package}/{path.relative_to(root)}\x00".encode())
            state.update(path.read_bytes())
    return "sha256:" + state.hexdigest()


@functools.cache
def package_versions() -> dict[str, str]:
    """Return the installed versions of the packages that can change a figure or a verdict."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _revision(folder: Path) -> tuple[str, bool | None]:
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=10, check=False
        )
        status = subprocess.run(
            ["git", "status", "--porcelain"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown", None
    if head.returncode or status.returncode:
        return "unknown", None
    return head.stdout.strip(), bool(status.stdout.strip())
