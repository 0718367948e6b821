"""Watches an Opacus optimizer and its loader for the recorder, and probes the optimizer afterwards.

Opacus calls its one step hook for accounting, so the watch wraps two methods of the optimizer instead:
where gradients are clipped and summed, and where noise is added. What the noise was is then known exactly:
the difference between what the inner optimizer gets and the clipped sum.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Misuse
from .record import Account, Law, Probe, Sampler


class Watched:
    """One Opacus optimizer under watch."""

    def __init__(self, recorder: Any, optimizer: Any, engine: Any) -> None:
        if not all(
            hasattr(optimizer, name) for name in ("add_noise", "noise_multiplier", "original_optimizer")
        ):
            raise Misuse(
                f"PrivacyRecorder: a {type(optimizer).__name__} adds no noise; attach the optimizer that "
                "PrivacyEngine.make_private returned, or use begin(), draw() and step() in a loop of your own"
            )
        if hasattr(optimizer, "world_size") or "Distributed" in type(optimizer).__name__:
            raise Misuse("PrivacyRecorder: training on several machines cannot be recorded yet")
        self._recorder, self._optimizer, self._engine = recorder, optimizer, engine
        self._accumulates = "accumulate" if hasattr(optimizer, "accumulate") else "clip_and_accumulate"
        self._rows, self._physical, self._steps = 0, 0, 0
        self._deviation: float | None = None
        self._finite = True
        self.updates = 0

    @property
    def mechanism(self) -> str:
        """The optimizer's class."""
        return f"{type(self._optimizer).__module__}.{type(self._optimizer).__qualname__}"

    @property
    def layers(self) -> tuple[str, ...]:
        """A name for each tensor of weights: its position and shape."""
        shapes = ("x".join(map(str, p.shape)) or "1" for p in self._optimizer.params)
        return tuple(f"tensor {i} ({shape})" for i, shape in enumerate(shapes, start=1))

    @property
    def layer_norms(self) -> tuple[float, ...] | None:
        """The clipping norm of each layer, where clipping is per layer."""
        norms = getattr(self._optimizer, "max_grad_norms", None)
        return None if norms is None else tuple(float(norm) for norm in norms)

    def loader(self, loader: Any, rows: int) -> tuple[Any, Sampler]:
        """Return a loader that tells the recorder what it draws, and how it draws."""
        from torch.utils.data import DataLoader

        if len(loader.dataset) != rows:
            raise Misuse(
                f"PrivacyRecorder: the loader's dataset has {len(loader.dataset)} rows, and the table {rows}"
            )
        if loader.batch_sampler is None:
            raise Misuse("PrivacyRecorder: the loader draws single rows; give it a batch_size")
        wrapped = DataLoader(
            dataset=loader.dataset,
            batch_sampler=_Drawn(loader.batch_sampler, self._recorder),
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
            pin_memory=loader.pin_memory,
            timeout=loader.timeout,
            worker_init_fn=loader.worker_init_fn,
            multiprocessing_context=loader.multiprocessing_context,
            generator=loader.generator,
            prefetch_factor=loader.prefetch_factor,
            persistent_workers=loader.persistent_workers,
        )
        return wrapped, sampler_of(loader.batch_sampler)

    def start(self) -> None:
        """Wrap the two methods and count what the inner optimizer does."""
        optimizer = self._optimizer
        self._clip, self._noise = getattr(optimizer, self._accumulates), optimizer.add_noise
        setattr(optimizer, self._accumulates, self._watch_clipping)
        optimizer.add_noise = self._watch_noise
        optimizer.original_optimizer.register_step_post_hook(self._updated)

    def _updated(self, *_: Any) -> None:
        self.updates += 1

    def _watch_clipping(self) -> None:
        optimizer = self._optimizer
        ghost = self._accumulates == "accumulate"
        self._physical += 1
        if ghost:
            self._clip()
            return
        # A few steps, ever fewer, are summed again apart: exact, and cheap over a long training.
        compared = self._steps < 8 or not self._steps & (self._steps - 1)
        before = [None if p.summed_grad is None else p.summed_grad.clone() for p in optimizer.params]
        own = _clipped(optimizer, self.layer_norms) if compared else None
        self._rows += len(optimizer.grad_samples[0])
        self._clip()
        if own is None:
            return
        for parameter, old, expected in zip(optimizer.params, before, own, strict=True):
            made = parameter.summed_grad if old is None else parameter.summed_grad - old
            gap = float((made - expected).norm()) / float(optimizer.max_grad_norm)
            self._deviation = max(self._deviation or 0.0, gap / max(1, len(optimizer.grad_samples[0])))
            self._finite = self._finite and math.isfinite(gap)

    def _watch_noise(self) -> None:
        optimizer = self._optimizer
        deviation = expected_multiplier(optimizer) * float(optimizer.max_grad_norm)
        norm = float(optimizer.max_grad_norm)
        self._noise()
        noise = None
        if deviation > 0 and math.isfinite(deviation):
            noise = [_array(p.grad - p.summed_grad.view_as(p)) / deviation for p in optimizer.params]
        finite = all(bool(p.grad.isfinite().all()) for p in optimizer.params)
        self._recorder.step(
            noise_multiplier=float(optimizer.noise_multiplier),
            max_grad_norm=norm if math.isfinite(norm) else None,
            rows=None if self._accumulates == "accumulate" else self._rows,
            physical=self._physical,
            noise=noise if finite else None,
            clip_deviation=self._deviation,
            finite=self._finite and finite,
        )
        self._steps += 1
        self._rows, self._physical, self._deviation, self._finite = 0, 0, None, True

    def account(self, delta: float) -> Account | None:
        """Return what Opacus's accountant counted, or `None` where it counted nothing."""
        accountant = getattr(self._engine, "accountant", None)
        if accountant is None or not accountant.history:
            return None
        history = tuple((float(n), float(q), int(t)) for n, q, t in accountant.history)
        epsilon: float | None = None
        # Accountants refuse some settings in ways of their own; a claim that does not exist is none.
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            epsilon = float(accountant.get_epsilon(delta))
        if epsilon is not None and not (math.isfinite(epsilon) and epsilon >= 0):
            epsilon = None
        return Account(mechanism=accountant.mechanism(), history=history, epsilon=epsilon, delta=delta)

    def probe(self) -> Probe | None:
        """Run the optimizer's own clipping and noise on probe gradients, leaving it as it was."""
        optimizer = self._optimizer
        multiplier = expected_multiplier(optimizer)
        if self._accumulates == "accumulate" or not multiplier > 0 or not float(optimizer.max_grad_norm) > 0:
            return None
        with _as_it_was(optimizer):
            return _probe(optimizer, self._clip, self._noise, self.layer_norms, multiplier)


