"""Decode particles: K and alpha of each one in the components of its sample, and its path between them."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from main.tracks.samples.mixture import ALPHA_RANGE, Mixture, Particles, log_prior
from main.tracks.samples.semimarkov import MEMORY_STEPS, Chain, Decoded, decode, log_emissions, node_scores

TRACKS_PER_BATCH = 16  # of similar length
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
    from round to round.

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
    n, c = len(tracks), len(mixture)
    result = Particles(
        mean=np.empty((n, c, 2)),
        sd=np.empty((n, c, 2)),
        evidence=np.empty(n),
        occupied=np.empty((n, c)),
        moves=np.empty((n, c, c)),
        first=np.empty((n, c)),
        component=[None] * n,
        samples=[None] * n,
    )
    rng = np.random.default_rng(seed)
    order = np.argsort([len(track) for track in tracks], kind="stable")
    for i in tqdm(range(0, n, TRACKS_PER_BATCH), "decoding", unit="batch", disable=not progress):
        rows = order[i : i + TRACKS_PER_BATCH]
        steps, lengths = pad_steps([tracks[row] for row in rows])
        if start is None:
            mean, sd = coarse_posterior(steps, lengths, sigma[rows], mixture)
        else:
            mean, sd = start.mean[rows], start.sd[rows]
        for rounds_left in range(n_rounds - 1, -1, -1):
            draw = 0 if rounds_left else n_samples
            mean, sd, evidence, decoded = share_node(steps, lengths, sigma[rows], mixture, mean, sd, memory, draw, rng)
        component = decoded.age.sum(-1)  # (B, n, C)
        valid = np.arange(steps.shape[1]) < lengths[:, None]
        result.mean[rows], result.sd[rows], result.evidence[rows] = mean, sd, evidence
        result.occupied[rows] = (component * valid[..., None]).sum(1)
        result.moves[rows], result.first[rows] = decoded.moves, component[:, 0]
        if n_samples:
            for b, row in enumerate(rows):
                result.component[row] = component[b, : lengths[b]]
                result.samples[row] = decoded.samples[b, :, : lengths[b]]
    return result


def pad_steps(tracks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Steps of the tracks (B, n, 2) float32, right-padded, and their numbers (B,)."""
    lengths = np.array([len(track) - 1 for track in tracks])
    steps = np.zeros((len(tracks), lengths.max(), 2), dtype=np.float32)
    for row, track in zip(steps, tracks, strict=True):
        row[: len(track) - 1] = np.diff(track, axis=0)
    return steps, lengths


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
    component : numpy.ndarray of int, shape (S,)
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
    return values[:, keep], mass[:, keep], np.repeat(np.arange(len(mixture)), keep.sum(1))


def node_probabilities(log_mass: np.ndarray, chain: Chain) -> np.ndarray:
    """Probability of each node within its component, (B, S), from log masses (B, S), which are changed in place."""
    for c in range(len(chain.start)):
        nodes = chain.component == c
        log_mass[:, nodes] -= log_mass[:, nodes].max(1, keepdims=True)
    mass = np.exp(log_mass)
    return mass / chain.sums(mass)[:, chain.component]


def node_moments(values: np.ndarray, weight: np.ndarray, chain: Chain) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (B, C, 2) of values (B, S, 2) under weights (B, S)."""

    def average(v):
        return chain.sums((weight[..., None] * v).transpose(0, 2, 1)).transpose(0, 2, 1)

    values = np.where(np.isfinite(values), values, 0.0)
    mean = average(values)
    return mean, np.sqrt(average((values - mean[:, chain.component]) ** 2))


def coarse_posterior(
    steps: np.ndarray, lengths: np.ndarray, sigma: np.ndarray, mixture: Mixture
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (B, C, 2) of log10 K and alpha of each particle, from stretches taken one by one."""
    shape = (len(steps), *mixture.mean.shape)
    around = np.broadcast_to(mixture.mean, shape), np.broadcast_to(mixture.sd, shape)
    values, mass, component = make_grid(mixture, *around, COARSE_GRID_SD)
    chain = Chain(component, mixture.start, mixture.transition)
    emission = log_emissions(steps, lengths, 10.0 ** values[..., 0], values[..., 1], sigma, COARSE_MEMORY_STEPS)
    decoded = decode(emission, lengths, chain, node_probabilities(mass.copy(), chain))
    score = node_scores(decoded.age, emission, component)
    mean, sd = node_moments(values, node_probabilities(mass + score, chain), chain)
    return mean, np.maximum(sd, COARSE_SD_FACTOR * (COARSE_GRID_SD[1] - COARSE_GRID_SD[0]) * mixture.sd)


def share_node(
    steps, lengths, sigma, mixture, mean, sd, memory, n_samples, rng
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Decoded]:
    """Do one round: the path of each particle given its K and alpha, then K and alpha given the path.

    Returns
    -------
    tuple
        mean, sd (B, C, 2), evidence (B,), Decoded.
    """
    values, mass, component = make_grid(mixture, mean, np.maximum(sd, MIN_PARTICLE_SD), LOCAL_GRID_SD)
    chain = Chain(component, mixture.start, mixture.transition)
    single = Chain(np.arange(len(mixture)), mixture.start, mixture.transition)
    emission = log_emissions(steps, lengths, 10.0 ** values[..., 0], values[..., 1], sigma, memory)
    offset = (values - mean[:, component]) / np.maximum(sd, MIN_PARTICLE_SD)[:, component]
    offset[:, mixture.trapped[component]] = 0.0
    weight = node_probabilities(-0.5 * (offset**2).sum(-1), chain)
    for last in (False, True):
        average = np.stack(
            [
                np.einsum("bs,bnsa->bna", weight[:, component == c], emission[:, :, component == c])
                for c in range(len(mixture))
            ],
            axis=2,
        )
        decoded = decode(average.astype(np.float32), lengths, single, n_samples=n_samples * last, rng=rng)
        gap = (weight * (np.log(np.maximum(weight, 1e-300)) - mass)).sum(1)
        evidence = decoded.log_likelihood - gap
        weight = node_probabilities(mass + node_scores(decoded.age, emission, component), chain)
    return *node_moments(values, weight, chain), evidence, decoded
