"""One session on Qualcomm's compiler, guarded; and what to say where the guard refuses.

What one session sets leaks into the next of the same process, into its numbers and into its compiled file:
nothing here opens a second one. The look at what would run where is taken in a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from .protocol import Refusal

INSTALL = "pip install onnxruntime-qnn==2.7.0"
PROVIDER = "QNNExecutionProvider"
#: Less than the gate waits for all of it.
_TIMEOUT_S = 120
#: What every compiled file says about the chip it was compiled for.
_SOC = re.compile(rb"soc_type=([A-Za-z0-9]+);")
_LOOK = (
    "import sys; sys.path.append(sys.argv[1]); from backends._qcom_session import look; look(*sys.argv[2:])"
)
_MOST_NAMED = 5


def open_session(model: bytes, soc: str, *, context: Path | None = None) -> Any:
    """Return a session for the chip; with `context` one that may not use the CPU, and writes a compiled file.

    Raises:
        Refusal: ONNX Runtime or Qualcomm's part of it is missing or too old.
    """
    try:
        import onnxruntime
        import onnxruntime_qnn
    except ImportError as error:
        raise Refusal(
            "missing", f"Qualcomm's compiler for ONNX Runtime is not installed: {error}", INSTALL
        ) from None
    if not hasattr(onnxruntime, "register_execution_provider_library"):
        text = f"onnxruntime {onnxruntime.__version__} is too old; Qualcomm's part needs 1.24 or newer"
        raise Refusal("missing", text, f"pip install 'onnxruntime>=1.24' && {INSTALL}")
    onnxruntime.register_execution_provider_library(PROVIDER, onnxruntime_qnn.get_library_path())
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == PROVIDER]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if context is not None:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        options.add_session_config_entry("ep.context_enable", "1")
        options.add_session_config_entry("ep.context_embed_mode", "1")
        options.add_session_config_entry("ep.context_file_path", str(context))
    # The only options ever passed: unknown names and most unknown values are accepted and ignored.
    options.add_provider_for_devices(devices, {"backend_type": "htp", "soc_model": soc})
    return onnxruntime.InferenceSession(model, options, enable_fallback=0)


def compile_model(model: bytes, soc: str, name: str, context: Path) -> tuple[Any, dict[str, int]]:
    """Return a session that runs wholly on the emulated NPU, and its placement; writes the compiled file.

    Raises:
        Refusal: an operator would run on the CPU, or the compiler made something else than was asked.
    """
    # An older file is not overwritten; it would be taken for the new one.
    context.unlink(missing_ok=True)
    try:
        session = open_session(model, soc, context=context)
    except Refusal:
        raise
    except Exception as error:  # ONNX Runtime has no common base for its errors
        raise _reason(model, soc, str(error)) from None
    placed = placement_of(session)
    counts = {provider: len(nodes) for provider, nodes in placed.items()}
    if set(counts) != {PROVIDER}:
        raise Refusal("off_target", f"the session runs on {counts}, not on the NPU alone")
    # The one proof that the chip was understood: a wrong number compiles for a default chip.
    chips = {found.decode() for found in _SOC.findall(context.read_bytes())} if context.is_file() else set()
    if chips != {name}:
        said = ", ".join(sorted(chips)) or "no chip"
        raise Refusal("wrong_target", f"the compiled file names {said}; asked was {name}")
    return session, counts


def placement_of(session: Any) -> dict[str, list[tuple[str, str, str]]]:
    """Return (kind, name, domain) of the operators by provider that runs them.

    `get_providers()` also names providers that run nothing.
    """
    placed: dict[str, list[tuple[str, str, str]]] = {}
    for part in session.get_provider_graph_assignment_info():
        nodes = [(str(node.op_type), str(node.name), str(node.domain)) for node in part.get_nodes()]
        placed.setdefault(str(part.ep_name), []).extend(nodes)
    return placed


def look(model: str, soc: str, out: str) -> None:
    """Write what would run where, without the guard, as JSON into a file; for a process of its own."""
    placed = placement_of(open_session(Path(model).read_bytes(), soc))
    Path(out).write_text(json.dumps(placed))
    os._exit(0)


def _reason(model: bytes, soc: str, error: str) -> Refusal:
    """Name the operators that made the guard refuse."""
    with tempfile.TemporaryDirectory(prefix="mlgate-") as folder:
        out, copy = Path(folder, "placed.json"), Path(folder, "model.onnx")
        copy.write_bytes(model)
        command = [sys.executable, "-c", _LOOK, str(Path(__file__).parent.parent), str(copy), soc, str(out)]
        try:
            subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            return Refusal("failed", f"Qualcomm's compiler refuses the model: {error}")
        if not out.is_file():
            return Refusal("failed", f"Qualcomm's compiler refuses the model: {error}")
        placed = json.loads(out.read_text())
    total = sum(len(nodes) for nodes in placed.values())
    away = [tuple(node) for provider, nodes in placed.items() if provider != PROVIDER for node in nodes]
    if not away:
        return Refusal("failed", f"Qualcomm's compiler refuses the model: {error}")
    # Without the guard, (de)quantization at the border goes to the CPU too, and says nothing.
    named = [node for node in away if node[0] not in {"QuantizeLinear", "DequantizeLinear"}] or away
    text = f"{len(named)} of {total} operators would run on the CPU: {_names(named)}"
    if any(node[2].startswith("com.microsoft") for node in named):
        text += (
            "; some are ONNX Runtime's own, left by its optimization for the CPU: take the model before that"
        )
    if PROVIDER not in placed:
        text += "; none on the NPU, so the compiler itself may not have started: probe the target"
    return Refusal("off_target", text)


def _names(nodes: list[tuple[str, ...]]) -> str:
    kinds = Counter(node[0] for node in nodes)
    first = {node[0]: node[1] for node in reversed(nodes)}
    shown = [
        kind
        + (f" (node {first[kind]})" if first[kind] else "")
        + (f" and {count - 1} more" if count > 1 else "")
        for kind, count in kinds.most_common(_MOST_NAMED)
    ]
    more = len(kinds) - len(shown)
    return ", ".join(shown) + (f", and {more} other kinds" if more > 0 else "")
