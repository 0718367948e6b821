"""Students learn the candidate's answers and take its place: same shape, same convention, fewer numbers."""

import dataclasses

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from onnx import numpy_helper
from sklearn.datasets import load_digits
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from torch import nn

from pytest_mlgate.candidate import Candidate, as_model
from pytest_mlgate.compress.invented import image_shape, invent_rows, moved
from pytest_mlgate.compress.lessons import TrainingFailed, make_lesson, raw_answers, to_logits
from pytest_mlgate.compress.objectives import Plan, softened
from pytest_mlgate.compress.recipe import Material, NotApplicable
from pytest_mlgate.compress.recipes import distillation
from pytest_mlgate.compress.students import derived_student, folded, hidden_widths, network
from pytest_mlgate.compress.training import fine_tune, undisturbed
from pytest_mlgate.dataset import Dataset

RECIPES = {recipe.name: recipe for recipe in distillation.RECIPES}


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """Enough steps for a small student of a small table."""
    monkeypatch.setattr(distillation, "_PLAN", dataclasses.replace(distillation._PLAN, steps=500))


def table(rows: int, seed: int) -> pd.DataFrame:
    """Columns of very different scales, one of two values, and a label that follows from three of them."""
    rng = np.random.default_rng(seed)
    made = pd.DataFrame(rng.normal(size=(rows, 8)), columns=[f"f{i}" for i in range(8)])
    made["y"] = (made.f0 + made.f1 + (made.f2 > 0) > 0.3).astype(int)
    made["f0"] = 5000 * made.f0 + 100_000
    made["f2"] = (made.f2 > 0).astype(float)
    made["f7"] = 3.0
    return made


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset(test=table(400, 1), train=table(500, 0), label="y")


@pytest.fixture(scope="module")
def trees(data):
    """A boosted ensemble, which has no layers that anything could be removed from."""
    train = data.train
    return as_model(
        GradientBoostingClassifier(n_estimators=80, random_state=0).fit(
            train.drop(columns="y").to_numpy(), train.y
        ),
        data,
    )


@pytest.fixture(scope="module")
def digits() -> Dataset:
    given = load_digits()
    rows = pd.DataFrame(given.data.astype(np.float32), columns=[f"p{i}" for i in range(64)])
    rows["y"] = given.target
    return Dataset(test=rows[1000:1300], train=rows[:500], label="y")


def chain(*widths: int, inputs: int = 8, outputs: int = 1, last: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0)
    sizes = [inputs, *widths]
    parts = [part for a, b in zip(sizes, widths, strict=False) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(
        nn.BatchNorm1d(inputs), *parts, nn.Linear(sizes[-1], outputs), last or nn.Sigmoid()
    ).eval()


def weights(data: bytes) -> list[np.ndarray]:
    graph = onnx.load_model_from_string(data).graph
    return [numpy_helper.to_array(t) for t in graph.initializer if len(t.dims) > 1]


def same_decisions(student: bytes, model, data: Dataset) -> float:
    """Share of test rows that student and candidate decide alike."""
    frame = data.tables["test"]
    found, expected = (
        dataclasses.replace(model, onnx=student).predict_proba(frame),
        model.predict_proba(frame),
    )
    assert found.shape == expected.shape
    if found.ndim == 1:
        return float(np.mean((found >= 0.5) == (expected >= 0.5)))
    return float(np.mean(found.argmax(axis=1) == expected.argmax(axis=1)))


@pytest.mark.parametrize("size", ["small", "tiny", "nano"])
def test_a_student_decides_as_an_ensemble_does(size, trees, data):
    """Each student of boosted trees agrees with them nearly everywhere, and makes the same bytes twice."""
    recipe = RECIPES[f"distilled-{size}"]
    made = recipe.apply(Material(trees, data, seconds=600))
    assert same_decisions(made, trees, data) > 0.93
    assert len(made) < len(trees.onnx)
    assert recipe.apply(Material(trees, data, seconds=600)) == made


def test_a_student_takes_over_the_order_of_the_columns(data):
    """Whichever class is positive, the student's columns stand as the candidate's do."""
    train = data.train.assign(y=np.where(data.train.y == 1, "approve", "deny"))
    test = data.test.assign(y=np.where(data.test.y == 1, "approve", "deny"))
    given = Dataset(test=test, train=train, label="y", positive="approve")
    forest = RandomForestClassifier(40, max_depth=5, random_state=0)
    model = as_model(forest.fit(train.drop(columns="y").to_numpy(), train.y), given)
    made = RECIPES["distilled-tiny"].apply(Material(model, given, seconds=600))
    assert model.positive_column == 0
    assert same_decisions(made, model, given) > 0.9
    scores = dataclasses.replace(model, onnx=made).predict_proba(given.tables["test"])
    assert np.mean((scores >= 0.5) == given.labels()) > 0.85


def test_a_student_of_many_classes_answers_for_each(digits):
    """A forest over ten digits becomes a network with ten probabilities."""
    train = digits.train
    forest = RandomForestClassifier(40, random_state=0).fit(train.drop(columns="y").to_numpy(), train.y)
    model = as_model(forest, digits)
    made = RECIPES["distilled-tiny"].apply(Material(model, digits, seconds=600))
    assert same_decisions(made, model, digits) > 0.85
    rows = dataclasses.replace(model, onnx=made).predict_proba(digits.tables["test"])
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)


