"""Yardsticks of the benchmark that learn nothing: a constant, the mean squared displacement, CVE and MLE.

All return segments (start, end exclusive, k in px^2/frame^alpha, alpha, state) of one track.
"""

from dataclasses import replace

import numpy as np
from ruptures import KernelCPD

from main.tracks.inference.changepoints import MIN_SIZE
from main.tracks.inference.segments import Segment
from main.utils.estimators import fit_msd, mle
from simulations.parameters import ALPHA_DIRECTED, DIRECTED, FREE, TRAPPED

MSD_LAGS = 4
MSD_FLOOR = 1e-3  # px^2
K_FLOOR = 1e-4  # px^2/frame; estimates below it, negative ones included, count as this much
WINDOW = 11  # frames
PENALTY = 8.0  # price of a changepoint on (log10 K, alpha) of the sliding window; both fitted on seed 71002
SHORTEST_FIT = 8  # frames; a shorter segment is taken as Brownian


def constant_segments(xy):
    """One segment: K = 1, alpha = 1, free."""
    return [Segment(0, len(xy), k=1.0, alpha=1.0, state=FREE)]


def msd_values(xy, sigma):
    """K, alpha and state of one stretch from a line through the log MSD at lags 1-4, noise subtracted.

    Parameters
    ----------
    xy : (T, 2) array
        Positions, px, T >= 4.
    sigma : float
        Localisation error, px.

    Returns
    -------
    dict
        k in px^2/frame^alpha, alpha, state (directed from 1.9, else free).
    """
    k, slope = fit_msd(xy, MSD_LAGS, sigma, MSD_FLOOR)
    alpha = float(np.clip(slope, 0.01, 1.99))
    return dict(k=k, alpha=alpha, state=DIRECTED if alpha >= ALPHA_DIRECTED else FREE)


def msd_segments(xy, sigma):
    """One segment with the values of `msd_values`."""
    return [Segment(0, len(xy), **msd_values(xy, sigma))]


def window_msd(xy, sigma, window=WINDOW):
    """log10 K and alpha in a sliding window, from its time-averaged MSD at lags 1-4.

    Parameters
    ----------
    xy : (T, 2) array
        Positions, px, T >= 6.
    sigma : float
        Localisation error, px.
    window : int
        Frames, odd; shorter at the ends of the track.

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
        log_msd[lag - 1] = np.log(np.maximum(mean - 4 * sigma**2, MSD_FLOOR))
    alpha, log_4k = np.polyfit(np.log(np.arange(1, MSD_LAGS + 1)), log_msd, 1)
    return np.stack([(log_4k - np.log(4)) / np.log(10), np.clip(alpha, 0, 2)], axis=1)


def window_segments(xy, sigma, penalty=PENALTY):
    """Changepoints of the sliding-window MSD by ruptures; values from the MSD of each segment.

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

    Source: TA-MSD in windows, as the yardstick of STEP (Requena et al., Biophys. J. 122, 4360 (2023)); kernel
    changepoint detection of ruptures.
    """
    signal = window_msd(xy, sigma)
    ends = KernelCPD(kernel="linear", min_size=MIN_SIZE).fit_predict(signal, pen=penalty)
    segments = []
    for start, end in zip([0, *ends], ends, strict=False):
        own = xy[start:end]
        values = msd_values(own, sigma) if len(own) >= SHORTEST_FIT else brownian_values(own, sigma)
        segments.append(Segment(start, end, **values))
    return segments


def brownian_values(xy, sigma):
    """K of a stretch taken as Brownian, from its squared steps (CVE with the noise known), alpha = 1, free."""
    k = (np.diff(xy, axis=0) ** 2).sum(axis=1).mean() / 4 - sigma**2
    return dict(k=max(float(k), K_FLOOR), alpha=1.0, state=FREE)


def true_segments(xy, truth, sigma, estimate):
    """The true segments and their true states with K estimated from each one's own positions, alpha = 1.

    Parameters
    ----------
    xy : (T, 2) array
        Positions, px.
    truth : list of Segment
        True segments.
    sigma : float
        Localisation error, px.
    estimate : {"cve", "mle"}
        CVE with the noise known (Vestergaard et al. 2014), or maximum likelihood.

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
