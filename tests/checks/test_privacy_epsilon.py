"""The privacy check: epsilon recomputed from a training record that may be wrong in every field."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_ndtr, ndtr

from mlgate_checks._training_record import TrainingRecord, most_passes, read_record, require_consistent
from mlgate_checks.privacy_epsilon import privacy_epsilon
from pytest_mlgate.candidate.model import BlackBox
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError
from pytest_mlgate.evidence import Findings, Grade, Interval, Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.subject import Subject


def record(
    n: int = 1_000, rate: float = 0.064, steps: int = 320, seed: int = 0, **changes: Any
) -> dict[str, Any]:
    """An honest record of Poisson-sampled training, as JSON would give it."""
    sizes = np.random.default_rng(seed).binomial(n, rate, steps).tolist()
    content: dict[str, Any] = {
        "schema": "https://pytest-mlgate.dev/training-record/v1",
        "sampling": "poisson",
        "sampling_rate": rate,
        "batch_sizes": sizes,
        "steps": steps,
        "noise_multiplier": 2.0,
        "max_grad_norm": 1.0,
        "dataset_size": n,
        "dataset_sha256": "0" * 64,
        "delta": 1e-4,
        "neighboring_relation": "add_or_remove_one",
        "seed": None,
        "libraries": {"torch": "2.13.0"},
        "recorded_at": "2026-01-01T00:00:00+00:00",
    }
    return content | changes


def shuffled(
    n: int = 1_000, batch: int = 64, epochs: int = 20, drop_last: bool = False, **more: Any
) -> dict[str, Any]:
    """A record of training on a table that was shuffled before each of the epochs."""
    sizes = [batch] * (n // batch) + ([] if drop_last or not n % batch else [n % batch])
    return record(n) | {
        "sampling": "shuffled",
        "batch_sizes": sizes * epochs,
        "steps": len(sizes) * epochs,
        "noise_multiplier": 1.0,
        **more,
    }


def check(
    training_record: Any, epsilon: float | None = 10.0, delta: float = 1e-4, train_rows: int | None = None
) -> Findings:
    model = BlackBox(function=lambda m: m[:, 0], name="model", features=("x",), digest="sha256:1")
    frame = pd.DataFrame({"x": [0.1, 0.9], "label": [0, 1]})
    train = None if train_rows is None else pd.concat([frame] * (train_rows // 2), ignore_index=True)
    subject = Subject(
        release=model,
        parent=model,
        baseline=None,
        data=Dataset(test=frame, label="label", train=train),
        training_record=training_record,
        levels=levels_for(0.05, 1),
        seed=0,
    )
    return privacy_epsilon.function(subject, epsilon, delta=delta)


def verdict(findings: Findings, bound: float, *accepts: Grade) -> Verdict:
    """The verdict where the policy accepts these grades: by default, stated records too."""
    requirement = Requirement(
        id="e",
        check="privacy_epsilon",
        parameter="epsilon",
        comparator="<=",
        bound=bound,
        source="test",
        accepts=accepts or (Grade.MEASURED, Grade.DECLARED),
    )
    (judgement,) = judge([requirement], findings.measurements)
    return judgement.verdict


def gaussian_epsilon(sigma: float, delta: float) -> float:
    """The exact epsilon of one Gaussian mechanism (Balle and Wang 2018, ICML, theorem 8)."""
    low, high = 0.0, 500.0
    for _ in range(200):
        epsilon = (low + high) / 2
        first = float(ndtr(1 / (2 * sigma) - epsilon * sigma))
        second = math.exp(epsilon + float(log_ndtr(-1 / (2 * sigma) - epsilon * sigma)))
        low, high = (epsilon, high) if first - second > delta else (low, epsilon)
    return high


def test_a_long_poisson_training_costs_what_the_accountants_agree_on():
    """60 epochs with rate 256/60000 and noise 1.1 cost epsilon 2.38 by PLD and 2.597 by RDP at 1e-5."""
    long = record(60_000, 256 / 60_000, 14_062, noise_multiplier=1.1, delta=1e-5)
    found = check(long, 3.0, delta=1e-5)
    epsilon, by_rdp = found.measurements
    assert epsilon.value is not None
    assert epsilon.grade is Grade.DECLARED
    assert 2.380 < epsilon.value < 2.391
    assert by_rdp.value == pytest.approx(2.597, abs=0.001)
    assert (epsilon.bound, by_rdp.bound) == ("epsilon", None)
    assert epsilon.n == 60_000
    assert epsilon.interval == Interval(low=epsilon.value, high=epsilon.value, confidence=1.0)
    assert verdict(found, 3.0) is Verdict.PASS
    assert verdict(found, 2.3) is Verdict.FAIL


def test_a_short_poisson_training_costs_what_the_accountants_agree_on():
    """20 epochs (312 steps) of batches of 64 of 1,000 rows with noise 1 cost epsilon 6.63 at 1e-4."""
    found = check(record(steps=312, noise_multiplier=1.0))
    assert found.measurements[0].value == pytest.approx(6.632, abs=0.005)


def test_shuffled_batches_are_accounted_without_amplification():
    """The same training with shuffled batches costs 25.9: 20 passes of the plain Gaussian mechanism."""
    found = check(shuffled())
    value = found.measurements[0].value
    assert value == pytest.approx(gaussian_epsilon(1 / math.sqrt(20), 1e-4), rel=1e-3)
    assert value == pytest.approx(25.9, abs=0.05)
    assert found.assumptions is not None
    assert "only independent sampling is known to amplify" in found.assumptions["sampling"]
    assert "20 passes accounted without amplification" in found.measurements[0].detail
    assert verdict(found, 10.0) is Verdict.FAIL
    assert verdict(found, 30.0) is Verdict.PASS


def test_the_figure_never_undercuts_the_exact_epsilon():
    """For plain Gaussian mechanisms the figure is an upper bound, at most 0.1% above the exact value."""
    for noise in (0.7, 2.0, 10.0):
        found = check(shuffled(epochs=7, noise_multiplier=noise))
        exact = gaussian_epsilon(noise / math.sqrt(7), 1e-4)
        value = found.measurements[0].value
        assert value is not None
        assert exact <= value <= exact * 1.001


@pytest.mark.parametrize(
    ("sizes", "n", "passes"),
    [
        ([64] * 15 + [40], 1_000, 1),
        (([64] * 15 + [40]) * 20, 1_000, 20),
        ([64] * 15 * 20, 1_000, 20),
        ([64] * 20, 100, 20),
        ([50, 50, 50], 100, 2),
        ([10], 100, 1),
        ([100] * 3, 100, 3),
    ],
)
def test_one_row_is_in_at_most_one_batch_of_each_pass(sizes: list[int], n: int, passes: int):
    """Passes are counted from the batches, with and without a dropped last batch."""
    content = record(n) | {"sampling": "shuffled", "batch_sizes": sizes, "steps": len(sizes)}
    assert most_passes(read_record(content)) == passes


def test_without_sampling_every_step_counts():
    """Noise without any sampling is composed over all steps."""
    found = check(record(steps=9, sampling="none", batch_sizes=[1_000] * 9, noise_multiplier=1.0))
    assert found.measurements[0].value == pytest.approx(gaussian_epsilon(1 / 3, 1e-4), rel=1e-3)


@pytest.mark.parametrize("sampling", ["poisson", "shuffled", "none"])
def test_without_noise_epsilon_is_infinite(sampling: str):
    """A training without noise has no finite epsilon, which exceeds every bound."""
    content = record(noise_multiplier=0.0, sampling=sampling)
    found = check(content)
    (only,) = found.measurements
    assert (only.value, only.unbounded, only.n) == (None, True, 1_000)
    assert only.detail == "no noise was added: epsilon is infinite"
    assert verdict(found, 1e9) is Verdict.FAIL


def test_without_clipping_epsilon_is_infinite():
    """Noise hides nothing of gradients that were not clipped."""
    found = check(record(max_grad_norm=None))
    assert found.measurements[0].unbounded
    assert "no gradient was clipped" in found.measurements[0].detail


def test_so_little_noise_that_no_grid_holds_it_still_has_an_upper_bound():
    """Where the privacy loss is too spread for the PLD accountant, the RDP bound stands, and fails."""
    found = check(record(noise_multiplier=0.02))
    assert "RDP accountant" in found.measurements[0].method
    assert verdict(found, 100.0) is Verdict.FAIL


def test_a_grid_too_coarse_for_many_small_steps_is_refined():
    """A million steps of tiny effect are accounted on a finer grid, below the RDP bound."""
    content = record(100_000, 1e-4, 1_000_000, noise_multiplier=5.0, delta=1e-6)
    epsilon, by_rdp = check(content, 1.0, delta=1e-6).measurements
    assert epsilon.method.endswith("grid 1e-05")
    assert epsilon.value is not None
    assert by_rdp.value is not None
    assert epsilon.value < by_rdp.value < 0.1


def test_no_record_is_not_run_and_the_way_to_give_one_named():
    """Without a record there is no value, and the message says how to give one."""
    found = check(None)
    assert found.measurements[0].grade is Grade.MISSING
    assert "mlgate_training_record" in found.measurements[0].detail
    assert "training_record in the policy" in found.measurements[0].detail
    assert verdict(found, 10.0) is Verdict.NOT_RUN


def test_epsilon_is_that_of_the_requirements_delta():
    """A record made for another delta is recomputed at the one required, and says so."""
    at_record, at_required = check(record()), check(record(), delta=1e-6)
    assert at_required.measurements[0].value > at_record.measurements[0].value
    assert "the record states 0.0001" in at_required.measurements[0].detail


def test_a_claimed_epsilon_is_not_believed():
    """A claim below the recomputed figure is contradicted in the detail and changes nothing else."""
    lie = check(record(epsilon=1.14))
    assert lie.measurements[0].value == check(record()).measurements[0].value
    assert "claims epsilon 1.14 at delta 0.0001, and its own figures give 2.22" in lie.measurements[0].detail
    assert "claims" not in check(record(epsilon=50.0)).measurements[0].detail


@pytest.mark.parametrize("rows", [1_000, None])
def test_the_training_table_is_counted(rows: int | None):
    """A record of as many rows as the training table has is accepted; without a table that is said."""
    found = check(record(), train_rows=rows)
    assert verdict(found, 10.0) is Verdict.PASS
    assert any("no training table was given" in text for text in found.not_covered) == (rows is None)


def test_a_record_of_another_table_is_refused():
    """A dataset_size that is not the number of training rows is a contradiction."""
    with pytest.raises(CheckError, match="dataset_size is 1000, and the training table has 500 rows"):
        check(record(), train_rows=500)


@pytest.mark.parametrize("delta", [1e-3, 0.5, 0.0, -1e-5])
def test_a_delta_that_allows_publishing_a_row_is_refused(delta: float):
    """Delta must be above 0 and below one over the number of training rows."""
    with pytest.raises(CheckError, match=r"below 1/dataset_size = 0\.001"):
        check(record(), delta=delta)


@pytest.mark.parametrize("field", [f for f in record() if f != "epsilon"])
def test_a_missing_field_is_named(field: str):
    """Every field of the record is needed."""
    content = record()
    del content[field]
    with pytest.raises(CheckError, match=f"missing required field `{field}`"):
        check(content)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", "https://pytest-mlgate.dev/training-record/v3"),
        ("sampling", "weighted"),
        ("sampling_rate", 1.5),
        ("sampling_rate", math.nan),
        ("sampling_rate", "0.064"),
        ("sampling_rate", 0.0),
        ("batch_sizes", [64, -1]),
        ("batch_sizes", [64.5] * 320),
        ("batch_sizes", [1_001] * 320),
        ("steps", 0),
        ("steps", 319),
        ("steps", True),
        ("noise_multiplier", -1.0),
        ("noise_multiplier", math.nan),
        ("noise_multiplier", math.inf),
        ("noise_multiplier", 1e-9),
        ("max_grad_norm", 0.0),
        ("max_grad_norm", math.nan),
        ("dataset_size", 0),
        ("delta", 1.0),
        ("delta", math.nan),
        ("neighboring_relation", "replace_one"),
        ("epsilon", -1.0),
        ("epsilon", math.nan),
        ("libraries", None),
        ("surprise", 1),
    ],
)
def test_an_unusable_field_is_refused_by_name(field: str, value: Any):
    """A field of the wrong type or range, or an unknown one, is refused with its name."""
    with pytest.raises(CheckError, match=field):
        check(record() | {field: value})


def test_whole_numbers_are_numbers():
    """JSON writes 1.0 as 1 in some languages; both are the same noise."""
    assert check(record(noise_multiplier=2)) == check(record(noise_multiplier=2.0))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (record(batch_sizes=[64] * 320), "320 of 320 batch_sizes are exactly 64"),
        (record(steps=16, batch_sizes=[64] * 15 + [40]), "15 of 16 batch_sizes are exactly 64"),
        (record(batch_sizes=record(rate=0.128)["batch_sizes"]), "on average, not 64"),
        (record(sampling_rate=0.05), "on average, not 50"),
        (record(batch_sizes=[400, 0, *record()["batch_sizes"][:-2]]), "out of its reach"),
    ],
)
def test_batch_sizes_that_are_not_poisson_are_refused(content: dict[str, Any], message: str):
    """Fixed batches, another rate, or a batch out of reach contradict Poisson sampling."""
    with pytest.raises(CheckError, match=message):
        check(content)


@pytest.mark.parametrize(
    ("n", "rate", "steps"),
    [(1_000, 0.064, 320), (50, 0.01, 40), (50, 0.9, 40), (300, 1.0, 10), (10_000, 1e-4, 500)],
)
def test_honest_poisson_records_are_never_refused(n: int, rate: float, steps: int):
    """Batch sizes drawn as stated are accepted with each of 20 seeds."""
    for seed in range(20):
        content = record(n, rate, steps, seed=seed)
        require_consistent(read_record(content), 1e-6, n)


def test_every_documented_field_is_read():
    """The record's fields are those of the format, and only the claimed epsilon may be left out."""
    assert set(TrainingRecord.__struct_fields__) == {*record(), "epsilon"}


def test_the_accountants_are_quiet(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture):
    """Nothing reaches the terminal or the log, and the log level is as it was."""
    level = logging.getLogger("absl").level
    check(record())
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert logging.getLogger("absl").level == level


def test_stated_figures_never_pass_by_themselves():
    """A record that no recorder made is `declared`, and needs a policy that accepts that."""
    found = check(record(), 10.0)
    assert found.measurements[0].grade is Grade.DECLARED
    assert verdict(found, 10.0, Grade.MEASURED) is Verdict.NOT_RUN
    assert "attach a PrivacyRecorder" in found.measurements[0].detail
    assert verdict(found, 10.0) is Verdict.PASS
