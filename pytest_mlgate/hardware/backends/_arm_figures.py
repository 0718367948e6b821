"""What Vela wrote and printed: where nothing runs on the NPU it ends well too, with 0 seconds."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

from .protocol import Refusal

_COUNT = re.compile(r"^(CPU|NPU) operators = (\d+)", re.MULTILINE)
_ON_CPU = re.compile(r"^\s+CPU: (?P<kind>\S+) = (?P<name>.*?) \(", re.MULTILINE)
#: The list above calls every operator that Vela leaves alone "Passthrough"; its warnings say what it is.
_WARNING = re.compile(
    r"operator: (?P<kind>\S+), ofm: '(?P<name>[^']*)'\s*\n(?:Reason|\s*-)?:?\s*(?P<why>[^\n]*)"
)
_MOST_NAMED = 5


@dataclass(frozen=True)
class Placement:
    """How many operators run where, and a line about each that does not run on the NPU."""

    cpu: int
    npu: int
    on_cpu: tuple[str, ...]


def placement_of(printed: str) -> Placement:
    """Return the placement that Vela printed; it stands nowhere else.

    Raises:
        Refusal: Vela printed none.
    """
    counts = {kind: int(count) for kind, count in _COUNT.findall(printed)}
    if set(counts) != {"CPU", "NPU"}:
        raise Refusal("failed", "Vela did not print how many operators run on the NPU and on the CPU")
    reasons = {match["name"]: (match["kind"], match["why"].strip()) for match in _WARNING.finditer(printed)}
    lines = []
    for match in _ON_CPU.finditer(printed):
        kind, why = reasons.get(match["name"], (match["kind"], ""))
        lines.append(f"{kind} ({match['name']}{': ' + why if why else ''})")
    return Placement(counts["CPU"], counts["NPU"], tuple(lines))


def check_placement(placement: Placement) -> None:
    """Hold that the NPU runs everything: what Vela leaves to the CPU costs nothing in its estimate.

    Raises:
        Refusal: a part, or all, would run on the CPU.
    """
    total = placement.cpu + placement.npu
    if placement.cpu:
        named = "; ".join(placement.on_cpu[:_MOST_NAMED])
        more = len(placement.on_cpu) - _MOST_NAMED
        rest = f" and {more} more" if more > 0 else ""
        raise Refusal(
            "off_target", f"{placement.cpu} of {total} operators would run on the CPU: {named}{rest}"
        )
    if not placement.npu:
        raise Refusal("off_target", "no operator of the artifact runs on the NPU")


def figures_of(folder: Path, target: dict[str, str]) -> dict[str, float]:
    """Return milliseconds and bytes from Vela's summary.

    A memory that the system does not have, or that the network does not use, has no figure: 0 bytes of flash
    would say that the weights need no room.

    Raises:
        Refusal: no summary, one of another target, or one without cycles.
    """
    summaries = list(folder.glob("*_summary_*.csv"))
    if len(summaries) != 1:
        raise Refusal("failed", f"Vela wrote {len(summaries)} summaries where one was expected")
    with summaries[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    if len(rows) != 1:
        raise Refusal("failed", f"Vela's summary has {len(rows)} lines where one was expected")
    row = rows[0]
    said = {
        "accelerator": row["accelerator_configuration"].replace("_", "-").lower(),
        "system": row["system_config"],
        "memory": row["memory_mode"],
    }
    if said != target:
        raise Refusal("wrong_target", f"Vela compiled for {'/'.join(said.values())}")
    seconds, cycles = float(row["inference_time"]), float(row["cycles_total"])
    if not (math.isfinite(seconds) and seconds > 0 and cycles > 0):
        raise Refusal(
            "off_target", f"Vela counts {cycles:g} cycles and {seconds:g} s: nothing runs on the NPU"
        )
    figures = {"latency_ms": seconds * 1e3}
    for figure, column in (("sram", "sram"), ("flash", "off_chip_flash"), ("dram", "dram")):
        kib = float(row[f"{column}_memory_used"])
        if kib > 0:
            figures[f"{figure}_bytes"] = kib * 1024
    return figures
