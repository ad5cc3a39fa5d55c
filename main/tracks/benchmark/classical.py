"""Methods of the benchmark that learn nothing: a constant, the mean squared displacement (MSD), CVE and MLE.

All return segments (start, end exclusive, k in px^2/frame^alpha, alpha, state) of one track. CVE is the
covariance-based estimator, MLE maximum likelihood; both take the motion as Brownian.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ruptures import KernelCPD

from main.tracks.benchmark.data import MIN_K_PX2
from main.tracks.inference.changepoints import MIN_SEGMENT_FRAMES
from main.tracks.inference.segments import Segment
from main.utils.estimators import fit_msd, mle
from simulations.parameters import ALPHA_DIRECTED, DIRECTED, FREE, TRAPPED

MSD_LAGS = 4  # frames; the line through log MSD uses lags 1 to 4
MIN_MSD_PX2 = 1e-3  # smaller values, negative ones included, count as this much
WINDOW_FRAMES = 11  # fitted on seed 71002, with WINDOW_PENALTY
WINDOW_PENALTY = 8.0  # price of a changepoint, squared deviations of (log10 K, alpha) of the sliding window
MIN_MSD_FRAMES = 8  # a shorter segment is taken as Brownian


def constant_segments(xy: np.ndarray) -> list[Segment]:
    """One segment: K = 1, alpha = 1, free."""
    return [Segment(0, len(xy), k=1.0, alpha=1.0, state=FREE)]


def msd_values(xy: np.ndarray, sigma: float) -> dict:
    """K, alpha and state of one segment, from a line through log MSD against log lag at lags 1 to 4.

    The localisation error is subtracted from the MSD first.

    Parameters
    ----------
    xy : (T, 2) array
        Positions, px, T >= 4.
    sigma : float
        Localisation error, px.

    Returns
    -------
    dict
        k in px^2/frame^alpha, alpha, state (directed if alpha is at least 1.9, else free).
    """
    k, slope = fit_msd(xy, MSD_LAGS, sigma, MIN_MSD_PX2)
    alpha = float(np.clip(slope, 0.01, 1.99))
    return dict(k=k, alpha=alpha, state=DIRECTED if alpha >= ALPHA_DIRECTED else FREE)


def msd_segments(xy: np.ndarray, sigma: float) -> list[Segment]:
    """The whole track as one segment with the values of `msd_values`."""
    return [Segment(0, len(xy), **msd_values(xy, sigma))]


def window_msd(xy: np.ndarray, sigma: float, window: int = WINDOW_FRAMES) -> np.ndarray:
    """log10 K and alpha in a sliding window, from its time-averaged MSD at lags 1 to 4.

    Parameters
    ----------
    xy : (T, 2) array
        Positions, px, T >= 6.
    sigma : float
        Localisation error, px.
    window : int
        Frames, odd. At the ends of a track the first and the last whole window are used.

    Returns
    -------
    numpy.ndarray, shape (T, 2)
        log10 of K (px^2/frame^alpha) and alpha (0 to 2) of the window around each frame.
    """
    n, half = len(xy), window // 2
    first = np.clip(np.arange(n) - half, 0, max(n - window, 0))  # (T,) window of equal length at the ends too
    last = np.minimum(first + window, n)
    log_msd = np.empty((MSD_LAGS, n))
    for lag in range(1, MSD_LAGS + 1):
        square = ((xy[lag:] - xy[:-lag]) ** 2).sum(axis=1)
        total = np.concatenate([[0.0], np.cumsum(square)])
        mean = (total[last - lag] - total[first]) / (last - lag - first)
        log_msd[lag - 1] = np.log(np.maximum(mean - 4 * sigma**2, MIN_MSD_PX2))
    alpha, log_4k = np.polyfit(np.log(np.arange(1, MSD_LAGS + 1)), log_msd, 1)
    return np.stack([(log_4k - np.log(4)) / np.log(10), np.clip(alpha, 0, 2)], axis=1)


def window_segments(xy: np.ndarray, sigma: float, penalty: float = WINDOW_PENALTY) -> list[Segment]:
    """Segments between changepoints that ruptures finds in `window_msd`, with values from the MSD of each segment.

    Parameters
    ----------
    xy : (T, 2) array
        Positions, px.
    sigma : float
        Localisation error, px.
    penalty : float
        Price of a changepoint.

    Returns
    -------
    list of Segment

    Source: time-averaged MSD in windows, the classical reference of STEP (Requena et al., Biophys. J. 122, 4360
    (2023)); kernel changepoint detection of ruptures.
    """
    signal = window_msd(xy, sigma)
    ends = KernelCPD(kernel="linear", min_size=MIN_SEGMENT_FRAMES).fit_predict(signal, pen=penalty)
    segments = []
    for start, end in zip([0, *ends], ends, strict=False):
        estimate = msd_values if end - start >= MIN_MSD_FRAMES else brownian_values
        values = estimate(xy[start:end], sigma)
        segments.append(Segment(start, end, **values))
    return segments


def brownian_k(xy: np.ndarray, sigma: float) -> float:
    """K (px^2/frame) of a segment taken as Brownian: mean squared step / 4 - sigma^2, negative where noise dominates.

    Source: CVE with known localisation error, Vestergaard et al., Phys. Rev. E 89, 022726 (2014).
    """
    return float((np.diff(xy, axis=0) ** 2).sum(axis=1).mean() / 4 - sigma**2)


def brownian_values(xy: np.ndarray, sigma: float) -> dict:
    """K by `brownian_k`, at least MIN_K_PX2, alpha = 1 and the state free, of a segment taken as Brownian."""
    return dict(k=max(brownian_k(xy, sigma), MIN_K_PX2), alpha=1.0, state=FREE)


def true_segments(xy: np.ndarray, truth: list[Segment], sigma: float, estimate: str) -> list[Segment]:
    """The true segments with their true states, K estimated from the positions of each, and alpha = 1.

    Parameters
    ----------
    xy : (T, 2) array
        Positions, px.
    truth : list of Segment
        True segments.
    sigma : float
        Localisation error, px.
    estimate : {"cve", "mle"}
        `brownian_values`, or maximum likelihood.

    Returns
    -------
    list of Segment
        Trapped segments keep K = alpha = 0.
    """
    segments = []
    for true in truth:
        positions = xy[true.start : true.end]
        k = mle(positions, sigma) if estimate == "mle" else brownian_values(positions, sigma)["k"]
        moving = true.state != TRAPPED
        segments.append(replace(true, k=k if moving else 0.0, alpha=1.0 if moving else 0.0))
    return segments
