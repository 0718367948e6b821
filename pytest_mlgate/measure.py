"""Runs one check on one subject and judges what it found; reuses evidence that cannot have changed."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Mapping

from . import codec
from .cache import EvidenceCache
from .candidate.model import reading
from .contract import Check
from .errors import CheckError, MissingExtra
from .evidence import CheckEvidence, Findings, Judgement
from .judge import errored, judge, not_run
from .lock import code_digest, package_versions
from .plan import Request
from .subject import Subject


class Measurer:
    """Measures requests.

    Args:
        checks: the installed checks by name.
        cache: where evidence is kept by the digest of all that it depends on.
        reuse: whether kept evidence may be reused.
    """

    def __init__(self, checks: Mapping[str, Check], cache: EvidenceCache, *, reuse: bool) -> None:
        self._checks = checks
        self._cache = cache
        self._reuse = reuse

    def measure(self, request: Request, subject: Subject) -> CheckEvidence:
        """Run the check, or reuse what it found before on exactly the same, and judge what it found."""
        check = self._checks[request.check]
        key = self._key(request, check, subject)
        if key is not None and (kept := self._cache.read(key)) is not None:
            judgements = judge(request.requirements, kept.measurements)
            return dataclasses.replace(
                kept,
                source=request.source,
                tests=request.tests,
                requirements=request.requirements,
                judgements=judgements,
                reused=True,
            )
        started, made_at = time.monotonic(), _now()
        error = ""
        findings = Findings(measurements=())
        try:
            # Through JSON and back: what cannot be evidence must fail here, and what is stored is judged.
            found = codec.to_json(check.function(subject, **request.parameters))
            findings = codec.from_json(found, Findings)
            judgements = judge(request.requirements, findings.measurements)
        except MissingExtra as problem:
            error = str(problem)
            judgements = not_run(request.requirements, error)
        except CheckError as problem:
            error = str(problem)
            judgements = errored(request.requirements, error)
        except (Exception, SystemExit) as problem:  # a check that breaks blocks; the other checks still run
            error = f"the check itself broke: {type(problem).__name__}: {problem}"
            judgements = errored(request.requirements, error)
        evidence = CheckEvidence(
            id=request.id,
            check=request.check,
            version=check.version,
            parameters=codec.plain(request.parameters),
            source=request.source,
            tests=request.tests,
            requirements=request.requirements,
            measurements=findings.measurements,
            judgements=judgements,
            tables=findings.tables,
            charts=findings.charts,
            assumptions=findings.assumptions or {},
            not_covered=findings.not_covered,
            seed=subject.seed,
            duration_s=round(time.monotonic() - started, 3),
            made_at=made_at,
            error=error,
        )
        if key is not None and not error:
            self._cache.write(key, evidence)
        return evidence

    def _key(self, request: Request, check: Check, subject: Subject) -> str | None:
        models = [subject.release, subject.parent, subject.baseline]
        digests = [m.identity.digest if m else "none" for m in models]
        by_content = all(d == "none" or d.startswith("sha256:") for d in digests)
        if not self._reuse or not check.reusable or not by_content:
            return None
        return codec.digest_of(
            {
                "check": [check.name, check.version],
                "parameters": codec.plain(request.parameters),
                "id": request.id,
                "models": digests,
                "read as": [reading(m) if m else None for m in models],
                "data": [dataclasses.asdict(i) for i in subject.data.identities()],
                "meaning": subject.data.meaning,
                "record": codec.digest_of(subject.training_record),
                "levels": dataclasses.asdict(subject.levels),
                "seed": subject.seed,
                "packages": package_versions(),
                "code": code_digest(),
            }
        )


def without_measurements(
    request: Request, judgements: tuple[Judgement, ...], error: str = ""
) -> CheckEvidence:
    """Return the evidence of a request for which nothing was measured."""
    return CheckEvidence(
        id=request.id,
        check=request.check,
        version="",
        parameters=codec.plain(request.parameters),
        source=request.source,
        tests=request.tests,
        requirements=request.requirements,
        measurements=(),
        judgements=judgements,
        tables=(),
        assumptions={},
        not_covered=(),
        seed=0,
        duration_s=0.0,
        made_at="",
        error=error,
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
