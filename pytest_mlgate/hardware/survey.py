"""Says of every target what can be learned on it from here, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator

from .ask import bench
from .backends.protocol import Answer, Backend
from .refusals import unmapped
from .target import ALIASES, Target, Targets, all_backends


def lines(targets: Targets) -> Iterator[str]:
    """Yield the findings line by line: the policy's targets first, then what each backend has here.

    Raises:
        ValueError: the policy names a target that does not exist.
    """
    for name in dict.fromkeys([*targets.entries, *ALIASES]):
        target = targets.resolve(name)
        yield from _found(target) if target.backend else [f"{name}: {unmapped(target)}"]
    for backend in all_backends().values():
        if not backend.probes:
            yield f"{backend.spelling}: {backend.summary}; name a device to ask it"
            yield f"    {_gives(backend)}"
        for target_id in backend.probes:
            yield from _found(Targets().resolve(target_id))


def _found(target: Target) -> Iterator[str]:
    assert target.backend is not None
    with bench(target, b"", {}) as desk:
        answer = desk.ask("probe")
    yield f"{target.spoken}: {_state(answer)}"
    if answer.refusal:
        if answer.install:
            yield f"    install: {answer.install}"
        return
    yield f"    {_gives(target.backend)}"
    versions = ", ".join(f"{name} {version}" for name, version in answer.versions.items())
    machine = ", ".join(f"{name} {value}" for name, value in answer.machine.items())
    yield f"    {'; '.join(part for part in (versions, machine, *answer.notes) if part)}"


def _state(answer: Answer) -> str:
    return f"{answer.refusal_kind}: {answer.refusal}" if answer.refusal else "ready"


def _gives(backend: Backend) -> str:
    return ", ".join(f"{metric} {grade}" for metric, grade in backend.grades.items())
