"""The model card in Markdown, with the front matter that Hugging Face reads."""

from __future__ import annotations

from pytest_mlgate.evidence import Run
from pytest_mlgate.view import view

from ._card import statements
from ._context import context
from ._environment import render_markdown
from ._front_matter import front_matter


@view("model-card.md")
def model_card(run: Run) -> str:
    """Render the card: the decision first, then the sections of Mitchell et al. 2019."""
    body = render_markdown("model-card.md.j2", **context(run), said=statements(run))
    return front_matter(run) + body
