"""Localisation error of a file, estimated from its tracks by the likelihood of fractional Brownian motion.

Successive steps of a track share the error of the position between them, so their covariance holds -sigma^2. Persistent
or antipersistent motion adds a covariance of its own, which reaches over more lags. The likelihood uses all lags, and
sigma is the only parameter that the tracks share. Each has its own K and alpha, whose distribution over the tracks is
fitted too.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.interpolate import CubicSpline

from main.utils.bootstrap import resample_totals
from main.utils.estimators import find_single_steps

RUN_STEPS = (64, 32, 16, 8)  # steps; lengths of the runs without a gap that enter, the longest that fit
MAX_STEPS = 25_600  # of all runs together, and runs; a random subset beyond: about a second on one core
MAX_RUNS = 600
MIN_STEPS, MIN_TRACKS = 300, 5  # fewer never determine sigma, and are not tried
ALPHAS = np.linspace(0.1, 1.9, 13)
TRAP_FRAMES = np.geomspace(1.0, 16.0, 9)  # relaxation times of motion in a harmonic trap, as in a small compartment
N_EXPOSURE_POINTS = 81  # of the integral over the exposure
SIGMA_GRID = np.geomspace(0.02, 1.0, 36)  # over the rms step per coordinate; noise alone gives 0.71
N_FINER = 40  # points of the interpolation between two of the grid
NOISE_RATIOS = np.geomspace(1e-4, 40.0, 72)  # sigma^2 / (2 K)
N_FASTER = 8  # ratios below the smallest, each half of the one before, in which sigma no longer changes the steps
MIN_LIKELIHOOD = 1e-3  # over that of the best motion; one that is less likely in every run is left out
N_EM = 60  # iterations; 1,000 change sigma by less than 0.2 %
N_RESAMPLES = 400
MAX_DETERMINED_RATIO = 1.5  # upper over lower end of the interval, for an estimate that may be used
CONTRADICTION = 1.2  # of the given sigma to the nearer end of the interval; measured in misc/LOG.md, 2026-11-24 (2)


@dataclass(frozen=True)
class NoiseEstimate:
    """Localisation error of a file, unit of x.

    Parameters
    ----------
    sigma, low, high : float
        Estimate and 90 % interval (bootstrap over tracks). NaN if the file has no run of 8 steps.
    n_tracks : int
        Tracks that were used.
    """

    sigma: float = np.nan
    low: float = np.nan
    high: float = np.nan
    n_tracks: int = 0

    @property
    def determined(self) -> bool:
        """Whether the interval is narrow enough to use the estimate."""
        return bool(self.high < MAX_DETERMINED_RATIO * self.low)

    def contradicts(self, sigma: float) -> bool:
        """Whether no motion in the tracks goes with this localisation error."""
        return bool(sigma > CONTRADICTION * self.high or sigma < self.low / CONTRADICTION)


def motion_covariances(n_lags: int, exposure: float = 0.0) -> np.ndarray:
    """Compute the autocovariance of the steps of every kind of motion, per coordinate.

    Fractional Brownian motion with the exponents ALPHAS, variance t^alpha of the displacement in t frames, and motion
    in a harmonic trap with the relaxation times TRAP_FRAMES, tau (1 - exp(-t / tau)). A position is the mean over the
    share `exposure` of its frame.

    Parameters
    ----------
    n_lags : int
    exposure : float
        Share of the frame interval, 0 to 1.

    Returns
    -------
    numpy.ndarray, shape (len(ALPHAS) + len(TRAP_FRAMES), n_lags)
        For alpha = 1: 1 - 2 R, R, 0, ... with R = exposure / 6 (Berglund, Phys. Rev. E 82, 011917, 2010).
    """
    apart = np.linspace(-1, 1, N_EXPOSURE_POINTS) if exposure > 0 else np.zeros(1)  # of two moments, over the exposure
    weight = 1 - np.abs(apart) + 0.5 / N_EXPOSURE_POINTS**2
    t = np.abs(np.arange(-1, n_lags + 1)[:, None] + exposure * apart)
    relaxation = TRAP_FRAMES[:, None, None]
    displaced = np.concatenate([t ** ALPHAS[:, None, None], relaxation * (1 - np.exp(-t / relaxation))])
    displaced = displaced @ (weight / weight.sum())
    return (displaced[:, 2:] + displaced[:, :-2] - 2 * displaced[:, 1:-1]) / 2


def cut_runs(table: pd.DataFrame, max_steps: int = MAX_STEPS, seed: int = 0) -> dict[int, tuple]:
    """Cut tracks into runs of successive steps; a random subset, first one run of each track.

    Parameters
    ----------
    table : pandas.DataFrame
        track_id, frame, x, y, sorted by (track_id, frame).

    Returns
    -------
    dict of int -> (steps, track)
        By the number of steps L of a run: (N, L, 2) float64 in the unit of x, and the track_id of each, (N,).
    """
    track = table["track_id"].to_numpy()
    step = np.diff(table[["x", "y"]].to_numpy(), axis=0)
    valid = find_single_steps(table)
    edge = np.diff(np.concatenate([[0], valid.astype(np.int8), [0]]))
    start, stop = np.flatnonzero(edge == 1), np.flatnonzero(edge == -1)
    # A run of successive frames never spans two tracks, because the step between them is not valid.
    first, size = [], []
    for length in RUN_STEPS:  # greedy: as many of the longest as fit, the rest into shorter ones
        count = (stop - start) // length
        run = np.repeat(np.arange(len(start)), count)
        first.append(start[run] + length * (np.arange(len(run)) - np.repeat(np.cumsum(count) - count, count)))
        size.append(np.full(len(run), length))
        start = start + length * count
    first, size = np.concatenate(first), np.concatenate(size)
    owner = track[first]
    order = np.random.default_rng(seed).permutation(len(first))
    place = (
        pd.Series(owner[order]).groupby(owner[order]).cumcount().to_numpy()
    )  # how many runs of the track came before
    order = order[np.argsort(place, kind="stable")]
    order = order[np.cumsum(size[order]) <= max_steps][:MAX_RUNS]
    return {
        length: (step[first[chosen][:, None] + np.arange(length)], owner[chosen])
        for length in RUN_STEPS
        if len(chosen := order[size[order] == length])
    }


def estimate_noise(table: pd.DataFrame, exposure: float = 0.0) -> NoiseEstimate:
    """Estimate the localisation error that the tracks of a file share, by maximum likelihood.

    For each sigma, the shares of the kinds of motion and values of K among the runs are fitted by expectation
    maximisation (the nonparametric estimate of a mixing distribution; Kiefer & Wolfowitz, Ann. Math. Stat. 27, 887,
    1956). The localisation error of tracks that change their motion is estimated well too, because the covariances of
    steps are averaged; one of particles in traps that relax within a frame is not, because such motion is like noise.

    Parameters
    ----------
    table : pandas.DataFrame
        track_id, frame, x, y, sorted by (track_id, frame).
    exposure : float
        Share of the frame interval during which the shutter is open.

    Returns
    -------
    NoiseEstimate
    """
    runs = cut_runs(table)
    n_steps = sum(len(owner) * length for length, (_, owner) in runs.items())
    owner = np.concatenate([np.zeros(0, np.int64), *(owner for _, owner in runs.values())])
    names, code = np.unique(owner, return_inverse=True)
    total = sum((steps**2).sum() for steps, _ in runs.values())
    if n_steps < MIN_STEPS or len(names) < MIN_TRACKS or not total > 0:
        return NoiseEstimate()
    scale = np.sqrt(total / (2 * n_steps))
    parts = [whiten(steps / scale, exposure) for steps, _ in runs.values()]
    lengths = np.repeat(list(runs), [len(of_run) for _, of_run in runs.values()])
    square = np.concatenate([square for square, _ in parts], axis=1)
    lengths = lengths.astype(np.float32)
    log_det = np.concatenate(
        [np.repeat(det.astype(np.float32)[:, None], part.shape[1], axis=1) for part, det in parts], axis=1
    )
    curves = np.zeros((len(names), len(SIGMA_GRID)))
    for i, sigma in enumerate(SIGMA_GRID):
        np.add.at(curves[:, i], code, fit_shares(log_likelihood(square, log_det, lengths, sigma)))
    low, high = np.quantile(find_maxima(resample_totals(curves, N_RESAMPLES)), [0.05, 0.95])
    best = find_maxima(curves.sum(axis=0)[None])[0]
    return NoiseEstimate(float(best * scale), float(low * scale), float(high * scale), len(names))


@lru_cache(maxsize=len(RUN_STEPS))
def covariance_roots(length: int, exposure: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute what makes steps of each kind of motion and noise ratio independent.

    Returns
    -------
    inverse : numpy.ndarray, shape (G, length, length), float32
        Inverse Cholesky root of the covariance of steps, 2 K = 1; the first is that of noise alone, sigma = 1.
    log_det : numpy.ndarray, shape (G,)
        Logarithm of the determinant of the covariance.
    """
    lag = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
    noise = 2.0 * (lag == 0) - 1.0 * (lag == 1)
    motion = motion_covariances(length, exposure)[:, lag]
    moving = (motion[:, None] + NOISE_RATIOS[:, None, None] * noise).reshape(-1, length, length)
    inverse, log_det = [], []
    for covariance in (noise, *moving):
        root = np.linalg.cholesky(covariance)
        log_det.append(2 * np.log(np.diag(root)).sum())
        inverse.append(np.linalg.inv(root).astype(np.float32))
    return np.array(inverse), np.array(log_det)


