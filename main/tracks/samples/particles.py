"""Decode particles: K and alpha of each one in the components of its sample, and its path between them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np
import torch
from tqdm import tqdm

from main.tracks.samples.likelihood import MEMORY_STEPS, average_nodes, log_emissions, node_scores
from main.tracks.samples.mixture import ALPHA_RANGE, Mixture, Particles, log_prior
from main.tracks.samples.semimarkov import draw_paths, filter_steps, node_probabilities, smooth_steps

TRACKS_PER_BATCH = 8  # of one thread at a time
COARSE_GRID_SD = np.linspace(-2, 2, 5)  # nodes along log10 K and alpha, in standard deviations of the component
LOCAL_GRID_SD = np.linspace(-2, 2, 5)  # the same, in standard deviations of the particle
COARSE_SD_FACTOR = 0.4  # smallest standard deviation after the coarse grid, in distances between its nodes
COARSE_MEMORY_STEPS = 16
MIN_PARTICLE_SD = 1e-3  # of log10 K (decades) and alpha


def decode_particles(
    tracks: list[np.ndarray],
    sigma: np.ndarray,
    mixture: Mixture,
    start: Particles | None = None,
    n_rounds: int = 1,
    n_samples: int = 0,
    seed: int = 0,
    memory: int = MEMORY_STEPS,
    progress: bool = False,
) -> Particles:
    """Find K and alpha of every particle in each component, and its path between them, by variational inference.

    First, every stretch may take another node of a coarse grid over the component. From then on, all stretches of one
    component in one track share one K and one alpha. Their posterior is kept on a small grid that moves and narrows
    from round to round. As many threads work as torch uses; the result does not depend on their number.

    Parameters
    ----------
    tracks : list of (T, 2) array
        xy-unit, T >= 2.
    sigma : (N,) array
        Localisation error of each track, xy-unit.
    mixture : Mixture
    start : Particles, optional
        Result for the same tracks and components from which to go on, instead of starting from the coarse grid.
    n_rounds : int
        Rounds of moving the grid.
    n_samples : int
        Paths to draw from each track's posterior; with 0, probabilities of components are not kept either.
    seed : int
    memory : int
        Steps of a stretch that the next one is conditioned on.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Particles

    Source: Attias, UAI 1999 (variational Bayes); the hidden Markov chain is that of `main.tracks.samples.semimarkov`.
    """
    steps = [np.ascontiguousarray(np.diff(track, axis=0)) for track in tracks]

    def decode_batch(first: int) -> list[tuple]:
        """Fields of `Particles`, for each track of the batch that begins with track `first`."""
        rows = np.arange(first, min(first + TRACKS_PER_BATCH, len(tracks)))
        batch = [steps[row] for row in rows]
        if start is None:
            mean, sd = coarse_posterior(batch, sigma[rows], mixture)
        else:
            mean, sd = start.mean[rows], start.sd[rows]
        for _ in range(n_rounds - 1):
            mean, sd, _ = share_node(batch, sigma[rows], mixture, mean, sd, memory)
        uniforms = [np.random.default_rng((seed, row)).random((n_samples, len(steps[row]), 2)) for row in rows]
        mean, sd, decoded = share_node(batch, sigma[rows], mixture, mean, sd, memory, uniforms if n_samples else None)
        return [(*values, *rest) for *values, rest in zip(mean, sd, decoded, strict=True)]

    batches = range(0, len(tracks), TRACKS_PER_BATCH)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        found = tqdm(pool.map(decode_batch, batches), "decoding", len(batches), unit="batch", disable=not progress)
        columns = list(zip(*(row for batch in found for row in batch), strict=True))
    lists = {"component": list, "samples": list}
    named = zip((field.name for field in fields(Particles)), columns, strict=True)
    return Particles(**{name: lists.get(name, np.array)(column) for name, column in named})


def make_grid(
    mixture: Mixture, mean: np.ndarray, sd: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay nodes around the given K and alpha of each component; a trapped component has one node.

    Parameters
    ----------
    mixture : Mixture
    mean, sd : (B, C, 2) array
    place : (M,) array
        Nodes along each axis, standard deviations.

    Returns
    -------
    values : numpy.ndarray, shape (B, S, 2)
        log10 K and alpha of the nodes.
    mass : numpy.ndarray, shape (B, S)
        Log-prior mass of the nodes.
    first_node : numpy.ndarray of int, shape (C + 1,)
        First node of each component, then the number of nodes.
    """
    offset = np.stack(np.meshgrid(place, place, indexing="ij"), -1).reshape(-1, 2)  # (M^2, 2)
    values = mean[:, :, None] + sd[:, :, None] * offset  # (B, C, M^2, 2)
    values[..., 1] = np.clip(values[..., 1], *ALPHA_RANGE)
    area = np.prod(sd * (place[1] - place[0]), axis=-1)  # (B, C)
    mass = log_prior(mixture, values) + np.log(area)[..., None]
    values[:, mixture.trapped] = [-np.inf, 1.0]
    mass[:, mixture.trapped] = 0.0
    keep = np.ones(mass.shape[1:], bool)
    keep[mixture.trapped, 1:] = False
    return values[:, keep], mass[:, keep], np.concatenate([[0], keep.sum(1).cumsum()])


