"""Says what this installation can do, what is missing, and how to get it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from . import discovery
from .errors import Misuse
from .find_policy import find
from .hardware.machine import fingerprint, load_average
from .lock import environment
from .quiet import available

_EXTRAS = {
    "torch": "torch",
    "sklearn": "skl2onnx",
    "fairness": "fairlearn",
    "drift": "alibi_detect",
    "data": "deepchecks",
    "privacy": "dp_accounting",
    "robustness": "hypothesis",
    "compress": "torch_pruning",
    "npu": "onnxruntime_qnn",
    "openvino": "openvino",
    "ssh": "fabric",
}


def lines(folder: Path) -> list[str]:
    """Return the findings, one line each."""
    machine = ", ".join(f"{k} {v}" for k, v in fingerprint().items())
    state = environment(folder)
    packages = ", ".join(f"{k} {v}" for k, v in state.packages.items())
    return [
        f"machine: {machine}, load {load_average()}",
        f"packages: {packages}",
        f"code: revision {state.revision}, {_cleanliness(state.dirty)}",
        f"checks: {', '.join(sorted(discovery.checks()))}",
        f"views: {', '.join(sorted(discovery.views()))}",
        *(_extra(name, module) for name, module in _EXTRAS.items()),
        "targets: ask each of them with: mlgate targets",
        f"pytest -n: latency is taken {'alone' if available() else 'not at all (no file locks here)'}",
        _policy(folder),
    ]


def _extra(name: str, module: str) -> str:
    if importlib.util.find_spec(module):
        return f"extra {name}: installed"
    return f"extra {name}: missing; pip install 'pytest-mlgate[{name}]'"


def _cleanliness(dirty: bool | None) -> str:
    return "not a git checkout" if dirty is None else "with local changes" if dirty else "clean"


def _policy(folder: Path) -> str:
    from .plan import make_plan
    from .policy import load

    try:
        path = find(folder)
        if path is None:
            return "policy: none here; write one with: mlgate init"
        policy = load(path)
        plan = make_plan(policy, [], discovery.checks())
    except Misuse as error:
        return f"policy: broken: {error}"
    declared = sum(len(r.requirements) for r in plan.requests)
    return f"policy: {path.name}, requires {', '.join(policy.fields.required)}; declares {declared} bounds"
