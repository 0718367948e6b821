"""The budget check: every bound can be red, and a target that is not there never passes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_mlgate import discovery, policy
from pytest_mlgate.candidate import as_model
from pytest_mlgate.candidate.model import OnnxModel
from pytest_mlgate.dataset import Dataset
from pytest_mlgate.errors import CheckError, Misuse
from pytest_mlgate.evidence import Findings, Grade, Verdict
from pytest_mlgate.hardware import ratio, times
from pytest_mlgate.hardware.backends.protocol import Answer
from pytest_mlgate.hardware.latency import latency
from pytest_mlgate.hardware.target import Targets
from pytest_mlgate.hardware.times import Times
from pytest_mlgate.judge import judge
from pytest_mlgate.levels import Tails
from pytest_mlgate.plan import Plan, make_plan
from pytest_mlgate.subject import Subject


def model(weights: list[float], *, extra: int = 0, ops: tuple[str, ...] = (), name: str = "m") -> OnnxModel:
    """Return a logistic model of two columns, with further operators and bytes that do nothing."""
    given = numpy_helper.from_array(np.asarray(weights, np.float32).reshape(2, 1), "w")
    unused = numpy_helper.from_array(np.zeros(extra, np.float32), "unused")
    nodes = [helper.make_node("MatMul", ["features", "w"], ["z0"])]
    nodes += [helper.make_node(op, [f"z{i}"], [f"z{i + 1}"]) for i, op in enumerate(ops)]
    nodes.append(helper.make_node("Sigmoid", [f"z{len(ops)}"], ["s"]))
    features = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", 2])]
    scores = [helper.make_tensor_value_info("s", TensorProto.FLOAT, ["rows", 1])]
    graph = helper.make_graph(nodes, "m", features, scores, initializer=[given, unused])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(proto)
    return OnnxModel(onnx=proto.SerializeToString(), name=name, kind="ONNX", features=("a", "b"))


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Six hundred rows whose label follows from column a."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"a": rng.normal(size=600), "b": rng.normal(size=600)})
    rows["y"] = (rows.a > 0).astype(int)
    rows["g"] = np.where(np.arange(600) % 3 == 0, "few", "many")
    return Dataset(test=rows, label="y", sensitive=("g",), features=("a", "b"))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Fewer processes and runs: these tests are about verdicts, not about precision."""
    for module in (times, ratio):
        monkeypatch.setattr(module, "PROCESSES", 3)
    for name in ("latency", "footprint"):
        monkeypatch.setattr(f"pytest_mlgate.hardware.{name}.PROCESSES", 3)
    monkeypatch.setattr("pytest_mlgate.hardware.throughput.PROCESSES", 2)
    monkeypatch.setattr(times, "RUNS", 60)
    monkeypatch.setattr(ratio, "_SECONDS", 0.1)


@pytest.fixture
def measured(tmp_path, data):
    """A function that declares a budget in a policy, measures it and returns findings and verdicts."""

    def run(bounds: str, *, targets: str = "", release: OnnxModel | None = None, **fields: Any):
        plan = planned(tmp_path, bounds, targets)
        own = release or model([4.0, 0.0])
        subject = Subject(
            release=own,
            parent=fields.pop("parent", own),
            baseline=fields.pop("baseline", None),
            data=fields.pop("given", data),
            training_record=None,
            levels=plan.levels,
            seed=0,
            targets=plan.targets,
        )
        (request,) = plan.requests
        findings: Findings = discovery.checks()["budget"].function(subject, **request.parameters)
        return findings, judge(request.requirements, findings.measurements)

    return run


def planned(tmp_path, bounds: str, targets: str = "") -> Plan:
    path = tmp_path / "mlgate.toml"
    path.write_text(f'required = ["budget"]\n[checks.budget]\n{bounds}\n{targets}\n')
    return make_plan(policy.load(path), [], discovery.checks())


@pytest.mark.parametrize(
    ("parameter", "loose", "tight"),
    [
        ("latency_ms", 10_000, 1e-6),
        ("throughput_per_s", 1, 1e12),
        ("cold_start_ms", 100_000, 1e-6),
        ("memory_mb", 10_000, 1e-6),
        ("size_mb", 1, 1e-6),
        ("max_accuracy_drop", 0.1, None),
    ],
)
def test_every_bound_can_pass_and_can_fail(measured, parameter, loose, tight):
    """A generous bound passes, an impossible one fails, on figures that were really taken."""
    _, (passed,) = measured(f"{parameter} = {loose}")
    assert passed.verdict is Verdict.PASS, passed.message
    if tight is not None:
        _, (failed,) = measured(f"{parameter} = {tight}")
        assert failed.verdict is Verdict.FAIL, failed.message


