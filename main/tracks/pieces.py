"""Frames in which a particle was not seen: NaN on the way to the networks, which read a straight line there."""

import numpy as np
import pandas as pd

from simulations.parameters import LONGEST_GAP


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


def cut_pieces(table: pd.DataFrame, min_length: int, max_bridged: int = LONGEST_GAP) -> pd.DataFrame:
    """Pieces of tracks between gaps too long to bridge.

    Parameters
    ----------
    table : pandas.DataFrame
        Track table, sorted by (track_id, frame).
    min_length : int
        Points that a piece needs to be analysed.
    max_bridged : int
        Frames missing in a row that do not cut a track.

    Returns
    -------
    pandas.DataFrame
        One row a piece: track_id, first and last (row of the table, last exclusive), n_points, n_span
        (frames it covers), analysed.
    """
    track, frame = table["track_id"].to_numpy(), table["frame"].to_numpy()
    cut = (np.diff(track) != 0) | (np.diff(frame) > max_bridged + 1)
    first = np.concatenate([[0], np.flatnonzero(cut) + 1])[: len(table)]
    last = np.append(first, len(table))[1:]
    pieces = pd.DataFrame(
        {
            "track_id": track[first],
            "first": first,
            "last": last,
            "n_points": last - first,
            "n_span": frame[last - 1] - frame[first] + 1,
        }
    )
    pieces["analysed"] = pieces["n_points"] >= max(min_length, 2)
    return pieces
