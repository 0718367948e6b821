"""A large ensemble of trees becomes a small one that answers nearly alike, in the same shape."""

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from pytest_mlgate.candidate import as_model
from pytest_mlgate.candidate.model import OnnxModel
from pytest_mlgate.compress.recipe import Material, NotApplicable
from pytest_mlgate.compress.recipes.fewer_trees import fewer_trees
from pytest_mlgate.dataset import Dataset

FEATURES = [f"f{i}" for i in range(6)]


def table(labels=(0, 1), rows=3000) -> Dataset:
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(rng.normal(size=(rows, 6)).astype(np.float32), columns=FEATURES)
    score = frame.f0 * frame.f1 + np.sin(2 * frame.f2) + 0.3 * rng.normal(size=rows)
    frame["y"] = np.where(score > 0, labels[1], labels[0])
    return Dataset(test=frame[: rows // 2], train=frame[rows // 2 :], label="y", positive=labels[1])


def fitted(estimator, data):
    return as_model(estimator.fit(data.train[FEATURES].to_numpy(), data.train.y), data)


def right(model, data):
    return float(np.mean((model.predict_proba(data.tables["test"]) >= 0.5) == data.labels()))


@pytest.mark.parametrize(
    "estimator",
    [GradientBoostingClassifier(n_estimators=150), RandomForestClassifier(60, random_state=0)],
    ids=["boosted", "forest"],
)
@pytest.mark.parametrize("labels", [(0, 1), ("no", "yes")], ids=["numbers", "texts"])
def test_few_trees_answer_nearly_as_many_do(estimator, labels):
    """Sixteen trees keep the accuracy within three points, and the inputs and outputs as they are."""
    data = table(labels)
    candidate = fitted(estimator, data)
    made = fewer_trees(Material(model=candidate, data=data), 16)
    small = OnnxModel(onnx=made, name="small", kind="ONNX", features=candidate.features)
    assert right(small, data) > right(candidate, data) - 0.03
    before, after = (onnx.load_model_from_string(o).graph for o in (candidate.onnx, made))
    assert [o.name for o in after.output] == [o.name for o in before.output]
    assert after.output[0].type == before.output[0].type
    (operator,) = after.node
    assert len({i for a in operator.attribute if a.name == "nodes_treeids" for i in a.ints}) == 16


def test_the_same_material_makes_the_same_bytes():
    """Fitting is seeded: a digest means something."""
    data = table()
    material = Material(model=fitted(GradientBoostingClassifier(n_estimators=40), data), data=data)
    assert fewer_trees(material, 8) == fewer_trees(material, 8)


def test_small_ensembles_and_other_models_are_left_alone():
    """An ensemble of no more trees, a model without trees and one of three classes are not applicable."""
    data = table()
    few = fitted(GradientBoostingClassifier(n_estimators=8), data)
    with pytest.raises(NotApplicable, match="the graph has 8 trees"):
        fewer_trees(Material(model=few, data=data), 8)
    linear = fitted(LogisticRegression(), data)
    with pytest.raises(NotApplicable, match="no ensemble of trees"):
        fewer_trees(Material(model=linear, data=data), 8)
    three = data.test.copy()
    three["y"] = np.arange(len(three)) % 3
    classes = Dataset(test=three, train=three, label="y")
    forest = fitted(RandomForestClassifier(20, random_state=0), classes)
    with pytest.raises(NotApplicable, match="two probabilities"):
        fewer_trees(Material(model=forest, data=classes), 8)


def test_without_training_rows_there_is_nothing_to_learn_from():
    """The test rows are for judging: without a training table the recipe does not apply."""
    data = table()
    candidate = fitted(GradientBoostingClassifier(n_estimators=40), data)
    alone = Dataset(test=data.test, label="y", positive=1)
    with pytest.raises(NotApplicable, match="no training table"):
        fewer_trees(Material(model=candidate, data=alone), 8)
