"""Finds the release artifact: the cheapest variant whose budget verdicts are all `pass`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..candidate import Model, OnnxModel
from ..dataset import Dataset
from ..evidence import SEVERITY, Judgement, QuickFigures, Variant, Verdict
from .ladder import ladder
from .make import Made, Say, Workshop, without_doubles
from .recipe import Material, Recipe
from .screen import Objective, cost_of, quick_look, with_front
from .store import VariantStore

#: Measures the whole budget on one variant; the number says how many were measured before and with it.
MeasureBudget = Callable[[Model, int], Sequence[Judgement]]


@dataclass(frozen=True)
class SearchOptions:
    """How the search may go about it.

    Args:
        objective: what makes one artifact cheaper than another.
        recipes: names of recipes to try; all where `None`.
        forbid: names of recipes that must not be used.
        train: whether recipes that train are tried.
        train_seconds: how long one recipe may train.
        max_accuracy_drop: a variant that loses clearly more on the training rows is not measured further.
        withheld: why recipes must not see the training rows; they may where it is empty.
        seed: fixes every random choice.
        store: where variants are kept between runs.
    """

    objective: Objective = "size"
    recipes: tuple[str, ...] | None = None
    forbid: tuple[str, ...] = ()
    train: Literal["when_needed", "always", "never"] = "never"
    train_seconds: float = 60.0
    max_accuracy_drop: float | None = None
    withheld: str = ""
    seed: int = 0
    store: VariantStore = field(default_factory=lambda: VariantStore(None))


@dataclass(frozen=True)
class Selection:
    """The release artifact, its float parent, and what became of every variant."""

    release: Model
    parent: Model
    variants: tuple[Variant, ...]


def select(
    candidate: Model,
    data: Dataset,
    budget: MeasureBudget | None,
    say: Say,
    options: SearchOptions | None = None,
) -> Selection:
    """Return the cheapest variant that meets every bound of the budget.

    Variants are put in order by a quick look and measured from the cheapest on; the search stops at the
    first that meets the budget, because nothing after it is cheaper. If none does, recipes that train are
    tried where the policy lets them. If still none does, the one whose worst verdict is least bad is measured
    on, and the budget blocks. Without a budget nothing says what cheap means, so the candidate itself ships.
    """
    if not isinstance(candidate, OnnxModel):
        return _uncompressed(candidate, "a callable is measured as it is; it cannot be compressed")
    if budget is None:
        return _uncompressed(candidate, "no budget is declared, so nothing is gained by compressing")
    return _Search(candidate, data, budget, say, options or SearchOptions()).run()


@dataclass(frozen=True)
class _Tried:
    made: Made
    reason: str
    severity: int


class _Search:
    def __init__(
        self, candidate: OnnxModel, data: Dataset, budget: MeasureBudget, say: Say, options: SearchOptions
    ) -> None:
        self._candidate = candidate
        self._data = dataclasses.replace(data, train=None) if options.withheld else data
        self._budget = budget
        self._say = say
        self._options = options
        self._notes: list[Variant] = []
        self._figures: dict[str, QuickFigures] = {}
        self._tried: list[_Tried] = []
        self._passed_over: list[Variant] = []
        self._unmeasurable = False

    def run(self) -> Selection:
        """Look through the recipes that need no training, then, where wanted, through the others."""
        allowed, forbidden = _allowed(self._options)
        self._notes += forbidden
        material = Material(
            model=self._candidate,
            data=self._data,
            withheld=self._options.withheld,
            seed=self._options.seed,
            seconds=self._options.train_seconds,
        )
        workshop = Workshop(material=material, recipes=allowed, store=self._options.store, say=self._say)
        made, notes = workshop.make(trains=False)
        self._notes += notes
        trained = False
        if self._options.train == "always":
            made = [*made, *self._trained(workshop)]
            trained = True
        found = self._first_that_passes(made)
        wanted = self._options.train == "when_needed" and not self._unmeasurable
        if found is None and not trained and wanted:
            self._say("no variant meets the budget; trying the recipes that train")
            found = self._first_that_passes([*made, *self._trained(workshop)])
        return self._selection(found)

    def _trained(self, workshop: Workshop) -> list[Made]:
        made, notes = workshop.make(trains=True)
        self._notes += notes
        return made

    def _first_that_passes(self, made: Sequence[Made]) -> tuple[Made, list[Made]] | None:
        """Return the cheapest variant that meets the budget, with those that cost more."""
        kept, doubles = without_doubles(made)
        self._notes = [n for n in self._notes if n.recipe not in {d.recipe for d in doubles}] + doubles
        objective = self._options.objective
        self._figures = with_front(kept, quick_look(kept, self._candidate, self._data), objective)
        order = sorted(kept, key=lambda one: cost_of(one, self._figures[one.recipe], objective))
        known = {tried.made.recipe for tried in self._tried} | {v.recipe for v in self._passed_over}
        for position, one in enumerate(order):
            if one.recipe in known:
                continue
            loses = self._loses_too_much(one)
            if loses:
                self._passed_over.append(self._variant(one, "rejected", loses))
                continue
            self._say(f"budget on {one.recipe} ({len(one.model.onnx):,} bytes)")
            bad = self._bad(one.model, self._attempt(one))
            if not bad:
                return one, [later for later in order[position + 1 :] if later.recipe not in known]
            severity = min(SEVERITY.index(j.verdict) for j in bad)
            self._tried.append(_Tried(one, "; ".join(j.message for j in bad), severity))
            if all(j.verdict is Verdict.NOT_RUN for j in bad):
                # What cannot be measured on this variant cannot be measured on any other either.
                self._unmeasurable = True
                return None
        return None

    def _attempt(self, one: Made) -> int:
        """Return which try at the quality bounds this is; the same answers again are no further try."""
        seen = list(dict.fromkeys(tried.made.answers_as for tried in self._tried))
        return seen.index(one.answers_as) + 1 if one.answers_as in seen else len(seen) + 1

    def _bad(self, model: Model, attempt: int) -> list[Judgement]:
        """Measure the budget on a model and return the judgements that keep it from being released."""
        judgements = self._budget(model, attempt)
        return [j for j in judgements if j.verdict not in {Verdict.PASS, Verdict.WAIVED} and not j.tolerated]

    def _loses_too_much(self, one: Made) -> str:
        """Say why a variant is not worth measuring: clearly more than twice the allowed loss, in training."""
        bound, own = self._options.max_accuracy_drop, self._figures[one.recipe].accuracy
        parent = self._figures.get("fp32")
        if bound is None or own is None or parent is None or parent.accuracy is None:
            return ""
        lost = parent.accuracy - own
        if lost <= 2 * bound + 0.01:
            return ""
        return (
            f"loses {lost:.3g} of accuracy on the training rows (accepted: {bound:g}); not measured further"
        )

    def _selection(self, found: tuple[Made, list[Made]] | None) -> Selection:
        objective = self._options.objective
        variants: list[Variant] = []
        if found is not None:
            release, later = found
            reason = f"of least {objective} among the variants that meet the whole budget"
            variants.append(self._variant(release, "release", reason))
            dearer = f"no less {objective} than the release artifact; not measured"
            rest = [self._variant(one, "not_needed", dearer) for one in later]
            chosen: Model = release.model
        elif self._tried:
            least_bad = max(range(len(self._tried)), key=lambda i: self._tried[i].severity)
            one = self._tried.pop(least_bad)
            reason = f"no variant meets the budget; all checks measured this one: {one.reason}"
            variants.append(self._variant(one.made, "rejected", reason))
            rest, chosen = [], one.made.model
        else:
            # Nothing could be made, or all lost too much: the candidate is measured as it is, and judged.
            bad = self._bad(self._candidate, 1)
            given = Variant(
                recipe="as given",
                identity=self._candidate.identity,
                status="rejected" if bad else "release",
                reason="; ".join(j.message for j in bad) or "no recipe made a variant worth measuring",
            )
            variants.append(given)
            rest, chosen = [], self._candidate
        variants += [self._variant(t.made, "rejected", t.reason) for t in self._tried]
        described = (*variants, *self._passed_over, *rest, *self._notes)
        return Selection(release=chosen, parent=self._candidate, variants=described)

    def _variant(
        self, one: Made, status: Literal["release", "rejected", "not_needed"], reason: str
    ) -> Variant:
        return Variant(
            recipe=one.recipe,
            identity=one.model.identity,
            status=status,
            reason=reason,
            figures=self._figures.get(one.recipe),
        )


def _allowed(options: SearchOptions) -> tuple[list[Recipe], list[Variant]]:
    allowed, notes = [], []
    for recipe in ladder():
        listed = options.recipes is None or recipe.name in options.recipes
        if listed and recipe.name not in options.forbid:
            allowed.append(recipe)
        elif recipe.name in options.forbid:
            reason = "forbidden by the policy ([compress] forbid)"
            notes.append(Variant(recipe=recipe.name, identity=None, status="forbidden", reason=reason))
    return allowed, notes


def _uncompressed(candidate: Model, reason: str) -> Selection:
    variant = Variant(recipe="as given", identity=candidate.identity, status="release", reason=reason)
    return Selection(release=candidate, parent=candidate, variants=(dataclasses.replace(variant),))
