"""Estimates the diffusion coefficient D(t) of every step, by a network trained only on segmented Brownian motion.

In segmented Brownian motion D is constant between changepoints. Applied to anomalous diffusion, such a network shows
what one exponent of the whole track hides: scaled Brownian motion ages, D(t) ~ t^(alpha - 1) (STEP: Requena et al.,
Biophysical Journal 122, 4360, 2023).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from ruptures import KernelCPD
from tqdm import tqdm

from main.tracks.forward import forward, frame_values, padded_batch
from main.tracks.inference.windows import longest_track, window_starts, window_weights, workers
from main.tracks.pieces import cut_pieces
from main.utils.weights import load_weights, read_config, weights_folder

TRACKS_PER_BATCH = 32  # small batches of similar length are the fastest on a CPU
MIN_PIECE_POINTS = 10  # shorter pieces between missing frames are left out: with 5 points D would be 10 % too large
MIN_SEGMENT_STEPS = 5  # 3 to 10 find changepoints equally well (misc/LOG.md, 2026-11-21 (8), Kernels)
CHANGEPOINT_PENALTY = 1.3  # decades^2; best on tracks of seed 77 (misc/LOG.md, 2026-11-21 (8), Kernels); STEP has 2


def diffusion_in_time(tracks, sigma=0.0, weights: str = "brownian", progress: bool = False) -> np.ndarray:
    """Estimate D of every step of many tracks.

    The network reads each track forwards and backwards in time, because Brownian motion has no direction of time. The
    result is the geometric mean of both.

    Parameters
    ----------
    tracks : sequence of numpy.ndarray, each of shape (T, 2), or one array of shape (N, T, 2)
        Positions at successive frames, at most as many as the longest track that the weights were trained on.
    sigma : float or numpy.ndarray of shape (N,)
        Localisation error, unit of the positions; NaN where it is unknown.
    weights : str
        Name of shipped weights or a folder; they must hold a network for K.
    progress : bool
        Show a progress bar.

    Returns
    -------
    numpy.ndarray, shape (N, longest T)
        D in length^2/frame; entry t belongs to the step from frame t to t + 1. NaN where there is no step.

    Raises
    ------
    ValueError
        If the weights do not exist, if they have no separate network for K, or if a track is too long.
    """
    nets, config = load_weights(weights)
    if "k" not in nets:
        raise ValueError(f"{weights}: weights without a separate network for K, expected for example brownian")
    frames = np.array([len(track) for track in tracks], dtype=int)
    longest, most = frames.max(initial=0), longest_track(config)
    if longest > most:
        raise ValueError(f"a track of {longest} frames, expected {most} or fewer: use diffusion_of_tracks")
    sigma = np.broadcast_to(np.asarray(sigma, dtype=np.float32), len(tracks))
    order, log_d = np.argsort(frames, kind="stable"), np.full((len(tracks), longest), np.nan)
    batches = [order[first : first + TRACKS_PER_BATCH] for first in range(0, len(order), TRACKS_PER_BATCH)]
    with workers(torch.device("cpu")) as pool:
        results = pool.map(lambda batch: _estimate_log_d(nets["k"], [tracks[i] for i in batch], sigma[batch]), batches)
        results = tqdm(results, "D(t)", len(batches), unit="batch", disable=not progress)
        for batch, found in zip(batches, results, strict=True):
            for i, track_log_d in zip(batch, found, strict=True):
                log_d[i, : len(track_log_d)] = track_log_d
    return 10**log_d


@torch.inference_mode()
def _estimate_log_d(net, tracks: list[np.ndarray], sigma: np.ndarray) -> list[np.ndarray]:
    """log10 of D of the steps of a batch of tracks, (T - 1,) each, mean of both directions of time."""
    both = []
    for direction in (slice(None), slice(None, None, -1)):
        turned = [np.asarray(track, dtype=float)[direction] for track in tracks]
        log_d = frame_values(*forward([net], padded_batch(turned, sigma)))["log10_k"].numpy()
        both.append([row[: len(track) - 1][direction] for row, track in zip(log_d, tracks, strict=True)])
    return [(forwards + backwards) / 2 for forwards, backwards in zip(*both, strict=True)]


def diffusion_of_tracks(table: pd.DataFrame, weights: str = "brownian", progress: bool = False) -> pd.DataFrame:
    """Estimate D of every step of measured tracks of any length.

    Tracks are cut where frames are missing. Pieces longer than any training track are read in overlapping windows;
    where these overlap, log D is averaged.

    Parameters
    ----------
    table : pandas.DataFrame
        track_id, frame, x, y, sorted by (track_id, frame), as returned by `read_tracks`, in any unit. An optional
        column sigma holds the localisation error in the same unit (NaN where unknown).
    weights : str
        Name of shipped weights or a folder; they must hold a network for K.
    progress : bool
        Show a progress bar.

    Returns
    -------
    pandas.DataFrame
        The table with two more columns, (unit of x)^2/frame: d, of the step that starts at the point, and d_segment,
        the geometric mean of d between changepoints. Both are NaN where no step starts, and in pieces of fewer than
        `MIN_PIECE_POINTS` points.

    Raises
    ------
    ValueError
        If the weights do not exist or have no separate network for K.
    """
    most = longest_track(read_config(weights_folder(str(weights))))
    pieces = cut_pieces(table, MIN_PIECE_POINTS, max_bridged=0)
    pieces = pieces.loc[pieces["analysed"], ["first", "last"]].to_numpy()
    windows = [
        (a + shift, shift, b - a) for a, b in pieces for shift in window_starts(b - a, most)
    ]  # row, frame, frames
    ends = [first + min(most, n - shift) for first, shift, n in windows]
    xy = table[["x", "y"]].to_numpy()
    sigma = table["sigma"].to_numpy() if "sigma" in table else np.full(len(table), np.nan)
    cut = [xy[first:end] for (first, *_), end in zip(windows, ends, strict=True)]
    found = diffusion_in_time(cut, sigma[[first for first, *_ in windows]], weights, progress)
    total, weight = np.zeros((2, len(table)))
    for d, (first, shift, n), end in zip(found, windows, ends, strict=True):
        steps, step_weights = slice(first, end - 1), window_weights(end - first, shift, n, most)[:-1]
        total[steps] += step_weights * np.log10(d[: end - first - 1])
        weight[steps] += step_weights
    with np.errstate(invalid="ignore"):
        log_d = total / weight
    mean = np.full(len(table), np.nan)
    for a, b in pieces:
        piece_log_d = log_d[None, a : b - 1]
        mean[a : b - 1] = average_segments(10**piece_log_d, find_kernel_changepoints(piece_log_d))[0]
    return table.assign(d=10**log_d, d_segment=mean)


def find_d_changes(d: np.ndarray) -> list[list[int]]:
    """Find the true changepoints of each track: the first steps of new segments, where the true D (N, M) changes."""
    return [(np.flatnonzero(np.diff(row)) + 1).tolist() for row in d]


def find_kernel_changepoints(signals: np.ndarray, penalty: float = CHANGEPOINT_PENALTY) -> list[list[int]]:
    """Find where the mean of each signal changes, by kernel change point detection with a linear kernel.

    Minimises the squared deviations from the mean of each segment plus `penalty` for each changepoint.

    Parameters
    ----------
    signals : numpy.ndarray, shape (N, M)
        log10 of D of each step, or `log_displacements`; NaN at the end, where a track has no more steps.
    penalty : float
        Cost of one changepoint, unit of the squared signal.

    Returns
    -------
    list of list of int
        For each track, the first steps of new segments; segments have `MIN_SEGMENT_STEPS` steps or more. Empty for a
        track too short for two segments.

    Source: ruptures (Truong et al., Signal Processing 167, 107299, 2020), as Requena et al. (2023) use it.
    """
    search, found = KernelCPD(kernel="linear", min_size=MIN_SEGMENT_STEPS), []
    for signal in signals:
        values = signal[~np.isnan(signal)]
        long_enough = len(values) >= 2 * MIN_SEGMENT_STEPS
        found.append(search.fit(values[:, None]).predict(pen=penalty)[:-1] if long_enough else [])
    return found


def log_displacements(xy: np.ndarray) -> np.ndarray:
    """Natural logarithm of the length of each step, (N, T, 2) -> (N, T - 1).

    A step of length zero counts as the smallest positive number: of no use for particles that rest.
    """
    return np.log(np.maximum(np.sqrt((np.diff(xy, axis=-2) ** 2).sum(axis=-1)), np.finfo(float).tiny))


def tabulate_segments(d: np.ndarray, cuts: list[list[int]]) -> pd.DataFrame:
    """Make a table of the segments between changepoints.

    Parameters
    ----------
    d : numpy.ndarray, shape (N, M)
        D of each step, length^2/frame.
    cuts : list of list of int
        Changepoints of each track: the first steps of new segments.

    Returns
    -------
    pandas.DataFrame
        One row per segment: track, start (step), frames (number of steps), d (geometric mean, length^2/frame), whole
        (False for the last segment of a track, which the end of the track cuts; the first begins with the motion).
    """
    edges = [(i, [0, *track_cuts, d.shape[1]]) for i, track_cuts in enumerate(cuts)]
    rows = [(i, a, b) for i, ends in edges for a, b in zip(ends, ends[1:], strict=False)]
    table = pd.DataFrame(rows, columns=["track", "start", "end"])
    mean = geometric_means(d, table["track"], table["start"], table["end"])
    whole = table["end"] < d.shape[1]
    return table.drop(columns="end").assign(frames=table["end"] - table["start"], d=mean, whole=whole)


def average_segments(d: np.ndarray, cuts: list[list[int]]) -> np.ndarray:
    """Replace D of each step (N, M) by its geometric mean between changepoints (`cuts`, as in `tabulate_segments`)."""
    table = tabulate_segments(d, cuts)
    return np.repeat(table["d"].to_numpy(), table["frames"]).reshape(d.shape)


def geometric_means(d: np.ndarray, track, start, end) -> np.ndarray:
    """Geometric means of D (N, M) over the steps from `start` to before `end` of each track in `track`.

    `track`, `start` and `end` have one shape, which is the shape of the result.
    """
    total = np.pad(np.log(d), ((0, 0), (1, 0))).cumsum(axis=1)
    return np.exp((total[track, end] - total[track, start]) / (np.asarray(end) - np.asarray(start)))
