"""Data of a report's figures, packed for the browser: columns of points, histograms, dwell curves.

A column becomes text in five steps: round to whole numbers of steps above its smallest value, take the difference of
each from the one before (small numbers that repeat), put bytes of the same weight together, gzip, base64.
`page/decode.js` reverses this.
"""

import base64
import gzip

import matplotlib as mpl
import numpy as np
import pandas as pd

from main.tracks.figures import STATE_COLOURS, TRAPPED_GREY, colour_scale
from main.tracks.kinetics.distributions import count_motion, log10_of_positive, share_trapped
from main.tracks.kinetics.dwells import estimate_survival
from main.tracks.kinetics.rates import Estimate
from main.tracks.results.tables import PROBABILITIES
from main.utils.plotting import CHANGE_COLOUR, COLOURS
from simulations.parameters import LONGEST_GAP, STATES, TRAPPED

LOG10_STEP = 0.01  # K and msd_1 are kept to within 1.2 %
ALPHA_STEP = 0.005
PROBABILITY_STEP = 0.005
POSITION_STEPS = 2**16  # over the larger side of the map
MAX_STEPS = 2**31 - 4  # because the difference of two values is stored in 32 bits
MAX_POINTS = 1_200_000  # of more, only every n-th is kept: browsers stay fast, and the file below 15 MB
MAX_STEP_FRAMES = LONGEST_GAP + 1  # frames between two points that a line joins
N_COLOURS = 24
MOVING = [i for i in range(len(STATES)) if i != TRAPPED]
VALUE_STEPS = {"msd_1": LOG10_STEP, "k": LOG10_STEP, "alpha": ALPHA_STEP}
MEASURED = ("net_speed", "confinement_radius")  # columns of segments that no network gives
LOGARITHMIC = ("msd_1", "k")  # packed as log10


