"""Models that answer with amounts: exported, run and refused like any other, and never as probabilities."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pytest_mlgate import policy
from pytest_mlgate.candidate import BlackBox, Candidate, OnnxModel, as_model
from pytest_mlgate.candidate.export import _require_parity
from pytest_mlgate.candidate.model import require_rowwise
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CandidateRefused, CheckError, Misuse
from pytest_mlgate.levels import levels_for
from pytest_mlgate.sources import candidate_of, data_of
from pytest_mlgate.subject import Subject


@pytest.fixture(scope="module")
def prices() -> Dataset:
    """Two features and a price in the hundred thousands that follows from them."""
    rng = np.random.default_rng(3)
    rows = pd.DataFrame({"a": rng.normal(size=300), "b": rng.normal(size=300)})
    rows["y"] = 1e5 * (3 + rows.a + rows.b**2) + 1e3 * rng.normal(size=300)
    rows["g"] = rng.choice(["m", "f"], 300)
    return Dataset(test=rows[200:], train=rows[:200], label="y", task="regression", sensitive="g")


def matrix_of(frame):
    return frame[["a", "b"]].to_numpy(np.float32)


def fitted(estimator, data):
    return estimator.fit(matrix_of(data.train), data.train.y)


def subject_of(model, data) -> Subject:
    levels = levels_for(0.05, 1)
    return Subject(model, model, None, data, None, levels, 0)


def lightgbm():
    from lightgbm import LGBMRegressor

    return LGBMRegressor(n_estimators=5, verbose=-1)


ESTIMATORS = {
    "linear": LinearRegression,
    "boosted": lambda: GradientBoostingRegressor(n_estimators=10),
    "pipeline": lambda: make_pipeline(StandardScaler(), LinearRegression()),
    "LightGBM": lightgbm,
    "LightGBM in a pipeline": lambda: make_pipeline(StandardScaler(), lightgbm()),
}


@pytest.mark.parametrize("make", ESTIMATORS.values(), ids=ESTIMATORS.keys())
def test_a_regressor_answers_as_onnx_as_it_does_itself(prices, make):
    """Estimators and pipelines that predict amounts become ONNX with the same values, one for each row."""
    estimator = fitted(make(), prices)
    model = as_model(Candidate(estimator, output="value"), prices)
    assert isinstance(model, OnnxModel)
    require_rowwise(model, prices.tables["test"])
    found = model.predict(prices.tables["test"])
    expected = estimator.predict(matrix_of(prices.test))
    assert found.shape == (100,)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert subject_of(model, prices).scores() is not None


@pytest.mark.parametrize("flat", [True, False])
def test_a_module_with_one_output_answers_with_values(prices, flat):
    """A torch module gives one number for a row, whether its answer has a column or not."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)]
    net = torch.nn.Sequential(*layers, *([torch.nn.Flatten(0)] if flat else []))
    model = as_model(Candidate(net, output="value"), prices)
    with torch.no_grad():
        expected = net(torch.tensor(matrix_of(prices.test))).numpy().reshape(-1)
    np.testing.assert_allclose(model.predict(prices.tables["test"]), expected, atol=1e-5)


def test_an_onnx_file_and_a_callable_answer_with_values(prices, tmp_path):
    """The same regressor gives the same values from a file and as a function."""
    estimator = fitted(LinearRegression(), prices)
    path = tmp_path / "price.onnx"
    path.write_bytes(to_onnx(estimator, matrix_of(prices.train)[:1]).SerializeToString())
    file = as_model(Candidate(path, output="value"), prices)
    function = as_model(Candidate(estimator.predict, output="value"), prices)
    assert isinstance(function, BlackBox)
    np.testing.assert_allclose(
        file.predict(prices.tables["test"]), function.predict(prices.tables["test"]), rtol=1e-5
    )
    assert function.identity.digest.startswith("behaviour-sha256:")


def test_scores_are_values_and_probabilities_are_refused(prices):
    """A subject gives the values of a regression; who asks for probabilities or right answers is told no."""
    model = as_model(Candidate(lambda x: x[:, 0] * 1e5, output="value"), prices)
    subject = subject_of(model, prices)
    np.testing.assert_allclose(subject.scores(), matrix_of(prices.test)[:, 0] * 1e5, rtol=1e-6)
    assert subject.scores() is subject.scores()
    assert subject.scores(role="train").shape == (200,)
    onnx = as_model(Candidate(fitted(LinearRegression(), prices), output="value"), prices)
    for one in (model, onnx):
        with pytest.raises(CheckError, match=r"answers with values \(output='value'\).*needs a classifier"):
            one.predict_proba(prices.tables["test"])
    with pytest.raises(CheckError, match=r"label 'y' is an amount .* never right or wrong"):
        subject.right(model, subject.scores())


