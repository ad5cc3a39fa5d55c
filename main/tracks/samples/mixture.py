"""Components (K, alpha, state) that all tracks of a sample share, and how often a particle changes between them."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from simulations.parameters import FREE, TRAPPED

ERROR_K, ERROR_ALPHA = 0.6, 1.2  # squared error of a segment's log10 K and alpha times its frames
MIN_SD = np.array([0.02, 0.02])  # of a component, log10 K and alpha
ALPHA_RANGE = (0.02, 1.998)
GLIMPSE = 5.0  # steps in a component that count half
MAX_RATE = 0.6  # per frame, of leaving a component


@dataclass
class Mixture:
    """C components of a sample; K in xy-unit^2/frame^alpha, rates per frame.

    Parameters
    ----------
    mean, sd : numpy.ndarray, shape (C, 2)
        log10 K and alpha: mean over particles and spread between them (meaningless where trapped).
    state : numpy.ndarray, shape (C,), int
        0 trapped, 1 confined, 2 free, 3 directed.
    start : numpy.ndarray, shape (C,)
        Share of each component at the first step of a track.
    transition : numpy.ndarray, shape (C, C)
        Chance per frame to change; rows sum to 1.
    """

    mean: np.ndarray
    sd: np.ndarray
    state: np.ndarray
    start: np.ndarray
    transition: np.ndarray

    def __len__(self):
        return len(self.state)

    @property
    def trapped(self):
        """(C,) bool."""
        return self.state == TRAPPED

    @property
    def n_parameters(self):
        """Free parameters: four for a moving component, and the rates and shares."""
        n = len(self)
        return int(4 * (~self.trapped).sum() + n * (n - 1) + n - 1)


def gaussian_mixture(values, variances, weights, n_components, n_rounds=100):
    """Extreme deconvolution: a Gaussian mixture of values that are known with different, diagonal errors.

    Parameters
    ----------
    values : (n, d) array
    variances : (n, d) array
        Squared errors of the values.
    weights : (n,) array
        How much each value counts (frames of a segment, for instance).
    n_components : int
    n_rounds : int
        Rounds of expectation maximisation.

    Returns
    -------
    tuple
        share (C,), mean (C, d), variance (C, d), in order of the first column; log-likelihood, weighted.

    Source: Bovy, Hogg and Roweis, Annals of Applied Statistics 5 (2011) 1657, with diagonal covariances.
    """
    weights = weights / weights.mean()
    order = np.argsort(values[:, 0])
    place = (weights[order].cumsum() - weights[order] / 2) / weights.sum()
    group = np.empty(len(values), int)
    group[order] = np.minimum((place * n_components).astype(int), n_components - 1)
    member = (group[:, None] == np.arange(n_components)) * 1.0
    estimate, spread = values[:, None], np.zeros((len(values), 1, values.shape[1]))
    for _ in range(n_rounds):
        mass = member * weights[:, None]  # (n, C)
        total = mass.sum(0) + 1e-9
        mean = (mass[..., None] * estimate).sum(0) / total[:, None]
        variance = (mass[..., None] * ((estimate - mean) ** 2 + spread)).sum(0) / total[:, None]
        variance = np.maximum(variance, MIN_SD[0] ** 2)
        share = total / total.sum()
        wide = variance + variances[:, None]  # (n, C, d)
        log_density = -0.5 * ((values[:, None] - mean) ** 2 / wide + np.log(2 * np.pi * wide)).sum(2) + np.log(share)
        peak = log_density.max(1, keepdims=True)
        member = np.exp(log_density - peak)
        norm = member.sum(1, keepdims=True)
        member /= norm
        gain = variance / wide
        estimate = mean + gain * (values[:, None] - mean)
        spread = variance - gain * variance
    order = np.argsort(mean[:, 0])
    return share[order], mean[order], variance[order], float(weights @ (np.log(norm) + peak)[:, 0])


def fit_mixture(segments, n_components, with_trapped):
    """A first mixture from the segments that the networks see in single tracks.

    Parameters
    ----------
    segments : list of list of Segment
        start, end, k, alpha, state of every track.
    n_components : int
        Moving components.
    with_trapped : bool
        Add a trapped one.

    Returns
    -------
    Mixture
        Components in order of K, the trapped one last; every change is as likely as any other.

    Raises
    ------
    ValueError
        If no segment moves.
    """
    parts = [s for track in segments for s in track]
    moving = [s for s in parts if s.state != TRAPPED and s.k > 0]
    if not moving:
        raise ValueError("no segment moves: there is no mixture of K and alpha to fit")
    values = np.array([(np.log10(s.k), s.alpha) for s in moving])
    n_frames = np.array([s.n_frames for s in moving], float)
    errors = np.array([ERROR_K, ERROR_ALPHA]) / n_frames[:, None]
    share, mean, variance, _ = gaussian_mixture(values, errors, n_frames, n_components)
    state = np.full(n_components, FREE)
    total = sum(s.n_frames for s in parts)
    if with_trapped:
        trapped = max(1 - n_frames.sum() / total, 0.01)
        share = np.append(share * (1 - trapped), trapped)
        mean, variance = np.append(mean, [[0.0, 1.0]], 0), np.append(variance, [[0.0, 0.0]], 0)
        state = np.append(state, TRAPPED)
    n_changes = len(parts) - len(segments)
    leave = np.clip((n_changes + 1) / total, 1e-3, 0.2)
    transition = leave * np.tile(share, (len(share), 1))
    transition += np.diag(1 - transition.sum(1))
    return Mixture(mean, np.maximum(np.sqrt(variance), MIN_SD), state, share, transition)


def spread_out(mixture, log10_k):
    """Another start: moving components evenly between the extremes of log10 K, each narrow, all equally likely.

    Pooled segments may average over components that alternate too fast for single tracks to tell apart.

    Parameters
    ----------
    mixture : Mixture
        From `fit_mixture`.
    log10_k : (n,) array
        Of frames that move.

    Returns
    -------
    Mixture
    """
    moving = ~mixture.trapped
    mean, sd, start = mixture.mean.copy(), mixture.sd.copy(), mixture.start.copy()
    mean[moving, 0] = np.linspace(*np.quantile(log10_k, (0.05, 0.95)), moving.sum())
    sd[moving] = 0.1
    start[moving] = start[moving].mean()
    return replace(mixture, mean=mean, sd=sd, start=start)


def log_prior(mixture, values):
    """Log-density of log10 K and alpha in each component, alpha truncated to `ALPHA_RANGE`.

    Parameters
    ----------
    mixture : Mixture
    values : (B, C, N, 2) array

    Returns
    -------
    numpy.ndarray
        (B, C, N)
    """
    mean, sd = mixture.mean[:, None], mixture.sd[:, None]
    low, high = (ndtr((edge - mixture.mean[:, 1]) / mixture.sd[:, 1]) for edge in ALPHA_RANGE)
    density = -0.5 * ((values - mean) / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi))
    return density.sum(-1) - np.log(np.maximum(high - low, 1e-12))[:, None]


def update(mixture, particles):
    """The mixture that fits best what was decoded: one step of expectation maximisation.

    Parameters
    ----------
    mixture : Mixture
    particles : Particles
        N tracks decoded with it: ``mean``, ``sd`` (N, C, 2), ``occupied`` (N, C), ``moves`` (N, C, C), ``first``
        (N, C).

    Returns
    -------
    Mixture
    """
    n = len(mixture)
    seen = (particles.occupied / (particles.occupied + GLIMPSE))[..., None]  # a glimpse says little of a particle
    total = seen.sum(0)  # (C, 1)
    mean = (seen * particles.mean).sum(0) / (total + 1e-9)
    sd = np.sqrt((seen * ((particles.mean - mean) ** 2 + particles.sd**2)).sum(0) / (total + 1e-9))
    mean, sd = np.where(total > 1, mean, mixture.mean), np.where(total > 1, sd, mixture.sd)
    transition = (particles.moves.sum(0) + 0.1) / (particles.occupied.sum(0) + 1)[:, None]
    np.fill_diagonal(transition, 0)
    transition = np.minimum(transition, MAX_RATE / n)
    transition += np.diag(1 - transition.sum(1))
    start = (particles.first.sum(0) + 0.5) / (len(particles.first) + 0.5 * n)
    return replace(mixture, mean=mean, sd=np.maximum(sd, MIN_SD), start=start, transition=transition)
