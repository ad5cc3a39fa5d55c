"""Labels of frames along paths that are drawn from the posterior of a track."""

from __future__ import annotations

import numpy as np

from main.utils.compiled import compiled
from simulations.labels import MIN_SEGMENT, WINDOW


def change_density(paths: np.ndarray) -> np.ndarray:
    """Share of the paths (R, T) that change at each frame, (T,)."""
    return np.pad((paths[:, 1:] != paths[:, :-1]).mean(0), (1, 0))


def label_shares(labels: np.ndarray, n_components: int) -> np.ndarray:
    """Share of the paths (R, T) in each component, (T, C)."""
    return np.stack([(labels == c).mean(0) for c in range(n_components)], axis=1)


@compiled
def filter_paths(paths, n_labels):
    """Filter the labels of each path as `simulations.labels.label_filter` does, value by value.

    Parameters
    ----------
    paths : (R, T) array of int
        Labels 0 to n_labels - 1.
    n_labels : int

    Returns
    -------
    numpy.ndarray
        (R, T), type of `paths`.
    """
    out, n, half = paths.copy(), paths.shape[1], WINDOW // 2
    rank, label, count = np.empty(n_labels, np.int64), np.empty(n_labels, np.int64), np.empty(n_labels, np.int64)
    for r in range(len(paths)):
        row, new = paths[r], out[r]
        rank[:], count[:], n_seen = -1, 0, 0
        for t in range(n):
            if rank[row[t]] < 0:  # of equally frequent labels, the first one of the track counts
                rank[row[t]], label[n_seen] = n_seen, row[t]
                n_seen += 1
        for t in range(-half, n):
            if t + half < n:
                count[rank[row[t + half]]] += 1
            if t - half > 0:
                count[rank[row[t - half - 1]]] -= 1
            if t >= 0:
                new[t] = label[count[:n_seen].argmax()]
        middle = min(MIN_SEGMENT, n) - 1  # its label is kept, however short its segment
        kept, t = new[middle], middle
        while t > 0 and new[t - 1] == kept:
            t -= 1
        new[:t] = kept
        while t < n:
            end = t + 1
            while end < n and new[end] == new[t]:
                end += 1
            if end - t >= MIN_SEGMENT:
                kept = new[t]
            new[t:end] = kept
            t = end
    return out
