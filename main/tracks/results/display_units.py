"""Positions, localisation errors and times of figures and report, in micrometres and seconds where these are known."""

import numpy as np
import pandas as pd


def list_file_values(table: pd.DataFrame, record: dict, key: str) -> np.ndarray:
    """Look up what run.json says of the file of each row.

    Parameters
    ----------
    table : pandas.DataFrame, N rows
        With a column file, unless the run has one file.
    record : dict
        Contents of run.json.
    key : {"um_per_unit", "frame_interval_s"}

    Returns
    -------
    numpy.ndarray, shape (N,)
        1 where it is not known: lengths stay in the unit of the file, times in frames.
    """
    values = {given["path"]: given[key] or 1.0 for given in record["inputs"]}
    if "file" not in table:
        return np.full(len(table), next(iter(values.values())))
    return table["file"].map(values).to_numpy(dtype=float)


def name_length_unit(record: dict) -> str:
    """Name the unit of lengths in the report: "um" where it is known, else the unit of x and y in the files."""
    return "um" if all(given["um_per_unit"] for given in record["inputs"]) else record["units"]["x"]


def convert_points(points: pd.DataFrame, record: dict) -> pd.DataFrame:
    """Convert x and y of the table of points to the length unit of the report, and add msd_1 = 4 K dt^alpha."""
    scale, interval = (list_file_values(points, record, key) for key in ("um_per_unit", "frame_interval_s"))
    msd_1 = 4 * points["k"] * interval ** points["alpha"] * (points["k"] > 0)
    return points.assign(x=points["x"] * scale, y=points["y"] * scale, msd_1=msd_1)


def convert_tracks(tracks: pd.DataFrame, record: dict) -> pd.DataFrame:
    """Convert the localisation error of the table of tracks to the length unit of the report."""
    scale = list_file_values(tracks, record, "um_per_unit")
    return tracks.assign(localization_error=tracks["localization_error"] * scale)
