"""Dynamic programmes in linear time: optimal partitioning, and windows of high probability."""

from __future__ import annotations

import numpy as np

from main.utils.compiled import compiled

PRUNE_MARGIN = 1e-6  # squared deviations; above the rounding of sums over 10^6 frames
MIN_DIFFERENCE = 1e-12  # of the values of two windows; smaller ones are rounding, and the shorter window is taken
MAX_CANDIDATES = 2**12  # starts of the last segment that are compared at a frame; shorter tracks never have more


def partition(signals: list[np.ndarray], gains: list[np.ndarray], penalty: float, min_size: int = 3) -> list[list[int]]:
    """Find the changepoints with the least cost: squared deviations within segments, plus price minus gain of each.

    A start of the last segment is left out for good once another one, later, is cheaper by itself (Killick et al.
    2012). Where more than MAX_CANDIDATES remain all the same, which takes a track of more frames that hardly changes
    and networks without a head for changepoints, every second one of the older half is left out.

    Parameters
    ----------
    signals : list of (T, C) array
        Channels of each track.
    gains : list of (T,) array
        Gain of a changepoint at each frame, the first of a new segment; the first entry is not used.
    penalty : float
        Price of one changepoint.
    min_size : int
        Shortest segment, frames.

    Returns
    -------
    list of list of int
        Interior changepoints of each track, increasing.

    Source: optimal partitioning (Jackson et al. 2005), pruned (PELT; Killick, Fearnhead & Eckley, J. Am. Stat. Assoc.
    107, 1590, 2012). With gains of zero it equals ruptures' Pelt(model="l2", jump=1) and KernelCPD(kernel="linear").
    """
    return [
        _find_best(np.ascontiguousarray(signal, dtype=float), np.asarray(gain, float) - penalty, min_size).tolist()
        for signal, gain in zip(signals, gains, strict=True)
    ]


@compiled
def _find_best(signal, worth, min_size):
    """Interior changepoints of the best partition of one track, increasing.

    signal (T, C); worth (T,) of a changepoint at each frame: its gain minus its price. Costs are counted as what they
    leave of the sum of squares: the larger, the better.
    """
    size, n_channels = signal.shape
    total = np.zeros((size + 1, n_channels))
    for t in range(size):
        for c in range(n_channels):
            total[t + 1, c] = total[t, c] + signal[t, c]
    best = np.full(size + 1, -np.inf)  # of the first t frames, with a changepoint at t
    best[0] = 0.0
    last = np.zeros(size + 1, np.int64)  # first frame of the last segment of the first t frames
    capacity = min(size, MAX_CANDIDATES) + 1
    start, dies, value = np.empty(capacity, np.int64), np.empty(capacity, np.int64), np.empty(capacity)
    n = 0
    for t in range(min_size, size + 1):
        new = t - min_size
        if new == 0 or new >= min_size:
            start[n], dies[n] = new, size + 1
            n += 1
        kept, highest = 0, -np.inf
        for i in range(n):
            if dies[i] <= t:
                continue
            s = start[i]
            square = 0.0
            for c in range(n_channels):
                square += (total[t, c] - total[s, c]) ** 2
            start[kept], dies[kept], value[kept] = s, dies[i], best[s] + square / (t - s)
            if value[kept] > highest:
                highest, last[t] = value[kept], s
            kept += 1
        n = kept
        if t < size:
            best[t] = highest + worth[t]
        for i in range(n):  # a later segment may begin at t instead, once it is long enough
            if value[i] < best[t] - PRUNE_MARGIN and dies[i] > size:
                dies[i] = t + min_size
        if n == MAX_CANDIDATES:
            n = _thin_out(start, dies, value, n)
    places, n, t = np.empty(size // min_size, np.int64), 0, size
    while t >= min_size and last[t] > 0:
        t = last[t]
        places[n] = t
        n += 1
    return places[:n][::-1]


@compiled
def _thin_out(start, dies, value, n):
    """Leave out the worse of every two neighbours in the older half of n candidates; returns how many remain."""
    half = n // 2
    for i in range(half // 2):
        better = 2 * i + (value[2 * i + 1] > value[2 * i])
        start[i], dies[i] = start[better], dies[better]
    for i in range(half, n):
        start[i - half + half // 2], dies[i - half + half // 2] = start[i], dies[i]
    return n - half + half // 2


def windows(mass: np.ndarray, threshold: float, min_size: int = 3, max_size: int = 19) -> np.ndarray:
    """Find disjoint windows with the largest sum of min(1, probability within) - threshold.

    Such a window very probably holds a changepoint whose place is not known.

    Parameters
    ----------
    mass : (B, T) array
        Probability of a changepoint at each frame, 0 beyond a track's end.
    threshold : float
        Price of one window, 0 to 1.
    min_size, max_size : int
        Shortest and longest window, frames.

    Returns
    -------
    numpy.ndarray
        (W, 3) int, rows of track, first frame, last frame + 1, sorted.
    """
    found = [_find_windows(np.asarray(row, dtype=float), threshold, min_size, max_size) for row in mass]
    track = np.repeat(np.arange(len(mass)), [len(of_track) for of_track in found])
    return np.column_stack([track, np.concatenate([np.zeros((0, 2), int), *found])])


@compiled
def _find_windows(mass, threshold, min_size, max_size):
    """First frame and last frame + 1, (W, 2), of the windows of one track."""
    size = len(mass)
    total, best, taken = np.zeros(size + 1), np.zeros(size + 1), np.zeros(size + 1, np.int64)
    for t in range(1, size + 1):
        total[t] = total[t - 1] + mass[t - 1]
        best[t] = best[t - 1]  # no window ends here, or one does
        for width in range(min_size, min(max_size, t) + 1):
            value = best[t - width] + min(total[t] - total[t - width], 1.0) - threshold
            if value > best[t] + MIN_DIFFERENCE:
                best[t], taken[t] = value, width
    found, n, t = np.empty((size // min_size, 2), np.int64), 0, size
    while t > 0:
        if taken[t] > 0:
            found[n] = t - taken[t], t
            n += 1
        t -= max(taken[t], 1)
    return found[:n][::-1]
