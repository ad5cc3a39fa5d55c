"""Networks by name: a body, and the heads that read it."""

from __future__ import annotations

import torch
from torch import nn

from main.models.conv_lstm import ConvLSTM
from main.models.lstm import StackedBiLSTM
from main.models.transformer import Transformer

BODIES = {"lstm": StackedBiLSTM, "conv_lstm": ConvLSTM, "transformer": Transformer}
HEAD_SIZES = {"k": 1, "alpha": 1, "state": 4, "change": 1}
TARGET_HEADS = {
    "k": ("k",),
    "alpha": ("alpha",),
    "state": ("state", "change"),
    "combined": ("k", "alpha", "state", "change"),
}


class TrackNet(nn.Module):
    """A body with one linear head per quantity."""

    def __init__(self, body: nn.Module, heads: tuple[str, ...]):
        super().__init__()
        self.body = body
        self.heads = nn.ModuleDict({name: nn.Linear(body.out_features, HEAD_SIZES[name]) for name in heads})
        if "alpha" in self.heads:
            nn.init.ones_(self.heads["alpha"].bias)  # start at Brownian motion

    def forward(self, feats: torch.Tensor, length: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Read features of padded tracks.

        Parameters
        ----------
        feats : Tensor, shape (B, T, F)
        length : Tensor, shape (B,), optional
            Frames of each track; None if none is padded.

        Returns
        -------
        dict
            Per head of this network: `k` (B, T), log10 of K over the track's squared scale; `alpha` (B, T);
            `state` (B, T, 4), logits; `change` (B, T), logit of a changepoint at the frame. Beyond `length` the
            values mean nothing.
        """
        x = self.body(feats, length)
        return {name: head(x).squeeze(-1) if HEAD_SIZES[name] == 1 else head(x) for name, head in self.heads.items()}


def build(config: dict) -> TrackNet:
    """A network from its configuration.

    Parameters
    ----------
    config : dict
        `body` (a name in `BODIES`), `target` (a name in `TARGET_HEADS`), `in_features`, and optionally `hidden`,
        `dropout` and other arguments of the body.

    Raises
    ------
    ValueError
        If the body or the target is not known.
    """
    options = dict(config)
    body, target = options.pop("body"), options.pop("target")
    if body not in BODIES:
        raise ValueError(f"unknown body {body!r}: expected one of {', '.join(BODIES)}")
    if target not in TARGET_HEADS:
        raise ValueError(f"unknown target {target!r}: expected one of {', '.join(TARGET_HEADS)}")
    return TrackNet(BODIES[body](**options), TARGET_HEADS[target])
