"""Components (K, alpha, state) that all tracks of a sample share, and how often a particle changes between them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from main.tracks.inference.segments import Segment
from simulations.parameters import FREE, TRAPPED

VARIANCE_TIMES_FRAMES = np.array([0.6, 1.2])  # of log10 K (decades^2) and of alpha of a segment
MIN_SD = np.array([0.02, 0.02])  # of a component: decades of K, alpha
START_SD = np.array([0.2, 0.2])  # decades of K, alpha; wider than errors of single tracks of 30 frames and more
ALPHA_RANGE = (0.02, 1.998)  # where the likelihood is defined
HALF_WEIGHT_STEPS = 5.0  # a particle with so many steps in a component counts half of one with many steps
MAX_LEAVING_RATE = 0.6  # per frame


@dataclass
class Mixture:
    """C components of a sample; K in xy-unit^2/frame^alpha, rates per frame.

    Parameters
    ----------
    mean, sd : numpy.ndarray, shape (C, 2)
        log10 K and alpha: mean over particles and spread between them (not used where trapped).
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

    def __len__(self) -> int:
        """Number of components."""
        return len(self.state)

    @property
    def trapped(self) -> np.ndarray:
        """Which components are trapped, (C,) bool."""
        return self.state == TRAPPED

    @property
    def n_parameters(self) -> int:
        """Number of free parameters: four for each moving component, and the rates and shares."""
        n = len(self)
        return int(4 * (~self.trapped).sum() + n * (n - 1) + n - 1)


@dataclass
class Particles:
    """Posterior of N tracks in C components, as returned by `main.tracks.samples.particles.decode_particles`.

    Parameters
    ----------
    mean, sd : numpy.ndarray, shape (N, C, 2)
        log10 K and alpha of the particle in each component, with their standard errors.
    evidence : numpy.ndarray, shape (N,)
        Lower bound of the log-likelihood of the steps of each track, K and alpha integrated out.
    occupied : numpy.ndarray, shape (N, C)
        Expected steps in each component.
    moves : numpy.ndarray, shape (N, C, C)
        Expected changes from one component to another.
    first : numpy.ndarray, shape (N, C)
        Probability of each component at the first step.
    component : list of numpy.ndarray, each shape (n, C)
        Probability of each component at each step; None for each track unless paths were drawn.
    samples : list of numpy.ndarray, each shape (R, n), int8
        Components along paths drawn from the posterior; None for each track unless paths were drawn.
    """

    mean: np.ndarray
    sd: np.ndarray
    evidence: np.ndarray
    occupied: np.ndarray
    moves: np.ndarray
    first: np.ndarray
    component: list[np.ndarray | None]
    samples: list[np.ndarray | None]


def fit_gaussian_mixture(
    values: np.ndarray, variances: np.ndarray, weights: np.ndarray, n_components: int, n_rounds: int = 100
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Fit a Gaussian mixture to values that are known with different errors (extreme deconvolution).

    Parameters
    ----------
    values : (n, d) array
    variances : (n, d) array
        Squared errors of the values.
    weights : (n,) array
        Weight of each value (frames of a segment, for instance).
    n_components : int
    n_rounds : int
        Rounds of expectation maximisation.

    Returns
    -------
    share : numpy.ndarray, shape (C,)
    mean, variance : numpy.ndarray, shape (C, d)
        In order of the first column.
    log_likelihood : float
        Weighted.

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


def mixture_of_segments(segments: list[list[Segment]], n_components: int, with_trapped: bool) -> Mixture:
    """Make a first mixture, from the segments of single tracks.

    Parameters
    ----------
    segments : list of list of Segment
        start, end, k, alpha, state of every track.
    n_components : int
        Moving components.
    with_trapped : bool
        Whether to add a trapped one.

    Returns
    -------
    Mixture
        Components in order of K, the trapped one last; every change is equally likely.

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
    errors = VARIANCE_TIMES_FRAMES / n_frames[:, None]
    share, mean, variance, _ = fit_gaussian_mixture(values, errors, n_frames, n_components)
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


def spread_out(mixture: Mixture, log10_k: np.ndarray) -> Mixture:
    """Make another start: narrow, equally likely moving components, evenly spaced between the extremes of log10 K.

    Segments of single tracks may average over components that alternate too fast to be told apart.

    Parameters
    ----------
    mixture : Mixture
        As returned by `mixture_of_segments`.
    log10_k : (n,) array
        Values of the frames that move.

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


def broaden(mixture: Mixture) -> Mixture:
    """Make another start: components with a spread of at least START_SD.

    Expectation maximisation widens a component that is much narrower than the errors of single particles only very
    slowly. Where particles vary continuously, it would be left narrow, and all particles be given its mean.
    """
    return replace(mixture, sd=np.maximum(mixture.sd, START_SD))


def log_prior(mixture: Mixture, values: np.ndarray) -> np.ndarray:
    """Log-density of log10 K and alpha in each component, with alpha truncated to ALPHA_RANGE.

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


def update_mixture(mixture: Mixture, particles: Particles) -> Mixture:
    """Do the maximisation step of expectation maximisation: the mixture that fits the decoded tracks best.

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
    # A particle with few steps in a component carries little information on it.
    seen = (particles.occupied / (particles.occupied + HALF_WEIGHT_STEPS))[..., None]
    total = seen.sum(0)  # (C, 1)
    mean = (seen * particles.mean).sum(0) / (total + 1e-9)
    sd = np.sqrt((seen * ((particles.mean - mean) ** 2 + particles.sd**2)).sum(0) / (total + 1e-9))
    mean, sd = np.where(total > 1, mean, mixture.mean), np.where(total > 1, sd, mixture.sd)
    transition = (particles.moves.sum(0) + 0.1) / (particles.occupied.sum(0) + 1)[:, None]
    np.fill_diagonal(transition, 0)
    transition = np.minimum(transition, MAX_LEAVING_RATE / n)
    transition += np.diag(1 - transition.sum(1))
    start = (particles.first.sum(0) + 0.5) / (len(particles.first) + 0.5 * n)
    return replace(mixture, mean=mean, sd=np.maximum(sd, MIN_SD), start=start, transition=transition)
