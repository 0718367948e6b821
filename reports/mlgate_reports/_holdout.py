"""Says how often the test table was used, and how far that is known."""

from __future__ import annotations

from pytest_mlgate.evidence import HoldoutUse, Run

from ._text import shown


def holdout_sentence(run: Run) -> str:
    """Return in one paragraph the uses of the test table, the policy's cap, and what is not known."""
    use = run.holdout
    if use is None:
        return "No candidate was opened, so the test table was not used."
    return f"{_known(use)} {_allowed(use)}{_alpha(use)}"


def _known(use: HoldoutUse) -> str:
    if use.ledger_is_new:
        return (
            "No earlier use of this test table is known: the ledger that counts uses began with this run. "
            "Where it is not kept between runs, as in a fresh checkout, every run says this."
        )
    return (
        f"This is candidate number {shown(use.number)} of {shown(use.candidates)} that were judged on this "
        f"test table, in {shown(use.runs)} {'run' if use.runs == 1 else 'runs'} including this one. That is "
        f"what one ledger knows, which began {use.known_since}; uses before or elsewhere are not counted."
    )


def _allowed(use: HoldoutUse) -> str:
    if use.max_uses is None:
        return "The policy sets no limit to the number of candidates."
    allowed = f"The policy allows {shown(use.max_uses)} {'candidate' if use.max_uses == 1 else 'candidates'}"
    return f"{allowed}, so this one cannot be released on it." if use.is_exhausted else f"{allowed}."


def _alpha(use: HoldoutUse) -> str:
    if use.release_share == 1.0:
        return ""
    share = shown(use.release_share)
    return f" As the policy tightens with use, the passing side of every interval had {share} of its alpha."
