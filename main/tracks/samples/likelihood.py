"""Likelihood of the steps of a track: stretches of fractional Brownian motion, with localisation noise.

A track of n + 1 positions has n steps. Between changepoints the steps are stationary Gaussian, with covariance
K (|h+1|^a + |h-1|^a - 2|h|^a) per coordinate at lag h, plus localisation noise: 2 sigma^2 at lag 0, -sigma^2 at lag 1.
A stretch is scored step by step, each step given the earlier steps of the stretch (Durbin-Levinson). The localisation
error of the position at a changepoint, which both stretches share, counts for each of them.

Shapes: n steps, A ages, C components, S nodes (pairs of K and alpha). Nodes are in order of their component; component
c has the nodes ``first_node[c]`` to ``first_node[c + 1] - 1``, so ``first_node`` has the shape (C + 1,).
"""

from __future__ import annotations

import numpy as np

from main.tracks.inference.segments import Segment
from main.utils.compiled import compiled

MEMORY_STEPS = 32  # steps farther back in a stretch change the prediction of the next one very little
MIN_VARIANCE_RATIO = 1e-12  # of a step given one more earlier step; less is rounding


@compiled
def step_covariance(k, alpha, sigma, n):
    """Covariance per coordinate of steps 0 to n - 1 apart.

    Parameters
    ----------
    k, alpha : float
        xy-unit^2/frame^alpha, and exponent.
    sigma : float
        Localisation error, xy-unit.
    n : int

    Returns
    -------
    numpy.ndarray
        (n,) xy-unit^2.
    """
    cov = np.empty(n)
    cov[0] = 2 * k + 2 * sigma**2
    before, here = 0.0, 1.0  # (lag - 1)^alpha, lag^alpha
    for lag in range(1, n):
        ahead = (lag + 1.0) ** alpha
        cov[lag] = k * (ahead + before - 2 * here)
        before, here = here, ahead
    if n > 1:
        cov[1] -= sigma**2
    return cov


