"""Charts are facts of a check: they reach the evidence as they are, or not at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mlgate import codec
from pytest_mlgate.cache import EvidenceCache
from pytest_mlgate.contract import AtMost, check
from pytest_mlgate.evidence import (
    MOST_POINTS,
    MOST_SERIES,
    Chart,
    Findings,
    Interval,
    Measurement,
    Series,
    Verdict,
)
from pytest_mlgate.measure import Measurer
from pytest_mlgate.plan import Request

finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def series(draw, texts=False):
    n = draw(st.integers(0, 12))

    def column(values):
        return tuple(draw(st.lists(values, min_size=n, max_size=n)))

    ranged = draw(st.booleans())
    maybe = st.none() | finite
    x = st.text(st.characters(exclude_categories=["Cs"]), max_size=9) if texts else finite
    return Series(
        name=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=9)),
        x=column(x),
        y=column(maybe),
        low=column(maybe) if ranged else (),
        high=column(maybe) if ranged else (),
    )


@st.composite
def charts(draw):
    kind = draw(st.sampled_from(["lines", "points", "bars", "steps"]))
    return Chart(
        title=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=9)),
        kind=kind,
        x_label="x",
        y_label="y",
        series=tuple(draw(st.lists(series(texts=kind == "bars"), min_size=1, max_size=3))),
        diagonal=draw(st.booleans()),
        bound=draw(st.none() | finite),
    )


@settings(deadline=None, max_examples=100, derandomize=True)
@given(charts())
def test_a_chart_survives_json(chart):
    """Text, numbers and gaps come back as they were."""
    assert codec.from_json(codec.to_json(chart), Chart) == chart


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"y": (1.0,)}, "2 x and 1 y"),
        ({"y": ()}, "2 x and 0 y"),
        ({"low": (1.0,)}, "2 x and 1 low"),
        ({"high": (1.0, 2.0, 3.0)}, "2 x and 3 high"),
        ({"y": (1.0, float("nan"))}, "not finite"),
        ({"x": (1.0, float("inf"))}, "not finite"),
        ({"low": (None, float("-inf"))}, "not finite"),
        ({"y": (np.float32("nan"), 1.0)}, "not finite"),
        ({"x": tuple(range(MOST_POINTS + 1)), "y": (0.0,) * (MOST_POINTS + 1)}, "thin it out"),
    ],
)
def test_a_series_that_cannot_be_drawn_is_refused(fields, message):
    """Lengths that differ, NaN, and too many points are errors where they are made."""
    with pytest.raises(ValueError, match=message):
        Series(**{"name": "s", "x": (1.0, 2.0), "y": (1.0, 2.0), **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"series": ()}, "0 series"),
        ({"series": (Series(name="", x=(1.0,), y=(1.0,)),) * (MOST_SERIES + 1)}, "9 series"),
        ({"bound": float("nan")}, "bound is not finite"),
        ({"series": (Series(name="", x=("a",), y=(1.0,)),)}, "drawn over numbers"),
    ],
)
def test_a_chart_that_cannot_be_drawn_is_refused(fields, message):
    """No series, too many, a bound that is no number, or text where numbers belong."""
    good = {"title": "t", "kind": "lines", "x_label": "", "y_label": ""}
    with pytest.raises(ValueError, match=message):
        Chart(**{**good, "series": (Series(name="", x=(1.0,), y=(1.0,)),), **fields})


@pytest.mark.parametrize(
    "edit",
    [
        (b'"lines"', b'"pie"'),
        (b'"bound": 0.5', b'"bound": 1e999'),
        (b'"y": [\n        1.0\n      ]', b'"y": []'),
        (b'"diagonal": false', b'"diagonal": 1'),
    ],
)
def test_evidence_with_an_impossible_chart_does_not_fit_its_schema(edit):
    """What no check could have made is refused on reading, too."""
    chart = Chart(
        title="t",
        kind="lines",
        x_label="",
        y_label="",
        bound=0.5,
        series=(Series(name="", x=(1.0,), y=(1.0,)),),
    )
    data = codec.to_json(chart)
    assert edit[0] in data
    with pytest.raises(ValueError, match=r"."):
        codec.from_json(data.replace(*edit), Chart)


def measurer(tmp_path, function) -> Measurer:
    return Measurer({"curve": function}, EvidenceCache(tmp_path), reuse=True)


def request(name: str) -> Request:
    return Request(id=name, check=name, parameters={"max": 1.0}, requirements=(), source="here", tests=())


@pytest.fixture
def subject(build):
    """What a gate's checks measure."""
    return build().gate.subject


def _findings(y):
    exact = Interval(low=0.5, high=0.5, confidence=1.0)
    m = Measurement(metric="m", value=0.5, unit="", n=1, interval=exact, method="", bound="max")
    drawn = Chart(
        title="t",
        kind="lines",
        x_label="x",
        y_label="y",
        series=(Series(name="s", x=(np.int64(1), np.float32(0.5)), y=(np.float64(0.25), y)),),
    )
    return Findings(measurements=(m,), charts=(drawn,))


def test_charts_are_carried_into_the_evidence_and_reused_with_it(tmp_path, subject):
    """Numpy's numbers become plain ones, and evidence that is reused has its charts."""

    @check("curve")
    def curve(subject, *, max: AtMost = None):
        """Draws."""
        return _findings(None)

    made = measurer(tmp_path, curve)
    first, again = (made.measure(request("curve"), subject) for _ in range(2))
    assert (first.reused, again.reused) == (False, True)
    assert first.charts == again.charts
    (only,) = first.charts[0].series
    assert (only.x, only.y) == ((1.0, 0.5), (0.25, None))
    assert {type(v) for v in only.x} == {float}


def test_a_check_that_draws_nan_is_an_error(tmp_path, subject):
    """A chart with NaN breaks its check, which blocks; the figures beside it do not count."""

    @check("curve")
    def curve(subject, *, max: AtMost = None):
        """Draws what does not exist."""
        return _findings(float("nan"))

    evidence = measurer(tmp_path, curve).measure(request("curve"), subject)
    assert "not finite; None is a gap" in evidence.error
    assert evidence.charts == ()
    assert evidence.verdict is not Verdict.PASS
