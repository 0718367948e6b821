"""Qualcomm's NPU (Hexagon HTP) through ONNX Runtime: compiled and emulated on this machine, never timed.

The emulator's own "cycles" follow the host's clock, so nothing here reads them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ._qcom_session import INSTALL, compile_model
from ._qcom_shapes import fixed
from ._rows import run_rows
from .conditions import machine
from .protocol import Answer, Backend, Job, Refusal, check_artifact, main
from .timing import load_inputs

#: Each number was compiled for once, and the compiled file named this chip.
SOCS = {
    "30": "SM8350",
    "36": "SM8450",
    "43": "SM8550",
    "57": "SM8650",
    "60": "SC8380XP",
    "69": "SM8750",
    "87": "SM8850",
}
_NOTE = (
    "compiled for {name} and emulated on this machine; that the chip gives the same bits is not shown, and "
    "how fast it is cannot be known here"
)


def parse(rest: str) -> dict[str, str]:
    """Return the number of the chip from `socNN` or `socNN/htp`.

    Raises:
        ValueError: no such chip; the compiler itself takes many unknown values without a word.
    """
    chip, _, backend = rest.partition("/")
    number = chip.removeprefix("soc")
    if not chip.startswith("soc") or number not in SOCS or backend not in {"", "htp"} or rest.endswith("/"):
        accepted = ", ".join(f"soc{number} ({name})" for number, name in SOCS.items())
        raise ValueError(f"qcom:{rest} names no chip known here; accepted: {accepted}, each also with /htp")
    return {"soc": number}


def run(job: Job) -> Answer:
    """Compile for the chip; with `predict`, run every row on the emulator."""
    soc = _soc(job)
    if job.task == "probe":
        with tempfile.TemporaryDirectory(prefix="mlgate-") as folder:
            return _probe(soc, Path(folder))
    if Path(job.artifact).suffix != ".onnx":
        raise Refusal(
            "unsupported", f"qcom takes ONNX; the artifact is {Path(job.artifact).suffix or job.artifact}"
        )
    digest = check_artifact(job)
    model, size, note = fixed(job.path(job.artifact))
    context = job.path("context.onnx")
    session, placement = compile_model(model, soc, SOCS[soc], context)
    facts: dict[str, Any] = {
        **_facts(soc),
        "placement": placement,
        "notes": [_NOTE.format(name=SOCS[soc]), *([note] if note else [])],
        "sha256": digest,
    }
    if job.task == "compile":
        figures = {"artifact_bytes": float(context.stat().st_size)}
        files = {"compiled": context.name}
        return Answer(**facts, figures=figures, grades={"artifact_bytes": "measured"}, files=files)
    _predict(session, job, size)
    return Answer(**facts, grades={"outputs": "emulated"}, files={"outputs": "outputs.npz"})


def _soc(job: Job) -> str:
    try:
        target = parse(job.rest)
    except ValueError as error:
        raise Refusal("wrong_target", str(error)) from None
    strange = {name: value for name, value in job.options.items() if target.get(name) != value}
    if strange:
        raise Refusal(
            "unsupported", f"qcom takes no options beside its id, and no other backend; got {strange}"
        )
    return target["soc"]


def _predict(session: Any, job: Job, size: int) -> None:
    inputs = load_inputs(job.path(job.inputs))
    names = [output.name for output in session.get_outputs()]
    outputs = run_rows(lambda feed: session.run(names, feed), inputs, size)
    np.savez(job.path("outputs.npz"), **dict(zip(names, outputs, strict=True)))


def _probe(soc: str, folder: Path) -> Answer:
    """Compile and run one small model: a tool that is installed may still not start."""
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "probe", value[:1], value[1:])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    session, placement = compile_model(model, soc, SOCS[soc], folder / "context.onnx")
    row = np.linspace(-1, 1, 8, dtype=np.float32)[None]
    (found,) = session.run(None, {"x": row})
    if not np.allclose(found, np.maximum(row, 0), atol=1e-2):
        raise Refusal("failed", "the emulator runs, and does not compute a Relu")
    return Answer(**_facts(soc), placement=placement)


def _facts(soc: str) -> dict[str, Any]:
    import onnxruntime
    import onnxruntime_qnn

    versions = {
        "onnxruntime": onnxruntime.__version__,
        "onnxruntime-qnn": onnxruntime_qnn.__version__,
        "qairt": onnxruntime_qnn.build_and_package_info.qnn_version,
        "numpy": np.__version__,
    }
    return {"versions": versions, "machine": machine() | {"compiled_for": f"{SOCS[soc]} (soc{soc})"}}


BACKEND = Backend(
    scheme="qcom",
    summary="Qualcomm's NPU, compiled and emulated on this machine: placement, size and numbers, no latency",
    spelling="qcom:socNN",
    parse=parse,
    run=run,
    grades={"numerics": "emulated", "placement": "measured", "size": "measured"},
    tasks=("probe", "compile", "predict"),
    install=INSTALL,
    probes=("qcom:soc69",),
)

if __name__ == "__main__":
    main(BACKEND)
