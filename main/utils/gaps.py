"""Frames in which a particle was not seen: NaN on the way to the networks, which read a straight line there."""

import numpy as np


def every_frame(xy: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Positions at every frame from the first to the last, NaN where the particle was not seen.

    Parameters
    ----------
    xy : numpy.ndarray, shape (N, 2)
    frame : numpy.ndarray, shape (N,)
        Increasing.

    Returns
    -------
    numpy.ndarray, shape (frame[-1] - frame[0] + 1, 2)
    """
    every = np.full((frame[-1] - frame[0] + 1, 2), np.nan)
    every[frame - frame[0]] = xy
    return every


def bridge(track: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A track without NaN, missing positions on a straight line; and the frames that were seen.

    Parameters
    ----------
    track : numpy.ndarray, shape (T, 2)
        NaN in frames where the particle was not seen; the first and the last were.

    Returns
    -------
    xy : numpy.ndarray, shape (T, 2)
    seen : numpy.ndarray of bool, shape (T,)
    """
    seen = ~np.isnan(track[:, 0])
    if seen.all():
        return track, seen
    frame = np.arange(len(track))
    return np.stack([np.interp(frame, frame[seen], track[seen, i]) for i in (0, 1)], axis=1), seen
