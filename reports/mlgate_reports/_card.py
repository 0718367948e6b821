"""The parts of a model card that people write: what the policy's `[card]` table says, by section."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pytest_mlgate.evidence import Grade, Json, Run

from ._text import shown

#: Sections after Mitchell et al. 2019, each with the keys of `[card]` that belong to it.
SECTIONS: dict[str, tuple[str, ...]] = {
    "details": ("summary", "version", "owners", "contact", "license", "architecture", "training_procedure"),
    "use": ("intended_use", "intended_users", "out_of_scope"),
    "factors": ("factors",),
    "training": ("training_data",),
    "evaluation": ("evaluation_data",),
    "ethics": ("ethical_considerations",),
    "limits": ("limitations", "recommendations"),
}
#: Keys that go into the front matter and need no place in the text.
_FRONT_MATTER_ONLY = {"tags", "task"}


@dataclass(frozen=True, slots=True)
class Statement:
    """What somebody declared about one topic; without text the statement is missing."""

    title: str
    texts: tuple[str, ...]

    @property
    def grade(self) -> Grade:
        """`declared`, or `missing` where nothing was stated: a report cannot measure words."""
        return Grade.DECLARED if self.texts else Grade.MISSING


def statements(run: Run) -> dict[str, tuple[Statement, ...]]:
    """Return the statements of every section; what fits no section is under `other`."""
    said = {_normal(key): (key, value) for key, value in run.description.items()}
    found = {
        section: tuple(
            Statement(title=_title(key), texts=_texts(said[key][1] if key in said else None)) for key in keys
        )
        for section, keys in SECTIONS.items()
    }
    placed = {key for keys in SECTIONS.values() for key in keys} | _FRONT_MATTER_ONLY
    found["other"] = tuple(
        Statement(title=_title(original), texts=_texts(value))
        for key, (original, value) in sorted(said.items())
        if key not in placed
    )
    return found


def stated(run: Run, key: str) -> Json:
    """Return what the description says under a key, however it is spelled; `None` if nothing."""
    return next((value for name, value in run.description.items() if _normal(name) == key), None)


def _texts(value: Json) -> tuple[str, ...]:
    return tuple(text for text in _flat(value) if text.strip())


def _flat(value: Json) -> Iterator[str]:
    if value is None or value == "":
        return
    if isinstance(value, str):
        yield from value.splitlines()
    elif isinstance(value, list | tuple):
        for item in value:
            yield shown(item)
    elif isinstance(value, dict):
        for key, item in sorted(value.items()):
            yield f"{key}: {shown(item)}"
    else:
        yield shown(value)


def _normal(key: str) -> str:
    return key.strip().lower().replace("-", "_").replace(" ", "_")


def _title(key: str) -> str:
    words = key.replace("_", " ").strip()
    return words[:1].upper() + words[1:]
