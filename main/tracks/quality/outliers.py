"""Wrong points of tracks: a spot that was linked by mistake, one at (0, 0), or a jump to another particle.

The steps of a track are sorted by size. Where they fall into two groups that a large factor separates, the few large
ones do not belong to the motion: real motion, also between immobile and fast, has sizes in between.
"""

import numpy as np
import pandas as pd

from simulations.parameters import LONGEST_GAP

# Two ratios of step sizes, the largest usual step being 1. Tuned so that no track of 5,000 of each of the nine AnDi-2
# experiments and of the streams of `simulations` but m3 is touched; misc/LOG.md, 2026-11-24 (2).
SPIKE_RATIO = 6.0  # of steps to a wrong point and back
JUMP_RATIO = 100.0  # of a step without return: a particle that leaves a trap makes one of 20 to 40
MAX_LARGE_SHARE = 0.2  # of the steps of a track; more are a kind of motion
CLOSE = 2.0  # largest usual steps between the points before and after wrong ones
CLOSE_SHARE = 0.05  # as above, over the step to the wrong point
MIN_POINTS = 10  # fewer do not show which steps are usual
SCREEN_RATIO = 4.0  # largest over mean step below which a track has no wrong point: Brownian tracks have 2 to 3


def find_wrong_points(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Find points that are not on the path of their particle, and steps that lead to another particle.

    Parameters
    ----------
    table : pandas.DataFrame
        track_id, frame, x, y, sorted by (track_id, frame).

    Returns
    -------
    wrong : numpy.ndarray of bool, shape (N,)
        Points, up to 3 in a row, that lie far off while the points before and after are close to each other.
    cut : numpy.ndarray of bool, shape (N,)
        Points that a huge step without return leads to: the track is to be cut before them.
    """
    frame, xy = table["frame"].to_numpy(), table[["x", "y"]].to_numpy()
    size = np.hypot(*np.diff(xy, axis=0).T) if len(xy) > 1 else np.zeros(0)
    new = (np.diff(table["track_id"].to_numpy()) != 0) | (np.diff(frame) > LONGEST_GAP + 1)
    first = np.concatenate([[0], np.flatnonzero(new) + 1])
    last = np.append(first[1:], len(xy))
    within = np.where(new, 0.0, size)
    wrong, cut = np.zeros(len(xy), bool), np.zeros(len(xy), bool)
    padded = np.append(within, 0.0)
    largest, total = np.maximum.reduceat(padded, first), np.add.reduceat(padded, first)
    n_points = last - first
    for i in np.flatnonzero((n_points >= MIN_POINTS) & (largest * (n_points - 1) > SCREEN_RATIO * total)):
        rows = slice(first[i], last[i])
        wrong[rows], cut[rows] = find_in_track(xy[rows], within[first[i] : last[i] - 1])
    return wrong, cut


def find_in_track(xy: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find wrong points and jumps of one track.

    Parameters
    ----------
    xy : numpy.ndarray, shape (T, 2)
    size : numpy.ndarray, shape (T - 1,)
        Length of each step, unit of xy.

    Returns
    -------
    wrong, cut : numpy.ndarray of bool, shape (T,)
        As `find_wrong_points`.
    """
    wrong, cut = np.zeros(len(xy), bool), np.zeros(len(xy), bool)
    n_large = max(int(MAX_LARGE_SHARE * len(size)), 2)
    ordered = np.sort(size)[::-1][: n_large + 1]
    gaps = np.flatnonzero((ordered[:-1] > SPIKE_RATIO * ordered[1:]) & (ordered[1:] > 0))
    if not len(gaps):
        return wrong, cut
    usual = ordered[gaps[-1] + 1]
    borders = np.flatnonzero(size > usual) + 1  # first point of each stretch between large steps, but the first
    place = 0
    while place < len(borders):
        before = borders[place] - 1
        near = max(CLOSE * usual, CLOSE_SHARE * size[before])
        ends = borders[place + 1 : place + 1 + LONGEST_GAP]  # all that can be near enough
        ends = ends[ends - borders[place] <= LONGEST_GAP]
        back = next((b for b in ends if np.hypot(*(xy[b] - xy[before])) <= near), None)
        if back is not None:
            wrong[before + 1 : back] = True
            place = int(np.searchsorted(borders, back, side="right"))
        else:
            cut[borders[place]] = size[before] > JUMP_RATIO * usual
            place += 1
    return wrong, cut
