"""A test of K = 0: does a particle move, or is it immobile, with the localisation error alone?

The positions of an immobile particle scatter about a point with nothing but the localisation error, so their cosine
transform is white noise of known variance. Motion adds power at low frequencies. The test compares the likelihood of
fractional Brownian motion with the best K and alpha to that of K = 0.
"""

from functools import lru_cache

import numpy as np
from scipy.fft import dct
from scipy.special import gamma

from main.utils.compiled import compiled

SIGMA_TOLERANCE = 0.05  # relative error of the localisation error at which the false rate still holds
# Evidence from which on a stretch moves: exceeded by 2 % of beads whose true localisation error is 5 % larger than
# given, by 1 % where it is right, for 3 to 400 frames alike. Simulated; misc/LOG.md, 2026-11-24 (4).
CRITICAL_NATS = 2.4
OBVIOUS_SCATTER = 30.0  # times the variance that the localisation error makes; no test is needed
TEST_ALPHAS = (0.2, 0.5, 1.0, 1.5)  # anomalous exponents of motion that the test looks for
N_TEST_K = 12  # values of K for each alpha, evenly spaced on a logarithmic scale
N_WRAPS = 8  # terms on either side of the spectral density that are summed one by one
MAX_TEST_K = 30.0  # in units of sigma^2/frame^alpha; faster motion is significant on three frames
MAX_KEPT_FRAMES = 2**11  # of tracks whose mode variances are kept for the next track of that length: 64 MiB in all
TOO_QUIET_SD = 4.0  # below the scatter that the localisation error makes: it is wrong, and nothing is tested


def mode_variances(n_frames: int) -> np.ndarray:
    """Variance of the cosine modes of the positions of fractional Brownian motion with K = 1.

    Parameters
    ----------
    n_frames : int

    Returns
    -------
    numpy.ndarray, shape (len(TEST_ALPHAS), n_frames - 1)
        For each alpha, of the modes 1 to n_frames - 1 of the orthonormal type-II transform, per coordinate. Exact for
        alpha = 1; otherwise from the spectral density of the steps, 2 Gamma(1 + a) sin(pi a / 2) (2 - 2 cos w)
        sum_k |w + 2 pi k|^(-1 - a), as in Whittle's likelihood.
    """
    return _kept_mode_variances(n_frames) if n_frames <= MAX_KEPT_FRAMES else _mode_variances(n_frames)


def _mode_variances(n_frames: int) -> np.ndarray:
    """`mode_variances`; terms are summed one by one, so that a long track takes little memory."""
    frequency = np.pi * np.arange(1, n_frames) / n_frames
    rows = np.empty((len(TEST_ALPHAS), n_frames - 1))
    for row, alpha in zip(rows, TEST_ALPHAS, strict=True):
        row[:] = 2 * (2 * np.pi) ** (-1 - alpha) * (N_WRAPS + 0.5) ** -alpha / alpha  # of the terms beyond N_WRAPS
        for wrap in range(-N_WRAPS, N_WRAPS + 1):
            row += np.abs(frequency + 2 * np.pi * wrap) ** (-1 - alpha)
        row *= 2 * gamma(1 + alpha) * np.sin(np.pi * alpha / 2)
    return rows


_kept_mode_variances = lru_cache(maxsize=1024)(_mode_variances)


def motion_evidence(xy: np.ndarray, sigma: float = np.nan) -> float:
    """Evidence that a particle moves: log likelihood ratio of the best motion to K = 0.

    Parameters
    ----------
    xy : numpy.ndarray, shape (T, 2)
        Positions in the frames in which the particle was seen, T >= 2.
    sigma : float, optional
        Localisation error per coordinate, unit of xy. It may be wrong by SIGMA_TOLERANCE: both likelihoods choose the
        best value within this range, or any value where sigma is NaN.

    Returns
    -------
    float
        Nats, >= 0. Without motion its distribution depends on T hardly at all.
    """
    power = mode_power(xy)
    if np.isnan(sigma):
        return _evidence(power / max(power.mean() / 2, 1e-300), mode_variances(len(xy)), 1e-12, 1e12)
    low, high = (1 - SIGMA_TOLERANCE) ** 2, (1 + SIGMA_TOLERANCE) ** 2
    return _evidence(power / sigma**2, mode_variances(len(xy)), low, high)


