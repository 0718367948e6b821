"""Makes the variants: each recipe on the candidate, and some again on what others made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..candidate import OnnxModel, Source
from ..candidate.model import require_rowwise
from ..evidence import Variant
from .recipe import Material, NotApplicable, Recipe
from .store import VariantStore, key_of

Say = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """A variant that was made and answers."""

    recipe: str
    model: OnnxModel
    #: The variant whose answers it gives: itself, unless its last recipe only rewrote the graph.
    answers_as: str = ""


@dataclass(frozen=True)
class Workshop:
    """Makes variants of one candidate, or says of each why there is none.

    Args:
        material: what every recipe is given.
        recipes: those that the policy allows.
        store: where variants are kept between runs.
        say: shows a line of progress.
    """

    material: Material
    recipes: Sequence[Recipe]
    store: VariantStore
    say: Say

    def make(self, *, trains: bool) -> tuple[list[Made], list[Variant]]:
        """Return the variants of the recipes that train, or of those that do not, and a note for the rest."""
        chosen = [r for r in self.recipes if r.trains == trains]
        made: list[Made] = []
        notes: list[Variant] = []
        for position, recipe in enumerate(chosen, 1):
            found = self._make(recipe, self.material, recipe.name, f"{position}/{len(chosen)}")
            if isinstance(found, Variant):
                notes.append(found)
                continue
            made.append(found)
            more, why_not = self._further(recipe, found)
            made += more
            notes += why_not
        return made, notes

    def _further(self, recipe: Recipe, first: Made) -> tuple[list[Made], list[Variant]]:
        by_name = {r.name: r for r in self.recipes}
        again = dataclasses.replace(self.material, model=first.model)
        found = [
            self._make(by_name[name], again, f"{recipe.name}+{name}", "then")
            for name in recipe.then
            if name in by_name
        ]
        return [f for f in found if isinstance(f, Made)], [f for f in found if isinstance(f, Variant)]

    def _make(self, recipe: Recipe, material: Material, name: str, position: str) -> Made | Variant:
        self.say(f"compress {position}: {name}")
        parent = self.material.model
        try:
            key = key_of(recipe, material)
            onnx = self.store.read(key)
            if onnx is None:
                onnx = recipe.apply(material)
                self.store.write(key, onnx)
            model = dataclasses.replace(
                parent,
                onnx=onnx,
                name=f"{parent.name}-{name}",
                kind="ONNX",
                detail=f"recipe {name} from {parent.identity.digest}",
                source=Source(),
            )
            require_rowwise(model, self.material.data.tables["test"])
        except NotApplicable as reason:
            return Variant(recipe=name, identity=None, status="not_applicable", reason=str(reason))
        except Exception as error:  # a recipe that breaks must not stop the others
            return Variant(
                recipe=name, identity=None, status="error", reason=f"{type(error).__name__}: {error}"
            )
        twin = name.rpartition("+")[0] or "fp32"
        return Made(recipe=name, model=model, answers_as=twin if recipe.exact else name)


def without_doubles(made: Sequence[Made]) -> tuple[list[Made], list[Variant]]:
    """Return the variants with different bytes, and a note for those whose bytes are another's."""
    first: dict[str, str] = {}
    kept: list[Made] = []
    notes: list[Variant] = []
    for one in made:
        digest = one.model.identity.digest
        if digest in first:
            reason = f"made the same file as {first[digest]}"
            notes.append(
                Variant(recipe=one.recipe, identity=one.model.identity, status="not_needed", reason=reason)
            )
        else:
            first[digest] = one.recipe
            kept.append(one)
    return kept, notes
