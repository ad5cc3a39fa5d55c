"""The part of a network that handles frames in which the particle was not seen."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

REACH = 8  # frames; features farther than this from a missing frame are not changed


class GapFiller(nn.Module):
    """Corrects the features near missing frames, where they were computed from a straight line.

    It stands before the body and changes nothing where no frame is missing. A trained network can therefore learn it
    afterwards, with all other weights frozen.

    Parameters
    ----------
    in_features : int
        Features per frame, F.
    hidden : int
        Channels between its two convolutions.
    """

    def __init__(self, in_features: int, hidden: int = 32):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(in_features + 1, hidden, 5, padding=2), nn.ReLU(), nn.Conv1d(hidden, in_features, 5, padding=2)
        )
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, feats: torch.Tensor) -> torch.Tensor:
        """feats (B, T, F + 1), the last feature 1 at missing frames -> corrected features (B, T, F)."""
        x = feats.transpose(1, 2)  # (B, F + 1, T)
        near = F.max_pool1d(x[:, -1:], 2 * REACH + 1, stride=1, padding=REACH)
        return feats[..., :-1] + (self.layers(x) * near).transpose(1, 2)
