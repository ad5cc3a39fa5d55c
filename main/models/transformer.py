"""A Transformer encoder with a learnt bias on frame distance: the attention body."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head self-attention, with a learnt bias per head and clipped frame distance; padding is never attended.

    With `reach` 0 the bias is fixed: it falls with the distance by a slope per head (Press et al., ICLR 2022), except
    in the first head, which knows no positions.
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
