"""Finds the release artifact: the cheapest variant whose budget verdicts are all `pass`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..candidate import Model, OnnxModel
from ..candidate.model import require_rowwise
from ..dataset import Dataset
from ..evidence import SEVERITY, Judgement, Variant, Verdict
from .recipes import NotApplicable, Recipe, recipes

#: Measures the whole budget on one variant.
MeasureBudget = Callable[[Model], Sequence[Judgement]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Selection:
    """The release artifact, its float parent, and what became of every variant."""

    release: Model
    parent: Model
    variants: tuple[Variant, ...]


def select(candidate: Model, data: Dataset, budget: MeasureBudget | None, say: Say) -> Selection:
    """Return the smallest variant that meets every bound of the budget.

    Variants are tried from the smallest file on, and the search stops at the first that meets the budget:
    nothing after it can be cheaper. If none does, the one whose worst verdict is least bad is measured on,
    and the budget blocks. Without a budget nothing says what cheap means, so the candidate itself ships.
    """
    if not isinstance(candidate, OnnxModel):
        reason = "a callable is measured as it is; it cannot be compressed"
        return _uncompressed(candidate, reason)
    if budget is None:
        return _uncompressed(candidate, "no budget is declared, so nothing is gained by compressing")
    made, notes = _make_variants(candidate, data, say)
    tried: list[tuple[Model, Variant, int]] = []
    for position, (recipe, model) in enumerate(made):
        say(f"budget on {recipe} ({len(model.onnx):,} bytes)")
        judgements = budget(model)
        bad = [j for j in judgements if j.verdict not in {Verdict.PASS, Verdict.WAIVED} and not j.tolerated]
        if not bad:
            chosen = Variant(
                recipe=recipe,
                identity=model.identity,
                status="release",
                reason="smallest variant that meets the whole budget",
            )
            rest = [
                Variant(
                    recipe=later,
                    identity=other.identity,
                    status="not_needed",
                    reason="larger than the release artifact; not measured",
                )
                for later, other in made[position + 1 :]
            ]
            rejected = [variant for _, variant, _ in tried]
            return Selection(release=model, parent=candidate, variants=(*rejected, chosen, *rest, *notes))
        why = "; ".join(j.message for j in bad)
        severity = min(SEVERITY.index(j.verdict) for j in bad)
        rejected_variant = Variant(recipe=recipe, identity=model.identity, status="rejected", reason=why)
        tried.append((model, rejected_variant, severity))
    least_bad = max(range(len(tried)), key=lambda i: tried[i][2])
    variants = [variant for _, variant, _ in tried]
    variants[least_bad] = dataclasses.replace(
        variants[least_bad],
        reason=f"no variant meets the budget; all checks measured this one: {variants[least_bad].reason}",
    )
    return Selection(release=tried[least_bad][0], parent=candidate, variants=(*variants, *notes))


def _make_variants(
    candidate: OnnxModel, data: Dataset, say: Say
) -> tuple[list[tuple[str, OnnxModel]], list[Variant]]:
    made: list[tuple[str, OnnxModel]] = []
    notes: list[Variant] = []
    for recipe in recipes():
        say(f"compress: {recipe.name}")
        variant = _make(recipe, candidate, data)
        if isinstance(variant, Variant):
            notes.append(variant)
        else:
            made.append((recipe.name, variant))
    return sorted(made, key=lambda item: len(item[1].onnx)), notes


def _make(recipe: Recipe, candidate: OnnxModel, data: Dataset) -> OnnxModel | Variant:
    try:
        model = dataclasses.replace(
            candidate,
            onnx=recipe.apply(candidate, data.tables.get("train")),
            name=f"{candidate.name}-{recipe.name}",
            kind="ONNX",
            detail=f"recipe {recipe.name} from {candidate.identity.digest}",
        )
        require_rowwise(model, data.tables["test"])
    except NotApplicable as reason:
        return Variant(recipe=recipe.name, identity=None, status="not_applicable", reason=str(reason))
    except Exception as error:  # a recipe that breaks must not stop the others
        return Variant(
            recipe=recipe.name, identity=None, status="error", reason=f"{type(error).__name__}: {error}"
        )
    return model


def _uncompressed(candidate: Model, reason: str) -> Selection:
    variant = Variant(recipe="as given", identity=candidate.identity, status="release", reason=reason)
    return Selection(release=candidate, parent=candidate, variants=(variant,))