ANSWERS = {
    "one probability in a column": (chain(64, 64), "probability"),
    "one probability": (chain(64, 64, last=nn.Sequential(nn.Sigmoid(), nn.Flatten(0))), "probability"),
    "one logit": (chain(64, 64, last=nn.Identity()), "logit"),
    "two probabilities": (chain(64, 64, outputs=2, last=nn.Softmax(1)), "probability"),
    "two logits": (chain(64, 64, outputs=2, last=nn.Identity()), "logit"),
}


@pytest.mark.parametrize(("module", "output"), ANSWERS.values(), ids=ANSWERS.keys())
def test_a_student_answers_in_the_candidates_shape_and_convention(module, output, data):
    """Raw answers have the candidate's shape, and probabilities stay probabilities."""
    model = as_model(Candidate(module, output=output), data)
    student = dataclasses.replace(model, onnx=RECIPES["distilled-tiny"].apply(Material(model, data)))
    frame = data.tables["test"]
    rows = data.test.drop(columns="y").to_numpy(np.float32)[:5]
    found, expected = (raw_answers(m, rows, frame) for m in (student, model))
    assert found.shape == expected.shape
    assert output == "logit" or (found.min() >= 0 and found.max() <= 1)


def test_students_of_a_chain_keep_its_depth_and_divide_its_widths(data):
    """A quarter and a sixteenth of every width, never under eight; the smallest has one layer of sixteen."""
    model = as_model(chain(128, 256, 64), data)
    material = Material(model, data)
    expected = {"small": [32, 64, 16], "tiny": [8, 16, 8], "nano": [16]}
    for size, widths in expected.items():
        made = weights(RECIPES[f"distilled-{size}"].apply(material))
        assert sorted(w.size for w in made) == sorted(
            a * b for a, b in zip([8, *widths], [*widths, 1], strict=True)
        )


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.second = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(256, 10)

    def forward(self, rows):
        return self.head(self.second(self.first(rows.view(-1, 1, 8, 8) / 16)).flatten(1))


def test_the_small_student_of_convolutions_is_a_thinner_copy(digits):
    """It still convolves, with an eighth of the channels; the smaller ones read the pixels."""
    torch.manual_seed(0)
    model = as_model(Candidate(Convolutions(), output="logit"), digits)
    operators = {}
    for size in ("small", "tiny"):
        made = RECIPES[f"distilled-{size}"].apply(Material(model, digits))
        operators[size] = [n.op_type for n in onnx.load_model_from_string(made).graph.node]
        assert sum(w.size for w in weights(made)) < 0.2 * sum(w.size for w in weights(model.onnx))
    assert operators["small"].count("Conv") == 2
    assert "Conv" not in operators["tiny"]


def test_only_chains_of_layers_are_told_to_be_chains(data, digits):
    """Bare parameters and convolutions are not overlooked; normalisation and dropout are harmless."""
    lesson = make_lesson(Material(as_model(chain(8), data), data), "test", extra=False)
    assert hidden_widths(chain(16, 12), lesson) == [16, 12]
    more = nn.Sequential(chain(16, 12), nn.Dropout())
    assert hidden_widths(more, lesson) == [16, 12]
    more.register_parameter("bare", nn.Parameter(torch.ones(3)))
    assert hidden_widths(more, lesson) is None
    assert hidden_widths(chain(), lesson) is None
    model = as_model(Candidate(Convolutions(), output="logit"), digits)
    assert hidden_widths(Convolutions(), make_lesson(Material(model, digits), "test", extra=False)) is None


