"""The post-processing of the M3 challenge entry, for comparison with `main.tracks.inference.changepoints`.

Changepoints are sought separately in K and alpha and merged, K first.
"""

import numpy as np
from ruptures import KernelCPD
from scipy.ndimage import median_filter

from main.tracks.inference.segments import Segment

MIN_SIZE = 3  # frames
PENALTY = 0.3
SAME_VALUE = 0.01  # neighbouring frames closer than this form a run
SAME_MEAN = 0.05  # changepoints between sides closer than this are dropped
FAR = 5  # frames; an alpha changepoint this near to one of K is the same
K_TRAPPED = 0.1  # px^2/frame^alpha; a faster segment is not trapped


def level_runs(series, tolerance=SAME_VALUE):
    """Replace runs of nearly equal neighbours by their mean.

    Parameters
    ----------
    series : (T,) array
    tolerance : float
        Largest difference between neighbours of one run.

    Returns
    -------
    numpy.ndarray
        (T,)
    """
    run = np.concatenate([[0], np.cumsum(np.abs(np.diff(series)) > tolerance)])
    return (np.bincount(run, series) / np.bincount(run))[run]


def smooth(series):
    """Level runs, then a median filter over 3 frames whose end frames copy their neighbours; (T,) -> (T,)."""
    series = median_filter(level_runs(series), 3, mode="nearest")
    if len(series) > 2:
        series[0], series[-1] = series[1], series[-2]
    return series


def series_changepoints(series, penalty=PENALTY):
    """Changepoints of one series scaled to 0..1, without those that separate nearly equal means.

    Parameters
    ----------
    series : (T,) array
        Smoothed alpha or log10(K + 1).
    penalty : float
        Price of a changepoint.

    Returns
    -------
    list of int
        First frames of new segments.
    """
    span = np.ptp(series)
    if len(series) < 2 * MIN_SIZE or span == 0:
        return []
    scaled = (series - series.min()) / span
    kept = KernelCPD(kernel="linear", min_size=MIN_SIZE).fit_predict(scaled, pen=penalty)[:-1]
    edges = [0, *kept, len(series)]
    means = [series[a:b].mean() for a, b in zip(edges, edges[1:], strict=False)]
    return [c for c, left, right in zip(kept, means, means[1:], strict=False) if abs(left - right) > SAME_MEAN]


def without_short_runs(states, shortest=MIN_SIZE):
    """Give short runs the state before them (the state after them at the start); (T,) -> (T,)."""
    states = np.array(states)
    edges = np.flatnonzero(np.diff(states)) + 1
    for start, end in zip([0, *edges], [*edges, len(states)], strict=True):
        if end - start < shortest and len(edges):
            states[start:end] = states[start - 1] if start else states[end]
    return states


def merge_changepoints(k_points, alpha_points, state_points=()):
    """All changepoints of K, and those of alpha, then of the state, more than 5 frames from the others.

    Returns
    -------
    list of int
        Increasing, at least 3 apart.
    """
    merged = list(k_points)
    for points in (alpha_points, state_points):
        merged += [c for c in points if all(abs(c - other) > FAR for other in merged)]
    return [c for i, c in enumerate(sorted(merged)) if i == 0 or c - sorted(merged)[i - 1] >= MIN_SIZE]


def segment_m3(pred, penalty=PENALTY, use_states=False):
    """Segments of one track by the M3 post-processing.

    Frames whose likeliest state is trapped count as K = alpha = 0, as in the labels that M3's networks learn.

    Parameters
    ----------
    pred : Prediction
        ``log10_k`` (T,) in px^2/frame^alpha (this method is not scale-equivariant), ``alpha``,
        ``state_probs``.
    penalty : float
        Price of a changepoint in either series.
    use_states : bool
        Take changepoints of the state too.

    Returns
    -------
    list of Segment
        start, end (exclusive), k, alpha, state.

    Source: `combined_cps_k_focused` of the M3 entry to the second AnDi challenge (Pelt, l2, pen 0.3).
    """
    states = without_short_runs(pred.state_probs.argmax(axis=1))
    mobile = states > 0
    log_k1 = smooth(np.where(mobile, np.clip(np.log10(1 + 10.0**pred.log10_k), 0, 6), 0.0))
    alpha = smooth(np.where(mobile, np.clip(pred.alpha, 0, 1.999), 0.0))
    state_points = np.flatnonzero(np.diff(states)) + 1 if use_states else ()
    points = merge_changepoints(series_changepoints(log_k1, penalty), series_changepoints(alpha, penalty), state_points)
    segments = []
    for start, end in zip([0, *points], [*points, len(states)], strict=True):
        k = 10 ** log_k1[start:end].mean() - 1
        state = int(np.bincount(states[start:end]).argmax())
        state = 2 if state == 0 and k > K_TRAPPED else state
        segments.append(
            Segment(start=int(start), end=int(end), k=float(k), alpha=float(alpha[start:end].mean()), state=state)
        )
    return segments
