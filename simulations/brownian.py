"""Segmented Brownian motion: tracks whose diffusion coefficient jumps, over six decades, and nothing else.

The data on which the STEP study (Requena et al., Biophysical Journal 122, 4360, 2023) trains its network of D(t).
"""

from __future__ import annotations

import numpy as np
import torch

from simulations.parameters import FREE
from simulations.resumable import ResumableBatches

LOG10_D = (-3.0, 3.0)  # range of the diffusion coefficient, length^2/frame
N_CHANGES = (0, 4)  # changepoints of a track, all numbers equally often
MIN_SEGMENT = 5  # frames
LOG10_NOISE = (-6.0, 1.0)  # range of the localisation error; beside it a share of tracks has none
NOISELESS, SHORT = 0.25, 0.3  # shares of tracks without localisation error, and of fewer frames than the others
NARROW, NARROWEST = 0.8, 0.3  # share of tracks with smaller jumps; decades, the least
FRAMES = (20, 200)


class BrownianStream(ResumableBatches):
    """Padded batches of segmented Brownian tracks, each a function of (seed, number).

    Parameters
    ----------
    batch : int
        Tracks per batch.
    device : str or torch.device
    seed : int
    chunk : int
        Tracks made at once.
    unknown_sigma : float
        Share of tracks whose localisation error is hidden (NaN).
    """

    def __init__(self, batch=64, device="cpu", seed=0, chunk=4096, unknown_sigma=0.5):
        self.batch, self.device, self.seed, self.chunk = batch, torch.device(device), seed, max(chunk, 2 * batch)
        self.unknown_sigma = unknown_sigma
        self.settings = {
            "priors": ["brownian"],
            "batch": batch,
            "chunk": self.chunk,
            "seed": seed,
            "unknown_sigma": unknown_sigma,
        }

    def _batches(self, chunk: int) -> list:
        seeds = np.random.SeedSequence([self.seed, chunk])
        generator = torch.Generator(self.device).manual_seed(int(seeds.generate_state(1)[0]))
        tracks = brownian_tracks(self.chunk, generator, device=self.device)
        hide = torch.rand(self.chunk, generator=generator, device=self.device) < self.unknown_sigma
        tracks["sigma"] = torch.where(hide, torch.nan, tracks["sigma"])
        order = tracks["length"].argsort()
        groups = order[: len(order) - len(order) % self.batch].view(-1, self.batch)
        groups = groups[torch.randperm(len(groups), generator=torch.Generator().manual_seed(chunk)).to(self.device)]

        def take(rows):
            longest = int(tracks["length"][rows].max())
            return {n: v[rows] if v.dim() == 1 else v[rows, :longest].contiguous() for n, v in tracks.items()}

        return [lambda rows=rows: take(rows) for rows in groups]


def brownian_tracks(
    n: int,
    generator: torch.Generator,
    frames: int | None = None,
    log10_noise=None,
    n_changes=N_CHANGES,
    narrow: float = NARROW,
    min_segment: int = MIN_SEGMENT,
    device="cpu",
) -> dict:
    """Segmented Brownian tracks with localisation error.

    Parameters
    ----------
    n : int
        Tracks.
    generator : torch.Generator
        On `device`.
    frames : int, optional
        Frames of every track; by default 200 for most and 20 to 200 for the rest.
    log10_noise : float, optional
        log10 of the localisation error of every track, -inf for none; by default drawn.
    n_changes : (int, int)
        Fewest and most changepoints.
    narrow : float
        Share of tracks with smaller jumps than chance gives.
    min_segment : int
        Frames of the shortest segment.

    Returns
    -------
    dict
        xy (n, T, 2), k (diffusion coefficient of the step that starts at the frame), alpha (1), state (2, free), each
        (n, T); length and sigma (n,). Lengths in one unit, times in frames.
    """

    def uniform(*shape):
        return torch.rand(*shape, generator=generator, device=device)

    length = torch.full((n,), frames or FRAMES[1], device=device)
    if frames is None:
        short = (FRAMES[0] + uniform(n) * (FRAMES[1] - FRAMES[0] + 1)).long()
        length = torch.where(uniform(n) < SHORT, short, length)
    segment = segments_of(length, n_changes, min_segment, uniform)  # (n, T)
    k = 10 ** log10_d_of(n, n_changes[1] + 1, narrow, uniform).gather(1, segment)
    steps = torch.randn(*k.shape, 2, generator=generator, device=device) * (2 * k).sqrt()[..., None]
    xy = torch.cat([torch.zeros_like(steps[:, :1]), steps[:, :-1]], 1).double().cumsum(1)
    sigma = 10 ** (LOG10_NOISE[0] + (LOG10_NOISE[1] - LOG10_NOISE[0]) * uniform(n))
    sigma = torch.where(uniform(n) < NOISELESS, 0.0, sigma)
    if log10_noise is not None:
        sigma = torch.full_like(sigma, 10.0**log10_noise)
    xy = xy + torch.randn(*k.shape, 2, generator=generator, device=device) * sigma[:, None, None]
    ones = torch.ones_like(k)
    return {
        "xy": (xy - xy[:, :1]).float(),
        "length": length,
        "sigma": sigma,
        "k": k,
        "alpha": ones,
        "state": torch.full_like(k, FREE, dtype=torch.long),
    }


def log10_d_of(n: int, n_segments: int, narrow: float, uniform) -> torch.Tensor:
    """log10 of D of each segment, (n, n_segments): over all decades, or over a part of them, from `NARROWEST` on.

    Over all decades a change is hardly ever small, and a network would not learn to look for such.
    """
    whole = LOG10_D[1] - LOG10_D[0]
    part = whole * (NARROWEST / whole) ** uniform(n, 1)
    part = torch.where(uniform(n, 1) < narrow, part, whole)
    return LOG10_D[0] + (whole - part) * uniform(n, 1) + part * uniform(n, n_segments)


def segments_of(length: torch.Tensor, n_changes, shortest: int, uniform) -> torch.Tensor:
    """Number of the segment of each frame, (n, T): changepoints anywhere that leaves `shortest` frames to each."""
    n, most = len(length), n_changes[1]
    number = (n_changes[0] + uniform(n) * (most - n_changes[0] + 1)).long()
    number = torch.minimum(number, length // shortest - 1).clamp_min(0)
    free = (length - shortest * (number + 1)).clamp_min(0)  # frames that lie beyond the shortest segments
    drawn = torch.where(torch.arange(most, device=length.device) < number[:, None], uniform(n, most), 2.0)
    place = (drawn.sort(1).values * (free[:, None] + 1)).long()
    place = place + shortest * torch.arange(1, most + 1, device=length.device)
    place = torch.where(torch.arange(most, device=length.device) < number[:, None], place, length.max() + 1)
    time = torch.arange(int(length.max()), device=length.device)
    return (time[None, :, None] >= place[:, None, :]).sum(-1)