def shows_motion(xy: np.ndarray, sigma: float = np.nan) -> bool:
    """Whether positions (T, 2) show motion: `motion_evidence` above CRITICAL_NATS; never for fewer than two."""
    if len(xy) < 2:
        return False
    if _scatter(xy) > OBVIOUS_SCATTER * 2 * (len(xy) - 1) * sigma**2:
        return True
    return motion_evidence(xy, sigma) > CRITICAL_NATS


def mode_power(xy: np.ndarray) -> np.ndarray:
    """Power of the modes 1 to T - 1 of the positions (T, 2), both coordinates together, (T - 1,)."""
    return (dct(xy, axis=0, norm="ortho")[1:] ** 2).sum(axis=1)


@compiled
def _scatter(xy):
    """Sum of squared deviations of positions (T, 2) from their mean."""
    total = 0.0
    for axis in range(2):
        mean = 0.0
        for t in range(len(xy)):
            mean += xy[t, axis] / len(xy)
        for t in range(len(xy)):
            total += (xy[t, axis] - mean) ** 2
    return total


@compiled
def _evidence(power, variances, low, high):
    """`motion_evidence` of powers in units of sigma^2; the true over the given variance is within low and high."""
    n, total = len(power), 0.5 * power.sum()
    scale = min(max(total / n, low), high)
    still, best = -n * np.log(scale) - total / scale, 0.0
    for variance in variances:
        k = 0.5 / variance[0]
        factor = (MAX_TEST_K / k) ** (1 / (N_TEST_K - 1))
        for _ in range(N_TEST_K):
            log_det, product, total = 0.0, 1.0, 0.0
            for j in range(n):
                ratio = 1 + k * variance[j]
                total += power[j] / (2 * ratio)
                product *= ratio
                if product > 1e200:
                    log_det += np.log(product)
                    product = 1.0
            scale = min(max(total / n, low), high)
            value = -n * np.log(scale) - total / scale - log_det - np.log(product) - still
            best = max(best, value)
            k *= factor
    return best


def motion_ratio(xy, k, alpha_index) -> np.ndarray:
    """Log likelihood ratio to K = 0 of motion with each k (unit: sigma^2) and one of TEST_ALPHAS, positions (T, 2)."""
    if len(xy) < 2:
        return np.zeros(len(k))
    ratio = 1 + k[:, None] * mode_variances(len(xy))[alpha_index]
    return (mode_power(xy) / 2 * (1 - 1 / ratio) - np.log(ratio)).sum(axis=1)


def is_too_quiet(xy: np.ndarray, sigma: float) -> bool:
    """Whether positions (T, 2) scatter less than the lowest localisation error that sigma allows would make them."""
    n = len(xy) - 1
    lowest = 2 * n * ((1 - SIGMA_TOLERANCE) * sigma) ** 2
    return _scatter(xy) < lowest * (1 - TOO_QUIET_SD / np.sqrt(max(n, 1)))


def power_of_test(k_over_sigma2, n_frames, n_tracks: int = 1000, seed: int = 0) -> np.ndarray:
    """Probability that a slow Brownian particle is found to move, by simulation.

    Parameters
    ----------
    k_over_sigma2 : sequence of float
        K dt / sigma^2, that is D dt / sigma^2; 0 gives the rate of beads that are falsely called moving.
    n_frames : sequence of int
        Lengths of the tracks.
    n_tracks : int
        Tracks for each pair.
    seed : int

    Returns
    -------
    numpy.ndarray, shape (len(k_over_sigma2), len(n_frames))
    """
    rng, found = np.random.default_rng(seed), np.empty((len(k_over_sigma2), len(n_frames)))
    for column, n in enumerate(n_frames):
        walks = rng.normal(size=(n_tracks, n, 2)).cumsum(axis=1)
        errors = rng.normal(size=(n_tracks, n, 2))
        for row, k in enumerate(k_over_sigma2):
            found[row, column] = np.mean([shows_motion(xy, 1.0) for xy in np.sqrt(2 * k) * walks + errors])
    return found
