"""The model card as a page for people who do not read Markdown."""

from __future__ import annotations

from pytest_mlgate.evidence import Run
from pytest_mlgate.view import view

from ._card import statements
from ._context import context
from ._environment import html


@view("model-card.html")
def model_card_html(run: Run) -> str:
    """Render the card as one self-contained page without scripts."""
    return html().get_template("model-card.html.j2").render(**context(run), said=statements(run))
