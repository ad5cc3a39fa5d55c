"""Convolutional residual blocks and self-attention, the shape of the STEP network (Requena et al. 2023)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from main.models.layers import Attention, mask_padding

WIDTHS = (1, 2, 4)  # of the residual blocks, multiples of `hidden`


class ResidualBlock(nn.Module):
    """Two convolutions of width 3 and a shortcut around them, each normalised over its channels.

    The normalisation is over the channels of a frame, not over the batch as in STEP, so padding changes nothing.
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        sizes = (in_features, out_features)
        self.convs = nn.ModuleList(nn.Conv1d(size, out_features, 3, padding=1) for size in sizes)
        self.norms = nn.ModuleList(nn.LayerNorm(out_features) for _ in sizes)
        self.shortcut = nn.Linear(in_features, out_features)

    def forward(self, x: torch.Tensor, length: torch.Tensor | None) -> torch.Tensor:
        """x (B, T, C), length (B,) or None -> (B, T, out_features)."""
        y = x
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = norm(conv(mask_padding(y, length).transpose(1, 2)).transpose(1, 2))
            y = F.relu(y) if i == 0 else y
        return F.relu(y + self.shortcut(x))


class EncoderLayer(nn.Module):
    """Self-attention, then a two-layer perceptron as wide as its input.

    The first head does not use positions, like all heads of STEP. Each later head attends to more distant frames.
    """

    def __init__(self, size: int, heads: int, dropout: float):
        super().__init__()
        self.attention = Attention(size, heads, reach=0)
        self.first, self.second = nn.LayerNorm(size), nn.LayerNorm(size)
        self.mlp = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Dropout(dropout), nn.Linear(size, size))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """x (B, T, C), valid (B, T) -> (B, T, C)."""
        x = x + self.dropout(self.attention(self.first(x), valid))
        return x + self.dropout(self.mlp(self.second(x)))


class ResidualAttention(nn.Module):
    """Stem, three residual blocks that double in width, then encoder layers.

    Parameters
    ----------
    in_features : int
        Features per frame, F.
    hidden : int
        Channels of the stem and of the first block. The encoder is 4 times as wide: 128 for the default of 32 (512 in
        STEP).
    dropout : float
    layers, heads : int
        Number of layers, and of attention heads in each, of the encoder.
    """

    def __init__(self, in_features: int, hidden: int = 32, dropout: float = 0.1, layers: int = 4, heads: int = 4):
        super().__init__()
        sizes = [hidden, *(width * hidden for width in WIDTHS)]
        self.stem = nn.Conv1d(in_features, hidden, 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        self.layers = nn.ModuleList(EncoderLayer(sizes[-1], heads, dropout) for _ in range(layers))
        self.out_features = sizes[-1]

    def forward(self, x: torch.Tensor, length: torch.Tensor | None) -> torch.Tensor:
        """x (B, T, F), length (B,) or None -> (B, T, out_features)."""
        valid = torch.arange(x.shape[1], device=x.device) < (x.shape[1] if length is None else length[:, None])
        x = F.relu(self.stem(mask_padding(x, length).transpose(1, 2)).transpose(1, 2))
        for block in self.blocks:
            x = block(x, length)
        for layer in self.layers:
            x = layer(x, valid.expand(len(x), -1))
        return x
