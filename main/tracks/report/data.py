"""What the figures of a report draw, packed for the browser: points as quantised columns, histograms, dwell curves.

A column is stored as whole numbers of steps above its smallest value, each as the difference from the one before
(they are small and repeat), bytes of the same weight together, gzip, base64. `main/utils/page/page.js` reads it.
"""

import base64
import gzip

import matplotlib as mpl
import numpy as np
import pandas as pd

from main.tracks.figures import STATE_COLOURS, TRAPPED_GREY, colour_scale
from main.tracks.inference.segments import TRAPPED
from main.tracks.kinetics.dwells import dwells, survival
from main.tracks.results.tables import PROBABILITIES
from main.utils.plotting import CHANGE_COLOUR, COLOURS
from simulations.parameters import LONGEST_GAP, STATES

LOG_STEP = 0.01  # of log10 K: values are kept to within 1.2 %
ALPHA_STEP = 0.005
PROBABILITY_STEP = 0.005
POSITION_STEPS = 2**16  # over the larger side of the map
MOST_STEPS = 2**31 - 4  # the difference of two is stored in 32 bits
MAX_POINTS = 1_200_000  # more are thinned
N_COLOURS = 24
N_BINS = 40
MOVING = [i for i in range(len(STATES)) if i != TRAPPED]
WEIGHTINGS = ("frames", "tracks")


