"""Removes neurons and channels from a torch module, with everything that reads or writes them."""

from __future__ import annotations

import copy
from typing import Any

from .lessons import Lesson
from .recipe import NotApplicable
from .surgery import calls, is_attention, is_weighted, weight_count

#: Layers keep a multiple of so many channels: arithmetic units work on whole vectors.
_MULTIPLE = 4


def thin(module: Any, lesson: Lesson, share: float) -> None:
    """Remove this share of the channels of every layer but the last, in place.

    Channels that depend on each other go together, the least important group first: the norm of all weights
    of a group (Fang, Ma, Song, Mi, Wang 2023, sections 3.2 and 3.3, whose library does it). Attention keeps
    its heads and loses width; where the library cannot do that, attention and what is added to it stay whole
    and only the layers between lose channels.

    Raises:
        NotApplicable: the library does not understand the module, or nothing could be removed.
    """
    try:
        import torch_pruning  # noqa: F401 - only whether it is there
    except ImportError:
        raise NotApplicable(
            "torch-pruning is not installed. Install it with: pip install torch-pruning"
        ) from None
    refusals = []
    for attention in (True, False):
        trial = copy.deepcopy(module)
        try:
            _remove(trial, lesson, share, attention=attention)
        except Exception as error:  # the library fails in whatever operation it did not expect
            refusals.append(f"{type(error).__name__}: {error}")
            continue
        if weight_count(trial) < weight_count(module):
            _take_over(module, trial)
            return
    if refusals:
        raise NotApplicable(f"channels cannot be removed from this module ({refusals[0]})")
    raise NotApplicable("no layer of this module has channels that could be removed")


def _remove(module: Any, lesson: Lesson, share: float, *, attention: bool) -> None:
    import torch
    import torch_pruning

    rows = torch.from_numpy(lesson.rows[:2])
    called = [call.part for call in calls(module, lesson.rows)]
    weighted = [part for part in called if is_weighted(part)]
    whole = [] if attention else [part for part in called if is_attention(part)]
    ignored = [*weighted[-1:], *whole]
    before = module(rows).shape
    pruner = torch_pruning.pruner.MagnitudePruner(
        module,
        rows,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=share,
        ignored_layers=ignored,
        round_to=_MULTIPLE,
    )
    pruner.step()
    after = module(rows)
    if after.shape != before or not bool(torch.isfinite(after).all()):
        raise ValueError(f"afterwards it answers with shape {tuple(after.shape)}, not {tuple(before)}")


def _take_over(module: Any, other: Any) -> None:
    """Give the module everything that the other one is made of."""
    module.__dict__.clear()
    module.__dict__.update(other.__dict__)
