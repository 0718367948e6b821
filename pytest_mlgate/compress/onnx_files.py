"""What the recipes that rewrite ONNX graphs share: a quiet workbench, looks into graphs, clear refusals."""

from __future__ import annotations

import contextlib
import io
import logging
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ..errors import CheckError
from .recipe import Material, NotApplicable

#: Protobuf refuses a message of 2 GiB, and every tool here passes the graph through one message.
LARGEST_MODEL = 2**31 - 1
#: Operators named in a refusal: enough to recognise the graph.
_OPERATORS_SHOWN = 8
#: Characters of a library's own message that a reader of a report can use.
_MESSAGE_SHOWN = 300
#: Seconds that a graph may take to load; one of 300 MB takes about two.
_LOADING_SECONDS = 120
_LOAD = """
import sys, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.log_severity_level = 4
try:
    onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
except Exception as error:
    sys.exit(str(error))
"""


class RecipeFailed(Exception):
    """A recipe should have worked on this model and did not; the message says at what."""


@contextlib.contextmanager
def workbench(material: Material, doing: str, *, largest: int = LARGEST_MODEL) -> Iterator[Path]:
    """Write the model to `source.onnx` in a folder that is removed afterwards, and silence the tools.

    Args:
        material: holds the model.
        doing: what the recipe does to it, for the message if a tool breaks ("static quantization").
        largest: the size in bytes from which on the model is refused before any work.

    Raises:
        NotApplicable: the model is too large for one protobuf message.
        CheckError: a tool raised, and ONNX Runtime refuses the model itself.
        RecipeFailed: a tool raised; some raise bare assertions, which say nothing on their own.
    """
    size = len(material.model.onnx)
    if size > largest:
        raise NotApplicable(
            f"the model has {size:,} bytes; ONNX tools hold a graph in one protobuf message, "
            f"which ends at {largest:,} bytes"
        )
    # Tools stumble over what ONNX Runtime refuses, name it less clearly, and leave files where they stumble.
    parse(material.model.onnx)
    _ = material.model.session
    with tempfile.TemporaryDirectory(prefix="mlgate-") as folder, quiet():
        Path(folder, "source.onnx").write_bytes(material.model.onnx)
        try:
            yield Path(folder)
        except (NotApplicable, RecipeFailed, CheckError):
            raise
        except Exception as error:  # the tools raise whatever their own code raises
            message = _one_line(str(error)) or "without a message"
            raise RecipeFailed(f"{doing} broke: {type(error).__name__}: {message}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep prints, warnings and log records of the tools out of the gate's output.

    Some of them configure the root logger when they are imported or first warn; it is put back as it was.
    """
    root = logging.getLogger()
    handlers, level, disabled = list(root.handlers), root.level, root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
        root.setLevel(level)


def refusal(onnx_bytes: bytes) -> str:
    """Return why ONNX Runtime's CPU provider refuses a graph, or nothing if it loads it.

    It is loaded in a process of its own: on some graphs whose types a converter left inconsistent, ONNX
    Runtime 1.31 does not raise but crashes, and would take the gate with it.
    """
    with tempfile.TemporaryDirectory(prefix="mlgate-") as folder:
        path = Path(folder, "variant.onnx")
        path.write_bytes(onnx_bytes)
        command = [sys.executable, "-c", _LOAD, str(path)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_LOADING_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return f"it did not load within {_LOADING_SECONDS} s"
        if done.returncode < 0:
            return f"loading it crashes ONNX Runtime (signal {-done.returncode})"
        if done.returncode:
            return _one_line(done.stderr.replace(str(path), "variant.onnx")) or "it gave no reason"
        return ""


def parse(onnx_bytes: bytes) -> Any:
    """Return the bytes as an `onnx.ModelProto`.

    Raises:
        RecipeFailed: they are no ONNX graph.
    """
    import onnx

    try:
        model = onnx.load_model_from_string(onnx_bytes)
    except Exception as error:  # protobuf's own kinds
        raise RecipeFailed(f"the model's bytes are no ONNX graph: {error}") from None
    if not model.graph.node:
        raise RecipeFailed("the model's bytes hold an ONNX graph without operators")
    return model


def operators(graph: Any) -> Counter[str]:
    """Return how often each operator occurs in the graph and the graphs inside its branches and loops."""
    found: Counter[str] = Counter()
    for node in graph.node:
        found[node.op_type] += 1
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                found += operators(inner)
    return found


def require_operators(model: Any, wanted: Collection[str]) -> None:
    """Refuse a graph that has none of the operators a recipe works on.

    Raises:
        NotApplicable: with the operators that the graph has.
    """
    present = operators(model.graph)
    if present.keys() & set(wanted):
        return
    names = [name for name, _ in present.most_common(_OPERATORS_SHOWN)]
    more = ", ..." if len(present) > len(names) else ""
    raise NotApplicable(f"the graph has no {' or '.join(sorted(wanted))}; it has {', '.join(names)}{more}")


def preprocessed(folder: Path) -> Path:
    """Return the path of the source graph with constants and batch norms folded and shapes inferred.

    Raises:
        Exception: of the pre-processing itself, where it fails without symbolic shapes too.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source, prepared = folder / "source.onnx", folder / "prepared.onnx"
    # Where symbolic shape inference gives up it leaves what it had in the current folder: the user's.
    with contextlib.chdir(folder):
        try:
            quant_pre_process(source, prepared)
        except Exception:  # it fails on some free dimensions with a bare assertion
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
    return prepared


def name_nodes(model: Any) -> None:
    """Give every node a name of its own: the quantizers leave nodes out by name, and names are optional."""
    taken: set[str] = set()
    for position, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"mlgate_{node.op_type}_{position}"
        taken.add(node.name)


def prune_imports(model: Any) -> None:
    """Remove operator sets that no node uses: ONNX Runtime writes all it knows into what it saves.

    A reader that knows only the standard set refuses a file that imports others.
    """
    used = {""} | _domains(model.graph) | {f.domain for f in model.functions}
    for function in model.functions:
        used |= _domains(function)
    kept = [entry for entry in model.opset_import if _plain(entry.domain) in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_MESSAGE_SHOWN]


def _domains(graph: Any) -> set[str]:
    found = set()
    for node in graph.node:
        found.add(_plain(node.domain))
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                found |= _domains(inner)
    return found


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
