"""The evidence data model: plain, frozen facts that survive JSON unchanged.

A value that was not computed is `None` with a reason, never NaN and never 0. Everything that a report
shows is here, so that reports never compute anything themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeGuard

SCHEMA = "https://pytest-mlgate.dev/evidence/v1"

#: Any JSON value; the codec refuses what JSON cannot hold.
Json = Any
Cell = str | int | float | bool | None
Comparator = Literal["<=", ">="]

#: What a drawing can hold and a reader can tell apart.
MOST_POINTS = 200
MOST_SERIES = 8


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
    #: About how many more rows of a group ("race=hispan") would decide the bound if the estimate stays.
    more_rows: dict[str, int] = field(default_factory=dict, hash=False)


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
class Series:
    """One line, or one set of points or bars: `y` over `x`, and where there are any, intervals around `y`.

    A `None` is a gap in the drawing: a value that does not exist, or an interval's end that was not
    computed. `low` and `high` are empty, or as long as `x`.

    Raises:
        ValueError: the lengths differ, there are more than `MOST_POINTS`, or a number is not finite.
    """

    name: str
    x: tuple[float | str, ...]
    y: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if len(self.x) > MOST_POINTS:
            raise ValueError(
                f"series {self.name!r} has {len(self.x)} points; at most {MOST_POINTS}, thin it out"
            )
        for name, values in (("y", self.y), ("low", self.low), ("high", self.high)):
            if len(values) != len(self.x) and (name == "y" or values):
                raise ValueError(f"series {self.name!r} has {len(self.x)} x and {len(values)} {name}")
        if not all(math.isfinite(v) for v in (*self.x, *self.y, *self.low, *self.high) if _is_number(v)):
            raise ValueError(f"series {self.name!r} holds a number that is not finite; None is a gap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing that the reports make from numbers of the check: they place them and compute nothing.

    Kinds: `lines` joins its points; `points` does not; `bars` stands over the categories in `x`; `steps`
    holds each `y` until the next `x`, as histograms and distribution functions are drawn. Only `bars` may
    have text in `x`.

    Raises:
        ValueError: there is no series, there are more than `MOST_SERIES`, the bound is not finite, or `x`
            holds text where numbers belong.
    """

    title: str
    kind: Literal["lines", "points", "bars", "steps"]
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    #: Draws y = x, on which a calibrated model lies.
    diagonal: bool = False
    #: A level line at this y.
    bound: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if not 0 < len(self.series) <= MOST_SERIES:
            raise ValueError(
                f"chart {self.title!r} has {len(self.series)} series; 1 to {MOST_SERIES} can be drawn"
            )
        if self.bound is not None and not math.isfinite(self.bound):
            raise ValueError(f"chart {self.title!r}: the bound is not finite")
        if self.kind != "bars" and any(isinstance(x, str) for s in self.series for x in s.x):
            raise ValueError(f"chart {self.title!r}: {self.kind} are drawn over numbers, not over text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a check reports: facts only, no verdicts."""

    measurements: tuple[Measurement, ...]
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
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
    charts: tuple[Chart, ...] = ()
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
class HoldoutUse:
    """How often the test table was used to judge candidates, as far as one ledger knows."""

    #: Digest of the test table.
    test: str
    #: The candidate is the number-th distinct one that was opened on this table, from 1 on.
    number: int
    #: Distinct candidates and runs so far, this one included.
    candidates: int
    runs: int
    #: How many distinct candidates the policy allows; `None` where it sets no cap.
    max_uses: int | None
    #: Share of alpha's releasing side that this candidate had; 1 unless the policy tightens it with use.
    release_share: float
    #: When the ledger began; what was used before, or counted elsewhere, is not known.
    known_since: str
    #: The ledger began with this run, so it cannot know of any use before.
    ledger_is_new: bool
    #: Digest of the ledger's entry for this use: a ledger that was rewritten does not hold it.
    entry: str

    @property
    def is_exhausted(self) -> bool:
        """Whether more candidates were judged on the table before this one than the policy allows."""
        return self.max_uses is not None and self.number > self.max_uses


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
    #: `None` where no candidate was opened.
    holdout: HoldoutUse | None
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


def _is_number(value: float | str | None) -> TypeGuard[float]:
    return value is not None and not isinstance(value, str)
