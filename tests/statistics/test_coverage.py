"""Every interval that a verdict rests on misses the truth at most about as often as it states.

A part of the grid that `python -m tests.statistics.coverage` prints in full.
"""

from itertools import islice

import pytest

from pytest_mlgate import statistics as ours

from . import coverage, rivals

LEAST_COVERAGE = 0.94
MOST_ABOVE_STATED = 0.01


def of_rows(cells, *sizes):
    """Return the cells with these numbers of rows."""
    return [c for c in cells if any(c.where.startswith(f"n={n},") for n in sizes)]


def holds(cells, noise=0.0):
    """Return the cells that fall short, allowing for what a simulation may be off by chance."""
    return [
        c
        for c in cells
        if c.worst > MOST_ABOVE_STATED + noise
        or (c.tail == coverage.LEVELS[0] and c.coverage < LEAST_COVERAGE - noise)
    ]


def test_a_proportion_never_misses_more_often_than_stated():
    """In all cells of the grid the exact interval misses at most as often as stated at either end."""
    assert [c for c in coverage.proportion() if c.worst > 1e-9] == []


@pytest.mark.parametrize("family", [coverage.difference, coverage.ratio])
def test_two_samples_are_covered(family, monkeypatch):
    """Differences and ratios are covered at 300 rows, in halves and with a group of 6 rows."""
    monkeypatch.setattr(coverage, "SIZES", (300,))
    assert holds(family()) == []


def test_paired_differences_are_covered(monkeypatch):
    """Paired differences are covered down to disagreements of 2 rows in 1,000."""
    monkeypatch.setattr(coverage, "SIZES", (300, 1000, 2000))
    assert holds(coverage.paired()) == []


def test_the_measure_sees_an_interval_that_is_too_narrow(monkeypatch):
    """The intervals that were replaced fall short in the same cells, so the test above can fail."""
    monkeypatch.setattr(coverage, "SIZES", (300,))
    assert holds(coverage.difference(rivals.newcombe))
    assert holds(coverage.ratio(rivals.mover_ratio))
    assert holds(coverage.paired(rivals.bonett_price))
    assert holds(coverage.proportion(ours.wilson))


def test_a_quantile_never_misses_more_often_than_stated():
    """In all cells of the grid the ends from order statistics miss at most as often as stated."""
    assert [c for c in coverage.quantile() if c.worst > 1e-9] == []


def test_areas_under_the_curve_are_covered():
    """With 6 to 150 rows of the positive class, neither end of an area's interval misses too often."""
    assert holds(coverage.auc((300,), lambda _: 400), noise=0.02) == []


def test_differences_of_areas_are_covered(monkeypatch):
    """Two models on the same rows: neither end of the difference's interval misses too often."""
    monkeypatch.setattr(coverage, "AREAS", (0.6, 0.95))
    assert holds(coverage.auc_difference((300,), lambda _: 250), noise=0.02) == []


def test_means_of_moderately_skewed_rows_are_covered():
    """Means of normal, folded normal and exponential rows are covered at 300 rows."""
    cells = [c for c in coverage.mean(sizes=(300,), runs=lambda _: 3000) if "lognormal" not in c.where]
    assert holds(cells, noise=0.008) == []


def test_correcting_for_skewness_cuts_what_a_small_group_misses():
    """For 6 or 20 exponential rows against the rest, the corrected interval misses far less than Welch's."""
    missed = {}
    for method in (ours.welch_interval, rivals.welch):
        cells = coverage.mean_difference(method, (1000,), lambda _: 1500)
        missed[method] = next(c.below for c in cells if "20 against" in c.where and "expon" in c.where)
    assert missed[ours.welch_interval] < 0.6 * missed[rivals.welch]
    assert missed[ours.welch_interval] < 0.05


def test_the_grid_is_walked_right():
    """The walk along the frontier finds the same miss rates as looking at every pair of counts."""
    n1, n2, p1, p2 = 12, 30, 0.3, 0.2
    tails = coverage.both(0.025)

    def ends(x, y):
        return ours.difference_interval(x, n1, y, n2, tails)

    outer = range(n2 + 1)
    weights = coverage.stats.binom.pmf(list(outer), n2, p2)
    walked = coverage.exact(ends, p1 - p2, outer, weights, lambda _: (n1, p1))
    all_pairs = [0.0, 0.0]
    for x in range(n1 + 1):
        for y in outer:
            for side, missed in enumerate(coverage.misses(*ends(x, y), p1 - p2)):
                all_pairs[side] += missed * coverage.stats.binom.pmf(x, n1, p1) * weights[y]
    assert walked == pytest.approx(tuple(all_pairs), abs=1e-12)
    assert max(all_pairs) > 0


def test_the_table_names_the_worst_cell():
    """The row of a family holds its least coverage and the cell in which an end misses most."""
    cells = list(islice(coverage.quantile(), 9))
    row = coverage.summary("quantile", "order statistics", cells)
    assert row.startswith("| quantile | order statistics | 3 | ")
    assert row.count("n=300") == len(coverage.LEVELS)
