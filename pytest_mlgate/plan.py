"""What a run will judge, fixed before anything is measured: the marks and the policy, merged and checked."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from .contract import Check
from .dataset import Dataset
from .errors import Misuse
from .evidence import Requirement, Waiver
from .hardware.target import Targets
from .levels import Levels, levels_for
from .policy import CheckUse, Entry, Policy


@dataclass(frozen=True)
class Declaration:
    """One mark on one test, as written."""

    check: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    source: str
    test: str


@dataclass(frozen=True)
class Request:
    """One use of one check: its parameters, its requirements, and the tests that carry it."""

    id: str
    check: str
    parameters: dict[str, Any]
    requirements: tuple[Requirement, ...]
    source: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Every request of a run, and what each requirement may spend of alpha."""

    policy: Policy
    requests: tuple[Request, ...]

    @property
    def levels(self) -> Levels:
        """The error probabilities of one requirement."""
        return levels_for(self.policy.fields.alpha, sum(len(r.requirements) for r in self.requests))

    def of_test(self, test: str) -> tuple[Request, ...]:
        """Return the requests that a test carries."""
        return tuple(r for r in self.requests if test in r.tests)

    def validate(self, data: Dataset, checks: Mapping[str, Check]) -> None:
        """Refuse requests that name columns the data does not have or groups nothing can be said about.

        Raises:
            Misuse: with the column and the columns there are.
        """
        for request in self.requests:
            for parameter, columns in checks[request.check].columns.items():
                names = request.parameters.get(parameter, ())
                source = f"{request.source}: {request.check}: {parameter}"
                for role in data.tables:
                    data.require_columns(names, role, source)
                if columns.as_groups:
                    for name in names:
                        data.require_groups(name, source, columns.most)

    @property
    def targets(self) -> Targets:
        """The targets that the policy names."""
        return Targets(self.policy.fields.targets)

    def waivers(self, today: datetime.date) -> tuple[Waiver, ...]:
        """Return the policy's waivers with their state: expired and orphaned ones block."""
        declared = {requirement.id for request in self.requests for requirement in request.requirements}
        return tuple(
            Waiver(
                requirement=w.requirement,
                owner=w.owner,
                approver=w.approver,
                reason=w.reason,
                scope=w.scope,
                expires=w.expires.isoformat(),
                state="orphaned"
                if w.requirement not in declared
                else "expired"
                if w.expires < today
                else "in_force",
            )
            for w in self.policy.fields.waivers
        )


@dataclass(frozen=True)
class _Use:
    check: Check
    parameters: dict[str, Any]
    source: str
    tests: tuple[str, ...]

    def effective(self, parameter: str) -> Any:
        """Return what was written for the parameter, or its default."""
        declared = self.check.signature.parameters.get(parameter)
        return self.parameters.get(parameter, declared.default if declared else None)

    @property
    def name(self) -> str:
        named = [self.effective(parameter) for parameter in self.check.named_by]
        values = [value for value in named if isinstance(value, str)]
        return f"{self.check.name}[{','.join(values)}]" if values else self.check.name


def use_name(use: CheckUse, checks: Mapping[str, Check]) -> str:
    """Return the name under which a section of the policy appears: the check and what tells uses apart.

    Raises:
        Misuse: the section declares an unknown check or does not fit its parameters.
    """
    return _policy_use(use, checks).name


def make_plan(policy: Policy, declarations: Sequence[Declaration], checks: Mapping[str, Check]) -> Plan:
    """Merge marks and policy into requests.

    A mark overlays the policy section of the same name; a bare mark stands for all sections of its check.
    What the policy declares and no mark carries stays a request of its own, so that it cannot be forgotten.

    Raises:
        Misuse: an unknown check, arguments that do not fit, a mark that loosens a bound of the policy, a
            use without any bound, or a policy entry that names no declared requirement.
    """
    for name in policy.fields.required:
        _known(name, checks, f"{policy.source}: required")
    from_policy = [_policy_use(use, checks) for use in policy.uses]
    merged: list[_Use] = []
    carried: set[int] = set()
    for declaration in declarations:
        merged.extend(_overlay(declaration, from_policy, carried, checks))
    merged.extend(use for position, use in enumerate(from_policy) if position not in carried)
    requests = _as_requests(_joined(merged), policy)
    _require_known_entries(policy, requests)
    plan = Plan(policy=policy, requests=tuple(requests))
    _require_known_targets(plan, checks)
    return plan


def _policy_use(use: CheckUse, checks: Mapping[str, Check]) -> _Use:
    check = _known(use.check, checks, use.source)
    return _Use(
        check=check, parameters=check.bind((), use.parameters, use.source), source=use.source, tests=()
    )


def _overlay(
    declaration: Declaration, from_policy: Sequence[_Use], carried: set[int], checks: Mapping[str, Check]
) -> list[_Use]:
    check = _known(declaration.check, checks, declaration.source)
    written = check.bind(declaration.args, declaration.kwargs, declaration.source)
    naming = {name: written[name] for name in check.named_by if name in written}
    matching = [
        (position, use)
        for position, use in enumerate(from_policy)
        if use.check is check and all(use.effective(name) == value for name, value in naming.items())
    ]
    if not matching or (written and len(matching) > 1):
        return [_Use(check=check, parameters=written, source=declaration.source, tests=(declaration.test,))]
    uses = []
    for position, use in matching:
        carried.add(position)
        _refuse_loosening(check, written, use, declaration.source)
        source = declaration.source if written else use.source
        parameters = {**use.parameters, **written}
        uses.append(_Use(check=check, parameters=parameters, source=source, tests=(declaration.test,)))
    return uses


