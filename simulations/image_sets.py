"""Fixed sets of simulated image sequences by name: what every method is judged on.

All have 64x64 pixels of 100 nm and 16 frames of 10 ms. Cameras are scmos unless said otherwise. Photons are means of a
frame, the background is that of a pixel.

    wide          D .001 to 10 um^2/s, 50 to 2,000 photons, background .5 to 20
    blur          as wide, D 1 to 10, 200 photons or more
    dim           as wide, 50 to 200 photons
    psf           as wide, 200 photons or more, PSF of 70 to 170 nm
    em, blink     as wide, 200 photons or more, EMCCD; photons that vary from frame to frame
    two           as blink, with a second molecule of the same D 5 to 20 pixels away
    defocus       as wide, 200 photons or more, molecules that move along z too
    seed          5 sequences of each D = 1,000 to 50,000 nm^2/s, 400 photons, background 7
    seed_x400     the same with 400 times the D: what the pictures of the original method showed
    as_published  tracks drawn by the rule of the original method: one D, labels by chance (`draw_published_tracks`);
                  they begin in the middle of the field, and a third of them touches or leaves its border
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from simulations.image_stream import (
    FRAME_INTERVAL_S,
    N_FRAMES,
    PSF_SIGMA_UM,
    ImagePrior,
    draw_molecules,
    list_parameters,
)
from simulations.microscope import (
    N_SUBPOSITIONS,
    Molecules,
    add_camera_noise,
    render,
    simulate_images,
    simulate_paths,
)
from simulations.parameters import Range

FIELD_PX = 64
SEQUENCES_AT_ONCE = 100
WIDE = ImagePrior(
    d=Range(1e-3, 10.0, log=True),
    photons=Range(50.0, 2000.0, log=True),
    background=Range(0.5, 20.0, log=True),
    psf_sigma=Range(PSF_SIGMA_UM, PSF_SIGMA_UM),
    read_noise=Range(0.8, 3.0),
    gain=Range(0.5, 10.0, log=True),
    full_exposure=1.0,
    cameras=(0.0, 1.0, 0.0),
    blinking=0.0,
    bleaching=0.0,
    sixteen=1.0,
)
BRIGHT = replace(WIDE, photons=Range(200.0, 2000.0, log=True))
BLINKING = replace(BRIGHT, blinking=1.0, blink_cv=Range(0.5, 0.5))
DEPTH_UM = 0.4  # z at which the area of the point spread function has doubled
SUBFRAMES = N_SUBPOSITIONS
PUBLISHED_D, PUBLISHED_STEP_PX = 20.0, 0.2  # label of its tracks, 1e3 nm^2/s; pixels drawn for one nm of them
N_LABELS, PER_LABEL = 50, 5
LABEL_OF_PX = 1 / (PUBLISHED_STEP_PX**2 * FRAME_INTERVAL_S * 1e3)  # label, 1e3 nm^2/s, of 1 px^2/frame in the pictures
PUBLISHED_PHOTONS, PUBLISHED_BACKGROUND = 400.0, 7.0
PUBLISHED_GAIN, PUBLISHED_OFFSET, PUBLISHED_READ_NOISE = 2.0, 100.0, 1.6
PUBLISHED = replace(
    WIDE,
    d=Range(PUBLISHED_D / LABEL_OF_PX, PUBLISHED_D / LABEL_OF_PX),
    photons=Range(PUBLISHED_PHOTONS, PUBLISHED_PHOTONS),
    background=Range(PUBLISHED_BACKGROUND, PUBLISHED_BACKGROUND),
    read_noise=Range(PUBLISHED_READ_NOISE, PUBLISHED_READ_NOISE),
    gain=Range(PUBLISHED_GAIN, PUBLISHED_GAIN),
    offset=Range(PUBLISHED_OFFSET, PUBLISHED_OFFSET),
)  # what the original method trains on: one D; its label is that of `fit_line_through_origin`


@dataclass(frozen=True)
class ImageSet:
    """How a set is made: seed, number of sequences, ranges of its parameters (None for a set by rule), camera."""

    seed: int
    n: int
    prior: ImagePrior | None
    camera: str = "scmos"


SETS = {
    "wide": ImageSet(7001, 4000, WIDE),
    "blur": ImageSet(7004, 4000, replace(BRIGHT, d=Range(1.0, 10.0, log=True))),
    "dim": ImageSet(7005, 4000, replace(WIDE, photons=Range(50.0, 200.0, log=True))),
    "psf": ImageSet(7006, 2000, replace(BRIGHT, psf_sigma=Range(0.07, 0.17))),
    "em": ImageSet(7007, 2000, BRIGHT, "emccd"),
    "blink": ImageSet(7008, 2000, BLINKING),
    "two": ImageSet(7009, 1000, BRIGHT),
    "defocus": ImageSet(7010, 1000, BRIGHT),
    "seed": ImageSet(7002, N_LABELS * PER_LABEL, None),
    "seed_x400": ImageSet(7002, N_LABELS * PER_LABEL, None),
    "as_published": ImageSet(7003, N_LABELS * PER_LABEL, None),
}


def make_image_set(name: str, n: int | None = None, seed: int | None = None) -> Iterator[dict[str, torch.Tensor]]:
    """Make a set in parts, so that memory stays flat.

    Parameters
    ----------
    name : str
        Key of `SETS`.
    n : int, optional
        Number of sequences; by default that of the set. The sets by rule always have 250.
    seed : int, optional
        By default that of the set.

    Yields
    ------
    dict
        As `ImageStream.simulate_batch`, images rounded to whole counts of 16 bits; of the sets by rule also label (B,),
        1e3 nm^2/s.

    Raises
    ------
    ValueError
        If there is no set of this name.
    """
    chosen = find_set(name)
    seed = chosen.seed if seed is None else seed
    n = chosen.n if n is None or chosen.prior is None else n
    for first in range(0, n, SEQUENCES_AT_ONCE):
        yield make_part(name, first, min(SEQUENCES_AT_ONCE, n - first), seed)


def find_set(name: str) -> ImageSet:
    """Return a set by name; ValueError if there is none."""
    if name not in SETS:
        raise ValueError(f"no image set {name!r}: expected one of {', '.join(SETS)}")
    return SETS[name]


def make_part(name: str, first: int, size: int, seed: int) -> dict[str, torch.Tensor]:
    """Make the sequences `first` to `first + size` of a set; they depend on the seed and `first` alone."""
    chosen = find_set(name)
    if chosen.prior is None:
        return {key: value[first : first + size] for key, value in _make_by_rule(name, seed).items()}
    rng, generator = _make_generators(seed, first)
    molecules = draw_molecules(chosen.prior, size, rng, n_frames=N_FRAMES, camera=chosen.camera)
    extra = draw_neighbours(molecules, rng, generator) if name == "two" else None
    if name == "defocus":
        molecules = replace(molecules, psf_sigma=draw_defocus(molecules, rng))
    made = simulate_images(molecules, FIELD_PX, generator, extra=extra, subpositions=True)
    return round_counts(made | list_parameters(molecules))


def _make_generators(seed: int, part: int):
    seeds = np.random.SeedSequence([seed, part])
    return np.random.default_rng(seeds), torch.Generator().manual_seed(int(seeds.generate_state(1)[0]))


def round_counts(made: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Round images to whole camera counts between 0 and 65,535."""
    return made | {"images": made["images"].round().clamp(0, 2**16 - 1)}


