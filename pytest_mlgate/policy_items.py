"""The policy file as a collection of tests: `pytest mlgate.toml` is the gate with no test code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from . import discovery
from .errors import Misuse
from .plan import Declaration, use_name
from .policy import Policy


class PolicyFile(pytest.File):
    """The policy file; each section that declares a check is a test."""

    policy: Policy
    #: Measures an item from the four sources; the plugin's, handed in.
    measure: Callable[..., object]

    def collect(self) -> Iterator[PolicyItem]:
        """Yield one test for every use of a check.

        Raises:
            Misuse: a section declares an unknown check or does not fit its parameters.
        """
        checks = discovery.checks()
        taken: dict[str, int] = {}
        for use in self.policy.uses:
            name = use_name(use, checks)
            taken[name] = taken.get(name, 0) + 1
            item: PolicyItem = PolicyItem.from_parent(
                self, name=name if taken[name] == 1 else f"{name}#{taken[name]}"
            )
            item.declaration = Declaration(
                check=use.check, args=(), kwargs=use.parameters, source=use.source, test=item.nodeid
            )
            yield item


class PolicyItem(pytest.Item):
    """One use of a check in the policy, run with the candidate and the data that the policy names."""

    declaration: Declaration

    def runtest(self) -> None:
        """Do nothing: the setup measures, and the plugin fails the call if a requirement does not hold."""

    def setup(self) -> None:
        """Measure what the policy declares."""
        from .sources import baseline_of, candidate_of, data_of, training_record_of

        assert isinstance(self.parent, PolicyFile)
        policy = self.parent.policy
        self.parent.measure(
            self,
            data=lambda: data_of(policy),
            candidate=lambda: candidate_of(policy),
            baseline=lambda: baseline_of(policy),
            training_record=lambda: training_record_of(policy),
        )

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        """Return the message alone: a traceback through the plugin helps nobody."""
        if isinstance(excinfo.value, pytest.fail.Exception | Misuse):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo, style))

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Return where the requirement was written."""
        line = self.declaration.source.rpartition(":")[2]
        return self.path, int(line) - 1 if line.isdigit() else None, self.name
