"""Each particle's own K and alpha in the components of its sample, and its path between them."""

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from main.tracks.samples.mixture import ALPHA_RANGE, log_prior
from main.tracks.samples.semimarkov import MEMORY, Chain, decode, log_emissions, node_scores

BATCH = 16  # tracks of similar length
COARSE = np.linspace(-2, 2, 5)  # nodes along each axis in standard deviations: of the component,
LOCAL = np.linspace(-2, 2, 5)  # and of the particle
COARSE_MEMORY = 16  # steps
CERTAIN = 1e-3  # smallest standard deviation of a particle's log10 K or alpha


@dataclass
class Particles:
    """Posterior of N tracks in C components.

    Parameters
    ----------
    mean, sd : numpy.ndarray, shape (N, C, 2)
        log10 K and alpha of the particle in each component, with their uncertainty.
    evidence : numpy.ndarray, shape (N,)
        Lower bound of the log-likelihood of the steps of each track, K and alpha integrated out.
    occupied : numpy.ndarray, shape (N, C)
        Expected steps in each component.
    moves : numpy.ndarray, shape (N, C, C)
        Expected changes.
    first : numpy.ndarray, shape (N, C)
        Probability of each component at the first step.
    component : list of numpy.ndarray, each shape (n, C)
        Probability of each component at each step; empty unless asked for.
    samples : list of numpy.ndarray, each shape (R, n), int8
        Components along paths drawn from the posterior; empty unless asked for.
    """

    mean: np.ndarray
    sd: np.ndarray
    evidence: np.ndarray
    occupied: np.ndarray
    moves: np.ndarray
    first: np.ndarray
    component: list
    samples: list


def decode_particles(
    tracks, sigma, mixture, start=None, n_rounds=1, n_samples=0, seed=0, memory=MEMORY, progress=False
):
    """Every particle's K and alpha in each component, and its path between them, by variational inference.

    A first look lets every stretch take its own node of a coarse grid over the component. From then on all
    stretches of one component in one track share one K and one alpha, whose posterior is kept on a small grid
    that moves and narrows from round to round.

    Parameters
    ----------
    tracks : list of (T, 2) array
        xy-unit, T >= 2.
    sigma : (N,) array
        Localisation error of each track, xy-unit.
    mixture : Mixture
    start : Particles, optional
        Go on from these (same tracks, same components) instead of taking the first look.
    n_rounds : int
        Rounds of moving the grid.
    n_samples : int
        Paths to draw from each track's posterior; with 0, no probabilities of components are kept either.
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
        np.empty((n, c, 2)),
        np.empty((n, c, 2)),
        np.empty(n),
        np.empty((n, c)),
        np.empty((n, c, c)),
        np.empty((n, c)),
        [None] * n,
        [None] * n,
    )
    rng = np.random.default_rng(seed)
    order = np.argsort([len(track) for track in tracks], kind="stable")
    for i in tqdm(range(0, n, BATCH), "decoding", unit="batch", disable=not progress):
        rows = order[i : i + BATCH]
        steps, lengths = pad_steps([tracks[row] for row in rows])
        if start is None:
            mean, sd = first_look(steps, lengths, sigma[rows], mixture)
        else:
            mean, sd = start.mean[rows], start.sd[rows]
        for rest in range(n_rounds - 1, -1, -1):
            draw = n_samples if rest == 0 else 0
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


def pad_steps(tracks):
    """Steps (B, n, 2) float32, right-padded, and their numbers (B,)."""
    lengths = np.array([len(track) - 1 for track in tracks])
    steps = np.zeros((len(tracks), lengths.max(), 2), dtype=np.float32)
    for row, track in zip(steps, tracks, strict=True):
        row[: len(track) - 1] = np.diff(track, axis=0)
    return steps, lengths


def grid(mixture, mean, sd, place):
    """Nodes around the given K and alpha of each component; one node for a trapped one.

    Parameters
    ----------
    mixture : Mixture
    mean, sd : (B, C, 2) array
    place : (M,) array
        Nodes along each axis, standard deviations.

    Returns
    -------
    tuple
        values (B, S, 2) (log10 K, alpha), log-prior mass of each node (B, S), component (S,).
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


def posterior(log_mass, chain):
    """Probability of each node within its component, (B, S) -> (B, S)."""
    for c in range(len(chain.start)):
        own = chain.component == c
        log_mass[:, own] -= log_mass[:, own].max(1, keepdims=True)
    mass = np.exp(log_mass)
    return mass / chain.sums(mass)[:, chain.component]


def moments(values, weight, chain):
    """Mean and standard deviation (B, C, 2) of values (B, S, 2) under weights (B, S)."""

    def average(v):
        return chain.sums((weight[..., None] * v).transpose(0, 2, 1)).transpose(0, 2, 1)

    values = np.where(np.isfinite(values), values, 0.0)
    mean = average(values)
    return mean, np.sqrt(average((values - mean[:, chain.component]) ** 2))


def first_look(steps, lengths, sigma, mixture):
    """Mean and standard deviation (B, C, 2) of each particle's log10 K and alpha, every stretch by itself."""
    shape = (len(steps), *mixture.mean.shape)
    values, mass, component = grid(
        mixture, np.broadcast_to(mixture.mean, shape), np.broadcast_to(mixture.sd, shape), COARSE
    )
    chain = Chain(component, mixture.start, mixture.transition)
    emission = log_emissions(steps, lengths, 10.0 ** values[..., 0], values[..., 1], sigma, COARSE_MEMORY)
    decoded = decode(emission, lengths, chain, posterior(mass.copy(), chain))
    score = node_scores(decoded.age, emission, component)
    mean, sd = moments(values, posterior(mass + score, chain), chain)
    return mean, np.maximum(sd, 0.4 * (COARSE[1] - COARSE[0]) * mixture.sd)


def share_node(steps, lengths, sigma, mixture, mean, sd, memory, n_samples, rng):
    """One round: the path given each particle's K and alpha, then these given the path.

    Returns
    -------
    tuple
        mean, sd (B, C, 2), evidence (B,), Decoded.
    """
    values, mass, component = grid(mixture, mean, np.maximum(sd, CERTAIN), LOCAL)
    chain = Chain(component, mixture.start, mixture.transition)
    single = Chain(np.arange(len(mixture)), mixture.start, mixture.transition)
    emission = log_emissions(steps, lengths, 10.0 ** values[..., 0], values[..., 1], sigma, memory)
    offset = (values - mean[:, component]) / np.maximum(sd, CERTAIN)[:, component]
    offset[:, mixture.trapped[component]] = 0.0
    weight = posterior(-0.5 * (offset**2).sum(-1), chain)
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
        weight = posterior(mass + node_scores(decoded.age, emission, component), chain)
    return *moments(values, weight, chain), evidence, decoded
