"""Faults put into real tables one at a time: what the data-quality check says of each, and of none."""

from __future__ import annotations

import numpy as np
import pytest

from ..benchmarks import data_faults
from ..benchmarks.data_faults import FAULTS
from ..benchmarks.data_quality_policy import ANSWERS, failing

SOURCES = {"mortgage": data_faults.mortgage, "breast cancer": data_faults.breast_cancer}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_the_bound_that_is_about_it(source, fault):
    """Each fault fails a bound that names it, in a split that was not chosen for it."""
    table = SOURCES[source]()
    seed = 4
    hurt = FAULTS[fault](*table.split(seed), table, np.random.default_rng(seed + 1000))
    assert set(failing(table, *hurt, seed)) & ANSWERS[fault]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_clean_tables_fail_nothing(source, seed):
    """No bound fails on a random split of an honest table."""
    table = SOURCES[source]()
    assert failing(table, *table.split(seed), seed) == {}
