"""What holds for all views."""

from __future__ import annotations

import pytest

from pytest_mlgate import codec, discovery
from pytest_mlgate.evidence import Run

NAMES = {"audit-report.html", "model-card.html", "model-card.md", "summary.md"}


def test_every_view_is_found():
    """Discovery finds each view by its file name."""
    assert set(discovery.views()) >= NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("run", ["released", "blocked", "empty"])
def test_views_are_deterministic(name, run, request):
    """A run read back from its file gives the same bytes, each time: `mlgate verify` compares them."""
    written = codec.to_json(request.getfixturevalue(run))
    first, second = (discovery.views()[name].render(codec.from_json(written, Run)) for _ in range(2))
    assert first.encode() == second.encode()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_an_untested_release_never_looks_like_one(name, empty):
    """With nothing opened every view says blocked and that no model was measured."""
    text = discovery.views()[name].render(empty)
    assert "Blocked" in text
    assert "no model was measured" in text.lower()
    assert "could not be collected" in text
