"""One policy for all tables of the benchmark of data faults, and which of its bounds answers which fault."""

from __future__ import annotations

from mlgate_checks.data_quality import data_quality
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.evidence import Requirement, Verdict
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import levels_for
from pytest_mlgate.subject import Subject

POLICY = {
    "max_duplicate_share": 0.01,
    "max_leaked_share": 0.01,
    "max_near_duplicate_share": 0.01,
    "max_conflicting_share": 0.01,
    "max_missing_change": 0.02,
    "max_extreme_share": 0,
    "max_sentinel_share": 0,
    "max_unit_change_share": 0,
    "max_mixed_type_share": 0,
    "max_unseen_share": 0.002,
    "max_misspelt_share": 0,
    "max_dominant_share": 0.99,
    "max_constant_columns": 0,
    "max_swapped_columns": 0,
    "max_predictive_power": 0.85,
    "max_order_power": 0.2,
    "max_time_overlap_share": 0,
    "max_label_disagreement_change": 0.01,
    "min_label_signal": 0.65,
    "min_class_share": 0.02,
}
_LABELS = {"max_label_disagreement_change", "min_label_signal"}
ANSWERS = {
    "leakage column": {"max_predictive_power"},
    "duplicates across the split": {"max_leaked_share"},
    "near duplicates": {"max_near_duplicate_share"},
    "10% labels flipped": _LABELS,
    "20% labels flipped": _LABELS,
    "20% labels flipped in train": _LABELS,
    "missingness spike": {"max_missing_change"},
    "typo category": {"max_misspelt_share", "max_unseen_share"},
    "unseen category": {"max_unseen_share"},
    "unit change, 2% of a column": {"max_unit_change_share", "max_extreme_share"},
    "unit change, a whole column": {"max_unit_change_share"},
    "constant column": {"max_constant_columns"},
    "swapped columns": {"max_swapped_columns"},
    "shuffled labels": _LABELS,
    "time leakage": {"max_time_overlap_share"},
}


def failing(source, train, test, seed):
    """Return the bounds of the policy that fail, each with its first message."""
    features = [c for c in train.columns if c not in (source.label, "day")]
    positive = sorted(source.rows[source.label].unique())[-1]
    data = Dataset(test=test, train=train, label=source.label, features=features, positive=positive)
    subject = Subject(None, None, None, data, None, levels_for(0.05, len(POLICY)), seed)
    found = data_quality.function(subject, **POLICY, time=("day",))
    messages = {}
    for parameter, bound in POLICY.items():
        requirement = Requirement(
            id=parameter,
            check="data_quality",
            parameter=parameter,
            comparator=data_quality.bounds[parameter],
            bound=bound,
            source="benchmark",
        )
        for judgement in judge([requirement], found.measurements):
            if judgement.verdict is Verdict.FAIL:
                messages.setdefault(parameter, judgement.message)
    return messages
