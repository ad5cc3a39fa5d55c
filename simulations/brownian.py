"""Segmented Brownian motion: Brownian tracks whose diffusion coefficient D jumps, over six decades.

The STEP study (Requena et al., Biophysical Journal 122, 4360, 2023) trains its network of D(t) on such data.
"""

from __future__ import annotations

import numpy as np
import torch

from simulations.parameters import FREE
from simulations.resumable import ResumableBatches

LOG10_D = (-3.0, 3.0)  # range of the diffusion coefficient, length^2/frame
N_CHANGES = (0, 4)  # changepoints of a track, all numbers equally often
MIN_SEGMENT = 5  # frames
LOG10_NOISE = (-6.0, 1.0)  # range of the localisation error, lengths; a further share of tracks has none
NOISELESS, SHORT = 0.25, 0.3  # share of tracks without localisation error; share with fewer frames than the longest
NARROW = 0.8  # share of tracks whose D stays within a part of the range, so that they have smaller jumps
NARROWEST_DECADES = 0.3  # smallest such part of the range
FRAMES = (20, 200)  # shortest and longest track


class BrownianStream(ResumableBatches):
    """Padded batches of segmented Brownian tracks; a chunk depends on the seed and its number alone.

    Parameters
    ----------
    batch : int
        Tracks per batch.
    device : str or torch.device
    seed : int
    chunk : int
        Tracks simulated at once.
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
            "n_frames": list(FRAMES),
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
    """Simulate segmented Brownian tracks with localisation error.

    Parameters
    ----------
    n : int
        Number of tracks.
    generator : torch.Generator
        On `device`.
    frames : int, optional
        Frames of every track; by default 200 for most and 20 to 200 for the rest.
    log10_noise : float, optional
        log10 of the localisation error of every track, -inf for none; by default each track draws one.
    n_changes : (int, int)
        Fewest and most changepoints.
    narrow : float
        Share of tracks whose D stays within a part of the range.
    min_segment : int
        Frames of the shortest segment.
    device : str or torch.device

    Returns
    -------
    dict
        xy (n, T, 2); k (diffusion coefficient of the step that starts at the frame), alpha (always 1) and state (always
        free), each (n, T); length and sigma (n,). xy and sigma are in one unit of length, k in its square per frame.
    """

    def uniform(*shape):
        return torch.rand(*shape, generator=generator, device=device)

    length = torch.full((n,), frames or FRAMES[1], device=device)
    if frames is None:
        short = (FRAMES[0] + uniform(n) * (FRAMES[1] - FRAMES[0] + 1)).long()
        length = torch.where(uniform(n) < SHORT, short, length)
    segment = _draw_segments(length, n_changes, min_segment, uniform)  # (n, T)
    k = 10 ** _draw_log10_d(n, n_changes[1] + 1, narrow, uniform).gather(1, segment)
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


def _draw_log10_d(n: int, n_segments: int, narrow: float, uniform) -> torch.Tensor:
    """Draw log10 of D of each segment, (n, n_segments), from the whole range or from a random part of it.

    In the whole range small changes are rare, and a network would not learn to find them.
    """
    whole = LOG10_D[1] - LOG10_D[0]
    part = whole * (NARROWEST_DECADES / whole) ** uniform(n, 1)
    part = torch.where(uniform(n, 1) < narrow, part, whole)
    return LOG10_D[0] + (whole - part) * uniform(n, 1) + part * uniform(n, n_segments)


def _draw_segments(length: torch.Tensor, n_changes, shortest: int, uniform) -> torch.Tensor:
    """Draw changepoints at least `shortest` frames apart; returns the number of the segment of each frame, (n, T)."""
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
