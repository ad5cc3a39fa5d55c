"""Results for napari's tracks layer."""

import numpy as np
import pandas as pd


def to_napari(points: pd.DataFrame) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Convert a points table for `viewer.add_tracks(data, features=features, color_by="alpha")` of napari.

    Parameters
    ----------
    points : pandas.DataFrame
        The table points as `main/infer.py` writes it.

    Returns
    -------
    data : numpy.ndarray, shape (N, 4)
        track_id, frame, y, x (unit of the file), sorted by track and frame, as napari requires.
    features : dict of str -> numpy.ndarray, each of shape (N,)
        All other columns of numbers, in the units of the table: k, alpha, state, probabilities, intervals, segment_id.
    """
    points = points.sort_values(["track_id", "frame"], kind="stable")
    data = points[["track_id", "frame", "y", "x"]].to_numpy(dtype=np.float64)
    others = points.drop(columns=["track_id", "frame", "y", "x"]).select_dtypes("number")
    return data, {name: others[name].to_numpy() for name in others}
