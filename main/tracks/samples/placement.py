"""Changepoints to report, given paths drawn from a track's posterior: those of the largest expected Jaccard index.

A single best path shows too few changes where many are likely and none is sure. What is chosen here is the list of
changepoints whose expected hits, false alarms and misses, over the drawn paths, make the largest Jaccard index summed
over all tracks (hits: pairs at most `TOLERANCE` frames apart; a track without true and reported changepoints is a hit,
as in the challenge's scorer).
"""

import numpy as np

TOLERANCE = 9  # frames; the official scorer counts pairs less than 10 apart
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6)  # expected changes near a frame that make it a candidate
FAR = 10**6  # frames; pads lists of changepoints
GRID = 25  # places at most that are tried when one more changepoint is considered


def matches(first, second, tolerance=TOLERANCE):
    """Numbers of pairs at most `tolerance` apart between all lists of one kind and all of another.

    Parameters
    ----------
    first, second : list of list of int
        P and Q lists of changepoints, each increasing.
    tolerance : int
        Frames.

    Returns
    -------
    numpy.ndarray
        (P, Q) int; largest one-to-one pairings (in order, greedy from the left, which is optimal on a line).
    """
    a, b = _padded(first), _padded(second)  # (P, m + 1), (Q, n + 1)
    rows, columns = np.arange(len(a))[:, None], np.arange(len(b))
    i, j, hits = (np.zeros((len(a), len(b)), int) for _ in range(3))
    for _ in range(a.shape[1] + b.shape[1] - 2):
        x, y = a[rows, i], b[columns, j]
        hit = (np.abs(x - y) <= tolerance) & (x < FAR)
        hits += hit
        i += hit | (x < y)
        j += hit | (y < x)
        np.minimum(i, a.shape[1] - 1, out=i)
        np.minimum(j, b.shape[1] - 1, out=j)
    return hits


def _padded(lists):
    """Lists of changepoints as rows, at least one `FAR` at the end of each."""
    rows = np.full((len(lists), 1 + max(map(len, lists), default=0)), FAR)
    for row, values in zip(rows, lists, strict=True):
        row[: len(values)] = values
    return rows


def expected_counts(candidates, paths):
    """Expected hits of each candidate and expected size of the union with the truth, each (P,).

    Parameters
    ----------
    candidates, paths : list of list of int
        Changepoints to choose from, and of paths drawn from the posterior.
    """
    n, m = (np.array([len(c) for c in lists]) for lists in (candidates, paths))
    hits = matches(candidates, paths)
    neither = (n[:, None] == 0) & (m == 0)
    return (hits + neither).mean(1), (n[:, None] + m - hits + neither).mean(1)


def dense_places(density, threshold, tolerance=TOLERANCE):
    """Changepoints put one by one where most changes are expected nearby, until fewer than `threshold` are left.

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


def improve(places, paths, jaccard):
    """Add and delete single changepoints while the expected gain grows.

    Parameters
    ----------
    places : list of int
        To start with.
    paths : list of list of int
    jaccard : float
        What one more member of the union must be worth in hits.

    Returns
    -------
    list of int
    """
    grid = sorted({c for path in paths for c in path})
    grid = grid[:: max(1, len(grid) // GRID)]
    hits, union = expected_counts([places], paths)
    best = hits[0] - jaccard * union[0]
    while True:
        options = [[c for c in places if c != dropped] for dropped in places]
        options += [sorted([*places, new]) for new in grid if all(abs(new - c) > 2 for c in places)]
        if not options:
            return places
        hits, union = expected_counts(options, paths)
        value = hits - jaccard * union
        if value.max() <= best + 1e-9:
            return places
        best, places = value.max(), options[int(value.argmax())]


def place_changepoints(paths_of_tracks, likely_of_tracks):
    """Changepoints of every track that make the largest expected Jaccard index of all.

    Parameters
    ----------
    paths_of_tracks : list of (R, T) arrays of int
        Labels along R paths drawn from each track's posterior.
    likely_of_tracks : list of (T,) arrays of int
        Likeliest label of each frame.

    Returns
    -------
    tuple
        list of list of int, and the expected Jaccard index.

    Source: Dinkelbach's method for ratios (Management Science 13, 1967, 492); samples as in minimum Bayes risk.
    """
    drawn, candidates, counts = [], [], []
    for labels, likely in zip(paths_of_tracks, likely_of_tracks, strict=True):
        changed = labels[:, 1:] != labels[:, :-1]
        density = np.concatenate([[0.0], changed.mean(0)])
        drawn.append([(np.flatnonzero(row) + 1).tolist() for row in changed])
        likeliest = (np.flatnonzero(np.diff(likely)) + 1).tolist()
        candidates.append([likeliest, *(dense_places(density, t) for t in THRESHOLDS), *drawn[-1]])
        counts.append(expected_counts(candidates[-1], drawn[-1]))
    jaccard = 0.7
    for _ in range(4):
        best = [int((hits - jaccard * union).argmax()) for hits, union in counts]
        picked = [(hits[i], union[i]) for (hits, union), i in zip(counts, best, strict=True)]
        jaccard = float(np.divide(*np.sum(picked, axis=0)))
    places = [improve(lists[i], paths, jaccard) for lists, i, paths in zip(candidates, best, drawn, strict=True)]
    return places, jaccard
