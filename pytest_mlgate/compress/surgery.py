"""Steps that the recipes which change a torch module share: copy it, look into it, and ship the result."""

from __future__ import annotations

import copy
import dataclasses
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..candidate.export import export_torch
from .lessons import Lesson, make_lesson
from .objectives import Plan
from .recipe import Material, NotApplicable
from .training import Fit, fine_tune, undisturbed

#: The key under which a variant's file says how it was trained.
METADATA_KEY = "mlgate.training"


@dataclass(frozen=True)
class Call:
    """One call of a part that has no parts of its own, in the order of the calls."""

    name: str
    part: Any
    #: Identities of the tensors that went in and came out: who fed whom.
    inputs: tuple[int, ...]
    output: int


def require_module(material: Material) -> Any:
    """Return a copy of the torch module in evaluation mode, free to be changed.

    Raises:
        NotApplicable: the candidate is no torch module, or torch is not installed.
    """
    require_torch()
    module = material.model.source.module
    if module is None:
        raise NotApplicable(
            f"the candidate is no torch module ({material.model.kind}): it has no layers to change"
        )
    return copy.deepcopy(module).eval()


def require_torch() -> None:
    """Refuse to go on without torch.

    Raises:
        NotApplicable: torch is not installed.
    """
    try:
        import torch  # noqa: F401 - only whether it is there
    except ImportError:
        raise NotApplicable(
            "torch is not installed. Install it with: pip install 'pytest-mlgate[torch]'"
        ) from None


#: Changes a module in place; may return what has to be done after every optimiser step.
Change = Callable[[Any, Lesson], Callable[[], None] | None]


def changed(material: Material, why: str, change: Change, plan: Plan) -> bytes:
    """Return the candidate's module as ONNX after a change in place and fine-tuning.

    Raises:
        NotApplicable: there is no module or no training table, or the change has nothing to do.
        TrainingFailed: the training rows do not do, or the loss is no number.
    """
    require_torch()
    with undisturbed(material.seed), quietly():
        module = require_module(material)
        lesson = make_lesson(material, why)
        after_step = change(module, lesson) or (lambda: None)
        fit = fine_tune(
            module, lesson, plan, seed=material.seed, seconds=material.seconds, after_step=after_step
        )
        return shipped(material, module, fit)


def shipped(material: Material, module: Any, fit: Fit) -> bytes:
    """Return the trained module as ONNX, with a note of how its training went.

    Raises:
        CandidateRefused: the module cannot be exported, or the graph disagrees with it.
    """
    import onnx

    frame = material.require_train("the export is checked on training rows")
    data = export_torch(module.eval(), frame, material.model.features, material.model.name)
    graph = onnx.load_model_from_string(data)
    entry = graph.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(dataclasses.asdict(fit))
    return bytes(graph.SerializeToString(deterministic=True))


def calls(module: Any, rows: NDArray[np.float32]) -> list[Call]:
    """Return which leaves a forward pass really calls; parts that are only looked into are not among them."""
    import torch

    found: list[Call] = []
    alive: list[Any] = []  # an identity is only one while its tensor lives

    def note(name: str) -> Callable[[Any, tuple[Any, ...], Any], None]:
        def hook(part: Any, given: tuple[Any, ...], answer: Any) -> None:
            tensors = tuple(t for t in given if isinstance(t, torch.Tensor))
            alive.extend((*tensors, answer))
            found.append(Call(name=name, part=part, inputs=tuple(map(id, tensors)), output=id(answer)))

        return hook

    leaves = [(n, m) for n, m in module.named_modules() if not list(m.children()) or is_attention(m)]
    hooks = [part.register_forward_hook(note(name)) for name, part in leaves]
    try:
        with torch.no_grad():
            module(torch.from_numpy(rows[:2]))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def is_attention(part: Any) -> bool:
    """Return whether a part is torch's multi-head attention, whose inner layers are never called."""
    import torch

    return isinstance(part, torch.nn.MultiheadAttention)


def is_weighted(part: Any) -> bool:
    """Return whether a part is a fully connected layer or a convolution."""
    import torch

    return isinstance(part, torch.nn.Linear | torch.nn.modules.conv._ConvNd)


def weight_count(module: Any) -> int:
    """Return how many numbers a module's parameters hold."""
    return sum(p.numel() for p in module.parameters())


def quietly() -> Any:
    """Return a context in which warnings of the libraries do not reach a user's test run."""
    return warnings.catch_warnings(action="ignore")


def fold_norms(module: Any, rows: NDArray[np.float32]) -> None:
    """Fold every batch normalisation that directly follows a layer of its own into that layer, in place.

    With weights w, running mean m and variance v, scale g and shift b, the folded weight is w g / sqrt(v + e)
    (Jacob et al. 2018, equation 14).
    """
    import torch

    made = calls(module, rows)
    makers = {call.output: call for call in made if is_weighted(call.part)}
    readers: dict[int, int] = {}
    for call in made:
        for tensor in call.inputs:
            readers[tensor] = readers.get(tensor, 0) + 1
    times = [id(call.part) for call in made]
    for call in made:
        maker = makers.get(call.inputs[0]) if call.inputs else None
        if maker is None or not isinstance(call.part, torch.nn.modules.batchnorm._BatchNorm):
            continue
        shared = times.count(id(maker.part)) > 1 or times.count(id(call.part)) > 1
        if shared or readers[maker.output] > 1 or call.part.running_mean is None:
            continue
        fused = _fused(maker.part, call.part)
        if fused is not None:
            _replace(module, maker.part, fused)
            _replace(module, call.part, torch.nn.Identity())


def _fused(layer: Any, norm: Any) -> Any:
    import torch

    fusion = torch.nn.utils.fusion
    if type(layer) in (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d):
        return fusion.fuse_conv_bn_eval(layer, norm)
    return fusion.fuse_linear_bn_eval(layer, norm) if type(layer) is torch.nn.Linear else None


def _replace(module: Any, old: Any, new: Any) -> None:
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if child is old:
                setattr(parent, name, new)
