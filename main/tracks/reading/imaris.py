"""Imaris' table of positions, the file Position.csv that its export of statistics writes.

Sources: https://github.com/GarciaLab/mRNADynamics (src/export/ZeissConfocalLSM/readimariscsv.m), which reads it and
drops rows without TrackID, and files that users published: Position X, Position Y, Position Z, Unit, Category,
Collection, Time, TrackID, ID. Imaris 7 and before call the track Parent.
"""

import numpy as np
import pandas as pd

from main.tracks.reading.columns import LENGTHS
from main.tracks.table import UM_PER_UNIT, Units
from main.utils.errors import InputError

TRACK_COLUMNS = ("trackid", "parent")  # in lower case, the first found is taken


def find_imaris_columns(raw: pd.DataFrame, path) -> tuple[dict[str, str], Units, np.ndarray]:
    """Find the columns, the unit and the points in tracks of Imaris' table of positions.

    Parameters
    ----------
    raw : pandas.DataFrame
        The file as read, its header as column names.
    path : str or Path

    Returns
    -------
    columns : dict
        track_id, frame, x, y -> column name; frame is Time, which counts the time points from 1.
    units : Units
        Positions in the unit of the column Unit; the file does not hold the frame interval.
    keep : numpy.ndarray of bool, shape (N,)
        Whether the point has a TrackID.

    Raises
    ------
    InputError
        If there is no column of tracks, or not one known unit.
    """
    spelled = {str(name).lower(): name for name in raw.columns}
    track = next((spelled[name] for name in TRACK_COLUMNS if name in spelled), None)
    if track is None:
        raise InputError(
            f"{path}: has no column TrackID, expected points in tracks; track them in Imaris and export again."
        )
    columns = {"track_id": track, "frame": spelled["time"], "x": spelled["position x"], "y": spelled["position y"]}
    keep = raw[track].astype("string").str.strip().fillna("").ne("").to_numpy(dtype=bool)
    return columns, _find_units(raw[spelled["unit"]] if "unit" in spelled else None, path), keep


def _find_units(named: pd.Series | None, path) -> Units:
    """Return the unit that all rows name; the replacement character stands for a µ that another program lost."""
    names = [] if named is None else [str(name).strip() for name in named.dropna().unique()]
    found = {LENGTHS.get(name.lower().replace("\ufffd", "µ")) for name in names}
    if len(found) != 1 or None in found:
        raise InputError(
            f"{path}: column Unit holds {', '.join(map(repr, names[:3])) or 'nothing'}, expected one of "
            f"{', '.join(LENGTHS)} in every row; correct the column or export again."
        )
    position = found.pop()
    return Units(position, UM_PER_UNIT.get(position))
