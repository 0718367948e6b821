"""Evidence kept by content digest, so that nothing unchanged is measured twice."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import codec
from .evidence import CheckEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    key: str
    evidence_digest: str
    evidence: CheckEvidence


@dataclass(frozen=True)
class EvidenceCache:
    """A folder of evidence files named by the digest of everything that the evidence depends on."""

    folder: Path

    def read(self, key: str) -> CheckEvidence | None:
        """Return the evidence stored under the key; `None` if there is none or the file is damaged."""
        path = self._path(key)
        try:
            entry = codec.from_json(path.read_bytes(), _Entry)
        except (OSError, ValueError):
            return None
        intact = entry.key == key and entry.evidence_digest == codec.digest_of(entry.evidence)
        return entry.evidence if intact else None

    def write(self, key: str, evidence: CheckEvidence) -> None:
        """Store the evidence; the file appears complete or not at all."""
        entry = _Entry(key=key, evidence_digest=codec.digest_of(evidence), evidence=evidence)
        write_whole(self._path(key), codec.to_json(entry))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key.removeprefix('sha256:')}.json"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file by renaming a complete temporary one over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
