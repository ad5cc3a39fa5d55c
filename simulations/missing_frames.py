"""Remove frames from simulated tracks, as blinking and missed detections do in an experiment."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from simulations.parameters import LONGEST_GAP

GAPS_PER_FRAME = (0.006, 0.2)  # drawn for each track, uniformly in the logarithm
GAP_SHARES = (0.7, 0.2, 0.1)  # of gaps of 1, 2 and 3 frames


def with_gaps(tracks: dict, share: float, generator: torch.Generator) -> dict:
    """Remove frames from a share of padded tracks; each track has another rate of gaps.

    Parameters
    ----------
    tracks : dict
        xy (B, T, 2) and length (B,) of padded tracks; other entries are kept.
    share : float
        Share of tracks with missing frames.
    generator : torch.Generator
        On the device of the tracks.

    Returns
    -------
    dict
        As `tracks`, with xy on a straight line in the missing frames, and with `seen` (B, T), False in the missing
        frames. The first and the last frame of each track are always seen.
    """
    xy, length = tracks["xy"], tracks["length"]
    frames, device = xy.shape[1], xy.device
    low, high = torch.tensor(GAPS_PER_FRAME).log10()
    rate = 10 ** (low + (high - low) * torch.rand(len(xy), 1, generator=generator, device=device))
    rate = torch.where(torch.rand(rate.shape, generator=generator, device=device) < share, rate, 0.0)
    start = torch.rand(xy.shape[:2], generator=generator, device=device) < rate
    run = torch.multinomial(torch.tensor(GAP_SHARES, device=device), start.numel(), True, generator=generator)
    missing = start.clone()
    for more in range(1, LONGEST_GAP):
        missing |= _shift(start & (run.view_as(start) >= more), more)
    too_long = missing
    for earlier in range(1, LONGEST_GAP + 1):
        too_long = too_long & _shift(missing, earlier)
    time = torch.arange(frames, device=device)
    inside = (time > 0) & (time < length[:, None] - 1)
    seen = ~(missing & ~too_long & inside)
    return tracks | {"xy": bridge_batch(xy, seen), "seen": seen}


def bridge_batch(xy: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Replace positions that were not seen by points on a straight line between the neighbours that were seen.

    Parameters
    ----------
    xy : Tensor, shape (B, T, 2)
    seen : Tensor, shape (B, T), bool
        True at both ends of every gap.

    Returns
    -------
    Tensor, shape (B, T, 2)
    """
    frames = xy.shape[1]
    time = torch.arange(frames, device=xy.device).expand(len(xy), frames)
    before = torch.where(seen, time, 0).cummax(1).values
    after = torch.where(seen, time, frames - 1).flip(1).cummin(1).values.flip(1)
    part = ((time - before) / (after - before).clamp_min(1))[..., None]
    start, end = (xy.gather(1, i[..., None].expand_as(xy)) for i in (before, after))
    return torch.where(seen[..., None], xy, start + part * (end - start))


def _shift(mask: torch.Tensor, frames: int) -> torch.Tensor:
    """Move a mask (B, T) to later frames."""
    return F.pad(mask, (frames, 0))[:, : mask.shape[1]]
