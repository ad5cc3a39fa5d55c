"""Links spots of successive frames to tracks."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

MAX_GAP = 2  # frames without a spot within a track
START_NEIGHBOURS = 0.2  # strange spots within the first search radius
MAX_NEIGHBOURS = 1.0  # and at most
MAX_RADIUS_PX, MIN_RADIUS_PX = 20.0, 1.0
QUANTILE = 0.95  # of the steps of Brownian motion in two dimensions, from which their size is taken
REACH = 3.5  # search radius, standard deviations of a step per coordinate: .2 % of the steps are longer
N_ROUNDS = 6
MAX_SPOTS = 20_000  # at the beginning of a movie, from which the search radius is found


def link_spots(frame: np.ndarray, position: np.ndarray, radius: float, max_gap: int = MAX_GAP) -> np.ndarray:
    """Link spots so that the sum of squared steps is smallest, frame after frame.

    A track without a spot competes for spots of the next `max_gap` frames, within a radius that grows with the root of
    time. Not to link costs as much as a step of the radius.

    Parameters
    ----------
    frame : numpy.ndarray of int, shape (N,)
        In ascending order.
    position : numpy.ndarray, shape (N, 2)
    radius : float
        Longest step from one frame to the next, in the unit of positions.
    max_gap : int
        Frames without a spot that a track may bridge.

    Returns
    -------
    numpy.ndarray of int64, shape (N,)
        Track of each spot, from 0 in the order of first frames.

    Source: Jaqaman et al., Nature Methods 5 (2008) 695, without merging and splitting.
    """
    track = np.full(len(frame), -1, np.int64)
    open_spots = np.empty(0, np.int64)  # last spot of every track that may go on
    n_tracks = 0
    if len(frame) == 0:
        return track
    numbers, starts = np.unique(frame, return_index=True)
    for number, here in zip(numbers, np.split(np.arange(len(frame)), starts[1:]), strict=True):
        open_spots = open_spots[number - frame[open_spots] <= max_gap + 1]
        age = np.sqrt(number - frame[open_spots])
        rows, columns = _assign(position[open_spots], position[here], radius * age)
        track[here[columns]] = track[open_spots[rows]]
        new = np.setdiff1d(np.arange(len(here)), columns)
        track[here[new]] = n_tracks + np.arange(len(new))
        n_tracks += len(new)
        open_spots = np.concatenate([np.delete(open_spots, rows), here])
    return track


def _assign(ends: np.ndarray, spots: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pair ends of tracks with spots; groups of them that are out of reach of each other are solved one by one."""
    nothing = np.empty(0, np.int64)
    if len(ends) == 0 or len(spots) == 0:
        return nothing, nothing
    near = cKDTree(spots).query_ball_point(ends, reach)
    rows = np.repeat(np.arange(len(ends)), [len(n) for n in near])
    columns = np.concatenate([np.asarray(n, np.int64) for n in near])
    if len(rows) == 0:
        return nothing, nothing
    cost = ((ends[rows] - spots[columns]) ** 2).sum(1) / reach[rows] ** 2
    only = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)
    free = only & (cost < 1)
    pairs = [(rows[free], columns[free])]
    rows, columns, cost = rows[~only], columns[~only], cost[~only]
    group = _group(rows, columns, len(ends), len(spots))
    order = np.argsort(group, kind="stable")
    for edges in np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if len(rows) else ():
        a, i = np.unique(rows[edges], return_inverse=True)
        b, j = np.unique(columns[edges], return_inverse=True)
        table = np.ones((len(a), len(b)))
        table[i, j] = cost[edges]
        chosen = linear_sum_assignment(table)
        kept = table[chosen] < 1
        pairs.append((a[chosen[0][kept]], b[chosen[1][kept]]))
    return tuple(np.concatenate(side) for side in zip(*pairs, strict=True))


def _group(rows, columns, n_rows: int, n_columns: int) -> np.ndarray:
    """Number of the connected component of every edge."""
    n = n_rows + n_columns
    graph = coo_matrix((np.ones(len(rows)), (rows, columns + n_rows)), (n, n))
    return connected_components(graph, directed=False)[1][rows]


def find_radius(frame: np.ndarray, position: np.ndarray, area: float) -> float:
    """Find how far molecules move from frame to frame, as a search radius.

    Starts where few strange spots are within reach, links, measures the steps, and links again.

    Parameters
    ----------
    frame, position
        As for `link_spots`, px.
    area : float
        Of a frame, px^2.

    Returns
    -------
    float
        px.
    """
    first = np.searchsorted(frame, frame[MAX_SPOTS], "right") if len(frame) > MAX_SPOTS else len(frame)
    frame, position = frame[:first], position[:first]
    per_frame = len(frame) / max(1, len(np.unique(frame)))
    alone = math.sqrt(area / (math.pi * max(per_frame, 1e-3)))  # radius that holds one strange spot on average
    highest = min(MAX_RADIUS_PX, alone * math.sqrt(MAX_NEIGHBOURS))
    radius = min(highest, alone * math.sqrt(START_NEIGHBOURS))
    for _ in range(N_ROUNDS):
        steps = measure_steps(frame, position, link_spots(frame, position, radius, max_gap=0))
        if len(steps) < 20:
            return radius
        size = np.quantile(steps, QUANTILE) / math.sqrt(-2 * math.log(1 - QUANTILE))
        new = float(np.clip(REACH * size, MIN_RADIUS_PX, highest))
        if abs(new - radius) < 0.02 * radius:
            break
        radius = new
    return radius


def measure_steps(frame: np.ndarray, position: np.ndarray, track: np.ndarray) -> np.ndarray:
    """Lengths of the steps from one frame to the next within tracks."""
    order = np.lexsort((frame, track))
    follows = (np.diff(track[order]) == 0) & (np.diff(frame[order]) == 1)
    return np.linalg.norm(np.diff(position[order], axis=0), axis=1)[follows]
