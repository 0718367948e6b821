"""Runs as the gate would write them, built from measurements and judged by the real judge."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import pytest

from pytest_mlgate.decision import decide, waive
from pytest_mlgate.evidence import (
    SCHEMA,
    Chart,
    CheckEvidence,
    DataIdentity,
    Environment,
    Findings,
    Grade,
    HoldoutUse,
    Identity,
    Interval,
    Measurement,
    PolicyIdentity,
    QuickFigures,
    Requirement,
    Run,
    Series,
    Session,
    Table,
    Variant,
    Waiver,
)
from pytest_mlgate.judge import errored, judge

TEST = "tests/test_release_gate.py::test_release"

Check = Callable[..., CheckEvidence]
Changed = Callable[..., Run]


def measured(metric, value, low, high, **more) -> Measurement:
    """Return a measurement with an interval around it."""
    fields = {
        "unit": "",
        "n": 596,
        "interval": Interval(low=low, high=high, confidence=0.971),
        "method": "counts per group; Wilson score interval",
    }
    return Measurement(metric=metric, value=value, **{**fields, **more})


def check(name: str, bounds: dict[str, tuple[str, float]], findings: Findings, **more) -> CheckEvidence:
    """Return the evidence of one check, judged."""
    identity = more.pop("id", name)
    requirements = tuple(
        Requirement(
            id=f"{identity}.{parameter}",
            check=name,
            parameter=parameter,
            comparator=comparator,
            bound=bound,
            source=more.get("source", "mlgate.toml:24"),
            tolerates=more.get("tolerates", {}),
        )
        for parameter, (comparator, bound) in bounds.items()
    )
    error = more.get("error", "")
    return CheckEvidence(
        id=identity,
        check=name,
        version="sha256:" + "5c" * 32,
        parameters={parameter: bound for parameter, (_, bound) in bounds.items()}
        | more.get("parameters", {}),
        source=more.get("source", "mlgate.toml:24"),
        tests=(TEST,),
        requirements=requirements,
        measurements=findings.measurements,
        judgements=errored(requirements, error) if error else judge(requirements, findings.measurements),
        tables=findings.tables,
        charts=findings.charts,
        assumptions=findings.assumptions or {},
        not_covered=findings.not_covered,
        seed=0,
        duration_s=1.234,
        made_at="2026-11-21T09:14:07+00:00",
        reused=more.get("reused", False),
        error=error,
    )


def run_of(evidence: Sequence[CheckEvidence], **more) -> Run:
    """Return a complete run with this evidence and the decision that follows from it."""
    waivers: tuple[Waiver, ...] = more.pop("waivers", ())
    release = Identity(
        name="loan-approval-int8-static",
        kind="ONNX",
        digest="sha256:" + "9f2c" * 16,
        size_bytes=31_744,
        detail="recipe int8-static from sha256:" + "71b3" * 16,
    )
    candidate = Identity(
        name="loan-approval", kind="torch", digest="sha256:" + "71b3" * 16, size_bytes=98_304
    )
    waived = tuple(
        dataclasses.replace(item, judgements=waive(item, waivers, release.digest)) for item in evidence
    )
    session = more.pop("session", Session(tests={TEST: "passed"}))
    required = ("budget", "fairness", "drift", "performance", "data_quality")
    run = Run(
        schema=SCHEMA,
        tool="pytest-mlgate 0.1.0",
        name="loan-approval",
        description=DESCRIPTION,
        decision=decide(
            required=required, evidence=waived, waivers=waivers, session=session, holdout=HOLDOUT
        ),
        candidate=candidate,
        baseline=Identity(
            name="baseline.onnx", kind="ONNX", digest="sha256:" + "04de" * 16, size_bytes=12_288
        ),
        release=release,
        release_file="release-artifact.onnx",
        variants=VARIANTS(candidate, release),
        data=(
            DataIdentity(
                role="test", rows=596, columns=22, digest="sha256:" + "ab10" * 16, source="in memory"
            ),
            DataIdentity(
                role="train", rows=1_393, columns=22, digest="sha256:" + "cd32" * 16, source="in memory"
            ),
        ),
        holdout=HOLDOUT,
        policy=PolicyIdentity(
            source="mlgate.toml", digest="sha256:" + "e4f5" * 16, required=required, alpha=0.05
        ),
        lock="sha256:" + "1a2b" * 16,
        waivers=waivers,
        session=session,
        evidence=waived,
        environment=Environment(
            machine={"architecture": "x86_64", "cores": "2", "processor": "AMD EPYC", "python": "3.11.7"},
            packages={"numpy": "1.26.4", "onnx": "1.23.2", "onnxruntime": "1.31.1", "pytest-mlgate": "0.1.0"},
            revision="0d1e2f3a" * 5,
            dirty=False,
        ),
        reproduce="pytest tests -k release",
        started_at="2026-11-21T09:14:02+00:00",
        duration_s=41.7,
    )
    return dataclasses.replace(run, **more)


DESCRIPTION = {
    "summary": "Scores applications for a home mortgage by the probability that they are approved.",
    "owners": ["Credit Models team"],
    "license": "Apache-2.0",
    "intended_use": "Orders applications for review by a loan officer, who decides.",
    "out_of_scope": ["Automatic refusal.", "Commercial property."],
    "training_data": "Boston Fed mortgage applications, 1990 (Hunter and Walker 1996).",
    "limitations": "One city, one year.\nNo applications that were withdrawn.",
    "review_board": "Approved on 2026-11-02.",
    "tags": ["credit"],
    "task": "tabular-classification",
}


HOLDOUT = HoldoutUse(
    test="sha256:" + "ab10" * 16,
    number=3,
    candidates=4,
    runs=9,
    max_uses=10,
    release_share=1 / 12,
    known_since="2026-11-02T08:00:00+00:00",
    ledger_is_new=False,
    entry="sha256:" + "3d4e" * 16,
)

MACHINE = "architecture x86_64; cores 2; processor AMD EPYC"
CONDITIONS = "threads 1, affinity 0,1, governor unknown, load 0.12 to 0.2"


def VARIANTS(candidate: Identity, release: Identity) -> tuple[Variant, ...]:
    """Return a search with one variant of each outcome."""
    return (
        Variant(
            recipe="int8-dynamic",
            identity=Identity(
                name="loan-approval-int8-dynamic",
                kind="ONNX",
                digest="sha256:" + "77aa" * 16,
                size_bytes=30_001,
            ),
            status="rejected",
            reason="budget: accuracy_drop 0.021 (97.1% CI 0.012 to 0.033) exceeds max_accuracy_drop=0.01",
            figures=QuickFigures(latency_ratio=0.62, latency_us=5.95, accuracy=0.8712, on_front=True),
        ),
        Variant(
            recipe="int8-static",
            identity=release,
            status="release",
            reason="smallest variant that meets the whole budget",
            figures=QuickFigures(latency_ratio=0.71, latency_us=6.81, accuracy=0.8894, on_front=True),
        ),
        Variant(
            recipe="as given",
            identity=candidate,
            status="not_needed",
            reason="larger than the release artifact; not measured",
            figures=QuickFigures(latency_ratio=1.0, latency_us=9.59, accuracy=0.8984, on_front=True),
        ),
        Variant(
            recipe="fp16", identity=None, status="not_applicable", reason="the model has no float weights"
        ),
        Variant(
            recipe="distillation",
            identity=None,
            status="forbidden",
            reason="forbidden by the policy ([compress] forbid)",
        ),
    )


GAPS = Chart(
    title="False-positive rate by group",
    kind="bars",
    x_label="group",
    y_label="false-positive rate",
    series=(
        Series(
            name="release artifact",
            x=(
                "race=black, sex=female, income in the lowest quarter of all applicants, city",
                "white",
                "asian",
            ),
            y=(0.333, 0.571, None),
            low=(0.21, 0.5, None),
            high=(0.47, 0.64, None),
        ),
        Series(name="float parent", x=("white", "asian"), y=(0.56, 0.5), low=(0.49, 0.2), high=(0.63, None)),
    ),
    bound=0.6,
    note="asian: no row with label 0 in the release artifact's table",
)
RELIABILITY = Chart(
    title="Reliability diagram",
    kind="points",
    x_label="mean predicted probability",
    y_label="share approved",
    series=(
        Series(
            name="all rows",
            x=(0.08, 0.3, 0.52, 0.71, 0.93),
            y=(0.11, 0.27, 0.55, 0.69, 0.96),
            low=(0.05, 0.19, 0.45, 0.6, 0.91),
            high=(0.2, 0.36, 0.64, 0.77, 0.98),
        ),
    ),
    diagonal=True,
)
SHIFT = Chart(
    title="Distribution of obrat",
    kind="steps",
    x_label="obrat",
    y_label="share of rows",
    series=(
        Series(
            name="training", x=tuple(range(0, 60, 6)), y=(0, 0.02, 0.05, 0.11, 0.3, 0.33, 0.12, 0.05, 0.02, 0)
        ),
        Series(
            name="current", x=tuple(range(0, 60, 6)), y=(0, 0.01, 0.06, 0.1, 0.28, 0.36, 0.1, 0.06, 0.03, 0)
        ),
    ),
)
CURVE = Chart(
    title="Accuracy by share of rows answered",
    kind="lines",
    x_label="share of rows answered",
    y_label="accuracy",
    series=tuple(
        Series(
            name=f"threshold {i}",
            x=tuple(k / 40 for k in range(1, 41)),
            y=tuple(None if k == 20 + i else 0.99 - 0.03 * i - 0.1 * (k / 40) ** 2 for k in range(1, 41)),
            low=tuple(0.98 - 0.03 * i - 0.1 * (k / 40) ** 2 for k in range(1, 41)),
            high=tuple(1.0 - 0.03 * i - 0.1 * (k / 40) ** 2 for k in range(1, 41)),
        )
        for i in range(8)
    ),
    bound=0.8,
)


def budget_check() -> CheckEvidence:
    """Return latency, size and accuracy lost, all within bounds."""
    latency = measured(
        "latency_p99",
        0.184,
        0.161,
        0.21,
        unit="ms",
        n=2_500,
        bound="latency_ms",
        detail="target cpu",
        machine=MACHINE,
        conditions=CONDITIONS,
        method="geometric mean of p99 over 5 fresh processes, 500 runs each; Student's t over the processes",
    )
    size = measured(
        "size", 0.0317, 0.0317, 0.0317, unit="MB", n=1, bound="size_mb", method="bytes of the file"
    )
    drop = measured(
        "accuracy_drop",
        0.00168,
        -0.0041,
        0.0081,
        bound="max_accuracy_drop",
        detail="3 rows right only in float, 2 only in the release artifact",
    )
    bounds = {"latency_ms": ("<=", 5.0), "size_mb": ("<=", 2.0), "max_accuracy_drop": ("<=", 0.01)}
    findings = Findings(
        measurements=(latency, size, drop),
        assumptions={"latency": "batch of one row, one thread, p99, target cpu"},
        not_covered=("energy, peak memory, throughput and cold start",),
    )
    return check(
        "budget", bounds, findings, id="budget[cpu]", parameters={"target": "cpu", "percentile": 99.0}
    )


def fairness_check(race: tuple[float, float, float]) -> CheckEvidence:
    """Return equalized odds by race and sex, with the groups behind them."""
    rates = Table(
        title="Groups by race",
        columns=("group", "n", "share", "selection rate", "false-positive rate", "judged"),
        rows=(
            ("asian", 4, 0.007, 0.75, None, "no"),
            ("black", 66, 0.11, 0.682, 0.333, "yes"),
            ("hispanic", 38, 0.063, 0.763, 0.364, "yes"),
            ("white", 488, 0.819, 0.909, 0.571, "yes"),
        ),
        note="a rate without rows to stand on is empty",
    )
    measurements = (
        measured(
            "equalized_odds_difference",
            *race,
            scope="race",
            bound="max",
            detail="race=black (n=66) against race=white (n=492)",
        ),
        measured(
            "equalized_odds_difference",
            0.031,
            0.004,
            0.086,
            scope="sex",
            bound="max",
            detail="sex=0 (n=112) against sex=1 (n=480)",
        ),
        measured("demographic_parity_difference", 0.227, 0.124, 0.339, scope="race"),
        Measurement(
            metric="equalized_odds_difference",
            value=None,
            unit="",
            n=4,
            interval=None,
            method="",
            grade=Grade.MISSING,
            scope="race*sex",
            detail="hispanic women: 4 rows, no label 0 among them",
        ),
    )
    findings = Findings(
        measurements=measurements,
        tables=(rates,),
        charts=(GAPS,),
        assumptions={"groups": "a missing value is a group of its own, named unknown"},
        not_covered=("causes of the differences",),
    )
    return check(
        "fairness",
        {"max": ("<=", 0.2)},
        findings,
        id="fairness[equalized_odds_difference]",
        parameters={"metric": "equalized_odds_difference", "sensitive": ["race", "sex"]},
        source="tests/test_release_gate.py:12",
    )


def other_checks() -> list[CheckEvidence]:
    """Return five more checks that pass."""
    drift = [
        measured(f"shift_{kind}", v, lo, hi, scope=f"column {c}", bound="max_shift", n=1_989)
        for kind, c, v, lo, hi in (("ks", "obrat", 0.031, 0, 0.071), ("tv", "fixadj", 0.012, 0, 0.053))
    ]
    columns = Table(
        title="Columns",
        columns=("column", "kind", "distance", "missing"),
        rows=(
            ("obrat", "numeric", 0.031, 0),
            ("fixadj", "categories", 0.012, 0),
            ("gdlin", "numeric", 0.04, None),
        ),
    )
    epsilon = measured("epsilon", 2.71, 2.71, 2.71, bound="epsilon", n=1_393, method="PRV accountant",
                       detail="40 epochs, noise 1.1, delta 1e-05")  # fmt: skip
    shifts = Findings(measurements=tuple(drift), tables=(columns,), charts=(SHIFT,))
    return [
        check("drift", {"max_shift": ("<=", 0.1)}, shifts, reused=True),
        check("privacy_epsilon", {"epsilon": ("<=", 3.0)}, Findings(measurements=(epsilon,))),
        check(
            "performance", {"min": (">=", 0.75)}, id="performance[roc_auc]",
            findings=Findings(measurements=(measured("roc_auc", 0.846, 0.803, 0.884, bound="min"),
                                            measured("accuracy", 0.893, 0.865, 0.916)),
                              charts=(RELIABILITY, CURVE)),
        ),
        check(
            "robustness", {"min_stable": (">=", 0.95)},
            Findings(measurements=(measured("stable_share", 0.992, 0.98, 0.997, bound="min_stable"),)),
        ),
        check(
            "data_quality", {"max_leaked_share": ("<=", 0.01), "max_missing_share": ("<=", 0.05)},
            Findings(measurements=(measured("leaked_share", 0.0, 0.0, 0.0062, bound="max_leaked_share"),
                                   measured("missing_share", 0.0251, 0.015, 0.041, scope="column male",
                                            bound="max_missing_share"))),
        ),
    ]  # fmt: skip


@pytest.fixture(scope="session")
def make_check() -> Check:
    """How to make the evidence of one check."""
    return check


@pytest.fixture(scope="session")
def make_measurement() -> Callable[..., Measurement]:
    """How to make one measurement."""
    return measured


@pytest.fixture(scope="session")
def make_run() -> Changed:
    """How to make a run from evidence."""
    return run_of


@pytest.fixture(scope="session")
def released() -> Run:
    """A run of eleven judgements that meets everything, one inconclusive accepted in writing."""
    uncertain = check(
        "robustness", {"min_margin": (">=", 0.1)}, id="robustness[margin]",
        findings=Findings(measurements=(measured("margin", 0.12, 0.08, 0.16, bound="min_margin"),)),
        tolerates={"any": "margin is watched in production until 2027"},
    )  # fmt: skip
    return run_of([budget_check(), fairness_check((0.083, 0.02, 0.171)), *other_checks(), uncertain])


@pytest.fixture(scope="session")
def blocked() -> Run:
    """A run that fails, breaks, does not run, is inconclusive and is waived, each once."""
    slow = measured("latency_p99", None, 0, 0, unit="ms", n=0, bound="latency_ms")
    slow = dataclasses.replace(
        slow, interval=None, grade=Grade.MISSING, detail="no NPU on this machine; an estimate will not do"
    )
    epsilon = Measurement(
        metric="epsilon", value=None, unit="", n=1_393, interval=None, method="PRV accountant",
        bound="epsilon", unbounded=True, detail="the record says noise_multiplier=0",
    )  # fmt: skip
    evidence = [
        budget_check(),
        fairness_check((0.31, 0.236, 0.402)),
        *[c for c in other_checks() if c.check in {"drift", "performance", "data_quality"}],
        check("privacy_epsilon", {"epsilon": ("<=", 3.0)}, Findings(measurements=(epsilon,))),
        check("budget", {"latency_ms": ("<=", 2.0)}, Findings(measurements=(slow,)), id="budget[npu]"),
        check(
            "calibration", {"max_error": ("<=", 0.05)},
            Findings(measurements=(measured("calibration_error", 0.043, 0.021, 0.066, bound="max_error"),)),
        ),
        check(
            "robustness", {"min_stable": (">=", 0.95)}, Findings(measurements=()),
            error="the check itself broke: ValueError: operands could not be broadcast together",
        ),
        check(
            "performance", {"min": (">=", 0.9)}, id="performance[accuracy]",
            findings=Findings(measurements=(measured("accuracy", 0.893, 0.881, 0.896, bound="min"),)),
        ),
    ]  # fmt: skip
    waiver = Waiver(
        requirement="performance[accuracy].min", owner="Ada Holm", approver="Risk committee",
        reason="the bound is for the next model", scope="any", expires="2026-12-31",
    )  # fmt: skip
    return run_of(evidence, waivers=(waiver,), session=Session(tests={TEST: "failed"}))


@pytest.fixture(scope="session")
def empty() -> Run:
    """A run in which nothing was opened, declared or measured."""
    session = Session(tests={}, problems=("tests/test_release_gate.py could not be collected",))
    return run_of(
        [], session=session, candidate=None, baseline=None, release=None, release_file="", variants=(),
        data=(), holdout=None, lock="", description={}, reproduce="",
        environment=Environment(machine={}, packages={}, revision="unknown", dirty=None),
    )  # fmt: skip


HOSTILE = (
    "</script><script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    '" onmouseover="alert(1)',
    "a|b\n\n# heading\n---\n- item",
    "```\n<img src=x onerror=alert(1)>",
    "`code` *bold* __strong__ ~~gone~~ $x$",
    "\x00\x1b[31m\u202eevil\u2066\u200b\ud800",
    "<!-- hidden",
    "&lt;b&gt; https://evil.example www.evil.example @everyone #1",
    "{{ 7 * 7 }} {% raw %}",
    "N" * 10_000,
)


@pytest.fixture(params=HOSTILE, ids=range(len(HOSTILE)))
def hostile_text(request: pytest.FixtureRequest) -> str:
    """A name or message that somebody chose in order to harm a reader."""
    return request.param


@pytest.fixture
def hostile(hostile_text: str, blocked: Run) -> Run:
    """The blocked run with this text in every field that holds text of any origin."""
    return poisoned(blocked, hostile_text)


def poisoned(run: Run, text: str) -> Run:
    """Return the run with every free text in it replaced."""

    def anew(value):
        if dataclasses.is_dataclass(value):
            return poison(value)
        if isinstance(value, tuple):
            return tuple(map(anew, value))
        if isinstance(value, dict):
            return {text: text, **{key: anew(item) for key, item in value.items()}}
        if isinstance(value, list):
            return [text, {text: [text]}]
        return text if type(value) is str else value

    def poison(item):
        kept = {"comparator", "status", "state", "outcome"}
        kept |= {"kind"} if isinstance(item, Chart) else set()
        names = [f.name for f in dataclasses.fields(item) if f.name not in kept]
        changed = {name: anew(getattr(item, name)) for name in names}
        if isinstance(item, Table):
            changed["columns"] = (item.columns[0], *changed["columns"][1:])
        return dataclasses.replace(item, **changed)

    return poison(run)
