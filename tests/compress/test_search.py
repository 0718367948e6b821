"""The search for the cheapest variant that meets the budget, on real networks and real recipes."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

from pytest_mlgate.candidate import Candidate, as_model
from pytest_mlgate.compress import screen
from pytest_mlgate.compress.descent import MOST_FAILURES, descend
from pytest_mlgate.compress.make import Made
from pytest_mlgate.compress.recipe import held_rows
from pytest_mlgate.compress.screen import Unlikeness, undecidable
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

    def budget(variant, attempt, quality_only):
        assert not quality_only, "this budget bounds no quality"
        measured.append(variant.identity.name.partition("-")[2])
        assert attempt == len(measured)
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

    def budget(variant, attempt, quality_only):
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


FIVE = ("fp32", "fp32-optimized", "int8-dynamic", "int8-static", "int8-dynamic-per-channel")


def run_with_quality(model, data, keeps, whole=passes):
    """Search where `keeps` says of a variant's name whether it keeps the quality; return the tries too."""
    asked = []

    def budget(variant, attempt, quality_only):
        name = variant.identity.name.partition("-")[2]
        asked.append((name, attempt, quality_only))
        if not keeps(name):
            return judged(Verdict.INCONCLUSIVE, f"{name} loses too much")
        return judged(Verdict.PASS) if quality_only else whole(variant)

    options = SearchOptions(recipes=FIVE, bounds_quality=True)
    return select(model, data, budget, lambda _: None, options), asked


def test_quality_is_shown_from_the_float_model_down_and_passing_costs_nothing(large, wide):
    """Every variant that passes leaves the next its first try; equal answers are asked for once."""
    selection, asked = run_with_quality(large, wide, lambda _: True)
    quality = [(name, attempt) for name, attempt, only in asked if only]
    assert {attempt for _, attempt in quality} == {1}
    assert not {"fp32", "fp32-optimized"} <= {name for name, _ in quality}
    sizes = {v.recipe: v.identity.size_bytes for v in selection.variants if v.identity}
    tried = [sizes[name] for name, _ in quality]
    assert tried == sorted(tried, reverse=True)
    assert selection.release.identity.size_bytes == min(sizes.values())
    assert [attempt for _, attempt, only in asked if not only] == [1]


def test_every_failure_leaves_the_next_variant_less(large, wide):
    """The try counts failures alone, and what was shown at a try is measured whole at the same one."""
    selection, asked = run_with_quality(large, wide, lambda name: name.startswith("fp32"))
    failures = [name for name, _, only in asked if only and not name.startswith("fp32")]
    assert [attempt for _, attempt, only in asked if only and attempt > 1] == list(
        range(2, len(failures) + 1)
    )
    assert selection.release.identity.name.partition("-")[2].startswith("fp32")
    found = {v.recipe: v for v in selection.variants}
    assert all(found[name].status == "rejected" for name in failures)
    assert "loses too much" in found[failures[0]].reason


def test_what_failed_its_quality_is_measured_whole_at_the_same_try(large, wide):
    """The least bad artifact that all checks measure must not get back the level of a first try."""
    selection, asked = run_with_quality(large, wide, lambda _: False)
    assert {v.status for v in selection.variants if v.identity} <= {"rejected", "not_needed"}
    (whole,) = [(name, attempt) for name, attempt, only in asked if not only]
    assert (*whole, True) in asked
    assert selection.release.identity.name.endswith(whole[0])


def test_no_variant_vanishes_from_the_report(large, wide):
    """What was never tried, because too many failed before it, is still listed with that reason."""
    made = [dataclasses.replace(one, answers_as=one.recipe) for one in _made(large, 9)]
    found = descend(
        made,
        {one.recipe: 9.0 - i for i, one in enumerate(made)},
        {one.recipe: i for i, one in enumerate(made)},
        lambda one, attempt: judged(Verdict.FAIL),
    )
    assert [one.recipe for one, _ in found.failures] == [one.recipe for one in made[:MOST_FAILURES]]
    assert not found.kept
    selection, _ = run_with_quality(large, wide, lambda _: False)
    assert {v.recipe for v in selection.variants} == set(FIVE)


def _made(model, count):
    return [Made(recipe=f"r{i}", model=model, answers_as=f"r{i}") for i in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_the_way_down_ends_at_the_cheapest_that_keeps_the_quality(large, seed):
    """Whatever passes in the end, nothing cheaper was left untried unless too much had failed."""
    rng = np.random.default_rng(seed)
    made = _made(large, 12)
    prices = {one.recipe: float(p) for one, p in zip(made, rng.uniform(1, 10, 12), strict=True)}
    differing = {one.recipe: int(d) for one, d in zip(made, rng.integers(0, 4, 12), strict=True)}
    good = {one.recipe for one in made if rng.random() < 0.8}
    tried = []

    def judge_quality(one, attempt):
        tried.append(one.recipe)
        return [] if one.recipe in good else judged(Verdict.FAIL)

    found = descend(made, prices, differing, judge_quality)
    assert set(found.kept) <= good
    assert len(tried) == len(set(tried))
    if len(found.failures) < MOST_FAILURES:
        cheapest = min(found.kept, key=prices.__getitem__)
        assert {name for name in prices if prices[name] < prices[cheapest]} <= set(tried) - good


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


def test_a_variant_that_differs_too_often_to_be_shown_good_is_not_measured():
    """Held-back rows rule out what no interval could show; few differences or few test rows do not."""
    assert "no loss below 0.01 could be shown" in undecidable(Unlikeness(30, 300, 0.0), 700, 0.01)
    assert not undecidable(Unlikeness(0, 300, 0.0), 700, 0.01)
    assert not undecidable(Unlikeness(2, 300, 0.0), 700, 0.01)
    assert not undecidable(Unlikeness(30, 300, 0.0), 50_000, 0.01)
    assert not undecidable(Unlikeness(30, 300, 0.0), 50, 0.01), (
        "the budget has to say how many rows are missing"
    )
    assert not undecidable(Unlikeness(0, 0, 0.0), 700, 0.01)


def test_held_rows_are_the_same_for_recipes_and_for_the_look_at_them():
    """A seed fixes which rows are held back; about 15% of them, and at least two."""
    held = held_rows(1000, 3)
    assert int(held.sum()) == 150
    np.testing.assert_array_equal(held, held_rows(1000, 3))
    assert (held != held_rows(1000, 4)).any()
    assert int(held_rows(3, 0).sum()) == 2


def test_a_regression_is_compressed_by_the_recipes_that_do_not_train():
    """Values stay values in every variant; recipes that learn classes say why they do not apply."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(300, 20)).astype(np.float32), columns=[f"f{i}" for i in range(20)])
    rows["y"] = 1e5 * (3 + rows.sum(axis=1))
    data = Dataset(test=rows[:150], train=rows[150:], label="y", task="regression")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(20, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1))
    model = as_model(Candidate(module, output="value"), data)
    recipes = ("fp32", "int8-dynamic", "int8-static", "distilled-tiny")
    selection, _ = run(model, data, passes, recipes=recipes, train="always")
    found = {v.recipe: v for v in selection.variants}
    assert found["int8-dynamic"].identity.size_bytes < found["fp32"].identity.size_bytes
    assert selection.release.predict(data.tables["test"]).shape == (150,)
    assert found["distilled-tiny"].status == "not_applicable"
    assert "the label is an amount" in found["distilled-tiny"].reason
    assert found["fp32"].figures.accuracy is None
