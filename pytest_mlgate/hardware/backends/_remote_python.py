"""How a board's Python is started, spoken to and understood; `remote` says what it is started for."""

from __future__ import annotations

import dataclasses
import json
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .on_board import JOB_PREFIX
from .protocol import Refusal

LEAST_PYTHON = (3, 10)
#: For commands that only look or tidy up.
SHORT_S = 60.0

# The first command: makes a private folder for the job and says what the board has. Runs in any Python.
HELLO = f"""
import json, sys
nonce, digest, where = sys.argv[1:]
found = {{"python": "%d.%d" % sys.version_info[:2]}}
if sys.version_info >= {LEAST_PYTHON}:
    import hashlib, importlib.util, os, shutil, tempfile
    where = os.path.expanduser(where)
    folder = tempfile.mkdtemp("", "{JOB_PREFIX}", where or None)
    cache = os.path.join(where or os.path.expanduser("~/.cache"), "mlgate-runner")
    kept = os.path.join(cache, digest + ".zip")
    try:
        os.makedirs(cache, 0o700, exist_ok=True)
        own = os.lstat(cache)
        cache = "" if os.path.islink(cache) or own.st_uid != os.getuid() else cache
        with open(kept, "rb") as file:
            same = hashlib.sha256(file.read()).hexdigest() == digest
    except OSError:
        same = False
    found.update(folder=folder, cache=cache, kept=bool(cache) and same)
    found.update(numpy=importlib.util.find_spec("numpy") is not None, free=shutil.disk_usage(folder).free)
print("mlgate:" + nonce + ":" + json.dumps(found))
"""

# The second: unpacks exactly the runner that was meant, keeps it for the next job, and hands over to it.
START = """
import hashlib, io, os, sys, zipfile
nonce, digest, folder, cache = sys.argv[1:]
sent, kept = os.path.join(folder, "runner.zip"), os.path.join(cache, digest + ".zip")
with open(sent if os.path.exists(sent) else kept, "rb") as file:
    content = file.read()
if hashlib.sha256(content).hexdigest() != digest:
    sys.exit("the runner arrived changed")
zipfile.ZipFile(io.BytesIO(content)).extractall(os.path.join(folder, "runner"))
if cache and os.path.exists(sent):
    try:
        with open(kept + nonce, "wb") as file:
            file.write(content)
        os.replace(kept + nonce, kept)
    except OSError:
        pass
sys.dont_write_bytecode = True
sys.path[0] = os.path.join(folder, "runner")
from backends.on_board import serve
serve(nonce, folder)
"""

REMOVE = "import shutil, sys; shutil.rmtree(sys.argv[2])"


@dataclass(frozen=True)
class Said:
    """How a command on the board ended."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line of what it complained about."""
        lines = [line for line in f"{self.out}\n{self.err}".strip().splitlines() if line.strip()]
        return lines[-1].strip()[:300] if lines else "no message"


class Board(Protocol):
    """A machine that commands and files can be sent to; whatever breaks on the way there is a Refusal."""

    #: How messages call it.
    name: str

    def shell(self, command: str, limit_s: float) -> Said:
        """Run a command in the board's shell; its standard input stays open as long as the connection."""
        ...

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the board."""
        ...

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file from the board."""
        ...

    def by_hand(self, command: str) -> str:
        """Return what a person types here to run a command there."""
        ...


@dataclass(frozen=True)
class Settings:
    """The options of a target that concern the way to it; all others are the inner backend's."""

    #: The board's interpreter.
    python: str = "python3"
    #: Where jobs get their folders; the board's own choice if empty.
    folder: str = ""
    #: Seconds for the work on the board.
    limit_s: float = 240.0
    connect_timeout_s: float = 10.0
    ssh_config: str = ""

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Settings:
        """Read the settings out of a target's options.

        Raises:
            Refusal: a number of seconds is none.
        """
        given: dict[str, Any] = {
            f.name: options[f.name] for f in dataclasses.fields(cls) if f.name in options
        }
        for name in ("limit_s", "connect_timeout_s"):
            if name in given:
                try:
                    given[name] = float(given[name])
                except ValueError:
                    given[name] = 0.0
                if not 0 < given[name] < 86400:
                    raise Refusal("wrong_target", f"option {name}: accepted is a number of seconds above 0")
        return cls(**given)


@dataclass(frozen=True)
class Python:
    """The interpreter on a board."""

    board: Board
    settings: Settings

    def run(self, code: str, arguments: list[str], limit_s: float = SHORT_S) -> tuple[Said, Any]:
        """Run code there; returns how it ended and the JSON it answered with, `None` if there was none.

        The answer is known by a nonce: what login scripts write around it does not matter.
        """
        nonce = secrets.token_hex(8)
        said = self.board.shell(self.line("-c", code.strip(), nonce, *arguments), limit_s)
        return said, _marked(said.out, nonce)

    def line(self, *arguments: str) -> str:
        """Return the command line for the board's shell; `~/` in the interpreter's path is the home there."""
        path = self.settings.python
        word = f'"$HOME"/{shlex.quote(path[2:])}' if path.startswith("~/") else shlex.quote(path)
        return " ".join([word, *map(shlex.quote, arguments)])

    def install(self, command: str) -> str:
        """Return what a person types here to have `pip install ...` carried out by this interpreter."""
        if not command.startswith("pip install "):
            return command
        return self.board.by_hand(self.line("-m", *shlex.split(command)))


def _marked(text: str, nonce: str) -> Any:
    _, mark, rest = text.rpartition(f"mlgate:{nonce}:")
    if not mark:
        return None
    try:
        return json.JSONDecoder().raw_decode(rest)[0]
    except ValueError:
        return None
