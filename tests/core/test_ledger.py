"""The ledger only grows, agrees with itself, and whatever is done to it otherwise is noticed."""

import concurrent.futures
import multiprocessing
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mlgate import codec
from pytest_mlgate.ledger import GENESIS, Ledger, LedgerError

contents = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.integers(), max_size=3
)


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    """A ledger of three entries."""
    made = Ledger(tmp_path / "deep" / "ledger.sqlite")
    for number in range(3):
        made.append("use", {"candidate": f"c{number}"})
    return made


def tampered(ledger: Ledger, *statements: str) -> None:
    """Change the file as somebody would who knows about the triggers."""
    with sqlite3.connect(ledger.path) as connection:
        for name in ("only_append", "never_update", "never_delete"):
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_entries_are_numbered_and_chained(ledger):
    """Each entry has the next number and the digest of the entry before it."""
    first, second, third = ledger.verify()
    assert [e.number for e in (first, second, third)] == [1, 2, 3]
    assert (first.previous, second.previous, third.previous) == (GENESIS, first.digest, second.digest)
    assert [e.content["candidate"] for e in ledger.verify()] == ["c0", "c1", "c2"]


def test_no_ledger_is_an_empty_one(tmp_path):
    """Reading makes no file."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert ledger.verify() == ()
    assert not ledger.path.exists()


def test_the_same_entry_is_not_added_twice(ledger):
    """An entry that is there already is returned with those before it, without those after it."""
    entries = ledger.append("use", {"candidate": "c1"})
    assert [e.number for e in entries] == [1, 2]
    assert len(ledger.append("decision", {"candidate": "c1"})) == 4
    assert len(ledger.verify()) == 4


@settings(deadline=None, max_examples=25, derandomize=True)
@given(st.lists(contents, min_size=1, max_size=6))
def test_what_was_appended_is_read_back(tmp_path_factory, given_contents):
    """Any content survives, in order, and the chain holds."""
    ledger = Ledger(tmp_path_factory.mktemp("l") / "ledger.sqlite")
    for content in given_contents:
        ledger.append("note", content)
    expected = [c for i, c in enumerate(given_contents) if c not in given_contents[:i]]
    assert [e.content for e in ledger.verify()] == expected


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET entry = 'x' WHERE number = 2",
        "DELETE FROM entries WHERE number = 3",
        "INSERT OR REPLACE INTO entries SELECT 2, digest, entry FROM entries WHERE number = 1",
        "INSERT INTO entries SELECT 7, digest, entry FROM entries WHERE number = 1",
    ],
)
def test_the_file_itself_refuses_all_but_the_next_entry(ledger, statement):
    """Changing, removing, replacing or skipping is refused by the database."""
    connection = sqlite3.connect(ledger.path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    assert len(ledger.verify()) == 3


@pytest.mark.parametrize(
    ("statement", "entry"),
    [
        ("UPDATE entries SET entry = replace(entry, 'c1', 'c9') WHERE number = 2", 2),
        ("UPDATE entries SET entry = entry || ' ' WHERE number = 2", 2),
        ("UPDATE entries SET digest = replace(digest, 'a', 'b') WHERE number = 1", 1),
        ("UPDATE entries SET entry = 'x' WHERE number = 3", 3),
        ("UPDATE entries SET entry = CAST(x'ff' AS TEXT) WHERE number = 3", 3),
        ("DELETE FROM entries WHERE number = 1", 1),
        ("DELETE FROM entries WHERE number = 2", 2),
        ("UPDATE entries SET number = 9 WHERE number = 3", 3),
    ],
)
def test_a_changed_entry_is_named(ledger, statement, entry):
    """Whatever was edited, removed or reordered breaks the chain there: no reading, and no adding."""
    tampered(ledger, statement)
    for use in (ledger.verify, lambda: ledger.append("use", {"candidate": "new"})):
        with pytest.raises(LedgerError, match=rf"ledger\.sqlite.*(entry {entry}|cannot be used)") as refused:
            use()
        # The error, which somebody may keep, does not keep the file locked.
        assert refused.value.__traceback__ is not None
        other = sqlite3.connect(ledger.path, timeout=0)
        other.execute("BEGIN IMMEDIATE")
        other.close()


def test_an_entry_swapped_for_one_with_a_right_digest_is_noticed(ledger, tmp_path):
    """An entry of another ledger has a right digest and does not follow."""
    other = Ledger(tmp_path / "other.sqlite")
    for number in (7, 8):
        other.append("use", {"candidate": f"c{number}"})
    entry = other.verify()[1]
    text = codec.to_json(entry).decode().replace("'", "''")
    tampered(ledger, f"UPDATE entries SET entry = '{text}', digest = '{entry.digest}' WHERE number = 2")
    with pytest.raises(LedgerError, match="entry 2: it does not follow from the entry before it"):
        ledger.verify()


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to look like one" * 40, b"\0" * 5000]
)
def test_a_file_that_is_no_ledger_is_refused(tmp_path, content):
    """Garbage is neither read nor overwritten."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.path.write_bytes(content)
    with pytest.raises(LedgerError, match="cannot be used"):
        ledger.append("use", {})
    assert ledger.path.read_bytes() == content


@pytest.mark.parametrize("place", ["/proc/no-folder-can-be-made-here/ledger.sqlite", "{tmp}"])
def test_a_place_that_cannot_be_written_is_named(tmp_path, place):
    """The message says which file, and what to do."""
    ledger = Ledger(type(tmp_path)(place.format(tmp=tmp_path)))
    with pytest.raises(LedgerError, match=r"cannot be used: .*make the file and its folder writable"):
        ledger.append("use", {})


def test_a_failed_addition_leaves_nothing(ledger):
    """What JSON cannot hold is refused, and the ledger is as it was."""
    with pytest.raises(ValueError, match="nan"):
        ledger.append("use", {"share": float("nan")})
    assert len(ledger.verify()) == 3


def _append_many(path, worker):
    ledger = Ledger(path)
    return [ledger.append("use", {"run": f"{worker}-{i}"})[-1].number for i in range(8)]


def test_several_processes_add_at_once(tmp_path):
    """Four processes that begin a new ledger together lose nothing, and the chain holds."""
    path = tmp_path / "ledger.sqlite"
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(4, mp_context=context) as pool:
        numbers = [n for found in pool.map(_append_many, [path] * 4, range(4)) for n in found]
    assert sorted(numbers) == list(range(1, 33))
    assert len({e.content["run"] for e in Ledger(path).verify()}) == 32
