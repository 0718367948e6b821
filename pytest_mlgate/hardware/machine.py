"""What this machine is, so that a figure never travels without it."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def fingerprint() -> dict[str, str]:
    """Return processor, cores, system and Python version of this machine; no names of hosts or users."""
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def load_average() -> str:
    """Return the one-minute load average, or `unknown` where the system does not say."""
    return f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
