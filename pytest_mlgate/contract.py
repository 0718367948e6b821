"""What a check is: one decorated function whose signature is its only declaration.

The first parameter is the subject (`pytest_mlgate.subject.Subject`); the others are what a user may write
in the mark or in the policy. Their annotations carry everything the gate needs to know before anything
runs: `AtMost` and `AtLeast` are bounds, `ColumnNames` must exist in the data, `GroupColumns` must in
addition form at least two groups, and `Literal` lists the accepted values.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec

from .errors import Misuse
from .evidence import Comparator, Findings, Grade


@dataclass(frozen=True, slots=True)
class Bound:
    """Marks a parameter as a bound and says on which side of it a value must lie.

    `of_quality`: it bounds what compression may lose, and is answered from the test rows.
    """

    comparator: Comparator
    of_quality: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """Marks a parameter as names of columns that every table must have.

    As groups they must form at least two, and at most `most`, if the check says how many it can compare.
    """

    as_groups: bool = False
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Accepts:
    """Gives one bound grades of its own in place of those of its check."""

    grades: tuple[Grade, ...]


@dataclass(frozen=True, slots=True)
class TargetNamed:
    """Marks a parameter as the name of a target, checked against the backends and the policy."""


@dataclass(frozen=True, slots=True)
class WeakestGrade:
    """Marks a parameter that says with which grade of evidence every bound of its check is content."""


AtMost = Annotated[float | None, Bound("<=")]
AtLeast = Annotated[float | None, Bound(">=")]
ColumnNames = Annotated[tuple[str, ...], Columns()]
GroupColumns = Annotated[tuple[str, ...], Columns(as_groups=True)]
TargetName = Annotated[str, TargetNamed()]
MinEvidence = Annotated[Literal["measured", "emulated", "estimate"], WeakestGrade()]

_GRADE_NAMES = {"measured": Grade.MEASURED, "emulated": Grade.EMULATED, "estimate": Grade.ESTIMATED}

CheckFunction = Callable[..., Findings]


@dataclass(frozen=True)
class Check:
    """One check: its name, its function, and what follows from the function's signature."""

    name: str
    function: CheckFunction
    #: Grades of a value that can pass; a policy may accept weaker ones in writing.
    accepts: tuple[Grade, ...] = (Grade.MEASURED,)
    #: Timings and the like must be taken anew in every run.
    reusable: bool = True
    #: Its bounds decide which compressed variant becomes the release artifact.
    selects: bool = False
    #: It vouches for what the training rows went into, so compression must not touch them.
    guards_training_rows: bool = False
    #: Parameters whose value tells two uses of this check apart in requirement names.
    named_by: tuple[str, ...] = ("metric",)

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """The signature that users see: without the subject."""
        signature = inspect.signature(self.function)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The evaluated annotations of the parameters that users see."""
        hints = get_type_hints(self.function, include_extras=True)
        return {name: hints[name] for name in self.signature.parameters}

    @functools.cached_property
    def bounds(self) -> dict[str, Comparator]:
        """The parameters that are bounds, with the side on which a value must lie."""
        found = {name: _metadata(hint, Bound) for name, hint in self.hints.items()}
        return {name: bound.comparator for name, bound in found.items() if bound is not None}

    @functools.cached_property
    def quality_bounds(self) -> tuple[str, ...]:
        """The parameters that bound what compression may lose."""
        found = {name: _metadata(hint, Bound) for name, hint in self.hints.items()}
        return tuple(name for name, bound in found.items() if bound is not None and bound.of_quality)

    @functools.cached_property
    def columns(self) -> dict[str, Columns]:
        """The parameters that name columns of the data."""
        found = {name: _metadata(hint, Columns) for name, hint in self.hints.items()}
        return {name: columns for name, columns in found.items() if columns is not None}

    @functools.cached_property
    def target_parameters(self) -> tuple[str, ...]:
        """The parameters that name targets."""
        return tuple(name for name, hint in self.hints.items() if _metadata(hint, TargetNamed))

    def accepted_grades(self, parameter: str, parameters: Mapping[str, Any]) -> tuple[Grade, ...]:
        """Return the grades that a bound is content with, given what was written."""
        own = _metadata(self.hints[parameter], Accepts)
        accepted = list(self.accepts if own is None else own.grades)
        for name, hint in self.hints.items():
            if _metadata(hint, WeakestGrade):
                weakest = parameters.get(name, self.signature.parameters[name].default)
                order = [Grade.MEASURED, Grade.EMULATED, Grade.ESTIMATED]
                accepted += order[: order.index(_GRADE_NAMES[weakest]) + 1]
        return tuple(dict.fromkeys(accepted))

    @functools.cached_property
    def version(self) -> str:
        """The digest of the check's source file: evidence of another version is never reused."""
        path = inspect.getsourcefile(self.function)
        if path is None:
            return "unknown"
        return "sha256:" + hashlib.sha256(Path(path).read_bytes()).hexdigest()

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]

    @property
    def usage(self) -> str:
        """The accepted parameters, as a user would write them."""
        parts = []
        for name, parameter in self.signature.parameters.items():
            choices = _choices(self.hints[name])
            kind = "|".join(choices) if choices else _plain(self.hints[name])
            default = (
                "" if parameter.default in (inspect.Parameter.empty, None, ()) else f"={parameter.default!r}"
            )
            parts.append(f"{name}: {kind}{default}")
        return f"{self.name}({', '.join(parts)})"

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], source: str) -> dict[str, Any]:
        """Return the parameters that were written, validated, by name.

        Raises:
            Misuse: the arguments do not fit the signature; the message names the accepted ones.
        """
        try:
            bound = self.signature.bind_partial(*args, **kwargs)
        except TypeError as error:
            raise Misuse(f"{source}: {self.name}: {error}. Accepted: {self.usage}") from None
        return {name: self._converted(name, value, source) for name, value in bound.arguments.items()}

    def missing(self, parameters: Mapping[str, Any]) -> list[str]:
        """Return the names of parameters that have neither a value nor a default."""
        return [
            name
            for name, parameter in self.signature.parameters.items()
            if parameter.default is inspect.Parameter.empty and name not in parameters
        ]

    def _converted(self, name: str, value: Any, source: str) -> Any:
        hint = self.hints[name]
        if isinstance(value, str) and _metadata(hint, Columns):
            value = (value,)
        problem = ""
        try:
            converted = msgspec.convert(value, type=_bare(hint), strict=True)
        except msgspec.ValidationError as error:
            problem = str(error)
        else:
            if isinstance(converted, float) and not math.isfinite(converted):
                problem = "must be a finite number"
            if value is None and name in self.bounds:
                problem = "must be a number"
            if _metadata(hint, Columns) and not converted:
                problem = "names no column"
        if problem:
            choices = _choices(hint)
            accepted = f"one of {', '.join(choices)}" if choices else _plain(hint)
            raise Misuse(
                f"{source}: {self.name}: {name}={value!r}: {problem}. Accepted for {name}: {accepted}"
            )
        return converted


