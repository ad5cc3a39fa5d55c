"""Networks of tracks: a body, and the heads that read it."""

from __future__ import annotations

import torch
from torch import nn

from main.models.heads import HEAD_SIZES, INTERVAL_HEADS, IntervalHead
from main.models.tracks.conv_bilstm import ConvLSTM
from main.models.tracks.gap_filler import GapFiller
from main.models.tracks.residual_attention import ResidualAttention
from main.models.tracks.stacked_bilstm import StackedBiLSTM
from main.models.tracks.transformer import Transformer

BODIES = {
    "lstm": StackedBiLSTM,
    "conv_lstm": ConvLSTM,
    "transformer": Transformer,
    "attention": ResidualAttention,
}
TARGET_HEADS = {
    "k": ("k", "k_interval"),
    "alpha": ("alpha", "alpha_interval"),
    "state": ("state", "change"),
    "combined": ("k", "alpha", "state", "change", "k_interval", "alpha_interval"),
}


class TrackNet(nn.Module):
    """A body with one linear head per quantity, and heads of a hidden layer for the intervals.

    Parameters
    ----------
    body : nn.Module
    heads : tuple of str
        Names in `HEAD_SIZES`.
    in_features : int
        Features per frame that the body reads.
    gaps : bool
        Whether it knows what to do about missing frames; else it reads the straight line there.
    """

    def __init__(self, body: nn.Module, heads: tuple[str, ...], in_features: int, gaps: bool = False):
        super().__init__()
        self.body, self.in_features = body, in_features
        self.heads = nn.ModuleDict(
            {
                name: IntervalHead(body.out_features)
                if name in INTERVAL_HEADS
                else nn.Linear(body.out_features, HEAD_SIZES[name])
                for name in heads
            }
        )
        if "alpha" in self.heads:
            nn.init.ones_(self.heads["alpha"].bias)  # start at Brownian motion
        self.gaps = GapFiller(in_features) if gaps else None

    def forward(self, feats, length=None, log10_scale=None, group: int = 1) -> dict[str, torch.Tensor]:
        """Read features of padded tracks.

        Parameters
        ----------
        feats : Tensor, shape (B, T, F), or (B, T, F + 1) where frames are missing
        length : Tensor, shape (B,), optional
            Frames of each track; None if none is padded.
        log10_scale, group
            Not read: what `SampleNet` needs beside.

        Returns
        -------
        dict
            Per head of this network: `k` (B, T), log10 of K over the track's squared scale; `alpha` (B, T);
            `state` (B, T, 4), logits; `change` (B, T), logit of a changepoint at the frame; `k_interval` and
            `alpha_interval` (B, T, 2), widths of the 90 % interval below and above `k` and `alpha`. Beyond `length`
            the values mean nothing.
        """
        return self.read_heads(self.read_body(feats, length))

    def read_body(self, feats: torch.Tensor, length: torch.Tensor | None) -> torch.Tensor:
        """What the body makes of the features (B, T, F), or (B, T, F + 1) with what is missing: (B, T, C)."""
        if feats.shape[-1] > self.in_features:
            feats = feats[..., : self.in_features] if self.gaps is None else self.gaps(feats)
        return self.body(feats, length)

    def read_heads(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """What the heads say of a body's output (B, T, C), as `forward` returns it."""
        return {name: head(x).squeeze(-1) if HEAD_SIZES[name] == 1 else head(x) for name, head in self.heads.items()}
