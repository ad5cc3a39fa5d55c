"""Exact decoding of tracks made of stretches of fractional Brownian motion, with localisation noise.

A stretch is what lies between two changepoints: the particle is in one component, which has one K and one alpha.
A track of n + 1 positions has n steps. Between changepoints the steps of one component are stationary Gaussian, with
covariance K (|h+1|^a + |h-1|^a - 2|h|^a) per coordinate at lag h, plus localisation noise: 2 sigma^2 at lag 0, -sigma^2
at lag 1. A stretch is scored step by step, each step given the earlier steps of the stretch (Durbin-Levinson); the
hidden Markov chain therefore carries the component, one of its nodes (pairs of K and alpha on a grid, as their values
are uncertain) and the age of the stretch, whose memory ends after `MEMORY_STEPS` steps. The localisation error of the
position at a changepoint, which both stretches share, counts for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from main.tracks.inference.segments import Segment

MEMORY_STEPS = 32  # steps farther back in a stretch change the prediction of the next one very little
LOG_ZERO = -1e30  # stands for log(0) in float32
TINY = 1e-37  # about the smallest normal float32


@dataclass
class Chain:
    """Nodes of C components, and probabilities to change between the components.

    Parameters
    ----------
    component : numpy.ndarray, shape (S,), int
        Component of each node, increasing.
    start : numpy.ndarray, shape (C,)
        Probability of each component at the first step.
    transition : numpy.ndarray, shape (C, C)
        Probability of each component one step later; rows sum to 1.
    """

    component: np.ndarray
    start: np.ndarray
    transition: np.ndarray

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums of values (..., S) over the nodes of each component, (..., C)."""
        return np.add.reduceat(values, np.searchsorted(self.component, np.arange(len(self.start))), axis=-1)

    def log_rates(self) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities of staying (C,) and of switching (C, C), the diagonal of which is LOG_ZERO."""
        log_rate = np.log(np.maximum(self.transition, TINY)).astype(np.float32)
        stay = np.diag(log_rate).copy()
        np.fill_diagonal(log_rate, LOG_ZERO)
        return stay, log_rate


@dataclass
class Decoded:
    """Posterior of B tracks of n steps, decoded with C components.

    Parameters
    ----------
    log_likelihood : numpy.ndarray, shape (B,)
        Of the steps of each track.
    age : numpy.ndarray, shape (B, n, C, A)
        Probability of each component and age of its stretch at each step.
    moves : numpy.ndarray, shape (B, C, C)
        Expected number of changes from one component to another.
    samples : numpy.ndarray, shape (B, R, n), int8
        Components along R paths drawn from the posterior.
    """

    log_likelihood: np.ndarray
    age: np.ndarray
    moves: np.ndarray
    samples: np.ndarray


def step_covariance(k, alpha, sigma, n: int) -> np.ndarray:
    """Covariance per coordinate of steps 0 to n - 1 apart.

    Parameters
    ----------
    k, alpha : (N,) array
        xy-unit^2/frame^alpha, and exponent.
    sigma : (N,) array or float
        Localisation error, xy-unit.

    Returns
    -------
    numpy.ndarray
        (N, n) xy-unit^2.
    """
    lag = np.arange(n, dtype=np.float64)
    a = np.asarray(alpha, dtype=np.float64)[:, None]
    power = (lag + 1) ** a + np.abs(lag - 1) ** a - 2 * lag**a
    power[:, 0] = 2.0  # 0^0 = 1 would make the steps of alpha = 0 wrong
    cov = np.asarray(k, dtype=np.float64)[:, None] * power
    cov[:, 0] += 2 * sigma**2
    if n > 1:
        cov[:, 1] -= sigma**2
    return cov


def whitening_filters(k, alpha, sigma, memory: int = MEMORY_STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Filters that turn a step and the earlier ones of its stretch into a standard normal residual.

    Parameters
    ----------
    k, alpha : (N,) array
        xy-unit^2/frame^alpha, and exponent.
    sigma : (N,) array
        Localisation error, xy-unit.
    memory : int
        Number of ages, A.

    Returns
    -------
    tuple
        (N, A lags, A ages) filters and (N, A) log-density at residual 0 of a step in two coordinates.

    Source: Durbin-Levinson recursion, Brockwell and Davis, Time Series: Theory and Methods, 5.2.
    """
    cov = step_covariance(k, alpha, sigma, memory)
    variance = np.empty((len(cov), memory))
    filters = np.zeros((len(cov), memory, memory))
    coef = np.zeros((len(cov), 0))  # (N, age): of lags 1 to age
    variance[:, 0] = cov[:, 0]
    filters[:, 0] = 1.0
    for age in range(1, memory):
        partial = (cov[:, age] - (coef * cov[:, age - 1 : 0 : -1]).sum(1)) / variance[:, age - 1]
        coef = np.concatenate([coef - partial[:, None] * coef[:, ::-1], partial[:, None]], axis=1)
        variance[:, age] = variance[:, age - 1] * (1 - partial**2)
        filters[:, 1 : age + 1, age] = -coef
    return (filters / np.sqrt(variance)[:, None]).astype(np.float32), -np.log(2 * np.pi * variance)


