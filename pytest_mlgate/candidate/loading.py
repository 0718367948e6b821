"""The one door through which a model file comes in: its format is told from its bytes, never its name.

Formats that execute code when read (pickle and its relatives) are refused; what is accepted is parsed
without following references to other files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import CandidateRefused

_CONVERT = {
    "pickle": "a pickle (joblib, cloudpickle and old torch files are pickles too) runs code when it is read. "
    "Convert it where it was made: scikit-learn with skl2onnx.to_onnx(), torch with torch.onnx.export()",
    "zip": "zip archives (torch.save, .npz, .keras, .skops) are not models that the gate can run. "
    "Export the model to ONNX, or return the module itself from the mlgate_candidate fixture",
    "hdf5": "HDF5 (Keras) is not accepted. Export the model to ONNX with tf2onnx",
    "safetensors": "safetensors holds weights without a graph. Export the model to ONNX, or return the "
    "module from the mlgate_candidate fixture",
}


def read_onnx(path: Path) -> bytes:
    """Return the bytes of an ONNX file after checking that it is a complete, self-contained model.

    Raises:
        CandidateRefused: the file is absent, empty, of another format, or refers to other files.
    """
    if not path.is_file():
        raise CandidateRefused(f"candidate {str(path)!r} does not exist or is not a file")
    data = path.read_bytes()
    require_onnx(data, path.name)
    return data


def require_onnx(data: bytes, name: str) -> Any:
    """Return the parsed model if the bytes are a valid, self-contained ONNX model.

    Raises:
        CandidateRefused: with the format that was recognised and how to convert it.
    """
    recognised = recognise(data)
    if recognised != "unknown":
        raise CandidateRefused(f"candidate {name!r} was refused: {_CONVERT[recognised]}")
    import onnx

    if not data:
        raise CandidateRefused(f"candidate {name!r} is empty")
    try:
        model = onnx.load_model_from_string(data)
        outside = [t.name for t in _tensors(model) if t.data_location == onnx.TensorProto.EXTERNAL]
        if outside:
            raise CandidateRefused(
                f"candidate {name!r} keeps {len(outside)} tensors (first: {outside[0]!r}) in other files; "
                "save it as one file: onnx.save(model, path, save_as_external_data=False)"
            )
        if not model.graph.output:
            raise CandidateRefused(f"candidate {name!r} is not a model: its graph has no output")
        onnx.checker.check_model(model)
    except CandidateRefused:
        raise
    except Exception as error:  # protobuf and the checker each raise their own kinds for broken bytes
        raise CandidateRefused(f"candidate {name!r} is not a valid ONNX model: {error}") from None
    return model


def _tensors(message: Any) -> Iterator[Any]:
    """Yield every tensor of a model: in branches, attributes and functions as much as at the top."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for item in value if hasattr(value, "append") else [value]:
            yield from _tensors(item)


def recognise(data: bytes) -> str:
    """Return the format that the first bytes betray: pickle, zip, hdf5, safetensors, or unknown."""
    if data[:1] == b"\x80" and len(data) > 1 and data[1] <= 5:
        return "pickle"
    if data[:1] in (b"(", b"c", b"]", b"}") and data.rstrip()[-1:] == b".":
        return "pickle"
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    if data[:8] == b"\x89HDF\r\n\x1a\n":
        return "hdf5"
    if len(data) > 9 and data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data):
        return "safetensors"
    return "unknown"