@compiled
def whitening(k, alpha, sigma, n_ages):
    """Partial correlations of successive steps, and the variance of a step given the earlier ones of its stretch.

    Parameters
    ----------
    k, alpha : (S,) array
        xy-unit^2/frame^alpha, and exponent.
    sigma : float
        Localisation error, xy-unit.
    n_ages : int

    Returns
    -------
    partial, variance : numpy.ndarray, shape (A, S)
        By the number of earlier steps; xy-unit^2.

    Source: Durbin-Levinson recursion, Brockwell and Davis, Time Series: Theory and Methods, 5.2.
    """
    partial, variance = np.zeros((n_ages, len(k))), np.empty((n_ages, len(k)))
    coef = np.empty(n_ages)  # of lags 1, 2, ...
    for s in range(len(k)):
        cov = step_covariance(k[s], alpha[s], sigma, n_ages)
        variance[0, s] = cov[0]
        for age in range(1, n_ages):
            value = cov[age]
            for lag in range(1, age):
                value -= coef[lag - 1] * cov[age - lag]
            value /= variance[age - 1, s]
            for i in range(age // 2):  # from both ends, since each value needs its opposite
                j = age - 2 - i
                coef[i], coef[j] = coef[i] - value * coef[j], coef[j] - value * coef[i]
            coef[age - 1] = value
            partial[age, s] = value
            variance[age, s] = variance[age - 1, s] * max(1 - value**2, MIN_VARIANCE_RATIO)
    return partial, variance


@compiled
def log_emissions(steps, k, alpha, sigma, n_ages):
    """Log-density of every step under every node and every age of its stretch.

    Parameters
    ----------
    steps : (n, 2) array
        xy-unit.
    k, alpha : (S,) array
        Nodes: xy-unit^2/frame^alpha, and exponent.
    sigma : float
        Localisation error, xy-unit.
    n_ages : int

    Returns
    -------
    numpy.ndarray
        (n, A, S) float32; values at ages older than the track have no meaning.

    Source: lattice form of the prediction error, Makhoul, IEEE Transactions ASSP 25, 423 (1977).
    """
    n, n_nodes = len(steps), len(k)
    partial, variance = whitening(k, alpha, sigma, n_ages)
    constant, half = -np.log(2 * np.pi * variance), 0.5 / variance
    out = np.empty((n, n_ages, n_nodes), np.float32)
    # Errors of predicting a step from the next ones, at the step before (old) and at this one (new), x and y.
    old, new = np.zeros((n_ages, 2, n_nodes)), np.zeros((n_ages, 2, n_nodes))
    ahead = np.empty((2, n_nodes))  # error of predicting this step from the earlier ones
    for t in range(n):
        for i in range(2):
            ahead[i] = steps[t, i]
            new[0, i] = steps[t, i]
        for s in range(n_nodes):
            out[t, 0, s] = constant[0, s] - half[0, s] * (ahead[0, s] ** 2 + ahead[1, s] ** 2)
        for age in range(1, min(t, n_ages - 1) + 1):
            for s in range(n_nodes):
                x, y, r = ahead[0, s], ahead[1, s], partial[age, s]
                ahead[0, s] = x - r * old[age - 1, 0, s]
                ahead[1, s] = y - r * old[age - 1, 1, s]
                new[age, 0, s] = old[age - 1, 0, s] - r * x
                new[age, 1, s] = old[age - 1, 1, s] - r * y
                out[t, age, s] = constant[age, s] - half[age, s] * (ahead[0, s] ** 2 + ahead[1, s] ** 2)
        old, new = new, old
    return out


@compiled
def average_nodes(emission, weight, first_node):
    """Mean log-density of each component, (n, A, C) float32, over nodes with weights (S,) that sum to 1 in each."""
    n, n_ages, _ = emission.shape
    out, weight = np.zeros((n, n_ages, len(first_node) - 1), np.float32), weight.astype(np.float32)
    for t in range(n):
        for a in range(min(t, n_ages - 1) + 1):
            for c in range(out.shape[2]):
                total = np.float32(0.0)
                for s in range(first_node[c], first_node[c + 1]):
                    total += weight[s] * emission[t, a, s]
                out[t, a, c] = total
    return out


@compiled
def node_scores(age, emission, first_node):
    """Expected log-density of the stretches of each component, if all of them had the K and alpha of one node.

    Parameters
    ----------
    age : (n, A, C) array
        As returned by `smooth_steps`.
    emission : (n, A, S) array
        As returned by `log_emissions`.
    first_node : (C + 1,) array of int

    Returns
    -------
    numpy.ndarray
        (S,)
    """
    n, n_ages, n_nodes = emission.shape
    score = np.zeros(n_nodes)
    for t in range(n):
        for a in range(min(t, n_ages - 1) + 1):
            for c in range(len(first_node) - 1):
                p = age[t, a, c]
                if p > 0:
                    for s in range(first_node[c], first_node[c + 1]):
                        score[s] += p * emission[t, a, s]
    return score


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
    steps = np.diff(track, axis=0)
    total = -(len(segments) - 1) * np.log(len(steps))
    for s in segments:
        stretch = steps[s.start : s.end]
        if len(stretch):
            total += stretch_log_density(stretch, s.k, s.alpha, sigma, memory)
            total -= np.log(len(stretch)) if s.k > 0 else 0.0
    return float(total)


@compiled
def stretch_log_density(steps, k, alpha, sigma, n_ages):
    """Log-density of the steps (n, 2) of one stretch, each given up to n_ages - 1 earlier ones."""
    emission = log_emissions(steps, np.array([k]), np.array([alpha]), sigma, n_ages)
    total = 0.0
    for t in range(len(steps)):
        total += emission[t, min(t, n_ages - 1), 0]
    return total
