"""Differential privacy: what a training run recorded, what it cost, and what can be shown to have leaked."""
