"""An Android or embedded Linux device over adb: any backend that runs there, with the times taken there.

The device needs a Python with numpy; where it lies is the option `python`.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import subprocess
from pathlib import Path

from ._remote_python import Said, Settings
from .protocol import Answer, Backend, Job, Refusal, main
from .remote import GRADES, carry_out, split_id

#: Where every Android lets the shell's user write; /tmp does not exist there.
_FOLDER = "/data/local/tmp"
_COPY_S = 300.0
_INSTALL = "apt-get install adb"
_SERIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:-]*")
_WHAT_TO_DO = {
    "unauthorized": "accept this computer's key on the device's screen",
    "offline": "plug it in again, or `adb reconnect`",
    "no permissions": "its USB node needs a udev rule for this user",
}


def parse(rest: str) -> dict[str, str]:
    """Split `SERIAL/TARGET` into its parts.

    Raises:
        ValueError: it is spelled otherwise, or the target on the device does not exist.
    """
    serial, inner = split_id(rest)
    if not _SERIAL.fullmatch(serial):
        raise ValueError(f"{serial!r} is no serial; accepted: one that `adb devices` lists")
    return {"serial": serial, "inner": inner}


def run(job: Job) -> Answer:
    """Carry a job out on the device."""
    try:
        address = parse(job.rest)
    except ValueError as error:
        raise Refusal("wrong_target", str(error)) from None
    settings = Settings.of({"folder": _FOLDER, **job.options})
    device = _Device(address["serial"])
    device.check(settings.connect_timeout_s)
    answer = carry_out(device, job, address["inner"], settings)
    said = _adb(["version"], settings.connect_timeout_s)
    version = said.out.splitlines()[0].rpartition(" ")[2] if said.out else "unknown"
    return dataclasses.replace(answer, versions={**answer.versions, "adb": version})


class _Device:
    """A device that adb lists."""

    def __init__(self, serial: str) -> None:
        self.name = serial

    def check(self, limit_s: float) -> None:
        """Refuse a device that adb does not list as ready."""
        said = _adb(["devices"], limit_s)
        if said.code:
            raise Refusal("failed", f"adb devices ended with code {said.code}: {said.last}")
        listed = dict(re.findall(r"^(\S+)\s+(device|offline|unauthorized|no permissions)\b", said.out, re.M))
        state = listed.get(self.name)
        if state is None:
            found = ", ".join(listed) or "none"
            text = f"no device with serial {self.name}; adb devices lists: {found}"
            raise Refusal("missing", text)
        if state != "device":
            raise Refusal("missing", f"the device {self.name} is {state}: {_WHAT_TO_DO[state]}")

    def shell(self, command: str, limit_s: float) -> Said:
        """Run a command; its standard input ends with adb, which is how the device learns of it."""
        said = _adb(["-s", self.name, "shell", command], limit_s, after=f"a command on {self.name}")
        self._check_connection(said, "a command ran")
        return said

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the device."""
        self._copy(["push", str(local), remote], f"{local.name} was copied to it")

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file from the device."""
        self._copy(["pull", remote, str(local)], f"{local.name} was copied from it")

    def by_hand(self, command: str) -> str:
        """Return the adb command that runs a command on this device."""
        return f"adb -s {self.name} shell {shlex.quote(command)}"

    def _copy(self, arguments: list[str], doing: str) -> None:
        said = _adb(["-s", self.name, *arguments], _COPY_S, after=doing)
        self._check_connection(said, doing)
        if said.code:
            raise Refusal("failed", f"{self.name} failed while {doing}: {said.last}")

    def _check_connection(self, said: Said, doing: str) -> None:
        """Refuse where adb itself, not the command on the device, has ended with an error."""
        lost = re.search(
            r"^(?:adb: )?error: (device .*|closed|no devices.*|protocol fault.*)$", said.err, re.M
        )
        if said.code and lost:
            raise Refusal("failed", f"the connection to {self.name} broke while {doing}: {lost[1]}")


def _adb(arguments: list[str], limit_s: float, after: str = "it") -> Said:
    # An open pipe as standard input: adb and what it started live until it is closed.
    end, held = os.pipe()
    try:
        done = subprocess.run(
            ["adb", *arguments],
            stdin=end,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except FileNotFoundError:
        raise Refusal("missing", "there is no adb on this machine", _INSTALL) from None
    except subprocess.TimeoutExpired:
        raise Refusal("failed", f"adb did not finish within {limit_s:g} s ({after})") from None
    finally:
        os.close(end)
        os.close(held)
    return Said(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


BACKEND = Backend(
    scheme="adb",
    summary="an Android or embedded Linux device over adb, with any target that it has itself",
    spelling="adb:SERIAL/TARGET",
    parse=parse,
    run=run,
    grades=GRADES,
    tasks=("probe", "time", "compare", "batches", "predict", "compile", "limits", "rank"),
    install=_INSTALL,
    formats=("onnx", "tflite", "tosa"),
)

if __name__ == "__main__":
    main(BACKEND)
