"""Stacked bidirectional LSTMs with skip connections, the body of the original system (Haidari and Kapanidis 2025)."""

from __future__ import annotations

import torch
from torch import nn

from main.models.layers import BiLSTM


class Block(nn.Module):
    """LayerNorm -> BiLSTM layers with dropout between them -> ReLU -> concatenated with the block's input."""

    def __init__(self, in_features: int, hidden: int, layers: int, dropout: float, norm: bool = True):
        super().__init__()
        self.norm = nn.LayerNorm(in_features) if norm else nn.Identity()
        sizes = [in_features] + [2 * hidden] * (layers - 1)
        self.layers = nn.ModuleList(BiLSTM(size, hidden) for size in sizes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, length: torch.Tensor | None) -> torch.Tensor:
        """x (B, T, F), length (B,) or None -> (B, T, 2 hidden + F)."""
        y = self.norm(x)
        for i, layer in enumerate(self.layers):
            y = layer(self.dropout(y) if i else y, length)
        return torch.cat([torch.relu(y), x], -1)


class StackedBiLSTM(nn.Module):
    """Blocks of BiLSTM layers; three of 2, 2 and 1 layers as in the original.

    Parameters
    ----------
    in_features : int
        Features per frame, F.
    hidden : int
        Units per direction; 64 as in the original gives about 512k parameters.
    norm_input : bool
        Normalise the features of each frame, as the original does. This removes their absolute size. The default
        features need it, so switch this on for the `m3` features only.
    layers : sequence of int
        Layers of each block.
    """

    def __init__(
        self, in_features: int, hidden: int = 64, dropout: float = 0.1, norm_input: bool = False, layers=(2, 2, 1)
    ):
        super().__init__()
        self.blocks = nn.ModuleList()
        size = in_features
        for i, depth in enumerate(layers):
            self.blocks.append(Block(size, hidden, depth, dropout, norm=norm_input or i > 0))
            size += 2 * hidden
        self.out_features = size

    def forward(self, x: torch.Tensor, length: torch.Tensor | None) -> torch.Tensor:
        """x (B, T, F), length (B,) or None -> (B, T, out_features)."""
        for block in self.blocks:
            x = block(x, length)
        return x