def encode(values, step: float) -> dict:
    """Pack a column as text that the browser unpacks.

    Parameters
    ----------
    values : array_like, shape (N,)
        Values that are not finite count as missing.
    step : float
        Unpacked values differ from the given ones by at most half a step. The step is raised if it is below 2^-31 of
        the range of the values.

    Returns
    -------
    dict
        n (number of values), low, step, planes (bytes per value), data (base64). The whole number 0 stands for
        missing, c for low + (c - 1) step.
    """
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    low, high = (float(values[known].min()), float(values[known].max())) if known.any() else (0.0, 0.0)
    step = max(step, (high - low) / MAX_STEPS)
    codes = np.zeros(len(values), np.int64)
    codes[known] = 1 + np.rint((values[known] - low) / step).astype(np.int64)
    change = np.diff(codes, prepend=0)
    change = np.where(change < 0, -2 * change - 1, 2 * change)  # small numbers, whatever the sign
    planes = max(1, (int(change.max(initial=0)).bit_length() + 7) // 8)
    data = change.astype("<u4").view(np.uint8).reshape(-1, 4).T[:planes].tobytes()
    return {"n": len(values), "low": low, "step": step, "planes": planes, "data": compress(data)}


def compress(data: bytes) -> str:
    """Compress bytes by gzip (without a date, so that the same data give the same text) and write them as base64."""
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode("ascii")


def thin_points(points: pd.DataFrame, max_points: int = MAX_POINTS) -> tuple[pd.DataFrame, int]:
    """Keep every n-th point of each track, so that about `max_points` are left; return the points and n."""
    every = max(1, -(-len(points) // max_points))
    return points[points.groupby("track_id").cumcount() % every == 0] if every > 1 else points, every


def pack_values(table: pd.DataFrame) -> dict:
    """Pack msd_1 and K (as log10) and alpha with their intervals, if there are any, and the state.

    Where the particle is trapped, all but the state and the upper end of msd_1 are missing.
    """
    moving, packed = (table["state"] != TRAPPED).to_numpy(), {}
    for name, step in VALUE_STEPS.items():
        for column in (name, f"{name}_lo", f"{name}_hi"):
            if column in table and (column == name or table[column].notna().any()):
                values = log10_of_positive(table[column]) if name in LOGARITHMIC else table[column]
                packed[column] = encode(values if column == "msd_1_hi" else np.where(moving, values, np.nan), step)
    return packed | {"state": encode(table["state"], 1)}


def pack_points(points: pd.DataFrame) -> dict:
    """Pack the columns of a points table; positions to 2^-17 of the larger side of the map."""
    extent = max((float(np.ptp(points[name])) if len(points) else 0.0) for name in ("x", "y")) or 1.0
    columns = {name: encode(points[name], extent / POSITION_STEPS) for name in ("x", "y")}
    columns |= {"frame": encode(points["frame"], 1)} | pack_values(points)
    return columns | {name: encode(points[name], PROBABILITY_STEP) for name in PROBABILITIES}


def pack_tracks(points: pd.DataFrame, segments: pd.DataFrame, files: list[str]) -> dict:
    """Pack the analysed tracks and their segments.

    Parameters
    ----------
    points, segments : pandas.DataFrame
        Both sorted by track.
    files : list of str
        Empty if there is only one.

    Returns
    -------
    dict
        tracks: ids and source (text), file (number in `files`), numbers of points and of segments. segments: columns.
    """
    by_track = points.groupby("track_id")
    counts = by_track.size()
    segments = segments[segments["track_id"].isin(counts.index)]
    n_segments = segments.groupby("track_id").size().reindex(counts.index, fill_value=0)
    result = {"ids": [str(i) for i in counts.index], "points": encode(counts, 1), "segments": encode(n_segments, 1)}
    if files:
        result["file"] = encode(by_track["file"].first().map({name: i for i, name in enumerate(files)}), 1)
    if "source_track" in points:
        result["source"] = [str(i) for i in by_track["source_track"].first()]
    columns = {name: encode(segments[name], 1) for name in ("frame_start", "frame_end", "left_censored")}
    for name in (f"{name}{end}" for name in MEASURED for end in ("", "_lo", "_hi")):
        if name in segments and segments[name].notna().any():
            columns[name] = encode(segments[name], 1e-4 * float(segments[name].abs().max()) or 1.0)
    return {"tracks": result, "segments": columns | pack_values(segments)}


def pack_colours(points: pd.DataFrame) -> dict:
    """Colours of the states, and of msd_1, K (both log10) and alpha in `N_COLOURS` equal steps from low to high."""
    moving = points[points["state"] != TRAPPED]
    scales = {}
    for name in VALUE_STEPS:
        cmap, norm = colour_scale("alpha" if name == "alpha" else "k", moving[name].to_numpy())
        low, high = np.log10([norm.vmin, norm.vmax]) if name in LOGARITHMIC else (norm.vmin, norm.vmax)
        hexes = [mpl.colors.to_hex(cmap(i)) for i in np.linspace(0, 1, N_COLOURS)]
        scales[name] = {"low": float(low), "high": float(high), "colours": hexes}
    lines = COLOURS | {"msd_1": COLOURS["k"]}
    return scales | {"state": STATE_COLOURS, "trapped": TRAPPED_GREY, "change": CHANGE_COLOUR, "line": lines}


def pack_histograms(segments: pd.DataFrame, group: np.ndarray, n_groups: int) -> dict:
    """Pack the histograms of msd_1, K (both log10) and alpha of the segments that move.

    Parameters
    ----------
    segments : pandas.DataFrame
    group : numpy.ndarray of int, shape (N,)
        Number of each segment's condition or file, 0 to n_groups - 1.
    n_groups : int

    Returns
    -------
    dict
        msd_1, k, alpha: edges (B + 1,) and sums[weighting][group][state - 1] (B,). trapped[weighting][group]: share of
        frames (of tracks) that is trapped and therefore in none of the histograms. Weighting 0: every frame counts
        alike. Weighting 1: every track counts alike.
    """
    result = {"trapped": round_digits(share_trapped(segments, group, n_groups))}
    for name, histogram in count_motion(segments, group, n_groups).items():
        sums = histogram.sums[:, :, MOVING]
        result[name] = {"edges": round_digits(histogram.edges), "sums": round_digits(sums)}
    return result


def pack_dwell_curves(estimate: Estimate) -> list[dict]:
    """Survival of the dwells of each state: time (in the unit of the estimate), survival, low, high.

    The lists are empty for a state of which no dwell was seen to start and to end.
    """
    curves = []
    for state in range(len(STATES)):
        curve = estimate_survival(estimate.dwells, state)
        times = {"time": (estimate.frame_interval_s or 1.0) * curve["frames"].to_numpy(dtype=float)}
        times |= {name: curve[name].to_numpy(dtype=float) for name in ("survival", "low", "high")}
        curves.append({name: round_digits(values) for name, values in times.items()})
    return curves


def round_digits(values) -> list:
    """Turn an array into nested lists of numbers of 5 digits, None where not finite."""
    if np.ndim(values):
        return [round_digits(v) for v in values]
    return float(f"{values:.5g}") if np.isfinite(values) else None
