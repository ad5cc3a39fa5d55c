"""Missing frames: tracks cut at long gaps, and short gaps as NaN, which the networks read as a straight line."""

import numpy as np
import pandas as pd

from simulations.parameters import LONGEST_GAP


def every_frame(xy: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Positions at every frame from the first to the last, NaN where the particle was not seen.

    Parameters
    ----------
    xy : numpy.ndarray, shape (N, 2)
        Positions, any unit of length.
    frame : numpy.ndarray, shape (N,)
        Frame numbers, increasing.

    Returns
    -------
    numpy.ndarray, shape (frame[-1] - frame[0] + 1, 2)
    """
    every = np.full((frame[-1] - frame[0] + 1, 2), np.nan)
    every[frame - frame[0]] = xy
    return every


def bridge(track: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill the missing positions of a track by straight lines.

    Parameters
    ----------
    track : numpy.ndarray, shape (T, 2)
        Positions, NaN in frames where the particle was not seen; the first and the last frame are not missing.

    Returns
    -------
    xy : numpy.ndarray, shape (T, 2)
        Without NaN.
    seen : numpy.ndarray of bool, shape (T,)
        Frames in which the particle was seen.
    """
    seen = ~np.isnan(track[:, 0])
    if seen.all():
        return track, seen
    frame = np.arange(len(track))
    return np.stack([np.interp(frame, frame[seen], track[seen, i]) for i in (0, 1)], axis=1), seen


def cut_pieces(table: pd.DataFrame, min_length: int, max_bridged: int = LONGEST_GAP) -> pd.DataFrame:
    """Cut tracks at gaps that are too long to bridge, and at jumps.

    Parameters
    ----------
    table : pandas.DataFrame
        Track table, sorted by (track_id, frame). Tracks are cut before rows whose optional column `jump` is true.
    min_length : int
        Points that a piece needs to be analysed.
    max_bridged : int
        Longest gap that does not cut a track, missing frames in a row.

    Returns
    -------
    pandas.DataFrame
        One row for each piece: track_id; first and last, its rows in the table (last exclusive); n_points; n_span, the
        frames from its first to its last point; analysed, whether it is long enough.
    """
    track, frame = table["track_id"].to_numpy(), table["frame"].to_numpy()
    cut = (np.diff(track) != 0) | (np.diff(frame) > max_bridged + 1)
    if "jump" in table:
        cut |= table["jump"].to_numpy()[1:]
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
