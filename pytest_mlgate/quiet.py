"""Keeps the other test workers still while something is timed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows: there is no shared file lock in the standard library
    fcntl = None


class Quiet:
    """A readers-writer lock between the worker processes of one session.

    Every worker holds a share while a test runs; whoever measures trades its share for the whole and gives
    it back. The turnstile lets a waiting measurer in before new tests begin.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._turnstile = folder / "turnstile.lock"
        self._room = folder / "room.lock"
        self._share: IO[bytes] | None = None

    @contextlib.contextmanager
    def sharing(self) -> Iterator[None]:
        """Hold a share of the machine while one test runs."""
        with _locked(self._turnstile, exclusive=True):
            pass
        with _locked(self._room, exclusive=False) as share:
            self._share = share
            try:
                yield
            finally:
                self._share = None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the whole machine: no other worker runs a test meanwhile."""
        if self._share is not None:
            _unlock(self._share)
        try:
            with _locked(self._turnstile, exclusive=True), _locked(self._room, exclusive=True):
                yield
        finally:
            if self._share is not None:
                _lock(self._share, exclusive=False)


def available() -> bool:
    """Return whether this platform has the lock; without it latency is not measured next to others."""
    return fcntl is not None


@contextlib.contextmanager
def _locked(path: Path, *, exclusive: bool) -> Iterator[IO[bytes]]:
    with open(path, "ab") as file:
        _lock(file, exclusive=exclusive)
        yield file


def _lock(file: IO[bytes], *, exclusive: bool) -> None:
    fcntl.flock(file, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)


def _unlock(file: IO[bytes]) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)
