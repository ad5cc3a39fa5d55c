"""Describe the components of a sample with intervals, for `run.json` and the report."""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student

from main.tracks.samples.mixture import ALPHA_RANGE, Mixture, Particles
from main.utils.bootstrap import LEVEL, bootstrap_interval, resample_totals
from simulations.parameters import STATES, TRAPPED

# Standard deviation of a weak prior around the fitted values, which keeps what the tracks do not determine in range.
PRIOR_SD = np.array([1.0, 0.5, 2.0])  # decades of K, alpha, natural log of the rate of leaving


def describe_components(mixture: Mixture, states: np.ndarray, particles: Particles) -> list[dict]:
    """Components as plain numbers, with 90 % intervals.

    Parameters
    ----------
    mixture : Mixture
    states : (C,) array of int
    particles : Particles
        All N tracks of the sample, decoded with the mixture, with paths.

    Returns
    -------
    list of dict
        Of each component: state (name); share (of all steps); k (K at the mean log10 K of its particles, unit of the
        positions^2/frame^alpha) and alpha, both 0 if trapped; dwell (mean stay in frames, None if it is never left);
        ends of their intervals, `_lo` and `_hi`, those of alpha not cut at 0 and 2; correlation (of the errors of
        log10 K and alpha); log10_k_sd, alpha_sd (spread between particles); start (share of the first steps); rates
        (probabilities per frame to change).
    """
    value, covariance = estimate_parameters(mixture, particles)
    half = student.ppf((1 + LEVEL) / 2, len(particles.mean) - 1) * np.sqrt(np.diagonal(covariance, 0, 1, 2))
    low, high = value - half, value + half  # (C, 3)
    share, share_ends = occupied_shares(particles)
    leaves = 1 - np.diag(mixture.transition) > 0
    rows = []
    for c, state in enumerate(states):
        row = {"state": STATES[state], "share": share[c], "share_lo": share_ends[c, 0], "share_hi": share_ends[c, 1]}
        moves = float(state != TRAPPED)
        for name, values in (("", value), ("_lo", low), ("_hi", high)):
            row["k" + name] = moves * 10.0 ** values[c, 0]
            row["alpha" + name] = moves * (values[c, 1] if name else np.clip(values[c, 1], *ALPHA_RANGE))
        for name, values in (("", value), ("_lo", high), ("_hi", low)):
            row["dwell" + name] = float(np.exp(-values[c, 2])) if leaves[c] else None
        row["correlation"] = covariance[c, 0, 1] / np.sqrt(covariance[c, 0, 0] * covariance[c, 1, 1])
        row |= dict(zip(("log10_k_sd", "alpha_sd"), moves * mixture.sd[c], strict=True))
        row |= {"start": mixture.start[c], "rates": mixture.transition[c].tolist()}
        rows.append({name: float(v) if isinstance(v, np.floating) else v for name, v in row.items()})
    return rows


def estimate_parameters(mixture: Mixture, particles: Particles) -> tuple[np.ndarray, np.ndarray]:
    """Mean log10 K, mean alpha and log rate of leaving of each component, with their covariance, from all tracks.

    The mixture was fitted to a part of the tracks, and by a method that stops early; one step of Newton's method on all
    tracks corrects both. The information is the sum of squares of the scores of single tracks, so an uncertain path, or
    a particle whose K and alpha are known badly, widens the interval.

    Parameters
    ----------
    mixture : Mixture
    particles : Particles
        N tracks.

    Returns
    -------
    value : numpy.ndarray, shape (C, 3)
        log10 K, alpha, natural log of the rate per frame.
    covariance : numpy.ndarray, shape (C, 3, 3)

    Source: Berndt, Hall, Hall and Hausman, Annals of Economic and Social Measurement 3, 653 (1974).
    """
    n, c = particles.occupied.shape
    rate = 1 - np.diag(mixture.transition)
    last = np.array([component[-1] for component in particles.component])
    left = particles.moves.sum(2) - (particles.occupied - last) * rate  # beyond what is expected
    score = np.concatenate([(particles.mean - mixture.mean) / mixture.sd**2, left[..., None]], axis=2)  # (N, C, 3)
    score[:, mixture.trapped, :2] = 0.0
    total = score.reshape(n, -1).sum(0)
    information = n * np.cov(score.reshape(n, -1).T, bias=True) + np.diag(np.tile(PRIOR_SD**-2, c))
    covariance = np.linalg.inv(information)
    value = np.column_stack([mixture.mean, np.log(np.maximum(rate, 1e-12))]) + (covariance @ total).reshape(c, 3)
    return value, np.array([covariance[i : i + 3, i : i + 3] for i in range(0, 3 * c, 3)])


def occupied_shares(particles: Particles) -> tuple[np.ndarray, np.ndarray]:
    """Share of all steps in each component (C,), and the ends of its 90 % interval (C, 2), by a bootstrap over tracks.

    Expected shares of tracks vary less between tracks than true ones, since uncertain paths draw them towards the mean.
    Distances from the share are divided by the part of the variance that is left, which the drawn paths tell.
    """
    n, n_components = particles.occupied.shape
    share = particles.occupied.sum(0) / particles.occupied.sum()
    totals = resample_totals(particles.occupied)
    resampled = totals / totals.sum(1, keepdims=True)
    ends = np.empty((n_components, 2))
    for c in range(n_components):
        drawn = np.array([(paths == c).sum(1) - share[c] * paths.shape[1] for paths in particles.samples])  # (N, R)
        seen, all_of_it = (drawn.mean(1) ** 2).mean(), (drawn**2).mean()
        wider = all_of_it / seen if seen > 0 else 1.0
        ends[c] = bootstrap_interval(share[c], share[c] + wider * (resampled[:, c] - share[c]), n, "share")
    return share, ends
