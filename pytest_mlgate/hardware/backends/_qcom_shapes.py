"""Fixed shapes for the Qualcomm compiler, which takes no model whose batch size is open."""

from __future__ import annotations

from pathlib import Path

from .protocol import Refusal


def fixed(artifact: Path) -> tuple[bytes, int, str]:
    """Return the model with a fixed batch size, that size, and a note where the model had to be changed.

    As bytes: from a file, the name of its folder goes into the compiled model, which then differs each time.

    Raises:
        Refusal: another dimension than the first is open, or the inputs differ in their first one.
    """
    import onnx

    try:
        model = onnx.load(str(artifact), load_external_data=False)
    except Exception as error:  # protobuf has no public base for its errors
        raise Refusal("unsupported", f"the artifact is not an ONNX model: {error}") from None
    weights = {weight.name for weight in model.graph.initializer}
    open_names, changed, sizes = set(), False, set()
    for value in model.graph.input:
        if value.name in weights:
            continue
        dims = value.type.tensor_type.shape.dim
        if not len(dims):
            raise Refusal("unsupported", f"input {value.name} has no row axis")
        late = [axis for axis, dim in enumerate(dims) if axis and not dim.HasField("dim_value")]
        if late:
            raise Refusal(
                "unsupported",
                f"input {value.name} has an open size at axis {late[0]}; this compiler needs fixed sizes",
            )
        if not dims[0].HasField("dim_value"):
            open_names.add(dims[0].dim_param)
            dims[0].dim_value = 1
            changed = True
        sizes.add(dims[0].dim_value)
    if len(sizes) != 1:
        raise Refusal("unsupported", f"the inputs do not share a number of rows: {sorted(sizes)}")
    size = sizes.pop()
    onnx.load_external_data_for_model(model, str(artifact.parent))
    if not changed:
        return model.SerializeToString(), size, ""
    for value in (*model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_param") and dim.dim_param in open_names:
                dim.dim_value = 1
    note = "compiled with the open batch size fixed to 1: this compiler takes fixed sizes only"
    return model.SerializeToString(), size, note
