"""The label filter of andi_datasets, without its loops."""

from __future__ import annotations

import numpy as np

WINDOW, MIN_SEGMENT = 5, 3  # frames, as in andi_datasets._defaults_andi2


def label_filter(labels: np.ndarray) -> np.ndarray:
    """Replace each label by the most frequent one in a window of 5 frames, then remove segments shorter than 3 frames.

    Equal, value by value, to `andi_datasets.utils_challenge.label_filter` with its AnDi-2 settings. If several labels
    are equally frequent in a window, the one that occurs first in the whole series is taken.

    Parameters
    ----------
    labels : array (T,)
        One label per frame, any number of distinct values, none of them nan.

    Returns
    -------
    array (T,)
        The filtered labels, float; the input itself if all labels are equal.

    Raises
    ------
    ValueError
        If `labels` is not one-dimensional.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(f"labels must be one-dimensional, not of shape {labels.shape}")
    if not (labels[1:] != labels[:-1]).any():
        return labels
    values, ranks = _rank_by_first_occurrence(labels)
    return values[_absorb_short_segments(_majority(ranks, len(values)))].astype(float)


def _rank_by_first_occurrence(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values in order of appearance, and for every frame its index into them."""
    values, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(values), int)
    rank[order] = np.arange(len(values))
    return values[order], rank[inverse]


def _majority(ranks: np.ndarray, n_values: int) -> np.ndarray:
    """Most frequent rank in the window around each frame; the smallest if several are equally frequent."""
    n, half = len(ranks), WINDOW // 2
    counts = np.zeros((n + 1, n_values), int)  # counts[t, v]: frames before t that hold v
    counts[np.arange(1, n + 1), ranks] = 1
    counts = counts.cumsum(0)
    start, stop = np.maximum(np.arange(n) - half, 0), np.minimum(np.arange(n) + half + 1, n)
    return (counts[stop] - counts[start]).argmax(1)


def _absorb_short_segments(ranks: np.ndarray) -> np.ndarray:
    """Give every run shorter than 3 frames the value before it, those at the start the value of frame 2."""
    starts = np.flatnonzero(np.r_[True, ranks[1:] != ranks[:-1]])
    lengths = np.diff(np.r_[starts, len(ranks)])
    first = np.searchsorted(starts, min(MIN_SEGMENT, len(ranks)) - 1, side="right") - 1
    keep = lengths >= MIN_SEGMENT
    keep[: first + 1] = False
    keep[first] = True
    kept = np.maximum.accumulate(np.where(keep, np.arange(len(starts)), first))
    return np.repeat(ranks[starts[kept]], lengths)
