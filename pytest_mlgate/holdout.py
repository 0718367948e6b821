"""How often a test table was used to judge candidates, and what each of them may spend of alpha.

A test table that many candidates are tried on ends up choosing the luckiest. What is counted is therefore
every distinct candidate that was opened on a table, by the digests of both, before anything is measured: a
run that was broken off has been seen, too. The same candidate again is no further use. A table that differs
in one cell or in the order of its rows is another table, and what another ledger counted is not known here.

With `[holdout] tighten`, the k-th candidate has 1 / (k (k + 1)) of the releasing side of alpha. The shares of
all candidates there will ever be sum to one, so that together they are wrongly released with the probability
that one alone has otherwise (Bonferroni over an unbounded sequence). Chosen over two others:

- An even split over `max_uses` costs the first candidate as much as the last, and needs the number in
  advance; here the first pays half, and the tenth 1/110.
- The Ladder (Blum and Hardt 2015, ICML, "The Ladder: a reliable leaderboard for machine learning
  competitions") holds even against candidates that are fitted to the figures seen, because it shows a figure
  only where it beats the best one by a margin. A gate must show every figure and interval, by group, and its
  margin is of order (log(k n) / n)^(1/3), about 0.17 for ten candidates on 2,000 rows: no bound could be
  decided.

What the split does not protect against, therefore: with only the decision known, and work ending at the first
release, the candidates are a fixed sequence and the sum holds as it stands (Renggli et al. 2019, MLSys,
"Continuous integration of machine learning models with ease.ml/ci", section 3); somebody who fits the next
candidate to the figures of the last can gain more. Against that helps only `max_uses`, and new rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .evidence import HoldoutUse, Run
from .ledger import Entry, Ledger, LedgerError
from .levels import Levels

_USE, _DECISION = "use", "decision"


def record_use(
    ledger: Ledger, *, run: str, test: str, candidate: str, max_uses: int | None, tighten: bool
) -> HoldoutUse:
    """Write into the ledger that a run opens a candidate on a test table, and return what that makes.

    All processes of one run get the same answer, whatever other runs add meanwhile.

    Args:
        ledger: where uses are counted.
        run: names the run.
        test: digest of the test table.
        candidate: digest of the candidate.
        max_uses: how many distinct candidates the policy allows.
        tighten: whether later candidates have less of alpha.

    Raises:
        LedgerError: the use cannot be recorded; nothing may be measured then.
    """
    entries = ledger.append(_USE, {"run": run, "test": test, "candidate": candidate})
    return _use(entries, max_uses=max_uses, tighten=tighten)


def record_decision(ledger: Ledger, run: Run, *, name: str, evidence: str) -> None:
    """Write the decision of a run into the ledger.

    Args:
        ledger: where decisions are kept.
        run: what was decided.
        name: names the run, as for `record_use`.
        evidence: digest of `evidence.json`.

    Raises:
        LedgerError: it cannot be written, or the ledger no longer holds the use that this run recorded.
    """
    if run.holdout is not None and run.holdout.entry not in {e.digest for e in ledger.verify()}:
        raise LedgerError(
            f"the ledger {str(ledger.path)!r} was replaced while the gate ran: it no longer holds the use of "
            "the test table that this run recorded. Run the gate again, and let nothing touch the ledger"
        )
    ledger.append(
        _DECISION,
        {
            "run": name,
            "outcome": run.decision.outcome,
            "evidence": evidence,
            "lock": run.lock,
            "test": run.holdout.test if run.holdout else "",
            "candidate": run.candidate.digest if run.candidate else "",
            "release": run.release.digest if run.release else "",
        },
    )


def levels_of(use: HoldoutUse, levels: Levels) -> Levels:
    """Return what a requirement may spend on this use of the test table."""
    return dataclasses.replace(levels, release=levels.release * use.release_share)


def share_of(number: int) -> float:
    """Return the share of alpha's releasing side that the number-th candidate has, from 1 on.

    It is the series of `Levels.attempt` from its second term on, which sums to one.
    """
    return Levels(fail=1.0, release=1.0).attempt(number + 1).release


def _use(entries: Sequence[Entry], *, max_uses: int | None, tighten: bool) -> HoldoutUse:
    """Return what the last entry makes of the test table that it names."""
    own = entries[-1]
    uses = [e.content for e in entries if e.kind == _USE and e.content["test"] == own.content["test"]]
    candidates = list(dict.fromkeys(content["candidate"] for content in uses))
    number = candidates.index(own.content["candidate"]) + 1
    return HoldoutUse(
        test=own.content["test"],
        number=number,
        candidates=len(candidates),
        runs=len({content["run"] for content in uses}),
        max_uses=max_uses,
        release_share=share_of(number) if tighten else 1.0,
        known_since=entries[0].time,
        ledger_is_new=entries[0].content.get("run") == own.content["run"],
        entry=own.digest,
    )
