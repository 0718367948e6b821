"""The pytest hooks and fixtures, and nothing else; heavy imports wait until a session has a gate in it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .session import GateSession, GateView

SESSION = pytest.StashKey["GateSession"]()
#: Where a session that may begin later keeps its files; workers are told before it begins.
FOLDER = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the gate's options."""
    group = parser.getgroup("mlgate", "machine-learning release gate")
    group.addoption(
        "--mlgate-policy", metavar="FILE", help="policy file (default: mlgate.toml, pyproject.toml)"
    )
    group.addoption("--mlgate-report", metavar="DIR", help="report folder (default: mlgate-report)")
    group.addoption("--mlgate-only", action="store_true", help="run only tests that carry requirements")
    group.addoption("--mlgate-no-cache", action="store_true", help="measure everything anew")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marks, and start a gate session where the project has a policy."""
    _register_marks(config)
    path = _policy_path(config)
    if path is not None:
        with _misuse_as_usage_error():
            from .policy import load, require_runnable

            policy = load(path)
            if _asked_for(config, path):
                require_runnable(policy)
            _start(config, policy)


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """End with exit code 2 where the gate was misused."""
    try:
        return (yield)
    except pytest.UsageError as error:
        from .errors import Misuse

        if not isinstance(error.__cause__, Misuse):
            raise
        session = config.stash.get(SESSION, None)
        if session is None or not session.misuse:  # else the summary has said it
            print(f"mlgate: {error}", file=sys.stderr)
        return 2


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Any:
    """Collect the policy file as tests, if it names a candidate."""
    session = parent.config.stash.get(SESSION, None)
    if session is None or session.policy.path != file_path:
        return None
    if session.policy.fields.candidate is None:
        return None
    from .policy_items import PolicyFile

    collected = PolicyFile.from_parent(parent, path=file_path)
    collected.policy = session.policy
    collected.measure = measure_item
    return collected


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Fix what is judged from all collected tests, before anything is deselected."""
    session = config.stash.get(SESSION, None)
    if session is None:
        if not _uses_the_gate(items):
            return
        from .policy import without_file

        session = _start(config, without_file())
    from .errors import Misuse

    try:
        session.plan(items)
    except Misuse as error:
        session.misuse = str(error)
        if not session.is_worker:
            raise pytest.UsageError(str(error)) from error
        items[:] = []
    if config.getoption("mlgate_only"):
        others = [item for item in items if not session.carries(item.nodeid)]
        items[:] = [item for item in items if session.carries(item.nodeid)]
        config.hook.pytest_deselected(items=others)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Remember what was deselected: a requirement must not vanish that way."""
    for item in items[:1]:
        session = item.config.stash.get(SESSION, None)
        if session is not None:
            session.deselected(items)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remember files that could not be collected."""
    if report.failed and _ACTIVE:
        _ACTIVE[-1].collection_failed(report.nodeid)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Keep other workers' tests and timing apart."""
    session = item.config.stash.get(SESSION, None)
    if session is None:
        return (yield)
    with session.sharing():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail the test after its own body if one of its requirements does not hold."""
    session = item.config.stash.get(SESSION, None)
    changed = session.undeclared(item) if session is not None else ""
    if changed:
        from .session import MISUSE

        item.stash[MISUSE] = changed
        pytest.fail(f"mlgate: {changed}", pytrace=False)
    yield
    message = session.failure(item) if session is not None else ""
    if message:
        pytest.fail(message, pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what was measured on the report."""
    report = yield
    session = item.config.stash.get(SESSION, None)
    if session is not None:
        session.attach(item, report)
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take over what a report says, from this process or from a worker."""
    if hasattr(report, "mlgate") and hasattr(report, "node"):
        _started(report.node.config)
    if _ACTIVE:
        _ACTIVE[-1].record(report)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Decide and write the report first; after all other hooks, make the exit code say so."""
    gate = session.config.stash.get(SESSION, None)
    if gate is None:
        return (yield)
    if gate.is_worker:
        session.config.workeroutput["mlgate"] = gate.worker_report()  # type: ignore[attr-defined]
        return (yield)
    if session.config.option.collectonly:
        return (yield)
    if session.exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR):
        gate.interrupted()
    gate.finish()
    yield
    if gate.misuse:
        session.exitstatus = 2
    elif gate.run is not None:
        ended_well = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if gate.run.decision.outcome == "blocked" and ended_well:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show the table of requirements and the decision."""
    session = config.stash.get(SESSION, None)
    if session is None:
        return
    if session.misuse:
        terminalreporter.section("mlgate", sep="=")
        terminalreporter.write_line(f"mlgate: {session.misuse}", red=True)
    elif session.run is not None:
        from .terminal import write_summary

        write_summary(terminalreporter, session.run, str(session.report_folder / "audit-report.html"))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's own files."""
    session = config.stash.get(SESSION, None)
    if session is not None:
        session.close()
        _ACTIVE.remove(session)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker where this session keeps its files."""
    session = node.config.stash.get(SESSION, None)
    if session is not None:
        folder = session.folder
    else:  # whether there is a gate at all is known once a worker has collected the tests
        import uuid

        unique = uuid.uuid4().hex
        folder = node.config.stash.setdefault(FOLDER, node.config.rootpath / ".mlgate" / "sessions" / unique)
    node.workerinput["mlgate_session"] = str(folder)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what an xdist worker knew when it ended."""
    text = getattr(node, "workeroutput", {}).get("mlgate", "")
    if text:
        _started(node.config).take_worker_report(text)


