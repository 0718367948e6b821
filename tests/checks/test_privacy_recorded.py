"""The privacy check on recorded trainings: honest ones pass, and each lie is named."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from mlgate_checks.privacy_epsilon import BUNDLE, privacy_epsilon
from pytest_mlgate.candidate.model import BlackBox
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Findings, Grade, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.privacy.accounting import Part, cost
from pytest_mlgate.privacy.record import Account, Law, Sampler, sealed, verify
from pytest_mlgate.privacy.recorder import PrivacyRecorder
from pytest_mlgate.subject import Subject

ROWS, RATE, STEPS, NOISE, DELTA = 1_000, 0.064, 120, 2.0, 1e-4
BATCH = 64
WIDTH = 700
TABLE = pd.DataFrame(
    {"x": np.arange(ROWS) / ROWS, "label": [0, 1] * (ROWS // 2), "who": np.arange(ROWS) // 2}
)


def batches(law: str, steps: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Batches as they are really drawn, by law."""
    if law == "poisson":
        return [np.flatnonzero(rng.random(ROWS) < RATE) for _ in range(steps)]
    if law == "shuffled":
        epochs = -(-steps // (ROWS // BATCH))
        drawn = [rng.permutation(ROWS)[: ROWS // BATCH * BATCH].reshape(-1, BATCH) for _ in range(epochs)]
        return list(np.concatenate(drawn)[:steps])
    if law == "fixed_size":
        return [rng.permutation(ROWS)[:BATCH] for _ in range(steps)]
    weights = np.linspace(1, 9, ROWS)
    return [rng.choice(ROWS, BATCH, p=weights / weights.sum()) for _ in range(steps)]


def training(
    drawn: str = "poisson",
    stated: Law | None = None,
    *,
    steps: int = STEPS,
    scale: float = 1.0,
    accumulate: int = 1,
    noise: float = NOISE,
    seed: int = 0,
    look: bool = True,
    width: int = WIDTH,
    **account: Any,
) -> dict[str, Any]:
    """The record of a simulated training; what differs from what is stated is a lie."""
    rng = np.random.default_rng(seed)
    law = stated or drawn
    recorder = PrivacyRecorder(table=TABLE, delta=DELTA, seed=seed)
    sampler = Sampler(
        law=law, kind="simulated", rate=RATE if law == "poisson" else None, recognised=stated is None
    )
    recorder.begin(sampler, mechanism="simulated")
    for number, _ in enumerate(recorder.watch(batches(drawn, steps * accumulate, rng)), start=1):
        if number % accumulate == 0:
            seen = [scale * rng.normal(size=width)] if look else None
            recorder.step(noise_multiplier=noise, max_grad_norm=1.0, noise=seen)
    raw = recorder.record()
    return with_account(raw, **account) if account else raw


def with_account(raw: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The same training with what its own accountant counted: honestly, except for the changes."""
    read = verify(raw)
    history = ((NOISE, RATE, len(read.steps)),)
    fields = {"mechanism": "prv", "history": history, "epsilon": None, "delta": DELTA} | changes
    ending = msgspec.structs.replace(read.ending, account=Account(**fields))
    header = msgspec.structs.replace(read.header, delta=fields["delta"])
    return sealed(header, read.steps, ending)


def check(
    raw: Any, epsilon: float = 10.0, delta: float = DELTA, table: Any = TABLE, person: str | None = None
) -> Findings:
    model = BlackBox(function=lambda m: m[:, 0], name="model", features=("x",), digest="sha256:1")
    subject = Subject(
        release=model,
        parent=model,
        baseline=None,
        data=Dataset(test=TABLE[:50], label="label", features=("x",), train=table),
        training_record=raw,
        levels=levels_for(0.05, 1),
        seed=0,
    )
    return privacy_epsilon.function(subject, epsilon, delta=delta, person=person)


def verdict(findings: Findings, bound: float) -> Verdict:
    requirement = Requirement(
        id="e", check="privacy_epsilon", parameter="epsilon", comparator="<=", bound=bound, source="test"
    )
    return judge([requirement], findings.measurements)[0].verdict


def told(findings: Findings) -> str:
    return findings.measurements[0].detail


@functools.cache
def truth() -> float:
    """Epsilon of the honest training."""
    return cost([Part(NOISE, STEPS, RATE)], DELTA).epsilon


def test_an_honest_recorded_training_passes():
    """What the recorder saw is measured; the figure is dp-accounting's; no lie is named."""
    found = check(training(epsilon=truth()))
    epsilon, by_rdp, claimed = found.measurements
    assert epsilon.value == pytest.approx(truth(), abs=1e-9)
    assert epsilon.grade is Grade.MEASURED
    assert by_rdp.value > epsilon.value
    assert (claimed.metric, claimed.grade, claimed.bound) == ("epsilon_claimed", Grade.DECLARED, None)
    assert told(found) == "poisson sampling, noise multiplier 2, delta 0.0001"
    assert verdict(found, 2.0) is Verdict.PASS
    assert verdict(found, 1.0) is Verdict.FAIL
    assert [t.title for t in found.tables] == [
        "Epsilon: claimed, recomputed, audited",
        "What the training did",
        "Tests of the mechanism",
    ]
    assert [c.title[:7] for c in found.charts] == ["Epsilon", "Noise t"]


def test_honest_trainings_are_not_flagged():
    """Of 200 honest trainings with recorded noise, batches and participation, none is refused or named."""
    from mlgate_checks._privacy_claims import claims_refuted
    from mlgate_checks._privacy_run import read_run

    flagged = 0
    for seed in range(200):
        raw = training(seed=seed, steps=40, width=300, epsilon=None)
        try:
            flagged += bool(claims_refuted(read_run(raw, DELTA, ROWS, "")))
        except CheckError:
            flagged += 1
    assert flagged <= 1


def test_delta_easier_than_required_is_named():
    """A claim at delta 1e-3 is smaller than the same training's epsilon at the required 1e-4."""
    easy = cost([Part(NOISE, STEPS, RATE)], 9e-4).epsilon
    found = check(training(epsilon=easy, delta=9e-4))
    assert found.measurements[0].value == pytest.approx(truth(), abs=1e-9)
    assert "at delta 0.0009, which is easier than the required 0.0001" in told(found)
    found = check(training(epsilon=easy, delta=1e-2))
    assert "its delta 0.01 is not below 1/dataset_size = 0.001" in told(found)


def test_steps_that_were_not_counted_are_named():
    """An accountant that counted a quarter of the steps is contradicted by the steps."""
    lie = cost([Part(NOISE, STEPS // 4, RATE)], DELTA).epsilon
    found = check(training(history=((NOISE, RATE, STEPS // 4),), epsilon=lie), epsilon=lie * 1.05)
    assert "its accountant counted 30 of 120 steps" in told(found)
    assert f"claims epsilon {lie:.4g}" in told(found)
    assert verdict(found, lie * 1.05) is Verdict.FAIL


def test_accumulation_that_was_not_accounted_is_named():
    """Four batches in each step cost more than four times the rate, and the claim is a third of it."""
    lie = cost([Part(NOISE, 40, RATE)], DELTA).epsilon
    found = check(training(steps=40, accumulate=4, history=((NOISE, RATE, 40),), epsilon=lie))
    assert "4 batches were accumulated in each step, and its accountant counted 1" in told(found)
    assert found.measurements[0].value >= cost([Part(NOISE, 40, 4 * RATE)], DELTA).epsilon > 2 * lie
    assert verdict(found, lie * 1.05) is Verdict.FAIL


def test_shuffled_batches_accounted_as_poisson_are_named():
    """A loader that shuffles gets the bound for shuffling, whatever its accountant took it for."""
    found = check(training("shuffled", epsilon=truth()))
    exact = cost([Part(NOISE, 8)], DELTA).epsilon
    assert found.measurements[0].value == pytest.approx(exact, abs=1e-9)
    assert exact > 3 * truth()
    assert "its batches were shuffled, and its accountant took them for Poisson samples" in told(found)
    assert "only independent sampling is known to amplify" in found.assumptions["sampling"]
    assert verdict(found, truth() * 1.05) is Verdict.FAIL


@pytest.mark.parametrize(
    ("drawn", "message"),
    [
        ("shuffled", r"are exactly 64.*Batches of fixed size come from shuffling"),
        ("weighted", "are exactly 64"),
    ],
)
def test_a_law_that_the_batches_refute_is_named(drawn: str, message: str):
    """A loop that states Poisson sampling is refuted by its batch sizes."""
    with pytest.raises(CheckError, match=message):
        check(training(drawn, "poisson"))


def test_poisson_sizes_do_not_hide_who_took_part():
    """Batches of Poisson sizes filled in turns, or by weight, are refuted by the participations."""
    from mlgate_checks._privacy_law import require_independent_uses

    rng = np.random.default_rng(0)
    require_independent_uses(tuple(_uses(rng.binomial(STEPS, RATE, ROWS))), STEPS, RATE, "poisson")
    with pytest.raises(CheckError, match="rows took turns"):
        require_independent_uses(((7, 320), (8, 680)), STEPS, RATE, "poisson")
    weighted = rng.binomial(STEPS, RATE * np.linspace(0.2, 1.8, ROWS))
    with pytest.raises(CheckError, match="some rows were drawn more often"):
        require_independent_uses(tuple(_uses(weighted)), STEPS, RATE, "poisson")


def test_the_law_of_participation_is_kept_by_honest_sampling():
    """The tails of the spread are no heavier than stated: of 4,000 honest trainings, few below 1e-3."""
    from mlgate_checks._privacy_law import _spread

    rng = np.random.default_rng(1)
    small = 0
    for _ in range(4_000):
        low, high, _ = _spread(tuple(_uses(rng.binomial(20, 0.05, 200))), 20, 0.05)
        small += min(low, high) < 5e-4
    assert small < 20


def _uses(counts: np.ndarray) -> list[tuple[int, int]]:
    values, rows = np.unique(counts, return_counts=True)
    return [(int(v), int(r)) for v, r in zip(values, rows, strict=True)]


def test_a_weighted_sampler_gets_no_epsilon():
    """Rows drawn with unequal probability have no bound here, and the way out is named."""
    with pytest.raises(CheckError, match=r"unequal probabilities.*Train with Poisson sampling"):
        check(training("weighted", epsilon=truth()))


def test_a_table_counted_twice_is_named():
    """A rate that takes the table for twice as large is contradicted by the loader's own."""
    lie = cost([Part(NOISE, STEPS, RATE / 2)], DELTA).epsilon
    found = check(training(history=((NOISE, RATE / 2, STEPS),), epsilon=lie))
    assert "as if the table had 2 times its 1,000 rows" in told(found)
    assert f"claims epsilon {lie:.4g}" in told(found)
    assert verdict(found, lie * 1.05) is Verdict.FAIL


@pytest.mark.parametrize("scale", [0.95, 0.97])
def test_noise_below_the_declared_scale_is_named(scale: float):
    """84,000 values of noise show that a twentieth, or 3%, of it is missing."""
    with pytest.raises(CheckError, match=r"has 0\.9\d* times the declared standard deviation"):
        check(training(scale=scale))


def test_noise_that_nobody_looked_at_is_only_declared():
    """Without the noise itself, its multiplier is the loop's word."""
    found = check(training(look=False))
    assert found.measurements[0].grade is Grade.DECLARED
    assert "nobody looked at the noise of 120 of 120 steps" in told(found)
    assert verdict(found, 10.0) is Verdict.NOT_RUN


def test_fixed_size_batches_have_a_bound_of_their_own():
    """Fresh subsets get the smaller of two valid bounds, and neither is that of Poisson sampling."""
    found = check(training("fixed_size"))
    assert found.measurements[0].value > truth()
    assert found.measurements[0].value <= cost([Part(NOISE, 22)], DELTA).epsilon


def test_a_record_of_another_table_is_refused():
    """The digest binds the record to the rows it was made on, and their number."""
    other = TABLE.assign(x=TABLE["x"] + 1e-9)
    with pytest.raises(CheckError, match="give the recorder and the gate the same training table"):
        check(training(), table=other)
    with pytest.raises(CheckError, match="dataset_size is 1000, and the training table has 500 rows"):
        check(training(), table=TABLE[:500])


def test_no_noise_has_no_epsilon():
    """Steps without noise, or without clipping, have an infinite epsilon."""
    found = check(training(noise=0.0, look=False))
    assert found.measurements[0].unbounded
    assert found.measurements[0].value is None
    assert verdict(found, 1e9) is Verdict.FAIL


@pytest.mark.parametrize("delta", [1e-3, 1.0, 0.0])
def test_a_delta_that_publishes_rows_is_refused(delta: float):
    """Delta of 1/n and above allows publishing a row outright."""
    with pytest.raises(CheckError, match=r"below 1/dataset_size = 0\.001"):
        check(training(), delta=delta)


def test_a_person_with_two_rows_costs_more_than_twice_a_row():
    """Epsilon of a person is that of the mixture of both rows, and says whose it is."""
    found = check(training(), person="who")
    assert found.measurements[0].value == pytest.approx(cost([Part(NOISE, STEPS, RATE, 2)], DELTA).epsilon)
    assert found.measurements[0].value > 2 * truth()
    assert "of a person, who has up to 2 rows" in told(found)
    assert "one person of column 'who'" in found.assumptions["neighbouring data sets"]


def test_a_person_column_must_be_there_and_whole():
    """A column that is missing, or empty in places, is an error."""
    with pytest.raises(CheckError, match="person='nobody' is no column"):
        check(training(), person="nobody")
    holes = TABLE.assign(who=TABLE["who"].where(TABLE["who"] > 3))
    raw = training()
    raw = sealed(
        msgspec.structs.replace(verify(raw).header, dataset_digest=None),
        verify(raw).steps,
        verify(raw).ending,
    )
    with pytest.raises(CheckError, match="is empty in 8 rows"):
        check(raw, table=holes, person="who")


def test_trials_are_added_up():
    """The epsilon of the winning run is not the cost of finding it."""
    runs = [training(seed=seed) for seed in range(3)]
    found = check({"schema": BUNDLE, "released": runs[0], "others": runs[1:]})
    expected = cost([Part(NOISE, 3 * STEPS, RATE)], DELTA).epsilon
    assert found.measurements[0].value == pytest.approx(expected, abs=1e-9)
    assert "3 trainings on the same rows added up" in told(found)
    assert found.tables[-1].title == "All trainings on these rows"
    with pytest.raises(CheckError, match="is there twice"):
        check({"schema": BUNDLE, "released": runs[0], "others": [runs[0]]})
    endless = training(noise=0.0, look=False)
    assert check({"schema": BUNDLE, "released": runs[0], "others": [endless]}).measurements[0].unbounded


@pytest.mark.parametrize("others", [None, 3, [3], {}])
def test_a_bundle_that_is_none_is_refused(others: Any):
    """What is no list of records is an error."""
    with pytest.raises(CheckError, match="training records"):
        check({"schema": BUNDLE, "released": training(), "others": others})