def log_emissions(steps, lengths, k, alpha, sigma, memory: int = MEMORY_STEPS) -> np.ndarray:
    """Log-density of every step under every node of its track and every age of its stretch.

    Parameters
    ----------
    steps : (B, n, 2) array
        xy-unit, right-padded.
    lengths : (B,) array of int
        Steps of each track, 1 to n.
    k, alpha : (B, S) array
        Nodes of each track: xy-unit^2/frame^alpha, and exponent.
    sigma : (B,) array
        Localisation error of each track, xy-unit.
    memory : int
        Number of ages, A.

    Returns
    -------
    numpy.ndarray
        (B, n, S, A) float32; 0 in the padding; values at ages older than the track have no meaning.
    """
    n_tracks, n_steps, _ = steps.shape
    n_nodes = k.shape[1]
    filters, constant = whitening_filters(k.ravel(), alpha.ravel(), np.repeat(sigma, n_nodes), memory)
    filters = filters.reshape(n_tracks, n_nodes, memory, memory).transpose(0, 2, 1, 3).reshape(n_tracks, memory, -1)
    padded = np.zeros((n_tracks, 2, memory - 1 + n_steps), dtype=np.float32)
    padded[:, :, memory - 1 :] = steps.transpose(0, 2, 1)
    lagged = np.lib.stride_tricks.sliding_window_view(padded, memory, axis=2)[..., ::-1]  # (B, 2, n, lag)
    emission = np.ascontiguousarray(lagged[:, 0]) @ filters
    np.square(emission, out=emission)
    second = np.ascontiguousarray(lagged[:, 1]) @ filters
    emission += np.square(second, out=second)
    emission *= -0.5
    emission += constant.reshape(n_tracks, 1, -1).astype(np.float32)
    emission[np.arange(n_steps) >= np.asarray(lengths)[:, None]] = 0.0
    return emission.reshape(n_tracks, n_steps, n_nodes, memory)


def decode(
    emission: np.ndarray, lengths: np.ndarray, chain: Chain, weight=None, n_samples: int = 0, rng=None
) -> Decoded:
    """Posterior of components and changes of B tracks.

    Parameters
    ----------
    emission : (B, n, S, A) array
        As returned by `log_emissions`.
    lengths : (B,) array of int
        Steps of each track, 1 to n.
    chain : Chain
    weight : (B, S) array, optional
        Weight of each node when a stretch of its component begins; 1 if not given (one node for each component).
    n_samples : int
        Paths to draw.
    rng : numpy.random.Generator, optional
        Needed to draw paths.

    Returns
    -------
    Decoded

    Source: forward-backward and backward sampling of a hidden Markov chain (Rabiner 1989) whose state carries the
    age of the stretch.
    """
    weight = np.ones(emission.shape[0:3:2]) if weight is None else weight
    log_weight = np.log(np.maximum(weight, TINY)).astype(np.float32)
    forward, total = _forward(emission, chain, log_weight)
    samples = _sample_paths(forward, chain, n_samples, rng)
    age, moves = _backward(emission, forward, chain, log_weight, lengths)
    return Decoded(total, age, moves, samples)


