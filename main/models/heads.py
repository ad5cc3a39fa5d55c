"""Outputs of a network for each frame: sizes of the heads, and the head of an interval."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

HEAD_SIZES = {"k": 1, "alpha": 1, "state": 4, "change": 1, "k_interval": 2, "alpha_interval": 2}
INTERVAL_HEADS = ("k_interval", "alpha_interval")


class IntervalHead(nn.Module):
    """Distances from the point value of a quantity to its 5 % and its 95 % quantile.

    It reads the body's output without passing gradients back, so that learning the intervals changes nothing else.
    """

    def __init__(self, in_features: int, hidden: int = 32):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_features, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, T, in_features) -> widths below and above (B, T, 2), positive."""
        return F.softplus(self.layers(x.detach()))
