"""One pytest session with a gate in it: which tests carry requirements, what became of them, the decision."""

from __future__ import annotations

import contextlib
import datetime
import shlex
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import pytest_mlgate

from . import codec, discovery
from .assemble import Timing, assemble
from .candidate import Model
from .dataset import Dataset
from .decision import acceptable
from .errors import CheckError, MissingExtra, Misuse
from .evidence import CheckEvidence, Run, Session
from .gate import Facts, Gate, Places
from .holdout import record_decision
from .judge import errored
from .ledger import LedgerError
from .measure import without_measurements
from .output import replace_folder, require_replaceable
from .plan import Declaration, Plan, Request, make_plan
from .policy import Policy
from .policy_items import PolicyItem
from .quiet import Quiet
from .terminal import Progress, failure_text
from .written import never_collected

CACHE_FOLDER = ".mlgate"
RELEASE_FILE = "release-artifact.onnx"
EVIDENCE = pytest.StashKey[list[CheckEvidence]]()
MISUSE = pytest.StashKey[str]()


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemReport:
    """What one test's report carries from a worker to the controller."""

    evidence: tuple[CheckEvidence, ...] = ()
    misuse: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """What a worker knows when it ends."""

    requests: tuple[Request, ...]
    problems: tuple[str, ...]
    deselected: tuple[str, ...]
    facts: Facts | None
    misuse: str = ""


@dataclass(frozen=True)
class GateView:
    """What the `mlgate` fixture gives to a test: the release artifact and the evidence so far."""

    release: Model
    data: Dataset
    items: tuple[CheckEvidence, ...] = field(repr=False)

    def evidence(self, check: str) -> CheckEvidence:
        """Return the evidence of this test's check of that name (or requirement id).

        Raises:
            LookupError: the test carries no such check.
        """
        for item in self.items:
            if check in (item.check, item.id):
                return item
        raise LookupError(f"this test carries no check {check!r}; it has: {[i.id for i in self.items]}")


