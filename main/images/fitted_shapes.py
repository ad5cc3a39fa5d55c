"""Likelihood of D from positions and shapes of spots, where shapes are those that a fit finds in a blurred spot.

A round Gaussian that is fitted to a blurred spot does not have the variance of the path within the frame: where D is
large it follows the densest part. Here images of sampled paths are fitted without noise, at many ratios of D to the
squared width of the point spread function, and measured shapes are compared with these.
"""

from __future__ import annotations

import math
from functools import cache

import torch

from main.images.fit import FIRST_WIDTH_PX, SpotFit, fit_spots
from main.images.in_frame import (
    N_SUBSTEPS,
    PATH_SEED,
    SHAPE_RANGE_PX2,
    WRONG_SHAPES,
    filter_path,
)
from simulations.microscope import Molecules, render

N_PATHS = 512
FIRST_WIDTHS_PX = (FIRST_WIDTH_PX, 2.5)  # a narrow start ends in the densest part of a wide spot
LOG10_RATIO = (-1.0, 1.6, 14)  # first, last and number of log10 of D times exposure over the squared width
PHOTONS, BACKGROUND = 1000.0, 5.0  # of the images that are fitted; their ratio weighs core against flank
WINDOW_PX = 21
SMOOTHING = (
    0.08  # of shapes, in units of D times exposure / 3: between the sampled paths; chosen on sets of seeds 701-705
)
ERROR_POWER = 1.25  # errors of squared widths grow with the squared width to this power: 1 by the light of the spot
# alone, 1.5 where the background prevails
N_MOMENTS = 3  # of fitted position and end, each even and odd
SEQUENCES_AT_ONCE = 25  # so that memory stays small


@cache
def fit_sampled_paths(device: str = "cpu") -> torch.Tensor:
    """Fit the images of sampled paths, which takes some seconds once.

    Returns
    -------
    torch.Tensor, shape (Q, 8, M)
        At Q ratios of D to the squared width, in units of D times exposure: spread and anisotropy of the fitted spot,
        and of the products position-position, position-end and end-end the half sum and half difference along and
        across its longest axis; both relative to the beginning of the frame.
    """
    generator = torch.Generator().manual_seed(PATH_SEED)
    steps = torch.randn(N_PATHS, N_SUBSTEPS, 2, generator=generator) * math.sqrt(2 / N_SUBSTEPS)
    path, end = steps.cumsum(1) - steps / 2, steps.sum(1)
    return torch.stack([_fit_paths(path, end, 10**r) for r in torch.linspace(*LOG10_RATIO).tolist()]).to(device)


def _fit_paths(path: torch.Tensor, end: torch.Tensor, d: float) -> torch.Tensor:
    """Fit paths (M, S, 2) of D times exposure = 1, scaled to d px^2/frame, with a spot width of 1 px; (8, M)."""
    one = torch.ones(len(path))
    light = Molecules(
        d=d * one,
        photons=PHOTONS * one[:, None],
        background=one,
        psf_sigma=one,
        exposure=one,
        gain=one,
        offset=one,
        read_noise=one,
        pixel_size=1.0,
        frame_interval=1.0,
    )
    scale = math.sqrt(d)
    pixel = (path.mean(1) * scale).round()
    images = render((path * scale - pixel[:, None])[:, None], light, WINDOW_PX)[:, 0] + BACKGROUND
    fit = fit_spots(images, 0.0, 1.0, FIRST_WIDTHS_PX)
    angle = torch.atan2(fit.shear, fit.elongation) / 2
    along = torch.stack([angle.cos(), angle.sin()], -1)
    axes = torch.stack([along, along.flip(-1) * torch.tensor([-1.0, 1.0])], 1)  # (M, along and across, 2)
    position, end = (
        torch.einsum("mak,mk->ma", axes, v) for v in (torch.stack([fit.x, fit.y], -1) + pixel, end * scale)
    )
    parts = [fit.width**2 - 1, torch.hypot(fit.elongation, fit.shear)]
    for product in (position**2, position * end, end**2):
        parts += [product.mean(1), (product[:, 0] - product[:, 1]) / 2]
    return torch.stack(parts) / d


