"""Evidence by content digest: nothing unchanged is measured twice, and nothing edited is believed."""

import dataclasses
import json

import pytest

from pytest_mlgate import codec
from pytest_mlgate.cache import EvidenceCache, write_whole
from pytest_mlgate.candidate import Candidate

KEY = "sha256:" + "ab" * 32


@pytest.fixture
def stored(tmp_path, build):
    """A cache with one entry, the entry's file, and its evidence."""
    evidence = build().run.evidence[0]
    cache = EvidenceCache(tmp_path / "own-cache")
    cache.write(KEY, evidence)
    (path,) = (tmp_path / "own-cache").iterdir()
    return cache, path, evidence


def test_what_was_written_is_read_back(stored):
    """An entry comes back equal under its key, and under no other."""
    cache, _, evidence = stored
    assert cache.read(KEY) == evidence
    assert cache.read("sha256:" + "cd" * 32) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-20],
        lambda data: b"",
        lambda data: b"\xff" + data,
        lambda data: data.replace(b'"pass"', b'"fail"', 1),
        lambda data: data.replace(b'"value": ', b'"value": 1', 1),
        lambda data: data.replace(b'"n": ', b'"n": 9', 1),
        lambda data: data.replace(b"abab", b"abac", 1),
        lambda data: json.dumps(json.loads(data)["evidence"]).encode(),
    ],
)
def test_a_damaged_or_edited_entry_is_ignored(stored, damage):
    """An entry that was cut, edited, or stored under another key counts as absent."""
    cache, path, _ = stored
    before = path.read_bytes()
    path.write_bytes(damage(before))
    assert path.read_bytes() != before
    assert cache.read(KEY) is None


def test_an_entry_under_another_name_is_ignored(stored):
    """A file that was renamed to another key is not believed."""
    cache, path, _ = stored
    other = "sha256:" + "cd" * 32
    path.rename(path.with_name(f"{'cd' * 32}.json"))
    assert cache.read(other) is None


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    """A write that fails leaves the previous file and no temporary one."""
    path = tmp_path / "a" / "file"
    write_whole(path, b"one")
    with pytest.raises(TypeError):
        write_whole(path, "text")
    assert path.read_bytes() == b"one"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_evidence_of_an_earlier_run_is_reused_and_says_so(build):
    """A second gate with the same content measures nothing and marks its evidence as reused."""
    first, second = build(folder="one"), build(folder="two")
    assert not any(e.reused for e in first.run.evidence)
    assert all(e.reused for e in second.run.evidence)
    for old, new in zip(first.run.evidence, second.run.evidence, strict=True):
        assert dataclasses.replace(new, reused=False, tests=old.tests) == dataclasses.replace(
            old, tests=old.tests
        )
    assert first.run.decision == second.run.decision


def test_reuse_can_be_turned_off(build):
    """A gate that is told not to reuse measures everything again."""
    build(folder="one")
    assert not any(e.reused for e in build(folder="two", reuse=False).run.evidence)


POLICY = 'required = ["accuracy", "width"]\n[checks.accuracy]\nmin = 0.6\n[checks.width]\nmax = {}\n'


def _other_model(tmp_path, linear_onnx):
    path = tmp_path / "other.onnx"
    path.write_bytes(linear_onnx(2.0))
    return path


CHANGES = {
    "data": lambda data, other: {
        "given": dataclasses.replace(data, test=data.test.assign(a=data.test.a + 1))
    },
    "training rows": lambda data, other: {"given": dataclasses.replace(data, train=data.train[:-1])},
    "positive": lambda data, other: {"given": dataclasses.replace(data, positive=0)},
    "sensitive": lambda data, other: {"given": dataclasses.replace(data, features=("a", "b"), sensitive=())},
    "bins": lambda data, other: {"given": dataclasses.replace(data, bins={"a": (0.0,)})},
    "features of the data": lambda data, other: {"given": dataclasses.replace(data, features=("b", "a"))},
    "features of the candidate": lambda data, other: {
        "candidate": Candidate(other.with_name("candidate.onnx"), features=("b", "a"))
    },
    "output": lambda data, other: {"candidate": Candidate(other.with_name("candidate.onnx"), output="logit")},
    "model": lambda data, other: {"candidate": other},
    "threshold": lambda data, other: {
        "candidate": Candidate(other.with_name("candidate.onnx"), threshold=0.6)
    },
    "seed": lambda data, other: {"text": "seed = 4\n" + POLICY.format(3)},
    "alpha": lambda data, other: {"text": "alpha = 0.1\n" + POLICY.format(3)},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_changed_inputs_are_measured_again(build, data, linear_onnx, tmp_path, change):
    """Evidence is reused only if data, meaning, model, threshold, seed and levels are all the same."""
    build(POLICY.format(3), folder="one")
    arguments = {"text": POLICY.format(3), **change(data, _other_model(tmp_path, linear_onnx))}
    assert not any(e.reused for e in build(**arguments, folder="two").run.evidence)


def test_the_same_inputs_in_other_words_are_not_measured_again(build, data, tmp_path):
    """Defaults that are spelled out change nothing, so that the test above shows what it claims."""
    build(POLICY.format(3), folder="one")
    spelled = dataclasses.replace(data, features=("a", "b"))
    candidate = Candidate(tmp_path / "candidate.onnx", output="probability", threshold=0.5)
    again = build(POLICY.format(3), given=spelled, candidate=candidate, folder="two")
    assert all(e.reused for e in again.run.evidence)


def test_a_changed_bound_is_judged_again(build):
    """Another bound is another request: only the check whose bound changed is measured again."""
    build(POLICY.format(3), folder="one")
    found = {e.id: e.reused for e in build(POLICY.format(1), folder="two").run.evidence}
    assert found == {"accuracy": True, "width": False}


def test_digest_of_a_key_covers_everything_in_it():
    """Two keys that differ anywhere have different digests."""
    base = {"check": ["a", "1"], "seed": 0}
    assert codec.digest_of(base) != codec.digest_of(base | {"seed": 1})
