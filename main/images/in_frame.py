"""Likelihood of D from positions together with the shape of the blurred spot in every frame.

How a molecule moved within a frame shows in the variances of its spot, and tells how far the mean position is from
where the frame began and ended. Both are taken into account: the probability of the measured shape is a mean over
sampled paths, and the path from frame to frame is filtered with the covariances that these shapes leave.
"""

from __future__ import annotations

import math
from functools import cache

import torch

from main.images.likelihood import accept_outliers

N_PATHS = 256  # sampled within a frame
N_SUBSTEPS = 64
PATH_SEED = 1
SHAPE_SMOOTHING = (
    0.12  # of measured shapes, in units of D times exposure / 3: between the sampled paths, and for misfit
)
ROUND_FIT_EXCESS = 0.13  # measured with 300 and 1,000 photons, D of 1, 5 and 10 px^2/frame
WRONG_SHAPES, SHAPE_RANGE_PX2 = 0.02, 30.0  # share of spots whose shape says nothing, and where they may then lie


@cache
def sample_shapes(device: str = "cpu", n_paths: int = N_PATHS) -> dict[str, torch.Tensor]:
    """Sample paths of a frame with D times exposure = 1, each turned so that it is widest along the first axis.

    Returns
    -------
    dict
        spread and anisotropy (M,): half the sum and half the difference of the variances along the principal axes; and,
        along each of these axes, (M, 2): mean_mean, mean_end, end_end, products of the mean position (of the frame) and
        the position at its end, both relative to its beginning.
    """
    generator = torch.Generator().manual_seed(PATH_SEED)
    steps = torch.randn(n_paths, N_SUBSTEPS, 2, generator=generator, dtype=torch.float64) * math.sqrt(2 / N_SUBSTEPS)
    path = steps.cumsum(1) - steps / 2  # middles of the sub-intervals
    end, mean = steps.sum(1), path.mean(1)
    off = path - mean[:, None]
    covariance = off.mT @ off / N_SUBSTEPS + torch.eye(2, dtype=torch.float64) / (3 * N_SUBSTEPS)
    values, axes = torch.linalg.eigh(covariance)  # ascending
    values, axes = values.flip(-1), axes.flip(-1)
    mean, end = (torch.einsum("md,mda->ma", vector, axes) for vector in (mean, end))
    shapes = {
        "spread": values.mean(1),
        "anisotropy": (values[:, 0] - values[:, 1]) / 2,
        "mean_mean": mean**2,
        "mean_end": mean * end,
        "end_end": end**2,
    }
    return {name: value.float().to(device) for name, value in shapes.items()}


def in_frame_log_likelihood(
    position,
    error,
    spread,
    spread_err,
    elongation,
    shear,
    shape_err,
    exposure,
    psf_px,
    d,
    n_paths=N_PATHS,
    smoothing=SHAPE_SMOOTHING,
):
    """Log-likelihood of D from positions and shapes of the spots of all frames.

    Parameters
    ----------
    position : torch.Tensor, shape (B, F, 2)
        Mean positions, px.
    error : torch.Tensor, shape (B, F)
        Their standard error per coordinate, px; infinite where there is no spot.
    spread, elongation, shear : torch.Tensor, shape (B, F)
        Mean of the variances of the position along x and y, half their difference, and their covariance, px^2.
    spread_err, shape_err : torch.Tensor, shape (B, F)
        Standard errors of the first, and of the other two, px^2.
    exposure, psf_px : torch.Tensor, shape (B,)
        Share of the frame interval; width of the point spread function, px.
    d : torch.Tensor, shape (G,) or (B, G)
        px^2/frame.
    n_paths : int
        Paths that are sampled within a frame.
    smoothing : float
        Of shapes, in units of D times exposure / 3.

    Returns
    -------
    torch.Tensor, shape (B, G)
    """
    d = d.expand(len(position), d.shape[-1])
    blurred = d * exposure[:, None]  # (B, G)
    seen = torch.isfinite(error)
    noise = torch.where(seen, error, 1.0)[..., None] ** 2 + round_fit_variance(blurred, psf_px)[:, None]  # (B, F, G)
    measured = [torch.where(seen, v, 1.0) for v in (spread, elongation, shear, spread_err, shape_err)]
    return filter_path(
        position,
        noise,
        seen,
        exposure,
        d,
        lambda t: weigh_shapes(blurred, *(v[:, t] for v in measured), n_paths, smoothing),
    )