def node_scores(age: np.ndarray, emission: np.ndarray, component: np.ndarray) -> np.ndarray:
    """Expected log-density of the stretches of each component, if all of them had the K and alpha of one node.

    Parameters
    ----------
    age : (B, n, C, A) array
        As returned by `decode`.
    emission : (B, n, S, A) array
        As returned by `log_emissions`.
    component : (S,) array of int

    Returns
    -------
    numpy.ndarray
        (B, S)
    """
    parts = [np.einsum("bna,bnsa->bs", age[:, :, c], emission[:, :, component == c]) for c in range(age.shape[2])]
    return np.concatenate(parts, axis=1)


def stretch_likelihood(track: np.ndarray, segments: list[Segment], sigma: float, memory: int = MEMORY_STEPS) -> float:
    """Log-likelihood of the steps of a track given its segments, less the price of K, alpha and changepoints (BIC).

    Parameters
    ----------
    track : (T, 2) array
        xy-unit.
    segments : list of Segment
        The frames of a segment govern the steps that begin at them.
    sigma : float
        Localisation error, xy-unit.
    memory : int
        Number of earlier steps on which the next one is conditioned.

    Returns
    -------
    float
        Nats.
    """
    n_steps = len(track) - 1
    starts = np.array([s.start for s in segments])
    ends = np.minimum([s.end for s in segments], n_steps)
    length = np.maximum(ends - starts, 0)
    k, alpha = (np.array([getattr(s, name) for s in segments])[None] for name in ("k", "alpha"))
    steps = np.diff(track, axis=0)[None]
    density = log_emissions(steps, [n_steps], k, alpha, np.array([sigma]), memory)[0]  # (n, segments, A)
    owner = np.repeat(np.arange(len(segments)), length)
    t = np.arange(len(owner))
    age = np.minimum(t - starts[owner], memory - 1)
    price = np.log(np.maximum(length, 1))[k[0] > 0].sum() + (len(segments) - 1) * np.log(n_steps)
    return float(density[t, owner, age].sum(dtype=np.float64) - price)


def _log_sum(values, chain):
    """log sum exp of (B, S) by component, (B, C)."""
    peak = values.max(axis=1, keepdims=True)
    return np.log(chain.sums(np.exp(values - peak)) + TINY) + peak


def _age_sum(values):
    """log sum exp over the last axis."""
    peak = values.max(axis=-1)
    return np.log(np.exp(values - peak[..., None]).sum(axis=-1)) + peak


def _switch(log_occupied, log_rate):
    """(B, C) log-probability to leave from, (C, C) log-rates -> (B, C) log-probability to arrive."""
    peak = log_occupied.max(axis=1, keepdims=True)
    return np.log(np.exp(log_occupied - peak) @ np.exp(log_rate) + TINY) + peak


def _forward(emission, chain, log_weight):
    """Log-probabilities (B, n, S, A) of node and age given the steps so far; log-likelihood (B,)."""
    stay, log_rate = chain.log_rates()
    component = chain.component
    forward = np.full(emission.shape, LOG_ZERO, dtype=np.float32)
    total = np.zeros(len(emission))
    by_node = None
    for t in range(emission.shape[1]):
        now = forward[:, t]
        if t == 0:
            enter = np.log(np.maximum(chain.start, TINY)).astype(np.float32)[None]
        else:
            before = forward[:, t - 1]
            now[..., 1:] = before[..., :-1]
            now[..., -1] = np.logaddexp(before[..., -1], before[..., -2])
            now += stay[component][:, None]
            enter = _switch(_log_sum(by_node, chain), log_rate)
        now[..., 0] = enter[:, component] + log_weight
        now += emission[:, t]
        by_node = _age_sum(now)  # (B, S)
        peak = by_node.max(axis=1)
        step_total = np.log(np.exp(by_node - peak[:, None]).sum(axis=1)) + peak
        now -= step_total[:, None, None]
        by_node -= step_total[:, None]
        total += step_total
    return forward, total


