"""The evidence data model: plain, frozen facts that survive JSON unchanged.

A value that was not computed is `None` with a reason, never NaN and never 0. Everything that a report
shows is here, so that reports never compute anything themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

SCHEMA = "https://pytest-mlgate.dev/evidence/v1"

#: Any JSON value; the codec refuses what JSON cannot hold.
Json = Any
Cell = str | int | float | bool | None
Comparator = Literal["<=", ">="]


class Grade(StrEnum):
    """How a value was come by, strongest first."""

    MEASURED = "measured"
    EMULATED = "emulated"
    ESTIMATED = "estimated"
    DECLARED = "declared"
    MISSING = "missing"


class Verdict(StrEnum):
    """What was concluded about one requirement."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_RUN = "not_run"
    ERROR = "error"
    WAIVED = "waived"


#: Worst first: the order in which every table, summary and reason list is sorted.
SEVERITY: tuple[Verdict, ...] = (
    Verdict.ERROR,
    Verdict.FAIL,
    Verdict.NOT_RUN,
    Verdict.INCONCLUSIVE,
    Verdict.WAIVED,
    Verdict.PASS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A confidence interval; `None` at an end means that the end is unbounded."""

    low: float | None
    high: float | None
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One value with its unit, sample size, interval, method and grade."""

    metric: str
    value: float | None
    unit: str
    n: int
    interval: Interval | None
    method: str
    grade: Grade = Grade.MEASURED
    #: Which part of the data or model this is about: "race", "race*sex", "column obrat". Empty: all of it.
    scope: str = ""
    #: The parameter of the check whose bound this value answers to; `None`: for information only.
    bound: str | None = None
    #: Why there is no value, or what stands behind it ("race=black (n=99) against race=white (n=840)").
    detail: str = ""
    #: The quantity is infinite: it is above every bound.
    unbounded: bool = False
    #: What ran elsewhere than on the declared target: no figure counts then, and every bound fails.
    off_target: str = ""
    #: More n would narrow the interval; not so where it tells what one further process would show.
    n_decides: bool = True
    #: The machine a timing was taken on: figures are comparable only where this is equal.
    machine: str = ""
    #: Threads, affinity, governor, load and versions under which it was taken.
    conditions: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One bound that somebody wrote, and where it was written."""

    id: str
    check: str
    parameter: str
    comparator: Comparator
    bound: float
    source: str
    #: Scopes ("any" for all) in which the policy lets an inconclusive verdict only warn, with its reason.
    tolerates: dict[str, str] = field(default_factory=dict)
    accepts: tuple[Grade, ...] = (Grade.MEASURED,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict on one requirement in one scope, with the sentence that says why."""

    requirement: str
    scope: str
    verdict: Verdict
    message: str
    #: Position of the measurement in the evidence that was judged; `None` where there was none.
    measurement: int | None = None
    #: About how many rows would decide an inconclusive verdict, if the estimate stays where it is.
    n_needed: int | None = None
    #: An inconclusive verdict that the policy accepts in writing: reported, does not block.
    tolerated: bool = False
    waiver: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A named table that the reports draw as it is."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a check reports: facts only, no verdicts."""

    measurements: tuple[Measurement, ...]
    tables: tuple[Table, ...] = ()
    assumptions: dict[str, str] | None = None
    #: What this check did not look at, in words a reader of the report understands.
    not_covered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckEvidence:
    """Everything one check found, and what was concluded from it."""

    id: str
    check: str
    version: str
    parameters: dict[str, Json]
    source: str
    tests: tuple[str, ...]
    requirements: tuple[Requirement, ...]
    measurements: tuple[Measurement, ...]
    judgements: tuple[Judgement, ...]
    tables: tuple[Table, ...]
    assumptions: dict[str, str]
    not_covered: tuple[str, ...]
    seed: int
    duration_s: float
    made_at: str
    reused: bool = False
    error: str = ""

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all its judgements; `not_run` where nothing was judged."""
        return worst([j.verdict for j in self.judgements])


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What was measured: a name, a kind, and the digest of its bytes."""

    name: str
    kind: str
    digest: str
    size_bytes: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickFigures:
    """What the search saw of a variant when it put all of them in order; no bound is judged on these."""

    #: Time of one row relative to the float model's, all variants interleaved in one process.
    latency_ratio: float | None
    latency_us: float | None
    #: Accuracy on the training rows, where every variant is compared with the float model; none without them.
    accuracy: float | None
    #: No other variant is both cheaper and more accurate.
    on_front: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The candidate after one compression recipe, and why it does or does not ship."""

    recipe: str
    identity: Identity | None
    status: Literal["release", "rejected", "not_needed", "not_applicable", "forbidden", "error"]
    reason: str
    figures: QuickFigures | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataIdentity:
    """One table: what it was used for and the digest of its contents."""

    role: str
    rows: int
    columns: int
    digest: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A written exception to one requirement."""

    requirement: str
    owner: str
    approver: str
    reason: str
    scope: str
    expires: str
    state: Literal["in_force", "expired", "orphaned", "not_needed"] = "in_force"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One cause of a blocked release, or one warning."""

    verdict: Verdict
    subject: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether the model may be released, with the reasons, worst first."""

    outcome: Literal["release", "blocked"]
    reasons: tuple[Reason, ...]
    warnings: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyIdentity:
    """Where the policy was read from and what it says."""

    source: str
    digest: str
    required: tuple[str, ...]
    alpha: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What happened to the tests that carry requirements: anything but `passed` or `failed` blocks."""

    #: Test id to what became of it: passed, failed, skipped, xfailed, deselected, crashed, not_run.
    tests: dict[str, str]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The machine, the code revision and the package versions that the run used."""

    machine: dict[str, str]
    packages: dict[str, str]
    revision: str
    dirty: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the gate: the single source from which every report is drawn."""

    schema: str
    tool: str
    name: str
    description: dict[str, Json]
    decision: Decision
    candidate: Identity | None
    baseline: Identity | None
    release: Identity | None
    release_file: str
    variants: tuple[Variant, ...]
    data: tuple[DataIdentity, ...]
    policy: PolicyIdentity
    lock: str
    waivers: tuple[Waiver, ...]
    session: Session
    evidence: tuple[CheckEvidence, ...]
    environment: Environment
    reproduce: str
    started_at: str
    duration_s: float


def worst(verdicts: list[Verdict]) -> Verdict:
    """Return the most severe verdict, `not_run` for none at all."""
    return min(verdicts, key=SEVERITY.index, default=Verdict.NOT_RUN)
