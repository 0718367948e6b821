"""The ways in which the gate refuses to go on, each with a message for the person who has to act on it."""

from __future__ import annotations


class Misuse(Exception):
    """What the user wrote cannot be carried out, and nothing has been measured yet (exit code 2)."""


class CandidateRefused(Misuse):
    """The candidate is not a model the gate is willing or able to load."""


class MissingExtra(Exception):
    """A check needs a library that is not installed; the check counts as not run."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed. Install it with: pip install 'pytest-mlgate[{extra}]'")


class CheckError(Exception):
    """A check met data or predictions it cannot measure (NaN, wrong shape); its verdict is `error`."""
