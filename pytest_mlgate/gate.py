"""Carries a plan out: locks what was declared, finds the release artifact, runs checks, judges them."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import codec
from .cache import EvidenceCache, write_whole
from .candidate import Model, OnnxModel, as_model
from .candidate.model import reading, require_rowwise
from .compress.ladder import ladder
from .compress.make import Say
from .compress.search import SearchOptions, select
from .compress.store import VariantStore
from .contract import Check
from .dataset import Dataset
from .decision import waive
from .errors import Misuse
from .evidence import (
    CheckEvidence,
    DataIdentity,
    Environment,
    HoldoutUse,
    Identity,
    Judgement,
    Variant,
    Waiver,
)
from .holdout import levels_of, record_use
from .judge import errored
from .ledger import Ledger
from .lock import SCHEMA, Lock, environment
from .measure import Measurer, without_measurements
from .plan import Plan, Request
from .subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a gate found out about the run as a whole; the evidence of the single checks stands beside it."""

    candidate: Identity
    baseline: Identity | None
    release: Identity
    release_file: str
    variants: tuple[Variant, ...]
    data: tuple[DataIdentity, ...]
    holdout: HoldoutUse
    environment: Environment
    lock: str
    waivers: tuple[Waiver, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """The outcome of the search as one worker writes it and the others read it."""

    candidate_digest: str
    release: str
    variants: tuple[Variant, ...]
    evidence: tuple[CheckEvidence, ...]


@dataclass(frozen=True)
class Places:
    """Where a gate keeps its files: what outlasts this session, and what belongs to it alone."""

    cache: Path
    session: Path

    @property
    def ledger(self) -> Ledger:
        """The ledger, which is beside the cache and not in it: a cache may be emptied."""
        return Ledger(self.cache.parent / "ledger.sqlite")

    @property
    def run(self) -> str:
        """What names this session in the ledger."""
        return self.session.name

    @property
    def lock(self) -> Path:
        """The lock file of this session."""
        return self.session / "mlgate.lock"

    def artifact(self, digest: str) -> Path:
        """The file in which a model with this digest is kept."""
        return self.session / "artifacts" / f"{digest.rsplit(':', 1)[-1]}.onnx"


class Gate:
    """One gate run over one candidate.

    Args:
        plan: what is judged.
        checks: the installed checks by name.
        places: where files are kept.
        exclusive: entered while latency is measured; with several test workers it holds the others back.
        say: shows a line of progress.
        reuse: whether evidence of earlier runs may be reused.
    """

    def __init__(
        self,
        *,
        plan: Plan,
        checks: Mapping[str, Check],
        places: Places,
        exclusive: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
        say: Say = lambda _: None,
        reuse: bool = True,
    ) -> None:
        self._plan = plan
        self._checks = checks
        self._places = places
        self._exclusive = exclusive
        self._say = say
        self._measurer = Measurer(checks, EvidenceCache(places.cache / "evidence"), reuse=reuse)
        self._evidence: dict[str, CheckEvidence] = {}
        self._given: tuple[Any, ...] | None = None
        self._subject: Subject | None = None
        self._facts: Facts | None = None
        self._levels = plan.levels

    @property
    def facts(self) -> Facts | None:
        """What is known of the run, once a candidate was opened."""
        return self._facts

    @property
    def subject(self) -> Subject:
        """What the checks measure.

        Raises:
            Misuse: no candidate was opened yet.
        """
        if self._subject is None:
            raise Misuse("no candidate was opened: request the `mlgate` fixture")
        return self._subject

    def validate(self, data: Dataset) -> None:
        """Refuse data and requests that cannot be measured, before any model is loaded.

        Raises:
            Misuse: with what is wrong and what is accepted.
        """
        data.validate()
        self._plan.validate(data, self._checks)
        compress = self._plan.policy.fields.compress
        known = [recipe.name for recipe in ladder()]
        unknown = sorted({*(compress.recipes or ()), *compress.forbid} - set(known))
        if unknown:
            source = self._plan.policy.source
            raise Misuse(
                f"{source}: [compress] names {', '.join(map(repr, unknown))}. Accepted: {', '.join(known)}"
            )

    def open(self, *, data: Dataset, candidate: Any, baseline: Any, training_record: Any) -> None:
        """Adapt the candidate, write the lock, and find the release artifact.

        Raises:
            Misuse: the candidate is refused, or is another one than the session's first.
            CheckError: the candidate cannot answer the test rows, or their use cannot be recorded.
        """
        given = (data, candidate, baseline, training_record)
        if self._given is not None:
            if any(new is not old for new, old in zip(given, self._given, strict=True)):
                self._require_same(*given)
            return
        # What was locked is what is measured: a test may write to what a fixture returned.
        training_record = copy.deepcopy(training_record)
        started = environment(self._plan.policy.folder)
        model = as_model(candidate, data)
        champion = as_model(baseline, data) if baseline is not None else None
        identities = data.identities()
        holdout = self._record_use(model, identities)
        self._levels = levels_of(holdout, self._plan.levels)
        share = holdout.release_share
        lock = codec.to_json(self._lock(model, champion, data, training_record, started, share))
        write_whole(self._places.lock, lock)
        require_rowwise(model, data.tables["test"])
        release, variants = self._select(model, champion, data, training_record)
        self._subject = self._make_subject(release, model, champion, data, training_record)
        self._facts = Facts(
            candidate=model.identity,
            baseline=champion.identity if champion else None,
            release=release.identity,
            release_file=self._keep(release),
            variants=variants,
            data=identities,
            holdout=holdout,
            environment=started,
            lock=codec.digest(lock),
            waivers=self._plan.waivers(_today()),
        )
        self._given = given

    def run(self, request: Request) -> CheckEvidence:
        """Return the evidence of one request, measured now or reused, judged with the waivers in force."""
        assert self._facts is not None
        if request.id not in self._evidence:
            self._say(f"{request.id}")
            if self.subject.data.identities() != self._facts.data:
                reason = "the data changed after it was locked; a test must not write to the tables"
                return without_measurements(request, errored(request.requirements, reason), error=reason)
            self._evidence[request.id] = self._measurer.measure(request, self.subject)
        evidence = self._evidence[request.id]
        judgements = waive(evidence, self._facts.waivers, self._facts.release.digest)
        return dataclasses.replace(evidence, judgements=judgements)

    def _require_same(self, data: Dataset, candidate: Any, baseline: Any, training_record: Any) -> None:
        assert self._facts is not None
        champion = as_model(baseline, data) if baseline is not None else None
        same = (
            data.identities() == self._facts.data
            and data.meaning == self.subject.data.meaning
            and _alike(as_model(candidate, data), self._facts.candidate, self.subject.parent)
            and _alike(champion, self._facts.baseline, self.subject.baseline)
            and training_record == self.subject.training_record
        )
        if not same:
            raise Misuse(
                "two candidates, baselines, training records or data sets in one session: a decision speaks "
                "of one of each. Let every mlgate_* fixture give one value, or run pytest once for each"
            )

    def _record_use(self, model: Model, data: Sequence[DataIdentity]) -> HoldoutUse:
        entry = self._plan.policy.fields.holdout
        return record_use(
            self._places.ledger,
            run=self._places.run,
            test=next(table.digest for table in data if table.role == "test"),
            candidate=self._use_of(model),
            max_uses=entry.max_uses,
            tighten=entry.tighten,
        )

    def _use_of(self, model: Model) -> str:
        """Return what counts as one use of the test table: another threshold or seed is another try."""
        return codec.digest_of([model.identity.digest, reading(model), self._plan.policy.fields.seed])

    def _lock(
        self,
        model: Model,
        champion: Model | None,
        data: Dataset,
        record: Any,
        env: Environment,
        release_share: float,
    ) -> Lock:
        fields = self._plan.policy.fields
        return Lock(
            schema=SCHEMA,
            policy=self._plan.policy.digest,
            alpha=fields.alpha,
            release_share=release_share,
            seed=fields.seed,
            requirements=tuple(r for q in self._plan.requests for r in q.requirements),
            candidate=model.identity,
            baseline=champion.identity if champion else None,
            training_record=codec.digest_of(record) if record is not None else "none",
            data=data.identities(),
            meaning=data.meaning,
            reading=[reading(m) for m in (model, champion) if m is not None],
            environment=env,
        )

    def _make_subject(
        self, release: Model, parent: Model, champion: Model | None, data: Dataset, record: Any
    ) -> Subject:
        return Subject(
            release=release,
            parent=parent,
            baseline=champion,
            data=data,
            training_record=record,
            levels=self._levels,
            seed=self._plan.policy.fields.seed,
            targets=self._plan.targets,
        )

    def _select(
        self, model: Model, champion: Model | None, data: Dataset, record: Any
    ) -> tuple[Model, tuple[Variant, ...]]:
        selecting = [r for r in self._plan.requests if self._checks[r.check].selects]
        tried: dict[str, list[CheckEvidence]] = {}

        def budget(variant: Model, attempt: int, quality_only: bool = False) -> Sequence[Judgement]:
            subject = self._make_subject(variant, model, champion, data, record)
            if attempt:
                subject = dataclasses.replace(subject, levels=subject.levels.attempt(attempt))
            wanted = selecting
            if quality_only:
                wanted = [part for r in selecting if (part := self._of_quality(r)).requirements]
            found = [self._measurer.measure(request, subject) for request in wanted]
            if not quality_only:
                tried[variant.identity.digest] = found
            waivers = self._plan.waivers(_today())
            return [j for e in found for j in waive(e, waivers, variant.identity.digest)]

        with self._exclusive():
            earlier = self._read_chosen(model)
            if earlier is not None:
                release, chosen = earlier
                self._evidence.update({e.id: e for e in chosen.evidence})
                return release, chosen.variants
            if not selecting:
                selection = select(model, data, None, self._say)
            elif isinstance(model, OnnxModel):
                selection = select(model, data, budget, self._say, self._search_options(selecting))
            else:
                budget(model, 0)
                selection = select(model, data, None, self._say)
            evidence = tried.get(selection.release.identity.digest, [])
            self._evidence.update({e.id: e for e in evidence})
            self._write_chosen(model, selection.release, selection.variants, evidence)
        return selection.release, selection.variants

    def _of_quality(self, request: Request) -> Request:
        """Return the request with those bounds alone that say what compression may lose."""
        check = self._checks[request.check]
        others = set(check.bounds) - set(check.quality_bounds)
        return dataclasses.replace(
            request,
            parameters={n: v for n, v in request.parameters.items() if n not in others},
            requirements=tuple(r for r in request.requirements if r.parameter in check.quality_bounds),
        )

    def _search_options(self, selecting: Sequence[Request]) -> SearchOptions:
        """Return what the policy and the budgets say about the search; the first says what is cheap."""
        fields = self._plan.policy.fields
        drops = [d for r in selecting if (d := r.parameters.get("max_accuracy_drop")) is not None]
        return SearchOptions(
            objective=selecting[0].parameters.get("minimize", "size"),
            recipes=fields.compress.recipes,
            forbid=fields.compress.forbid,
            train=fields.compress.train,
            train_seconds=fields.compress.train_seconds,
            bounds_quality=any(self._of_quality(r).requirements for r in selecting),
            max_accuracy_drop=min(drops, default=None),
            withheld=self._withheld(),
            seed=fields.seed,
            store=VariantStore(self._places.cache / "variants"),
        )

    def _withheld(self) -> str:
        """Return why compression must not see the training rows; empty where it may.

        What is calibrated or trained on them again is no longer covered by the accounting of the training.
        """
        guards = [r.id for r in self._plan.requests if self._checks[r.check].guards_training_rows]
        return f"{guards[0]} accounts for the candidate's own training only" if guards else ""

    def _read_chosen(self, model: Model) -> tuple[Model, _Chosen] | None:
        path = self._places.session / "selection.json"
        if not path.is_file() or not isinstance(model, OnnxModel):
            return None
        chosen = codec.from_json(path.read_bytes(), _Chosen)
        if chosen.candidate_digest != model.identity.digest:
            raise Misuse(
                "two test workers exported different candidates: mlgate_candidate must give the same model "
                "in every process (fix its seeds, or load it from a file)"
            )
        known = [v.identity for v in chosen.variants if v.identity]
        identity = next(i for i in known if i.digest == chosen.release)
        onnx = self._places.artifact(chosen.release).read_bytes()
        release = dataclasses.replace(
            model, onnx=onnx, name=identity.name, kind=identity.kind, detail=identity.detail
        )
        return release, chosen

    def _write_chosen(
        self, model: Model, release: Model, variants: tuple[Variant, ...], evidence: list[CheckEvidence]
    ) -> None:
        self._keep(release)
        chosen = _Chosen(
            candidate_digest=model.identity.digest,
            release=release.identity.digest,
            variants=variants,
            evidence=tuple(evidence),
        )
        write_whole(self._places.session / "selection.json", codec.to_json(chosen))

    def _keep(self, release: Model) -> str:
        if not isinstance(release, OnnxModel):
            return ""
        path = self._places.artifact(release.identity.digest)
        if not path.exists():
            write_whole(path, release.onnx)
        return path.name


def _alike(model: Model | None, identity: Identity | None, known: Model | None) -> bool:
    """Return whether a model is the known one: the same bytes, read the same way."""
    if model is None or identity is None or known is None:
        return model is None and identity is None
    return model.identity.digest == identity.digest and reading(model) == reading(known)


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()
