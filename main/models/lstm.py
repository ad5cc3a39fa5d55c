"""Stacked bidirectional LSTMs with skip connections, the body of the original system (Haidari and Kapanidis 2025)."""

from __future__ import annotations

import torch
from torch import nn


def flip_valid(x: torch.Tensor, length: torch.Tensor | None) -> torch.Tensor:
    """Reverse the valid frames of each track, leaving its padding in place. `x` (B, T, C), `length` (B,)."""
    if length is None:
        return x.flip(1)
    B, T, C = x.shape
    time = torch.arange(T, device=x.device)
    index = torch.where(time < length[:, None], length[:, None] - 1 - time, time)
    rows = (index + T * torch.arange(B, device=x.device)[:, None]).view(-1)
    return x.reshape(B * T, C).index_select(0, rows).view(B, T, C)  # whole rows: gather moves single values


class BiLSTM(nn.Module):
    """One bidirectional LSTM layer in which padding is never read.

    Two one-directional LSTMs; the second reads each track from its own last frame. As tracks are padded on the
    right, no state has seen padding when it reaches a valid frame.
    """

    def __init__(self, in_features: int, hidden: int):
        super().__init__()
        self.ahead = nn.LSTM(in_features, hidden, batch_first=True)
        self.back = nn.LSTM(in_features, hidden, batch_first=True)
        for lstm in (self.ahead, self.back):
            nn.init.ones_(lstm.bias_ih_l0.data[hidden : 2 * hidden])  # forget gates start open: memory of many frames

    def forward(self, x: torch.Tensor, length: torch.Tensor | None) -> torch.Tensor:
        """x (B, T, F), length (B,) or None if no track is padded -> (B, T, 2 hidden)."""
        ahead = self.ahead(x)[0]
        back = flip_valid(self.back(flip_valid(x, length))[0], length)
        return torch.cat([ahead, back], -1)


class Block(nn.Module):
    """LayerNorm -> BiLSTM layers with dropout between -> ReLU -> concatenated with the block's input."""

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
        Normalise the features of each frame, as the original does. It takes the absolute size of the features away,
        which the default features carry, so it is for the `m3` ones.
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
