"""Olive's own search over one ONNX model; run by an interpreter that has olive-ai, apart from the gate's.

    python olive_search.py model.onnx calibration.npz validation.npz best.onnx --max-drop 0.01 --seconds 150

The set-up follows Olive's examples for a CPU: joint search by its TPE sampler, accuracy and latency as
objectives with the allowed loss as goal, the graph optimized first, and `OnnxQuantization`, which searches
dynamic and static quantization with all their parameters, calibrated on training rows. The optimized graph
without quantization is evaluated too, and where there is attention everything once more with Olive's
transformer optimization. Session parameters are not tuned: everything here runs on one thread.

Prints one line of JSON. `best.onnx` is what Olive ranks first; `best-fast.onnx` the fastest of all models
that it evaluated, by its own figures, that loses no more accuracy than allowed on the validation rows.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

# Both: the first keeps Olive from sending its heartbeat before it reads the second.
os.environ["CI"] = "1"
os.environ["OLIVE_DISABLE_TELEMETRY"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import olive
import torch
from olive.data.registry import Registry
from olive.engine.footprint import FootprintNode
from olive.workflows import run

ACCURACY, LATENCY = "accuracy-accuracy_score", "latency-p50"
#: Points of each search; Olive does not look at the clock while its sampler proposes points again and again.
SAMPLES = 48
#: What is told of a pass.
SHOWN = ("quant_mode", "precision", "quant_format", "per_channel", "reduce_range", "calibrate_method")
ONE_THREAD = {"session_options": {"intra_op_num_threads": 1, "inter_op_num_threads": 1}}


class Rows(torch.utils.data.Dataset):
    """Pairs of the model's inputs by name and a label."""

    def __init__(self, path: str) -> None:
        with np.load(path) as stored:
            self.arrays = {name: stored[name] for name in stored.files}
        self.labels = self.arrays.pop("label")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index):
        return {name: values[index] for name, values in self.arrays.items()}, int(self.labels[index])


@Registry.register_dataset()
def stored_rows(rows_file: str, **_):
    """Return the rows of an .npz file, as Olive's data container asks for them."""
    return Rows(rows_file)


@Registry.register_post_process()
def decided(answers, **_):
    """Return the class of each row: scikit-learn's graphs answer with labels too, the scores come last."""
    scores = list(answers.values())[-1] if isinstance(answers, dict) else answers
    scores = scores.reshape(len(scores), -1)
    return scores.argmax(dim=1) if scores.shape[1] > 1 else (scores[:, 0] >= 0.5).int()


def rows_of(name: str, path: str, batch: int) -> dict:
    """Return a data configuration over an .npz file."""
    return {
        "name": name,
        "type": "DataContainer",
        "user_script": __file__,
        "load_dataset_config": {"type": "stored_rows", "rows_file": path},
        "dataloader_config": {"batch_size": batch},
        "post_process_data_config": {"type": "decided"},
    }


def evaluator(classes: int, max_drop: float) -> dict:
    """Return the two objectives: accuracy that may fall by `max_drop`, then the median latency."""
    task = {"task": "multiclass", "num_classes": classes}
    goal = {"type": "max-degradation", "value": max_drop}
    often = {"warmup_num": 50, "repeat_test_num": 300}
    return {
        "type": "OnnxEvaluator",
        "metrics": [
            {
                "name": "accuracy",
                "type": "accuracy",
                "data_config": "validation",
                "sub_types": [{"name": "accuracy_score", "priority": 1, "metric_config": task, "goal": goal}],
                "user_config": {"inference_settings": {"onnx": ONE_THREAD}},
            },
            {
                "name": "latency",
                "type": "latency",
                "data_config": "single",
                "sub_types": [{"name": "p50", "priority": 2, "metric_config": often}],
                "user_config": {"inference_settings": {"onnx": ONE_THREAD}},
            },
        ],
    }


def flows(model: Path) -> list[dict]:
    """Return the ways to optimize the graph before its arithmetic."""
    ways: list[dict] = [{"type": "OnnxPeepholeOptimizer"}]
    if has_attention(model):
        ways.append({"type": "OrtTransformersOptimization", "model_type": "bert", "opt_level": 1})
    return ways


def has_attention(model: Path) -> bool:
    """Return whether the graph has a softmax between matrix products."""
    import onnx

    found = {node.op_type for node in onnx.load(model).graph.node}
    return {"Softmax", "MatMul"} <= found


