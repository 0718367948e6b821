"""What the training's own accountant counted, against what happened."""

from __future__ import annotations

import math

from pytest_mlgate.privacy.record import Record

from ._privacy_run import TrainingRun


def claims_refuted(run: TrainingRun) -> list[str]:
    """Return what the training's own accountant counted otherwise than happened, each named."""
    record = run.record
    if record is None or record.ending.account is None:
        return []
    history = record.ending.account.history
    steps, sampler = record.steps, record.header.sampler
    found = []
    counted = sum(times for _, _, times in history)
    if counted != len(steps):
        found.append(f"its accountant counted {counted:,} of {len(steps):,} steps")
    if sampler.law != "poisson":
        found.append(
            f"its batches were {sampler.law.replace('_', ' ')}, and its accountant took them for "
            "Poisson samples"
        )
    elif sampler.rate:
        found += _rates_refuted(record, sampler.rate)
    claimed = math.fsum(times / noise**2 if noise else math.inf for noise, _, times in history)
    real = math.fsum(1 / s.noise_multiplier**2 if s.noise_multiplier else math.inf for s in steps)
    if counted == len(steps) and claimed < real * (1 - 1e-6):
        low = min(step.noise_multiplier for step in steps)
        found.append(
            f"its accountant took noise multipliers down to {min(h[0] for h in history):g}, and the "
            "steps had "
            f"them down to {low:g}"
        )
    return found


def _rates_refuted(record: Record, rate: float) -> list[str]:
    assert record.ending.account is not None
    history = record.ending.account.history
    draws, steps = sum(step.draws for step in record.steps), len(record.steps)
    most = max(q for _, q, _ in history)
    if draws > steps and most < rate * draws / steps * (1 - 1e-6):
        return [
            f"{draws / steps:.3g} batches were accumulated in each step, and its accountant counted "
            f"{most / rate:.3g}"
        ]
    if most < rate * (1 - 1e-6):
        ratio = rate / most
        return [
            f"its accountant took a sampling rate of {most:g}, and the loader draws each row with "
            "probability "
            f"{rate:g}, as if the table had {ratio:.3g} times its {record.header.dataset_size:,} rows"
        ]
    return []
