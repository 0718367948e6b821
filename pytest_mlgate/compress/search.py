"""Finds the release artifact: the cheapest variant whose budget verdicts are all `pass`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..candidate import Model, OnnxModel
from ..dataset import Dataset
from ..evidence import SEVERITY, Judgement, QuickFigures, Variant, Verdict
from .descent import descend
from .ladder import ladder
from .make import Made, Say, Workshop, without_doubles
from .recipe import Material, Recipe
from .screen import Objective, Unlikeness, cost_of, price_of, quick_look, undecidable, unlikeness, with_front
from .store import VariantStore

#: So much more accurate than on new rows a model may be on those that it was trained on.
_LEARNED_BY_HEART = 0.05

#: Measures the whole budget, or only its quality bounds, on one variant; the number says which try it is.
MeasureBudget = Callable[[Model, int, bool], Sequence[Judgement]]


@dataclass(frozen=True)
class SearchOptions:
    """How the search may go about it.

    Args:
        objective: what makes one artifact cheaper than another.
        recipes: names of recipes to try; all where `None`.
        forbid: names of recipes that must not be used.
        train: whether recipes that train are tried.
        train_seconds: how long one recipe may train.
        bounds_quality: whether the budget bounds what compression may lose.
        max_accuracy_drop: what may be lost; a variant that cannot keep it by its training rows is left out.
        withheld: why recipes must not see the training rows; they may where it is empty.
        seed: fixes every random choice.
        store: where variants are kept between runs.
    """

    objective: Objective = "size"
    recipes: tuple[str, ...] | None = None
    forbid: tuple[str, ...] = ()
    train: Literal["when_needed", "always", "never"] = "never"
    train_seconds: float = 60.0
    bounds_quality: bool = False
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

    Variants are put in order by a quick look. Where the budget bounds what may be lost, those that keep the
    quality are found first, from the ones most like the float model down to the cheapest. Then the whole
    budget is measured from the cheapest on; the search stops at the first that meets it, because nothing
    after it is cheaper. If none does, recipes that train are tried where the policy lets them. If still none
    does, the one whose worst verdict is least bad is measured on, and the budget blocks. Without a budget
    nothing says what cheap means, so the candidate itself ships.
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
    attempt: int
    #: The whole budget was measured, not only its quality bounds.
    whole: bool


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
        self._order: list[Made] = []
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

    def _first_that_passes(self, made: Sequence[Made]) -> Made | None:
        """Return the cheapest variant that meets the budget."""
        kept, doubles = without_doubles(made)
        self._notes = [n for n in self._notes if n.recipe not in {d.recipe for d in doubles}] + doubles
        objective = self._options.objective
        self._figures = with_front(kept, quick_look(kept, self._candidate, self._data), objective)
        self._order = sorted(kept, key=lambda one: cost_of(one, self._figures[one.recipe], objective))
        fresh = self._untried()
        attempts = self._worth_measuring(fresh)
        tries = 0
        for one in fresh:
            if one.recipe not in attempts or self._unmeasurable:
                continue
            self._say(f"budget on {one.recipe} ({len(one.model.onnx):,} bytes)")
            bad = self._bad(one.model, attempts[one.recipe] + tries)
            if not bad:
                return one
            self._fail(one, bad, attempts[one.recipe] + tries, whole=True)
            tries += 1
        return None

    def _worth_measuring(self, made: Sequence[Made]) -> dict[str, int]:
        """Return the variants that keep the quality, each with its try at the quality bounds."""
        unlike = unlikeness(made, self._candidate, self._data, self._options.seed)
        open_to_all: list[Made] = []
        for one in made:
            hopeless = self._hopeless(one, unlike[one.recipe])
            if hopeless:
                self._passed_over.append(self._variant(one, "rejected", hopeless))
            else:
                open_to_all.append(one)
        before = len(self._tried)
        if not self._options.bounds_quality:
            return {one.recipe: before + 1 for one in open_to_all}
        objective = self._options.objective
        self._say(f"quality of {len(open_to_all)} variants, from the most alike to the cheapest")
        found = descend(
            open_to_all,
            {one.recipe: price_of(one, self._figures[one.recipe], objective) for one in open_to_all},
            {name: found.distance for name, found in unlike.items()},
            lambda one, attempt: self._bad(one.model, before + attempt, quality_only=True),
        )
        for number, (one, bad) in enumerate(found.failures, before + 1):
            self._fail(one, bad, number, whole=False)
        return {
            one.recipe: before + found.kept[one.answers_as]
            for one in open_to_all
            if one.answers_as in found.kept
        }

    def _fail(self, one: Made, bad: Sequence[Judgement], attempt: int, *, whole: bool) -> None:
        severity = min(SEVERITY.index(j.verdict) for j in bad)
        reason = "; ".join(j.message for j in bad)
        self._tried.append(_Tried(one, reason, severity, attempt, whole))
        # What cannot be measured on this variant cannot be measured on any other either.
        self._unmeasurable |= all(j.verdict is Verdict.NOT_RUN for j in bad)

    def _untried(self) -> list[Made]:
        closed = {tried.made.recipe for tried in self._tried} | {v.recipe for v in self._passed_over}
        return [one for one in self._order if one.recipe not in closed]

    def _bad(self, model: Model, attempt: int, *, quality_only: bool = False) -> list[Judgement]:
        """Measure the budget on a model and return the judgements that keep it from being released."""
        judgements = self._budget(model, attempt, quality_only)
        return [j for j in judgements if j.verdict not in {Verdict.PASS, Verdict.WAIVED} and not j.tolerated]

    def _hopeless(self, one: Made, unlike: Unlikeness) -> str:
        """Say why a variant is not worth measuring, from training rows alone."""
        bound = self._options.max_accuracy_drop
        own, parent = self._figures[one.recipe].accuracy, self._figures.get("fp32")
        if bound is None or own is None or parent is None or parent.accuracy is None:
            return ""
        lost = parent.accuracy - own
        if lost > 2 * bound + _LEARNED_BY_HEART:
            return (
                f"loses {lost:.3g} of accuracy on the training rows (accepted: {bound:g}); not measured "
                "further"
            )
        return undecidable(unlike, len(self._data.tables["test"]), bound)

    def _selection(self, found: Made | None) -> Selection:
        untried = [one for one in self._untried() if one is not found]
        if found is not None:
            chosen: Model = found.model
            reason = f"of least {self._options.objective} among the variants that meet the whole budget"
            first = self._variant(found, "release", reason)
        elif self._tried:
            one = self._tried.pop(max(range(len(self._tried)), key=lambda i: self._tried[i].severity))
            if not one.whole:
                # At the same try as before: at the first one's level it might pass what it has just failed.
                bad = self._bad(one.made.model, one.attempt)
                one = dataclasses.replace(one, reason="; ".join(j.message for j in bad) or one.reason)
            chosen = one.made.model
            reason = f"no variant meets the budget; all checks measured this one: {one.reason}"
            first = self._variant(one.made, "rejected", reason)
        else:
            # Nothing could be made, or all lost too much: the candidate is measured as it is, and judged.
            bad = self._bad(self._candidate, 1)
            chosen = self._candidate
            first = Variant(
                recipe="as given",
                identity=chosen.identity,
                status="rejected" if bad else "release",
                reason="; ".join(j.message for j in bad) or "no recipe made a variant worth measuring",
            )
        rejected = [self._variant(t.made, "rejected", t.reason) for t in self._tried]
        rest = [self._left(one, found) for one in untried]
        described = (first, *rejected, *self._passed_over, *rest, *self._notes)
        return Selection(release=chosen, parent=self._candidate, variants=described)

    def _left(self, one: Made, found: Made | None) -> Variant:
        """Return what is said of a variant that was not measured."""
        if found is not None and self._order.index(one) > self._order.index(found):
            dearer = f"no less {self._options.objective} than the release artifact; not measured"
            return self._variant(one, "not_needed", dearer)
        failed = len({tried.made.answers_as for tried in self._tried})
        return self._variant(
            one,
            "rejected",
            f"not measured: {failed} variants more like the float model failed before it"
            if failed
            else "not measured: what the budget asks could not be measured on another variant",
        )

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
