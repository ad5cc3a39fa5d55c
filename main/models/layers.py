"""Layers that networks of several families share."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def flip_valid(x: torch.Tensor, length: torch.Tensor | None) -> torch.Tensor:
    """Reverse the valid frames of each track, leaving its padding in place. `x` (B, T, C), `length` (B,)."""
    if length is None:
        return x.flip(1)
    B, T, C = x.shape
    time = torch.arange(T, device=x.device)
    index = torch.where(time < length[:, None], length[:, None] - 1 - time, time)
    rows = (index + T * torch.arange(B, device=x.device)[:, None]).view(-1)
    return x.reshape(B * T, C).index_select(0, rows).view(B, T, C)  # copies whole rows, faster than gather


class BiLSTM(nn.Module):
    """One bidirectional LSTM layer in which padding is never read.

    Two one-directional LSTMs; the second reads each track from its last frame backwards. As tracks are padded on the
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


def mask_padding(x: torch.Tensor, length: torch.Tensor | None) -> torch.Tensor:
    """Zeros in the frames beyond each track's length. `x` (B, T, C)."""
    if length is None:
        return x
    return x * (torch.arange(x.shape[1], device=x.device) < length[:, None])[..., None]


class Attention(nn.Module):
    """Multi-head self-attention, with a learnt bias per head and clipped frame distance; padding is never attended.

    With `reach` 0 the bias is fixed: it falls with the distance, by another slope in each head (Press et al., ICLR
    2022), except in the first head, which does not use positions.

    Parameters
    ----------
    size : int
        Channels, C.
    heads : int
    reach : int
        Frames; larger distances share the bias of this distance.
    """

    def __init__(self, size: int, heads: int, reach: int = 64):
        super().__init__()
        self.heads, self.reach = heads, reach
        self.qkv = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)
        self.bias = nn.Parameter(torch.zeros(heads, 2 * reach + 1)) if reach else None

    def forward(self, x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """x (B, T, C), valid (B, T) -> (B, T, C)."""
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        time = torch.arange(T, device=x.device)
        distance = time[None] - time[:, None]
        if self.bias is None:
            slopes = [0.0] + [2.0 ** (1 - 2 * head) for head in range(1, self.heads)]  # 0, 1/2, 1/8, 1/32
            bias = -torch.tensor(slopes, device=x.device)[:, None, None] * distance.abs()
        else:
            bias = self.bias[:, distance.clamp(-self.reach, self.reach) + self.reach]
        if bool(valid.all()):
            bias = bias[None]  # (1, H, T, T): one for all tracks
        else:
            bias = bias[None].masked_fill(~valid[:, None, None], float("-inf"))  # (B, H, T, T)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.out(y.transpose(1, 2).reshape(B, T, C))


def train_lstms(net: nn.Module) -> None:
    """Put the LSTM layers of a network that is otherwise in evaluation mode into training mode.

    cuDNN computes gradients through LSTMs in training mode only. They have no dropout, so nothing else changes.
    """
    for module in net.modules():
        if isinstance(module, nn.LSTM):
            module.train()