def whiten(steps: np.ndarray, exposure: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute the sums of squares of runs of steps (N, L, 2), made independent, (G, N), and log_det (G,)."""
    inverse, log_det = covariance_roots(steps.shape[1], exposure)
    flat = steps.transpose(1, 0, 2).reshape(steps.shape[1], -1).astype(np.float32)
    square = np.array([((root @ flat) ** 2).sum(axis=0) for root in inverse])
    return square.reshape(len(inverse), -1, 2).sum(axis=2), log_det


def log_likelihood(square: np.ndarray, log_det: np.ndarray, lengths: np.ndarray, sigma: float) -> np.ndarray:
    """Compute the log likelihood of runs for one localisation error and all motions.

    Parameters
    ----------
    square, log_det : numpy.ndarray, shape (G, N)
        As returned by `whiten`.
    lengths : numpy.ndarray, shape (N,)
        Steps of each run.
    sigma : float
        Over the rms step per coordinate.

    Returns
    -------
    numpy.ndarray, shape (1 + M, N)
        First of particles that do not move, then of M combinations of a kind of motion and K.
    """
    place = np.arange(-N_FASTER, len(NOISE_RATIOS))
    ratio = NOISE_RATIOS[np.maximum(place, 0)] * 2.0 ** np.minimum(place, 0)
    kinds = (len(square) - 1) // len(NOISE_RATIOS)
    rows = 1 + (np.arange(kinds)[:, None] * len(NOISE_RATIOS) + np.maximum(place, 0)).ravel()
    rows = np.concatenate([[0], rows])
    variance = sigma**2 / np.concatenate([[1.0], np.tile(ratio, kinds)])[:, None].astype(
        np.float32
    )  # 2 K, or sigma^2 where K is 0
    return -lengths * np.log(variance) - log_det[rows] - square[rows] / (2 * variance)


def fit_shares(log_likelihoods: np.ndarray) -> np.ndarray:
    """Fit the share of each motion, (M, N), and return the log likelihood of each run with these shares, (N,)."""
    top = log_likelihoods.max(axis=0)
    likelihoods = np.exp(log_likelihoods - top)
    likelihoods = likelihoods[likelihoods.max(axis=1) > MIN_LIKELIHOOD]
    share = np.full(len(likelihoods), 1 / len(likelihoods), dtype=np.float32)
    for _ in range(N_EM):
        share *= likelihoods @ (1 / (share @ likelihoods)) / likelihoods.shape[1]
    return top + np.log(share @ likelihoods)


def find_maxima(curves: np.ndarray) -> np.ndarray:
    """Localisation error at the maximum of each curve over SIGMA_GRID, between grid points by a spline; (N,)."""
    fine = np.linspace(0, len(SIGMA_GRID) - 1, N_FINER * (len(SIGMA_GRID) - 1) + 1)
    spline = CubicSpline(np.arange(len(SIGMA_GRID)), curves, axis=1)
    top = fine[spline(fine).argmax(axis=1)]
    return np.exp(np.interp(top, np.arange(len(SIGMA_GRID)), np.log(SIGMA_GRID)))
