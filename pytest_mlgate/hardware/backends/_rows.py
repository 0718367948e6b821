"""All rows through a model that may insist on a fixed number of them, for outputs and not for timing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .protocol import Refusal

Arrays = dict[str, NDArray[Any]]


def run_rows(
    run: Callable[[Arrays], Sequence[NDArray[Any]]], inputs: Mapping[str, NDArray[Any]], size: int
) -> list[NDArray[Any]]:
    """Return the outputs for every row, run `size` rows at a time; the last batch is filled up and cut.

    Raises:
        Refusal: there are no rows, or an output has not one entry for each row.
    """
    rows = len(next(iter(inputs.values()))) if inputs else 0
    if not rows:
        raise Refusal("failed", "there are no rows to run the model on")
    parts: list[list[NDArray[Any]]] = []
    for start in range(0, rows, size):
        index = np.minimum(np.arange(start, start + size), rows - 1)
        outputs = run({name: np.ascontiguousarray(values[index]) for name, values in inputs.items()})
        for position, output in enumerate(outputs):
            if output.ndim == 0 or len(output) != size:
                raise Refusal(
                    "unsupported", f"output {position} has shape {output.shape} for {size} rows: no row axis"
                )
        parts.append([np.array(output[: rows - start]) for output in outputs])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]
