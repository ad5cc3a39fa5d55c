"""What a network reads of image sequences: windows, fitted numbers, the posterior of D."""

from __future__ import annotations

import torch
from torch.nn import functional

from main.images.fit import SpotFit, fit_spots
from main.images.in_frame import in_frame_log_likelihood
from main.images.likelihood import LOG10_D, make_grid, path_log_likelihood, spread_log_likelihood, summarize_posterior

N_FRAME_FEATURES, N_FEATURES = 17, 11
MIN_POSTERIOR_SD = 0.03  # of log10 D
FINE_POINTS, FINE_SD = 13, 3.0  # grid around a posterior mean: points; where it ends, in standard deviations
MIN_SHAPE_SIGNIFICANCE = 8.0  # photons over their error of spots whose shape is used; chosen on sets of seed 12
NO_SHAPE_PX2 = 1e3  # error of a shape that says nothing
LIMIT = 8.0  # of features, so that a failed fit stays finite


def measure_windows(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Fit the spots of all windows, and find the posterior of D of each sequence.

    Parameters
    ----------
    batch : dict
        images (B, F, P, P), camera counts of windows; centre (B, F, 2), their middles, px; gain, offset, read_noise,
        excess, exposure (B,); psf_px (B,), width of the point spread function.

    Returns
    -------
    dict
        photons (B, F, P, P); fit, a `SpotFit` of (B, F); seen (B, F); position (B, F, 2), px; error (B, F), px; and
        mean and standard deviation of log10 D, px^2/frame, (B, 2) each: posterior_path; posterior, from path and
        spread; posterior_shape, from path and shape within frames.
    """
    images = batch["images"]
    photons, fit = fit_windows(batch)
    seen = fit.trusted(images.shape[-1] / 2)
    position = batch["centre"] + torch.stack([fit.x, fit.y], dim=-1)
    nothing = torch.tensor(torch.inf, device=images.device)
    error = torch.where(seen, ((fit.x_err**2 + fit.y_err**2) / 2).sqrt(), nothing)
    grid = make_grid(images.device)
    path = path_log_likelihood(position, error, batch["exposure"], 10**grid)
    spread, spread_err = measure_spread(fit, batch["psf_px"])
    spread_err = torch.where(seen, spread_err, nothing)
    both = path + spread_log_likelihood(spread, spread_err, batch["exposure"], 10**grid)
    posterior = torch.stack(summarize_posterior(both, grid), dim=-1)
    shaped = seen & (fit.photons > MIN_SHAPE_SIGNIFICANCE * fit.photons_err)
    shape_err = torch.where(shaped, fit.elongation_err, NO_SHAPE_PX2)
    fine = make_fine_grid(*posterior.unbind(-1))
    in_frame = in_frame_log_likelihood(
        position,
        error,
        spread,
        torch.where(shaped, spread_err, NO_SHAPE_PX2),
        fit.elongation,
        fit.shear,
        shape_err,
        batch["exposure"],
        batch["psf_px"],
        10**fine,
    )
    return {
        "photons": photons,
        "fit": fit,
        "seen": seen,
        "position": position,
        "error": error,
        "posterior_path": torch.stack(summarize_posterior(path, grid), dim=-1),
        "posterior": posterior,
        "posterior_shape": torch.stack(summarize_posterior(in_frame, fine), dim=-1),
    }


def fit_windows(batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, SpotFit]:
    """Convert windows (B, F, P, P) to photons and fit their spots; the fit is of shape (B, F)."""
    images = batch["images"]
    b, f = images.shape[:2]
    photons = (images - batch["offset"][:, None, None, None]) / batch["gain"][:, None, None, None]
    noise = [batch[name].repeat_interleave(f) for name in ("read_noise", "excess")]
    return photons, fit_spots(photons.flatten(0, 1), noise[0] ** 2, noise[1]).reshape(b, f)


def make_fine_grid(mean: torch.Tensor, sd: torch.Tensor, n: int = FINE_POINTS, reach: float = FINE_SD) -> torch.Tensor:
    """Return a grid of log10 D around a posterior, within the range of `make_grid`; (B,) each to (B, n)."""
    reach = reach * sd.clamp(min=MIN_POSTERIOR_SD)
    low, high = (mean - reach).clamp(min=LOG10_D[0]), (mean + reach).clamp(max=LOG10_D[1])
    share = torch.linspace(0, 1, n, device=mean.device)
    return low[:, None] + (high - low)[:, None] * share


def measure_spread(fit: SpotFit, psf_px: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean variance of the position within each frame, along one axis, and its standard error; (B, F), px^2."""
    return fit.width**2 - psf_px[:, None] ** 2, 2 * fit.width * fit.width_err


def make_features(batch: dict[str, torch.Tensor], measured: dict | None = None) -> dict[str, torch.Tensor]:
    """Make the inputs of `main.models.images.blur_net.BlurNet`, in the order of its arguments.

    Parameters
    ----------
    batch : dict
        As for `measure_windows`.
    measured : dict, optional
        What `measure_windows` gives for it.
    """
    measured = measure_windows(batch) if measured is None else measured
    fit, seen, psf = measured["fit"], measured["seen"], batch["psf_px"][:, None]
    shift = 2 * batch["psf_px"].log10()
    posteriors = []
    for name in ("posterior", "posterior_path", "posterior_shape"):
        mean, sd = measured[name].unbind(-1)
        posteriors.append(torch.stack([mean - shift, sd.clamp(min=MIN_POSTERIOR_SD)], dim=-1))
    both, path, shape = posteriors
    background = fit.background.median(1).values
    read = batch["read_noise"] ** 2 / batch["excess"]
    light = fit.photons.median(1).values
    whole = [
        shape[:, 0],
        shape[:, 1].log(),
        _compress(5 * (both[:, 0] - shape[:, 0])),
        both[:, 1].log(),
        _compress(5 * (path[:, 0] - shape[:, 0])),
        path[:, 1].log(),
        (batch["psf_px"]).log(),
        light.clamp(min=1).log() - 6,
        (background + read + 0.1).log(),
        batch["exposure"],
        batch["excess"] - 1,
    ]
    return {
        "windows": scale_windows(measured["photons"], background, batch, light),
        "frame_features": describe_frames(fit, seen, measured["position"] / psf[..., None], psf),
        "features": torch.stack(whole, dim=-1).clamp(-LIMIT, LIMIT),
        "seen": seen,
        "posterior": shape,
    }


def describe_frames(fit: SpotFit, seen: torch.Tensor, position: torch.Tensor, psf: torch.Tensor) -> torch.Tensor:
    """Features of every frame, (B, F, N_FRAME_FEATURES); position is in units of the spot's width, psf (B, 1) in px."""
    step = functional.pad(position.diff(dim=1), (0, 0, 1, 0))
    following = functional.pad(position.diff(dim=1), (0, 0, 0, 1))
    known = seen & functional.pad(seen[:, :-1], (1, 0))
    known_next = seen & functional.pad(seen[:, 1:], (0, 1))
    step, following = step * known[..., None], following * known_next[..., None]
    length = step.norm(dim=-1)
    spread = (fit.width / psf) ** 2 - 1
    elongation, shear = fit.elongation / psf**2, fit.shear / psf**2
    chord = (step + following) / 2  # the way through this frame
    along = (chord[..., 0] ** 2 - chord[..., 1] ** 2) * elongation + 2 * chord.prod(dim=-1) * shear
    parts = [
        step[..., 0],
        step[..., 1],
        (length + 3e-3).log(),
        _compress((step * following).sum(-1)),
        _compress(spread),
        (2 * fit.width * fit.width_err / psf**2 + 1e-3).log(),
        _compress((elongation**2 + shear**2).sqrt()),
        (fit.elongation_err / psf**2 + 1e-3).log(),
        _compress(along / ((chord**2).sum(-1) + 0.01)),
        ((fit.x_err**2 + fit.y_err**2).sqrt() / psf + 1e-3).log(),
        (fit.photons / fit.photons.median(1, keepdim=True).values.clamp(min=1)).clamp(min=0.05).log(),
        (fit.photons / fit.photons_err).clamp(min=0.1).log(),
        (fit.width / psf).log(),
        elongation,
        shear,
        seen.float(),
        known.float(),
    ]
    return torch.nan_to_num(torch.stack(parts, dim=-1)).clamp(-LIMIT, LIMIT)


def scale_windows(photons: torch.Tensor, background: torch.Tensor, batch: dict, light: torch.Tensor) -> torch.Tensor:
    """Windows in units of the noise of the background, compressed, and relative to a spot of median light.

    Returns
    -------
    torch.Tensor, shape (B, F, 2, P, P)
    """
    noise = (batch["excess"] * background.clamp(min=0.05) + batch["read_noise"] ** 2).sqrt()
    above = photons - background[:, None, None, None]
    peak = light.clamp(min=20) / (2 * torch.pi * batch["psf_px"] ** 2)
    scaled = [above / noise[:, None, None, None], above / peak[:, None, None, None]]
    return torch.stack([torch.asinh(scaled[0]), scaled[1].clamp(-LIMIT, LIMIT)], dim=2)


def _compress(values: torch.Tensor) -> torch.Tensor:
    """Sign and logarithm of numbers of any size: small ones hardly change."""
    return torch.sign(values) * torch.log1p(3 * values.abs())
