"""Compression recipes on real networks, and the search for the smallest variant that meets the budget."""

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

from pytest_mlgate.candidate import as_model
from pytest_mlgate.compress.recipes import NotApplicable, int8_dynamic, int8_static, recipes
from pytest_mlgate.compress.search import select
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.evidence import Judgement, Verdict


@pytest.fixture(scope="module")
def wide() -> Dataset:
    """Rows with twenty features and a label that follows from them."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(400, 20)), columns=[f"f{i}" for i in range(20)])
    rows["y"] = (rows.sum(axis=1) > 0).astype(int)
    return Dataset(test=rows[:200], train=rows[200:], label="y")


def network(width: int, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(20, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, 1),
        torch.nn.Sigmoid(),
    )


@pytest.fixture(scope="module")
def large(wide):
    """A network whose weights make up nearly all of its file."""
    return as_model(network(256), wide)


@pytest.fixture(scope="module")
def selected(large, wide):
    """A function that searches with a budget on the number of bytes, and keeps what it measured."""

    def search(largest: int, verdict: Verdict = Verdict.FAIL, *, model=large, data=wide, tolerated=False):
        measured = []

        def budget(variant):
            measured.append(variant.identity.name)
            fits = variant.identity.size_bytes <= largest
            return [
                Judgement(
                    requirement="budget.size_mb",
                    scope="",
                    verdict=Verdict.PASS if fits else verdict,
                    message=f"{variant.identity.size_bytes} bytes",
                    tolerated=tolerated and not fits,
                )
            ]

        return select(model, data, budget, lambda _: None), measured

    return search


@pytest.mark.parametrize("recipe", [int8_dynamic, int8_static])
def test_eight_bits_make_a_large_network_small_and_keep_its_answers(recipe, large, wide):
    """A quantized network is about a quarter of the size, holds int8 weights and answers nearly alike."""
    data = recipe(large, wide.tables["train"])
    assert len(data) < 0.4 * len(large.onnx)
    weights = [
        t for t in onnx.load_model_from_string(data).graph.initializer if t.data_type == onnx.TensorProto.INT8
    ]
    assert sum(np.prod(t.dims) for t in weights) >= 256 * 256
    frame = wide.tables["test"]
    small = type(large)(onnx=data, name="int8", kind="ONNX", features=large.features)
    assert np.abs(small.predict_proba(frame) - large.predict_proba(frame)).max() < 0.03


@pytest.mark.parametrize("recipe", recipes(), ids=lambda r: r.name)
def test_a_recipe_makes_the_same_bytes_twice(recipe, large, wide):
    """The same model and rows give the same variant, so that its digest means something."""
    train = wide.tables["train"]
    assert recipe.apply(large, train) == recipe.apply(large, train)


def test_trees_have_nothing_to_quantize(wide):
    """A forest has no matrix products: both 8-bit recipes say that they do not apply."""
    train = wide.train
    forest = RandomForestClassifier(5, random_state=0).fit(train.drop(columns="y"), train.y)
    model = as_model(forest, wide)
    for recipe in (int8_dynamic, int8_static):
        with pytest.raises(NotApplicable, match="the graph has no"):
            recipe(model, wide.tables["train"])
    selection = select(model, wide, lambda _: [], lambda _: None)
    assert {v.recipe: v.status for v in selection.variants} == {
        "fp32": "release",
        "int8-dynamic": "not_applicable",
        "int8-static": "not_applicable",
    }


def test_static_quantization_needs_the_training_table(large, wide):
    """Without training rows the static recipe does not apply; the test rows are for judging."""
    with pytest.raises(NotApplicable, match="calibrated on the training table, and none was given"):
        int8_static(large, None)
    alone = Dataset(test=wide.test, label="y")
    selection = select(large, alone, lambda _: [], lambda _: None)
    static = next(v for v in selection.variants if v.recipe == "int8-static")
    assert (static.status, static.identity) == ("not_applicable", None)


def test_the_smallest_variant_that_meets_the_budget_ships(selected, large):
    """With room for all, the smallest ships, nothing larger is measured, and all are accounted for."""
    selection, measured = selected(10**9)
    sizes = [v.identity.size_bytes for v in selection.variants]
    assert selection.release.identity.size_bytes == min(sizes)
    assert len(measured) == 1
    assert [v.status for v in selection.variants] == ["release", "not_needed", "not_needed"]
    assert selection.parent is large


def test_variants_that_break_the_budget_are_rejected_with_the_reason(large, wide):
    """A budget that only the float model meets rejects the smaller ones with their messages."""

    def budget(variant):
        verdict = Verdict.PASS if variant.identity.name.endswith("fp32") else Verdict.INCONCLUSIVE
        message = f"drop of {variant.identity.name}"
        return [Judgement(requirement="budget.drop", scope="", verdict=verdict, message=message)]

    selection = select(large, wide, budget, lambda _: None)
    assert selection.release.onnx == large.onnx
    found = {v.recipe: (v.status, v.reason) for v in selection.variants}
    assert found["int8-static"] == ("rejected", "drop of Sequential-int8-static")
    assert found["int8-dynamic"][0] == "rejected"
    assert found["fp32"][0] == "release"


def test_a_worse_verdict_loses_against_a_larger_file(large, wide):
    """Among variants that all miss the budget, an inconclusive one is chosen before a smaller failing one."""

    def budget(variant):
        verdict = Verdict.INCONCLUSIVE if variant.identity.name.endswith("fp32") else Verdict.FAIL
        return [Judgement(requirement="budget.drop", scope="", verdict=verdict, message="no")]

    assert select(large, wide, budget, lambda _: None).release.onnx == large.onnx


def test_if_no_variant_meets_the_budget_the_least_bad_is_measured_on(selected):
    """Without a variant that fits, the smallest of the least bad is the artifact, and the reason says so."""
    selection, measured = selected(10)
    assert len(measured) == 3
    assert {v.status for v in selection.variants} == {"rejected"}
    sizes = {v.recipe: v.identity.size_bytes for v in selection.variants}
    assert selection.release.identity.size_bytes == min(sizes.values())
    chosen = next(v for v in selection.variants if v.identity == selection.release.identity)
    assert chosen.reason.startswith("no variant meets the budget; all checks measured this one: ")


def test_a_tolerated_inconclusive_meets_the_budget(selected):
    """What the policy accepts in writing does not reject a variant."""
    selection, measured = selected(10, Verdict.INCONCLUSIVE, tolerated=True)
    assert len(measured) == 1
    assert selection.variants[0].status == "release"


def test_a_small_network_ships_as_it_is(selected, wide):
    """A network whose 8-bit form is larger than its float form ships in float."""
    model = as_model(network(2), wide)
    selection, _ = selected(10**9, model=model)
    assert selection.release.onnx == model.onnx
    assert next(v for v in selection.variants if v.status == "release").recipe == "fp32"


def test_without_a_budget_the_candidate_ships(large, wide):
    """Nothing says what cheap means, so nothing is compressed."""
    selection = select(large, wide, None, lambda _: None)
    assert selection.release is large
    assert [(v.recipe, v.status) for v in selection.variants] == [("as given", "release")]


def test_a_callable_ships_as_given(wide):
    """A Python callable cannot be compressed, and the variant says so; no budget is asked."""
    model = as_model(lambda rows: np.full(len(rows), 0.5), wide)
    selection = select(model, wide, lambda _: pytest.fail("measured a variant"), lambda _: None)
    assert selection.release is model
    assert "cannot be compressed" in selection.variants[0].reason


def test_progress_is_told(large, wide):
    """Every recipe and every measured variant is announced."""
    said = []
    select(large, wide, lambda _: [], said.append)
    assert [s for s in said if s.startswith("compress: ")] == [f"compress: {r.name}" for r in recipes()]
    assert any(s.startswith("budget on int8") for s in said)
