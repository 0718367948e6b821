"""Fewer trees: an ensemble's answers learned by an ensemble of a few, which costs a fraction of the time."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..lessons import Lesson, make_lesson
from ..onnx_files import parse, quiet
from ..recipe import Material, NotApplicable, Recipe
from ..rows import finished

#: Steps of the gradient descent in function space; few trees need long ones (Friedman 2001, section 4).
_RATES = {8: 0.6, 16: 0.4, 32: 0.25}
_LEAVES = 48
#: Log-odds beyond this decide nothing, and this much weight keeps the rows that are far from any decision.
_FARTHEST, _LEAST_WEIGHT = 6.0, 0.03


def fewer_trees(material: Material, trees: int) -> bytes:
    """Return a boosted ensemble of so many trees that has learned the candidate's log-odds.

    The trees are fitted to the candidate's log-odds on the training rows by weighted least squares: weights
    p (1 - p), as in a step of logistic boosting (Friedman, Hastie, Tibshirani 2000, Annals of Statistics
    28:337, section 4), so that the rows near the decision count most. They become one operator that answers
    with the probabilities of both classes, as the candidate's own does.

    Raises:
        NotApplicable: the candidate is no ensemble of more trees, is not binary, or scikit-learn or the
            training table is missing.
    """
    held = _tree_count(material)
    if held <= trees:
        raise NotApplicable(f"the graph has {held} trees" if held else "the graph has no ensemble of trees")
    lesson = make_lesson(material, "fewer trees learn from the training table", extra=False)
    if lesson.columns != 2 or lesson.output != "probability" or material.model.positive_column != 1:
        raise NotApplicable("only ensembles that answer with two probabilities, the second the positive one")
    return finished(_classifier(_fitted(lesson, trees, material.seed), material), material)


def _tree_count(material: Material) -> int:
    graph = parse(material.model.onnx).graph
    ids = [
        len(set(a.ints))
        for node in graph.node
        if node.op_type.startswith("TreeEnsemble")
        for a in node.attribute
        if a.name == "nodes_treeids"
    ]
    return max(ids, default=0)


def _fitted(lesson: Lesson, trees: int, seed: int) -> Any:
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
    except ImportError:
        raise NotApplicable("scikit-learn is not installed: pip install 'pytest-mlgate[sklearn]'") from None
    rows, teacher = lesson.rows[~lesson.held], lesson.teacher[~lesson.held].astype(np.float64)
    log_odds = np.clip(teacher[:, 1] - teacher[:, 0], -_FARTHEST, _FARTHEST)
    positive = 1 / (1 + np.exp(-log_odds))
    learner: Any = HistGradientBoostingRegressor
    return learner(
        max_iter=trees,
        learning_rate=_RATES[trees],
        max_leaf_nodes=_LEAVES,
        early_stopping=False,
        random_state=seed,
    ).fit(rows, log_odds, sample_weight=positive * (1 - positive) + _LEAST_WEIGHT)


def _classifier(fitted: Any, material: Material) -> bytes:
    """Return the regressor's trees as one classifier operator: its answers are log-odds."""
    from onnx import helper
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    source = parse(material.model.onnx).graph
    label, scores = source.output
    width = len(material.model.features)
    inputs: Any = [("x", FloatTensorType([None, width]))]
    with quiet():
        converted: Any = to_onnx(fitted, initial_types=inputs)
    regressor = next(n for n in converted.graph.node if n.op_type == "TreeEnsembleRegressor")
    given = {a.name: helper.get_attribute_value(a) for a in regressor.attribute}
    nodes = {name: value for name, value in given.items() if name.startswith("nodes_")}
    operator = helper.make_node(
        "TreeEnsembleClassifier",
        [source.input[0].name],
        [label.name, scores.name],
        domain="ai.onnx.ml",
        # One column of weights for two classes: the operator's way of writing log-odds of the second.
        class_ids=[0] * len(given["target_ids"]),
        class_nodeids=given["target_nodeids"],
        class_treeids=given["target_treeids"],
        class_weights=given["target_weights"],
        base_values=given["base_values"],
        post_transform="LOGISTIC",
        **_class_labels(source),
        **nodes,
    )
    graph = helper.make_graph([operator], "fewer-trees", [source.input[0]], [label, scores])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def _class_labels(graph: Any) -> dict[str, Any]:
    """Return what the candidate's own operator calls the two classes."""
    from onnx import helper

    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type.startswith("TreeEnsemble") and attribute.name.startswith("classlabels_"):
                return {attribute.name: helper.get_attribute_value(attribute)}
    raise NotApplicable("the ensemble's operator does not name its classes")


RECIPES = tuple(
    Recipe(
        name=f"trees-{trees}",
        summary=f"{trees} boosted trees that learned the ensemble's answers, by scikit-learn",
        apply=functools.partial(fewer_trees, trees=trees),
        trains=True,
    )
    for trees in _RATES
)
