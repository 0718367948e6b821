"""Targets on another machine over SSH, tried against a real sshd on this one."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pytest_mlgate.hardware import backends
from pytest_mlgate.hardware.backends import cpu, remote, ssh
from pytest_mlgate.hardware.backends._remote_python import Settings
from pytest_mlgate.hardware.backends.protocol import Answer, Job, Refusal, digest_of

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
pytestmark = [
    pytest.mark.skipif(SSHD is None, reason="there is no sshd here: apt-get install openssh-server"),
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="there is no ssh-keygen here"),
]
pytest.importorskip("fabric", reason="fabric is not installed: pip install fabric")

_HARDWARE = str(Path(next(iter(backends.__path__))).parent)
_BOOT = (
    f"import sys, runpy; sys.path.append({_HARDWARE!r}); "
    "runpy.run_module('backends.ssh', run_name='__main__')"
)


@dataclasses.dataclass(frozen=True)
class Board:
    """An sshd on loopback, with the keys and files that lead to it."""

    folder: Path
    port: int

    @property
    def jobs(self) -> Path:
        """Where the jobs get their folders."""
        return self.folder / "jobs"

    def left(self) -> list[str]:
        """What jobs have left behind."""
        return [path.name for path in self.jobs.glob("mlgate-job-*")]

    def busy(self) -> list[str]:
        """Processes that still work in the folder of a job."""
        found = []
        for number in filter(str.isdigit, os.listdir("/proc")):
            # It may have ended meanwhile, or belong to somebody else.
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/{number}/cwd"))
        return [place for place in found if place.startswith(str(self.jobs))]

    def ssh_config(
        self, name: str, *, identity: str = "user", known: str = "known_hosts", port: int = 0
    ) -> str:
        """Write an OpenSSH configuration in which this machine is `board7`."""
        path = self.folder / f"{name}.config"
        path.write_text(
            f"Host board7\n  HostName 127.0.0.1\n  Port {port or self.port}\n  User {getpass.getuser()}\n"
            f"  IdentityFile {self.folder / identity}\n  UserKnownHostsFile {self.folder / known}\n"
            "  GlobalKnownHostsFile /dev/null\n"
        )
        return str(path)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    folder = tmp_path_factory.mktemp("board")
    for name in ("host", "user", "stranger"):
        _keygen(folder / name)
    port = _free_port()
    (folder / "jobs").mkdir()
    (folder / "authorized_keys").write_text((folder / "user.pub").read_text())
    key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}\n")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nPidFile {folder / 'pid'}\n"
        "UsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
        # Not the login scripts of whoever runs the tests.
        f"SetEnv HOME={folder}\n"
    )
    if os.getuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    try:
        _wait_for(port, server, folder / "log")
        yield Board(folder, port)
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A short timing job of a small model."""
    folder = tmp_path / "bench"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(_relu())
    with open(folder / "inputs.npz", "wb") as out:
        np.savez(out, x=np.arange(40, dtype=np.float32).reshape(10, 4) - 20)
    return Job(
        target="ssh:board7/cpu",
        task="time",
        folder=str(folder),
        artifact="model.onnx",
        sha256=digest_of(folder / "model.onnx"),
        inputs="inputs.npz",
        runs=50,
        least_runs=20,
    )