class GateSession:
    """The gate's state in one pytest process."""

    def __init__(self, config: pytest.Config, policy: Policy, folder: Path | None = None) -> None:
        self.config = config
        self.policy = policy
        self.run: Run | None = None
        self.misuse = ""
        self.started = time.monotonic()
        self.started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.is_worker = hasattr(config, "workerinput")
        self.folder = folder or self._session_folder()
        self.quiet = Quiet(self.folder) if self.is_worker else None
        self._plan: Plan | None = None
        self._gate: Gate | None = None
        self._requests: tuple[Request, ...] = ()
        self._facts: Facts | None = None
        self._evidence: dict[str, CheckEvidence] = {}
        self._tests: dict[str, str] = {}
        self._problems: list[str] = []
        self._declared: dict[str, list[Declaration]] = {}
        if not self.is_worker:
            require_replaceable(self.report_folder, report_names())

    @property
    def report_folder(self) -> Path:
        """The folder that the report is written to."""
        chosen = self.config.getoption("mlgate_report")
        return Path(chosen).absolute() if chosen else self.policy.folder / "mlgate-report"

    @property
    def places(self) -> Places:
        """Where the gate keeps its files."""
        return Places(cache=self.policy.folder / CACHE_FOLDER / "cache", session=self.folder)

    def plan(self, items: Sequence[pytest.Item]) -> None:
        """Fix what this session judges, from the marks on the collected tests and from the policy.

        Raises:
            Misuse: something that is written cannot be carried out.
        """
        checks = discovery.checks()
        declarations: list[Declaration] = []
        for item in items:
            found = declarations_of(item, self.policy, checks)
            self._declared[item.nodeid] = found
            declarations.extend(found)
            fixtures = getattr(item, "fixturenames", None)
            if found and fixtures is not None and "mlgate" not in fixtures:
                fixtures.append("mlgate")
        self._plan = make_plan(self.policy, declarations, checks)
        self._requests = self._plan.requests
        root = (self.policy.path.parent if self.policy.path else self.config.rootpath).resolve()
        self._problems += [
            f"{t.path.relative_to(root)}:{t.line or 1}: {t.name} carries marks, but was not collected"
            for t in never_collected(root, checks, items)
        ]
        progress = Progress(self.config)
        progress.total = len(self._requests) + 6
        self._gate = Gate(
            plan=self._plan,
            checks=checks,
            places=self.places,
            exclusive=self.quiet.alone if self.quiet else contextlib.nullcontext,
            say=progress,
            reuse=not self.config.getoption("mlgate_no_cache"),
        )

    def carries(self, nodeid: str) -> bool:
        """Return whether a test carries requirements."""
        return any(nodeid in request.tests for request in self._requests)

    def measure(
        self, item: pytest.Item, *, data: Any, candidate: Any, baseline: Any, training_record: Any
    ) -> GateView:
        """Run every check that the test carries; `candidate` and the others are called only when needed.

        Raises:
            Misuse: data, candidate or requests cannot be measured.
        """
        assert self._plan is not None
        assert self._gate is not None
        kept: list[CheckEvidence] = []
        item.stash[EVIDENCE] = kept
        requests = self._plan.of_test(item.nodeid)
        table = data()
        if not isinstance(table, Dataset):
            raise Misuse(
                "no data: return a pytest_mlgate.Dataset from the mlgate_data fixture, or name the tables "
                "under [data] in the policy"
            )
        self._gate.validate(table)
        model = candidate()
        if model is None:
            raise Misuse(
                "no candidate: return the model from the mlgate_candidate fixture, or name it as `candidate` "
                "in the policy"
            )
        try:
            self._gate.open(
                data=table, candidate=model, baseline=baseline(), training_record=training_record()
            )
        except (CheckError, MissingExtra) as problem:
            reason = str(problem)
            kept.extend(
                without_measurements(r, errored(r.requirements, reason), error=reason) for r in requests
            )
            raise
        kept.extend(self._gate.run(request) for request in requests)
        return GateView(release=self._gate.subject.release, data=table, items=tuple(kept))

    def undeclared(self, item: pytest.Item) -> str:
        """Return why the marks that a test has now are not those that were planned; empty if they are."""
        now = declarations_of(item, self.policy, discovery.checks())
        planned = self._declared.get(item.nodeid, [])
        if [(d.check, d.args, d.kwargs) for d in now] == [(d.check, d.args, d.kwargs) for d in planned]:
            return ""
        names = ", ".join(sorted({d.check for d in [*now, *planned]}))
        return (
            f"{item.nodeid}: its requirements ({names}) changed after collection and were never planned; "
            "write the marks on the test, or add them in pytest_itemcollected"
        )

    def interrupted(self) -> None:
        """Remember that the session did not come to its own end."""
        self._problems.append("the session was interrupted or broke before its end")

    def failure(self, item: pytest.Item) -> str:
        """Return why the test's requirements do not hold; empty if they all do."""
        texts = []
        facts = self._gate.facts if self._gate else None
        artifact = f"{facts.release.name} {facts.release.digest[:19]}" if facts else "none"
        measured: list[CheckEvidence] = item.stash.get(EVIDENCE, [])
        for evidence in measured:
            bad = [j for j in evidence.judgements if not acceptable(j)]
            if bad:
                texts.append(failure_text(bad, evidence, artifact))
        return "\n".join(texts)

    def attach(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Put what was measured on the report, as text: reports travel between processes."""
        if self.carries(item.nodeid) or MISUSE in item.stash:
            measured: list[CheckEvidence] = item.stash.get(EVIDENCE, [])
            carried = ItemReport(evidence=tuple(measured), misuse=item.stash.get(MISUSE, ""))
            report.mlgate = codec.to_json(carried).decode()  # type: ignore[attr-defined]

    def record(self, report: pytest.TestReport) -> None:
        """Take over what a test's report says."""
        state = _state(report)
        if state and self._tests.get(report.nodeid) in (None, "passed", "deselected"):
            self._tests[report.nodeid] = state
        carried = getattr(report, "mlgate", "")
        if carried:
            content = codec.from_json(carried.encode(), ItemReport)
            self.misuse = self.misuse or content.misuse
            self._evidence.update({e.id: e for e in content.evidence})

    def deselected(self, items: Sequence[pytest.Item]) -> None:
        """Remember tests that were taken out of the run."""
        self._tests.update({item.nodeid: "deselected" for item in items})

    def collection_failed(self, nodeid: str) -> None:
        """Remember a file that could not be collected: whatever it required is unknown."""
        self._problems.append(f"{nodeid or 'a test file'} could not be collected")

    def worker_report(self) -> str:
        """Return what this worker knows, as JSON."""
        return codec.to_json(
            WorkerReport(
                requests=self._requests,
                problems=tuple(self._problems),
                deselected=tuple(t for t, s in self._tests.items() if s == "deselected"),
                facts=self._gate.facts if self._gate else None,
                misuse=self.misuse,
            )
        ).decode()

    def take_worker_report(self, text: str) -> None:
        """Merge what a worker knew when it ended."""
        content = codec.from_json(text.encode(), WorkerReport)
        self.misuse = self.misuse or content.misuse
        if self._requests and content.requests and content.requests != self._requests:
            self._problems.append("two test workers collected different requirements")
        self._requests = self._requests or content.requests
        self._problems.extend(p for p in content.problems if p not in self._problems)
        self._tests.update({t: "deselected" for t in content.deselected if t not in self._tests})
        if self._facts and content.facts and _subject_of(content.facts) != _subject_of(self._facts):
            self._problems.append("two test workers measured different artifacts or data")
        self._facts = self._facts or content.facts

    def finish(self) -> None:
        """Decide, record it, and write the report folder in one step; nothing is written after misuse."""
        if self.misuse:
            return
        if not self._requests and self._plan is None:
            self._requests = self._plan_of_policy()
        facts = self._facts or (self._gate.facts if self._gate else None)
        carried = {test for request in self._requests for test in request.tests}
        tests = {t: self._tests.get(t, "not_run") for t in sorted(carried)}
        files: dict[str, bytes] = {}
        if facts and facts.release_file:
            files[RELEASE_FILE] = (self.folder / "artifacts" / facts.release_file).read_bytes()
        if facts:
            files["mlgate.lock"] = (self.folder / "mlgate.lock").read_bytes()

        def assembled() -> tuple[Run, bytes]:
            run = assemble(
                policy=self.policy,
                requests=self._requests,
                evidence=self._evidence,
                facts=facts,
                session=Session(tests=tests, problems=tuple(self._problems)),
                tool=f"pytest-mlgate {pytest_mlgate.__version__}",
                reproduce=shlex.join(["pytest", *map(str, self.config.invocation_params.args)]),
                timing=Timing(
                    started_at=self.started_at, duration_s=round(time.monotonic() - self.started, 1)
                ),
                release_file=RELEASE_FILE if RELEASE_FILE in files else "",
            )
            return run, codec.to_json(run)

        self.run, files["evidence.json"] = assembled()
        try:
            evidence = codec.digest(files["evidence.json"])
            record_decision(self.places.ledger, self.run, name=self.places.run, evidence=evidence)
        except LedgerError as error:
            # A decision that nobody recorded must not be a release.
            self._problems.append(str(error))
            self.run, files["evidence.json"] = assembled()
        # Views are rendered from what was written, so that `verify` renders the same bytes.
        written = codec.from_json(files["evidence.json"], Run)
        files |= {name: view.render(written).encode() for name, view in discovery.views().items()}
        require_replaceable(self.report_folder, report_names())
        replace_folder(self.report_folder, files)

    def close(self) -> None:
        """Remove the session's own folder."""
        if not self.is_worker:
            shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def sharing(self) -> Iterator[None]:
        """Hold a share of the machine during one test, if other workers run beside this one."""
        with self.quiet.sharing() if self.quiet else contextlib.nullcontext():
            yield

    def _plan_of_policy(self) -> tuple[Request, ...]:
        return make_plan(self.policy, [], discovery.checks()).requests

    def _session_folder(self) -> Path:
        if self.is_worker:
            return Path(self.config.workerinput["mlgate_session"])  # type: ignore[attr-defined]
        return self.policy.folder / CACHE_FOLDER / "sessions" / uuid.uuid4().hex


def report_names() -> set[str]:
    """Return the names of all files that a report folder may hold."""
    return {"evidence.json", "mlgate.lock", RELEASE_FILE, *discovery.views()}


def declarations_of(item: pytest.Item, policy: Policy, checks: dict[str, Any]) -> list[Declaration]:
    """Return the marks of a test that are requirements, the topmost first.

    A bare mark on a test that does not ask for the gate is somebody's label, unless the policy gives it
    bounds.
    """
    if isinstance(item, PolicyItem):
        return [item.declaration]
    asks = "mlgate" in getattr(item, "fixturenames", ())
    in_policy = {use.check for use in policy.uses}
    source = f"{item.location[0]}:{(item.location[1] or 0) + 1}"
    return [
        Declaration(
            check=mark.name,
            args=mark.args,
            kwargs=mark.kwargs,
            source=source,
            test=item.nodeid,
        )
        for mark in reversed(list(item.iter_markers()))
        if mark.name in checks and (mark.args or mark.kwargs or asks or mark.name in in_policy)
    ]


def _subject_of(facts: Facts) -> tuple[object, ...]:
    return facts.candidate, facts.baseline, facts.release, facts.data, facts.lock


def _state(report: pytest.TestReport) -> str:
    if report.skipped:
        return "xfailed" if hasattr(report, "wasxfail") else "skipped"
    if report.failed:
        return "failed" if report.when == "call" else "error"
    return "passed" if report.when == "call" else ""
