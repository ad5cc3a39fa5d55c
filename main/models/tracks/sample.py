"""A network that reads all tracks of a sample together."""

from __future__ import annotations

import torch
from torch import nn

from main.models.heads import HEAD_SIZES, INTERVAL_HEADS, IntervalHead
from main.models.layers import BiLSTM, train_lstms

LOG10_K = torch.linspace(-3, 3, 61)  # grid of the map, log10 of K over the squared scale of the sample
ALPHA = torch.linspace(0, 2, 21)
BLUR = (0.15, 0.45)  # standard deviations of the two kernels that read the map, in log10 K; in alpha 2/3 of them
N_READ = 9  # values that a frame reads per kernel: density, mean and spread of K and alpha, 3 states, changes


class SampleNet(nn.Module):
    """A network of one track, a map of what it found in the whole sample, and one more BiLSTM layer that corrects it.

    All frames of a sample that are not trapped are added to a soft histogram over (log10 K, alpha), the map. Each frame
    then reads the map near its own values: the density of the sample, the mean of K and alpha there (empirical Bayes
    estimates are drawn towards it), and how often such frames are confined, free or directed, or next to a changepoint.
    K is taken relative to the mean scale of the sample, so the network stays scale-equivariant. A single track reads a
    map of itself.

    Parameters
    ----------
    single : TrackNet
        Network of one track, with heads k, alpha, state, change.
    intervals : bool
        Whether it has heads for the intervals.
    width : int
        Size of the summary of the sample.
    hidden : int
        Units of the last BiLSTM layer in each direction.
    dropout : float
    """

    def __init__(self, single, intervals: bool = False, width: int = 64, hidden: int = 64, dropout: float = 0.1):
        super().__init__()
        self.single = single
        size = single.body.out_features
        seen = size + 7 + len(BLUR) * N_READ + 1
        self.summary = nn.Sequential(nn.Linear(seen, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)
        self.last = BiLSTM(seen + width, hidden)
        self.corrections = nn.ModuleDict({name: nn.Linear(2 * hidden, HEAD_SIZES[name]) for name in single.heads})
        self.pull = nn.ModuleDict({name: nn.Linear(2 * hidden, len(BLUR)) for name in ("k", "alpha")})
        for head in (*self.corrections.values(), *self.pull.values()):  # start as the network of one track
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        names = INTERVAL_HEADS if intervals else ()
        self.intervals = nn.ModuleDict({name: IntervalHead(2 * hidden) for name in names})

    def train(self, mode: bool = True):
        """Training mode; parts that are frozen stay as they are in inference, without dropout."""
        learns = next(self.last.parameters()).requires_grad
        super().train(mode and learns)
        self.single.train(mode)
        if mode and not learns and any(p.requires_grad for p in self.single.parameters()):
            train_lstms(self)
        return self

    def forward(self, feats, length=None, log10_scale=None, group: int = 1) -> dict[str, torch.Tensor]:
        """Outputs of all heads for the features of padded tracks.

        Parameters
        ----------
        feats : Tensor, shape (B, T, F), or (B, T, F + 1) where frames are missing
        length, log10_scale : Tensor, shape (B,), optional
            Frames, and log10 of the length unit of each track. The second is needed only for samples.
        group : int
            Number of tracks in a sample. The batch holds B / group samples, one after the other.

        Returns
        -------
        dict
            As `TrackNet`.
        """
        if length is None:
            length = torch.full((len(feats),), feats.shape[1], device=feats.device)
        if log10_scale is None:
            log10_scale = feats.new_zeros(len(feats))
        hidden = self.single.read_body(feats, length)
        first = self.single.read_heads(hidden)
        valid = torch.arange(feats.shape[1], device=feats.device) < length[:, None]
        with torch.no_grad(), torch.autocast(feats.device.type, enabled=False):
            values, read = self._read({n: v.float() for n, v in first.items()}, log10_scale, valid, group)
        size = torch.full_like(values[..., :1], float(group)).log10()
        seen = torch.cat([p.to(hidden.dtype) for p in (hidden, values, read, size)], -1)
        summary = self._mean_of_sample(self.summary(seen), valid, group)
        x = self.last(self.dropout(torch.cat([seen, summary.to(seen.dtype)], -1)), length)
        out = {name: first[name] + head(x).view(first[name].shape) for name, head in self.corrections.items()}
        towards = read.unflatten(-1, (len(BLUR), N_READ))
        for i, name in enumerate(("k", "alpha")):
            out[name] = out[name] + (self.pull[name](x) * towards[..., 1 + i]).sum(-1)
        return out | {name: head(x) for name, head in self.intervals.items()}

    def _mean_of_sample(self, values, valid, group):
        """Mean over the valid frames of each sample, at every frame (B, T, W)."""
        total = (values * valid[..., None]).unflatten(0, (-1, group)).sum((1, 2))
        mean = total / valid.view(-1, group * valid.shape[1]).sum(1, keepdim=True)
        return mean.repeat_interleave(group, 0)[:, None].expand(-1, valid.shape[1], -1)

    def _read(self, first, log10_scale, valid, group):
        """Values of each frame (B, T, 7), and of the map near them (B, T, len(BLUR) * N_READ)."""
        shift = log10_scale.view(-1, group)
        shift = (shift - shift.mean(1, keepdim=True)).view(-1, 1)
        k, alpha = first["k"] + 2 * shift, first["alpha"]
        state, change = first["state"].softmax(-1), first["change"].sigmoid()[..., None]
        values = torch.cat([k[..., None], alpha[..., None], state, change], -1)
        weight = (1 - state[..., :1]) * valid[..., None]
        moments = torch.stack([torch.ones_like(k), k, alpha, k * k, alpha * alpha], -1)
        content = torch.cat([moments, state[..., 1:], change], -1) * weight
        by_sample = (-1, group * k.shape[1])
        k, alpha, content = (v.reshape(*by_sample, *v.shape[2:]) for v in (k, alpha, content))
        near_k, near_alpha = _bumps(k, LOG10_K, 0.1), _bumps(alpha, ALPHA, 0.1)
        total = content[..., 0].sum(1)[:, None] + 1e-3
        stack = (near_alpha[..., None] * content[..., None, :]).flatten(2)  # (G, N, A * C)
        sample_map = near_k.transpose(1, 2) @ stack  # (G, K, A * C)
        read = []
        for blur in BLUR:
            by_alpha = (_bumps(k, LOG10_K, blur) @ sample_map).unflatten(-1, (len(ALPHA), -1))
            local = (_bumps(alpha, ALPHA, blur / 1.5)[..., None] * by_alpha).sum(2)  # (G, N, C)
            mass = local[..., 0] + 1e-6
            mean = local[..., 1:] / mass[..., None]
            spread = [(mean[..., 2 + i] - mean[..., i].square()).clamp_min(1e-4).sqrt() for i in (0, 1)]
            towards = [mean[..., 0] - k, mean[..., 1] - alpha]
            density = (mass / total + 1e-5).log10()
            read += [torch.stack([density, *(t.clamp(-1, 1) for t in towards), *spread], -1), mean[..., 4:]]
        return values, torch.cat(read, -1).view(*values.shape[:2], -1)


def _bumps(values, grid, width):
    """Gaussian weights of the points of the grid around each value, with sum 1: (..., len(grid))."""
    grid = grid.to(values.device)
    weights = torch.exp(-0.5 * ((values.clamp(grid[0], grid[-1])[..., None] - grid) / width).square())
    return weights / weights.sum(-1, keepdim=True)
