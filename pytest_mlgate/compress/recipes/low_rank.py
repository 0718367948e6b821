"""Low rank: a wide layer becomes two thin ones, by the singular values that matter."""

from __future__ import annotations

from typing import Any

from ..lessons import Lesson
from ..objectives import Plan
from ..recipe import Material, NotApplicable, Recipe
from ..surgery import calls, changed, is_weighted

#: Share of the sum of squared singular values that the kept ones hold.
ENERGY = 0.5
#: Layers with fewer weights stay: calling two layers costs more than the arithmetic saves.
_SMALLEST = 4096
_PLAN = Plan(steps=1500, rate=5e-4)


def factor(material: Material) -> bytes:
    """Return the candidate with every layer factored that gets smaller by it, fine-tuned.

    Raises:
        NotApplicable: there is no torch module or training table, or no layer gets smaller.
        TrainingFailed: the training rows do not do, or the loss is no number.
    """
    return changed(material, "a factored network is fine-tuned on the training table", _factor_all, _PLAN)


def _factor_all(module: Any, lesson: Lesson) -> None:
    made: dict[int, Any] = {}  # a part that is used in two places stays one
    for call in calls(module, lesson.rows):
        if is_weighted(call.part) and id(call.part) not in made:
            made[id(call.part)] = _factored(call.part)
    replaced = 0
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            thin = made.get(id(child))
            if thin is not None:
                setattr(parent, name, thin)
                replaced += 1
    if not replaced:
        raise NotApplicable(
            f"no layer of {_SMALLEST:,} weights or more gets smaller by the singular values that hold "
            f"{ENERGY:.0%} of the energy"
        )


def _factored(layer: Any) -> Any:
    """Return the layer as two with the least rank that keeps the energy, or None where that is no smaller.

    W (m, n) is U S V'; the first layer is sqrt(S) V', the second U sqrt(S): the best approximation of that
    rank in the Frobenius norm (Eckart, Young 1936). A convolution is factored over its output channels into
    a thin one of the same kernel and a pointwise one (Denton, Zaremba, Bruna, LeCun, Fergus 2014, section 3).
    """
    import torch

    if type(layer) is not torch.nn.Linear and type(layer) not in _convolutions():
        return None
    if getattr(layer, "groups", 1) != 1 or getattr(layer, "padding_mode", "zeros") != "zeros":
        return None
    weight = layer.weight.detach()
    flat = weight.flatten(1)
    if flat.numel() < _SMALLEST:
        return None
    u, s, v = torch.linalg.svd(flat, full_matrices=False)
    kept = torch.cumsum(s**2, 0) / torch.clamp_min((s**2).sum(), 1e-30)
    rank = int((kept < ENERGY).sum()) + 1
    if rank * sum(flat.shape) >= flat.numel():
        return None
    root = torch.sqrt(s[:rank])
    first, second = _pair(layer, rank)
    with torch.no_grad():
        first.weight.copy_((root[:, None] * v[:rank]).reshape(first.weight.shape))
        second.weight.copy_((u[:, :rank] * root).reshape(second.weight.shape))
        if layer.bias is not None:
            second.bias.copy_(layer.bias)
    return torch.nn.Sequential(first, second)


def _pair(layer: Any, rank: int) -> tuple[Any, Any]:
    import torch

    bias = layer.bias is not None
    if isinstance(layer, torch.nn.Linear):
        first: Any = torch.nn.Linear(layer.in_features, rank, bias=False)
        return first, torch.nn.Linear(rank, layer.out_features, bias=bias)
    kind = type(layer)
    first = kind(
        layer.in_channels,
        rank,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        bias=False,
    )
    return first, kind(rank, layer.out_channels, 1, bias=bias)


def _convolutions() -> tuple[Any, ...]:
    import torch

    return torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d


RECIPES = (
    Recipe(
        name="low-rank",
        summary=(
            f"layers factored by truncated singular values ({ENERGY:.0%} of the energy kept) where that is "
            "smaller, fine-tuned (torch)"
        ),
        apply=factor,
        trains=True,
        then=("int8-static", "int8-dynamic", "fp32-optimized"),
    ),
)
