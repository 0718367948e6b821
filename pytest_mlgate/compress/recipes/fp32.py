"""The candidate as it was exported: what every other variant is compared with."""

from __future__ import annotations

from ..recipe import Material, Recipe


def fp32(material: Material) -> bytes:
    """Return the model's own bytes."""
    return material.model.onnx


RECIPES = (Recipe("fp32", "the candidate as exported, in 32-bit floats", fp32),)
