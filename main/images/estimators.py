"""Estimators of D beside the networks, all on the same images: classical ones, posteriors, and what could be known.

Each gives log10 D, px^2/frame, of every sequence, and where it has one its standard error. D below the range of
`main.images.likelihood.make_grid` counts as its lower end, for all.
"""

from __future__ import annotations

import numpy as np
import torch

from main.images.detect import cut_windows, detect
from main.images.features import MIN_SHAPE_SIGNIFICANCE, make_fine_grid, measure_windows
from main.images.fit import SpotFit, fit_spots
from main.images.fitted_shapes import FIRST_WIDTHS_PX, SEQUENCES_AT_ONCE, fitted_log_likelihood
from main.images.in_frame import in_frame_log_likelihood
from main.images.likelihood import LOG10_D, make_grid, path_log_likelihood, summarize_posterior
from main.utils.estimators import cve, mle, msd

WINDOW_PX = 21
MSD_LAGS = 4  # of the line through the mean squared displacement
NO_ERROR_PX, NO_ERROR_PX2 = 1e-3, 1e-7  # of what is known, in place of 0
KNOWN_PATHS, KNOWN_SMOOTHING = 2048, 0.08  # of known scatter; see `in_frame_log_likelihood`
WIDE_PSF_PX = 1e3  # so that positions that are known have no error of a fit
BLUR_OF_EXPOSURE = 1 / 6  # motion blur coefficient R over the share of the frame interval; Berglund (2010)
CLASSICAL = ("msd_origin", "msd_line", "cve", "mle")
POSTERIORS = ("path", "path_spread", "path_shape", "path_fitted")
FITTED_POINTS, FITTED_SD = 17, 4.0  # grid around the posterior of path and shape
LADDER = ("known_positions", "known_scatter", "known_subpositions")