def check(
    name: str,
    *,
    accepts: tuple[Grade, ...] = (Grade.MEASURED,),
    reusable: bool = True,
    selects: bool = False,
    guards_training_rows: bool = False,
    named_by: tuple[str, ...] = ("metric",),
) -> Callable[[CheckFunction], Check]:
    """Turn a function into the check that the mark and the policy section `name` stand for."""

    def wrap(function: CheckFunction) -> Check:
        return Check(
            name=name,
            function=function,
            accepts=accepts,
            reusable=reusable,
            selects=selects,
            guards_training_rows=guards_training_rows,
            named_by=named_by,
        )

    return wrap


def _metadata(hint: Any, kind: type[Any]) -> Any:
    return next((item for item in getattr(hint, "__metadata__", ()) if isinstance(item, kind)), None)


def _bare(hint: Any) -> Any:
    return hint.__origin__ if hasattr(hint, "__metadata__") else hint


def _choices(hint: Any) -> list[str]:
    arguments = get_args(_bare(hint))
    return [str(a) for a in arguments] if arguments and all(isinstance(a, str) for a in arguments) else []


def _plain(hint: Any) -> str:
    if _metadata(hint, Bound):
        return "number"
    if _metadata(hint, Columns):
        return "column names"
    return str(getattr(hint, "__name__", hint)).replace("typing.", "")