def fitted_log_likelihood(
    position: torch.Tensor,
    fit: SpotFit,
    seen: torch.Tensor,
    shaped: torch.Tensor,
    exposure: torch.Tensor,
    psf_px: torch.Tensor,
    d: torch.Tensor,
) -> torch.Tensor:
    """Log-likelihood of D from fitted spots.

    Parameters
    ----------
    position : torch.Tensor, shape (B, F, 2)
        px.
    fit : SpotFit
        Of (B, F), from `FIRST_WIDTHS_PX`.
    seen, shaped : torch.Tensor of bool, shape (B, F)
        Spots whose position counts, and whose shape does.
    exposure, psf_px : torch.Tensor, shape (B,)
        Share of the frame interval; width of the point spread function, px.
    d : torch.Tensor, shape (B, G)
        px^2/frame.

    Returns
    -------
    torch.Tensor, shape (B, G)
    """
    blurred = d * exposure[:, None]
    shapes = _interpolate(blurred, psf_px)
    width2 = fit.width**2
    measured = [width2 - psf_px[:, None] ** 2, torch.hypot(fit.elongation, fit.shear)]
    measured += [2 * fit.width * fit.width_err, fit.elongation_err]
    measured = [torch.where(seen, value, 1.0) for value in measured]
    direction = torch.atan2(fit.shear, fit.elongation)  # twice the angle of the longest axis
    expected = psf_px[:, None, None] ** 2 + shapes[0]  # (B, G, M)
    noise = torch.where(seen, (fit.x_err**2 + fit.y_err**2) / 2, 1.0)[..., None].expand(-1, -1, d.shape[1])

    def weigh(t):
        growth = (expected / width2[:, t, None, None]).clamp(0.2, 5) ** ERROR_POWER
        return _weigh(shapes, blurred, growth, shaped[:, t], direction[:, t], *(value[:, t] for value in measured))

    return filter_path(position, noise, seen, exposure, d, weigh)


def _interpolate(blurred: torch.Tensor, psf_px: torch.Tensor) -> list[torch.Tensor]:
    """What `fit_sampled_paths` gives at D times exposure (B, G), in px^2; eight tensors (B, G, M)."""
    table = fit_sampled_paths(str(blurred.device))
    first, last, n = LOG10_RATIO
    place = ((blurred / psf_px[:, None] ** 2).log10() - first) / (last - first) * (n - 1)
    place = place.clamp(0, n - 1.001)
    low = place.floor().long()
    share = (place - low)[..., None]
    scale = blurred[..., None]
    return [scale * (table[low, i] * (1 - share) + table[low + 1, i] * share) for i in range(table.shape[1])]


def _weigh(shapes, blurred, growth, shaped, direction, spread, anisotropy, spread_err, shape_err):
    """Evidence and moments of one frame, as `main.images.in_frame.weigh_shapes` returns them."""
    smoothing = (SMOOTHING * blurred[..., None] / 3) ** 2
    spread_err = ((spread_err[:, None, None] * growth) ** 2 + smoothing).sqrt()
    shape_err = ((shape_err[:, None, None] * growth) ** 2 + smoothing).sqrt()
    z = (spread[:, None, None] - shapes[0]) / spread_err
    r, rho = shapes[1] / shape_err, anisotropy[:, None, None] / shape_err
    even = torch.special.i0e(r * rho)
    log_density = -(z**2) / 2 - (r - rho) ** 2 / 2 + even.log() - spread_err.log() - 2 * shape_err.log()
    log_density = torch.where(shaped[:, None, None], log_density - 1.5 * math.log(2 * math.pi), 0.0)
    evidence = torch.logsumexp(log_density, dim=-1) - math.log(N_PATHS)
    nothing = math.log(WRONG_SHAPES) - 3 * math.log(SHAPE_RANGE_PX2)
    evidence = torch.logaddexp(evidence + math.log(1 - WRONG_SHAPES), torch.full_like(evidence, nothing))
    evidence = torch.where(shaped[:, None], evidence, 0.0)
    weight = torch.softmax(log_density, dim=-1)
    aligned = torch.where(shaped[:, None, None], weight * torch.special.i1e(r * rho) / even, 0.0)
    turn = torch.stack([direction.cos(), direction.sin(), direction.sin(), -direction.cos()], -1).view(-1, 1, 2, 2)
    eye = torch.eye(2, device=blurred.device)
    moments = []
    for i in range(N_MOMENTS):
        same, other = (weight * shapes[2 + 2 * i]).sum(-1), (aligned * shapes[3 + 2 * i]).sum(-1)
        moments.append(same[..., None, None] * eye + other[..., None, None] * turn)
    return evidence, moments
