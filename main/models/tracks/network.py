"""Networks of tracks: a body, and heads that turn its output into K, alpha, state and changepoints."""

from __future__ import annotations

import torch
from torch import nn

from main.models.heads import HEAD_SIZES, INTERVAL_HEADS, IntervalHead
from main.models.layers import train_lstms
from main.models.tracks.conv_bilstm import ConvBiLSTM
from main.models.tracks.gap_filler import GapFiller
from main.models.tracks.residual_attention import ResidualAttention
from main.models.tracks.sample import SampleNet
from main.models.tracks.stacked_bilstm import StackedBiLSTM
from main.models.tracks.transformer import Transformer

BODIES = {
    "lstm": StackedBiLSTM,
    "conv_bilstm": ConvBiLSTM,
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
    """A body with one linear head for each quantity, and heads with a hidden layer for the intervals.

    Parameters
    ----------
    body : nn.Module
    heads : tuple of str
        Names in `HEAD_SIZES`.
    in_features : int
        Features per frame that the body reads.
    gaps : bool
        Whether it has a part for missing frames; else it reads them as if the particle moved on a straight line.
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

    def train(self, mode: bool = True):
        """Training mode; a body that is frozen stays as it is in inference, without dropout."""
        frozen = not next(self.body.parameters()).requires_grad
        super().train(mode and not frozen)
        if mode and frozen and any(p.requires_grad for p in self.parameters()):
            train_lstms(self)
        return self

    def forward(self, feats, length=None, log10_scale=None, group: int = 1) -> dict[str, torch.Tensor]:
        """Outputs of all heads for the features of padded tracks.

        Parameters
        ----------
        feats : Tensor, shape (B, T, F), or (B, T, F + 1) where frames are missing
        length : Tensor, shape (B,), optional
            Frames of each track; None if none is padded.
        log10_scale, group
            Not used here; `SampleNet` needs them.

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
        """Output of the body, (B, T, C), for features (B, T, F), or (B, T, F + 1) where frames are missing."""
        if feats.shape[-1] > self.in_features:
            feats = feats[..., : self.in_features] if self.gaps is None else self.gaps(feats)
        return self.body(feats, length)

    def read_heads(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Outputs of the heads for a body's output (B, T, C), as `forward` returns them."""
        return {name: head(x).squeeze(-1) if HEAD_SIZES[name] == 1 else head(x) for name, head in self.heads.items()}


def build_track_network(config: dict) -> nn.Module:
    """Make a network of tracks from its configuration.

    Parameters
    ----------
    config : dict
        `body` (a name in `BODIES`; or "sample": conv_bilstm, with a part that reads all tracks of a sample), `target`
        (a name in `TARGET_HEADS`), `in_features`; optionally `intervals` and `gaps` (whether the network has interval
        heads, and a part for missing frames; by default not), `hidden`, `dropout` and other arguments of the body.

    Raises
    ------
    ValueError
        If the body or the target is not known.
    """
    options = dict(config)
    body, target, size = options.pop("body"), options.pop("target"), options["in_features"]
    intervals, gaps = options.pop("intervals", False), options.pop("gaps", False)
    if body not in (*BODIES, "sample"):
        raise ValueError(f"unknown body {body!r}: expected one of {', '.join(BODIES)}, sample")
    if target not in TARGET_HEADS:
        raise ValueError(f"unknown target {target!r}: expected one of {', '.join(TARGET_HEADS)}")
    if body == "sample":
        if target != "combined":
            raise ValueError(f"a sample network of target {target!r}: expected combined")
        point = tuple(name for name in TARGET_HEADS[target] if name not in INTERVAL_HEADS)
        single = TrackNet(ConvBiLSTM(**options), point, size, gaps)
        return SampleNet(single, intervals, dropout=options.get("dropout", 0.1))
    heads = tuple(name for name in TARGET_HEADS[target] if intervals or name not in INTERVAL_HEADS)
    return TrackNet(BODIES[body](**options), heads, size, gaps)