class _Drawn:
    """A batch sampler that tells the recorder each batch it draws."""

    def __init__(self, sampler: Any, recorder: Any) -> None:
        self.sampler = sampler
        self._recorder = recorder

    def __iter__(self) -> Iterator[Any]:
        self._recorder.forget_unused()
        for batch in self.sampler:
            self._recorder.draw(np.asarray(batch, dtype=np.int64))
            yield batch

    def __len__(self) -> int:
        return len(self.sampler)


def sampler_of(batch_sampler: Any) -> Sampler:
    """Return by which law a batch sampler draws, as far as its class tells."""
    from torch.utils import data

    kind = type(batch_sampler).__name__
    if kind == "UniformWithReplacementSampler":
        rate = float(batch_sampler.sample_rate)
        return Sampler(law="poisson", kind=kind, rate=rate, recognised=True)
    size = getattr(batch_sampler, "batch_size", None)
    law: Law = "unknown"
    if type(batch_sampler) is data.BatchSampler:
        inner = batch_sampler.sampler
        kind = type(inner).__name__
        if type(inner) is data.RandomSampler:
            law = "with_replacement" if inner.replacement else "shuffled"
        elif type(inner) is data.SequentialSampler:
            law = "shuffled"
        elif type(inner) is data.WeightedRandomSampler:
            law = "weighted"
    return Sampler(law=law, kind=kind, batch_size=size, recognised=law != "unknown")


