"""Histograms of msd_1, K and alpha over segments, for the figures of `kinetics.py` and for the report."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from main.tracks.kinetics.rates import weigh_segments
from simulations.parameters import STATES, TRAPPED

N_BINS = 40
ALPHA_RANGE = (0.0, 2.0)
QUANTITIES = ("msd_1", "k", "alpha")
WEIGHTINGS = ("frame", "track")  # what counts alike


@dataclass(frozen=True)
class Histogram:
    """Weights of segments by bin of one quantity.

    Parameters
    ----------
    edges : numpy.ndarray, shape (B + 1,)
        Of alpha, or of log10 of msd_1 or K in the unit of the segments table.
    sums : numpy.ndarray, shape (2 weightings, G groups, 4 states, B)
        Weighting 0: number of frames. Weighting 1: each segment's share of its track's frames, summed over tracks. The
        row of the trapped state is 0.
    """

    edges: np.ndarray
    sums: np.ndarray


def count_motion(segments: pd.DataFrame, group: np.ndarray, n_groups: int) -> dict[str, Histogram]:
    """Make histograms of msd_1, K and alpha of the segments that move, by group and state.

    Parameters
    ----------
    segments : pandas.DataFrame, N rows
    group : numpy.ndarray of int, shape (N,)
        Number of each segment's condition or file, 0 to n_groups - 1.
    n_groups : int

    Returns
    -------
    dict of str -> Histogram
        By quantity: "msd_1", "k", "alpha"; values that are not finite or not positive (msd_1, K) are left out.
    """
    state = segments["state"].to_numpy()
    weights = weigh_segments(segments)
    result = {}
    for name in QUANTITIES:
        values = segments[name].to_numpy() if name == "alpha" else log10_of_positive(segments[name])
        known = (state != TRAPPED) & np.isfinite(values)
        edges = make_edges(name, values[known])
        place = np.clip(np.digitize(values, edges) - 1, 0, N_BINS - 1)
        sums = np.zeros((len(WEIGHTINGS), n_groups, len(STATES), N_BINS))
        for i, weight in enumerate(weights):
            np.add.at(sums[i], (group[known], state[known], place[known]), weight[known])
        result[name] = Histogram(edges, sums)
    return result


def make_edges(name: str, values: np.ndarray) -> np.ndarray:
    """Edges of equal bins: of alpha over its whole range, of log10 msd_1 and log10 K over the values."""
    low, high = ALPHA_RANGE if name == "alpha" else (values.min(), values.max()) if len(values) else (0.0, 1.0)
    return np.linspace(low, high if high > low else low + 1, N_BINS + 1)


def share_trapped(segments: pd.DataFrame, group: np.ndarray, n_groups: int) -> np.ndarray:
    """Share of the weight of each group that is trapped, for both weightings: shape (2, n_groups)."""
    trapped = (segments["state"] == TRAPPED).to_numpy()
    return np.stack(
        [
            np.bincount(group, weight * trapped, n_groups) / np.maximum(np.bincount(group, weight, n_groups), 1e-12)
            for weight in weigh_segments(segments)
        ]
    )


def log10_of_positive(values) -> np.ndarray:
    """log10 of the positive values, nan for all others."""
    values = np.asarray(values, dtype=np.float64)
    return np.log10(np.where(values > 0, values, np.nan))
