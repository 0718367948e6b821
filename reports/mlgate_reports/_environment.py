"""The two template engines, HTML and Markdown: both escape everything that is not a template's own text."""

from __future__ import annotations

import functools
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pytest_mlgate.text import clean

from ._context import functions
from ._text import NAME_LIMIT, code_block, code_span, escape_markdown, shown


@functools.cache
def html() -> Environment:
    """Return the engine for HTML pages."""
    environment = _environment()
    environment.finalize = _for_html
    environment.filters |= {
        "name": _name,
        "plain": lambda text: clean(text, NAME_LIMIT),
        "path": _path,
    }
    return environment


@functools.cache
def markdown() -> Environment:
    """Return the engine for Markdown: what is printed is escaped unless a filter here made it."""
    environment = _environment()
    environment.finalize = _for_markdown
    environment.filters |= {
        "name": lambda text: _safe(escape_markdown(text, NAME_LIMIT)),
        "code": lambda text: _safe(code_span(text)),
        "block": lambda text: _safe(code_block(text)),
    }
    return environment


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mlgate_reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= functions()
    return environment


def render_markdown(template: str, **context: Any) -> str:
    """Return the rendered template with no more than one empty line between its parts."""
    return re.sub(r"\n{3,}", "\n\n", markdown().get_template(template).render(**context))


def _name(text: str) -> Markup:
    """Return the name with places to break the line: identifiers have no spaces, and columns are narrow.

    A number is not broken at its point.
    """
    return _safe(re.sub(r"(?<=[._\[\]/:])(?<!\d\.)(?=\w)", "<wbr>", str(escape(clean(text, NAME_LIMIT)))))


def _path(data: str) -> Markup:
    """Return the data of an SVG path whole, however long it is: commands and numbers, and nothing else."""
    if not re.fullmatch(r"[MLHVhvlaz\d .-]*", data):
        raise ValueError("not the data of a path")
    return _safe(data)


def _for_html(value: object) -> object:
    return value if isinstance(value, Markup) else shown(value)


def _for_markdown(value: object) -> object:
    return value if isinstance(value, Markup) else _safe(escape_markdown(shown(value)))


def _safe(escaped: str) -> Markup:
    """Mark text that this module has escaped; the engine's own escaping would do it again, as HTML."""
    return Markup(escaped)  # noqa: S704