def _backward(emission, forward, chain, log_weight, lengths):
    """Posterior of component and age (B, n, C, A), and expected moves (B, C, C)."""
    n_tracks, n_steps, _, n_ages = emission.shape
    stay, log_rate = chain.log_rates()
    component, n_components = chain.component, len(chain.start)
    age = np.empty((n_tracks, n_steps, n_components, n_ages), dtype=np.float32)
    moves = np.zeros((n_tracks, n_components, n_components))
    backward = np.zeros(forward[:, 0].shape, dtype=np.float32)
    for t in range(n_steps - 1, -1, -1):
        if t < n_steps - 1:
            ahead = backward + emission[:, t + 1]  # (B, S, A)
            arrive = _log_sum(log_weight + ahead[..., 0], chain)  # (B, C)
            leave = _switch(arrive, log_rate.T)
            backward[..., :-1] = ahead[..., 1:]
            backward[..., -1] = ahead[..., -1]
            backward += stay[component][:, None]
            np.logaddexp(backward, leave[:, component, None], out=backward)
        posterior = forward[:, t] + backward
        peak = posterior.max(axis=(1, 2))
        np.exp(posterior - peak[:, None, None], out=posterior)
        norm = posterior.sum(axis=(1, 2))
        posterior /= norm[:, None, None]
        age[:, t] = chain.sums(posterior.transpose(0, 2, 1)).transpose(0, 2, 1)
        if t < n_steps - 1:
            occupied = _log_sum(_age_sum(forward[:, t]), chain)
            pair = occupied[:, :, None] + log_rate + arrive[:, None] - (peak + np.log(norm))[:, None, None]
            moves += np.exp(pair) * (t + 1 < lengths)[:, None, None]
    return age, moves


def _sample_paths(forward, chain, n_samples, rng):
    """Components (B, R, n) along paths drawn from the posterior; they are drawn from the last step to the first."""
    n_tracks, n_steps, n_nodes, n_ages = forward.shape
    paths = np.empty((n_tracks, n_samples, n_steps), dtype=np.int8)
    if not n_samples:
        return paths
    _, log_rate = chain.log_rates()
    into = log_rate[chain.component]  # (S, C): from a node's component to another
    track = np.repeat(np.arange(n_tracks), n_samples)
    weights = forward[track, -1].reshape(len(track), -1)
    node, age = np.divmod(_draw(weights, rng), n_ages)
    flat = paths.reshape(-1, n_steps)
    for t in range(n_steps - 1, -1, -1):
        flat[:, t] = chain.component[node]
        if not t:
            break
        fresh, oldest = age == 0, age == n_ages - 1
        rows = np.flatnonzero(oldest)
        before = forward[track[rows], t - 1, node[rows]]  # (rows, A)
        older = before[:, -1] - np.logaddexp(before[:, -1], before[:, -2])
        stays_oldest = np.log(rng.random(len(rows))) < older
        age = age - 1
        age[rows[stays_oldest]] = n_ages - 1
        rows = np.flatnonzero(fresh)
        if len(rows):
            weights = forward[track[rows], t - 1] + into[:, chain.component[node[rows]]].T[:, :, None]
            node[rows], age[rows] = np.divmod(_draw(weights.reshape(len(rows), -1), rng), n_ages)
    return paths


def _draw(log_weights, rng):
    """One index per row (N,), drawn with weights that are the exponentials of the row."""
    cumulative = np.exp(log_weights - log_weights.max(axis=1, keepdims=True)).cumsum(axis=1, dtype=np.float64)
    return (cumulative < rng.random(len(cumulative))[:, None] * cumulative[:, -1:]).sum(axis=1)
