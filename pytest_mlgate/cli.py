"""The `mlgate` command. Exit codes: 0 release, 1 blocked, 2 misuse, 3 the gate itself broke."""

from __future__ import annotations

import argparse
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from .errors import Misuse

RELEASE, BLOCKED, MISUSE, BROKEN = 0, 1, 2, 3
DEFAULT_REPORT = "mlgate-report"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command is not _run:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return int(options.command(options, rest))
    except Misuse as error:
        print(f"mlgate: {error}", file=sys.stderr)
        return MISUSE
    except Exception:  # whatever breaks here must never look like a release
        traceback.print_exc()
        print("mlgate: the gate itself broke; this is not a decision about the model", file=sys.stderr)
        return BROKEN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlgate", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the gate: the tests that carry requirements, and the policy")
    run.add_argument("--policy", metavar="FILE", help="policy file (default: mlgate.toml)")
    run.add_argument("--report", metavar="DIR", help=f"report folder (default: {DEFAULT_REPORT})")
    run.add_argument("--no-cache", action="store_true", help="measure everything anew")
    run.set_defaults(command=_run)
    verify = commands.add_parser("verify", help="check a report folder against itself")
    verify.add_argument("folder", nargs="?", default=DEFAULT_REPORT)
    verify.set_defaults(command=_verify)
    explain = commands.add_parser("explain", help="tell what one check found")
    explain.add_argument("name", help="a check or a requirement, for example fairness")
    explain.add_argument("--report", metavar="DIR", default=DEFAULT_REPORT)
    explain.set_defaults(command=_explain)
    init = commands.add_parser("init", help="write a starting policy and test")
    init.add_argument("folder", nargs="?", default=".")
    init.set_defaults(command=_init)
    targets = commands.add_parser("targets", help="list what can be measured, emulated or estimated here")
    targets.add_argument("--policy", metavar="FILE", help="policy file (default: mlgate.toml)")
    targets.set_defaults(command=_targets)
    doctor = commands.add_parser("doctor", help="say what this installation can do and what is missing")
    doctor.set_defaults(command=_doctor)
    return parser


def _run(options: argparse.Namespace, rest: list[str]) -> int:
    """Run pytest, in a process of its own, on the tests that carry requirements; the rest goes to pytest.

    Code under test may end its process with any exit code, so only evidence that this run wrote counts.
    """
    from .find_policy import find_upwards
    from .policy import load

    path = Path(options.policy).resolve() if options.policy else find_upwards([Path.cwd()])
    if path is None:
        raise Misuse("no policy: there is no mlgate.toml here. Write one with: mlgate init")
    policy = load(path)
    report = Path(options.report).absolute() if options.report else policy.folder / DEFAULT_REPORT
    arguments = ["--mlgate-only", f"--mlgate-policy={path}", f"--mlgate-report={report}"]
    if options.no_cache:
        arguments.append("--mlgate-no-cache")
    tests = [str(policy.folder / name) for name in policy.fields.tests]
    own = [str(path)] if policy.fields.candidate is not None else []
    before = _stamp(report)
    command = [sys.executable, "-m", "pytest", *arguments, *own, *tests, *rest]
    code = subprocess.run(command, check=False).returncode
    return exit_code(code, _decision(report) if _stamp(report) != before else None)


def _stamp(report: Path) -> tuple[int, int] | None:
    """Return what changes whenever a report is written; `None` where there is none."""
    try:
        status = (report / "evidence.json").stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _decision(report: Path) -> str:
    from . import codec
    from .evidence import Run

    return codec.from_json((report / "evidence.json").read_bytes(), Run).decision.outcome


def exit_code(pytest_code: int, decision: str | None) -> int:
    """Return the gate's exit code for pytest's, and for what was decided, if anything was.

    Only a decision to release together with pytest's own 0 is 0. Anything that pytest ended with after a
    decision blocks; pytest's 3 (internal error), or an end without a decision, is the gate that broke.
    """
    if pytest_code == 0:
        return RELEASE if decision == "release" else BLOCKED
    if pytest_code in (2, 4) and decision is None:
        return MISUSE
    if pytest_code == 3 or decision is None:
        return BROKEN
    return BLOCKED


def _verify(options: argparse.Namespace, _: list[str]) -> int:
    from .verify import problems

    folder = Path(options.folder)
    if not folder.is_dir():
        raise Misuse(f"{options.folder!r} is not a report folder")
    found = problems(folder)
    for problem in found:
        print(problem)
    print(
        f"{folder}: {f'{len(found)} problems' if found else 'complete, and agrees with itself; not signed'}"
    )
    return BLOCKED if found else RELEASE


def _explain(options: argparse.Namespace, _: list[str]) -> int:
    from . import codec
    from .evidence import Run
    from .explain import explain

    path = Path(options.report) / "evidence.json"
    try:
        run = codec.from_json(path.read_bytes(), Run)
        lines = explain(run, options.name)
    except OSError:
        raise Misuse(f"there is no {path}. Run the gate first: mlgate run") from None
    except (ValueError, LookupError) as error:
        raise Misuse(f"{path}: {error.args[0]}") from None
    print("\n".join(lines))
    return RELEASE


def _init(options: argparse.Namespace, _: list[str]) -> int:
    from .starter import write

    for path, is_new in write(Path(options.folder)):
        print(f"{'wrote' if is_new else 'kept '} {path}")
    return RELEASE


def _targets(options: argparse.Namespace, _: list[str]) -> int:
    from .find_policy import find_upwards
    from .hardware.survey import lines
    from .hardware.target import Targets
    from .policy import load

    path = Path(options.policy).resolve() if options.policy else find_upwards([Path.cwd()])
    try:
        for line in lines(Targets(load(path).fields.targets if path else {})):
            print(line, flush=True)
    except ValueError as error:
        raise Misuse(f"[targets]: {error}") from None
    return RELEASE


def _doctor(_: argparse.Namespace, __: list[str]) -> int:
    from .doctor import lines

    print("\n".join(lines(Path.cwd())))
    return RELEASE


if __name__ == "__main__":
    sys.exit(main())
