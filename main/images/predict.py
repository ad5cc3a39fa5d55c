"""The diffusion coefficient of the molecule of each block, with what is known of camera and point spread function."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from main.images.blocks import Block, read_frames
from main.images.camera import CameraEstimate, Estimate, estimate_camera
from main.images.detect import cut_windows, detect, find_candidates, measure_background
from main.images.features import fit_windows, make_features, measure_windows
from main.images.localise import FIRST_PSF_PX, Camera, choose_window, find_slope, guess_width, take_camera
from main.images.psf import estimate_psf
from main.images.shot_noise import MIN_SPOTS
from main.images.task import NORMAL_90
from simulations.image_stream import FRAME_INTERVAL_S, PIXEL_UM, WINDOW_PX, ImagePrior

PIXELS_AT_ONCE = 2**21  # of the frames that are analysed together: 32 blocks of 16 frames of 64 x 64
WINDOWS_AT_ONCE = 2**10
PILOT_PIXELS, PILOT_BLOCKS = 2**22, 256  # from which camera and point spread function of an acquisition are estimated
PSF_WINDOW_PX = 15
MIN_FOR_LINE = 4  # blocks
MAX_OFF_LINE = 0.1  # median distance of variances of backgrounds from a line over their levels, relative
NEIGHBOUR_WINDOW_PX = 33  # within which a second molecule is looked for
NEIGHBOUR_PX = 6.0  # nearest distance of a second molecule; a spot that is blurred breaks up within this
NEIGHBOUR_SCORE = 5.5  # of a second molecule after the matched filter, standard deviations of the background
NEIGHBOUR_SHARE = 0.25  # of frames with one, from which it is reported
MAX_PSF_ERROR = 0.2  # relative, that is taken into account
EDGE_PX = 3.0  # from the border of the field
MIN_SHARE_SEEN = 0.5  # of frames
WARNINGS = {
    "no_molecule": "a spot is seen in fewer than 2 frames; no estimate",
    "few_frames": "a spot is seen in less than half of the frames",
    "at_edge": f"the molecule comes within {EDGE_PX:g} pixels of the border of the field, and may have left it",
    "second_molecule": "another spot is near in a quarter of the frames or more",
    "psf_not_identified": "the images do not determine the width of the point spread function; --psf-sigma sets it",
    "camera_not_identified": "the images do not determine gain and noise of the camera; --camera sets them",
    "d_outside_range": "D is outside the range of the simulated sequences",
    "psf_outside_range": "the point spread function, in pixels, is outside the range of the simulated sequences",
    "photons_outside_range": "the photons of the molecule are outside the range of the simulated sequences",
    "background_outside_range": "the background is outside the range of the simulated sequences",
    "n_frames_outside_range": "the number of frames is outside the range of the simulated sequences",
}


@dataclass(frozen=True)
class Optics:
    """What is told of, or estimated for, an acquisition: camera, width of the point spread function (px), exposure."""

    camera: Camera
    estimate: CameraEstimate | None  # None: the camera is told, or there is too little to estimate it
    psf: Estimate
    exposure: float
    warnings: tuple[str, ...]  # keys of `WARNINGS`


@dataclass
class Detected:
    """What was found in a block: place of the molecule in each frame, frames with a second one, the background.

    Parameters
    ----------
    place : torch.Tensor of int64, shape (F, 2)
        Column and row.
    n_second : int
    level, variance : float
        Of the background, counts and counts^2.
    """

    place: torch.Tensor
    n_second: int
    level: float
    variance: float


@dataclass
class Prediction:
    """Estimates of one block; D in px^2/frame, lengths in px. D is NaN where no molecule is seen."""

    d: float
    lo: float
    hi: float
    d_path: float
    d_path_lo: float
    d_path_hi: float
    photons: float
    background: float
    psf: float
    n_frames: int
    n_seen: int
    warnings: list[str] = field(default_factory=list)
    position: np.ndarray | None = None  # (F, 2) px, NaN where it is not seen; column and row of the field
    error: np.ndarray | None = None  # (F,) px


def make_batches(blocks: list[Block]) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Read blocks of one shape together; yields their numbers in the list, and images (B, F, H, W)."""
    shapes: dict[tuple, list[int]] = {}
    for i, block in enumerate(blocks):
        shapes.setdefault(block.shape, []).append(i)
    for shape, rows in shapes.items():
        at_once = max(1, min(PIXELS_AT_ONCE // math.prod(shape), WINDOWS_AT_ONCE // shape[0]))
        for first in range(0, len(rows), at_once):
            part = rows[first : first + at_once]
            yield part, torch.as_tensor(np.stack([read_frames(blocks[i]) for i in part]))


def detect_blocks(blocks: list[Block]) -> list[Detected]:
    """Find the molecule of each block, and whether there is another one near it."""
    found: list = [None] * len(blocks)
    generator = torch.Generator().manual_seed(0)
    for rows, images in make_batches(blocks):
        place = detect(images)
        n_second = count_second(images, place)
        dithered = images + torch.rand(images.shape, generator=generator) - 0.5  # quantiles need a continuum
        level, sd = measure_background(dithered)
        for i, row in enumerate(rows):
            found[row] = Detected(place[i], int(n_second[i]), level[i].item(), sd[i].item() ** 2)
    return found


def count_second(images: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Count the frames with a second molecule near the one at `place` (B, F, 2); (B,) int64."""
    middle, sd = (value[:, None, None, None] for value in measure_background(images))
    windows = cut_windows((images - middle) / sd, place, NEIGHBOUR_WINDOW_PX)
    score, where = find_candidates(windows, n=4)
    off = where - NEIGHBOUR_WINDOW_PX // 2
    side = torch.tensor(images.shape[:-3:-1])
    spot = place[:, :, None] + off
    inside = ((spot >= 0) & (spot < side)).all(-1)  # beyond the border the nearest pixel is repeated
    second = (score > NEIGHBOUR_SCORE) & (off.square().sum(-1) > NEIGHBOUR_PX**2) & inside
    return second.any(2).sum(1)


def spread_evenly(n: int, most: int) -> list[int]:
    """Return at most `most` of the numbers 0 to n - 1, evenly spread."""
    return sorted(set(np.linspace(0, n - 1, min(n, max(1, most))).round().astype(int).tolist()))


def estimate_optics(
    blocks: list[Block],
    found: list[Detected],
    exposure: float,
    camera: Camera | None = None,
    psf_px: float | None = None,
) -> list[Optics]:
    """Estimate camera and point spread function of the blocks of one acquisition, where they are not told.

    Blocks share the camera unless their backgrounds contradict it (`share_camera`); then each has its own.

    Parameters
    ----------
    blocks : list of Block
    found : list of Detected
    exposure : float
        Share of the frame interval.
    camera : Camera, optional
    psf_px : float, optional
        Width of the point spread function, px.

    Returns
    -------
    list of Optics
        One for each block; the same object for all that share it.
    """
    if camera is not None:
        cameras = [(camera, None)] * len(blocks)
    elif share_camera(found):
        cameras = [_estimate_shared_camera(blocks)] * len(blocks)
    else:
        cameras = [_estimate_camera(read_frames(block)[None]) for block in blocks]
    psf = Estimate(psf_px, 0.0, True) if psf_px else _estimate_psf(blocks, found, [c for c, _ in cameras], exposure)
    made: dict[int, Optics] = {}
    for pair in cameras:
        if id(pair) not in made:
            made[id(pair)] = _describe_optics(*pair, psf, exposure, told=camera is not None)
    return [made[id(pair)] for pair in cameras]


def _describe_optics(camera: Camera, estimate: CameraEstimate | None, psf, exposure: float, told: bool) -> Optics:
    identified = told or (estimate is not None and estimate.gain_excess.identified and estimate.excess.identified)
    warnings = [] if identified else ["camera_not_identified"]
    warnings += [] if psf.identified else ["psf_not_identified"]
    return Optics(camera, estimate, psf, exposure, tuple(warnings))


def share_camera(found: list[Detected]) -> bool:
    """Whether the backgrounds of some blocks are those of one camera: their variances are linear in their levels."""
    if len(found) == 1:
        return True
    level, variance = np.array([[each.level, each.variance] for each in found]).T
    typical = np.median(variance)
    alike = np.abs(level - np.median(level)).max() < math.sqrt(typical)
    if alike or len(found) < MIN_FOR_LINE:
        slope, base = 0.0, typical
    else:
        slope, base = np.polyfit(level, variance, 1)
    off = np.abs(variance - base - slope * level)
    return bool(slope >= 0 and np.median(off) < MAX_OFF_LINE * typical and (alike or len(found) >= MIN_FOR_LINE))


def _estimate_camera(images: np.ndarray) -> tuple[Camera, CameraEstimate | None]:
    """Estimate the camera from images (B, F, H, W), from their spots too where the background is not enough."""
    frames = images.reshape(-1, *images.shape[2:])
    estimate = estimate_camera(images)
    camera = take_camera(estimate, frames)
    if estimate is None or estimate.is_sharp() or len(frames) < MIN_SPOTS:
        return camera, estimate
    width = guess_width(frames, camera) or FIRST_PSF_PX
    slope = find_slope(torch.as_tensor(frames), camera, width, choose_window(width))
    estimate = estimate if slope is None else estimate_camera(images, slope)
    return take_camera(estimate, frames), estimate


def _estimate_shared_camera(blocks: list[Block]) -> tuple[Camera, CameraEstimate | None]:
    """Estimate the camera from the blocks of one shape, that with most pixels."""
    pixels: dict[tuple, int] = {}
    for block in blocks:
        pixels[block.shape] = pixels.get(block.shape, 0) + math.prod(block.shape)
    shape = max(pixels, key=pixels.get)
    alike = [block for block in blocks if block.shape == shape]
    return _estimate_camera(
        np.stack([read_frames(alike[i]) for i in spread_evenly(len(alike), PILOT_PIXELS // math.prod(shape))])
    )


def _estimate_psf(blocks: list[Block], found: list[Detected], cameras: list[Camera], exposure: float) -> Estimate:
    """Estimate the width of the point spread function, px, from the spots of some blocks."""
    chosen = spread_evenly(len(blocks), PILOT_BLOCKS)
    parts = []
    for rows, images in make_batches([blocks[i] for i in chosen]):
        rows = [chosen[row] for row in rows]
        place = torch.stack([found[row].place for row in rows])
        batch = _make_batch(images, place, [cameras[row] for row in rows], PSF_WINDOW_PX)
        b, f = place.shape[:2]
        fit = fit_windows(batch)[1].reshape(b * f)
        columns = {n: getattr(fit, n).double() for n in ("x", "y", "x_err", "y_err", "width", "width_err")}
        columns["x"], columns["y"] = columns["x"] + place[..., 0].flatten(), columns["y"] + place[..., 1].flatten()
        columns["track_id"] = torch.tensor(rows).repeat_interleave(f)
        columns["frame"] = torch.arange(f).repeat(b)
        kept = fit.trusted(PSF_WINDOW_PX / 2)
        parts.append(pd.DataFrame({name: values[kept].numpy() for name, values in columns.items()}))
    psf = estimate_psf(pd.concat(parts, ignore_index=True), exposure)
    return psf if math.isfinite(psf.value) else Estimate(FIRST_PSF_PX, math.inf, False)


@torch.no_grad()
def predict_blocks(
    blocks: list[Block], found: list[Detected], optics: list[Optics], net: torch.nn.Module | None = None
) -> list[Prediction]:
    """Estimate D of each block.

    Parameters
    ----------
    blocks : list of Block
    found : list of Detected
    optics : list of Optics
    net : BlurNet, optional
        Without it, D is that of the posterior from path and shape within frames (`main.images.in_frame`).

    Returns
    -------
    list of Prediction
    """
    predictions: list = [None] * len(blocks)
    for rows, images in make_batches(blocks):
        known = [optics[row] for row in rows]
        place = torch.stack([found[row].place for row in rows])
        batch = _make_batch(images, place, [each.camera for each in known], WINDOW_PX)
        batch["psf_px"] = torch.tensor([each.psf.value for each in known])
        batch["exposure"] = torch.tensor([float(each.exposure) for each in known])
        measured = measure_windows(batch)
        spread_posterior(batch, measured, torch.tensor([float(each.psf.error) for each in known]))
        made = _read_predictions(batch, measured, net)
        for row, each, prediction in zip(rows, known, made, strict=True):
            prediction.warnings = find_warnings(prediction, found[row].n_second, images.shape[-2:])
            prediction.warnings += each.warnings
            predictions[row] = prediction
    return predictions


def _make_batch(images: torch.Tensor, place: torch.Tensor, cameras: list[Camera], size: int) -> dict:
    """Cut windows around (B, F, 2) places; returns what `measure_windows` takes, without psf_px and exposure."""
    names = ("offset", "gain", "read_noise", "excess")
    batch = {name: torch.tensor([float(getattr(camera, name)) for camera in cameras]) for name in names}
    return batch | {"images": cut_windows(images, place, size), "centre": place.float()}


def spread_posterior(batch: dict, measured: dict, psf_error: torch.Tensor) -> None:
    """Widen the posterior of D in `measured` by the error (B,) px of the width of the point spread function.

    The posteriors at the width and at sqrt(3) errors on either side are mixed as Gauss-Hermite quadrature weighs them.
    """
    relative = (psf_error / batch["psf_px"]).clamp(max=MAX_PSF_ERROR)
    if not relative.any():
        return
    off = math.sqrt(3) * relative
    sides = [measure_windows(batch | {"psf_px": batch["psf_px"] * (1 + sign * off)}) for sign in (-1, 1)]
    mean, sd = torch.stack([m["posterior_shape"] for m in (measured, *sides)]).unbind(-1)
    weight = torch.tensor([2 / 3, 1 / 6, 1 / 6])[:, None]
    middle = (weight * mean).sum(0)
    variance = (weight * (sd**2 + (mean - middle) ** 2)).sum(0)
    measured["posterior_shape"] = torch.stack([middle, variance.sqrt()], dim=-1)


def _read_predictions(batch: dict, measured: dict, net: torch.nn.Module | None) -> list[Prediction]:
    mean, sd = measured["posterior_shape"].double().unbind(1)
    if net is not None:
        out = net(*make_features(batch, measured).values()).double()
        mean, sd = out[:, 0] + 2 * batch["psf_px"].double().log10(), out[:, 1].exp()
    path, path_sd = measured["posterior_path"].double().unbind(1)
    fit, seen = measured["fit"], measured["seen"]
    made = []
    for i in range(len(mean)):
        lit = seen[i]
        n_seen = int(lit.sum())
        known = [10 ** (m[i] + s * e[i]).item() for m, e in ((mean, sd), (path, path_sd)) for s in _QUANTILES]
        known = known if n_seen >= 2 else [math.nan] * 6
        photons = fit.photons[i][lit].median().item() if n_seen else math.nan
        position = torch.where(lit[:, None], measured["position"][i], torch.nan).numpy()
        error = torch.where(lit, measured["error"][i], torch.nan).numpy()
        background, psf = fit.background[i].median().item(), batch["psf_px"][i].item()
        made.append(
            Prediction(*known, photons, background, psf, len(lit), n_seen, position=position, error=error),
        )
    return made


_QUANTILES = (0.0, -NORMAL_90, NORMAL_90)


def find_warnings(prediction: Prediction, n_second: int, shape) -> list[str]:
    """Return the keys of `WARNINGS` that hold for a block of frames of the given height and width."""
    p, prior = prediction, ImagePrior()
    if p.n_seen < 2:
        return ["no_molecule"]
    height, width = shape
    near = np.array([EDGE_PX, EDGE_PX])
    with np.errstate(invalid="ignore"):
        edge = ((p.position < near - 0.5) | (p.position > np.array([width, height]) - 0.5 - near)).any()
    factor = FRAME_INTERVAL_S / PIXEL_UM**2
    ranges = {
        "d": (p.d, prior.d.low * factor, prior.d.high * factor),
        "psf": (p.psf, prior.psf_sigma.low / PIXEL_UM, prior.psf_sigma.high / PIXEL_UM),
        "photons": (p.photons, prior.photons.low, prior.photons.high),
        "background": (p.background, prior.background.low, prior.background.high),
        "n_frames": (p.n_frames, *prior.n_frames),
    }
    holds = {
        "few_frames": p.n_seen < MIN_SHARE_SEEN * p.n_frames,
        "at_edge": edge,
        "second_molecule": n_second >= NEIGHBOUR_SHARE * p.n_frames,
    } | {f"{name}_outside_range": not low <= value <= high for name, (value, low, high) in ranges.items()}
    return [name for name, true in holds.items() if true]


def analyse(
    blocks: list[Block],
    chosen: list[int],
    exposure: float,
    camera: Camera | None = None,
    psf_px: float | None = None,
    net: torch.nn.Module | None = None,
) -> tuple[list[Prediction], list[Optics]]:
    """Estimate D of some of the blocks; camera and point spread function are estimated from all of an acquisition.

    Parameters
    ----------
    blocks : list of Block
    chosen : list of int
        Numbers of the blocks that are predicted.
    exposure, camera, psf_px, net
        As in `estimate_optics` and `predict_blocks`.

    Returns
    -------
    predictions : list of Prediction
    optics : list of Optics
        One for each of the blocks that are predicted.
    """
    names = {blocks[i].acquisition for i in chosen}
    predictions, optics = {}, {}
    for name in sorted(names):
        rows = [i for i, block in enumerate(blocks) if block.acquisition == name]
        part = [blocks[i] for i in rows]
        found = detect_blocks(part)
        known = estimate_optics(part, found, exposure, camera, psf_px)
        wanted = [k for k, i in enumerate(rows) if i in set(chosen)]
        made = predict_blocks([part[k] for k in wanted], [found[k] for k in wanted], [known[k] for k in wanted], net)
        for k, prediction in zip(wanted, made, strict=True):
            predictions[rows[k]], optics[rows[k]] = prediction, known[k]
    return [predictions[i] for i in chosen], [optics[i] for i in chosen]
