"""From a movie of many molecules to a table of localisations linked to tracks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.optimize import brentq
from scipy.spatial import cKDTree
from torch.nn import functional

from main.images.camera import CameraEstimate, Estimate, estimate_camera
from main.images.detect import smooth
from main.images.fit import SpotFit, SpotModel, fit_spots
from main.images.linking import MAX_GAP, find_radius, link_spots
from main.images.psf import estimate_psf
from main.images.shot_noise import measure_slope
from main.images.tiff import Movie

FALSE_SPOTS = 0.01  # per 64 x 64 pixels and frame, of noise alone, for the detection; the fit discards most of them
FIELD_PX2 = 64 * 64
FIRST_PSF_PX = 1.2
BLUR = 1.6  # width of the second matched filter over that of the first, for molecules that move
TILE_PX = 16  # side of the squares in which the background is measured; it is interpolated between them
FRAMES_OF_BACKGROUND = 32  # over which it is averaged
MIN_WINDOW_PX, MAX_WINDOW_PX = 9, 17
WINDOW_PSFS = 4.0  # half side of a window, widths of the point spread function
NEIGHBOUR_ROUNDS = 2  # of fits with the light of neighbours taken off
SAME_SPOT_PSFS = 1.0  # two fits as near as that are one spot
BORDER_PSFS = 1.0  # a spot as near to the border is cut and its position is wrong; it is discarded
PILOT_FRAMES = 400  # from which camera and point spread function are estimated
PILOT_BYTES = 2**25
MAX_PILOT_SPOTS = 8_000
SURE_SCORE = 1.3  # significance over the threshold of spots from which the first width is taken
MIN_SIGNIFICANCE = 8.0  # photons over their error of spots that tell the gain
ELONGATED_ERRORS, MAX_ELONGATED, NARROW = 3.0, 0.12, 1.1  # see `find_slope`; D up to about .3 px^2/frame
SLOPE_ERROR = 0.03  # relative, systematic, besides the share of elongated spots; D .02 to .3, 300 and 600 photons
WIDE_RANGE = (0.5, 3.0)  # width of a spot over that of the point spread function; others are discarded


@dataclass(frozen=True)
class Camera:
    """What turns counts into photoelectrons: offset and gain (counts), read noise (photoelectrons), excess noise."""

    offset: float
    gain: float
    read_noise: float
    excess: float


@dataclass(frozen=True)
class Localisations:
    """Spots of a movie linked to tracks, and what was found out on the way.

    Parameters
    ----------
    table : pandas.DataFrame
        track_id, frame, x, y, x_err, y_err, width (standard deviation of the spot), photons, background (per pixel);
        lengths in px, (0, 0) is the middle of the first pixel.
    camera : Camera
    estimate : CameraEstimate or None
        None if the camera was given, or could not be estimated.
    psf : Estimate
        Width of the point spread function, px.
    radius : float
        Longest step, px.
    n_detected : int
        Before spots without a trusted fit were discarded.
    """

    table: pd.DataFrame
    camera: Camera
    estimate: CameraEstimate | None
    psf: Estimate
    radius: float
    n_detected: int


def localise(
    movie: Movie,
    camera: Camera | None = None,
    psf_px: float | None = None,
    radius: float | None = None,
    max_gap: int = MAX_GAP,
    progress=lambda parts, **_: parts,
) -> Localisations:
    """Localise all molecules of a movie and link them to tracks.

    Parameters
    ----------
    movie : Movie
    camera : Camera, optional
        By default estimated, see `main.images.camera`.
    psf_px : float, optional
        Width of the point spread function, px; by default estimated.
    radius : float, optional
        Longest step from frame to frame, px; by default from the steps found.
    max_gap : int
        Frames without a spot within a track.
    progress : callable
        Wraps the parts of the movie, as tqdm does.

    Returns
    -------
    Localisations
    """
    pilot = movie.sample(max(8, min(PILOT_FRAMES, PILOT_BYTES // (4 * movie.height * movie.width))))
    estimate = None
    if camera is None:
        estimate = estimate_camera(pilot)
        camera = take_camera(estimate, pilot)
    width = psf_px or guess_width(pilot, camera)
    size = MAX_WINDOW_PX if width is None else choose_window(width)
    width = width or FIRST_PSF_PX
    if estimate is not None and not estimate.is_sharp():
        slope = find_slope(torch.as_tensor(pilot), camera, width, size)
        if slope is not None:
            estimate = estimate_camera(pilot, slope)
            camera = take_camera(estimate, pilot)
    parts, detected = [], 0
    frames_at_once = max(1, min(FRAMES_OF_BACKGROUND, 2**22 // (movie.height * movie.width)))
    n_parts = math.ceil(movie.n_frames / frames_at_once)
    for first, frames in progress(movie.chunks(frames_at_once), total=n_parts):
        part, n = localise_frames(torch.as_tensor(frames), camera, width, size)
        part["frame"] += first
        parts.append(part)
        detected += n
    table = pd.concat(parts, ignore_index=True)
    frame, position = table["frame"].to_numpy(), table[["x", "y"]].to_numpy()
    if radius is None:
        radius = find_radius(frame, position, movie.height * movie.width)
    table.insert(0, "track_id", link_spots(frame, position, radius, max_gap))
    table = table.sort_values(["track_id", "frame"], ignore_index=True)
    psf = Estimate(psf_px, 0.0, True) if psf_px else estimate_psf(table)
    return Localisations(table, camera, estimate, psf, radius, detected)


def take_camera(estimate: CameraEstimate | None, images: np.ndarray) -> Camera:
    """Return the estimated camera; if there is none, one of unit gain that explains the variance of the background."""
    if estimate is not None:
        return Camera(*(float(getattr(estimate, n).value) for n in ("offset", "gain", "read_noise", "excess")))
    middle, low = np.quantile(images[:: max(1, len(images) // 32)], [0.5, 0.1587])
    return Camera(float(middle - max(middle - low, 1.0) ** 2), 1.0, 0.0, 1.0)


def choose_window(width: float) -> int:
    """Odd side of the windows for spots of this width, px."""
    return int(np.clip(2 * math.ceil(WINDOW_PSFS * width) + 1, MIN_WINDOW_PX, MAX_WINDOW_PX))


def guess_width(images: np.ndarray, camera: Camera) -> float | None:
    """Lower quartile of the widths of bright spots, px; None if there are too few."""
    frames = torch.as_tensor(images[:: max(1, len(images) // 64)])
    table, _ = localise_frames(frames, camera, FIRST_PSF_PX, 15, sure=SURE_SCORE)
    return float(table["width"].quantile(0.25)) if len(table) >= 10 else None


def find_slope(frames: torch.Tensor, camera: Camera, width: float, size: int) -> tuple[float, float] | None:
    """Gain times excess noise, counts, and its standard error from the spots of some frames.

    Only spots that are alone, bright, round and narrow count. None if there are too few, or if so many are elongated by
    motion that the others are suspect too.
    """
    photons = (frames - camera.offset) / camera.gain
    place = detect_all(photons, width)
    if len(place) == 0:
        return None
    place = place[:MAX_PILOT_SPOTS]  # in the order of frames, so that neighbours stay together
    windows, noise = cut_all(photons, place, size), camera.read_noise**2
    fit = fit_spots(windows, noise, camera.excess)
    kept = fit.trusted(size / 2) & (fit.photons > MIN_SIGNIFICANCE * fit.photons_err)
    position = place[:, 1:].flip(1) + torch.stack([fit.x, fit.y], dim=1)
    kept[torch.as_tensor(find_pairs(place, position, size)[:, 0])] = False
    border = torch.tensor(frames.shape[1:]) - size // 2
    kept &= ((place[:, 1:] >= size // 2) & (place[:, 1:] < border)).all(1)
    elongated = torch.hypot(fit.elongation, fit.shear) > ELONGATED_ERRORS * fit.elongation_err
    share = float(elongated[kept].float().mean()) if kept.any() else 1.0
    if share > MAX_ELONGATED:
        return None
    kept &= ~elongated & (fit.width < NARROW * fit.width[kept].quantile(0.25))
    slope = measure_slope(
        windows[kept], SpotFit(*(values[kept] for values in vars(fit).values())), noise / camera.excess
    )
    if slope is None:
        return None
    value, error = (camera.gain * number for number in slope)
    return value, math.hypot(error, (SLOPE_ERROR + share) * value)


def localise_frames(frames: torch.Tensor, camera: Camera, width: float, size: int, sure: float = 1.0):
    """Find and fit the spots of some successive frames.

    Parameters
    ----------
    frames : torch.Tensor, shape (F, H, W)
        Camera counts.
    camera : Camera
    width : float
        Of the point spread function, px.
    size : int
        Odd side of the windows that are fitted, px.
    sure : float
        Factor on the threshold of the detection.

    Returns
    -------
    table : pandas.DataFrame
        frame, from 0, x, y, x_err, y_err, width, width_err, photons, background.
    n_detected : int
    """
    photons = (frames - camera.offset) / camera.gain
    place = detect_all(photons, width, sure)
    names = ("x", "y", "x_err", "y_err", "width", "width_err", "photons", "background")
    if len(place) == 0:
        return pd.DataFrame({"frame": np.empty(0, np.int64)} | {n: np.empty(0) for n in names}), 0
    fit, kept = fit_all(photons, place, camera, size, SAME_SPOT_PSFS * width)
    low, high = (limit * width for limit in WIDE_RANGE)
    kept &= fit.trusted(size / 2) & (fit.width > low) & (fit.width < high)
    columns = {"frame": place[:, 0]} | {n: getattr(fit, n).double() for n in names}
    columns["x"], columns["y"] = columns["x"] + place[:, 2], columns["y"] + place[:, 1]
    border = BORDER_PSFS * width - 0.5
    for axis, side in (("x", frames.shape[2]), ("y", frames.shape[1])):
        kept &= (columns[axis] > border) & (columns[axis] < side - 1 - border)
    return pd.DataFrame({name: values[kept].numpy() for name, values in columns.items()}), len(place)


def detect_all(photons: torch.Tensor, width: float, sure: float = 1.0) -> torch.Tensor:
    """Find local maxima of the matched filters above the noise, (N, 3) int64: frame, row, column.

    The threshold lets `FALSE_SPOTS` maxima of the noise pass per filter.
    """
    middle, sd = map_background(photons)
    scaled = (photons - middle) / sd
    found = torch.zeros(photons.shape, dtype=torch.bool)
    for filter_width in (width, BLUR * width):  # maxima of the wider one count where the narrow one has none
        score = smooth(scaled[None], filter_width)[0]
        reach = max(1, round(filter_width))
        highest = _spread(score, reach)
        new = (score == highest) & (score > find_threshold(filter_width) * sure)
        found |= new & ~(_spread(found.float(), math.ceil(2 * width)) > 0)
    return found.nonzero()


def _spread(images: torch.Tensor, reach: int) -> torch.Tensor:
    """Highest value within a square of some pixels to each side, (F, H, W)."""
    return functional.max_pool2d(images[:, None], 2 * reach + 1, 1, reach)[:, 0]


def map_background(photons: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Median and standard deviation of the background, (F, H, W) each: smooth over the frame, the latter even in time.

    The level may change from frame to frame. The standard deviation is taken from the lower half of the values, where
    there is no light of molecules.
    """
    f, height, width = photons.shape
    level = photons.flatten(1).median(1).values
    level = (level - level.mean())[:, None, None]
    rows, columns = max(1, height // TILE_PX), max(1, width // TILE_PX)
    middle, low = photons.new_empty(rows, columns), photons.new_empty(rows, columns)
    probabilities = photons.new_tensor([0.5, 0.1587])
    steady = photons - level
    for i, band in enumerate(steady.tensor_split(rows, dim=1)):
        for j, tile in enumerate(band.tensor_split(columns, dim=2)):
            values = tile.flatten()
            values = values[:: max(1, len(values) // 8_192)]
            middle[i, j], low[i, j] = torch.quantile(values, probabilities)
    shape = {"size": (height, width), "mode": "bilinear", "align_corners": False}
    middle, spread = (
        functional.interpolate(m[None, None], **shape)[0, 0] for m in (middle, (middle - low).clamp(min=1e-3))
    )
    return middle + level, spread.expand(f, -1, -1)


def find_threshold(width: float) -> float:
    """Height of a smoothed noise field that `FALSE_SPOTS` maxima per field exceed, standard deviations.

    Source: expected maxima of a Gaussian field, Adler (1981), The Geometry of Random Fields.
    """
    per_field = FIELD_PX2 / (2 * width**2) / (2 * math.pi) ** 1.5
    return brentq(lambda u: per_field * u * math.exp(-(u**2) / 2) - FALSE_SPOTS, 1.5, 12)


def fit_all(photons, place, camera: Camera, size: int, same: float) -> tuple[SpotFit, torch.Tensor]:
    """Fit all spots, those with neighbours again without their light; returns fits, and which are not doubles."""
    windows = cut_all(photons, place, size)
    noise = camera.read_noise**2
    fit = fit_spots(windows, noise, camera.excess)
    for _ in range(NEIGHBOUR_ROUNDS):
        position = place[:, 1:].flip(1) + torch.stack([fit.x, fit.y], dim=1)
        pairs = find_pairs(place, position, size)
        if len(pairs) == 0:
            return fit, torch.ones(len(place), dtype=torch.bool)
        crowded = torch.as_tensor(np.unique(pairs[:, 0]))
        cleaned = windows[crowded] - draw_neighbours(fit, place, pairs, crowded, size)
        again = fit_spots(cleaned, noise, camera.excess)
        for name in vars(fit):
            getattr(fit, name)[crowded] = getattr(again, name)
    position = place[:, 1:].flip(1) + torch.stack([fit.x, fit.y], dim=1)
    return fit, ~find_doubles(place, position, fit, same)


def cut_all(photons: torch.Tensor, place: torch.Tensor, size: int) -> torch.Tensor:
    """Cut windows around (N, 3) frame, row, column; beyond the border the nearest pixel is repeated. (N, size, size)"""
    off = torch.arange(size) - size // 2
    rows = (place[:, 1, None] + off).clamp(0, photons.shape[1] - 1)
    columns = (place[:, 2, None] + off).clamp(0, photons.shape[2] - 1)
    return photons[place[:, 0, None, None], rows[:, :, None], columns[:, None, :]]


def find_pairs(place: torch.Tensor, position: torch.Tensor, reach: float) -> np.ndarray:
    """Ordered pairs of spots of one frame within reach of each other, (M, 2)."""
    key = place[:, :1].double() * 1e6  # frames far apart from each other
    points = torch.cat([key, position.double()], dim=1).numpy()
    points = np.nan_to_num(points, nan=-1e9)
    pairs = cKDTree(points).query_pairs(reach, output_type="ndarray")
    return np.concatenate([pairs, pairs[:, ::-1]])


def draw_neighbours(fit: SpotFit, place, pairs: np.ndarray, crowded: torch.Tensor, size: int) -> torch.Tensor:
    """Mean light of the neighbours within the windows of crowded spots, (C, size, size)."""
    spot, other = torch.as_tensor(pairs).unbind(1)
    shift = (place[other, 1:] - place[spot, 1:]).flip(1)
    theta = torch.stack(
        [
            fit.x[other] + shift[:, 0],
            fit.y[other] + shift[:, 1],
            fit.width[other],
            fit.photons[other] * (fit.photons[other] > 2 * fit.photons_err[other]),
            torch.zeros(len(other)),
        ],
        dim=1,
    )
    light = SpotModel(theta, size).mean
    total = torch.zeros(len(crowded), size, size)
    return total.index_add_(0, torch.searchsorted(crowded, spot.contiguous()), light)


def find_doubles(place, position, fit: SpotFit, same: float) -> torch.Tensor:
    """Whether a spot of more significance is at the same place, (N,) bool."""
    pairs = find_pairs(place, position, same)
    significance = (fit.photons / fit.photons_err).numpy()
    weaker = pairs[significance[pairs[:, 0]] < significance[pairs[:, 1]], 0] if len(pairs) else []
    doubles = torch.zeros(len(place), dtype=torch.bool)
    doubles[torch.as_tensor(weaker, dtype=torch.int64)] = True
    return doubles