def test_cost_and_energy_need_their_price_and_power(measured):
    """A price makes a cost; energy without a counter is an estimate and needs the opt-in."""
    priced = '[targets.here]\nid = "cpu"\nprice_per_hour = 1.0\nwatts = 20.0'
    _, (cheap,) = measured('cost_per_1000 = 1000.0\ntarget = "here"', targets=priced)
    assert cheap.verdict is Verdict.PASS
    _, (dear,) = measured('cost_per_1000 = 1e-15\ntarget = "here"', targets=priced)
    assert dear.verdict is Verdict.FAIL
    _, (unpriced,) = measured("cost_per_1000 = 1000.0")
    assert unpriced.verdict is Verdict.NOT_RUN
    assert "names no price" in unpriced.message
    findings, (strict,) = measured('energy_mj = 1000.0\ntarget = "here"', targets=priced)
    if findings.measurements[0].grade is Grade.ESTIMATED:
        assert strict.verdict is Verdict.NOT_RUN
        _, (opted,) = measured(
            'energy_mj = 1000.0\ntarget = "here"\nmin_evidence = "estimate"', targets=priced
        )
        assert opted.verdict is Verdict.PASS
        assert "[estimated, not measured]" in opted.message


def test_lost_accuracy_fails_and_names_the_rows(measured):
    """An artifact that decides worse than its float parent fails, overall and in every group."""
    _, (overall,) = measured("max_accuracy_drop = 0.01", release=model([0.0, 4.0]), parent=model([4.0, 0.0]))
    assert overall.verdict is Verdict.FAIL
    assert "rows right only in float" in overall.message
    findings, groups = measured(
        "max_group_accuracy_drop = 0.01", release=model([0.0, 4.0]), parent=model([4.0, 0.0])
    )
    assert [j.verdict for j in groups] == [Verdict.FAIL, Verdict.FAIL]
    assert [m.scope for m in findings.measurements] == ["g=few", "g=many"]
    assert [m.n for m in findings.measurements] == [200, 400]


def test_a_loss_in_one_group_alone_is_found(measured, data):
    """A model that is worse for the smaller group only fails there, though the whole hardly moves."""
    rows = data.test.copy()
    rows["b"] = np.where(rows.g == "few", -rows.a, rows.a)
    split = dataclasses.replace(data, test=rows)
    _, groups = measured(
        "max_group_accuracy_drop = 0.05", release=model([0.0, 4.0]), parent=model([4.0, 0.0]), given=split
    )
    assert {j.scope: j.verdict for j in groups} == {"g=few": Verdict.FAIL, "g=many": Verdict.PASS}


def test_group_bounds_without_groups_are_an_error(measured, data):
    """Asking about groups where no column is sensitive is an error, not an empty pass."""
    alone = dataclasses.replace(data, sensitive=())
    with pytest.raises(CheckError, match="max_group_accuracy_drop needs groups"):
        measured("max_group_accuracy_drop = 0.1", given=alone)


def test_a_slower_model_fails_against_the_baseline(measured):
    """The ratio to the baseline passes for the same model and fails for one with far more work."""
    same = model([4.0, 0.0])
    heavy = model([4.0, 0.0], ops=("Identity", *["Tanh", "Atanh"] * 60))
    _, (equal,) = measured("max_latency_ratio = 2.0", release=same, baseline=same)
    assert equal.verdict is Verdict.PASS, equal.message
    _, (slower,) = measured("max_latency_ratio = 1.05", release=heavy, baseline=same)
    assert slower.verdict is Verdict.FAIL, slower.message
    _, (quicker,) = measured('max_latency_ratio = 0.9\nagainst = "parent"', release=same, parent=heavy)
    assert quicker.verdict is Verdict.PASS, quicker.message


def test_a_ratio_without_a_baseline_is_an_error(measured):
    """Nothing to compare with is an error that says how to give one."""
    with pytest.raises(CheckError, match="mlgate_baseline"):
        measured("max_latency_ratio = 1.05")