def filter_path(position, noise, seen, exposure, d, weigh) -> torch.Tensor:
    """Log-likelihood of D from positions and, of every frame, what is known of the path within it; a Kalman filter.

    Parameters
    ----------
    position : torch.Tensor, shape (B, F, 2)
    noise : torch.Tensor, shape (B, F, G)
        Variance of the measured position, px^2.
    seen : torch.Tensor of bool, shape (B, F)
    exposure : torch.Tensor, shape (B,)
    d : torch.Tensor, shape (B, G)
    weigh : callable
        Number of a frame to evidence and moments, as `weigh_shapes` returns them.

    Returns
    -------
    torch.Tensor, shape (B, G)
    """
    b, f, _ = position.shape
    blurred = d * exposure[:, None]
    position = torch.where(seen[..., None], position, 0.0)
    mean, variance = torch.zeros(*d.shape, 2, device=d.device), torch.zeros(*d.shape, 2, 2, device=d.device)
    total, started = torch.zeros_like(d), torch.zeros(b, 1, dtype=torch.bool, device=d.device)
    eye = torch.eye(2, device=d.device)
    dark = (2 * d * (1 - exposure[:, None]))[..., None, None] * eye
    for t in range(f):
        here = seen[:, t, None]
        evidence, (mm, me, ee) = weigh(t)
        innovation = variance + mm + noise[:, t, :, None, None] * eye
        inverse, log_determinant = _invert(innovation)
        miss = position[:, t, None] - mean
        terms = -0.5 * torch.einsum("bgi,bgij,bgj->bg", miss, inverse, miss) - log_determinant / 2
        terms, right = accept_outliers(terms - math.log(2 * math.pi))
        total = total + torch.where(here, evidence, 0.0) + torch.where(here & started, terms, 0.0)
        shared = variance + me
        gain = torch.where(here[..., None, None], right[..., None, None] * (shared @ inverse), 0.0)
        first = here & ~started
        mean = torch.where(first[..., None], position[:, t, None], mean + torch.einsum("bgij,bgj->bgi", gain, miss))
        moved = torch.where(here[..., None, None], ee, 2 * blurred[..., None, None] * eye) + dark
        begun = noise[:, t, :, None, None] * eye + mm + moved - 2 * me
        variance = torch.where(first[..., None, None], begun, variance + moved - gain @ shared.mT)
        started = started | here
    return total


def round_fit_variance(blurred: torch.Tensor, psf_px: torch.Tensor) -> torch.Tensor:
    """Variance of the fitted position around the mean one, because a blurred spot is no Gaussian; (B, G), px^2."""
    spread = blurred / 3
    ratio = spread / psf_px[:, None] ** 2
    return ROUND_FIT_EXCESS * spread * (ratio / (1 + ratio)) ** 2


def weigh_shapes(blurred, spread, elongation, shear, spread_err, shape_err, n_paths=N_PATHS, smoothing=SHAPE_SMOOTHING):
    """Probability of the shape of the spots of one frame, and what it tells of mean and end of the path within it.

    The direction of the largest spread is integrated over: with the measured elongation and shear, of error e and size
    rho, it has the density exp(r rho cos / e^2), r the anisotropy of the path.

    Parameters
    ----------
    blurred : torch.Tensor, shape (B, G)
        D times exposure, px^2/frame.
    spread, elongation, shear, spread_err, shape_err : torch.Tensor, shape (B,)
    n_paths, smoothing
        As for `in_frame_log_likelihood`.

    Returns
    -------
    evidence : torch.Tensor, shape (B, G)
        Log-probability density.
    moments : three tensors, shape (B, G, 2, 2)
        Second moments of mean and mean, mean and end, end and end, relative to the beginning of the frame, px^2.
    """
    shapes = sample_shapes(str(blurred.device), n_paths)
    scale = blurred[..., None]  # (B, G, 1)
    smoothing = (smoothing * scale / 3) ** 2
    spread_err = (spread_err[:, None, None] ** 2 + smoothing).sqrt()
    shape_err = (shape_err[:, None, None] ** 2 + smoothing).sqrt()
    z = (spread[:, None, None] - scale * shapes["spread"]) / spread_err
    r = scale * shapes["anisotropy"] / shape_err
    rho = torch.hypot(elongation, shear)[:, None, None] / shape_err
    argument = r * rho
    log_weight = -(z**2) / 2 - (r - rho) ** 2 / 2 + torch.special.i0e(argument).log()
    volume = spread_err.log() + 2 * shape_err.log() + 1.5 * math.log(2 * math.pi)
    evidence = torch.logsumexp(log_weight, dim=-1) - math.log(n_paths) - volume[..., 0]
    nothing = torch.full_like(evidence, math.log(WRONG_SHAPES) - 3 * math.log(SHAPE_RANGE_PX2))
    evidence = torch.logaddexp(evidence + math.log(1 - WRONG_SHAPES), nothing)
    weight = torch.softmax(log_weight, dim=-1)
    aligned = weight * torch.special.i1e(argument) / torch.special.i0e(argument)
    angle = torch.atan2(shear, elongation)  # twice that of the largest spread
    turn = torch.stack([torch.cos(angle), torch.sin(angle), torch.sin(angle), -torch.cos(angle)], -1).view(-1, 1, 2, 2)
    eye = torch.eye(2, device=blurred.device)
    moments = []
    for name in ("mean_mean", "mean_end", "end_end"):
        along, across = shapes[name].unbind(-1)
        even, odd = weight @ ((along + across) / 2), aligned @ ((along - across) / 2)  # (B, G)
        moments.append(blurred[..., None, None] * (even[..., None, None] * eye + odd[..., None, None] * turn))
    return evidence, moments


def _invert(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Inverse and log-determinant of symmetric 2x2 matrices, (..., 2, 2) and (...)."""
    a, b, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]
    determinant = (a * d - b * b).clamp(min=1e-20)
    adjugate = torch.stack([d, -b, -b, a], dim=-1).view(*matrix.shape)
    return adjugate / determinant[..., None, None], determinant.log()