def encode(values, step: float) -> dict:
    """A column as text that the browser unpacks.

    Parameters
    ----------
    values : array_like, shape (N,)
        Not finite means missing.
    step : float
        What comes back differs by at most half of it; it is raised where it is under 2^-31 of the range.

    Returns
    -------
    dict
        n, low, step, planes (bytes per value), data: 0 stands for missing, c for low + (c - 1) step.
    """
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    low, high = (float(values[known].min()), float(values[known].max())) if known.any() else (0.0, 0.0)
    step = max(step, (high - low) / MOST_STEPS)
    codes = np.zeros(len(values), np.int64)
    codes[known] = 1 + np.rint((values[known] - low) / step).astype(np.int64)
    change = np.diff(codes, prepend=0)
    change = np.where(change < 0, -2 * change - 1, 2 * change)  # small numbers, whatever the sign
    planes = max(1, (int(change.max(initial=0)).bit_length() + 7) // 8)
    data = change.astype("<u4").view(np.uint8).reshape(-1, 4).T[:planes].tobytes()
    return {"n": len(values), "low": low, "step": step, "planes": planes, "data": compress(data)}


def compress(data: bytes) -> str:
    """gzip (without a date) and base64."""
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode("ascii")


def logarithm(values) -> np.ndarray:
    """log10 of what is positive, else nan."""
    values = np.asarray(values, dtype=np.float64)
    return np.log10(np.where(values > 0, values, np.nan))


def thin(points: pd.DataFrame, most: int = MAX_POINTS) -> tuple[pd.DataFrame, int]:
    """Every n-th point of each track, n as small as leaves about `most`; and n."""
    every = max(1, -(-len(points) // most))
    return points[points.groupby("track_id").cumcount() % every == 0] if every > 1 else points, every


def pack_values(table: pd.DataFrame) -> dict:
    """Columns of K and alpha, with their intervals where there are any; missing where trapped."""
    moving = (table["state"] != TRAPPED).to_numpy()
    ends = [""] if table["k_lo"].isna().all() else ["", "_lo", "_hi"]
    packed = {f"k{end}": encode(np.where(moving, logarithm(table[f"k{end}"]), np.nan), LOG_STEP) for end in ends}
    alphas = {f"alpha{end}": encode(np.where(moving, table[f"alpha{end}"], np.nan), ALPHA_STEP) for end in ends}
    return packed | alphas | {"state": encode(table["state"], 1)}


def pack_points(points: pd.DataFrame) -> dict:
    """Columns of a points table; positions to 2^-17 of the larger side of the map."""
    extent = max((float(np.ptp(points[name])) if len(points) else 0.0) for name in ("x", "y")) or 1.0
    columns = {name: encode(points[name], extent / POSITION_STEPS) for name in ("x", "y")}
    columns |= {"frame": encode(points["frame"], 1)} | pack_values(points)
    return columns | {name: encode(points[name], PROBABILITY_STEP) for name in PROBABILITIES}


def pack_tracks(points: pd.DataFrame, segments: pd.DataFrame, files: list[str]) -> dict:
    """Identifiers (as text), file, numbers of points and segments of the analysed tracks, and their segments.

    Both tables sorted by track.
    """
    own = points.groupby("track_id")
    counts = own.size()
    segments = segments[segments["track_id"].isin(counts.index)]
    n_segments = segments.groupby("track_id").size().reindex(counts.index, fill_value=0)
    result = {"ids": [str(i) for i in counts.index], "points": encode(counts, 1), "segments": encode(n_segments, 1)}
    if files:
        result["file"] = encode(own["file"].first().map({name: i for i, name in enumerate(files)}), 1)
    if "source_track" in points:
        result["source"] = [str(i) for i in own["source_track"].first()]
    columns = {name: encode(segments[name], 1) for name in ("frame_start", "frame_end", "left_censored")}
    return {"tracks": result, "segments": columns | pack_values(segments)}


def colours_of(points: pd.DataFrame) -> dict:
    """Colours of the states, and of K (log10) and alpha as equal steps from low to high."""
    moving = points.loc[points["state"] != TRAPPED, "k"].to_numpy()
    scales = {}
    for name in ("k", "alpha"):
        cmap, norm = colour_scale(name, moving)
        low, high = np.log10([norm.vmin, norm.vmax]) if name == "k" else (norm.vmin, norm.vmax)
        hexes = [mpl.colors.to_hex(cmap(i)) for i in np.linspace(0, 1, N_COLOURS)]
        scales[name] = {"low": float(low), "high": float(high), "colours": hexes}
    return scales | {"state": STATE_COLOURS, "trapped": TRAPPED_GREY, "change": CHANGE_COLOUR, "line": COLOURS}


def histograms(segments: pd.DataFrame, group: np.ndarray, n_groups: int) -> dict:
    """Weights of the segments that move, by bin of msd_1, K (log10 both) and alpha, by weighting, group and state.

    Parameters
    ----------
    segments : pandas.DataFrame
    group : numpy.ndarray of int, shape (N,)
        0 to n_groups - 1.
    n_groups : int

    Returns
    -------
    dict
        msd_1, k, alpha: edges (B + 1,) and sums[weighting][group][state - 1] (B,); trapped[weighting][group], the
        share that is trapped and in none of them. Weightings: frames (each counts alike), tracks (each counts alike).
    """
    frames = segments["n_frames"].to_numpy(dtype=float)
    share = frames / segments.groupby("track_id")["n_frames"].transform("sum").to_numpy(dtype=float)
    state = segments["state"].to_numpy()
    result = {"trapped": []}
    for weight in (frames, share):
        total = np.bincount(group, weight, n_groups)
        trapped = np.bincount(group, weight * (state == TRAPPED), n_groups)
        result["trapped"].append(rounded(trapped / np.maximum(total, 1e-12)))
    for name in ("msd_1", "k", "alpha"):
        values = segments[name].to_numpy() if name == "alpha" else logarithm(segments[name])
        own = (state != TRAPPED) & np.isfinite(values)
        ends = (0.0, 2.0) if name == "alpha" else (values[own].min(), values[own].max()) if own.any() else (0.0, 1.0)
        edges = np.linspace(ends[0], ends[1] if ends[1] > ends[0] else ends[0] + 1, N_BINS + 1)
        place = np.clip(np.digitize(values, edges) - 1, 0, N_BINS - 1)
        sums = np.zeros((len(WEIGHTINGS), n_groups, len(STATES), N_BINS))
        for i, weight in enumerate((frames, share)):
            np.add.at(sums[i], (group[own], state[own], place[own]), weight[own])
        result[name] = {"edges": rounded(edges), "sums": rounded(sums[:, :, MOVING])}
    return result


def dwell_curves(segments: pd.DataFrame, interval: float) -> list[dict]:
    """Kaplan-Meier curve of each state: time, survival, low, high; empty lists without a dwell seen whole."""
    table = dwells(segments)
    curves = []
    for state in range(len(STATES)):
        curve = survival(table, state)
        times = {"time": interval * curve["frames"].to_numpy(dtype=float)}
        times |= {name: curve[name].to_numpy(dtype=float) for name in ("survival", "low", "high")}
        curves.append({name: rounded(values) for name, values in times.items()})
    return curves


def rounded(values) -> list:
    """An array as nested lists of numbers of 5 digits, None where not finite."""
    if np.ndim(values):
        return [rounded(v) for v in values]
    return float(f"{values:.5g}") if np.isfinite(values) else None


def break_at() -> int:
    """Frames from one point to the next above which a line is broken."""
    return LONGEST_GAP + 1