def test_the_declared_student_is_distilled(trees, data):
    """What the user declared is trained in a copy and shipped as it was built."""
    student = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 2), nn.Softmax(1))
    before = [p.detach().clone() for p in student.parameters()]
    model = dataclasses.replace(trees, source=dataclasses.replace(trees.source, student=student))
    made = RECIPES["distilled"].apply(Material(model, data, seconds=600))
    assert same_decisions(made, model, data) > 0.9
    assert sorted(w.size for w in weights(made)) == [48, 192]
    assert all(torch.equal(a, b) for a, b in zip(before, student.parameters(), strict=True))
    assert student.training


def test_without_a_declared_student_the_recipe_does_not_apply(trees, data):
    """The message says how a student is declared."""
    with pytest.raises(NotApplicable, match=r"no student was declared: Candidate\(model, student=\.\.\.\)"):
        RECIPES["distilled"].apply(Material(trees, data))


def test_a_student_that_answers_in_another_shape_is_an_error(trees, data):
    """A student with one output cannot stand in for a candidate with two."""
    source = dataclasses.replace(trees.source, student=nn.Sequential(nn.Linear(8, 1), nn.Sigmoid()))
    model = dataclasses.replace(trees, source=source)
    with pytest.raises(
        TrainingFailed, match=r"answers 3 rows with shape \(3, 1\), the candidate with \(3, 2\)"
    ):
        RECIPES["distilled"].apply(Material(model, data))


def test_a_candidate_that_is_smaller_than_its_student_stays(data):
    """Two numbers for a feature need no student, and the message has both sizes."""
    train = data.train
    model = as_model(
        LogisticRegression(max_iter=2000).fit(train[["f1", "f2"]].to_numpy(), train.y),
        dataclasses.replace(data, features=("f1", "f2")),
    )
    with pytest.raises(NotApplicable, match=r"no smaller \([\d,]+ bytes of weights\) than the candidate"):
        RECIPES["distilled-small"].apply(Material(model, dataclasses.replace(data, features=("f1", "f2"))))


def test_missing_values_are_filled_only_where_the_training_table_has_some(data):
    """A student of trees that read missing values reads them too; others carry no step for it."""
    train, test = (t.assign(f1=t.f1.where(np.arange(len(t)) % 7 != 0)) for t in (data.train, data.test))
    given = Dataset(test=test, train=train, label="y")
    booster = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    model = as_model(booster.fit(train.drop(columns="y").to_numpy(), train.y), given)
    made = RECIPES["distilled-tiny"].apply(Material(model, given, seconds=600))
    assert same_decisions(made, model, given) > 0.88
    assert "IsNaN" in {n.op_type for n in onnx.load_model_from_string(made).graph.node}
    lesson = make_lesson(Material(model, data), "test", extra=False)
    assert next(type(part).__name__ for part in network(lesson, [4])) == "Standardised"


def test_folding_the_standardisation_changes_no_answer(trees, data):
    """Columns of scales from 1 to 100,000, and a constant one, give the same answers one step earlier."""
    lesson = make_lesson(Material(trees, data), "test", extra=False)
    torch.manual_seed(0)
    student = network(lesson, [16, 8]).eval()
    rows = torch.from_numpy(lesson.rows)
    with torch.no_grad():
        before = student(rows)
        after = folded(student)
        torch.testing.assert_close(after(rows), before, atol=1e-5, rtol=1e-4)
    assert len(after) == len(student) - 1
    plain = nn.Sequential(nn.Linear(2, 1))
    assert folded(plain) is plain


def test_invented_rows_lie_among_the_given_ones():
    """Every value lies within its column, a column of two values keeps them, and a seed fixes all."""
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=100), rng.integers(0, 2, 100), rng.uniform(5, 6, 100)]).astype(
        np.float32
    )
    made = invent_rows(rows, 301, np.random.default_rng(1))
    assert made.shape == (301, 3)
    assert made.dtype == np.float32
    assert (made >= rows.min(axis=0)).all()
    assert (made <= rows.max(axis=0)).all()
    assert set(np.unique(made[:, 1])) == {0.0, 1.0}
    np.testing.assert_array_equal(made, invent_rows(rows, 301, np.random.default_rng(1)))
    assert not np.isin(made[:150, 0], rows[:, 0]).all()


def test_rows_that_are_images_are_moved_by_a_few_pixels():
    """A bright pixel stays in its channel and lands within a tenth of the side; the flat order is kept."""
    image = np.zeros((1, 2, 10, 20), np.float32)
    image[0, 1, 5, 8] = 1.0
    many = np.repeat(image.reshape(1, -1), 400, axis=0)
    places = {
        tuple(int(v[0]) for v in np.nonzero(row.reshape(2, 10, 20)))
        for row in moved(many, (2, 10, 20), np.random.default_rng(0))
    }
    assert places == {(1, 5 + down, 8 + right) for down in (-1, 0, 1) for right in (-2, -1, 0, 1, 2)}
    made = invent_rows(many, 100, np.random.default_rng(0), (2, 10, 20))
    assert made.shape == (100, 400)
    np.testing.assert_allclose(made.sum(axis=1), 1.0, atol=1e-6)