def test_a_classifier_predicts_its_probabilities(data):
    """`predict` of a model that is no regression is `predict_proba`."""
    model = as_model(LogisticRegression().fit(data.train[["a", "b"]], data.train.y), data)
    rows = data.tables["test"]
    np.testing.assert_array_equal(model.predict(rows), model.predict_proba(rows))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda x: x,
            r"answered 100 rows with an array of shape \(100, 2\); with output='value' a row has one",
        ),
        (lambda x: np.full(len(x), np.nan), "answered NaN or infinity for 100 of 100 rows"),
        (lambda x: np.where(np.arange(len(x)) < 7, np.inf, 1.0), "NaN or infinity for 7 of 100 rows"),
        (lambda x: 3.0, r"answered 100 rows with an array of shape \(\)"),
        (lambda x: np.zeros(3), r"answered 100 rows with an array of shape \(3,\)"),
    ],
)
def test_broken_values_are_a_check_error(prices, answer, message):
    """Several numbers for a row, none, NaN and infinity are errors with the rows concerned."""
    with pytest.raises(CheckError, match=message):
        as_model(Candidate(answer, output="value"), prices)


def test_output_and_task_must_agree(prices, data):
    """Values for classes, and probabilities for amounts, are refused with what to write instead."""
    with pytest.raises(
        CandidateRefused, match=r"label 'y' is an amount .*Candidate\(model, output='value'\)"
    ):
        as_model(lambda x: x[:, 0], prices)
    with pytest.raises(CandidateRefused, match=r"label 'y' has 2 classes .*Dataset\(task='regression'\)"):
        as_model(Candidate(lambda x: x[:, 0], output="value"), data)


def test_values_taken_for_probabilities_name_the_way_out(data):
    """Answers far outside 0 to 1 say how logits and how values are declared."""
    with pytest.raises(CheckError, match=r"are no probabilities.*output='logit'\).*output='value'\)"):
        as_model(lambda x: 1e5 * x[:, 0], data)


def test_small_values_are_compared_by_their_own_size(linear_onnx):
    """A graph that answers differently is refused where all values are far below one."""
    rows = np.linspace(-1e-6, 1e-6, 20, dtype=np.float32).reshape(10, 2)
    graph = linear_onnx(sigmoid=False)
    same = 3 * rows.sum(axis=1)
    _require_parity(graph, {"features": rows}, same, "small", "value")
    with pytest.raises(CandidateRefused, match="differs from the model by"):
        _require_parity(graph, {"features": rows}, -same, "small", "value")


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_values_that_depend_on_the_batch_are_refused_at_any_scale(prices, scale):
    """How far a row's value may move when it is asked alone goes by how far the values spread."""
    steady = as_model(Candidate(lambda x: scale * x[:, 0], output="value"), prices)
    require_rowwise(steady, prices.tables["test"])
    moving = as_model(Candidate(lambda x: scale * (x[:, 0] - x[:, 0].mean()), output="value"), prices)
    with pytest.raises(CheckError, match="answers a row differently"):
        require_rowwise(moving, prices.tables["test"])
    constant = as_model(Candidate(lambda x: np.full(len(x), scale), output="value"), prices)
    require_rowwise(constant, prices.tables["test"])


WIDTH = 'required = ["width"]\n[checks.width]\nmax = 3\n'


def test_a_regression_goes_through_the_gate(build, prices):
    """A gate over amounts runs, is locked with its task, and reuses only evidence of the same reading."""
    candidate = Candidate(fitted(LinearRegression(), prices), output="value")
    built = build(WIDTH, given=prices, candidate=candidate)
    assert built.run.decision.outcome == "release"
    lock = built.gate._places.lock.read_text()
    assert '"regression"' in lock
    assert '"value"' in lock
    again = build(WIDTH, given=prices, candidate=candidate, folder="two")
    assert all(e.reused for e in again.run.evidence)


def test_whole_amounts_and_classes_are_other_evidence(build, frame, model_path):
    """The same rows and bytes, once as classes and once as amounts, are measured twice."""
    counted = Dataset(test=frame[100:], train=frame[:100], label="y", sensitive=("g",))
    amounts = dataclasses.replace(counted, task="regression")
    build(WIDTH, given=counted, folder="one")
    again = build(WIDTH, given=amounts, candidate=Candidate(model_path, output="value"), folder="two")
    assert not any(e.reused for e in again.run.evidence)


def test_a_check_of_classes_is_an_error_and_the_gate_goes_on(build, prices):
    """A requirement that needs classes blocks with its reason; the others are judged."""
    candidate = Candidate(fitted(LinearRegression(), prices), output="value")
    run = build(given=prices, candidate=candidate).run
    verdicts = {j.requirement: j for e in run.evidence for j in e.judgements}
    assert run.decision.outcome == "blocked"
    assert verdicts["accuracy.min"].verdict == "error"
    assert "label 'y' is an amount" in verdicts["accuracy.min"].message
    assert verdicts["width.max"].verdict == "pass"


POLICY = """\
required = ["width"]
[candidate]
model = "price.onnx"
output = "value"
[data]
test = "test.csv"
label = "y"
sensitive = ["age"]
task = "regression"
[data.bins]
age = [25, 40.5]
"""