def test_a_percentile_that_is_none_is_an_error(measured):
    """p100 has no bound that runs could show."""
    with pytest.raises(CheckError, match="outside 50 to 100"):
        measured("latency_ms = 5\npercentile = 100.0")


def test_an_adapter_that_is_not_there_was_not_measured(measured):
    """Bounds on an adapter of a model without one are not_run and say what would have one."""
    _, judgements = measured("adapter_mb = 1.0\nmax_trainable_share = 0.1")
    assert [j.verdict for j in judgements] == [Verdict.NOT_RUN, Verdict.NOT_RUN]
    assert "merge_and_unload" in judgements[0].message


def test_an_adapter_is_bounded_by_size_and_share(measured, data):
    """A candidate with LoRA adapters is merged, and its adapter's weights and share can pass and fail."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    base = torch.nn.Sequential(
        torch.nn.Linear(2, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1), torch.nn.Sigmoid()
    )
    adapted = as_model(get_peft_model(base, LoraConfig(r=1, target_modules=["0"])), data)
    for bounds, verdict in (
        ("adapter_mb = 1.0\nmax_trainable_share = 0.5", Verdict.PASS),
        ("adapter_mb = 1e-5\nmax_trainable_share = 0.01", Verdict.FAIL),
    ):
        findings, judgements = measured(bounds, release=adapted)
        assert [j.verdict for j in judgements] == [verdict, verdict]
        assert findings.measurements[0].value == pytest.approx((2 + 64) * 4 / 1e6)


def test_a_machine_too_noisy_to_decide_is_inconclusive(tmp_path):
    """Processes that differ widely around the bound decide nothing: no pass and no fail by luck."""
    place = Targets().resolve("cpu")
    answers = tuple(Answer(samples_ns=[ms * 1_000_000] * 600) for ms in (2, 9, 3, 7, 4))
    found = latency(Times(target=place, answers=answers, where="", batch=1, rows=1), 99, Tails(0.025, 0.025))
    (requirement,) = planned(tmp_path, "latency_ms = 5").requests[0].requirements
    (judgement,) = judge([requirement], [dataclasses.replace(found, bound="latency_ms")])
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.n_needed is None


def test_the_best_batch_size_within_the_bound_is_reported(measured):
    """Beside a latency bound stands what each batch size gives and which gives most within it."""
    findings, _ = measured("latency_ms = 100")
    table = next(t for t in findings.tables if t.title == "Batch sizes")
    assert [row[0] for row in table.rows] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert "gives most rows" in table.note


def test_the_npu_that_nothing_is_mapped_to_is_not_run(measured):
    """An alias without a device gives no figure for any bound, and says what to write in the policy."""
    bounds = "latency_ms = 5\nmax_latency_ratio = 1.05\nthroughput_per_s = 1\nmax_accuracy_drop = 0.1"
    same = model([4.0, 0.0])
    _, judgements = measured(f'{bounds}\ntarget = "npu"', release=same, baseline=same)
    assert {j.verdict for j in judgements} == {Verdict.NOT_RUN}
    assert all("maps it to no device" in j.message for j in judgements)


def test_a_target_whose_tool_is_missing_is_not_run_and_names_the_install(measured):
    """An NPU backend without its tool gives no figure, and the message ends in the command that brings it."""
    targets = '[targets.npu]\nid = "openvino:NPU"'
    _, (judgement,) = measured('latency_ms = 5\ntarget = "npu"', targets=targets)
    assert judgement.verdict is Verdict.NOT_RUN
    assert "openvino:NPU" in judgement.message


def test_a_target_without_a_clock_gives_no_latency(measured):
    """An emulated NPU never has a latency, whatever grade the policy is content with."""
    targets = '[targets]\nnpu = "qcom:soc69"'
    bounds = 'latency_ms = 1000\ntarget = "npu"\nmin_evidence = "estimate"'
    _, (judgement,) = measured(bounds, targets=targets)
    assert judgement.verdict is Verdict.NOT_RUN
    assert "no latency" in judgement.message


def test_emulated_answers_judge_accuracy_and_say_so(measured):
    """Accuracy on an emulated NPU can pass, with its grade in the message."""
    targets = '[targets]\nnpu = "qcom:soc69"'
    findings, (judgement,) = measured('max_accuracy_drop = 0.05\ntarget = "npu"', targets=targets)
    assert findings.measurements[0].grade is Grade.EMULATED
    assert judgement.verdict is Verdict.PASS
    assert "[emulated, not measured]" in judgement.message


def test_one_operator_on_the_cpu_fails(measured):
    """A model with one operator on the CPU fails every bound on the NPU, naming the operator."""
    targets = '[targets]\nnpu = "qcom:soc69"'
    fallen = model([4.0, 0.0], ops=("Erf",))
    _, judgements = measured(
        'latency_ms = 5\nmax_accuracy_drop = 0.1\ntarget = "npu"', targets=targets, release=fallen
    )
    assert [j.verdict for j in judgements] == [Verdict.FAIL, Verdict.FAIL]
    assert all("Erf" in j.message for j in judgements)


def test_an_estimate_is_no_measurement(measured, tmp_path):
    """A vendor's estimate is not_run where a measurement is required, and can pass by the opt-in."""
    from tests.hardware import npu_models

    path = tmp_path / "net.tflite"
    path.write_bytes(npu_models.conv_tflite())
    device = "arm:ethos-u55-128/Ethos_U55_High_End_Embedded/Shared_Sram"
    targets = f'[targets.npu]\nid = "{device}"\nartifact = "{path}"'
    _, (strict,) = measured('latency_ms = 50\ntarget = "npu"', targets=targets)
    assert strict.verdict is Verdict.NOT_RUN
    assert "is estimated, and latency_ms=50 accepts only measured" in strict.message
    opted = 'latency_ms = 50\ntarget = "npu"\nmin_evidence = "estimate"'
    _, (content,) = measured(opted, targets=targets)
    assert content.verdict is Verdict.PASS
    assert "[estimated, not measured]" in content.message
    assert "measured on net.tflite (sha256:" in content.message
    assert "that it is the same model was not measured" in content.message


