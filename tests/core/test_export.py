"""torch and scikit-learn candidates become ONNX that gives the same answers, or are refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from pytest_mlgate.candidate import BlackBox, Candidate, OnnxModel, as_model
from pytest_mlgate.candidate.model import decisions
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CandidateRefused, CheckError


class Sum(torch.nn.Module):
    """The sum of the features, stretched."""

    def __init__(self, sigmoid=True):
        super().__init__()
        self.sigmoid = sigmoid

    def forward(self, x):
        total = 5 * x.sum(1, keepdim=True)
        return torch.sigmoid(total) if self.sigmoid else total


class Branching(torch.nn.Module):
    """Takes another way for the two rows that it is traced with than for many."""

    def forward(self, x):
        if x.abs().sum() < 20:
            return torch.sigmoid(x.sum(1))
        return torch.sigmoid(-x.sum(1))


class BranchingOnTheMean(torch.nn.Module):
    """Takes another way depending on the mean of the whole batch."""

    def forward(self, x):
        return torch.sigmoid(x.sum(1) if x.mean() > 0 else -x.sum(1))


class TwoAnswers(torch.nn.Module):
    def forward(self, x):
        return torch.sigmoid(x.sum(1)), x


class Raising(torch.nn.Module):
    def forward(self, x):
        raise RuntimeError("no such layer")


def scores(given, data):
    model = as_model(given, data)
    return model, model.predict_proba(data.tables["test"])


def test_a_torch_module_is_exported_with_a_free_batch_dimension(data):
    """A module gives the same answers as its ONNX graph on any number of rows, without dropout."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(2, 8),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(8, 1),
        torch.nn.Sigmoid(),
    ).train()
    model, found = scores(net, data)
    assert isinstance(model, OnnxModel)
    assert (model.identity.name, model.identity.kind) == ("Sequential", "torch module")
    rows = torch.tensor(data.test[["a", "b"]].to_numpy(np.float32))
    with torch.no_grad():
        expected = net.eval()(rows).numpy()[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    one = data.tables["test"].head(1)
    np.testing.assert_allclose(model.predict_proba(one), expected[:1], atol=1e-5)


def test_the_same_module_exports_to_the_same_bytes(data):
    """Exporting twice gives one digest."""
    assert as_model(Sum(), data).identity == as_model(Sum(), data).identity


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        GradientBoostingClassifier(n_estimators=10),
        RandomForestClassifier(10, random_state=0),
    ],
)
@pytest.mark.parametrize("fitted_on", ["frame", "array"])
def test_a_scikit_learn_estimator_gives_the_same_answers(data, estimator, fitted_on):
    """An estimator and its ONNX graph agree on the probability of the positive class, one for each row."""
    rows = data.train[["a", "b"]]
    estimator.fit(rows if fitted_on == "frame" else rows.to_numpy(), data.train.y)
    test = data.test[["a", "b"]]
    model, found = scores(estimator, data)
    expected = estimator.predict_proba(test if fitted_on == "frame" else test.to_numpy())
    assert found.shape == (100,)
    np.testing.assert_allclose(found, expected[:, 1], atol=1e-4)
    assert model.identity.kind == "scikit-learn estimator"


def test_a_pipeline_with_text_columns_gives_the_same_answers(frame):
    """A pipeline over numbers and text takes its columns by name."""
    data = Dataset(test=frame[100:], train=frame[:100], label="y")
    columns = make_column_transformer(
        (StandardScaler(), ["a", "b"]), (OneHotEncoder(handle_unknown="ignore"), ["g"])
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(frame[:100][["a", "b", "g"]], frame[:100].y)
    _, found = scores(pipeline, data)
    expected = pipeline.predict_proba(frame[100:][["a", "b", "g"]])[:, 1]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Branching(), "differs from the module by .* does it branch on its input|differs from the model by"),
        (BranchingOnTheMean(), "differs from the model by .* does it branch on its input"),
        (TwoAnswers(), "cannot be exported to ONNX"),
        (Raising(), "cannot be exported to ONNX: no such layer"),
        (LogisticRegression(), "cannot be exported to ONNX"),
        (NearestNeighbors(), "cannot be exported to ONNX"),
        (3, "the candidate is a int. Accepted: a torch module"),
        ({"weights": 1}, "the candidate is a dict"),
        (Candidate(Sum(), threshold=0), "threshold=0 must be a probability"),
        (Candidate(Sum(), threshold=float("nan")), "threshold=nan must be a probability"),
        (Candidate(Sum(), output="logitz"), "output='logitz'. Accepted: probability, logit"),
        (Candidate(lambda x: x[:, 0], output="logitz"), "output='logitz'. Accepted: probability, logit"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_does_not_become_the_same_model_is_refused(data, given, message):
    """A graph that differs from its source, an unfitted estimator or no model at all is refused."""
    with pytest.raises(CandidateRefused, match=message):
        as_model(given, data)


def test_logits_are_told_from_probabilities(data):
    """Answers outside 0 to 1 are an error that says how to declare logits; declared, they are converted."""
    with pytest.raises(CheckError, match=r"are no probabilities; if they are logits, say so"):
        scores(Sum(sigmoid=False), data)
    _, converted = scores(Candidate(Sum(sigmoid=False), output="logit"), data)
    _, direct = scores(Sum(), data)
    np.testing.assert_allclose(converted, direct, atol=1e-6)


def test_logits_of_several_classes_become_shares(data):
    """Logits per class are turned into probabilities that add up to one, also where they are huge."""
    model = Candidate(
        lambda rows: np.column_stack([rows[:, 0] * 1e4, rows[:, 1], rows[:, 1] - rows[:, 0]]), output="logit"
    )
    _, found = scores(model, data)
    assert found.shape == (100, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: np.full(len(x), np.nan), "answered NaN or infinity for 100 of 100 rows"),
        (
            lambda x: np.where(np.arange(len(x)) == 7, np.inf, 0.5),
            "answered NaN or infinity for 1 of 100 rows",
        ),
        (lambda x: np.full(3, 0.5), r"answered 100 rows with an array of shape \(3,\)"),
        (lambda x: 0.5, r"answered 100 rows with an array of shape \(\)"),
        (lambda x: np.full((len(x), 2, 2), 0.5), "answered 100 rows with an array of shape"),
        (lambda x: np.full(len(x), 1.01), "answered 1.01 to 1.01, which are no probabilities"),
        (lambda x: np.full(len(x), -0.2), "are no probabilities"),
    ],
)
def test_broken_answers_are_a_check_error(data, answer, message):
    """NaN, infinity, wrong shapes and values outside 0 to 1 are errors, with the number of rows concerned."""
    with pytest.raises(CheckError, match=message):
        as_model(answer, data)


