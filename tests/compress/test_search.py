"""The search for the cheapest variant that meets the budget, on real networks and real recipes."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

from pytest_mlgate.candidate import as_model
from pytest_mlgate.compress import screen
from pytest_mlgate.compress.make import Made
from pytest_mlgate.compress.search import SearchOptions, select
from pytest_mlgate.compress.store import VariantStore
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.evidence import Judgement, QuickFigures, Verdict

THREE = ("fp32", "int8-dynamic", "int8-static")


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


def judged(verdict: Verdict, message: str = "", *, tolerated: bool = False) -> list[Judgement]:
    return [
        Judgement(
            requirement="budget.size_mb", scope="", verdict=verdict, message=message, tolerated=tolerated
        )
    ]


def run(model, data, verdict_of, said=None, **options):
    """Search with three quick recipes and return the selection with the names of what was measured."""
    measured = []

    def budget(variant, attempt):
        measured.append(variant.identity.name.partition("-")[2])
        assert attempt <= len(measured)
        return verdict_of(variant)

    chosen = SearchOptions(**{"recipes": THREE, **options})
    return select(model, data, budget, (said if said is not None else []).append, chosen), measured


def passes(_):
    return judged(Verdict.PASS)


def test_the_smallest_variant_that_meets_the_budget_ships(large, wide):
    """With room for all, the smallest ships, nothing larger is measured, and all are accounted for."""
    selection, measured = run(large, wide, passes)
    sizes = [v.identity.size_bytes for v in selection.variants]
    assert selection.release.identity.size_bytes == min(sizes)
    assert len(measured) == 1
    assert [v.status for v in selection.variants] == ["release", "not_needed", "not_needed"]
    assert selection.parent is large


def test_the_fastest_variant_goes_first_where_latency_is_what_is_cheap(large, wide):
    """Told to minimise latency, the variant that took least time in the quick look is measured first."""
    selection, measured = run(large, wide, passes, objective="latency")
    ratios = {v.recipe: v.figures.latency_ratio for v in selection.variants}
    assert ratios[measured[0]] <= min(ratios.values()) * 1.06


def test_variants_that_break_the_budget_are_rejected_with_the_reason(large, wide):
    """A budget that only the float model meets rejects the smaller ones with their messages."""

    def only_float(variant):
        name = variant.identity.name
        return judged(Verdict.PASS if name.endswith("fp32") else Verdict.INCONCLUSIVE, f"drop of {name}")

    selection, _ = run(large, wide, only_float)
    assert selection.release.onnx == large.onnx
    found = {v.recipe: (v.status, v.reason) for v in selection.variants}
    assert found["int8-static"] == ("rejected", "drop of Sequential-int8-static")
    assert found["int8-dynamic"][0] == "rejected"
    assert found["fp32"][0] == "release"


def test_a_worse_verdict_loses_against_a_larger_file(large, wide):
    """Among variants that all miss the budget, an inconclusive one is chosen before a smaller failing one."""

    def none(variant):
        float_model = variant.identity.name.endswith("fp32")
        return judged(Verdict.INCONCLUSIVE if float_model else Verdict.FAIL, "no")

    assert run(large, wide, none)[0].release.onnx == large.onnx


def test_if_no_variant_meets_the_budget_the_least_bad_is_measured_on(large, wide):
    """Without a variant that fits, the smallest of the least bad is the artifact, and the reason says so."""
    selection, measured = run(large, wide, lambda _: judged(Verdict.FAIL, "too large"))
    assert len(measured) == 3
    assert {v.status for v in selection.variants} == {"rejected"}
    sizes = {v.recipe: v.identity.size_bytes for v in selection.variants}
    assert selection.release.identity.size_bytes == min(sizes.values())
    assert selection.variants[0].identity == selection.release.identity
    assert selection.variants[0].reason.startswith(
        "no variant meets the budget; all checks measured this one"
    )


def test_a_tolerated_inconclusive_meets_the_budget(large, wide):
    """What the policy accepts in writing does not reject a variant."""
    selection, measured = run(large, wide, lambda _: judged(Verdict.INCONCLUSIVE, "", tolerated=True))
    assert len(measured) == 1
    assert selection.variants[0].status == "release"


def test_what_cannot_be_measured_at_all_is_tried_once(large, wide):
    """Where the target is missing, no other variant could be measured either: the search stops."""
    missing = judged(Verdict.NOT_RUN, "no such device")
    recipes = (*THREE, "distilled-tiny")
    selection, measured = run(large, wide, lambda _: missing, recipes=recipes, train="when_needed")
    assert len(measured) == 1
    assert "distilled-tiny" not in {v.recipe for v in selection.variants}
    assert selection.variants[0].status == "rejected"


def test_a_small_network_ships_as_it_is(wide):
    """A network whose 8-bit form is larger than its float form ships in float."""
    model = as_model(network(2), wide)
    selection, _ = run(model, wide, passes)
    assert selection.release.onnx == model.onnx
    assert next(v for v in selection.variants if v.status == "release").recipe == "fp32"


def test_trees_ship_in_float_and_say_why(wide):
    """A forest has no matrix products: the 8-bit recipes do not apply and the float model ships."""
    train = wide.train
    forest = RandomForestClassifier(5, random_state=0).fit(train.drop(columns="y"), train.y)
    selection, _ = run(as_model(forest, wide), wide, passes)
    assert {v.recipe: v.status for v in selection.variants} == {
        "fp32": "release",
        "int8-dynamic": "not_applicable",
        "int8-static": "not_applicable",
    }


def test_static_quantization_needs_the_training_table(large, wide):
    """Without training rows the static recipe does not apply; the test rows are for judging."""
    selection, _ = run(large, Dataset(test=wide.test, label="y"), passes)
    static = next(v for v in selection.variants if v.recipe == "int8-static")
    assert (static.status, static.identity) == ("not_applicable", None)
    assert "no training table was given" in static.reason


def test_forbidden_recipes_are_not_used_and_are_listed(large, wide):
    """What the policy forbids is neither made nor measured, and the report says so."""
    selection, measured = run(large, wide, passes, forbid=("int8-static", "int8-dynamic"))
    found = {v.recipe: v.status for v in selection.variants}
    assert found == {"fp32": "release", "int8-static": "forbidden", "int8-dynamic": "forbidden"}
    assert measured == ["fp32"]


def test_recipes_that_train_run_only_where_needed(large, wide):
    """Training is tried when nothing else meets the budget, and not before."""
    recipes = ("fp32", "distilled-tiny")

    def small(variant):
        return judged(Verdict.PASS if variant.identity.size_bytes < 20_000 else Verdict.FAIL, "too large")

    options = {"recipes": recipes, "train": "when_needed", "train_seconds": 5.0}
    met, _ = run(large, wide, passes, **options)
    assert [v.recipe for v in met.variants] == ["fp32"]
    needed, measured = run(large, wide, small, **options)
    assert measured[0] == "fp32"
    assert next(v for v in needed.variants if v.status == "release").recipe.startswith("distilled-tiny")


def test_a_variant_that_loses_clearly_in_training_is_not_measured(large, wide, monkeypatch):
    """The quick look on training rows rules out what is far from the allowed loss of accuracy."""

    def look(made, *_):
        return {
            one.recipe: QuickFigures(
                latency_ratio=1.0, latency_us=1.0, accuracy=0.9 if one.recipe == "fp32" else 0.5
            )
            for one in made
        }

    monkeypatch.setattr("pytest_mlgate.compress.search.quick_look", look)
    selection, measured = run(large, wide, passes, max_accuracy_drop=0.01)
    assert measured == ["fp32"]
    reasons = {v.recipe: v.reason for v in selection.variants}
    assert "loses 0.4 of accuracy on the training rows (accepted: 0.01)" in reasons["int8-static"]


def test_withheld_training_rows_are_not_touched(large, wide):
    """Where the training rows are accounted for, no recipe sees them, and the report says why."""
    selection, _ = run(
        large,
        wide,
        passes,
        recipes=(*THREE, "distilled-tiny"),
        train="always",
        withheld="epsilon counts them",
    )
    found = {v.recipe: v for v in selection.variants}
    for name in ("int8-static", "distilled-tiny"):
        assert found[name].status == "not_applicable"
        assert "epsilon counts them" in found[name].reason
    assert found["fp32"].figures.accuracy is None


def test_if_no_recipe_applies_the_candidate_is_measured_as_it_is(wide):
    """A search that made nothing still measures the candidate against the budget."""
    train = wide.train
    forest = RandomForestClassifier(3, random_state=0).fit(train.drop(columns="y"), train.y)
    model = as_model(forest, wide)
    measured = []

    def budget(variant, attempt):
        measured.append(variant.identity.digest)
        return judged(Verdict.PASS)

    selection = select(model, wide, budget, lambda _: None, SearchOptions(recipes=("int8-dynamic",)))
    assert measured == [model.identity.digest]
    assert selection.release is model
    assert (selection.variants[0].recipe, selection.variants[0].status) == ("as given", "release")


def test_a_search_goes_on_where_it_stopped(large, wide, tmp_path, monkeypatch):
    """A variant that was made before is taken from the store; one whose file was changed is made anew."""
    store = VariantStore(tmp_path)
    first, _ = run(large, wide, passes, store=store)
    kept = sorted(tmp_path.glob("*.variant"))
    assert len(kept) == 3
    kept[0].write_bytes(kept[0].read_bytes()[:-1] + b"x")
    written = []
    monkeypatch.setattr(VariantStore, "write", lambda self, key, onnx: written.append(key))
    second, _ = run(large, wide, passes, store=store)
    assert len(written) == 1
    digests = [{v.recipe: v.identity.digest for v in s.variants} for s in (first, second)]
    assert digests[0] == digests[1]


def test_without_a_budget_the_candidate_ships(large, wide):
    """Nothing says what cheap means, so nothing is compressed."""
    selection = select(large, wide, None, lambda _: None)
    assert selection.release is large
    assert [(v.recipe, v.status) for v in selection.variants] == [("as given", "release")]


def test_a_callable_ships_as_given(wide):
    """A Python callable cannot be compressed, and the variant says so; no budget is asked."""
    model = as_model(lambda rows: np.full(len(rows), 0.5), wide)
    selection = select(model, wide, lambda *_: pytest.fail("measured a variant"), lambda _: None)
    assert selection.release is model
    assert "cannot be compressed" in selection.variants[0].reason


def test_progress_is_told(large, wide):
    """Every recipe and every measured variant is announced."""
    said = []
    run(large, wide, passes, said)
    assert [s for s in said if s.startswith("compress")] == [
        "compress 1/3: fp32",
        "compress 2/3: int8-dynamic",
        "compress 3/3: int8-static",
    ]
    assert any(s.startswith("budget on int8") for s in said)


def test_the_same_answers_again_are_no_further_attempt(large, wide):
    """A graph that was only rewritten shares its source's attempt; other answers are further ones."""
    attempts = {}

    def budget(variant, attempt):
        attempts[variant.identity.name.partition("-")[2]] = attempt
        return judged(Verdict.FAIL, "no")

    recipes = ("fp32", "fp32-optimized", "int8-dynamic", "int8-static")
    select(large, wide, budget, lambda _: None, SearchOptions(recipes=recipes))
    assert attempts["fp32"] == attempts["fp32-optimized"]
    assert sorted({attempts["fp32"], attempts["int8-dynamic"], attempts["int8-static"]}) == [1, 2, 3]


