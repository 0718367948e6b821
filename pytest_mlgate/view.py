"""What a view is: one decorated function from a run's evidence to the bytes of one file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .evidence import Run


@dataclass(frozen=True)
class View:
    """One file of the report folder and the pure function that renders it."""

    name: str
    render: Callable[[Run], str]


def view(name: str) -> Callable[[Callable[[Run], str]], View]:
    """Turn a function from a run to text into the view that writes the file `name`."""

    def wrap(function: Callable[[Run], str]) -> View:
        return View(name=name, render=function)

    return wrap