def test_an_onnx_file_that_answers_nan_is_a_check_error(tmp_path, data):
    """A graph that divides zero by zero does not become scores."""
    features = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 2])]
    output = [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 2])]
    nodes = [
        helper.make_node("Sub", ["features", "features"], ["zero"]),
        helper.make_node("Div", ["zero", "zero"], ["score"]),
    ]
    graph = helper.make_graph(nodes, "nan", features, output)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "nan.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CheckError, match="nan answered NaN or infinity for 100 of 100 rows"):
        as_model(path, data).predict_proba(data.tables["test"])


def test_a_callable_is_measured_as_it_is(data):
    """A function becomes a black box whose digest is that of its answers."""

    def steady(rows):
        return np.full(len(rows), 0.7)

    model, found = scores(steady, data)
    assert isinstance(model, BlackBox)
    assert (found == 0.7).all()
    assert model.identity.name == "steady"
    assert model.identity.digest.startswith("behaviour-sha256:")
    assert model.identity.size_bytes is None
    other = as_model(lambda rows: np.full(len(rows), 0.6), data)
    assert other.identity.digest != model.identity.digest


def test_a_model_that_wants_other_columns_is_a_check_error(data, model_path):
    """A graph with another number of inputs than there are features is an error, not a guess."""
    wide = Dataset(test=data.test.assign(c=0.0), label="y", sensitive=("g",))
    with pytest.raises(CheckError, match="linear could not be run on the rows"):
        as_model(model_path, wide).predict_proba(wide.tables["test"])
    narrowed = as_model(Candidate(model_path, features=["a", "b"]), wide)
    assert len(narrowed.predict_proba(wide.tables["test"])) == 100


def test_decisions_follow_the_threshold_and_need_two_classes(data):
    """A row is positive from the threshold on; with three classes there is no such decision."""
    model = as_model(Candidate(lambda rows: np.linspace(0, 1, len(rows)), threshold=0.5), data)
    found = model.predict_proba(data.tables["test"])
    assert decisions(model, found).sum() == 50
    with pytest.raises(CheckError, match="the model has 3 classes"):
        decisions(model, np.full((4, 3), 1 / 3))


def test_a_column_that_the_model_reads_must_exist(data):
    """Features of a candidate that the data lacks are refused with the columns there are."""
    with pytest.raises(Exception, match="candidate: features: the test table has no column 'z'"):
        as_model(Candidate(Sum(), features=["a", "z"]), data)


def test_missing_values_in_features_reach_the_model_as_nan(frame):
    """A model is asked with the rows as they are, and NaN answers are an error, never dropped."""
    holes = frame.copy()
    holes.loc[150, "a"] = None
    data = Dataset(test=pd.DataFrame(holes[100:]), label="y", features=["a", "b"])
    with pytest.raises(CheckError, match="NaN or infinity for 1 of 100 rows"):
        as_model(lambda rows: 1 / (1 + np.exp(-rows.sum(axis=1))), data)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("module", [Sum(), Raising()], ids=["exported", "refused"])
def test_the_mode_of_a_module_is_put_back(data, module, training):
    """Exporting, whether it succeeds or not, leaves a module in training as it was, and one in use in use."""
    module.train(training)
    try:
        as_model(module, data)
    except CandidateRefused:
        assert isinstance(module, Raising)
    assert module.training is training