def test_a_policy_declares_task_output_and_bins(prices, tmp_path):
    """The fields of the policy are those of `Dataset` and `Candidate`, whole numbers among the edges too."""
    estimator = fitted(LinearRegression(), prices)
    (tmp_path / "price.onnx").write_bytes(to_onnx(estimator, matrix_of(prices.train)[:1]).SerializeToString())
    ages = np.resize([20, 30, 50], 100)
    prices.test.drop(columns="g").assign(age=ages).to_csv(tmp_path / "test.csv", index=False)
    (tmp_path / "mlgate.toml").write_text(POLICY)
    read = policy.load(tmp_path / "mlgate.toml")
    data = data_of(read)
    data.validate()
    assert (data.task, data.group_codes("age")[0]) == ("regression", ("<25", "25 to <40.5", ">=40.5"))
    model = as_model(candidate_of(read), data)
    np.testing.assert_allclose(
        model.predict(data.tables["test"]), estimator.predict(matrix_of(prices.test)), rtol=1e-4
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"regression"', '"regresion"', "Invalid enum value 'regresion'"),
        ("[25, 40.5]", '["young"]', "Expected `float`, got `str`"),
        ('output = "value"', 'output = "values"', "output='values'. Accepted: probability, logit, value"),
    ],
)
def test_a_policy_that_misspells_them_is_refused(tmp_path, old, new, message):
    """Unknown tasks and outputs, and edges that are no numbers, are misuse."""
    (tmp_path / "mlgate.toml").write_text(POLICY.replace(old, new))
    with pytest.raises(Misuse, match=message):
        candidate_of(policy.load(tmp_path / "mlgate.toml"))


def _three_scores(tmp_path):
    features = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 3])]
    output = [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 3])]
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["features"], ["score"])], "three", features, output
    )
    path = tmp_path / "three.onnx"
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())
    return path


def several(test, train):
    def rows(labels):
        return (
            pd.DataFrame(np.eye(3, dtype=np.float32)[np.resize([0, 1, 2], len(labels))])
            .rename(columns={0: "p", 1: "q", 2: "r"})
            .assign(y=labels)
        )

    return Dataset(test=rows(test), train=rows(train), label="y")


def test_scores_of_several_classes_must_be_those_of_the_labels(tmp_path):
    """Right answers are counted only where every score column is known to be one class of the label."""
    path = _three_scores(tmp_path)
    known = several([0, 1, 2] * 10, [0, 1, 2] * 10)
    model = as_model(path, known)
    assert subject_of(model, known).right(model, model.predict(known.tables["test"])).all()
    for test, train, message in (
        ([0, 1, 2, 3] * 9, [0, 1, 2, 3] * 9, "answers with 3 classes, and label 'y' has 4 in the test table"),
        ([0, 1] * 9, [0, 1, 2] * 10, "answers with 3 classes, and label 'y' has 2 in the test table"),
        (
            [0, 1, 3] * 9,
            [0, 1, 2] * 10,
            r"classes in the test table that the training table never shows \(3\)",
        ),
    ):
        data = several(test, train)
        with pytest.raises(CheckError, match=message):
            subject_of(model, data).right(model, model.predict(data.tables["test"]))


def test_a_binary_label_that_training_never_saw_is_refused_too(data):
    """Labels that are numbers in one table and text in the other are not quietly other classes."""
    other = dataclasses.replace(data, train=data.train.assign(y=data.train.y.map({0: "no", 1: "yes"})))
    model = as_model(lambda x: np.full(len(x), 0.4), other)
    with pytest.raises(CheckError, match=r"the training table never shows \(0, 1\)"):
        subject_of(model, other).right(model, model.predict(other.tables["test"]))


def test_one_score_does_not_decide_several_classes():
    """A model with a single probability is no judge of three classes."""
    data = several([0, 1, 2] * 10, [0, 1, 2] * 10)
    model = as_model(lambda x: np.full(len(x), 0.4), data)
    with pytest.raises(CheckError, match="answers with 1 class, and label 'y' has 3 in the test table"):
        subject_of(model, data).right(model, model.predict(data.tables["test"]))


def test_a_classifier_of_other_classes_is_refused():
    """A classifier that knows as many classes as the label, but others, is not read by position."""
    data = several([0, 1, 3] * 9, [0, 1, 2] * 10)
    classifier = LogisticRegression().fit(data.train[["p", "q", "r"]], data.train.y)
    with pytest.raises(
        CandidateRefused, match=r"the model's classes are 0, 1, 2, and those of label 'y' .* 0, 1, 3"
    ):
        as_model(classifier, data)


def test_scores_that_are_all_equal_are_scores(data):
    """A model that answers everybody alike is measured as it is."""
    model = as_model(lambda x: np.full(len(x), 0.5), data)
    require_rowwise(model, data.tables["test"])
    subject = subject_of(model, data)
    assert subject.right(model, subject.scores()).mean() == data.labels().mean()
