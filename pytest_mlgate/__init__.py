"""Decides whether a machine-learning model may be released; used as a pytest plugin or by `mlgate`.

The names of the installed checks are importable from here and are pytest's own marks:
`from pytest_mlgate import fairness` gives `pytest.mark.fairness`. Importing one also says that the project
uses the gate, so that marks with these names are no longer mere labels.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from .candidate import Candidate as Candidate
    from .dataset import Dataset as Dataset

    budget: pytest.MarkDecorator
    calibration: pytest.MarkDecorator
    conformal: pytest.MarkDecorator
    data_quality: pytest.MarkDecorator
    drift: pytest.MarkDecorator
    fairness: pytest.MarkDecorator
    performance: pytest.MarkDecorator
    privacy_attack: pytest.MarkDecorator
    privacy_epsilon: pytest.MarkDecorator
    robustness: pytest.MarkDecorator

__version__ = "0.1.0"

_LAZY = {
    "Candidate": "candidate",
    "Dataset": "dataset",
}

#: Whether a name was imported from here: then the project uses the gate even without a policy file.
marks_imported = False


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        globals()["marks_imported"] = True
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .check_names import check_names

    if name in check_names():
        import pytest

        globals()["marks_imported"] = True
        return getattr(pytest.mark, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
