"""No worse and no better: the interval of an absolute difference."""

from __future__ import annotations

from collections.abc import Callable

from ..levels import Tails


def absolute_interval(interval: Callable[[Tails], tuple[float, float]], tails: Tails) -> tuple[float, float]:
    """Return the interval of |difference|, given the function that makes the interval of the difference.

    `tails.upper` is the error of a bound from above that passes: the end then lies inside the bound exactly
    when both one-sided tests at that level reject (TOST; Schuirmann 1987, Journal of Pharmacokinetics and
    Biopharmaceutics 15:657), of which only one can err. `tails.lower` is halved, since a difference may seem
    too large on either side.
    """
    least, most = interval(Tails(lower=tails.upper, upper=tails.upper))
    low, high = interval(Tails(lower=tails.lower / 2, upper=tails.lower / 2))
    outer = max(-least, most)
    return min(outer, max(0.0, low, -high)), outer
