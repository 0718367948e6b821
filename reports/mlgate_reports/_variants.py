"""Lists what the search for the release artifact made, and says in a sentence what came of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_mlgate.evidence import Identity, QuickFigures, Run, Variant
from pytest_mlgate.text import clean

from ._text import ABSENT, NAME_LIMIT, number

_NOTHING = QuickFigures(latency_ratio=None, latency_us=None, accuracy=None)


@dataclass(frozen=True, slots=True)
class ShownVariant:
    """One variant with the number by which the chart and the table speak of it."""

    number: int
    variant: Variant
    #: The checks measured this one.
    is_release: bool
    #: All others are compared with this one.
    is_float: bool

    @property
    def figures(self) -> QuickFigures:
        """What the search saw of it; empty where it saw nothing."""
        return self.variant.figures or _NOTHING

    @property
    def size(self) -> int | None:
        """Bytes of its file; `None` where none was made."""
        return self.variant.identity.size_bytes if self.variant.identity else None

    @property
    def outcome(self) -> str:
        """What became of it, in words."""
        return "ships" if self.variant.status == "release" else self.variant.status.replace("_", " ")

    @property
    def accuracy(self) -> str:
        """Accuracy on the training rows, with the digits in which variants of one model differ."""
        return share(self.figures.accuracy)

    @property
    def front(self) -> str:
        """`yes` on the Pareto front, empty elsewhere."""
        return "yes" if self.figures.on_front else ""


def shown_variants(run: Run) -> tuple[ShownVariant, ...]:
    """Return all variants in the order of the evidence."""
    release, parent = release_variant(run), _float_variant(run)
    return tuple(
        ShownVariant(number=i, variant=v, is_release=v is release, is_float=v is parent)
        for i, v in enumerate(run.variants, start=1)
    )


def release_variant(run: Run) -> Variant | None:
    """Return the variant that the checks measured, which after a fruitless search has no bound met."""
    shipping = [v for v in run.variants if v.status == "release"]
    return next(iter([*shipping, *_made_as(run, run.release)]), None)


def compression(run: Run) -> str:
    """Return in one sentence how the release artifact was made; empty where the evidence does not say."""
    variant = release_variant(run)
    if run.release is None or variant is None:
        return ""
    made = sum(v.identity is not None for v in run.variants)
    tried = sum(v.status != "forbidden" for v in run.variants)
    among = (
        "the only variant"
        if len(run.variants) == 1
        else f"one of {_count(made, 'variant')} made from {_count(tried, 'recipe')} tried"
    )
    size = _against_float(run.release, run.candidate)
    return f"Recipe {clean(variant.recipe, NAME_LIMIT)}, {among}{f', {size}' if size else ''}."


def share(value: float | None) -> str:
    """Return a share with four decimals, any other number with three digits, nothing as a dash."""
    if value is None:
        return ABSENT
    return f"{value:.4f}" if 0 <= value <= 1 else number(value)


def usable(value: float | None) -> bool:
    """Return whether this is a number that can be drawn."""
    return value is not None and math.isfinite(value)


def _against_float(release: Identity, candidate: Identity | None) -> str:
    if candidate is None:
        return ""
    if release.digest == candidate.digest:
        return "the float model itself"
    if not release.size_bytes or not candidate.size_bytes:
        return ""
    sizes = f"({release.size_bytes:,} against {candidate.size_bytes:,} bytes)"
    shrunk = candidate.size_bytes >= release.size_bytes
    ratio = candidate.size_bytes / release.size_bytes
    times = number(ratio if shrunk else 1 / ratio)
    if times == "1":
        return f"about as large as the float model {sizes}"
    return f"{times} times {'smaller' if shrunk else 'larger'} than the float model {sizes}"


def _float_variant(run: Run) -> Variant | None:
    same = _made_as(run, run.candidate)
    # Of two recipes that gave the same bytes the search looks at one.
    return next((v for v in same if v.figures), next(iter(same), None))


def _made_as(run: Run, model: Identity | None) -> list[Variant]:
    return [v for v in run.variants if model and v.identity and v.identity.digest == model.digest]


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
