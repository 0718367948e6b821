"""The ledger: what was done with which data, in entries that are only ever added, each bound to those before.

One SQLite file, so that several processes can write at once and a half-written entry cannot exist. Every
entry carries the digest of the one before it, so that an edited, removed or reordered entry shows. The chain
has no key: whoever may write the file can compute it anew. Against that every report names the digest of the
entry of its own run, which a rewritten ledger no longer holds. A ledger that is deleted begins again, and
the reports say when theirs began.
"""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import codec
from .errors import CheckError
from .evidence import Json

#: What the first entry has in place of the digest of one before it.
GENESIS = "sha256:" + "0" * 64
#: How long one process waits for another to finish writing, in seconds.
_PATIENCE = 30.0

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS entries
       (number INTEGER PRIMARY KEY, digest TEXT NOT NULL, entry TEXT NOT NULL)""",
    # Refusing all but the next number also refuses INSERT OR REPLACE, which fires no trigger on deletion.
    """CREATE TRIGGER IF NOT EXISTS only_append BEFORE INSERT ON entries
       WHEN NEW.number IS NOT (SELECT COALESCE(MAX(number), 0) + 1 FROM entries)
       BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
    """CREATE TRIGGER IF NOT EXISTS never_update BEFORE UPDATE ON entries
       BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
    """CREATE TRIGGER IF NOT EXISTS never_delete BEFORE DELETE ON entries
       BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
)


class LedgerError(CheckError):
    """The ledger cannot be read, cannot be written, or does not agree with itself: nothing is released."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry: its number from 1 on, what kind of event it is, when, and the digest of the one before."""

    number: int
    kind: str
    time: str
    content: dict[str, Json]
    previous: str

    @property
    def digest(self) -> str:
        """The digest of the entry's canonical JSON, in which the digest of the one before stands."""
        return codec.digest_of(self)


@dataclass(frozen=True)
class Ledger:
    """The ledger in one file, which the first entry creates."""

    path: Path

    def verify(self) -> tuple[Entry, ...]:
        """Return all entries in order, if every one is as it was written; none where there is no ledger.

        Raises:
            LedgerError: the file is no ledger, or its chain is broken; the message names the entry.
        """
        if not self.path.exists():
            return ()
        with self._transaction() as connection:
            return self._verified(connection)

    def append(self, kind: str, content: dict[str, Json]) -> tuple[Entry, ...]:
        """Add an entry and return the ledger up to it; one of this kind and content is not added twice.

        Reading and adding are one transaction: of several processes each sees what the others added before.

        Raises:
            LedgerError: the ledger cannot be written, or what it holds already does not agree with itself.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from None
        with self._transaction() as connection:
            entries = self._verified(connection)
            for position, entry in enumerate(entries, start=1):
                if (entry.kind, entry.content) == (kind, content):
                    return entries[:position]
            added = Entry(
                number=len(entries) + 1,
                kind=kind,
                time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                content=content,
                previous=entries[-1].digest if entries else GENESIS,
            )
            row = (added.number, added.digest, codec.to_json(added).decode())
            connection.execute("INSERT INTO entries (number, digest, entry) VALUES (?, ?, ?)", row)
        return (*entries, added)

    def _verified(self, connection: sqlite3.Connection) -> tuple[Entry, ...]:
        entries: list[Entry] = []
        before = GENESIS
        # All at once: a statement that is still open would keep the lock after the connection is closed.
        rows = connection.execute("SELECT number, digest, entry FROM entries ORDER BY number").fetchall()
        for expected, (number, digest, text) in enumerate(rows, start=1):
            try:
                entry = codec.from_json(str(text).encode(), Entry)
            except ValueError as error:
                raise self._broken(expected, str(error)) from None
            # The digest is taken of the canonical form, so the text must be it, or it could say more.
            if entry.digest != digest or codec.to_json(entry).decode() != text:
                raise self._broken(expected, "it is not what its digest was taken of")
            if number != expected or entry.number != expected or entry.previous != before:
                raise self._broken(expected, "it does not follow from the entry before it")
            entries.append(entry)
            before = digest
        return tuple(entries)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the ledger alone; what was added is kept only if nothing goes wrong."""
        try:
            # Without an isolation level the statements below begin and end the transaction, nothing else.
            with contextlib.closing(
                sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
            ) as connection:
                connection.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA:
                    connection.execute(statement)
                yield connection
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unusable(str(error)) from None

    def _unusable(self, problem: str) -> LedgerError:
        return LedgerError(
            f"the ledger {str(self.path)!r} cannot be used: {problem}. Every use of a test table is written "
            "there before anything is measured; make the file and its folder writable"
        )

    def _broken(self, number: int, problem: str) -> LedgerError:
        return LedgerError(
            f"the ledger {str(self.path)!r} was changed by something other than the gate: entry {number}: "
            f"{problem}. Restore a copy of it; if there is none, move it away, and the count of uses of the "
            "test table begins anew, which every report will say"
        )
