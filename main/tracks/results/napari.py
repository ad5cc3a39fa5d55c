"""Results for napari's tracks layer."""

import numpy as np
import pandas as pd



def to_napari(points: pd.DataFrame) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A points table for napari's tracks layer: `viewer.add_tracks(data, features=features, color_by="alpha")`.

    Parameters
    ----------
    points : pandas.DataFrame
        As `infer.py` writes it.

    Returns
    -------
    data : numpy.ndarray, shape (N, 4)
        track_id, frame, y, x (unit of the file), sorted by track and frame, as napari asks for.
    features : dict of str -> numpy.ndarray, each (N,)
        Everything else in the table that is a number: k, alpha, state, probabilities, intervals, segment_id.
    """
    points = points.sort_values(["track_id", "frame"], kind="stable")
    data = points[["track_id", "frame", "y", "x"]].to_numpy(dtype=np.float64)
    others = points.drop(columns=["track_id", "frame", "y", "x"]).select_dtypes("number")
    return data, {name: others[name].to_numpy() for name in others}
