"""Makes any text of the evidence safe to show: one line, no control characters, no active Markdown.

Column names, group names and error messages come from data and models that nobody vouches for. HTML is
escaped by the template engine; what is left to do here is what escaping does not touch: characters that
reorder or hide text, names of any length, and Markdown, which has no engine that escapes it.
"""

from __future__ import annotations

import math
import re

from pytest_mlgate.judge import significant
from pytest_mlgate.text import TEXT_LIMIT, clean

NAME_LIMIT = 120

ABSENT = "\N{EM DASH}"

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\\": "&#92;"}
_MARKDOWN = re.compile(
    r"[&<>\\]"
    r"|[`*\[\]|~$]"
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # inside a word an underscore is only an underscore
    r"|(?<!\w)[@#](?=\w)"  # would notify a person or link an issue
    r"|:(?=//)|(?<=www)\."  # would become a link
)
#: What would start a list, a heading or a rule; the minus of a number would not.
_LINE_START = re.compile(r"(\d{1,9}(?=[.)](?:\s|$))|(?=[-+](?:\s|$)|--|=|#))")
_CODE = re.compile(r"[A-Za-z0-9_.,:/=+@#%\[\]()-]+( [A-Za-z0-9_.,:/=+@#%\[\]()-]+)*")


def shown(value: object) -> str:
    """Return any cell or field as text: a number with its digits, nothing as a dash."""
    if value is None or value == "":
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or ABSENT
    if isinstance(value, dict):
        return "; ".join(f"{clean(str(key))}: {shown(item)}" for key, item in value.items()) or ABSENT
    return clean(str(value))


def number(value: float) -> str:
    """Return the number with three significant digits; one that is not finite is named in words."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    # Whole digits of a very large number say nothing that its exponent does not.
    return f"{value:.3g}" if abs(value) >= 1e15 else significant(value)


def escape_markdown(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return the text such that Markdown shows it letter by letter, in a table cell or anywhere else."""
    escaped = _MARKDOWN.sub(_inert, clean(text, limit))
    return _LINE_START.sub(r"\1\\", escaped, count=1) if _LINE_START.match(escaped) else escaped


def code_span(text: str) -> str:
    """Return a name as a Markdown code span; one with unusual characters as escaped text."""
    cleaned = clean(text, NAME_LIMIT)
    return f"`{cleaned}`" if _CODE.fullmatch(cleaned) else escape_markdown(text, NAME_LIMIT)


def code_block(text: str) -> str:
    """Return one line of text as a Markdown code block that it cannot end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{clean(text)}\n{fence}"


def _inert(match: re.Match[str]) -> str:
    character = match.group()
    if character in _ENTITIES:
        return _ENTITIES[character]
    if character in "@#":
        return f"{character}&#8288;"
    if character in ":.":
        return f"&#{ord(character)};"
    return f"\\{character}"