def test_a_network_that_convolves_whole_rows_reads_them_as_images():
    """Its rows are images of what the first convolution is given; a network of dense layers has none."""
    rows = np.random.default_rng(0).normal(size=(40, 32)).astype(np.float32)
    table = pd.DataFrame(rows, columns=[f"p{i}" for i in range(32)])
    table["y"] = (rows[:, 0] > 0).astype(int)
    data = Dataset(test=table, label="y")
    for first, shape in ((nn.Conv2d(2, 3, 3, padding=1), (2, 4, 4)), (nn.Identity(), None)):
        module = nn.Sequential(nn.Unflatten(1, (2, 4, 4)), first, nn.Flatten(), nn.LazyLinear(2)).eval()
        module(torch.from_numpy(rows[:2]))
        model = as_model(Candidate(module, output="logit"), data)
        assert image_shape(model, rows) == shape


def test_the_lesson_holds_the_candidates_own_answers(trees, data):
    """The teacher's logits give its probabilities back, on training rows and on invented ones."""
    lesson = make_lesson(Material(trees, data), "test")
    frame = data.tables["train"]
    again = np.exp(lesson.teacher)
    np.testing.assert_allclose(again[:, 1], trees.predict_proba(frame), atol=1e-5)
    assert len(lesson.extra) == len(lesson.extra_teacher) == max(8_000, 4 * int((~lesson.held).sum()))
    np.testing.assert_allclose(
        np.exp(lesson.extra_teacher), raw_answers(trees, lesson.extra, frame), atol=1e-5
    )


def test_certain_answers_have_finite_logits():
    """Probabilities of exactly 0 and 1 become large logits, not infinite ones."""
    one = to_logits(np.array([[0.0], [1.0], [0.5]]), "probability")
    two = to_logits(np.array([[0.0, 1.0]]), "probability")
    assert np.isfinite(one).all()
    assert np.isfinite(two).all()
    assert one[2, 0] == 0
    assert to_logits(np.array([-3.0, 3.0]), "logit").tolist() == [[-3.0], [3.0]]


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_softened_loss_is_the_divergence_of_the_softened_answers(temperature):
    """T squared times the Kullback-Leibler divergence at temperature T, in one column as in two."""
    student, teacher = torch.tensor([[0.5, -1.0], [2.0, 0.0]]), torch.tensor([[1.5, 0.0], [0.0, 1.0]])
    p, q = (torch.softmax(z.double() / temperature, 1) for z in (teacher, student))
    expected = temperature**2 * (p * (p.log() - q.log())).sum(1).mean()
    assert float(softened(student, teacher, temperature)) == pytest.approx(float(expected), rel=1e-5)
    differences = [z[:, 1:] - z[:, :1] for z in (student, teacher)]
    assert float(softened(*differences, temperature)) == pytest.approx(float(expected), rel=1e-5)
    assert float(softened(teacher, teacher, temperature)) == pytest.approx(0, abs=1e-6)


def test_a_teacher_is_worth_more_than_a_few_labels(data):
    """On forty rows a student with a teacher and invented rows decides better than one with labels alone."""
    train = data.train
    forest = RandomForestClassifier(60, max_depth=6, random_state=0)
    few = Dataset(test=data.test, train=train[:40], label="y")
    model = as_model(forest.fit(train.drop(columns="y").to_numpy(), train.y), few)
    lesson = make_lesson(Material(model, few), "test")
    alone = make_lesson(Material(model, few), "test", extra=False)
    rows = torch.from_numpy(data.test.drop(columns="y").to_numpy(np.float32))
    found = []
    for given, share in ((lesson, 0.9), (alone, 0.0)):
        with undisturbed(0):
            student = network(given, [32])
            fine_tune(student, given, Plan(steps=400, rate=4e-3, teacher_share=share), seed=0, seconds=600)
            with torch.no_grad():
                found.append(float(np.mean(student(rows).numpy().argmax(1) == data.labels())))
    assert found[0] > found[1]


def test_a_module_without_hidden_layers_has_small_students_all_the_same(data):
    """A thin copy is not possible for a single wide layer; the smaller students are, or say why not."""
    model = as_model(chain(), data)
    lesson = make_lesson(Material(model, data), "test", extra=False)
    with pytest.raises(NotApplicable):
        derived_student(Material(model, data), lesson, "small")
