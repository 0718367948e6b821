"""The release gate of the loan model: every mark is a requirement on the artifact that would ship."""

from loan_approval.data import BETTER_WHEN_HIGHER, WORSE_WHEN_HIGHER
from pytest_mlgate import budget, data_quality, drift, fairness, performance, privacy_epsilon, robustness


@budget(latency_ms=5, percentile=99, size_mb=0.1, max_accuracy_drop=0.01, target="cpu")
@performance(metric="roc_auc", min=0.75)
@performance(metric="accuracy", max_drop=0.05)
def test_good_enough_and_cheap_enough(mlgate):
    """It ranks applications well, answers in time, and is not much worse than the champion."""
    assert mlgate.release.identity.digest.startswith("sha256:")


@fairness
@privacy_epsilon
def test_fair_and_private(mlgate):
    """Both fairness requirements and the privacy claim of the policy hold on what ships."""
    race = [m for m in mlgate.evidence("fairness").measurements if m.scope == "race"]
    assert race, "fairness over race must have been measured"


@drift(max_shift=0.15, max_label_shift=0.10, max_prediction_shift=0.15)
@data_quality(max_failed_conditions=0, max_leaked_share=0.02, max_missing_share=0, max_extreme_share=0)
def test_data_is_what_it_was(mlgate):
    """The rows judged on resemble those trained on, and neither table is broken."""


@robustness(
    increasing=BETTER_WHEN_HIGHER,
    decreasing=WORSE_WHEN_HIGHER,
    tolerance=0.01,
    max_violation_rate=0.001,
)
def test_worse_finances_never_help(mlgate):
    """More debt or a worse record never raises the chance of approval, nor the reverse."""
