"""Dynamic programmes over many tracks at once: optimal partitioning, and windows of high probability."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

MAX_GROUP_TRACKS = 128  # of similar length at a time, so that their arrays stay in cache
MAX_GROUP_FRAMES = 2**20  # at a time, padding included: arrays of 8 MiB


def group_by_length(lengths, max_tracks: int = MAX_GROUP_TRACKS) -> Iterator[np.ndarray]:
    """Group tracks of similar length; groups are small enough to bound the memory.

    Parameters
    ----------
    lengths : sequence of int
        Frames of each track.
    max_tracks : int
        Largest number of tracks in a group. With padding they have at most MAX_GROUP_FRAMES frames, or are one track.

    Yields
    ------
    numpy.ndarray
        Positions in `lengths`.
    """
    lengths = np.asarray(lengths, dtype=int)
    order, start = np.argsort(lengths, kind="stable"), 0
    while start < len(order):
        group = order[start : start + max_tracks]
        fits = lengths[group] * np.arange(1, len(group) + 1) <= MAX_GROUP_FRAMES
        yield group[: max(fits.sum(), 1)]
        start += max(fits.sum(), 1)


def partition(signals: list[np.ndarray], gains: list[np.ndarray], penalty: float, min_size: int = 3) -> list[list[int]]:
    """Find the changepoints with the least cost: squared deviations within segments, plus price minus gain of each.

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

    Source: optimal partitioning (Jackson et al. 2005). With gains of zero it equals ruptures' Pelt(model="l2",
    jump=1) and KernelCPD(kernel="linear").
    """
    result = [[] for _ in signals]
    for group in group_by_length([len(signal) for signal in signals]):
        last = _last_changepoints([signals[i] for i in group], [gains[i] for i in group], penalty, min_size)
        for column, i in enumerate(group):
            at = len(signals[i])
            while at >= min_size and (at := int(last[at, column])) > 0:
                result[i].insert(0, at)
    return result


def _last_changepoints(signals, gains, penalty: float, min_size: int) -> np.ndarray:
    """First frame of the last segment of the best partition of the first t frames, for every t; (T + 1, B) int."""
    size, n_channels = max(len(signal) for signal in signals), signals[0].shape[1]
    total = np.zeros((n_channels, size + 1, len(signals)))  # cumulative sums, (C, T + 1, B)
    squares = np.zeros((size + 1, len(signals)))
    worth = np.full((size + 1, len(signals)), -np.inf)
    for b, (signal, gain) in enumerate(zip(signals, gains, strict=True)):
        n = len(signal)
        total[:, 1 : n + 1, b] = np.cumsum(signal, axis=0).T
        squares[1 : n + 1, b] = np.cumsum((signal**2).sum(axis=1))
        worth[1:n, b] = gain[1:] - penalty
    last = np.zeros((size + 1, len(signals)), dtype=int)
    best = np.full(
        (size + 1, len(signals)), -np.inf
    )  # of the first t frames with the price of a changepoint at t; + squares
    best[0] = 0.0
    columns, lengths = np.arange(len(signals)), np.arange(size, 0, -1.0)[:, None]
    values, differences = np.empty((2, size + 1, len(signals)))  # written again for each t
    for t in range(min_size, size + 1):
        n = t - min_size + 1  # the last segment may begin at 0 ... n - 1
        value, difference = values[:n], differences[:n]
        value[:] = 0.0
        for channel in total:
            np.subtract(channel[t], channel[:n], out=difference)
            difference *= difference
            value += difference
        value /= lengths[size - t :][:n]
        value += best[:n]
        last[t] = value.argmax(axis=0)
        best[t] = value[last[t], columns] - squares[t] + worth[t] + squares[t]
    return last


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
    n_tracks, size = mass.shape
    total = np.concatenate([np.zeros((1, n_tracks)), np.cumsum(mass, axis=1).T])  # (T + 1, B)
    best, taken = np.zeros((size + 1, n_tracks)), np.zeros((size + 1, n_tracks), dtype=int)
    columns = np.arange(n_tracks)
    for t in range(1, size + 1):
        sizes = np.arange(min_size, min(max_size, t) + 1)
        value = best[t - sizes] + np.minimum(total[t] - total[t - sizes], 1.0) - threshold
        value = np.concatenate([best[t - 1][None], value])  # (sizes + 1, B): no window ends here, or one does
        choice = value.argmax(axis=0)
        best[t], taken[t] = value[choice, columns], np.concatenate([[0], sizes])[choice]
    found, ends = [], np.full(n_tracks, size)
    while (ends > 0).any():
        width = taken[ends, columns]
        inside = (width > 0) & (ends > 0)
        found.append(np.stack([columns, ends - width, ends], axis=1)[inside])
        ends = np.where(ends > 0, ends - np.maximum(width, 1), 0)
    found = np.concatenate(found) if found else np.empty((0, 3), dtype=int)
    return found[np.lexsort((found[:, 1], found[:, 0]))]
