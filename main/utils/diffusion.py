"""The diffusion coefficient in time, read by a network that knows segmented Brownian motion alone.

What anomalous diffusion does to D(t) of such a network shows what an exponent of the whole track hides: scaled Brownian
motion ages, D(t) ~ t^(alpha - 1) (Requena et al., Biophysical Journal 122, 4360, 2023).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from ruptures import KernelCPD
from tqdm import tqdm

from main.utils.features import features
from main.utils.inference import WINDOW, window_starts, window_weights, workers
from main.utils.weights import load_weights

BATCH = 32  # tracks
SHORTEST = 10  # points of a piece between missing frames that is read; of 5 points D would come out a tenth too large
MIN_SIZE = 5  # steps; the shortest segment that `kernel_changepoints` finds
PENALTY = 1.3  # price of a changepoint, decades^2; STEP has 2


def diffusion_in_time(xy, sigma=0.0, weights: str = "brownian", progress: bool = False, length=None) -> np.ndarray:
    """D of every step of many tracks.

    Parameters
    ----------
    xy : numpy.ndarray, shape (N, T, 2)
        Positions at successive frames, at most 200.
    sigma : float or numpy.ndarray of shape (N,)
        Localisation error, unit of xy; NaN where it is unknown.
    weights : str
        Weights with a network of K: shipped ones or a folder.
    progress : bool
        Show a progress bar.
    length : numpy.ndarray of int, shape (N,), optional
        Frames of each track, where they differ; by default T.

    Returns
    -------
    numpy.ndarray, shape (N, T)
        length^2/frame; entry t belongs to the step from frame t to t + 1. NaN where there is no step. Geometric mean of
        what the network reads forwards and backwards in time, which are the same to Brownian motion.

    Raises
    ------
    ValueError
        If there are no such weights, they have no network of their own for K, or a track is too long.
    """
    nets, _ = load_weights(weights)
    if "k" not in nets:
        raise ValueError(f"{weights}: weights without a network of their own for K")
    xy = np.asarray(xy, dtype=np.float64)
    if xy.shape[1] > WINDOW:
        raise ValueError(f"tracks of {xy.shape[1]} frames, expected {WINDOW} or fewer")
    sigma = np.broadcast_to(np.asarray(sigma, dtype=np.float32), len(xy))
    frames = np.broadcast_to(xy.shape[1] if length is None else np.asarray(length), len(xy))
    log_d, order = np.full(xy.shape[:2], np.nan), np.argsort(frames, kind="stable")

    @torch.inference_mode()
    def read(first):  # one batch, both ways
        part = order[first : first + BATCH]
        longest = frames[part].max()
        own = torch.as_tensor(xy[part, :longest] - xy[part, :1], dtype=torch.float32)
        length = torch.as_tensor(frames[part])
        last_step = length[:, None] - 2 - torch.arange(longest)
        back = own.gather(1, (last_step + 1).clamp_min(0)[..., None].expand_as(own))
        total = torch.zeros(own.shape[:2], dtype=torch.float64)
        for positions in (own, back - back[:, :1]):
            feats, log10_scale = features(positions, length, torch.as_tensor(sigma[part]))
            one_way = nets["k"](feats, length)["k"] + 2 * log10_scale[:, None]
            total += one_way if positions is own else one_way.gather(1, last_step.clamp_min(0))
        log_d[part, :longest] = total.numpy() / 2

    firsts = range(0, len(xy), BATCH)
    with workers(torch.device("cpu")) as pool:
        list(tqdm(pool.map(read, firsts), "D(t)", len(firsts), unit="batch", disable=not progress))
    return np.where(np.arange(xy.shape[1]) < frames[:, None] - 1, 10**log_d, np.nan)


def diffusion_of_tracks(table: pd.DataFrame, weights: str = "brownian", progress: bool = False) -> pd.DataFrame:
    """D of every step of measured tracks of any length, cut where frames are missing.

    Parameters
    ----------
    table : pandas.DataFrame
        track_id, frame, x, y, sorted by (track_id, frame), as `read_tracks` gives it, in any unit; sigma, where it is
        there, is the localisation error in that unit (NaN unknown).
    weights : str
        Weights with a network of K.
    progress : bool

    Returns
    -------
    pandas.DataFrame
        The table with the columns d, (unit of x)^2/frame, of the step that starts at the point, and d_segment, its
        geometric mean between changepoints. NaN where no step starts, and in pieces of fewer than `SHORTEST` points.
        Where windows of 200 frames overlap, log D is averaged.
    """
    starts = (table["track_id"].diff() != 0) | (table["frame"].diff() != 1)
    first = np.flatnonzero(starts)
    length = np.diff([*first, len(table)])
    pieces = [(a, n) for a, n in zip(first, length, strict=True) if n >= SHORTEST]
    windows = [(a + shift, min(n, WINDOW), shift, n) for a, n in pieces for shift in window_starts(n)]
    xy = table[["x", "y"]].to_numpy()
    sigma = table["sigma"].to_numpy() if "sigma" in table else np.full(len(table), np.nan)
    cut = np.zeros((len(windows), max((window[1] for window in windows), default=0), 2))
    for row, (a, n, *_) in zip(cut, windows, strict=True):
        row[:n] = xy[a : a + n] - xy[a]
    begin, frames = ([window[i] for window in windows] for i in (0, 1))
    found = diffusion_in_time(cut, sigma[begin], weights, progress, np.array(frames, dtype=int))
    total, weight = np.zeros((2, len(table)))
    for d, (a, n, shift, whole) in zip(found, windows, strict=True):
        own = window_weights(n, shift, whole)[: n - 1]
        total[a : a + n - 1] += own * np.log10(d[: n - 1])
        weight[a : a + n - 1] += own
    with np.errstate(invalid="ignore"):
        log_d = total / weight
    mean = np.full(len(table), np.nan)
    for a, n in pieces:
        own = log_d[None, a : a + n - 1]
        mean[a : a + n - 1] = segment_means(10**own, kernel_changepoints(own))[0]
    return table.assign(d=10**log_d, d_segment=mean)


def kernel_changepoints(signals: np.ndarray, penalty: float = PENALTY, min_size: int = MIN_SIZE) -> list[list[int]]:
    """Changepoints of the mean of signals, by kernel change point detection with a linear kernel.

    Parameters
    ----------
    signals : numpy.ndarray, shape (N, M)
        log10 of D of each step, or `log_displacements`; NaN where there is no step, at the end.
    penalty : float
        Price of a changepoint, unit of the squared signal.
    min_size : int
        Steps of the shortest segment.

    Returns
    -------
    list of list of int
        Of each track, the first steps of new segments; none in tracks too short for two segments.

    Source: ruptures (Truong et al., Signal Processing 167, 107299, 2020), as Requena et al. (2023) use it.
    """
    search, found = KernelCPD(kernel="linear", min_size=min_size), []
    for signal in signals:
        own = signal[~np.isnan(signal)]
        long_enough = len(own) >= 2 * min_size
        found.append(search.fit(own[:, None]).predict(pen=penalty)[:-1] if long_enough else [])
    return found


def log_displacements(xy: np.ndarray) -> np.ndarray:
    """Natural logarithm of the length of each step, (N, T, 2) -> (N, T - 1); of no use where particles rest."""
    return np.log(np.maximum(np.sqrt((np.diff(xy, axis=-2) ** 2).sum(axis=-1)), np.finfo(float).tiny))


def segments_in_time(d: np.ndarray, cuts: list[list[int]]) -> pd.DataFrame:
    """Segments of tracks between changepoints.

    Parameters
    ----------
    d : numpy.ndarray, shape (N, M)
        D of each step, length^2/frame.
    cuts : list of list of int
        Changepoints of each track: first steps of new segments.

    Returns
    -------
    pandas.DataFrame
        A row per segment: track, start (step), frames (steps it lasts), d (geometric mean, length^2/frame), whole
        (False for the last of a track: it goes on where the track ends; the first begins with the motion).
    """
    rows = [(i, a, b) for i, own in enumerate(cuts) for a, b in zip([0, *own], [*own, d.shape[1]], strict=True)]
    table = pd.DataFrame(rows, columns=["track", "start", "end"])
    mean = geometric_means(d, table["track"], table["start"], table["end"])
    whole = table["end"] < d.shape[1]
    return table.drop(columns="end").assign(frames=table["end"] - table["start"], d=mean, whole=whole)


def segment_means(d: np.ndarray, cuts: list[list[int]]) -> np.ndarray:
    """D of each step (N, M) replaced by its geometric mean between changepoints."""
    table = segments_in_time(d, cuts)
    return np.repeat(table["d"].to_numpy(), table["frames"]).reshape(d.shape)


def geometric_means(d: np.ndarray, track, start, end) -> np.ndarray:
    """Geometric means of D (N, M) from step `start` to before `end` of the tracks `track`, all of one shape."""
    total = np.pad(np.log(d), ((0, 0), (1, 0))).cumsum(axis=1)
    return np.exp((total[track, end] - total[track, start]) / (np.asarray(end) - np.asarray(start)))
