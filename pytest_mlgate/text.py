"""Makes text that nobody vouches for safe to print: one line, limited length, nothing hidden.

Column names, group names and the messages of other libraries come from data and models. What they hold
must neither move a terminal's cursor nor reorder or hide the text around it.
"""

from __future__ import annotations

import unicodedata

#: Longer texts end in an ellipsis and their length; all of them is in evidence.json.
TEXT_LIMIT = 2_000

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
#: Zero-width joiners belong to the spelling of Persian, Hindi and others; all else of the kind only hides.
_JOINERS = "\u200c\u200d"


def clean(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return the text on one line, of limited length, with hidden characters made visible."""
    cut = f"{text[:limit]}\N{HORIZONTAL ELLIPSIS} ({len(text):,} characters)" if len(text) > limit else text
    if not cut.isprintable():
        cut = "".join(map(_visible, cut))
    return " ".join(cut.split())


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if character in "\n\r\t\v\f\x85" or category in {"Zl", "Zp", "Zs"}:
        return " "
    if category == "Cf" and character not in _JOINERS:
        return f"[U+{ord(character):04X}]"
    return _REPLACEMENT if category in {"Cc", "Cs"} else character