def find_windows(part: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Find the molecule in full fields and cut windows around it, for `measure_windows`.

    Parameters
    ----------
    part : dict
        Sequences as from `simulations.image_sets.make_part`; camera and spot width are taken as known.

    Returns
    -------
    dict
        The same with windows as images, their centre, and psf_px.
    """
    place = detect(part["images"])
    side = torch.tensor(part["images"].shape[:-3:-1], device=place.device)
    cut = {"images": cut_windows(part["images"], place, WINDOW_PX), "centre": place - (side - 1) / 2}
    return part | cut | {"psf_px": part["psf_sigma"] / part["pixel_size"]}


def estimate_all(part: dict[str, torch.Tensor], measured: dict | None = None) -> dict[str, torch.Tensor]:
    """Estimate D by every method on the same sequences.

    Parameters
    ----------
    part : dict
        Sequences as from `simulations.image_sets.make_part`.
    measured : dict, optional
        What `measure_windows` gives for the windows of them.

    Returns
    -------
    dict
        Name in `CLASSICAL`, `POSTERIORS` and `LADDER` to (B, 2): log10 D, px^2/frame, and its standard error, nan where
        the method has none.
    """
    told = find_windows(part)
    measured = measure_windows(told) if measured is None else measured
    found = estimate_from_positions(measured["position"], measured["error"], part["exposure"])
    names = ("posterior_path", "posterior", "posterior_shape")
    found |= {name: measured[key] for name, key in zip(POSTERIORS, names, strict=False)}
    found["path_fitted"] = estimate_fitted(told, measured)
    return found | estimate_from_truth(part)


def estimate_from_positions(
    position: torch.Tensor, error: torch.Tensor, exposure: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Estimate D by the classical methods; missing positions are interpolated, but for `msd_origin`.

    Parameters
    ----------
    position : torch.Tensor, shape (B, F, 2)
        px.
    error : torch.Tensor, shape (B, F)
        px; infinite where there is no position.
    exposure : torch.Tensor, shape (B,)
        Share of the frame interval.

    Returns
    -------
    dict
        As `estimate_all`, of the names `CLASSICAL`.
    """
    seen = torch.isfinite(error).cpu().numpy()
    xy = fill_gaps(position.double().cpu().numpy(), seen)
    share = exposure.double().cpu().numpy()
    squares = np.where(seen, error.double().cpu().numpy(), 0.0) ** 2
    sigma = np.sqrt(squares.sum(1) / np.maximum(seen.sum(1), 1))
    lags = np.arange(1, MSD_LAGS + 1)
    slope = ((lags - lags.mean()) * msd(xy, MSD_LAGS)).sum(1) / ((lags - lags.mean()) ** 2).sum()
    likely = np.empty(len(xy))
    for value in np.unique(share):
        rows = share == value
        likely[rows] = mle(xy[rows], sigma[rows], value * BLUR_OF_EXPOSURE)
    d = {"msd_origin": fit_through_origin(xy, seen), "msd_line": slope / 4, "cve": cve(xy), "mle": likely}
    return {name: _without_error(value, position) for name, value in d.items()}


def _without_error(d: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    mean = torch.as_tensor(np.log10(np.maximum(d, 10 ** LOG10_D[0])), dtype=like.dtype, device=like.device)
    return torch.stack([mean, torch.full_like(mean, torch.nan)], dim=1)


def fill_gaps(xy: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Interpolate missing positions (B, F, 2) over time; those of a sequence without any are 0."""
    filled = np.where(seen[..., None], xy, 0.0)
    frames = np.arange(xy.shape[1])
    for i in np.flatnonzero(~seen.all(1) & seen.any(1)):
        for axis in range(2):
            filled[i, :, axis] = np.interp(frames, frames[seen[i]], xy[i, seen[i], axis])
    return filled


def fit_through_origin(xy: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Estimate D as the original method does: a line through the origin and the MSD at all lags.

    Parameters
    ----------
    xy : numpy.ndarray, shape (B, F, 2)
        px.
    seen : numpy.ndarray of bool, shape (B, F)
        Only pairs of these positions count.

    Returns
    -------
    numpy.ndarray, shape (B,)
        px^2/frame; 0 without two positions.
    """
    top, bottom = np.zeros(len(xy)), np.zeros(len(xy))
    for lag in range(1, xy.shape[1]):
        both = seen[:, lag:] & seen[:, :-lag]
        n = both.sum(1)
        square = (((xy[:, lag:] - xy[:, :-lag]) ** 2).sum(-1) * both).sum(1) / np.maximum(n, 1)
        top += lag * square
        bottom += lag**2 * (n > 0)
    return top / np.maximum(bottom, 1) / 4


def estimate_from_truth(part: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Estimate D from what images could tell at best: the ladder of information.

    Returns
    -------
    dict
        As `estimate_all`: known_positions, mean positions of all frames; known_scatter, these and the covariance of the
        position within each frame; known_subpositions, ten positions of each frame (of an exposure of 1).
    """
    position, exposure, scatter = part["position"], part["exposure"], part["scatter"]
    known = torch.full(position.shape[:2], NO_ERROR_PX, device=position.device)
    grid = make_grid(position.device)
    first = summarize(path_log_likelihood(position, known, exposure, 10**grid), grid)
    x, y, xy = scatter.unbind(-1)
    exact = torch.full_like(x, NO_ERROR_PX2)
    fine = make_fine_grid(*first.unbind(-1))
    wide = torch.full_like(exposure, WIDE_PSF_PX)
    given = (position, known, (x + y) / 2, exact, (x - y) / 2, xy, exact, exposure, wide, 10**fine)
    cut = zip(*(value.split(SEQUENCES_AT_ONCE) for value in given), strict=True)
    shaped = torch.cat([in_frame_log_likelihood(*some, KNOWN_PATHS, KNOWN_SMOOTHING) for some in cut])
    parts = part["subpositions"].flatten(1, 2)
    n = part["subpositions"].shape[2]
    error = torch.full(parts.shape[:2], NO_ERROR_PX, device=position.device)
    open_always = torch.ones_like(exposure)
    steps = summarize(path_log_likelihood(parts, error, open_always, 10**grid / n), grid)
    fine_steps = make_fine_grid(*steps.unbind(-1))
    steps = summarize(path_log_likelihood(parts, error, open_always, 10**fine_steps / n), fine_steps)
    values = (first, summarize(shaped, fine), steps)
    return dict(zip(LADDER, values, strict=True))


def summarize(log_likelihood: torch.Tensor, log10_d: torch.Tensor) -> torch.Tensor:
    """Mean and standard deviation of log10 D, (B, 2); see `summarize_posterior`."""
    return torch.stack(summarize_posterior(log_likelihood, log10_d), dim=-1)


def estimate_fitted(told: dict[str, torch.Tensor], measured: dict) -> torch.Tensor:
    """Estimate D from path and shape, with the shapes that a fit finds in blurred spots; see `fitted_shapes`.

    Parameters
    ----------
    told : dict
        As `find_windows` returns.
    measured : dict
        What `measure_windows` gives for it.

    Returns
    -------
    torch.Tensor, shape (B, 2)
        Mean and standard deviation of log10 D, px^2/frame.
    """
    fit, seen, position = refit(told, measured)
    shaped = seen & (fit.photons > MIN_SHAPE_SIGNIFICANCE * fit.photons_err)
    fine = make_fine_grid(*measured["posterior_shape"].unbind(-1), FITTED_POINTS, FITTED_SD)
    values = []
    for first in range(0, len(seen), SEQUENCES_AT_ONCE):
        rows = slice(first, first + SEQUENCES_AT_ONCE)
        parts = position[rows], fit.take(rows), seen[rows], shaped[rows], told["exposure"][rows], told["psf_px"][rows]
        values.append(fitted_log_likelihood(*parts, 10 ** fine[rows]))
    return summarize(torch.cat(values), fine)


def refit(told: dict[str, torch.Tensor], measured: dict) -> tuple[SpotFit, torch.Tensor, torch.Tensor]:
    """Fit spots again, also from a wide start, as wide spots need it.

    Returns
    -------
    fit : SpotFit
        Of (B, F).
    seen : torch.Tensor of bool, shape (B, F)
    position : torch.Tensor, shape (B, F, 2)
        px.
    """
    b, f = measured["seen"].shape
    noise = [told[name].repeat_interleave(f) for name in ("read_noise", "excess")]
    fit = fit_spots(measured["photons"].flatten(0, 1), noise[0] ** 2, noise[1], FIRST_WIDTHS_PX).reshape(b, f)
    seen = fit.trusted(measured["photons"].shape[-1] / 2)
    return fit, seen, told["centre"] + torch.stack([fit.x, fit.y], dim=-1)
