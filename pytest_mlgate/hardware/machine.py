"""What this machine is, so that a figure never travels without it."""

from __future__ import annotations

import os
import platform

from .backends.conditions import conditions, machine


def fingerprint() -> dict[str, str]:
    """Return processor, cores, system and Python version of this machine; no names of hosts or users."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {**machine(), "cores": str(usable), "python": platform.python_version()}


def load_average() -> str:
    """Return the one-minute load average, or `unknown` where the system does not say."""
    return conditions(1)["load"]
