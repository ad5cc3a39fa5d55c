"""Finds the molecule in every frame of a sequence, and cuts windows around it."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

FILTER_PX = (1.0, 2.0)  # widths of the matched filters: a spot at rest, and one that is blurred
N_CANDIDATES = 6  # spots of a frame that may be the molecule
MIN_DISTANCE_PX = 2  # between candidates
JUMP_PX, JUMP_PRICE = 2.0, 1.5  # scale of jumps between frames; price of a jump, in log-likelihood per log(1 + jump^2)
CENTRE_PRICE = (
    0.5  # of the squared distance from the centre of the field in units of a quarter of its side; see `detect`
)
# Log-likelihood from which on a spot is sure, and share of what is above that counts. Otherwise a brighter molecule
# that passes by is taken for the one of the sequence (real blocks; `two`, seed 4321: 49 % of frames lost, now 42 %).
SURE_EVIDENCE, MORE_EVIDENCE = 16.0, 0.02
LOWER_QUANTILE = 0.1587  # one standard deviation below the median of a normal distribution
EVERY = 4  # pixel of a sequence is enough to measure its background


def measure_background(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Median and standard deviation of the background of each sequence, (B,) each, camera counts.

    The standard deviation is taken from the lower half of the pixels, where there is no light of molecules.

    Parameters
    ----------
    images : torch.Tensor, shape (B, F, H, W)
    """
    flat = images.flatten(1)[:, ::EVERY]
    middle, low = torch.quantile(flat, torch.tensor([0.5, LOWER_QUANTILE], dtype=flat.dtype, device=flat.device), dim=1)
    return middle, (middle - low).clamp(min=1e-6)


def smooth(images: torch.Tensor, width: float) -> torch.Tensor:
    """Filter images (B, F, H, W) with a Gaussian of unit norm, so that white noise keeps its standard deviation."""
    reach = math.ceil(3 * width)
    x = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-(x**2) / (2 * width**2))
    kernel = kernel / kernel.norm()
    flat = images.flatten(0, 1)[:, None]
    flat = functional.conv2d(flat, kernel.view(1, 1, 1, -1), padding=(0, reach))
    return functional.conv2d(flat, kernel.view(1, 1, -1, 1), padding=(reach, 0)).view(images.shape)


def find_candidates(images: torch.Tensor, n: int = N_CANDIDATES) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the most significant spots of each frame.

    Parameters
    ----------
    images : torch.Tensor, shape (B, F, H, W)
        In units of the background's standard deviation, less its median.
    n : int

    Returns
    -------
    score : torch.Tensor, shape (B, F, n)
        Height after the better of the filters, standard deviations of the background; 0 where there is no spot.
    place : torch.Tensor, shape (B, F, n, 2)
        Column and row.
    """
    score = torch.maximum(*(smooth(images, width) for width in FILTER_PX))
    side = 2 * MIN_DISTANCE_PX + 1
    highest = functional.max_pool2d(score.flatten(0, 1)[:, None], side, 1, MIN_DISTANCE_PX).view(score.shape)
    peaks = torch.where(score == highest, score, 0.0).flatten(2)
    values, index = peaks.topk(n, dim=2)
    width = images.shape[-1]
    return values.clamp(min=0), torch.stack([index % width, index // width], dim=-1)


def detect(images: torch.Tensor) -> torch.Tensor:
    """Find the one molecule of each sequence in all its frames.

    Of all ways through the candidates of the frames the most likely is taken: bright spots, short jumps and, as
    sequences are
    cut around their molecule, near the centre of the field.

    Parameters
    ----------
    images : torch.Tensor, shape (B, F, H, W)
        Camera counts.

    Returns
    -------
    torch.Tensor of int64, shape (B, F, 2)
        Column and row in every frame.

    Source: dynamic programming (Viterbi, 1967).
    """
    middle, sd = measure_background(images)
    score, place = find_candidates((images - middle[:, None, None, None]) / sd[:, None, None, None])
    side = torch.tensor(images.shape[:-3:-1], device=images.device)
    off_centre = ((place - (side - 1) / 2) / (side / 4)).square().sum(-1)
    evidence = score**2 / 2
    likelihood = evidence.clamp(max=SURE_EVIDENCE) + MORE_EVIDENCE * evidence - CENTRE_PRICE * off_centre
    best, came_from = likelihood[:, 0], []
    for t in range(1, images.shape[1]):
        jump = (place[:, t, :, None] - place[:, t - 1, None, :]).square().sum(-1) / (2 * JUMP_PX**2)
        total = best[:, None, :] - JUMP_PRICE * torch.log1p(jump)
        value, previous = total.max(dim=2)
        came_from.append(previous)
        best = value + likelihood[:, t]
    chosen = [best.argmax(1)]
    for previous in reversed(came_from):
        chosen.append(previous.gather(1, chosen[-1][:, None])[:, 0])
    chosen = torch.stack(chosen[::-1], dim=1)
    return place.gather(2, chosen[..., None, None].expand(-1, -1, 1, 2))[:, :, 0]


def cut_windows(images: torch.Tensor, place: torch.Tensor, size: int) -> torch.Tensor:
    """Cut a window around a pixel of every frame; beyond the border the nearest pixel is repeated.

    Parameters
    ----------
    images : torch.Tensor, shape (B, F, H, W)
    place : torch.Tensor of int64, shape (B, F, 2)
        Column and row of the middle.
    size : int
        Odd side of the windows.

    Returns
    -------
    torch.Tensor, shape (B, F, size, size)
    """
    height, width = images.shape[-2:]
    off = torch.arange(size, device=images.device) - size // 2
    columns = (place[..., 0, None] + off).clamp(0, width - 1)
    rows = (place[..., 1, None] + off).clamp(0, height - 1)
    index = rows[..., :, None] * width + columns[..., None, :]
    return images.flatten(2).gather(2, index.flatten(2)).view(*place.shape[:2], size, size)