def draw_neighbours(molecules: Molecules, rng, generator) -> torch.Tensor:
    """Draw a second molecule of the same parameters in each sequence; returns its mean photons (B, F, 64, 64)."""
    angle, distance = rng.uniform(0, 2 * np.pi, len(molecules)), rng.uniform(5, 20, len(molecules))
    place = torch.as_tensor(np.stack([distance * np.cos(angle), distance * np.sin(angle)], 1), dtype=torch.float32)
    path = simulate_paths(molecules, SUBFRAMES, generator)
    path += (place - path.mean((1, 2)))[:, None, None]
    return render(path, molecules, FIELD_PX)


def draw_defocus(molecules: Molecules, rng) -> torch.Tensor:
    """Draw the width of the point spread function in each frame, (B, F) um, of molecules that also move along z."""
    steps = (
        rng.normal(size=molecules.photons.shape) * np.sqrt(2 * molecules.d * molecules.frame_interval)[:, None].numpy()
    )
    z = np.cumsum(steps, axis=1)
    z = torch.as_tensor(z - z.mean(1, keepdims=True), dtype=torch.float32)
    return molecules.psf_sigma[:, None] * (1 + (z / DEPTH_UM) ** 2).sqrt()


def fit_line_through_origin(path: np.ndarray) -> np.ndarray:
    """Return the D that the original method gives its tracks as label, from the MSD at all lags of all sub-positions.

    Parameters
    ----------
    path : numpy.ndarray, shape (N, T, 2)

    Returns
    -------
    numpy.ndarray, shape (N,)
        length^2 / frame: the slope of a line through the origin, over 4.
    """
    n = path.shape[1]
    lags = np.arange(1, n)
    msd = np.stack([((path[:, lag:] - path[:, :-lag]) ** 2).sum(-1).mean(1) for lag in lags], axis=1)
    time = lags / SUBFRAMES
    return (msd * time).sum(1) / (time**2).sum() / 4


