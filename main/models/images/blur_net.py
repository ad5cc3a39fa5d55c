"""Network that reads D from windows around a molecule, from what was fitted to them, and from the posterior of D."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

MAX_LOG_SD, MIN_LOG_SD = 1.0, -4.0  # of log10 D


class BlurNet(nn.Module):
    """Windows and fitted numbers of every frame to mean and log standard deviation of log10 D.

    Lengths are in units of the width of the point spread function. The output is a correction of the mean of the
    posterior of D that is given.

    Parameters
    ----------
    n_frame_features, n_features : int
        Numbers of features of a frame and of a sequence (`main.images.features`).
    channels : tuple of int
        Channels of the three convolutions over a window.
    hidden : int
        Units of each frame.
    layers : int
        Residual convolutions over frames.
    window : int
        Side of a window, px.
    """

    def __init__(self, n_frame_features: int, n_features: int, channels=(16, 32, 32), hidden=96, layers=4, window=21):
        super().__init__()
        first, second, third = channels
        self.window = nn.Sequential(
            nn.Conv2d(2, first, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(second, third, 3, stride=2, padding=1),
            nn.GELU(),
        )
        side = (window + 3) // 4
        self.flat = nn.Linear(third * side**2, 48)
        self.inputs = nn.Linear(48 + n_frame_features, hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(layers))
        self.frames = nn.ModuleList(nn.Conv1d(hidden, hidden, 3, padding=1) for _ in range(layers))
        self.attention = nn.Linear(hidden, 4)
        self.head = nn.Sequential(
            nn.Linear(5 * hidden + n_features, 128), nn.GELU(), nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 2)
        )
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, windows, frame_features, features, seen, posterior):
        """Estimate log10 D of every sequence.

        Parameters
        ----------
        windows : torch.Tensor, shape (B, F, 2, P, P)
            See `main.images.features`.
        frame_features : torch.Tensor, shape (B, F, C)
        features : torch.Tensor, shape (B, E)
        seen : torch.Tensor of bool, shape (B, F)
            Frames with a trusted spot; the others keep their window.
        posterior : torch.Tensor, shape (B, 2)
            Mean and standard deviation of log10 D, in squared widths of the point spread function per frame.

        Returns
        -------
        torch.Tensor, shape (B, 2)
            Mean of log10 D, in the same unit, and log of its standard deviation.
        """
        b, f = seen.shape
        images = self.window(windows.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        h = torch.cat([self.flat(images.flatten(1)).view(b, f, -1), frame_features], dim=-1)
        h = self.inputs(h)
        for norm, convolution in zip(self.norms, self.frames, strict=True):
            h = h + functional.gelu(convolution(norm(h).mT)).mT
        weights = torch.softmax(self.attention(h).float().masked_fill(~seen[..., None], -30.0), dim=1).to(h.dtype)
        pooled = (weights.mT @ h).flatten(1)  # (B, 4 hidden)
        o = self.head(torch.cat([pooled, h.mean(1), features], dim=-1)).float()
        mean = posterior[:, 0] + o[:, 0]
        return torch.stack([mean, (posterior[:, 1].log() + o[:, 1]).clamp(MIN_LOG_SD, MAX_LOG_SD)], dim=1)
