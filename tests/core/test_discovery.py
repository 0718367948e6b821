"""How checks and views are found: by being in the folder, once."""

import importlib
import sys

import pytest

from pytest_mlgate import discovery
from pytest_mlgate.check_names import check_names
from pytest_mlgate.contract import Check
from pytest_mlgate.errors import Misuse

CHECK = """\
from pytest_mlgate.contract import AtMost, check


@check("{name}")
def {name}(subject, *, max: AtMost = None):
    '''Measures {name}.'''
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder of checks of its own, found instead of the shipped one."""
    folder = tmp_path / "own_checks"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(discovery, "CHECKS_PACKAGE", "own_checks")
    yield folder
    for name in [n for n in sys.modules if n.split(".")[0] == "own_checks"]:
        del sys.modules[name]


def found():
    return discovery.checks.__wrapped__()


def test_shipped_checks_are_named_as_their_modules():
    """Every module of the folder defines exactly the check of its own name."""
    assert sorted(discovery.checks()) == sorted(check_names())
    for name, check in discovery.checks().items():
        assert isinstance(check, Check)
        assert check.function.__module__ == f"mlgate_checks.{name}"
        assert check.bounds, f"{name} has no bound, so it could never fail"
        assert check.summary.endswith(".")


def test_shipped_views_are_named_as_the_files_they_write():
    """Every view renders one file of a plain name, and none takes the name of the evidence."""
    for name, view in discovery.views().items():
        assert view.name == name
        assert "/" not in name
        assert name not in {"evidence.json", "mlgate.lock", "release-artifact.onnx"}


def test_a_check_is_found_by_being_in_the_folder(package):
    """A new file with a check is found; a file that begins with an underscore is not looked at."""
    (package / "novel.py").write_text(CHECK.format(name="novel"))
    (package / "_helper.py").write_text("raise RuntimeError('imported')")
    assert list(found()) == ["novel"]


def test_two_checks_of_one_name_are_refused_with_both_places(package):
    """Two files that define the same check are misuse, and both are named."""
    (package / "first.py").write_text(CHECK.format(name="twin"))
    (package / "second.py").write_text(CHECK.format(name="twin"))
    with pytest.raises(
        Misuse, match=r"twin is defined twice: in own_checks\.first and in own_checks\.second"
    ):
        found()


def test_importing_a_check_from_a_neighbour_is_no_duplicate(package):
    """A module that imports another one's check does not define it a second time."""
    (package / "first.py").write_text(CHECK.format(name="twin"))
    (package / "second.py").write_text("from own_checks.first import twin\n\n" + CHECK.format(name="other"))
    assert sorted(found()) == ["other", "twin"]


def test_third_parties_add_checks_by_entry_point(package, tmp_path, monkeypatch):
    """A distribution with an entry point in the group adds its check, and may not take a shipped name."""
    (package / "shipped.py").write_text(CHECK.format(name="shipped"))
    (tmp_path / "foreign_checks.py").write_text(CHECK.format(name="foreign"))
    info = tmp_path / "foreign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mlgate.checks]\nforeign = foreign_checks\n")
    importlib.invalidate_caches()
    assert sorted(found()) == ["foreign", "shipped"]
    (tmp_path / "foreign_checks.py").write_text(CHECK.format(name="shipped") + "\n")
    sys.modules.pop("foreign_checks")
    with pytest.raises(Misuse, match="shipped is defined twice"):
        found()
    sys.modules.pop("foreign_checks", None)
