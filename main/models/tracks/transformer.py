"""A Transformer encoder with a learnt bias on frame distance: the attention body."""

from __future__ import annotations

import torch
from torch import nn

from main.models.layers import Attention


class Transformer(nn.Module):
    """Pre-norm encoder blocks of attention and a two-layer perceptron (667k parameters at hidden 64)."""

    def __init__(self, in_features: int, hidden: int = 64, dropout: float = 0.1, layers: int = 4, heads: int = 4):
        super().__init__()
        size = 2 * hidden
        self.embed = nn.Linear(in_features, size)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(2 * layers))
        self.attention = nn.ModuleList(Attention(size, heads) for _ in range(layers))
        self.mlp = nn.ModuleList(
            nn.Sequential(nn.Linear(size, 3 * size), nn.GELU(), nn.Linear(3 * size, size)) for _ in range(layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.out_features = size

    def forward(self, x: torch.Tensor, length: torch.Tensor | None) -> torch.Tensor:
        """x (B, T, F), length (B,) or None -> (B, T, out_features)."""
        frames = torch.arange(x.shape[1], device=x.device)
        valid = frames < (length[:, None] if length is not None else x.shape[1])
        valid = valid.expand(len(x), -1)
        x = self.embed(x)
        for i, (attention, mlp) in enumerate(zip(self.attention, self.mlp, strict=True)):
            x = x + self.dropout(attention(self.norms[2 * i](x), valid))
            x = x + self.dropout(mlp(self.norms[2 * i + 1](x)))
        return x
