"""What the NVIDIA driver says about the graphics processor: which one it is, and in what state."""

from __future__ import annotations

import os
import subprocess

_FACTS = ("name", "memory.total", "driver_version", "compute_cap")
_STATE = ("temperature.gpu", "clocks.sm", "clocks.mem", "power.draw", "pstate", "utilization.gpu")


def gpu_of(device: int) -> str:
    """Return how nvidia-smi names the device that CUDA counts as this one."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return visible[device] if device < len(visible) else str(device)


def gpu_facts(gpu: str) -> dict[str, str]:
    """Return model, memory, driver and compute capability; empty where nvidia-smi does not say."""
    return _query(_FACTS, gpu)


def gpu_state(gpu: str) -> dict[str, str]:
    """Return clocks, temperature, power and load as they are now."""
    return {f"gpu {name.partition('.gpu')[0]}": value for name, value in _query(_STATE, gpu).items()}


def gpus_found() -> str:
    """Return what a person who misses a graphics processor has to know: what nvidia-smi lists."""
    code, out = _smi("--query-gpu=index,name", "--format=csv,noheader")
    if code is None:
        return "nvidia-smi is absent"
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    return f"nvidia-smi says: {'; '.join(lines) or 'nothing'}"


def _query(fields: tuple[str, ...], gpu: str) -> dict[str, str]:
    code, out = _smi(f"--query-gpu={','.join(fields)}", "--format=csv,noheader", f"--id={gpu}")
    values = [value.strip() for value in out.strip().split(",")]
    if code != 0 or len(values) != len(fields):
        return {}
    return dict(zip(fields, values, strict=True))


def _smi(*arguments: str) -> tuple[int | None, str]:
    try:
        done = subprocess.run(
            ["nvidia-smi", *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None, ""
    return done.returncode, done.stdout
