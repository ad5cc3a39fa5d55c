"""Choose the changepoints to report, given paths drawn from the posterior of each track.

The most probable path has too few changes where many are possible and none is certain. Chosen is the list of
changepoints with the largest expected Jaccard index over all tracks, where the drawn paths take the place of the truth.
Hits are pairs at most TOLERANCE_FRAMES apart; a track without true and reported changepoints is a hit too, as for the
scorer of the challenge.
"""

from __future__ import annotations

from itertools import chain

import numpy as np

from main.tracks.evaluation.errors import CP_TOLERANCE
from main.tracks.inference.changepoints import MIN_SEGMENT_FRAMES
from main.utils.compiled import compiled

TOLERANCE_FRAMES = CP_TOLERANCE - 1  # the official scorer counts pairs less than CP_TOLERANCE apart
CANDIDATE_THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6)  # expected changes near a frame that make it a candidate
MAX_TRIED_PLACES = 25  # about, for one more changepoint
N_JACCARD_ROUNDS = 4  # of Dinkelbach's method
FIRST_JACCARD = 0.7  # with which it starts


def count_matches(first, second, tolerance: int = TOLERANCE_FRAMES) -> np.ndarray:
    """Count the changepoints that can be paired, between all lists of one kind and all lists of another.

    Parameters
    ----------
    first, second : list of list of int
        P and Q lists of changepoints, each increasing.
    tolerance : int
        Largest distance of a pair, frames.

    Returns
    -------
    numpy.ndarray of int, shape (P, Q)
        Sizes of the largest one-to-one pairings. They are found greedily from the left, which is optimal on a line.
    """
    return _count_pairs(*_joined(first), *_joined(second), tolerance)


def _joined(lists) -> tuple[np.ndarray, np.ndarray]:
    """All values of some lists in a row, and the place of the first one of each list, then the number of values."""
    return np.fromiter(chain.from_iterable(lists), np.int64), np.cumsum([0, *map(len, lists)])


@compiled
def _count_pairs(a, a_edges, b, b_edges, tolerance):
    """Do the work of `count_matches`."""
    hits = np.zeros((len(a_edges) - 1, len(b_edges) - 1), np.int64)
    for p in range(len(hits)):
        for q in range(hits.shape[1]):
            i, j = a_edges[p], b_edges[q]
            while i < a_edges[p + 1] and j < b_edges[q + 1]:
                distance = a[i] - b[j]
                if abs(distance) <= tolerance:
                    hits[p, q] += 1
                    i += 1
                    j += 1
                elif distance < 0:
                    i += 1
                else:
                    j += 1
    return hits


def expected_counts(candidates: list[list[int]], paths: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Expected hits of each candidate, and the expected size of its union with the truth.

    Parameters
    ----------
    candidates : list of list of int
        P lists of changepoints.
    paths : list of list of int
        Changepoints of the drawn paths, which are equally likely to be true.

    Returns
    -------
    hits, union : numpy.ndarray, shape (P,)
    """
    n, m = (np.array([len(c) for c in lists]) for lists in (candidates, paths))
    hits = count_matches(candidates, paths)
    neither = (n[:, None] == 0) & (m == 0)
    return (hits + neither).mean(1), (n[:, None] + m - hits + neither).mean(1)


def place_densely(density: np.ndarray, threshold: float, tolerance: int = TOLERANCE_FRAMES) -> list[int]:
    """Place changepoints one by one where most changes are expected nearby, until fewer than `threshold` are left.

    Parameters
    ----------
    density : (T,) array
        Expected changes at each frame.
    threshold : float
        Expected changes within `tolerance` of a frame.

    Returns
    -------
    list of int
        Increasing.
    """
    left, places = np.array(density, float), []
    n = len(left)
    low, high = np.maximum(np.arange(n) - tolerance, 0), np.minimum(np.arange(n) + tolerance + 1, n)
    while True:
        total = np.concatenate([[0.0], left.cumsum()])
        near = total[high] - total[low]
        t = int(near.argmax())
        if near[t] < threshold:
            return sorted(set(places))
        part = left[low[t] : high[t]].cumsum()
        t = max(low[t] + int((part < part[-1] / 2).sum()), 1)  # the median of what is near
        window = slice(low[t], high[t])
        left[window] *= 1 - min(1.0, left[window].sum()) / left[window].sum()
        places.append(t)


def improve_places(places: list[int], paths: list[list[int]], jaccard: float) -> list[int]:
    """Add and delete single changepoints while this raises expected hits minus `jaccard` times the expected union.

    Parameters
    ----------
    places : list of int
        Changepoints to start with.
    paths : list of list of int
        Changepoints of the drawn paths.
    jaccard : float
        Price, in hits, of one more member of the union.

    Returns
    -------
    list of int
    """
    grid = sorted({c for path in paths for c in path})
    grid = grid[:: max(1, len(grid) // MAX_TRIED_PLACES)]
    hits, union = expected_counts([places], paths)
    best = hits[0] - jaccard * union[0]
    while True:
        options = [[c for c in places if c != dropped] for dropped in places]
        options += [sorted([*places, new]) for new in grid if all(abs(new - c) >= MIN_SEGMENT_FRAMES for c in places)]
        if not options:
            return places
        hits, union = expected_counts(options, paths)
        value = hits - jaccard * union
        if value.max() <= best + 1e-9:
            return places
        best, places = value.max(), options[int(value.argmax())]


def place_changepoints(
    paths_of_tracks: list[np.ndarray], likely_of_tracks: list[np.ndarray]
) -> tuple[list[list[int]], float]:
    """Choose the changepoints of every track with which the expected Jaccard index of all tracks is largest.

    Parameters
    ----------
    paths_of_tracks : list of (R, T) arrays of int
        Labels along R paths drawn from the posterior of each track.
    likely_of_tracks : list of (T,) arrays of int
        Most probable label of each frame.

    Returns
    -------
    places : list of list of int
    jaccard : float
        The expected Jaccard index.

    Source: Dinkelbach's method for ratios (Management Science 13, 1967, 492);
    drawn paths in place of the truth as in minimum Bayes risk decoding.
    """
    drawn, candidates, counts = [], [], []
    for labels, likely in zip(paths_of_tracks, likely_of_tracks, strict=True):
        changed = labels[:, 1:] != labels[:, :-1]
        density = np.concatenate([[0.0], changed.mean(0)])
        path, frame = np.nonzero(changed)
        drawn.append([places.tolist() for places in np.split(frame + 1, np.searchsorted(path, range(1, len(labels))))])
        most_probable = (np.flatnonzero(np.diff(likely)) + 1).tolist()
        candidates.append([most_probable, *(place_densely(density, t) for t in CANDIDATE_THRESHOLDS), *drawn[-1]])
        counts.append(expected_counts(candidates[-1], drawn[-1]))
    jaccard = FIRST_JACCARD
    for _ in range(N_JACCARD_ROUNDS):
        best = [int((hits - jaccard * union).argmax()) for hits, union in counts]
        picked = [(hits[i], union[i]) for (hits, union), i in zip(counts, best, strict=True)]
        jaccard = float(np.divide(*np.sum(picked, axis=0)))
    places = [improve_places(lists[i], paths, jaccard) for lists, i, paths in zip(candidates, best, drawn, strict=True)]
    return places, jaccard
