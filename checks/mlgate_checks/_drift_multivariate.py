"""Two-sample tests of all columns at once, by alibi-detect: a classifier's AUC, and MMD."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_mlgate.errors import MissingExtra
from pytest_mlgate.evidence import Interval, Measurement
from pytest_mlgate.levels import Levels
from pytest_mlgate.statistics import auc_interval

from ._drift_dependence import Variables
from ._drift_family import missing

Floats = NDArray[np.float64]

#: Rows of each table: MMD compares every row with every other.
MOST_CLASSIFIED = 20_000
MOST_KERNEL_ROWS = 500
PERMUTATIONS = 200
FEWEST_ROWS = 20


def classifier_auc(variables: Variables, bound: str, levels: Levels) -> Measurement:
    """Return how well a classifier tells rows of the two tables apart: 0.5 not at all, 1 always.

    One half of the rows of either table trains gradient-boosted trees, the other half is ranked by them, so
    that the interval is that of an AUC on rows never seen. An AUC below 0.5 is chance. Source: Lopez-Paz and
    Oquab 2017, ICLR (classifier two-sample tests), by alibi-detect's `ClassifierDrift`.
    """
    metric, method = (
        "two_sample_auc",
        "alibi-detect ClassifierDrift, gradient-boosted trees on half of the rows",
    )
    first, second = _samples(variables, MOST_CLASSIFIED)
    if min(len(first), len(second)) < FEWEST_ROWS or not variables.names:
        return missing(metric, "", bound, "too few rows or no column that varies", len(first), method)
    try:
        detectors = _detectors()
        from sklearn.ensemble import HistGradientBoostingClassifier

        threadpool_limits = importlib.import_module("threadpoolctl").threadpool_limits
    except (ImportError, MissingExtra) as absent:
        return missing(metric, "", bound, _left_out(absent), 0, method)
    model = HistGradientBoostingClassifier(max_depth=4, max_iter=100, random_state=variables.seed)
    state = np.random.get_state()  # alibi-detect splits the rows with numpy's own generator
    # Threads that wait for each other on a busy machine cost more than they bring.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # alibi-detect warns of its own dependencies
        np.random.seed(variables.seed)
        detector = detectors.ClassifierDrift(
            first, model, backend="sklearn", train_size=0.5, seed=variables.seed, preds_type="probs"
        )
        answer = detector.predict(second, return_model=False)["data"]
    np.random.set_state(state)
    scores = [np.asarray(answer[key], np.float64) for key in ("probs_ref", "probs_test")]
    scores = [s[:, 1] if s.ndim == 2 else s for s in scores]
    from_current = np.repeat([False, True], [len(s) for s in scores])
    tails = levels.tails("<=")
    value, (low, high) = auc_interval(from_current, np.concatenate(scores), tails)
    return Measurement(
        metric=metric,
        value=value,
        unit="",
        n=min(map(len, scores)),
        interval=Interval(low=low, high=high, confidence=tails.confidence),
        method=f"{method}; AUC on the other half, DeLong's interval",
        bound=bound,
        detail=f"{len(variables.names)} variables; p={float(answer['p_val']):.3g} of no difference at all",
    )


def kernel_distance(variables: Variables) -> Measurement:
    """Return the squared maximum mean discrepancy and its permutation p-value, for information.

    Columns are the standard normal scores of their ranks in the reference: MMD on raw columns sees the widest
    one only. It is no effect that a bound could be written for. Source: Gretton et al. 2012, JMLR 13:723, by
    alibi-detect's `MMDDrift`.
    """
    metric, method = "squared_mmd", f"alibi-detect MMDDrift, Gaussian kernel, {PERMUTATIONS} permutations"
    first, second = _samples(variables, MOST_KERNEL_ROWS)
    if min(len(first), len(second)) < FEWEST_ROWS or not variables.names:
        return missing(metric, "", None, "too few rows or no column that varies", len(first), method)
    try:
        detectors = _detectors()
        import torch
    except (ImportError, MissingExtra) as absent:
        return missing(metric, "", None, _left_out(absent), 0, method)
    first, second = _normal_scores(first, first), _normal_scores(first, second)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        torch.manual_seed(variables.seed)
        detector = detectors.MMDDrift(
            first.astype(np.float32), backend="pytorch", n_permutations=PERMUTATIONS, device="cpu"
        )
        answer = detector.predict(second.astype(np.float32))["data"]
    torch.set_rng_state(state)
    torch.set_num_threads(threads)
    return Measurement(
        metric=metric,
        value=float(answer["distance"]),
        unit="",
        n=min(len(first), len(second)),
        interval=None,
        method=method,
        detail=f"p={float(answer['p_val']):.3g} of no difference at all, on {len(first):,} and "
        f"{len(second):,} rows",
    )


def _samples(variables: Variables, most: int) -> tuple[Floats, Floats]:
    if not variables.names:
        return np.zeros((0, 0)), np.zeros((0, 0))
    rng = np.random.default_rng(variables.seed)
    chosen = []
    for columns in (variables.reference, variables.current):
        rows = rng.permutation(len(columns[0]))[:most]
        chosen.append(np.column_stack([c[rows] for c in columns]))
    return chosen[0], chosen[1]


def _normal_scores(reference: Floats, values: Floats) -> Floats:
    """Return what standard normal values would have the same rank in the reference; 0 where missing."""
    from scipy.special import ndtri

    scores = np.zeros(values.shape)
    for j in range(values.shape[1]):
        known = np.sort(reference[~np.isnan(reference[:, j]), j])
        present = ~np.isnan(values[:, j])
        below = np.searchsorted(known, values[present, j], side="left")
        up_to = np.searchsorted(known, values[present, j], side="right")
        scores[present, j] = ndtri(((below + up_to) / 2 + 0.5) / (len(known) + 1))
    return scores


def _detectors() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries below warn of their own deprecations
        try:
            import alibi_detect.cd
        except ImportError:
            raise MissingExtra("alibi-detect", "drift") from None
    return alibi_detect.cd


def _left_out(absent: Exception) -> str:
    return f"left out: {absent}"
