"""Keeps variants by the digest of all that they were made from: a search goes on where it stopped."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from .. import codec
from ..cache import write_whole
from ..candidate import Source
from ..lock import code_digest, package_versions
from .recipe import Material, Recipe


class VariantStore:
    """A folder of variants; without a folder nothing is kept.

    Args:
        folder: where the files are kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, key: str) -> bytes | None:
        """Return the variant of this key, or `None` where it is not there or was changed."""
        if self._folder is None:
            return None
        path = self._path(key)
        try:
            kept = path.read_bytes()
        except OSError:
            return None
        digest, _, onnx = kept.partition(b"\n")
        return onnx if digest.decode(errors="replace") == hashlib.sha256(onnx).hexdigest() else None

    def write(self, key: str, onnx: bytes) -> None:
        """Keep a variant."""
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._path(key), hashlib.sha256(onnx).hexdigest().encode() + b"\n" + onnx)

    def _path(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{key.rsplit(':', 1)[-1]}.variant"


def key_of(recipe: Recipe, material: Material) -> str:
    """Return the digest of everything that the variant depends on."""
    train = material.data.tables.get("train")
    classes = () if material.data.task == "regression" else material.data.classes
    return codec.digest_of(
        {
            "recipe": recipe.name,
            "model": material.model.identity.digest,
            "output": material.model.output,
            "features": list(material.model.features),
            "data": [dataclasses.asdict(i) for i in material.data.identities() if i.role == "train"],
            "meaning": material.data.meaning if train is not None else None,
            "classes": [repr(c) for c in classes],
            "source": _source_key(material.model.source) if recipe.trains else "",
            "seconds": material.seconds if recipe.trains else 0,
            "seed": material.seed,
            "packages": package_versions(),
            "code": code_digest(),
        }
    )


def _source_key(source: Source) -> list[Any]:
    # The weights are in the exported model's digest; loss and student are known by code and weights.
    code = getattr(source.loss, "__code__", None)
    loss = [repr(code.co_code), repr(code.co_consts)] if code is not None else [repr(type(source.loss))]
    student = [] if source.student is None else [repr(source.student), _weights_digest(source.student)]
    return [source.module is not None, loss, student]


def _weights_digest(module: Any) -> str:
    state = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        state.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return state.hexdigest()
