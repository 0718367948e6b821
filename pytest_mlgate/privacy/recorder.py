"""Records what a private training really does, step by step, while it does it.

With Opacus::

    recorder = PrivacyRecorder(table=train, delta=1e-5)
    model, optimizer, loader = engine.make_private(...)
    loader = recorder.attach(optimizer, loader, engine)
    ...                                    # train on this loader, as always
    recorder.write("models/candidate.training.json")

With a loop of one's own: `begin`, then `draw` and `step` in every step (or `watch` around any iterable of
index lists), then `write`.
"""

from __future__ import annotations

import datetime
import json
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Misuse
from .mechanism import NoiseSums
from .record import Account, Ending, Header, Probe, Record, Sampler, Step

_LIBRARIES = ("torch", "opacus", "numpy", "pytest-mlgate", "dp-accounting")


class PrivacyRecorder:
    """Writes down batches, clipping and noise of every step, chained by digests.

    `table` is the training table, the same that the gate is given: its rows are counted and its contents
    hashed. Without one, `rows` says how many there are, and nothing binds the record to them.

    Raises:
        Misuse: there is neither a table nor a number of rows, or delta is not between 0 and 1.
    """

    def __init__(
        self,
        *,
        delta: float,
        table: Any = None,
        rows: int | None = None,
        seed: int | None = None,
        libraries: Sequence[str] = (),
    ) -> None:
        if not 0 < delta < 1:
            raise Misuse(f"PrivacyRecorder: delta={delta!r}. Accepted: above 0, and below 1 / number of rows")
        self._digest: str | None = None
        if table is not None:
            from ..data_tables import content_digest, read_table

            frame = read_table(table, "train")
            self._digest, rows = content_digest(frame), len(frame)
        if not rows:
            raise Misuse("PrivacyRecorder: give table=, the training table, or rows=, how many rows it has")
        self._rows, self._delta, self._seed = rows, delta, seed
        self._libraries = (*_LIBRARIES, *libraries)
        self._header: Header | None = None
        self._steps: list[Step] = []
        self._queue: deque[NDArray[np.int64] | int] = deque()
        self._drawn = 0
        self._uses: NDArray[np.int64] | None = np.zeros(rows, dtype=np.int64)
        self._weights = np.zeros(rows, dtype=np.int64)
        self._sums: NoiseSums | None = None
        self._attached: Any = None

    @property
    def steps(self) -> int:
        """How many steps there have been."""
        return len(self._steps)

    def attach(self, optimizer: Any, loader: Any, engine: Any = None) -> Any:
        """Watch an Opacus optimizer and return the loader to train on, which tells what it draws.

        With the engine, the record also holds what its accountant counted, to be compared.

        Raises:
            Misuse: the recorder has begun already, the optimizer is not one of Opacus's that can be watched,
                or the loader's dataset has another number of rows than the table.
        """
        from .opacus_watch import Watched

        self._attached = Watched(self, optimizer, engine)
        wrapped, sampler = self._attached.loader(loader, self._rows)
        self.begin(
            sampler,
            mechanism=self._attached.mechanism,
            layers=self._attached.layers,
            layer_norms=self._attached.layer_norms,
        )
        self._attached.start()
        return wrapped

    def begin(
        self,
        sampler: Sampler,
        *,
        mechanism: str,
        layers: Sequence[str] = ("gradient",),
        layer_norms: Sequence[float] | None = None,
    ) -> None:
        """Fix what must be known before the first step; `attach` does this for Opacus.

        Raises:
            Misuse: the recorder has begun already.
        """
        if self._header is not None:
            raise Misuse("PrivacyRecorder: one recorder is for one training; make another for the next")
        self._header = Header(
            delta=self._delta,
            dataset_size=self._rows,
            dataset_digest=self._digest,
            sampler=sampler,
            mechanism=mechanism,
            layer_norms=None if layer_norms is None else tuple(float(norm) for norm in layer_norms),
            seed=self._seed,
            libraries=_versions(self._libraries),
            started_at=_now(),
        )
        self._sums = NoiseSums(layers)

    def watch(self, batches: Iterable[Sequence[int]]) -> Iterator[Sequence[int]]:
        """Yield the batches of row numbers, noting each as drawn."""
        self.forget_unused()
        for batch in batches:
            self.draw(batch)
            yield batch

    def draw(self, batch: Sequence[int] | NDArray[Any] | int) -> None:
        """Note that a batch was drawn: its row numbers, or only how many rows it has.

        Raises:
            Misuse: a row number is not one of the table's.
        """
        self._drawn += 1
        if isinstance(batch, int):
            self._queue.append(batch)
            return
        indices = np.asarray(batch, dtype=np.int64).ravel()
        if indices.size and not 0 <= indices.min() <= indices.max() < self._rows:
            raise Misuse(
                f"PrivacyRecorder: row {int(indices.max())} was drawn, and the table has {self._rows} rows"
            )
        self._queue.append(indices)

    def forget_unused(self) -> None:
        """Forget batches that were drawn and never used, as where an epoch is left early."""
        self._queue.clear()

    def step(
        self,
        *,
        noise_multiplier: float,
        max_grad_norm: float | None,
        rows: int | None = None,
        physical: int = 1,
        noise: Sequence[NDArray[Any]] | None = None,
        clip_deviation: float | None = None,
        finite: bool = True,
    ) -> None:
        """Note a change of the weights: with which clipping and noise, and from how many rows.

        `noise` is what was added to the clipped sum, by layer, in units of `noise_multiplier` times
        `max_grad_norm`; without it the record says that nobody looked at the noise.

        Raises:
            Misuse: `begin` or `attach` has not been called.
        """
        if self._header is None or self._sums is None:
            raise Misuse("PrivacyRecorder: call attach() or begin() before the first step")
        used = self._take(rows)
        drawn_rows = sum(b if isinstance(b, int) else b.size for b in used)
        self._count(used)
        squares = None if noise is None else self._sums.add(noise)
        finite = finite and (squares is None or math.isfinite(squares))
        known = clip_deviation is not None and math.isfinite(clip_deviation)
        self._steps.append(
            Step(
                number=len(self._steps) + 1,
                rows=drawn_rows if rows is None else rows,
                drawn_rows=drawn_rows,
                draws=len(used),
                physical=physical,
                noise_multiplier=float(noise_multiplier),
                max_grad_norm=None if max_grad_norm is None else float(max_grad_norm),
                noise_squares=squares if finite else None,
                clip_deviation=clip_deviation if known else None,
                finite=finite,
            )
        )

    def record(self, *, probe: Probe | None = None) -> dict[str, Any]:
        """Return the record so far as plain JSON values; with Opacus, after probing the optimizer.

        Raises:
            Misuse: there was no step.
        """
        from .record import sealed

        if self._header is None or self._sums is None or not self._steps:
            raise Misuse("PrivacyRecorder: there was no step to record")
        watched = self._attached
        ending = Ending(
            drawn=self._drawn,
            updates=None if watched is None else watched.updates,
            participation=self._participation(),
            heaviest=None if self._uses is None else int(self._weights.max()),
            layers=self._sums.layers(),
            noise=self._sums.noise(),
            probe=probe if probe is not None or watched is None else watched.probe(),
            account=self._account(),
            ended_at=_now(),
        )
        return sealed(self._header, self._steps, ending)

    def write(self, path: str | Path) -> str:
        """Write the record and return its seal, by which a ledger knows the run."""
        content = self.record()
        Path(path).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        return str(content["seal"])

    def _take(self, rows: int | None) -> list[NDArray[np.int64] | int]:
        """Return the drawn batches that make up a step of so many rows; all drawn ones if nobody counted."""
        used: list[NDArray[np.int64] | int] = []
        total = 0
        while self._queue and (rows is None or not used or total < rows):
            batch = self._queue.popleft()
            total += batch if isinstance(batch, int) else batch.size
            used.append(batch)
        return used

    def _count(self, used: Sequence[NDArray[np.int64] | int]) -> None:
        indices = [batch for batch in used if not isinstance(batch, int)]
        if len(indices) < len(used):
            self._uses = None
        if self._uses is None or not indices:
            return
        rows, times = np.unique(np.concatenate(indices), return_counts=True)
        self._uses[rows] += times
        self._weights[rows] += times * times

    def _participation(self) -> tuple[tuple[int, int], ...]:
        if self._uses is None:
            return ()
        counts, rows = np.unique(self._uses, return_counts=True)
        return tuple((int(c), int(r)) for c, r in zip(counts, rows, strict=True))

    def _account(self) -> Account | None:
        return None if self._attached is None else self._attached.account(self._delta)


def read(path: str | Path) -> Record:
    """Return the record in a file, verified.

    Raises:
        RecordError: it is malformed or was changed.
    """
    from .record import verify

    return verify(json.loads(Path(path).read_text(encoding="utf-8")))


def _versions(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in dict.fromkeys(names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
