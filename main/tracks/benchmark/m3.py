"""The segmentation of the M3 challenge entry, for comparison with `main.tracks.inference.changepoints`.

It finds changepoints in K and in alpha separately and then merges them, those of K first.
"""

from __future__ import annotations

import numpy as np
from ruptures import KernelCPD
from scipy.ndimage import median_filter

from main.tracks.inference.predictor import Prediction
from main.tracks.inference.segments import Segment
from simulations.parameters import FREE, TRAPPED

MIN_SEGMENT_FRAMES = 3
CHANGE_PENALTY = 0.3  # price of a changepoint, squared deviations of a series scaled to 0..1; as in the entry
MAX_RUN_DIFFERENCE = 0.01  # log10(K + 1) or alpha; neighbouring frames closer than this form a run
MIN_CHANGE = 0.05  # log10(K + 1) or alpha; changepoints between means closer than this are dropped
MERGE_FRAMES = 5  # a changepoint of alpha this near to one of K is the same
MAX_TRAPPED_K = 0.1  # px^2/frame^alpha; a faster segment is not trapped


def level_runs(series: np.ndarray, tolerance: float = MAX_RUN_DIFFERENCE) -> np.ndarray:
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


def smooth(series: np.ndarray) -> np.ndarray:
    """Level runs, then take the median over 3 frames; the first and last frame copy their neighbours; (T,) -> (T,)."""
    series = median_filter(level_runs(series), 3, mode="nearest")
    if len(series) > 2:
        series[0], series[-1] = series[1], series[-2]
    return series


def series_changepoints(series: np.ndarray, penalty: float = CHANGE_PENALTY) -> list[int]:
    """Changepoints of one series scaled to 0..1, without those between nearly equal means.

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
    if len(series) < 2 * MIN_SEGMENT_FRAMES or span == 0:
        return []
    scaled = (series - series.min()) / span
    kept = KernelCPD(kernel="linear", min_size=MIN_SEGMENT_FRAMES).fit_predict(scaled, pen=penalty)[:-1]
    edges = [0, *kept, len(series)]
    means = [series[a:b].mean() for a, b in zip(edges, edges[1:], strict=False)]
    return [c for c, left, right in zip(kept, means, means[1:], strict=False) if abs(left - right) > MIN_CHANGE]


def remove_short_runs(states, shortest: int = MIN_SEGMENT_FRAMES) -> np.ndarray:
    """Give runs of fewer frames the state before them, at the start of the track the state after; (T,) -> (T,)."""
    states = np.array(states)
    edges = np.flatnonzero(np.diff(states)) + 1
    for start, end in zip([0, *edges], [*edges, len(states)], strict=True):
        if end - start < shortest and len(edges):
            states[start:end] = states[start - 1] if start else states[end]
    return states


def merge_changepoints(k_points, alpha_points, state_points=()) -> list[int]:
    """Merge changepoints: all of K, then those of alpha and then of the state that are over 5 frames from the others.

    Returns
    -------
    list of int
        Increasing, at least 3 apart.
    """
    merged = list(k_points)
    for points in (alpha_points, state_points):
        merged += [c for c in points if all(abs(c - other) > MERGE_FRAMES for other in merged)]
    return [c for i, c in enumerate(sorted(merged)) if i == 0 or c - sorted(merged)[i - 1] >= MIN_SEGMENT_FRAMES]


def segment_m3(pred: Prediction, penalty: float = CHANGE_PENALTY, use_states: bool = False) -> list[Segment]:
    """Segments of one track as the M3 entry finds them.

    Frames whose most probable state is trapped count as K = alpha = 0, as in the labels that the networks of M3 learn.

    Parameters
    ----------
    pred : Prediction
        ``log10_k`` (T,) in px^2/frame^alpha (this method is not scale-equivariant), ``alpha``,
        ``state_probs``.
    penalty : float
        Price of a changepoint in either series.
    use_states : bool
        Whether to take changepoints of the state too.

    Returns
    -------
    list of Segment
        start, end (exclusive), k, alpha, state.

    Source: `combined_cps_k_focused` of the M3 entry to the second AnDi challenge (Pelt, l2, pen 0.3).
    """
    states = remove_short_runs(pred.state_probs.argmax(axis=1))
    mobile = states != TRAPPED
    log_k1 = smooth(np.where(mobile, np.clip(np.log10(1 + 10.0**pred.log10_k), 0, 6), 0.0))
    alpha = smooth(np.where(mobile, np.clip(pred.alpha, 0, 1.999), 0.0))
    state_points = np.flatnonzero(np.diff(states)) + 1 if use_states else ()
    points = merge_changepoints(series_changepoints(log_k1, penalty), series_changepoints(alpha, penalty), state_points)
    segments = []
    for start, end in zip([0, *points], [*points, len(states)], strict=True):
        k = 10 ** log_k1[start:end].mean() - 1
        state = int(np.bincount(states[start:end]).argmax())
        state = FREE if state == TRAPPED and k > MAX_TRAPPED_K else state
        segments.append(
            Segment(start=int(start), end=int(end), k=float(k), alpha=float(alpha[start:end].mean()), state=state)
        )
    return segments
