"""Every kind of candidate becomes one uniform model with `predict`, a digest and, where possible, ONNX."""

from .adapt import Candidate, as_model
from .model import BlackBox, Model, OnnxModel, Source

__all__ = ["BlackBox", "Candidate", "Model", "OnnxModel", "Source", "as_model"]