def searches(given: argparse.Namespace, folder: Path):
    """Yield Olive's workflow outputs: for each way a search over quantization, then the graph in float."""
    with np.load(given.validation) as stored:
        classes = int(stored["label"].max()) + 1
    common = {
        "input_model": {"type": "ONNXModel", "model_path": str(given.model)},
        "systems": {"here": {"type": "LocalSystem", "accelerators": [{"device": "cpu"}]}},
        "host": "here",
        "target": "here",
        "data_configs": [
            rows_of("calibration", given.calibration, 32),
            rows_of("validation", given.validation, 256),
            rows_of("single", given.validation, 1),
        ],
        "evaluators": {"both": evaluator(classes, given.max_drop)},
        "evaluator": "both",
        "log_severity_level": 3,
    }
    quantization = {"type": "OnnxQuantization", "data_config": "calibration"}
    ways = flows(given.model)
    for number, way in enumerate(ways):
        tpe = {"sampler": "tpe", "seed": 0, "max_samples": SAMPLES, "max_time": given.seconds // len(ways)}
        places = {"cache_dir": str(folder / f"cache{number}"), "output_dir": str(folder / f"output{number}")}
        searched = {"search_strategy": {"execution_order": "joint", **tpe}}
        yield run({**common, **places, **searched, "passes": {"graph": way, "quantization": quantization}})
        yield run({**common, **places, "passes": {"graph": way}})


def described(node, footprint) -> dict:
    """Return what Olive says of a model: its own figures and the passes that made it, the last first."""
    accuracy, latency = figures(node)
    made, at = [], node
    while at is not None and at.from_pass:
        # A parameter that does not apply still holds its search space.
        config = {k: v for k, v in (at.pass_run_config or {}).items() if isinstance(v, str | bool)}
        made.append(" ".join([at.from_pass, *(f"{k}={config[k]}" for k in SHOWN if k in config)]))
        at = footprint.nodes.get(at.parent_model_id)
    return {
        "accuracy": accuracy,
        "latency_us": latency * 1e3,
        "passes": made,
    }


def main() -> None:
    """Search, keep two models, and print what Olive says of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("calibration")
    parser.add_argument("validation")
    parser.add_argument("best", type=Path)
    parser.add_argument("--max-drop", type=float, default=0.01)
    parser.add_argument("--seconds", type=int, default=150)
    given = parser.parse_args()
    torch.set_num_threads(1)
    FootprintNode.update = update
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="olive-") as name:
        outputs = [o for o in searches(given, Path(name)) if o is not None]
        answer = {"version": olive.__version__, "seconds": time.monotonic() - begun}
        footprints = [o.footprint for o in outputs]
        parent = footprints[0].nodes[footprints[0].input_model_id].metrics.value
        answer["float"] = {"accuracy": parent[ACCURACY].value, "latency_us": parent[LATENCY].value * 1e3}
        made = [(n, f) for f in footprints for n in f.nodes.values() if n.metrics and n.parent_model_id]
        answer["evaluated"] = len(made)
        floor = parent[ACCURACY].value - given.max_drop
        allowed = [(n, f) for n, f in made if figures(n)[0] >= floor]
        if allowed:
            # Olive's own order: the objective of the first priority, then the next.
            keep("first", max(allowed, key=lambda m: (figures(m[0])[0], -figures(m[0])[1])), given, answer)
            keep("fast", min(allowed, key=lambda m: figures(m[0])[1]), given, answer)
    json.dump(answer, sys.stdout)


def keep(key: str, chosen: tuple, given: argparse.Namespace, answer: dict) -> None:
    """Copy a model out of Olive's cache and note what Olive says of it."""
    path = given.best if key == "first" else given.best.with_name(f"{given.best.stem}-fast.onnx")
    shutil.copy(model_file(chosen[0]), path)
    answer[key] = described(*chosen)


def figures(node) -> tuple[float, float]:
    """Return the accuracy and the latency in milliseconds that Olive measured."""
    return node.metrics.value[ACCURACY].value, node.metrics.value[LATENCY].value


def update(node, **fields) -> None:
    """Record a pass again when it comes from the cache.

    Olive 0.13.0 calls the field `model_config` here and `model_config_data` elsewhere, and so every step of a
    search fails whose first pass is cached.
    """
    fields["model_config_data"] = fields.pop("model_config", node.model_config_data)
    for name, value in fields.items():
        setattr(node, name, value)


def model_file(node) -> Path:
    """Return the ONNX file of a model in Olive's cache."""
    path = Path(node.model_config_data["config"]["model_path"])
    if path.is_dir():
        path = next(path.glob("*.onnx"))
    return path


if __name__ == "__main__":
    main()
