"""The reference engine: simulates one world with andi_datasets and returns its tracks inside the field of view."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from andi_datasets.models_phenom import models_phenom
from andi_datasets.utils_trajectories import segs_inside_fov
from stochastic import random as stochastic_random

from simulations.labels import label_filter
from simulations.worlds import FOV_PX, MIN_FRAMES, Worlds

FOV_MARGIN = 0.05  # smallest distance of the field of view from the box, as a share of the box (andi_datasets)


class Track(NamedTuple):
    """One labelled track of T frames; K in px^2/frame^alpha, state an index into `STATES`."""

    frame: np.ndarray  # (T,) frame of the movie
    xy: np.ndarray  # (T, 2) px, localisation error included
    k: np.ndarray  # (T,)
    alpha: np.ndarray  # (T,)
    state: np.ndarray  # (T,) int8
    sigma: float  # localisation error, px


@contextmanager
def seeded(seed: np.random.SeedSequence) -> Iterator[np.random.Generator]:
    """Seed both random streams of andi_datasets, yield a third one for the draws of worlds, restore all at the end.

    andi_datasets reads `numpy.random` for positions and switches, and `stochastic.random.generator` for its
    fractional noise. `numpy.random.seed` does not seed the second one.
    """
    keys = [(*seed.spawn_key, i) for i in range(3)]
    library, noise, worlds = (np.random.SeedSequence(seed.entropy, spawn_key=key) for key in keys)
    numpy_state, generator = np.random.get_state(), stochastic_random.generator
    np.random.seed(library.generate_state(8))
    stochastic_random.use_generator(np.random.default_rng(noise))
    try:
        yield np.random.default_rng(worlds)
    finally:
        np.random.set_state(numpy_state)
        stochastic_random.generator = generator


def simulate_world(world: Worlds) -> list[Track]:
    """Simulate one world and return its tracks inside one field of view, in the library's order.

    The steps and their random draws are those of `andi_datasets.challenge_phenom_dataset` with one field of
    view: crop, filter the labels, add localisation error last. The draws come from the global streams that
    `seeded` seeds.

    Parameters
    ----------
    world : Worlds
        One world (`worlds[i]`).

    Returns
    -------
    list of Track
        Stays of at least 20 frames inside the field of view; empty if there is none.

    Raises
    ------
    ValueError
        If `world` holds more than one world.
    FloatingPointError
        If the library returns a position that is not finite.
    """
    if len(world) != 1:
        raise ValueError(f"simulate_world takes one world, not {len(world)}")
    with warnings.catch_warnings():  # the library turns all warnings off; turn them on again afterwards
        warnings.simplefilter("ignore")
        positions, labels = getattr(models_phenom(), world.model)(**library_arguments(world))
        if not np.isfinite(positions).all():
            raise FloatingPointError("andi_datasets returned a position that is not finite")
        return _crop(positions, labels, _fov_origin(world), world)


def library_arguments(world: Worlds) -> dict:
    """Arguments of the method of `models_phenom` that simulates the model of a world.

    `Ds` and `alphas` hold a pair (mean, variance) for each state.
    """
    diffusion = {
        "Ds": np.stack([world.k_mean[0], world.k_var[0]], 1),
        "alphas": np.stack([world.alpha_mean[0], world.alpha_var[0]], 1),
    }
    if world.model in ("single_state", "immobile_traps"):
        diffusion = {name: pairs[0] for name, pairs in diffusion.items()}
    arguments = {"N": world.n_particles, "T": world.n_frames, "L": float(world.box[0])}
    by_field = {
        "multi_state": {"M": "transition"},
        "immobile_traps": {"r": "radius", "Nt": "count", "Pb": "p_bind", "Pu": "p_unbind"},
        "dimerization": {"r": "radius", "Pb": "p_bind", "Pu": "p_unbind"},
        "confinement": {"r": "radius", "Nc": "count", "trans": "transmittance"},
    }.get(world.model, {})
    return arguments | diffusion | {name: getattr(world, field)[0] for name, field in by_field.items()}


def _fov_origin(world: Worlds) -> np.ndarray:
    """Lower corner (2,) of the field of view: on whole pixels if its size is the library's."""
    box, fov = float(world.box[0]), float(world.fov[0])
    low, high = FOV_MARGIN * box, (1 - FOV_MARGIN) * box - fov
    if fov == FOV_PX and int(low) < int((1 - FOV_MARGIN) * box) - int(fov):
        return np.random.randint(int(low), int((1 - FOV_MARGIN) * box) - int(fov), 2)
    if high <= low:  # the field of view is as large as the box: centre it
        return np.full(2, (box - fov) / 2)
    return np.random.uniform(low, high, 2)


def _crop(positions: np.ndarray, labels: np.ndarray, origin: np.ndarray, world: Worlds) -> list[Track]:
    """Tracks inside the field of view, from positions (T, N, 2) and labels (T, N, 3+) of all particles."""
    spans = [
        (n, *span)
        for n in range(positions.shape[1])
        for span in _spans_inside(positions[:, n], origin, float(world.fov[0]))
    ]
    lengths = [stop - start for _, start, stop in spans]
    sigma = float(world.sigma[0])
    x_noise, y_noise = np.random.randn(sum(lengths)) * sigma, np.random.randn(sum(lengths)) * sigma
    noise = np.split(np.stack([x_noise, y_noise], 1), np.cumsum(lengths)[:-1]) if spans else []
    tracks = []
    for (n, start, stop), shift in zip(spans, noise, strict=True):
        alpha, k, state = (label_filter(labels[start:stop, n, i]) for i in range(3))
        xy = positions[start:stop, n] + shift
        tracks.append(Track(np.arange(start, stop), xy, k, alpha, state.astype(np.int8), sigma))
    return tracks


def _spans_inside(xy: np.ndarray, origin: np.ndarray, fov: float) -> np.ndarray:
    """Frames (start, stop) of the stays of at least 20 frames inside the field of view, (n, 2)."""
    spans = segs_inside_fov(xy, fov_origin=origin, fov_length=fov, cutoff_length=MIN_FRAMES)
    return np.empty((0, 2), int) if spans is None else spans
