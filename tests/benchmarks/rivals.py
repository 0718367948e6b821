"""What the compression search is compared with: Olive's search and ONNX Runtime's one-line quantization."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_mlgate.candidate import OnnxModel

from .families import Family

#: olive-ai 0.13.0 imports requests without asking pip for it; torch by its version, or CUDA comes with it.
OLIVE = ("torch==2.13.0", "olive-ai==0.13.0", "onnxruntime==1.31.1", "requests")
OLIVE_SECONDS = int(os.environ.get("MLGATE_OLIVE_SECONDS", "150"))
_CALIBRATION_ROWS = 512
_BATCH = 32


@dataclass(frozen=True)
class Rival:
    """An artifact and how it was made; without bytes, why there is none."""

    name: str
    recipe: str
    onnx: bytes = b""


def olive_python(folder: Path) -> Path | str:
    """Return the interpreter that has Olive, or why there is none; `MLGATE_OLIVE_PYTHON` names one."""
    named = os.environ.get("MLGATE_OLIVE_PYTHON")
    python = Path(named) if named else folder / "bin" / "python"
    try:
        if not named:
            venv.create(folder, with_pip=True)
            subprocess.run([python, "-m", "pip", "install", "-q", *OLIVE], check=True, capture_output=True)
        quiet = {**os.environ, "CI": "1", "OLIVE_DISABLE_TELEMETRY": "1"}
        subprocess.run([python, "-c", "import olive.workflows"], env=quiet, check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines() or [str(error)]
        return f"olive-ai 0.13.0 cannot be installed or imported: {lines[-1][:200]}"
    except OSError as error:
        return f"no interpreter for olive-ai 0.13.0: {error}"
    return python


def by_olive(python: Path, family: Family, model: OnnxModel, folder: Path) -> list[Rival]:
    """Return what Olive ranks first, and the fastest that it found within the allowed loss."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model.onnx)
    tables = {"calibration": _calibration(family), "validation": family.data.tables["test"]}
    for name, table in tables.items():
        labels = np.asarray(table[family.data.label].to_list())
        np.savez(folder / f"{name}.npz", label=labels, **model.feeds(table))
    script = Path(__file__).with_name("olive_search.py")
    files = [folder / "model.onnx", folder / "calibration.npz", folder / "validation.npz"]
    limits = ["--max-drop", str(family.max_accuracy_drop), "--seconds", str(OLIVE_SECONDS)]
    command = [python, script, *files, folder / "best.onnx", *limits]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        return [Rival("Olive", f"failed: {done.stderr.strip().splitlines()[-1][:200]}")]
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"Olive {answer['version']}: {answer['seconds']:.0f} s, {answer['evaluated']} models evaluated")
    rivals = []
    for key, name, file in (
        ("first", "Olive, ranked first", "best"),
        ("fast", "Olive, fastest", "best-fast"),
    ):
        if key in answer:
            found = answer[key]
            recipe = f"{' after '.join(found['passes'])}; says {found['latency_us']:.1f} us"
            rivals.append(Rival(name, recipe, (folder / f"{file}.onnx").read_bytes()))
    return rivals or [Rival("Olive", "found no model within the allowed loss")]


def by_one_line(family: Family, model: OnnxModel, folder: Path) -> list[Rival]:
    """Return ONNX Runtime's dynamic and static quantization, everything left at its defaults."""
    from onnxruntime.quantization import quantize_dynamic, quantize_static

    folder.mkdir()
    source = folder / "model.onnx"
    source.write_bytes(model.onnx)
    feeds = model.feeds(_calibration(family))
    calls = {
        "quantize_dynamic": lambda out: quantize_dynamic(source, out),
        "quantize_static": lambda out: quantize_static(source, out, Reader(feeds)),
    }
    rivals = []
    for name, call in calls.items():
        out = folder / f"{name}.onnx"
        try:
            call(out)
        except Exception as error:  # ONNX Runtime has no common base for its errors
            rivals.append(Rival(name, f"failed: {type(error).__name__}: {str(error)[:120]}"))
            continue
        changed = out.read_bytes()
        rivals.append(Rival(name, "defaults", changed))
    return rivals


class Reader:
    """Hands calibration rows to ONNX Runtime, in batches of equal size."""

    def __init__(self, feeds: dict[str, Any]) -> None:
        self._batches = self._parts(feeds)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch, or nothing after the last."""
        return next(self._batches, None)

    @staticmethod
    def _parts(feeds: dict[str, Any]) -> Iterator[dict[str, Any]]:
        rows = len(next(iter(feeds.values())))
        for start in range(0, rows - _BATCH + 1, _BATCH):
            yield {name: values[start : start + _BATCH] for name, values in feeds.items()}


def _calibration(family: Family) -> Any:
    train = family.data.tables["train"]
    return train.gather_every(max(1, len(train) // _CALIBRATION_ROWS)).head(_CALIBRATION_ROWS)