def test_the_front_holds_what_nothing_beats(large):
    """A variant is on the front unless another is as cheap and as accurate, and better in one of the two."""
    made = [Made(recipe=name, model=large) for name in ("fast", "good", "beaten")]
    looks = {"fast": (0.5, 0.80), "good": (1.0, 0.90), "beaten": (1.0, 0.85)}
    figures = {n: QuickFigures(latency_ratio=r, latency_us=r, accuracy=a) for n, (r, a) in looks.items()}
    marked = screen.with_front(made, figures, "latency")
    assert {n: f.on_front for n, f in marked.items()} == {"fast": True, "good": True, "beaten": False}


@pytest.mark.parametrize("batch", [1, 8])
def test_a_graph_with_a_fixed_batch_is_searched_like_any_other(wide, tmp_path, batch):
    """A candidate that takes exactly so many rows at once is compressed, ordered, measured and judged."""
    import onnx

    proto = onnx.load_model_from_string(as_model(network(32), wide).onnx)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    path = tmp_path / "fixed.onnx"
    onnx.save(proto, str(path))
    model = as_model(str(path), wide)
    selection, measured = run(model, wide, passes)
    assert len(measured) == 1
    made = {v.recipe: v.status for v in selection.variants}
    assert set(made.values()) <= {"release", "not_needed"}
    assert all(v.figures.latency_ratio > 0 for v in selection.variants)


def test_a_model_that_reads_text_is_searched_too(wide):
    """Columns of text go through the quick look; what cannot be quantized says so."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rows = wide.test[["f0", "y"]].copy()
    rows["kind"] = np.where(rows.y == 1, "good", "bad")
    data = Dataset(test=rows[:100], train=rows[100:], label="y", features=("kind", "f0"))
    steps = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    fitted = make_pipeline(steps, LogisticRegression()).fit(rows[["kind", "f0"]], rows.y)
    selection, _ = run(as_model(fitted, data), data, passes)
    found = {v.recipe: v for v in selection.variants}
    assert selection.variants[0].status == "release"
    assert found["fp32"].figures.latency_us > 0
    assert "not_applicable" in {v.status for v in selection.variants}