def ask(board: Board, job: Job, **options: str) -> Answer:
    """Run the backend as the gate does, in a process of its own."""
    given = {"ssh_config": board.ssh_config("plain"), "python": sys.executable, "folder": str(board.jobs)}
    order = dataclasses.asdict(dataclasses.replace(job, options={**given, **job.options, **options}))
    kept = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
    done = subprocess.run(
        [sys.executable, "-c", _BOOT],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=60,
        # No keys of whoever runs the tests.
        env={**kept, "HOME": str(board.folder), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Answer(**json.loads(done.stdout))


def faulty_python(folder: Path, body: str = "", *, site: str = "", flags: str = "") -> str:
    """Write an interpreter for the board that first does something else; `site` is run by Python itself."""
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(site)
    path = folder / "python"
    start = f'exec "{sys.executable}" {flags} "$@"'
    path.write_text(f"#!/bin/sh\nexport PYTHONPATH='{folder}/site'\n{body}\n{start}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_model_is_timed_on_the_board(board, job):
    """The answer has the board's times, its facts and conditions, and the digest of what ran there."""
    answer = ask(board, job)
    assert answer.refusal == ""
    assert len(answer.samples_ns) == 50
    assert min(answer.samples_ns) > 0
    assert answer.sha256 == job.sha256
    assert answer.machine["processor"]
    assert answer.conditions["threads"] == "1"
    assert {"onnxruntime", "numpy", "fabric"} <= answer.versions.keys()
    assert board.left() == []


def test_outputs_of_the_board_come_back(board, job):
    """What the model answered on the board lies in the job's folder afterwards."""
    answer = ask(board, dataclasses.replace(job, task="predict"))
    assert answer.refusal == ""
    with np.load(job.path(answer.files["outputs"])) as outputs:
        found = outputs["y"]
    session = onnxruntime.InferenceSession(str(job.path("model.onnx")))
    with np.load(job.path("inputs.npz")) as inputs:
        assert np.array_equal(found, session.run(None, {"x": inputs["x"]})[0])
    assert board.left() == []


def test_two_artifacts_are_compared_on_the_board(board, job):
    """The reference travels too, and every round has a time of both."""
    job.path("old.onnx").write_bytes(_relu(layers=3))
    answer = ask(board, dataclasses.replace(job, task="compare", reference="old.onnx"))
    assert answer.refusal == ""
    assert [len(pair) for pair in answer.pairs_ns] == [2] * 50


def test_the_runner_is_copied_once_and_never_trusted(board, job):
    """A second job finds the runner on the board; one that was changed there is replaced."""
    probe = dataclasses.replace(job, task="probe")
    assert ask(board, probe).refusal == ""
    (kept,) = (board.jobs / "mlgate-runner").iterdir()
    before, content = kept.stat(), kept.read_bytes()
    assert ask(board, probe).refusal == ""
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    kept.write_bytes(content + b"changed")
    assert ask(board, probe).refusal == ""
    assert kept.read_bytes() == content


def test_an_unknown_host_key_is_refused(board, job):
    """A host that known_hosts does not list is refused, and nothing is added to the list."""
    empty = board.folder / "empty_hosts"
    empty.write_text("")
    answer = ask(board, job, ssh_config=board.ssh_config("unknown", known="empty_hosts"))
    assert answer.refusal_kind == "failed"
    assert "is not known" in answer.refusal
    assert f"ssh-keyscan -p {board.port} 127.0.0.1" in answer.refusal
    assert empty.read_text() == ""


def test_another_host_key_is_refused(board, job):
    """A host that shows another key than the known one is refused."""
    key = " ".join((board.folder / "stranger.pub").read_text().split()[:2])
    (board.folder / "other_hosts").write_text(f"[127.0.0.1]:{board.port} {key}\n")
    answer = ask(board, job, ssh_config=board.ssh_config("other", known="other_hosts"))
    assert answer.refusal_kind == "failed"
    assert "another host key" in answer.refusal


def test_a_hop_on_the_way_is_checked_too(board, job):
    """The host keys of jump hosts are checked like the board's own."""
    path = Path(board.ssh_config("jump", known="known_hosts"))
    (board.folder / "empty_hosts").write_text("")
    gate = f"Host gate\n  HostName localhost\n  Port {board.port}\n  GlobalKnownHostsFile /dev/null\n"
    gate += f"  UserKnownHostsFile {board.folder / 'empty_hosts'}\n"
    path.write_text(f"{path.read_text()}  ProxyJump gate\n{gate}")
    answer = ask(board, job, ssh_config=str(path))
    assert answer.refusal_kind == "failed"
    assert f"the host key of [localhost]:{board.port} is not known" in answer.refusal


def test_a_key_that_the_board_does_not_know_is_refused(board, job):
    """Failed authentication says how to try it by hand."""
    answer = ask(board, job, ssh_config=board.ssh_config("stranger", identity="stranger"))
    assert answer.refusal_kind == "failed"
    assert "does not let this user in" in answer.refusal


def test_a_dead_port_is_a_missing_board(board, job):
    """A board that nobody answers for is missing."""
    answer = ask(board, job, ssh_config=board.ssh_config("dead", port=_free_port()))
    assert answer.refusal_kind == "missing"
    assert "board7 does not answer" in answer.refusal


def test_a_port_that_never_speaks_is_a_missing_board(board, job):
    """A server that accepts and says nothing is given up after the time for connecting."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        config = board.ssh_config("mute", port=mute.getsockname()[1])
        answer = ask(board, job, ssh_config=config, connect_timeout_s="1")
    assert answer.refusal_kind in ("missing", "failed")
    assert "board7" in answer.refusal
    assert answer.samples_ns == []


def test_a_board_without_that_python(board, job):
    """An interpreter that is not on the board is missing, by its name."""
    answer = ask(board, job, python="/no/such/python3")
    assert answer.refusal_kind == "missing"
    assert "board7 has no Python at '/no/such/python3'" in answer.refusal


def test_a_board_with_an_old_python(board, job, tmp_path):
    """An interpreter that is too old is refused with its version, before anything is copied."""
    python = faulty_python(tmp_path, site="import sys; sys.version_info = (3, 7, 3)")
    answer = ask(board, job, python=python)
    assert answer.refusal_kind == "missing"
    assert "is Python 3.7; it takes 3.10 or newer" in answer.refusal


def test_a_board_without_numpy(board, job, tmp_path):
    """Missing numpy is refused with the command that installs it there."""
    python = faulty_python(tmp_path, flags="-S")
    answer = ask(board, job, python=python)
    assert answer.refusal_kind == "missing"
    assert answer.install == f"ssh board7 '{python} -m pip install numpy'"
    assert board.left() == []


def test_a_board_without_onnxruntime(board, job, tmp_path):
    """What the backend misses on the board comes with the command that installs it there."""
    python = faulty_python(tmp_path, site="import sys; sys.modules['onnxruntime'] = None")
    answer = ask(board, job, python=python)
    assert answer.refusal_kind == "missing"
    assert answer.refusal.startswith("on board7: ")
    assert answer.install == f"ssh board7 '{python} -m pip install onnxruntime'"


def test_a_board_without_a_gpu_gives_no_figures_of_its_cpu(board, job):
    """Asked for CUDA, a board without it is missing, and has timed nothing."""
    answer = ask(board, dataclasses.replace(job, target="ssh:board7/cuda"))
    assert answer.refusal_kind == "missing"
    assert "CUDAExecutionProvider" in answer.refusal
    assert answer.samples_ns == []


def test_an_emulator_is_not_ennobled_by_distance(board, job):
    """Numbers that a backend on the board emulates come back as emulated ones, not as measured."""
    pytest.importorskip("onnxruntime_qnn", reason="onnxruntime-qnn is not installed")
    answer = ask(board, dataclasses.replace(job, target="ssh:board7/qcom:soc69", task="predict"))
    assert answer.refusal == ""
    assert answer.grades["outputs"] == "emulated"
    with np.load(job.path(answer.files["outputs"])) as outputs:
        assert outputs["y"].shape == (10, 4)


def test_a_backend_that_only_estimates_is_not_timed_from_afar(monkeypatch, job):
    """Times have no lower grade than measured: a backend without that grade is refused at once."""
    weaker = dataclasses.replace(cpu.BACKEND, grades={"latency": "estimated"})
    monkeypatch.setattr(remote, "_backends", lambda: {"cpu": ("cpu", weaker)})
    nowhere: Any = None
    with pytest.raises(Refusal, match="cpu does not measure latency") as refused:
        remote.carry_out(nowhere, job, "cpu", Settings())
    assert refused.value.kind == "unsupported"


def test_an_artifact_that_is_not_the_one_asked_for(board, job):
    """Another digest than that of the file is refused before anything is copied."""
    answer = ask(board, dataclasses.replace(job, sha256="0" * 64))
    assert answer.refusal_kind == "failed"
    assert "not " + "0" * 64 in answer.refusal


@pytest.mark.parametrize("file", ["artifact.onnx", "inputs.npz", "runner.zip"])
def test_a_file_changed_on_the_way(board, job, tmp_path, file):
    """What changes after it was sent is not run: the artifact, its inputs, or the runner itself."""
    python = faulty_python(tmp_path, f'case "$*" in *serve*) printf x >>"$5/{file}";; esac')
    # A place of its own, so that the runner is not there yet.
    answer = ask(board, job, python=python, folder=str(tmp_path))
    assert answer.refusal_kind == "failed"
    assert f"{file.removesuffix('.zip')} arrived changed" in answer.refusal
    assert answer.samples_ns == []


def test_an_answer_about_another_artifact(board, job, tmp_path):
    """Times of a file with another digest are refused, wherever it came from."""
    site = (
        "import builtins, hashlib, sys\n"
        "if 'backends.cpu' in sys.orig_argv:\n"
        "    class Liar:\n"
        "        def __init__(self, data): pass\n"
        "        def hexdigest(self): return 'f' * 64\n"
        "    hashlib.sha256 = Liar\n"
    )
    answer = ask(board, dataclasses.replace(job, sha256=""), python=faulty_python(tmp_path, site=site))
    assert answer.refusal_kind == "failed"
    assert f"board7 ran sha256 {'f' * 64}, not the artifact" in answer.refusal


def test_noise_of_the_login_is_survived(board, job, tmp_path):
    """Text around the answer, even text that looks like one, does not matter."""
    python = faulty_python(tmp_path, "echo 'Welcome to board7 {'; echo 'mlgate:0:{}'; echo 'motd' >&2")
    assert len(ask(board, job, python=python).samples_ns) == 50


def test_garbage_instead_of_an_answer(board, job, tmp_path):
    """A command that says something else is refused with what it said."""
    python = faulty_python(tmp_path, "echo 'this account is not available'; exit 1")
    answer = ask(board, job, python=python)
    assert answer.refusal_kind == "failed"
    assert "this account is not available" in answer.refusal


def test_an_answer_that_breaks_off(board, job, tmp_path):
    """Half an answer is none."""
    half = r'printf "\nmlgate:%s:{\"answer\": {\"samples_ns\": [1, 2" "$3"'
    body = f'case "$*" in *serve*) {half}; exit 0;; esac'
    answer = ask(board, job, python=faulty_python(tmp_path, body))
    assert answer.refusal_kind == "failed"
    assert "gave no answer" in answer.refusal
    assert answer.samples_ns == []
    assert board.left() == []


def test_a_full_disk(board, job, tmp_path):
    """A board without room is refused with how much is needed, before the artifact is copied."""
    site = (
        "import collections, shutil\nshutil.disk_usage = lambda p: collections.namedtuple('U', 'free')(1000)"
    )
    answer = ask(board, job, python=faulty_python(tmp_path, site=site))
    assert answer.refusal_kind == "failed"
    assert "0.0 MB free" in answer.refusal
    assert board.left() == []


def test_a_connection_that_breaks(board, job, tmp_path):
    """A connection lost in the middle is refused, and the board stops the work and removes the job itself."""
    body = r"""
    case "$*" in *serve*)
        p=$PPID
        while read -r name </proc/$p/comm; case $name in sshd*) false;; esac; do
            p=$(sed -n 's/^PPid:[^0-9]*//p' /proc/$p/status)
        done
        (sleep 1; kill -9 "$p") >/dev/null 2>&1 </dev/null &
    esac"""
    slow = dataclasses.replace(job, runs=10**9, seconds=50.0)
    answer = ask(board, slow, python=faulty_python(tmp_path, body))
    assert answer.refusal_kind == "failed"
    assert "the connection to board7 broke" in answer.refusal
    deadline = time.monotonic() + 5
    while (board.left() or board.busy()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert board.left() == []
    assert board.busy() == []


def test_work_without_end(board, job):
    """Work that takes longer than allowed is stopped on the board."""
    slow = dataclasses.replace(job, runs=10**9, seconds=50.0)
    answer = ask(board, slow, limit_s="1.5")
    assert answer.refusal_kind == "failed"
    assert "did not finish within 1.5 s" in answer.refusal
    assert board.left() == []
    assert board.busy() == []


def test_names_cannot_speak_to_the_shell(board, job, tmp_path):
    """Quotes, spaces and commands in paths are only names."""
    place = tmp_path / 'it\'s a "$(touch spoken)" `touch spoken`; touch spoken #'
    place.mkdir()
    python = shutil.move(faulty_python(tmp_path), place / "python")
    nasty = "mo'del $(touch spoken); touch spoken.onnx"
    job.path("model.onnx").rename(job.path(nasty))
    (place / "jobs").mkdir()
    answer = ask(
        board, dataclasses.replace(job, artifact=nasty), python=str(python), folder=str(place / "jobs")
    )
    assert answer.refusal == ""
    assert len(answer.samples_ns) == 50
    assert not [path for home in (board.folder, tmp_path, Path.home()) for path in home.glob("spoken*")]


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("", "BOARD/TARGET"),
        ("board7", "BOARD/TARGET"),
        ("board7/", "BOARD/TARGET"),
        ("board7/npux", "there is no 'npux' on a board"),
        ("board7/ssh:board8/cpu", "there is no 'ssh' on a board"),
        ("board7/cpu:1", "'cpu:1' on the board"),
        ("-oProxyCommand=x/cpu", "is no host"),
        ("board7;reboot/cpu", "is no host"),
        ("a b/cpu", "is no host"),
        ("pi@$(id)/cpu", "is no host"),
        ("board7:port/cpu", "is no host"),
    ],
)
def test_ids_that_name_no_board(rest, said):
    """An id that is spelled wrongly is refused with what is accepted."""
    with pytest.raises(ValueError, match=said.replace("$", r"\$")):
        ssh.parse(rest)


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("board7/cpu", {"host": "board7", "inner": "cpu"}),
        ("pi@board7:2222/cuda", {"user": "pi", "host": "board7", "port": "2222", "inner": "cuda"}),
        ("[fe80::1]:22/openvino:NPU", {"host": "fe80::1", "port": "22", "inner": "openvino:NPU"}),
    ],
)
def test_ids_that_name_a_board(rest, expected):
    """User, host, port and the target on the board are told apart."""
    parts = ssh.parse(rest)
    assert parts.pop("where") == rest.partition("/")[0]
    assert parts == expected


@pytest.mark.parametrize("options", [{"limit_s": "soon"}, {"connect_timeout_s": "0"}, {"ssh_config": "none"}])
def test_options_that_make_no_sense(board, job, options):
    """An option that cannot be understood is refused by its name."""
    answer = ask(board, job, **options)
    assert answer.refusal_kind == "wrong_target"
    assert f"option {next(iter(options))}" in answer.refusal


def _relu(layers: int = 1) -> bytes:
    names = ["x", *(f"a{i}" for i in range(1, layers)), "y"]
    nodes = [helper.make_node("Relu", [names[i]], [names[i + 1]]) for i in range(layers)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "relu", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def _keygen(path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while server.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.skip(f"sshd does not start here: {log.read_text(errors='replace')[-300:]}")
