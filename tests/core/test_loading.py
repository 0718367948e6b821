"""The door for model files: everything but a complete ONNX model is refused, and nothing is ever executed."""

import io
import os
import pickle
import zipfile

import joblib
import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from pytest_mlgate.candidate import OnnxModel, as_model
from pytest_mlgate.candidate.loading import read_onnx, recognise, require_onnx
from pytest_mlgate.errors import CandidateRefused


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def _joblib(target):
    buffer = io.BytesIO()
    joblib.dump({"weights": np.ones(3), "x": Payload(target)}, buffer)
    return buffer.getvalue()


def _compressed_joblib(target):
    buffer = io.BytesIO()
    joblib.dump(Payload(target), buffer, compress=("zlib", 3))
    return buffer.getvalue()


def _torch(target):
    buffer = io.BytesIO()
    torch.save({"x": Payload(target)}, buffer)
    return buffer.getvalue()


def _npz(target):
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([Payload(target)], dtype=object))
    return buffer.getvalue()


def _npy(target):
    buffer = io.BytesIO()
    np.save(buffer, np.array([Payload(target)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def _hdf5(_):
    return b"\x89HDF\r\n\x1a\n" + bytes(88)


def _safetensors(_):
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    return len(header).to_bytes(8, "little") + header + bytes(4)


def _empty_zip(_):
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    return buffer.getvalue()


HOSTILE = {
    **{f"pickle {p}": (lambda t, p=p: pickle.dumps(Payload(t), protocol=p), "pickle") for p in range(6)},
    **{f"list, {p}": (lambda t, p=p: pickle.dumps([Payload(t)], protocol=p), "pickle") for p in (0, 1, 2)},
    **{
        f"dict, {p}": (lambda t, p=p: pickle.dumps({"a": Payload(t)}, protocol=p), "pickle")
        for p in (0, 1, 2)
    },
    "joblib": (_joblib, "pickle"),
    "compressed joblib": (_compressed_joblib, "not a valid ONNX model"),
    "torch.save": (_torch, "zip archives"),
    "npz": (_npz, "zip archives"),
    "npy": (_npy, "not a valid ONNX model"),
    "empty zip": (_empty_zip, "zip archives"),
    "hdf5": (_hdf5, "HDF5"),
    "safetensors": (_safetensors, "safetensors holds weights"),
    "nothing": (lambda _: b"", "is empty"),
    "text": (lambda _: b"weights = [1, 2, 3]\n", "not a valid ONNX model"),
    "json": (lambda _: b'{"weights": [1]}', "not a valid ONNX model"),
    "html": (lambda _: b"<html>404</html>", "not a valid ONNX model"),
    "zeros": (lambda _: bytes(100), "not a valid ONNX model"),
    "pickle in front of a model": (lambda t: pickle.dumps(Payload(t)) + b"\x08\x08", "pickle"),
}


@pytest.mark.parametrize(("make", "message"), HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("name", ["model.onnx", "model.pkl"])
def test_a_hostile_or_foreign_file_is_refused_and_never_executed(tmp_path, data, make, message, name):
    """Whatever its name, a file of another format is refused by its bytes, and its code does not run."""
    target = tmp_path / "executed"
    path = tmp_path / name
    path.write_bytes(make(target))
    with pytest.raises(CandidateRefused, match=message) as refused:
        as_model(path, data)
    assert f"'{name}'" in str(refused.value)
    assert not target.exists()


def test_the_payload_would_have_run(tmp_path):
    """The test above proves something: unpickling the same bytes does create the file."""
    target = tmp_path / "executed"
    pickle.loads(pickle.dumps(Payload(target)))
    assert target.exists()


def test_absent_files_and_folders_are_refused(tmp_path):
    """A path without a file behind it is refused with the path."""
    for path in (tmp_path / "absent.onnx", tmp_path):
        with pytest.raises(CandidateRefused, match="does not exist or is not a file"):
            read_onnx(path)


def test_a_truncated_model_is_refused(linear_onnx):
    """No proper beginning of a model file passes for a model."""
    whole = linear_onnx()
    for length in range(1, len(whole)):
        try:
            require_onnx(whole[:length], "cut.onnx")
        except CandidateRefused:
            continue
        pytest.fail(f"the first {length} of {len(whole)} bytes were accepted")


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.binary(max_size=60))
def test_random_bytes_are_refused(content):
    """Random bytes are refused, and raise nothing else."""
    with pytest.raises(CandidateRefused):
        require_onnx(content, "random.onnx")


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.binary(max_size=12))
def test_recognising_never_breaks(content):
    """Every sequence of bytes gets a name."""
    assert recognise(content) in {"pickle", "zip", "hdf5", "safetensors", "unknown"}


@pytest.mark.parametrize("location", ["secret.bin", "../secret.bin", "/etc/hostname"])
def test_tensors_in_other_files_are_refused(tmp_path, data, linear_onnx, location, monkeypatch):
    """A model that keeps weights in other files is refused, even if the file is there."""
    model = onnx.load_model_from_string(linear_onnx())
    tensor = model.graph.initializer[0]
    (tmp_path / "secret.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "8"}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path = tmp_path / "outside.onnx"
    path.write_bytes(model.SerializeToString())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CandidateRefused, match=r"keeps 1 tensors \(first: 'w'\) in other files"):
        as_model(path, data)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.graph.ClearField("output"),
        lambda m: m.graph.ClearField("node"),
        lambda m: m.ClearField("opset_import"),
        lambda m: setattr(m.graph.node[0], "op_type", "RunShellCommand"),
        lambda m: m.graph.node[0].ClearField("input"),
        lambda m: m.ClearField("graph"),
    ],
)
def test_a_model_that_breaks_the_specification_is_refused(linear_onnx, spoil):
    """A model without outputs, nodes, operators or inputs is refused as no valid model."""
    model = onnx.load_model_from_string(linear_onnx())
    spoil(model)
    with pytest.raises(CandidateRefused, match=r"not a valid ONNX model|has no output|is empty"):
        require_onnx(model.SerializeToString(), "broken.onnx")