def node_moments(values: np.ndarray, weight: np.ndarray, first_node: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (B, C, 2) of values (B, S, 2) under weights (B, S)."""
    values, weight = np.where(np.isfinite(values), values, 0.0), weight[..., None]
    mean = np.add.reduceat(weight * values, first_node[:-1], axis=1)
    away = values - np.repeat(mean, np.diff(first_node), axis=1)
    return mean, np.sqrt(np.add.reduceat(weight * away**2, first_node[:-1], axis=1))


def coarse_posterior(steps: list[np.ndarray], sigma: np.ndarray, mixture: Mixture) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (B, C, 2) of log10 K and alpha of each particle, from stretches taken one by one."""
    shape = (len(steps), *mixture.mean.shape)
    around = np.broadcast_to(mixture.mean, shape), np.broadcast_to(mixture.sd, shape)
    values, mass, first_node = make_grid(mixture, *around, COARSE_GRID_SD)
    k, log_weight, weight = 10.0 ** values[..., 0], np.log(node_probabilities(mass[0], first_node)), []
    for b, one in enumerate(steps):
        emission = log_emissions(one, k[b], values[b, :, 1].copy(), sigma[b], COARSE_MEMORY_STEPS)
        filtered = filter_steps(emission, first_node, log_weight, mixture.start, mixture.transition)
        age, _ = smooth_steps(filtered, first_node, mixture.transition)
        weight.append(node_probabilities(mass[b] + node_scores(age, emission, first_node), first_node))
    mean, sd = node_moments(values, np.array(weight), first_node)
    return mean, np.maximum(sd, COARSE_SD_FACTOR * (COARSE_GRID_SD[1] - COARSE_GRID_SD[0]) * mixture.sd)


def share_node(
    steps: list[np.ndarray], sigma: np.ndarray, mixture: Mixture, mean, sd, memory: int, uniforms=None
) -> tuple[np.ndarray, np.ndarray, list[tuple]]:
    """Do one round: the path of each particle given its K and alpha, then K and alpha given the path.

    Parameters
    ----------
    steps : list of (n, 2) array
        Of B particles.
    sigma : (B,) array
    mixture : Mixture
    mean, sd : (B, C, 2) array
        log10 K and alpha around which the grid is laid.
    memory : int
    uniforms : list of (R, n, 2) array, optional
        Random numbers with which to draw R paths.

    Returns
    -------
    mean, sd : numpy.ndarray, shape (B, C, 2)
    decoded : list of tuple
        Of each particle: evidence, occupied, moves, first, component and samples, see `Particles`.
    """
    sd = np.maximum(sd, MIN_PARTICLE_SD)
    values, mass, first_node = make_grid(mixture, mean, sd, LOCAL_GRID_SD)
    n_nodes = np.diff(first_node)
    offset = (values - np.repeat(mean, n_nodes, axis=1)) / np.repeat(sd, n_nodes, axis=1)
    offset[:, np.repeat(mixture.trapped, n_nodes)] = 0.0
    log_weight = -0.5 * (offset**2).sum(-1)
    k, alone, certain = 10.0 ** values[..., 0], np.arange(len(mixture) + 1), np.zeros(len(mixture))
    weights, decoded = [], []
    for b, one in enumerate(steps):
        emission = log_emissions(one, k[b], values[b, :, 1].copy(), sigma[b], memory)
        weight = node_probabilities(log_weight[b], first_node)
        for _ in range(2):
            average = average_nodes(emission, weight, first_node)
            filtered = filter_steps(average, alone, certain, mixture.start, mixture.transition)
            age, moves = smooth_steps(filtered, alone, mixture.transition)
            gap = weight @ (np.log(np.maximum(weight, 1e-300)) - mass[b])
            weight = node_probabilities(mass[b] + node_scores(age, emission, first_node), first_node)
        component = age.sum(1)  # (n, C)
        paths = None if uniforms is None else draw_paths(filtered, alone, mixture.transition, uniforms[b])
        kept = None if uniforms is None else component
        occupied = component.sum(0)
        decoded.append((filtered.log_likelihood - gap, occupied, moves, component[0], kept, paths))
        weights.append(weight)
    return *node_moments(values, np.array(weights), first_node), decoded