def expected_multiplier(optimizer: Any) -> float:
    """Return the noise multiplier that gradients must get, which adaptive clipping raises.

    There a part of the budget goes to the count of unclipped rows, and the gradients get more noise for it
    (Andrew et al. 2021, 1905.03871, theorem 1).
    """
    multiplier = float(optimizer.noise_multiplier)
    counting = getattr(optimizer, "unclipped_num_std", None)
    if counting is None or multiplier <= 0:
        return multiplier
    return float((multiplier**-2 - (2 * float(counting)) ** -2) ** -0.5)


def _clipped(optimizer: Any, layer_norms: tuple[float, ...] | None) -> list[Any]:
    """Return the clipped sum of the gradients now in the optimizer, by layer, in double precision."""
    import torch

    samples = [g.detach().double() for g in optimizer.grad_samples]
    flat = [g.reshape(len(g), math.prod(g.shape[1:])) for g in samples]
    norms = [g.norm(dim=1) for g in flat]
    if layer_norms is None:
        whole = torch.stack(norms).norm(dim=0) if len(flat[0]) else norms[0]
        bounds = [(whole, float(optimizer.max_grad_norm))] * len(flat)
    else:
        bounds = list(zip(norms, layer_norms, strict=True))
    sums = []
    for gradient, (norm, bound) in zip(samples, bounds, strict=True):
        factor = (bound / norm.clamp(min=1e-300)).clamp(max=1.0)
        sums.append(torch.einsum("i,i...", factor, gradient))
    return sums


def _probe(
    optimizer: Any, clip: Any, noise: Any, layer_norms: tuple[float, ...] | None, multiplier: float
) -> Probe:
    import torch
    from scipy.stats import kstest

    from .mechanism import NoiseSums

    parameters = optimizer.params
    coordinates = sum(p.numel() for p in parameters)
    norm = float(optimizer.max_grad_norm)
    sums, seen, worst, rows = NoiseSums(["all"]), [], 0.0, 8
    generator = torch.Generator().manual_seed(0)
    for _ in range(min(1000, max(4, -(-60_000 // coordinates)))):
        for p in parameters:
            # Norms from a tenth of the bound to ten times it, so that some gradients are clipped.
            length = norm * torch.logspace(-1, 1, rows).reshape(rows, *[1] * p.dim())
            drawn = torch.randn(rows, *p.shape, generator=generator) * length / math.sqrt(coordinates)
            p.grad_sample, p.summed_grad = drawn.to(p.device, p.dtype), None
        expected = _clipped(optimizer, layer_norms)
        clip()
        for p, own in zip(parameters, expected, strict=True):
            worst = max(worst, float((p.summed_grad - own).norm()) / norm / rows)
        noise()
        z = np.concatenate([_array(p.grad - p.summed_grad.view_as(p)).ravel() for p in parameters])
        seen.append(z / (multiplier * norm))
        sums.add([seen[-1]])
    found = sums.noise()
    assert found is not None
    return Probe(
        noise=found,
        distance=float(kstest(np.concatenate(seen), "norm").statistic),
        clip_deviation=worst,
        noise_multiplier=float(optimizer.noise_multiplier),
        max_grad_norm=norm,
    )


@contextlib.contextmanager
def _as_it_was(optimizer: Any) -> Iterator[None]:
    """Restore gradients, counters and the states of random generators."""
    import torch

    names = ("grad", "grad_sample", "summed_grad")
    kept = [{name: getattr(p, name, None) for name in names} for p in optimizer.params]
    counters = {n: getattr(optimizer, n) for n in ("sample_size", "unclipped_num") if hasattr(optimizer, n)}
    own = getattr(optimizer, "generator", None)
    state = None if own is None else own.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            for p, values in zip(optimizer.params, kept, strict=True):
                for name, value in values.items():
                    setattr(p, name, value)
            for name, value in counters.items():
                setattr(optimizer, name, value)
            if own is not None and state is not None:
                own.set_state(state)


def _array(tensor: Any) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().double().cpu().numpy())
