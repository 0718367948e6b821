"""Another machine over SSH: any backend that runs there, with the times taken there.

Hosts, users, keys and jumps are those of the OpenSSH configuration. A host whose key is not known is
refused: a figure from a machine that may be another one proves nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._remote_python import SHORT_S, Said, Settings
from .protocol import Answer, Backend, Job, Refusal, main
from .remote import GRADES, carry_out, split_id

_HOST = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]*)@)?"
    r"(?P<host>[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_GLOBAL_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
_KNOWN_HOSTS = "~/.ssh/known_hosts"


def parse(rest: str) -> dict[str, str]:
    """Split `USER@HOST:PORT/TARGET` into its parts; user and port may be left to the SSH configuration.

    Raises:
        ValueError: it is spelled otherwise, or the target on the board does not exist.
    """
    where, inner = split_id(rest)
    found = _HOST.fullmatch(where)
    if found is None:
        raise ValueError(f"{where!r} is no host; accepted: HOST, USER@HOST, HOST:PORT, USER@[IPv6]:PORT")
    parts = {name: value for name, value in found.groupdict().items() if value}
    return {**parts, "host": parts["host"].strip("[]"), "where": where, "inner": inner}


def run(job: Job) -> Answer:
    """Carry a job out on the host."""
    import fabric

    try:
        address = parse(job.rest)
    except ValueError as error:
        raise Refusal("wrong_target", str(error)) from None
    settings = Settings.of(job.options)
    connection = _connection(address, settings)
    board = _Host(address, connection)
    with _refusing(board.name, "it was connected to"):
        connection.open()
        connection.transport.set_keepalive(15)
    try:
        answer = carry_out(board, job, address["inner"], settings)
    finally:
        with contextlib.suppress(Exception):  # it may have broken long ago
            connection.close()
    answer.versions["fabric"] = fabric.__version__
    return answer


class _Host:
    """A board at the other end of an open connection."""

    def __init__(self, address: dict[str, str], connection: Any) -> None:
        self.name = address["where"]
        self._address = address
        self._connection = connection

    def shell(self, command: str, limit_s: float) -> Said:
        """Run a command; the channel closes with the connection, which is how the board learns of its end."""
        with _refusing(self.name, "a command ran"):
            done = self._connection.run(
                command,
                hide=True,
                warn=True,
                pty=False,
                in_stream=False,
                encoding="utf-8",
                timeout=limit_s,
            )
            if not self._connection.is_connected:
                raise EOFError
        return Said(done.exited, done.stdout, done.stderr)

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the host over SFTP, which checks the size that arrived."""
        with _refusing(self.name, f"{local.name} was copied to it (is its disk full?)"):
            self._sftp().put(str(local), remote)

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file from the host over SFTP."""
        with _refusing(self.name, f"{local.name} was copied from it"):
            self._sftp().get(remote, str(local))

    def by_hand(self, command: str) -> str:
        """Return the ssh command that runs a command on this host."""
        user, port = self._address.get("user"), self._address.get("port")
        where = f"{user}@{self._address['host']}" if user else self._address["host"]
        return " ".join(["ssh", *(["-p", port] if port else []), where, shlex.quote(command)])

    def _sftp(self) -> Any:
        import paramiko

        try:
            files = self._connection.sftp()
            files.get_channel().settimeout(SHORT_S)
            return files
        except (paramiko.SSHException, EOFError) as error:
            if not self._connection.is_connected:
                raise
            text = f"{self.name} offers no SFTP ({error}): switch its sshd's subsystem sftp on"
            raise Refusal("failed", text) from None


def _connection(address: dict[str, str], settings: Settings) -> Any:
    """Return the connection, not yet open, with host keys checked on every hop."""
    import fabric

    path = os.path.expanduser(settings.ssh_config) or None
    if path and not os.path.isfile(path):
        raise Refusal("wrong_target", f"option ssh_config: there is no file {path} (its full path is needed)")
    # Lazy: fabric's own configuration files are of no concern here, and may be programs.
    config = fabric.Config(lazy=True, runtime_ssh_path=path)
    config.load_ssh_config()
    port = address.get("port")
    connection = fabric.Connection(
        address["host"],
        user=address.get("user"),
        port=int(port) if port else None,
        config=config,
        # A board has no use for the keys of who tests it.
        forward_agent=False,
    )
    hop: Any = connection
    while hop is not None and type(hop).__name__ == "Connection":
        if hop.connect_timeout is None:
            hop.connect_timeout = settings.connect_timeout_s
        for name in ("banner_timeout", "auth_timeout", "channel_timeout"):
            hop.connect_kwargs.setdefault(name, settings.connect_timeout_s)
        _check_host_keys(hop)
        hop = hop.gateway
    return connection


class _RefuseUnknown:
    """What paramiko asks about a host without a known key."""

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:  # noqa: ARG002
        """Refuse, and say how the key is added by a person."""
        where, _, port = hostname.strip("[").partition("]:")
        scan = f"ssh-keyscan{f' -p {port}' if port else ''} {where}"
        raise Refusal(
            "failed",
            f"the host key of {hostname} is not known ({key.get_name()} {key.fingerprint}): compare the "
            f"fingerprint with the board's own and add it to known_hosts (`ssh {where}` once, or `{scan}`)",
        )


def _check_host_keys(hop: Any) -> None:
    """Have only keys accepted that the known_hosts files list; fabric by itself accepts and keeps any."""
    hop.client.set_missing_host_key_policy(_RefuseUnknown())
    listed = hop.ssh_config.get("userknownhostsfile", _KNOWN_HOSTS)
    everywhere = hop.ssh_config.get("globalknownhostsfile", _GLOBAL_KNOWN_HOSTS)
    for file in shlex.split(f"{listed} {everywhere}"):
        path = os.path.expanduser(file)
        if os.path.isfile(path):
            hop.client.load_system_host_keys(path)


@contextlib.contextmanager
def _refusing(name: str, doing: str) -> Iterator[None]:
    """Turn whatever breaks a connection into a refusal that says what to do."""
    import paramiko
    from invoke.exceptions import CommandTimedOut, ThreadException
    from paramiko.ssh_exception import NoValidConnectionsError

    try:
        yield
    except paramiko.BadHostKeyException as error:
        text = (
            f"{name} shows another host key than known_hosts has for {error.hostname}: is it another machine?"
        )
        raise Refusal(
            "failed", f"{text}; if it was set up anew, `ssh-keygen -R` and add the new key"
        ) from None
    except paramiko.AuthenticationException as error:
        text = f"{name} does not let this user in ({error}): log in by hand once, and see to its key"
        raise Refusal("failed", text) from None
    except NoValidConnectionsError as error:
        raise Refusal("missing", f"{name} does not answer: {error.strerror}") from None
    except socket.gaierror as error:
        raise Refusal("missing", f"{name} is no host that is known here: {error.strerror}") from None
    except CommandTimedOut as error:
        raise Refusal("failed", f"{name} did not finish within {error.timeout:g} s") from None
    except TimeoutError:
        raise Refusal("missing", f"{name} did not answer in time while {doing}") from None
    except (paramiko.SSHException, EOFError, ConnectionError, ThreadException) as error:
        if f"{error}".startswith("No authentication methods"):
            raise Refusal("failed", f"{name} asks for a key, and there is none here for it") from None
        raise Refusal(
            "failed", f"the connection to {name} broke while {doing}: {error or 'it ended'}"
        ) from None
    except OSError as error:
        raise Refusal("failed", f"{name} failed while {doing}: {error}") from None


BACKEND = Backend(
    scheme="ssh",
    summary="another machine over SSH, with any target that it has itself",
    spelling="ssh:HOST/TARGET",
    parse=parse,
    run=run,
    grades=GRADES,
    tasks=("probe", "time", "compare", "batches", "predict", "compile", "limits", "rank"),
    install="pip install fabric",
    formats=("onnx", "tflite", "tosa"),
)

if __name__ == "__main__":
    main(BACKEND)
