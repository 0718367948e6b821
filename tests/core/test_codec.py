"""Evidence in and out of JSON: canonical, strict about types, and without NaN."""

import json
import math
from importlib import resources

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pytest_mlgate
from pytest_mlgate import codec
from pytest_mlgate.evidence import SCHEMA, Interval, Measurement, Run, Table

steady = settings(deadline=None, max_examples=100, derandomize=True)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
plain_values = st.recursive(
    scalars | texts, lambda v: st.lists(v, max_size=4) | st.dictionaries(texts, v, max_size=4), max_leaves=15
)
REGENERATE = (
    'python -c "import json, pathlib; from pytest_mlgate import codec, evidence; '
    "pathlib.Path('pytest_mlgate/schema/evidence.v1.json').write_text(json.dumps("
    "codec.schema_of(evidence.Run, evidence.SCHEMA), indent=2, sort_keys=True) + '\\n')\""
)


def shipped() -> dict:
    path = resources.files(pytest_mlgate) / "schema" / "evidence.v1.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [1, v], lambda v: {"a": {"b": (v,)}}])
def test_numbers_that_json_cannot_hold_are_refused(value, wrap):
    """NaN and infinity are refused at any depth, with the path to them."""
    with pytest.raises(ValueError, match=r"^\$.* is (nan|-?inf)"):
        codec.to_json(wrap(value))


def test_path_of_the_refused_number_is_named():
    """The error says where in the evidence the NaN stands."""
    m = Measurement(
        metric="m",
        value=1.0,
        unit="",
        n=1,
        interval=Interval(low=math.nan, high=1.0, confidence=0.95),
        method="t",
    )
    with pytest.raises(ValueError, match=r"\$\.interval\.low is nan"):
        codec.to_json(m)


@steady
@given(st.dictionaries(texts, plain_values, max_size=6))
def test_bytes_are_canonical(value):
    """The order in which a mapping was filled does not show in its bytes, which end in a newline."""
    backwards = dict(reversed(list(value.items())))
    assert codec.to_json(value) == codec.to_json(backwards)
    assert codec.digest_of(value) == codec.digest_of(backwards)
    assert codec.to_json(value).endswith(b"\n")
    assert json.loads(codec.to_json(value)) == value


@steady
@given(st.lists(st.tuples(scalars | texts, scalars | texts), max_size=5))
def test_table_cells_survive_reading_and_writing(rows):
    """Cells come back equal and of the same kind, and are written again as the same bytes."""
    table = Table(title="t", columns=("a", "b"), rows=tuple(rows))
    data = codec.to_json(table)
    read = codec.from_json(data, Table)
    assert read == table
    assert codec.to_json(read) == data


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"n": "100"}, r"\$\.n"),
        ({"n": 1.5}, r"\$\.n"),
        ({"value": "0.1"}, r"\$\.value"),
        ({"value": True}, r"\$\.value"),
        ({"grade": "guessed"}, r"\$\.grade"),
        ({"interval": {"low": 0}}, r"\$\.interval"),
        ({"metric": None}, r"\$\.metric"),
        ({"unbounded": "no"}, r"\$\.unbounded"),
    ],
)
def test_wrong_types_are_refused_with_their_path(change, where):
    """A field of another type than declared is refused, and the message names the field."""
    good = {"metric": "m", "value": 0.1, "unit": "", "n": 3, "interval": None, "method": "t"}
    assert codec.from_json(json.dumps(good).encode(), Measurement).n == 3
    with pytest.raises(ValueError, match=where):
        codec.from_json(json.dumps(good | change).encode(), Measurement)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[1, 2]", b"\xff\xfe", b'{"metric": "m"}', b"NaN", b"[" * 100_000, b'{"n": 1e999}']
)
def test_what_is_not_evidence_is_a_value_error(data):
    """Truncated, foreign, absurdly nested or incomplete input raises nothing but ValueError."""
    with pytest.raises(ValueError, match=r"."):
        codec.from_json(data, Measurement)


@steady
@given(st.binary(max_size=80))
def test_random_bytes_are_a_value_error(data):
    """Random bytes raise nothing but ValueError."""
    with pytest.raises(ValueError, match=r"."):
        codec.from_json(data, Run)


def test_parameters_are_plain():
    """Parameters are kept as JSON has them: tuples become lists."""
    assert codec.plain({"sensitive": ("race", "sex"), "max": 0.1}) == {
        "sensitive": ["race", "sex"],
        "max": 0.1,
    }


def test_digest_is_sha256_of_the_bytes():
    """A digest names its algorithm and is that of the bytes."""
    assert codec.digest(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_shipped_schema_is_current():
    """The JSON Schema in the package is the one that the types give."""
    current = codec.schema_of(Run, SCHEMA)
    assert shipped() == json.loads(json.dumps(current)), (
        f"the schema changed; regenerate it with:\n{REGENERATE}"
    )


def test_schema_validates_a_real_run(build):
    """The schema is a valid JSON Schema, and the evidence of a real run fits it."""
    jsonschema.Draft202012Validator.check_schema(shipped())
    built = build()
    evidence = json.loads((built.folder / "evidence.json").read_text())
    jsonschema.validate(evidence, shipped(), cls=jsonschema.Draft202012Validator)
    assert shipped()["$id"] == evidence["schema"] == SCHEMA


@pytest.mark.parametrize(
    "spoil",
    [
        lambda e: e.pop("decision"),
        lambda e: e["decision"].update(outcome="perhaps"),
        lambda e: e["evidence"][0]["measurements"][0].update(value="0.9"),
        lambda e: e["evidence"][0]["judgements"][0].update(verdict="fine"),
        lambda e: e.update(lock=None),
    ],
)
def test_schema_and_reader_refuse_the_same_faults(build, spoil):
    """What the reader refuses, the schema refuses too."""
    evidence = json.loads((build().folder / "evidence.json").read_text())
    spoil(evidence)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(evidence, shipped(), cls=jsonschema.Draft202012Validator)
    with pytest.raises(ValueError, match=r"."):
        codec.from_json(json.dumps(evidence).encode(), Run)