def _refuse_loosening(check: Check, written: Mapping[str, Any], use: _Use, source: str) -> None:
    for name, value in written.items():
        # What is measured belongs to the policy as much as the bound: p50 is not a tighter p99.
        fixed = name not in check.bounds and check.signature.parameters[name].default is not Parameter.empty
        if (fixed or (name not in check.bounds and name in use.parameters)) and value != use.effective(name):
            raise Misuse(
                f"{source}: {check.name}: {name}={value!r} is not the {name}={use.effective(name)!r} of "
                f"{use.source}; a mark may tighten the policy's bounds, and change nothing else"
            )
    for name, comparator in check.bounds.items():
        if name not in written or name not in use.parameters:
            continue
        mark, policy = float(written[name]), float(use.parameters[name])
        if mark > policy if comparator == "<=" else mark < policy:
            raise Misuse(
                f"{source}: {check.name}: {name}={mark:g} is looser than {name}={policy:g} at {use.source}; "
                "a mark may tighten the policy, never loosen it"
            )


def _joined(uses: Iterable[_Use]) -> list[_Use]:
    joined: list[_Use] = []
    for use in uses:
        same = next(
            (i for i, u in enumerate(joined) if u.check is use.check and u.parameters == use.parameters), None
        )
        if same is None:
            joined.append(use)
        else:
            tests = tuple(dict.fromkeys([*joined[same].tests, *use.tests]))
            joined[same] = _Use(
                check=use.check, parameters=use.parameters, source=joined[same].source, tests=tests
            )
    return joined


def _as_requests(uses: Sequence[_Use], policy: Policy) -> list[Request]:
    requests: list[Request] = []
    for use in uses:
        missing = use.check.missing(use.parameters)
        if missing:
            raise Misuse(
                f"{use.source}: {use.check.name} needs {', '.join(missing)}. Accepted: {use.check.usage}"
            )
        bounds = {n: c for n, c in use.check.bounds.items() if use.parameters.get(n) is not None}
        if not bounds:
            raise Misuse(
                f"{use.source}: {use.check.name} declares no bound, so nothing could ever fail. "
                f"Give at least one of: {', '.join(use.check.bounds)}"
            )
        request_id = _unambiguous_name(use, uses)
        requests.append(
            Request(
                id=request_id,
                check=use.check.name,
                parameters=use.parameters,
                requirements=tuple(_requirement(use, request_id, name, policy) for name in bounds),
                source=use.source,
                tests=use.tests,
            )
        )
    return requests


def _unambiguous_name(use: _Use, uses: Sequence[_Use]) -> str:
    """Return the use's name with whatever tells it from others of the same name.

    The name must not depend on the order of collection: a waiver would move to another requirement.
    """
    alike = [other for other in uses if other.name == use.name]
    differing = [
        parameter
        for parameter in use.check.signature.parameters
        if any(other.effective(parameter) != use.effective(parameter) for other in alike)
    ]
    if not differing:
        return use.name
    told_apart = "; ".join(f"{name}={_short(use.effective(name))}" for name in differing)
    return f"{use.name}{{{told_apart}}}"


def _short(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _requirement(use: _Use, request_id: str, parameter: str, policy: Policy) -> Requirement:
    requirement_id = f"{request_id}.{parameter}"
    weaker = [g.grade for g in policy.fields.grades if g.requirement == requirement_id]
    return Requirement(
        id=requirement_id,
        check=use.check.name,
        parameter=parameter,
        comparator=use.check.bounds[parameter],
        bound=float(use.parameters[parameter]),
        source=use.source,
        tolerates={e.scope: e.reason for e in policy.fields.inconclusive if e.requirement == requirement_id},
        accepts=tuple(dict.fromkeys([*use.check.accepted_grades(parameter, use.parameters), *weaker])),
    )


def _require_known_entries(policy: Policy, requests: Sequence[Request]) -> None:
    declared = [requirement.id for request in requests for requirement in request.requirements]
    entries: tuple[Entry, ...] = (*policy.fields.inconclusive, *policy.fields.grades)
    for entry in entries:
        if entry.requirement not in declared:
            raise Misuse(
                f"{policy.source}: {entry.requirement!r} is not a declared requirement. "
                f"Declared: {', '.join(declared) or 'none'}"
            )


def _require_known_targets(plan: Plan, checks: Mapping[str, Check]) -> None:
    for request in plan.requests:
        check = checks[request.check]
        for parameter in check.target_parameters:
            name = request.parameters.get(parameter, check.signature.parameters[parameter].default)
            try:
                plan.targets.resolve(name)
            except ValueError as error:
                raise Misuse(f"{request.source}: {request.check}: {parameter}={name!r}: {error}") from None


def _known(name: str, checks: Mapping[str, Check], source: str) -> Check:
    if name not in checks:
        raise Misuse(f"{source}: there is no check {name!r}. Installed: {', '.join(sorted(checks))}")
    return checks[name]
