"""What the GitHub Action runs: the gate, then the job summary and the step's outputs.

Called as `python -m pytest_mlgate.ci --policy FILE --report DIR`. It ends with the gate's own exit code, so
that a step that did not decide to release is red.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import cli, codec
from .errors import Misuse
from .evidence import Run

#: GitHub refuses a summary above 1 MiB.
SUMMARY_LIMIT = 1024 * 1024
_WORDS = {
    cli.RELEASE: "release",
    cli.BLOCKED: "blocked",
    cli.MISUSE: "misuse",
    cli.BROKEN: "broken",
}


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Run the gate and tell GitHub; return the gate's exit code."""
    parser = argparse.ArgumentParser(prog="python -m pytest_mlgate.ci", description=__doc__)
    parser.add_argument("--policy", default="mlgate.toml")
    parser.add_argument("--report", default=cli.DEFAULT_REPORT)
    options = parser.parse_args(arguments)
    env = os.environ if environment is None else environment
    report = Path(options.report).absolute()
    before = _digest(report)
    code = cli.main(["run", f"--policy={options.policy}", f"--report={report}"])
    digest = _digest(report)
    # A report that was there before says nothing about this run.
    fresh = digest if digest != before else ""
    code = _checked(code, report, fresh)
    if "GITHUB_STEP_SUMMARY" in env:
        _append(Path(env["GITHUB_STEP_SUMMARY"]), summary(code, report, fresh))
    if "GITHUB_OUTPUT" in env:
        outputs = {"decision": _WORDS[code], "report-path": str(report), "evidence-digest": fresh}
        lines = "".join(f"{name}={_one_line(value)}\n" for name, value in outputs.items())
        _append(Path(env["GITHUB_OUTPUT"]), lines)
    return code


def summary(code: int, report: Path, digest: str) -> str:
    """Return the text of the job summary: the report's own, or why there is none."""
    if not digest:
        return f"## mlgate: {_WORDS[code]}\n\nNo report was written. The step's log says why.\n"
    text = (report / "summary.md").read_text(encoding="utf-8")
    if len(text.encode()) > SUMMARY_LIMIT:
        return f"## mlgate: {_WORDS[code]}\n\nThe summary is too large to show here; see the report.\n"
    return text


def _checked(code: int, report: Path, digest: str) -> int:
    """Return the exit code, unless it says release and the evidence of this run does not."""
    if code != cli.RELEASE:
        return code
    if not digest:
        return cli.BROKEN
    run = codec.from_json((report / "evidence.json").read_bytes(), Run)
    return cli.RELEASE if run.decision.outcome == "release" else cli.BLOCKED


def _digest(report: Path) -> str:
    try:
        return codec.digest((report / "evidence.json").read_bytes())
    except OSError:
        return ""


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _one_line(value: str) -> str:
    if "\n" in value or "\r" in value:
        raise Misuse(f"an output of the action may not span lines: {value!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
