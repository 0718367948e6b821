"""Lays a range of numbers along one side of a drawing, with round numbers marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: How far an axis goes beyond the outermost point, as a share of its span.
_PADDING = 0.1
#: Numbers with more digits than these are written with an exponent.
_MOST_DECIMALS, _LARGEST_PLAIN = 6, 1e7
#: A narrower range, relative to its numbers, is one number as far as a drawing goes.
_NARROWEST = 1e-6


@dataclass(frozen=True, slots=True)
class Scale:
    """A range of numbers and the pixels at its ends; `last` may be less than `first`."""

    low: float
    high: float
    first: float
    last: float

    def place(self, value: float) -> int:
        """Return the pixel of a number; whole, because templates print three digits."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.first + share * (self.last - self.first))

    def holds(self, value: float) -> bool:
        """Return whether the number is on the axis."""
        return self.low <= value <= self.high

    def ticks(self, most: int) -> list[tuple[int, str]]:
        """Return round numbers on the axis as pixel and text."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        numbers = range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)
        plain = decimals <= _MOST_DECIMALS and max(abs(self.low), abs(self.high)) < _LARGEST_PLAIN
        form = f",.{decimals}f" if plain else ".4g"
        return [(self.place(n * step), f"{n * step:{form}}") for n in numbers]


def around(values: Sequence[float], pixels: tuple[float, float]) -> Scale | None:
    """Return the scale that holds all numbers, of either sign; `None` without any, or for too large ones.

    Numbers between 0 and 1 are taken for shares, whose axis does not go beyond.
    """
    if not values or not max(map(abs, values)) < 1e300:
        return None
    low, high = min(values), max(values)
    apart = high - low > _NARROWEST * max(abs(low), abs(high))
    pad = _PADDING / 2 * (high - low) if apart else _PADDING * abs(high) or 1.0
    first, last = low - pad, high + pad
    if low >= 0:
        first = max(0.0, first)
    if low >= 0 and high <= 1:
        last = min(1.0, last)
    return Scale(low=first, high=last, first=pixels[0], last=pixels[1]) if last - first > 1e-290 else None


def scale(values: list[float], least_span: float, most: float, pixels: tuple[float, float]) -> Scale | None:
    """Return the scale of numbers that are not negative; `None` where they cannot be told apart in a drawing.

    Args:
        values: what has to be on it.
        least_span: small differences are not blown up beyond this.
        most: where the quantity ends, such as a share at 1; infinity where it does not.
        pixels: where the low and the high end are drawn.
    """
    low, high = min(values), max(values)
    if low < 0 or not 1e-12 < high < 1e12:
        return None
    span = max(high - low, least_span)
    middle = (low + high) / 2
    low = max(0.0, min(low, middle - span / 2) - _PADDING * span)
    high = max(high, min(most, max(high, middle + span / 2) + _PADDING * span))
    return Scale(low=low, high=high, first=pixels[0], last=pixels[1])