def test_columns_picked_by_name_from_numbers_alone_give_the_same_answers(data):
    """A pipeline that picks columns by name is exported although every column is numeric."""
    columns = make_column_transformer((StandardScaler(), ["b"]), ("passthrough", ["a"]))
    rows = data.train[["a", "b"]]
    pipeline = make_pipeline(columns, LogisticRegression()).fit(rows, data.train.y)
    _, found = scores(pipeline, data)
    np.testing.assert_allclose(found, pipeline.predict_proba(data.test[["a", "b"]])[:, 1], atol=1e-4)


@pytest.mark.parametrize("by_name", [False, True])
def test_features_of_truth_values_are_numbers(frame, by_name):
    """A column of booleans is read as zeros and ones, in a matrix and as a column of its own."""
    table = frame.assign(t=frame.a > 0.3)[["a", "t", "y"]]
    columns = make_column_transformer((StandardScaler(), ["a"]), ("passthrough", ["t"]))
    steps = [columns] if by_name else []
    model = make_pipeline(*steps, LogisticRegression()).fit(table[:100][["a", "t"]], table[:100].y)
    _, found = scores(model, Dataset(test=table[100:], train=table[:100], label="y"))
    np.testing.assert_allclose(found, model.predict_proba(table[100:][["a", "t"]])[:, 1], atol=1e-4)


LABELS = {
    "positive=1": (lambda y: y, 1),
    "positive=0": (lambda y: y, 0),
    "text, the later": (lambda y: y.map({0: "denied", 1: "granted"}), "granted"),
    "text, the earlier": (lambda y: y.map({0: "denied", 1: "granted"}), "denied"),
    "truth values": (lambda y: y == 1, False),
}


@pytest.mark.parametrize(("relabel", "positive"), LABELS.values(), ids=LABELS.keys())
@pytest.mark.parametrize("kind", ["estimator", "ONNX file", "callable"])
def test_accuracy_is_the_true_one_whatever_the_positive_class(
    build, frame, tmp_path, relabel, positive, kind
):
    """The gate measures a classifier's own accuracy for any label values, from either class's view."""
    table = frame.assign(y=relabel(frame.y))
    train, test = table[:100], table[100:]
    # It sees half of what matters: right often, and no reading from the other side would be as often right.
    rows = train[["a"]].assign(b=0.0)
    classifier = LogisticRegression().fit(rows.to_numpy(), train.y)
    given = Dataset(test=test, train=train, label="y", sensitive=("g",), positive=positive)
    candidate = classifier
    if kind == "ONNX file":
        candidate = tmp_path / "classifier.onnx"
        sample = train[["a", "b"]].to_numpy(np.float32)
        graph = to_onnx(classifier, sample[:1], options={"zipmap": False})
        candidate.write_bytes(graph.SerializeToString())
    elif kind == "callable":
        candidate = classifier.predict_proba
    model = as_model(candidate, given)
    found = model.predict_proba(given.tables["test"])
    features = test[["a", "b"]].to_numpy()
    accuracy = classifier.score(features, test.y)
    assert 0.6 < accuracy < 0.95
    assert np.mean(decisions(model, found) == given.labels()) == accuracy
    column = list(classifier.classes_).index(positive)
    np.testing.assert_allclose(found, classifier.predict_proba(features)[:, column], atol=1e-4)
    if kind != "callable":  # a callable leaves no artifact to write into a report
        run = build(given=given, candidate=candidate).run
        assert run.evidence[0].measurements[0].value == accuracy


def test_a_classifier_that_does_not_know_the_positive_class_is_refused(data):
    """An estimator that was fitted on other label values than the data's is not read by position."""
    classifier = LogisticRegression().fit(data.train[["a", "b"]], data.train.y.map({0: "no", 1: "yes"}))
    with pytest.raises(CandidateRefused, match=r"classes are \['no', 'yes'\], and positive=1 is not one"):
        as_model(classifier, data)


def test_the_mode_of_every_part_of_a_module_is_put_back(data):
    """A part that was frozen inside a module in training is frozen afterwards."""
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 1), torch.nn.Sigmoid()).train()
    module[0].eval()
    as_model(module, data)
    assert [part.training for part in module] == [False, True, True]


def test_lightgbm_becomes_onnx(data):
    """A LightGBM classifier, alone or at the end of a pipeline, answers as ONNX as it does itself."""
    from lightgbm import LGBMClassifier

    rows = data.train if data.train is not None else data.test
    for estimator in (
        LGBMClassifier(n_estimators=5, verbose=-1),
        make_pipeline(StandardScaler(), LGBMClassifier(n_estimators=5, verbose=-1)),
    ):
        fitted = estimator.fit(rows[list(data.feature_names)].to_numpy(), rows[data.label])
        found = as_model(fitted, data).predict_proba(data.tables["test"])
        given = fitted.predict_proba(data.test[list(data.feature_names)].to_numpy())[:, 1]
        assert np.abs(found - given).max() < 1e-4
