"""Tracks with frames in which the particle was not seen, as blinking and missed detections leave them."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from simulations.parameters import LONGEST_GAP

RATE = (0.006, 0.2)  # gaps per frame of a track, log-uniform
RUNS = (0.7, 0.2, 0.1)  # shares of gaps of 1, 2 and 3 frames


def with_gaps(tracks: dict, share: float, generator: torch.Generator) -> dict:
    """Padded tracks, some with missing frames, at a rate of its own in each.

    Parameters
    ----------
    tracks : dict
        xy (B, T, 2) and length (B,) of padded tracks, and whatever else.
    share : float
        Of tracks that have missing frames.
    generator : torch.Generator
        On the device of the tracks.

    Returns
    -------
    dict
        As `tracks`, with a straight line for xy in the missing frames, and `seen` (B, T), False there. The first and
        the last frame of each track are seen.
    """
    xy, length = tracks["xy"], tracks["length"]
    frames, device = xy.shape[1], xy.device
    low, high = torch.tensor(RATE).log10()
    rate = 10 ** (low + (high - low) * torch.rand(len(xy), 1, generator=generator, device=device))
    rate = torch.where(torch.rand(rate.shape, generator=generator, device=device) < share, rate, 0.0)
    start = torch.rand(xy.shape[:2], generator=generator, device=device) < rate
    run = torch.multinomial(torch.tensor(RUNS, device=device), start.numel(), True, generator=generator)
    missing = start.clone()
    for more in range(1, LONGEST_GAP):
        missing |= _later(start & (run.view_as(start) >= more), more)
    too_long = missing
    for earlier in range(1, LONGEST_GAP + 1):
        too_long = too_long & _later(missing, earlier)
    time = torch.arange(frames, device=device)
    inside = (time > 0) & (time < length[:, None] - 1)
    seen = ~(missing & ~too_long & inside)
    return tracks | {"xy": bridge_batch(xy, seen), "seen": seen}


def bridge_batch(xy: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """xy (B, T, 2) with straight lines through the frames that are not `seen` (B, T); their ends must be."""
    frames = xy.shape[1]
    time = torch.arange(frames, device=xy.device).expand(len(xy), frames)
    before = torch.where(seen, time, 0).cummax(1).values
    after = torch.where(seen, time, frames - 1).flip(1).cummin(1).values.flip(1)
    part = ((time - before) / (after - before).clamp_min(1))[..., None]
    start, end = (xy.gather(1, i[..., None].expand_as(xy)) for i in (before, after))
    return torch.where(seen[..., None], xy, start + part * (end - start))


def _later(mask: torch.Tensor, frames: int) -> torch.Tensor:
    """A mask (B, T) moved to later frames."""
    return F.pad(mask, (frames, 0))[:, : mask.shape[1]]