def measure_item(item: pytest.Item, **sources: Callable[[], Any]) -> GateView:
    """Measure what a test carries; misuse is remembered and fails the test in one line.

    The sources are `data`, `candidate`, `baseline` and `training_record`, called in that order.
    """
    from .errors import CheckError, MissingExtra, Misuse
    from .session import MISUSE

    session = item.config.stash.get(SESSION, None)
    if session is None:
        raise pytest.UsageError("the mlgate fixture needs a gate session; was the plugin disabled?")
    try:
        return session.measure(item, **sources)
    except Misuse as error:
        item.stash[MISUSE] = str(error)
        raise pytest.fail.Exception(f"mlgate: {error}", pytrace=False) from None
    except (CheckError, MissingExtra) as error:
        raise pytest.fail.Exception(f"mlgate: {error}", pytrace=False) from None


@pytest.fixture
def mlgate(request: pytest.FixtureRequest) -> GateView:
    """The release artifact and the evidence of this test's requirements, measured before the test runs."""
    return measure_item(
        request.node,
        data=lambda: request.getfixturevalue("mlgate_data"),
        candidate=lambda: request.getfixturevalue("mlgate_candidate"),
        baseline=lambda: request.getfixturevalue("mlgate_baseline"),
        training_record=lambda: request.getfixturevalue("mlgate_training_record"),
    )


@pytest.fixture(scope="session")
def mlgate_data(pytestconfig: pytest.Config) -> Any:
    """The data to judge on; override it to return a `pytest_mlgate.Dataset`. Default: the policy's."""
    from .sources import data_of

    return data_of(pytestconfig.stash[SESSION].policy)


@pytest.fixture(scope="session")
def mlgate_candidate(pytestconfig: pytest.Config) -> Any:
    """The model proposed for release; override it to return one. Default: the policy's."""
    from .sources import candidate_of

    return candidate_of(pytestconfig.stash[SESSION].policy)


@pytest.fixture(scope="session")
def mlgate_baseline(pytestconfig: pytest.Config) -> Any:
    """The model now in production, if any; override it to return one. Default: the policy's."""
    from .sources import baseline_of

    return baseline_of(pytestconfig.stash[SESSION].policy)


@pytest.fixture(scope="session")
def mlgate_training_record(pytestconfig: pytest.Config) -> Any:
    """The record of a private training run, if any; override it to return one. Default: the policy's."""
    from .sources import training_record_of

    return training_record_of(pytestconfig.stash[SESSION].policy)


#: Gate sessions of this process, innermost last (pytester runs one inside another); reports carry no config.
_ACTIVE: list[GateSession] = []


def _start(config: pytest.Config, policy: Any) -> GateSession:
    from .session import GateSession

    with _misuse_as_usage_error():
        session = GateSession(config, policy, config.stash.get(FOLDER, None))
    config.stash[SESSION] = session
    _ACTIVE.append(session)
    return session


def _started(config: pytest.Config) -> GateSession:
    """Return the session; with marks alone, the controller learns from its workers that there is one."""
    session = config.stash.get(SESSION, None)
    if session is None:
        from .policy import without_file

        session = _start(config, without_file())
    return session


def _register_marks(config: pytest.Config) -> None:
    from .check_names import check_names

    if config.option.help or getattr(config.option, "markers", False):
        from .discovery import checks

        for check in checks().values():
            config.addinivalue_line("markers", f"{check.usage}: {check.summary}")
        return
    for name in check_names():
        config.addinivalue_line("markers", f"{name}: a requirement of the release gate (pytest --markers)")


def _policy_path(config: pytest.Config) -> Path | None:
    chosen = config.getoption("mlgate_policy")
    if chosen:
        return Path(config.invocation_params.dir, chosen).resolve()
    for argument in config.args:
        named = Path(config.invocation_params.dir, argument.split("::")[0])
        if named.name == "mlgate.toml" and named.is_file():
            return named.resolve()
    here = config.invocation_params.dir
    starts = [config.rootpath, here, *(Path(here, argument.split("::")[0]) for argument in config.args)]
    from .find_policy import find_upwards

    with _misuse_as_usage_error():
        return find_upwards(starts)


def _asked_for(config: pytest.Config, path: Path) -> bool:
    return any(
        Path(config.invocation_params.dir, argument.split("::")[0]).resolve() == path
        for argument in config.args
    )


def _uses_the_gate(items: list[pytest.Item]) -> bool:
    import pytest_mlgate

    return pytest_mlgate.marks_imported or any(
        "mlgate" in getattr(item, "fixturenames", ()) for item in items
    )


@contextlib.contextmanager
def _misuse_as_usage_error() -> Generator[None]:
    """Turn the core's misuse into pytest's usage error; its cause tells it from pytest's own."""
    from .errors import Misuse

    try:
        yield
    except Misuse as error:
        raise pytest.UsageError(str(error)) from error