@pytest.mark.parametrize("target", ["gpu", "qcom:soc42", "cpu:1", "arm:ethos-u55-128", ""])
def test_a_target_that_does_not_exist_is_misuse(tmp_path, target):
    """A device nobody makes is refused before any model loads, with what is accepted."""
    with pytest.raises(Misuse, match=r"target=.*(?i:accepted)"):
        planned(tmp_path, f'latency_ms = 5\ntarget = "{target}"')


@pytest.mark.parametrize("device", ["cpu", "openvino:CPU", "ssh:board/cpu", "qcom:soc69"])
def test_another_model_cannot_stand_in_where_the_release_artifact_can_be_measured(tmp_path, device):
    """A faster ONNX file named in the policy is refused: its latency would be another model's."""
    targets = f'[targets.fast]\nid = "{device}"\nartifact = "faster.onnx"'
    with pytest.raises(Misuse, match="only the release artifact is measured"):
        planned(tmp_path, 'latency_ms = 5\ntarget = "fast"', targets)


def test_what_compression_changed_is_in_the_report(measured):
    """Where the artifact is not its float parent, the report shows what that changed, by group."""
    findings, _ = measured("size_mb = 1.0", release=model([3.0, 1.0]), parent=model([4.0, 0.0]))
    tables = {t.title: t for t in findings.tables}
    changed = tables["What compression changed"]
    assert [row[0] for row in changed.rows] == ["all rows", "g=few", "g=many"]
    assert changed.rows[0][1] == 600
    assert "What compression did to calibration and robustness" in tables


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shaking_works_on_columns_of_any_width(measured, data, dtype):
    """Robustness after compression is shown for narrow columns too, and no library warns on the way."""
    rows = data.test.astype({"a": dtype, "b": dtype})
    narrow = dataclasses.replace(data, test=rows)
    findings, _ = measured("size_mb = 1.0", release=model([3.0, 1.0]), parent=model([4.0, 0.0]), given=narrow)
    table = next(t for t in findings.tables if "robustness" in t.title)
    assert all(0 < share < 0.5 for share in table.rows[1][1:]), str(table.rows)


def test_arithmetic_and_limits_stand_beside_the_latency(measured):
    """The report names multiply-accumulates, bytes and how far the time is from the limits."""
    findings, _ = measured("latency_ms = 100")
    table = next(t for t in findings.tables if t.title == "Arithmetic and limits")
    values = {row[0]: row[1] for row in table.rows}
    assert values["multiply-accumulates of one row"] == 2
    assert values["times above the largest of these limits"] > 0.5
