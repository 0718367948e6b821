"""All recipes, found by looking: a file in `recipes/` is all that a new one takes."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from . import recipes
from .recipe import Recipe


@functools.cache
def ladder() -> tuple[Recipe, ...]:
    """Return every recipe, those that need no training first, then by name."""
    found: list[Recipe] = []
    for module in pkgutil.iter_modules(recipes.__path__):
        if not module.name.startswith("_"):
            found.extend(importlib.import_module(f"{recipes.__name__}.{module.name}").RECIPES)
    return tuple(sorted(found, key=lambda recipe: (recipe.trains, recipe.name)))
