"""JSON in and out of the evidence data model: canonical bytes, digests, and the schema from the types."""

from __future__ import annotations

import hashlib
import math
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def to_json(value: object) -> bytes:
    """Return canonical JSON: keys sorted, two spaces of indent, a final newline.

    Raises:
        ValueError: a float is NaN or infinite; such a value has no place in evidence.
    """
    builtins = msgspec.to_builtins(value, enc_hook=_number)
    _refuse_non_finite(builtins, "$")
    compact = msgspec.json.encode(builtins, order="sorted")
    return msgspec.json.format(compact, indent=2) + b"\n"


def from_json(data: bytes, kind: type[T]) -> T:
    """Read `kind` from JSON, checking every field's type.

    Raises:
        ValueError: the bytes are not JSON or do not have the shape of `kind`; the message names the path.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def plain(value: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a check as JSON holds them: tuples become lists."""
    return dict(msgspec.json.decode(msgspec.json.encode(value)))


def digest(data: bytes) -> str:
    """Return `sha256:` and the hexadecimal digest of the bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_of(value: object) -> str:
    """Return the digest of the value's canonical JSON."""
    return digest(to_json(value))


def schema_of(kind: type[object], uri: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of `kind`, named by its version's URI."""
    schema = msgspec.json.schema(kind)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": uri, **schema}


def _number(value: Any) -> Any:
    """Return the Python number of a numpy scalar, without importing numpy."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"a {type(value).__name__} has no place in evidence")


def _refuse_non_finite(value: Any, path: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path} is {value}: evidence holds numbers or null with a reason")
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_non_finite(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            _refuse_non_finite(item, f"{path}[{position}]")
