"""Olive's own search over one ONNX model; run by an interpreter that has olive-ai, apart from the gate's.

    python olive_search.py model.onnx calibration.npz validation.npz best.onnx --max-drop 0.01 --seconds 150

The set-up follows Olive's examples for a CPU (joint search, accuracy and latency as objectives, calibration on
training rows), with every pass that may help a small float model on a CPU: a peephole or a transformer
optimization of the graph first, then dynamic, static or no quantization, all their parameters searched. Olive
tunes session parameters per deployment; here everything runs on one thread, so that pass has nothing to find.
Prints one line of JSON. `best.onnx` is what Olive ranks first; `best-fast.onnx` the fastest of all models that
it evaluated, by its own figures, that loses no more accuracy than allowed on the validation rows.
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
from olive.workflows import run

ACCURACY, LATENCY = "accuracy-accuracy_score", "latency-p50"
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
        ]
    }


def passes(model: Path) -> dict:
    """Return the passes: alternatives stand in one list, the sampler takes one of each."""
    graph: list[dict] = [{"type": "OnnxPeepholeOptimizer"}]
    if has_attention(model):
        graph.append({"type": "OrtTransformersOptimization", "model_type": "bert", "opt_level": 1})
    static = {"type": "OnnxStaticQuantization", "data_config": "calibration"}
    full = {**static, "prepare_qdq_config": False}
    return {
        "graph": graph,
        "arithmetic": [static, full, {"type": "OnnxDynamicQuantization"}, {"type": "OnnxPeepholeOptimizer"}],
    }


def has_attention(model: Path) -> bool:
    """Return whether the graph has a softmax between matrix products."""
    import onnx

    found = {node.op_type for node in onnx.load(model).graph.node}
    return {"Softmax", "MatMul"} <= found


def search(given: argparse.Namespace, folder: Path):
    """Return Olive's workflow output."""
    with np.load(given.validation) as stored:
        classes = int(stored["label"].max()) + 1
    return run(
        {
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
            "passes": passes(given.model),
            "search_strategy": {
                "execution_order": "joint",
                "sampler": "tpe",
                "seed": 0,
                "max_samples": 200,
                "max_time": given.seconds,
            },
            "cache_dir": str(folder / "cache"),
            "output_dir": str(folder / "output"),
            "log_severity_level": 3,
        }
    )


def described(node, footprint) -> dict:
    """Return what Olive says of a model: its own figures and the passes that made it, the last first."""
    values = node.metrics.value
    made, at = [], node
    while at is not None and at.from_pass:
        config = {k: v for k, v in (at.pass_run_config or {}).items() if v is not None}
        chosen = ("precision", "quant_format", "per_channel", "reduce_range", "calibrate_method")
        made.append(" ".join([at.from_pass, *(f"{k}={config[k]}" for k in chosen if k in config)]))
        at = footprint.nodes.get(at.parent_model_id)
    return {
        "accuracy": values[ACCURACY].value,
        "latency_us": values[LATENCY].value * 1e3,
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
    with tempfile.TemporaryDirectory(prefix="olive-") as name:
        begun = time.monotonic()
        output = search(given, Path(name))
        footprint = output.footprint
        took = time.monotonic() - begun
        evaluated = [n for n in footprint.nodes.values() if n.metrics is not None]
        parent = footprint.nodes[footprint.input_model_id].metrics.value
        variants = [n for n in evaluated if n.parent_model_id is not None]
        floor = parent[ACCURACY].value - given.max_drop
        allowed = [n for n in variants if n.metrics.value[ACCURACY].value >= floor]
        best = output.get_best_candidate()
        first = footprint.nodes[best.model_id] if best is not None else None
        fast = min(allowed, key=lambda n: n.metrics.value[LATENCY].value, default=None)
        answer = {
            "version": olive.__version__,
            "seconds": took,
            "evaluated": len(variants),
            "float": {"accuracy": parent[ACCURACY].value, "latency_us": parent[LATENCY].value * 1e3},
        }
        for key, node, path in (
            ("first", first, given.best),
            ("fast", fast, given.best.with_name(f"{given.best.stem}-fast.onnx")),
        ):
            if node is not None:
                shutil.copy(model_file(Path(name), node), path)
                answer[key] = described(node, footprint)
    json.dump(answer, sys.stdout)


def model_file(folder: Path, node) -> Path:
    """Return the ONNX file of a model in Olive's cache."""
    path = Path(node.model_config_data["config"]["model_path"])
    if path.is_dir():
        path = next(path.glob("*.onnx"))
    return path


if __name__ == "__main__":
    main()