def test_a_good_model_is_accepted_as_it_is(model_path, data):
    """A complete model is taken byte by byte, and its digest is that of the file."""
    model = as_model(model_path, data)
    assert isinstance(model, OnnxModel)
    assert model.onnx == model_path.read_bytes()
    assert (model.identity.name, model.identity.kind) == ("linear", "ONNX file")
    assert model.identity.size_bytes == model_path.stat().st_size
    expected = 1 / (1 + np.exp(-3.0 * (data.test.a + data.test.b)))
    np.testing.assert_allclose(model.predict_proba(data.tables["test"]), expected, atol=1e-6)


def test_an_operator_of_another_domain_is_refused_before_it_runs(linear_onnx, data, tmp_path):
    """A model with operators that nobody here knows does not become scores."""
    from pytest_mlgate.errors import CheckError

    model = onnx.load_model_from_string(linear_onnx())
    model.graph.node[0].domain = "evil.example"
    model.opset_import.append(helper.make_opsetid("evil.example", 1))
    path = tmp_path / "custom.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises((CandidateRefused, CheckError)):
        as_model(path, data).predict_proba(data.tables["test"])


def _external(name="hidden"):
    tensor = numpy_helper.from_array(np.ones((2, 1), np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/hostname"
    return tensor


def _in_a_branch(where):
    """Return a model whose If node holds the tensor in one of its branches, as initializer or constant."""
    score = helper.make_tensor_value_info("branch", TensorProto.FLOAT, None)
    if where == "initializer":
        hidden = helper.make_graph(
            [helper.make_node("Identity", ["hidden"], ["branch"])], "then", [], [score], [_external()]
        )
    else:
        constant = helper.make_node("Constant", [], ["branch"], value=_external())
        hidden = helper.make_graph([constant], "then", [], [score])
    plain = numpy_helper.from_array(np.ones((2, 1), np.float32))
    other = helper.make_graph(
        [helper.make_node("Constant", [], ["branch"], value=plain)], "else", [], [score]
    )
    branches = {"then_branch": hidden, "else_branch": other}
    nodes = [
        helper.make_node("If", ["flag"], ["w"], **branches),
        helper.make_node("MatMul", ["features", "w"], ["score"]),
    ]
    flag = numpy_helper.from_array(np.array(True), "flag")
    features = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 2])]
    scores = [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])]
    graph = helper.make_graph(nodes, "branching", features, scores, initializer=[flag])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("where", ["initializer", "constant"])
def test_tensors_of_a_branch_in_other_files_are_refused(tmp_path, data, where):
    """A tensor that hides in a branch of an If node is found like one at the top."""
    path = tmp_path / "branching.onnx"
    path.write_bytes(_in_a_branch(where).SerializeToString())
    with pytest.raises(CandidateRefused, match=r"keeps 1 tensors .* in other files"):
        as_model(path, data)


def test_tensors_of_a_function_or_sparse_ones_in_other_files_are_refused(linear_onnx):
    """A tensor that hides in a function of the model, or inside a sparse tensor, is found too."""
    constant = helper.make_node("Constant", [], ["out"], value=_external())
    opsets = [helper.make_opsetid("", 17)]
    model = onnx.load_model_from_string(linear_onnx())
    model.functions.append(helper.make_function("own", "hide", [], ["out"], [constant], opsets))
    with pytest.raises(CandidateRefused, match=r"keeps 1 tensors .* in other files"):
        require_onnx(model.SerializeToString(), "function.onnx")
    model = onnx.load_model_from_string(linear_onnx())
    model.graph.sparse_initializer.add().values.CopyFrom(_external())
    with pytest.raises(CandidateRefused, match=r"keeps 1 tensors .* in other files"):
        require_onnx(model.SerializeToString(), "sparse.onnx")


@settings(
    deadline=None,
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=5))
def test_a_model_with_flipped_bytes_is_refused_or_read(linear_onnx, flips):
    """Bytes changed anywhere in a model file give a model or a refusal, and no other error."""
    content = bytearray(linear_onnx())
    for place, change in flips:
        content[int(place * len(content))] ^= change
    try:
        model = require_onnx(bytes(content), "flipped.onnx")
    except CandidateRefused:
        return
    assert model.graph.output
