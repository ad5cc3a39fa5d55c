"""Estimates the width of the point spread function from spots of molecules that move."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from main.images.camera import Estimate
from main.images.likelihood import SPREAD_CV2

MIN_STEPS = 5  # of a track that counts for the width of the point spread function
UNEQUAL_PSF = 0.03  # scatter of the squared width between molecules, relative
MAX_PSF_ERROR = 0.03  # relative


def estimate_psf(table: pd.DataFrame, exposure: float = 1.0) -> Estimate:
    """Estimate the width of the point spread function from the widths of spots and the steps of their tracks.

    The squared width of the spot of a molecule that moves is that of the point spread function plus D s / 3, on average
    (s: share of the frame interval that is exposed). D follows from the steps, less the localisation error. The
    estimate is the most frequent value over tracks: defocus and second molecules widen the spots of some.

    Parameters
    ----------
    table : pandas.DataFrame
        track_id, frame, x, y, x_err, y_err, width, width_err; px.
    exposure : float
        Share of the frame interval.

    Returns
    -------
    Estimate
        px; not identified if there are too few tracks.
    """
    tracks = _measure_tracks(table, exposure)
    if len(tracks) == 0:
        return Estimate(float("nan"), float("inf"), False)
    value, error = tracks["value"].to_numpy(), tracks["error"].to_numpy()
    spread = np.hypot(error, UNEQUAL_PSF * np.median(value))

    def cost(mean):
        density = np.exp(-(((value - mean) / spread) ** 2) / 2) / spread
        flat = 1 / np.median(value)
        return -np.log(0.8 * density + 0.2 * flat).sum()

    grid = np.linspace(max(0.1, np.quantile(value, 0.01)), max(0.2, np.quantile(value, 0.99)), 400)
    costs = np.array([cost(mean) for mean in grid])
    best = grid[costs.argmin()]
    weight = np.exp(costs.min() - costs)
    weight /= weight.sum()
    error = math.sqrt((weight * (grid - (weight * grid).sum()) ** 2).sum() + (grid[1] - grid[0]) ** 2)
    width = math.sqrt(best)
    return Estimate(width, error / (2 * width), bool(error / (2 * best) < MAX_PSF_ERROR))


def _measure_tracks(table: pd.DataFrame, exposure: float) -> pd.DataFrame:
    """Squared width at rest and its standard error, px^2, of each track of `MIN_STEPS` steps or more."""
    table = table.sort_values(["track_id", "frame"])
    follows = table["track_id"].diff().eq(0) & table["frame"].diff().eq(1)
    noise = (table["x_err"] ** 2 + table["y_err"] ** 2) / 2
    step = table[["x", "y"]].diff().pow(2).sum(axis=1) / 2
    square = step - noise - noise.shift(1)
    group = table["track_id"]
    steps = pd.DataFrame({"square": square, "step": step})[follows].groupby(group[follows]).agg(["mean", "count"])
    steps = steps[steps["square", "count"] >= MIN_STEPS]
    blur = exposure / 3 / (2 * (1 - exposure / 3))  # of D s / 3 over the variance of a step
    n = steps["square", "count"]
    spots = pd.DataFrame({"width": table["width"] ** 2, "noise": (2 * table["width"] * table["width_err"]) ** 2})
    spots = spots.groupby(group).mean().loc[steps.index]
    moved = blur * steps["square", "mean"].clip(lower=0)
    variance = spots["noise"] / n + (blur * steps["step", "mean"]) ** 2 / n + SPREAD_CV2 * moved**2 / n
    value = spots["width"] - blur * steps["square", "mean"]
    return pd.DataFrame({"value": value, "error": np.sqrt(variance)})[value > 0]
