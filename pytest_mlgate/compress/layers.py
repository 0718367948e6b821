"""Layers that students and quantization-aware training need. It imports torch: import it inside functions."""

from __future__ import annotations

from typing import Any

import torch

#: How fast the range of a layer's inputs follows new batches: the exponential average of Jacob et al. 2018,
#: section 3.1, with a shorter memory because fine-tuning is short.
_MEMORY = 0.95


class Standardised(torch.nn.Module):  # type: ignore[misc]
    """Columns less their mean, over their standard deviation. It is folded away before anything ships."""

    mean: Any
    deviation: Any

    def __init__(self, mean: Any, deviation: Any) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, rows: Any) -> Any:
        """Return the standardised rows, shape (n, d)."""
        return (rows - self.mean) / self.deviation


class Filled(torch.nn.Module):  # type: ignore[misc]
    """Columns with their mean where a value is missing."""

    mean: Any

    def __init__(self, mean: Any) -> None:
        super().__init__()
        self.register_buffer("mean", mean)

    def forward(self, rows: Any) -> Any:
        """Return the rows without NaN, shape (n, d)."""
        return torch.where(torch.isnan(rows), self.mean, rows)


class RoundedWeight(torch.nn.Module):  # type: ignore[misc]
    """A weight as 8 bits would hold it: one scale for the tensor, symmetric, -127 to 127.

    Gradients pass as if nothing were rounded (the straight-through estimator: Jacob et al. 2018, section 3).
    """

    def forward(self, weight: Any) -> Any:
        """Return the rounded weight."""
        scale = torch.clamp_min(weight.detach().abs().amax() / 127, 1e-12)
        return weight + (torch.clamp(torch.round(weight / scale), -127, 127) * scale - weight).detach()


class RoundedInput:
    """A layer's input as 8 bits would hold it: one scale and zero point, from the range seen in training.

    It is a forward pre-hook: the module's own structure stays as it is.
    """

    _range: Any = None

    def __call__(self, part: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments with the first one rounded (Jacob et al. 2018, equations 1 and 13)."""
        values, *others = given
        if part.training or self._range is None:
            self._watch(values.detach())
        # Zero must be one of the steps: padding and ReLU depend on it.
        seen: Any = self._range
        low, high = seen[0].clamp_max(0.0), seen[1].clamp_min(0.0)
        scale = torch.clamp_min((high - low) / 255, 1e-12)
        zero = torch.round(-low / scale)
        steps = torch.clamp(torch.round(values / scale) + zero, 0, 255)
        kept = torch.clamp(values, min=low, max=high)  # outside the range the gradient is zero
        return kept + ((steps - zero) * scale - kept).detach(), *others

    def _watch(self, values: Any) -> None:
        seen = torch.stack([values.amin(), values.amax()])
        self._range = seen if self._range is None else _MEMORY * self._range + (1 - _MEMORY) * seen
