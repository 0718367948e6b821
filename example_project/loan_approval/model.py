"""The loan network: a scorecard-like network that is monotone where credit policy says it must be.

Two paths add up to a logit. The monotone path sees the ten constrained features, each turned so that higher
is better for the applicant, and has no negative weight, so no change for the worse can raise its output.
The free path is a small ordinary network on the rest. The layers are plain ``Linear`` ones: per-sample
gradients are Opacus's own, the exported graph is Gemm and Relu, and the sign of every weight survives int8.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from .data import BETTER_WHEN_HIGHER, FEATURES, WORSE_WHEN_HIGHER

MODELS: Final = Path(__file__).resolve().parent.parent / "models"

# Approve at one in four: to decline an applicant whom an underwriter would have approved is held to cost
# three times what it costs to pass on one whom an underwriter would then decline, and 1 / (1 + 3) is where
# both balance.
THRESHOLD: Final = 0.25

_CONSTRAINED: Final = len(WORSE_WHEN_HIGHER) + len(BETTER_WHEN_HIGHER)


class Scale(NamedTuple):
    """How one feature is clipped, centred and scaled: constants, never statistics of the rows."""

    low: float
    high: float
    centre: float
    unit: float


# A private row must not shape these, so they come from the units and from underwriting practice of the
# time: 28/36 is the customary ceiling on housing and on all obligations as percent of income, 80 % is the
# loan-to-value above which mortgage insurance is asked for, 4 % is a usual unemployment rate.
SCALES: Final = {
    "obrat": Scale(0.0, 80.0, 36.0, 10.0),
    "hrat": Scale(0.0, 60.0, 28.0, 10.0),
    "loanprc": Scale(0.0, 1.5, 0.8, 0.2),
    "cons": Scale(1.0, 6.0, 1.0, 2.0),
    "pubrec": Scale(0.0, 1.0, 0.0, 1.0),
    "mortlat1": Scale(0.0, 1.0, 0.0, 1.0),
    "mortlat2": Scale(0.0, 1.0, 0.0, 1.0),
    "unver": Scale(0.0, 1.0, 0.0, 1.0),
    "chist": Scale(0.0, 1.0, 1.0, 1.0),
    "gdlin": Scale(0.0, 1.0, 1.0, 1.0),
    "log_income": Scale(6.0, 11.0, 8.3, 0.5),  # $4,000 a month
    "log_loan": Scale(2.0, 7.0, 4.8, 0.5),  # $120,000
    "unem": Scale(0.0, 12.0, 4.0, 3.0),
    "self": Scale(0.0, 1.0, 0.0, 1.0),
    "multi": Scale(0.0, 1.0, 0.0, 1.0),
}


class LoanNet(nn.Module):  # type: ignore[misc]
    """Probability of approval from the raw feature matrix, in the order of ``data.FEATURES``."""

    low: Tensor
    high: Tensor
    centre: Tensor
    unit: Tensor

    def __init__(self, hidden: int = 32, free_hidden: int = 8) -> None:
        super().__init__()
        scales = [SCALES[name] for name in FEATURES]
        # A negative unit turns the axis round: every constrained feature then reads "higher is better".
        turned = [-SCALES[name].unit if name in WORSE_WHEN_HIGHER else SCALES[name].unit for name in FEATURES]
        self.register_buffer("low", torch.tensor([s.low for s in scales]))
        self.register_buffer("high", torch.tensor([s.high for s in scales]))
        self.register_buffer("centre", torch.tensor([s.centre for s in scales]))
        self.register_buffer("unit", torch.tensor(turned))
        self.card = nn.Linear(_CONSTRAINED, 1)
        self.monotone_in = nn.Linear(_CONSTRAINED, hidden)
        self.monotone_out = nn.Linear(hidden, 1, bias=False)
        self.free_in = nn.Linear(len(FEATURES) - _CONSTRAINED, free_hidden)
        self.free_out = nn.Linear(free_hidden, 1, bias=False)
        self._start()

    def _start(self) -> None:
        """Start with equal weights of the known signs, so that no privacy budget goes on finding those."""
        with torch.no_grad():
            self.card.weight.fill_(0.5)
            self.card.bias.fill_(2.0)  # most mortgage applications are approved
            self.monotone_in.weight.abs_()
            self.monotone_out.weight.abs_().mul_(0.05)
            self.free_out.weight.zero_()

    def logits(self, raw: Tensor) -> Tensor:
        """The log-odds of approval, shape [n, 1]."""
        # min/max, minus and divide, and no clip or multiply: quantisers leave these in float, so features
        # of very different ranges never share one int8 scale.
        x = (torch.minimum(torch.maximum(raw, self.low), self.high) - self.centre) / self.unit
        constrained, free = x[:, :_CONSTRAINED], x[:, _CONSTRAINED:]
        monotone = self.card(constrained) + self.monotone_out(torch.relu(self.monotone_in(constrained)))
        logits: Tensor = monotone + self.free_out(torch.relu(self.free_in(free)))
        return logits

    def forward(self, raw: Tensor) -> Tensor:
        """The probability of approval, shape [n, 1]."""
        return torch.sigmoid(self.logits(raw))

    def constrained_weights(self) -> list[nn.Parameter]:
        """The weights that must not be negative for the model to be monotone."""
        return [self.card.weight, self.monotone_in.weight, self.monotone_out.weight]

    def project(self) -> None:
        """Set negative constrained weights to zero; it looks at no row, so it costs no privacy."""
        with torch.no_grad():
            for weight in self.constrained_weights():
                weight.clamp_(min=0.0)

    def is_monotone(self) -> bool:
        """Whether the weights prove the model monotone, for every input there is."""
        return all(bool((weight >= 0).all()) for weight in self.constrained_weights())


class CarelessNet(nn.Module):  # type: ignore[misc]
    """What comes of training without care: every column, scaled by statistics of the private rows."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def fit_scale(self, raw: Tensor) -> None:
        """Take the scale from the training rows, which is one of the leaks."""
        self.mean.copy_(raw.mean(dim=0))
        self.deviation.copy_(raw.std(dim=0).clamp(min=1e-3))

    def logits(self, raw: Tensor) -> Tensor:
        """The log-odds of approval, shape [n, 1]."""
        logits: Tensor = self.layers((raw - self.mean) / self.deviation)
        return logits

    def forward(self, raw: Tensor) -> Tensor:
        """The probability of approval, shape [n, 1]."""
        return torch.sigmoid(self.logits(raw))


def load_candidate(path: Path) -> LoanNet:
    """The released candidate, with its monotonicity proved from the loaded weights or refused."""
    net = LoanNet()
    net.load_state_dict(torch.load(path, weights_only=True))
    if not net.is_monotone():
        raise ValueError(f"{path.name} holds a negative weight on a constrained feature; retrain it")
    net.eval()
    return net


def load_careless(path: Path) -> CarelessNet:
    """The model that was trained without care; its width is read from the stored weights."""
    state = torch.load(path, weights_only=True)
    net = CarelessNet(width=len(state["mean"]))
    net.load_state_dict(state)
    net.eval()
    return net
