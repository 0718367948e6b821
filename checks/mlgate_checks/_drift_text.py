"""What can be said of prose without a model: how long it is, what it is made of, which words are new."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ._drift_columns import Column, Pair

Floats = NDArray[np.float64]

#: Texts are read one by one; more than these would take minutes and decide nothing more.
MOST_TEXTS = 20_000


def text_properties(pair: Pair, seed: int) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield each property's name and its value for the texts of both tables, shapes (n,) and (m,).

    Words are known if they stand in one half of the reference, drawn with `seed`; the other half is compared
    with the current table, so that both meet words they were not collected from.
    """
    rng = np.random.default_rng(seed)
    reference, current = _texts(pair.reference, rng), _texts(pair.current, rng)
    for name, measure in _PROPERTIES.items():
        yield name, _each(measure, reference), _each(measure, current)
    half = len(reference) // 2
    known = {word for text in reference[:half] for word in text.lower().split()}

    def unknown(text: str) -> float:
        words = text.lower().split()
        return sum(word not in known for word in words) / max(1, len(words))

    if half:
        yield "share of unknown words", _each(unknown, reference[half:]), _each(unknown, current)


def _texts(column: Column, rng: np.random.Generator) -> list[str]:
    codes = column.cells[column.present]
    if len(codes) > MOST_TEXTS:
        codes = rng.choice(codes, MOST_TEXTS, replace=False)
    return [column.levels[code] for code in rng.permutation(codes)]


def _each(measure: Callable[[str], float], texts: Sequence[str]) -> Floats:
    return np.asarray([measure(text) for text in texts], np.float64)


def _share(test: Callable[[str], bool], text: str) -> float:
    return sum(map(test, text)) / max(1, len(text))


_PROPERTIES: Mapping[str, Callable[[str], float]] = {
    "length": len,
    "words": lambda text: len(text.split()),
    "share of digits": lambda text: _share(str.isdigit, text),
    "share of capitals": lambda text: _share(str.isupper, text),
    "share outside ASCII": lambda text: _share(lambda c: not c.isascii(), text),
}
