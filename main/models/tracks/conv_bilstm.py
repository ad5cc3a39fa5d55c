"""Two convolutions, then two bidirectional LSTM layers: the small body (about 200k parameters)."""

from __future__ import annotations

import torch
from torch import nn

from main.models.layers import BiLSTM, mask_padding


class ConvBiLSTM(nn.Module):
    """Convolutions of width 5 read local motion, two bidirectional LSTM layers the whole track.

    Padded frames are set to zero before every convolution. A convolution reads zeros beyond the end of a track anyway,
    so padding changes nothing.

    Parameters
    ----------
    in_features : int
        Features per frame, F.
    hidden : int
        Channels of the convolutions, and units of the LSTM layers in each direction.
    dropout : float
        Share of units that are dropped between the two LSTM layers.
    """

    def __init__(self, in_features: int, hidden: int = 64, dropout: float = 0.1):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(size, hidden, kernel_size=5, padding=2) for size in (in_features, hidden))
        self.layers = nn.ModuleList(BiLSTM(size, hidden) for size in (hidden + in_features, 2 * hidden))
        self.dropout = nn.Dropout(dropout)
        self.out_features = 2 * hidden

    def forward(self, x: torch.Tensor, length: torch.Tensor | None) -> torch.Tensor:
        """x (B, T, F), length (B,) or None -> (B, T, out_features)."""
        y = x
        for conv in self.convs:
            y = torch.relu(conv(mask_padding(y, length).transpose(1, 2)).transpose(1, 2))
        y = self.layers[0](torch.cat([y, x], -1), length)
        return self.layers[1](self.dropout(y), length)