def draw_published_tracks(rng) -> tuple[np.ndarray, np.ndarray]:
    """Draw tracks by the rule of the original method.

    All have one D. Tracks are drawn until every label of 1 to 50 (1e3 nm^2/s, from a line through the origin) has five.

    Returns
    -------
    paths : numpy.ndarray, shape (250, 16, 10, 2)
        nm, as its code calls them.
    labels : numpy.ndarray, shape (250,)
        1e3 nm^2/s.
    """
    frame_s = FRAME_INTERVAL_S
    kept = [[] for _ in range(N_LABELS)]
    while min(map(len, kept)) < PER_LABEL:
        step = np.sqrt(2 * PUBLISHED_D * 1e3 * frame_s / SUBFRAMES)
        paths = np.cumsum(rng.normal(0, step, (2000, N_FRAMES * SUBFRAMES, 2)), axis=1)
        labels = fit_line_through_origin(paths) / frame_s / 1e3
        for path, label in zip(paths, labels, strict=True):
            number = int(label) - 1
            if 0 <= number < N_LABELS and len(kept[number]) < PER_LABEL:
                kept[number].append((path, label))
    chosen = [pair for group in kept for pair in group]
    paths = np.stack([path for path, _ in chosen]).reshape(-1, N_FRAMES, SUBFRAMES, 2)
    return paths, np.array([label for _, label in chosen])


@cache
def _make_by_rule(name: str, seed: int) -> dict[str, torch.Tensor]:
    """Make one of the sets of 250: D = 1 to 50 x 1e3 nm^2/s generating, or tracks by the original rule."""
    rng, generator = _make_generators(seed, 0)
    labels = np.repeat(np.arange(1, N_LABELS + 1.0), PER_LABEL)
    paths = None
    if name == "as_published":
        paths, labels = draw_published_tracks(rng)
    factor = 1.0 if name == "seed" else 400.0
    d = np.full(len(labels), PUBLISHED_D) if paths is not None else labels
    o = torch.ones(len(labels))
    molecules = Molecules(
        d=torch.as_tensor(d, dtype=torch.float32) * 1e-3 * factor,
        photons=PUBLISHED_PHOTONS * torch.ones(len(labels), N_FRAMES),
        background=PUBLISHED_BACKGROUND * o,
        psf_sigma=PSF_SIGMA_UM * o,
        exposure=o,
        gain=PUBLISHED_GAIN * o,
        offset=PUBLISHED_OFFSET * o,
        read_noise=PUBLISHED_READ_NOISE * o,
    )
    if paths is None:
        made = simulate_images(molecules, FIELD_PX, generator, subpositions=True)
    else:
        path = torch.as_tensor(paths * PUBLISHED_STEP_PX, dtype=torch.float32)
        point = replace(molecules, d=torch.zeros_like(o))  # its sub-positions are points
        mean = render(path, point, FIELD_PX) + point.background[:, None, None, None]
        images = add_camera_noise(mean, molecules, generator)
        position = path.mean(2)
        dx, dy = (path - position[:, :, None]).unbind(-1)
        scatter = torch.stack([(dx**2).mean(2), (dy**2).mean(2), (dx * dy).mean(2)], dim=-1)
        made = {"images": images, "position": position, "scatter": scatter, "centre": torch.zeros_like(position)}
        made["subpositions"] = path
    label = torch.as_tensor(labels, dtype=torch.float32)
    return round_counts(made | list_parameters(molecules) | {"label": label})
