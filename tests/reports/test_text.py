"""What happens to any text before it is shown."""

from __future__ import annotations

import math

import pytest

from mlgate_reports._text import code_block, code_span, escape_markdown, number, shown
from pytest_mlgate.text import clean


def test_hidden_characters_become_visible():
    """Direction overrides, zero-width and control characters cannot hide in a name."""
    assert (
        clean("a\u202eb\u200bc\x1bd\ud800")
        == "a[U+202E]b[U+200B]c\N{REPLACEMENT CHARACTER}d\N{REPLACEMENT CHARACTER}"
    )


def test_a_text_stays_on_one_line():
    """Newlines of any kind and runs of space become one space."""
    assert clean(" a\r\n\tb\u2028c\x85  d ") == "a b c d"


def test_letters_of_all_scripts_stay():
    """Ordinary text is not changed, with joiners that spelling needs."""
    for text in ("Ærøskøbing", "می\u200cخواهم", "贷款", "e\u0301"):
        assert clean(text) == text


def test_a_long_name_ends_in_an_ellipsis_and_its_length():
    """Truncation is visible."""
    assert clean("N" * 10_000, 5) == "NNNNN… (10,000 characters)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"),
        ("", "—"),
        (True, "yes"),
        (1_989, "1,989"),
        (0.14812, "0.148"),
        (1e300, "1e+300"),
        (math.nan, "not a number"),
        (-math.inf, "infinite"),
        (["race", "sex"], "race, sex"),
        ({"a": [1, None]}, "a: 1, —"),
    ],
)
def test_values_are_shown_in_words_and_digits(value, text):
    """Nothing is shown as None or nan."""
    assert shown(value) == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("latency_ms", "latency_ms"),
        ("-0.5", "-0.5"),
        ("- item", "\\- item"),
        ("1. item", "1\\. item"),
        ("# title", "\\# title"),
        ("---", "\\---"),
        ("a|b", "a\\|b"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("[x](y)", "\\[x\\](y)"),
        ("__x__", "\\_\\_x\\_\\_"),
        ("a\\|b", "a&#92;\\|b"),
        ("@team #1", "@&#8288;team #&#8288;1"),
        ("https://x.example", "https&#58;//x.example"),
    ],
)
def test_markdown_is_escaped_and_no_more_than_needed(text, escaped):
    """Active characters are made inert; identifiers and numbers stay readable in the source."""
    assert escape_markdown(text) == escaped


def test_a_code_span_cannot_be_ended_by_its_content():
    """A name with a backtick or a pipe is shown as escaped text and not as code."""
    assert code_span("budget[cpu].latency_ms") == "`budget[cpu].latency_ms`"
    assert code_span("a`b|c") == "a\\`b\\|c"


def test_a_code_block_cannot_be_ended_by_its_content():
    """The fence is longer than any run of backticks inside."""
    assert code_block("x ```` y\nz") == "`````text\nx ```` y z\n`````"


def test_numbers_have_three_significant_digits():
    """Numbers look as they do in the judge's messages."""
    assert [number(x) for x in (0.00168, 12.345, 1234.5)] == ["0.00168", "12.3", "1,234"]
