"""Rows that nobody collected: near the training rows, and labelled by the candidate itself."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..candidate import OnnxModel

Floats = NDArray[np.float32]
#: Share of the features of a resampled row that are taken from another row.
_RESAMPLED = 0.2
#: An image moves by at most this share of its side, and by one pixel at least.
_FARTHEST_SHIFT = 0.1


def invent_rows(
    rows: Floats, count: int, generator: np.random.Generator, image: tuple[int, int, int] | None = None
) -> Floats:
    """Return rows near the given ones, which only a teacher can label; a seeded generator fixes them.

    Half are blends of two rows (mixup: Zhang, Cisse, Dauphin, Lopez-Paz 2018, section 2), where a column of
    two values takes either, never one between; half are rows with a fifth of their features taken from
    other rows, as in the synthetic data of Bucila, Caruana, Niculescu-Mizil 2006, section 3, but from any
    row rather than from the nearest.

    Rows that are images of the shape (channels, height, width) are moved by a few pixels first, and those of
    the second half are only moved: a student that sees what its teacher sees of moved images keeps what the
    teacher learned from them (Beyer et al. 2022, "Knowledge distillation: a good teacher is patient and
    consistent", section 3.1).
    """
    n, d = rows.shape
    first, second = (rows[generator.integers(0, n, count)] for _ in range(2))
    if image is not None:
        first, second = (moved(r, image, generator) for r in (first, second))
    share = generator.uniform(0.5, 1.0, (count, 1)).astype(np.float32)
    distinct = np.array([len(np.unique(rows[:, i])) for i in range(d)])
    blended = np.where((distinct <= 2) & (image is None), first, share * first + (1 - share) * second)
    taken = (generator.random((count, d)) < _RESAMPLED) & (image is None)
    others = rows[generator.integers(0, n, (count, d)), np.arange(d)]
    resampled = np.where(taken, others, first)
    half = count // 2
    invented: Floats = np.concatenate([blended[:half], resampled[half:]]).astype(np.float32)
    return invented


def moved(rows: Floats, image: tuple[int, int, int], generator: np.random.Generator) -> Floats:
    """Return every image moved by a few pixels of its own; what comes in at an edge repeats the edge."""
    _, height, width = image
    images = rows.reshape(-1, *image)
    sides = [side if side > 1 else 0 for side in (height, width)]
    down, right = (
        generator.integers(-far, far + 1, len(rows))
        for far in (max(1, round(_FARTHEST_SHIFT * side)) if side else 0 for side in sides)
    )
    y = np.clip(np.arange(height) - down[:, None], 0, height - 1)
    x = np.clip(np.arange(width) - right[:, None], 0, width - 1)
    picked = images[np.arange(len(rows))[:, None, None], :, y[:, :, None], x[:, None, :]]
    return np.ascontiguousarray(np.moveaxis(picked, -1, 1)).reshape(len(rows), -1)


def image_shape(model: OnnxModel, rows: Floats) -> tuple[int, int, int] | None:
    """Return channels, height and width where the candidate reads its rows as images; else `None`.

    It does where its graph has one input of four dimensions, or where the first convolution over two
    dimensions of its torch module is given all features of a row.
    """
    inputs = model.session.get_inputs()
    shape: Any = tuple(inputs[0].shape[1:]) if len(inputs) == 1 else ()
    if len(shape) != 3:
        shape = _first_convolution(model.source.module, rows) if model.source.module is not None else ()
    whole = len(shape) == 3 and all(isinstance(side, int) for side in shape)
    return shape if whole and math.prod(shape) == rows.shape[1] else None


def _first_convolution(module: Any, rows: Floats) -> tuple[int, ...]:
    """Return what shape one row has when it reaches the first two-dimensional convolution."""
    import torch

    seen: list[tuple[int, ...]] = []

    def note(_part: Any, given: tuple[Any, ...]) -> None:
        seen.append(tuple(given[0].shape[1:]))

    if not any(isinstance(part, torch.nn.Conv2d) for part in module.modules()):
        return ()
    probe = copy.deepcopy(module).eval()
    for part in probe.modules():
        if isinstance(part, torch.nn.Conv2d):
            part.register_forward_pre_hook(note)
    with torch.no_grad():
        probe(torch.from_numpy(rows[:1]))
    return seen[0] if seen else ()
