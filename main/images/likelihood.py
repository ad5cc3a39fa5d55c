"""Likelihood of the diffusion coefficient from the positions of a molecule and from the spread of its spot."""

from __future__ import annotations

import math

import torch

LOG10_D = (
    -3.7,
    1.7,
)  # range of the grid, log10 of um^2/s at pixels of 0.1 um and frames of 10 ms, and as many px^2/frame
N_GRID = 64  # points of the grid of log10 D; .086 apart, a quarter of the standard error of 16 frames without noise
# Spread of a Brownian path around its mean within a frame: its modes have variances 1 / (pi k)^2, so that the mean of
# the variances along x and y has the squared coefficient of variation sum k^-4 / (sum k^-2)^2 = 0.4.
SPREAD_CV2 = 0.4
WRONG_POSITIONS, POSITION_RANGE_PX = 0.01, 20.0  # share of positions that are not of the molecule; where they lie


def make_grid(device="cpu") -> torch.Tensor:
    """Return the grid of log10 D, (G,), px^2/frame."""
    return torch.linspace(*LOG10_D, N_GRID, device=device)


def path_log_likelihood(
    position: torch.Tensor, error: torch.Tensor, exposure: torch.Tensor, d: torch.Tensor
) -> torch.Tensor:
    """Log-likelihood of D from measured mean positions, exact for Brownian motion with blur, errors and missing frames.

    A Kalman filter over the position at the beginning of each frame. The mean position over the exposure s is that
    position plus a with variance 2 D s / 3, and the displacement until the next frame has covariance D s with a.

    Parameters
    ----------
    position : torch.Tensor, shape (B, F, 2)
        px.
    error : torch.Tensor, shape (B, F)
        Standard error per coordinate, px; infinite where there is no position.
    exposure : torch.Tensor, shape (B,)
        Share of the frame interval.
    d : torch.Tensor, shape (G,) or (B, G)
        px^2/frame.

    Returns
    -------
    torch.Tensor, shape (B, G)

    Source: Relich, Olah, Cutler and Lidke, Phys. Rev. E 93 (2016) 042401.
    """
    b, f, _ = position.shape
    d = d.expand(b, d.shape[-1])
    blurred = d * exposure[:, None]
    mean = torch.zeros(b, d.shape[1], 2, dtype=position.dtype, device=position.device)
    variance = torch.zeros_like(d)
    total = torch.zeros_like(d)
    started = torch.zeros(b, 1, dtype=torch.bool, device=position.device)
    for t in range(f):
        seen = torch.isfinite(error[:, t, None])
        noise = torch.where(seen, error[:, t, None], 1.0) ** 2
        spread = variance + 2 * blurred / 3 + noise
        miss = torch.where(seen, position[:, t], 0.0)[:, None] - mean
        terms, right = accept_outliers(-(miss**2).sum(-1) / (2 * spread) - spread.log() - math.log(2 * math.pi))
        total = total + torch.where(seen & started, terms, 0.0)
        shared = variance + blurred
        gain = torch.where(seen, right * shared / spread, 0.0)
        first = seen & ~started  # nothing is known of the position before
        mean = torch.where(first[..., None], position[:, t, None], mean + gain[..., None] * miss)
        variance = torch.where(first, 2 * d - 4 * blurred / 3 + noise, variance + 2 * d - gain * shared)
        started = started | seen
    return total


def accept_outliers(log_density: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Allow for positions that are not of the molecule.

    Parameters
    ----------
    log_density : torch.Tensor
        Of a position (2-D), given that it is right.

    Returns
    -------
    log_density : torch.Tensor
        With a share `WRONG_POSITIONS` of positions anywhere within `POSITION_RANGE_PX`.
    right : torch.Tensor
        Probability that the position is right.
    """
    good = log_density + math.log(1 - WRONG_POSITIONS)
    bad = torch.full_like(good, math.log(WRONG_POSITIONS) - 2 * math.log(POSITION_RANGE_PX))
    both = torch.logaddexp(good, bad)
    return both, (good - both).exp()


def spread_log_likelihood(
    spread: torch.Tensor, error: torch.Tensor, exposure: torch.Tensor, d: torch.Tensor, mean_factor: float = 1.0
) -> torch.Tensor:
    """Log-likelihood of D from one measured component of the spread of the spot, taken as normal in every frame.

    Parameters
    ----------
    spread : torch.Tensor, shape (B, F)
        The mean of the variances along x and y less that of the point spread function, or half their difference, or
        their covariance; px^2.
    error : torch.Tensor, shape (B, F)
        Standard error, px^2; infinite where there is no spot.
    exposure : torch.Tensor, shape (B,)
    d : torch.Tensor, shape (G,)
        px^2/frame.
    mean_factor : float
        1 for the mean of the variances, 0 for the others, whose mean is 0.

    Returns
    -------
    torch.Tensor, shape (B, G)
    """
    expected = (d * exposure[:, None] / 3)[:, None]  # (B, 1, G)
    seen = torch.isfinite(error)[..., None]
    variance = SPREAD_CV2 * expected**2 + torch.where(seen, error[..., None], 1.0) ** 2
    miss = torch.where(seen, spread[..., None], 0.0) - mean_factor * expected
    return torch.where(seen, -(miss**2) / (2 * variance) - variance.log() / 2, 0.0).sum(1)


def summarize_posterior(log_likelihood: torch.Tensor, log10_d: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of log10 D for a prior that is even in log10 D over the grid; (B,) each."""
    weight = torch.softmax(log_likelihood, dim=-1)
    mean = (weight * log10_d).sum(-1)
    return mean, (weight * (log10_d - mean[..., None]) ** 2).sum(-1).sqrt()
