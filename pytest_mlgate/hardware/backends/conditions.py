"""What the machine is and in what state, taken beside every figure; no names of hosts or users."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine() -> dict[str, str]:
    """Return processor, architecture, cores and system: what must be equal for figures to be compared."""
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": str(os.cpu_count() or "unknown"),
        "system": f"{platform.system()} {platform.release()}",
    }


def conditions(threads: int) -> dict[str, str]:
    """Return threads, affinity, frequency governor, load and temperature, as far as the system says."""
    affinity = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    found = {
        "threads": str(threads),
        "affinity": ",".join(map(str, affinity)) or "unknown",
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load": f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown",
    }
    temperature = _read("/sys/class/thermal/thermal_zone0/temp")
    if temperature.lstrip("-").isdigit():
        found["temperature_c"] = f"{int(temperature) / 1000:.0f}"
    return found


def resident_bytes(field: str) -> int | None:
    """Return `VmRSS` or `VmHWM` of this process in bytes; `None` where the system does not say."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None


def reset_peak() -> None:
    """Set the peak of resident memory back to what is resident now, where the system lets us."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # the peak of the imports then counts too, on the safe side
        return


def energy_counter_uj() -> int | None:
    """Return the processor package's energy counter in microjoules (RAPL); `None` where there is none."""
    total, found = 0, False
    for zone in sorted(Path("/sys/class/powercap").glob("intel-rapl:?")):
        text = _read(str(zone / "energy_uj"))
        if text.isdigit():
            total, found = total + int(text), True
    return total if found else None


def _processor() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip() or "unknown"
    except OSError:
        return "unknown"
