"""How many more rows of a group would decide a bound on it."""

from __future__ import annotations

import dataclasses
import math

from pytest_mlgate.evidence import Measurement


def with_rows_needed(m: Measurement, bound: float | None, group: str) -> Measurement:
    """Return the measurement with how many more rows of `group` would decide, the estimate staying.

    The half-width of an interval shrinks with the square root of n, so that n grows with the square of the
    ratio of the present half-width to the distance from the bound.
    """
    if bound is None or m.value is None or m.interval is None or m.value == bound:
        return m
    end = m.interval.high if m.value < bound else m.interval.low
    if end is None:
        return m
    rows = m.n * ((end - m.value) / (bound - m.value)) ** 2
    more = math.ceil(rows - m.n) if math.isfinite(rows) else 0
    return dataclasses.replace(m, more_rows={group: more}) if more > 0 else m
