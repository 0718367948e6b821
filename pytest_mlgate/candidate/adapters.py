"""Adapters (LoRA and its relatives): merged into the weights they adapt before anything is exported."""

from __future__ import annotations

import copy
import dataclasses
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CandidateRefused

#: Largest difference between merged and unmerged answers, relative to the largest answer (at least 1): what
#: float32 arithmetic in another order explains.
MERGE_TOLERANCE = 1e-4
#: How peft names the parameters of LoRA; other methods name theirs by their tuner's `prefix`.
_LORA = "lora_"


@dataclass(frozen=True)
class AdapterFacts:
    """What an adapter weighs next to the model that it adapts.

    Args:
        method: how its library calls it, such as `LORA`; empty where the module does not say.
        adapter_parameters: numbers in parameters that are the adapter's or are trained with it.
        adapter_bytes: what these take in memory, in bytes.
        parameters: numbers in all parameters, before merging.
        trainable_share: adapter parameters over all parameters, 0 to 1.
        merge_difference: the largest difference of answers that merging made.
    """

    method: str
    adapter_parameters: int
    adapter_bytes: int
    parameters: int
    trainable_share: float
    merge_difference: float


def merge(module: Any, rows: NDArray[np.float32]) -> tuple[Any, AdapterFacts | None]:
    """Return the module with its adapters merged into its weights, and what the adapters were.

    A module without adapters comes back as it is, with `None`. An adapter is anything with a method
    `merge_and_unload`, as peft's models have, be it the module itself or a part of it. The module that is
    passed in is never changed: merging (W + B A s: Hu et al. 2021, section 4.1) happens in a copy, whose
    answers must be those of the module on the given rows.

    Args:
        module: a torch module.
        rows: features, shape (n, d); on these the answers are compared.

    Raises:
        CandidateRefused: merging fails, or changes the answers by more than `MERGE_TOLERANCE`.
    """
    if not _adapted(module):
        return module, None
    import torch

    facts = _weigh(module)
    with warnings.catch_warnings(action="ignore"), torch.random.fork_rng(devices=[]), torch.no_grad():
        whole = copy.deepcopy(module).eval()
        try:
            expected = _answer(whole, rows)
            merged = _merged(whole).eval()
            found = _answer(merged, rows)
        except Exception as error:  # peft and the module's own code raise their own kinds
            raise CandidateRefused(
                f"the adapter cannot be merged into the model: {type(error).__name__}: {error}"
            ) from None
    difference = _difference(found, expected)
    scale = max(1.0, float(np.max(np.abs(np.nan_to_num(expected)), initial=0.0)))
    if not difference <= MERGE_TOLERANCE * scale:
        raise CandidateRefused(
            f"merging the adapter changes the model's answers by {difference:.3g} on {len(rows)} rows "
            f"(accepted: {MERGE_TOLERANCE:g} of the largest answer, {MERGE_TOLERANCE * scale:.3g})"
        )
    return merged, dataclasses.replace(facts, merge_difference=difference)


def _adapted(module: Any) -> bool:
    return any(callable(getattr(part, "merge_and_unload", None)) for part in module.modules())


def _merged(module: Any) -> Any:
    """Return the module with the outermost parts that can merge merged, wherever they are inside it."""
    if callable(getattr(module, "merge_and_unload", None)):
        return module.merge_and_unload()
    for name, child in list(module.named_children()):
        setattr(module, name, _merged(child))
    return module


def _weigh(module: Any) -> AdapterFacts:
    prefixes = {_LORA}
    methods = []
    for part in module.modules():
        if not callable(getattr(part, "merge_and_unload", None)):
            continue
        prefix = getattr(part, "prefix", None)
        prefixes |= {prefix} if isinstance(prefix, str) and prefix else set()
        for config in getattr(part, "peft_config", {}).values():
            kind = getattr(config, "peft_type", "")
            methods.append(str(getattr(kind, "value", kind)))
    everything = list(module.named_parameters())
    # A loaded adapter is frozen and known by its names; one in training may train parts of the model too.
    own = [p for name, p in everything if p.requires_grad or any(prefix in name for prefix in prefixes)]
    total = sum(p.numel() for _, p in everything)
    numbers = sum(p.numel() for p in own)
    return AdapterFacts(
        method=", ".join(dict.fromkeys(filter(None, methods))),
        adapter_parameters=numbers,
        adapter_bytes=sum(p.numel() * p.element_size() for p in own),
        parameters=total,
        trainable_share=numbers / total if total else 0.0,
        merge_difference=0.0,
    )


def _answer(module: Any, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    import torch

    answer = module(torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32)))
    return np.asarray(answer.numpy(), dtype=np.float64)


def _difference(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Return the largest difference; infinite where one answer is a number and the other is none."""
    if found.shape != expected.shape or bool((np.isnan(found) != np.isnan(expected)).any()):
        return math.inf
    return float(np.max(np.abs(np.nan_to_num(found - expected)), initial=0.0))
