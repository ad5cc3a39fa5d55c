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
SHORTEST = 5  # points of a piece between missing frames that is read
MIN_SIZE = 5  # frames; the shortest segment that `kernel_changepoints` finds
PENALTY = 1.0  # price of a changepoint, decades^2
PENALTY_STEPS = 6.0  # on the logarithms of raw displacements, as STEP has it


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
        length^2/frame; entry t belongs to the step from frame t to t + 1, the last of a track to none.

    Raises
    ------
    ValueError
        If there are no such weights, they have no network of K, or a track is too long.
    """
    nets, _ = load_weights(weights)
    if "k" not in nets:
        raise ValueError(f"{weights}: weights without a network of their own for K")
    xy = np.asarray(xy, dtype=np.float64)
    if xy.shape[1] > WINDOW:
        raise ValueError(f"tracks of {xy.shape[1]} frames, expected {WINDOW} or fewer")
    sigma = np.broadcast_to(np.asarray(sigma, dtype=np.float32), len(xy))
    frames = np.broadcast_to(xy.shape[1] if length is None else np.asarray(length), len(xy))
    log_d = np.zeros(xy.shape[:2])

    @torch.inference_mode()
    def read(first):
        part = slice(first, first + BATCH)
        length = torch.as_tensor(frames[part].copy())
        own = torch.as_tensor(xy[part, : length.max()] - xy[part, :1], dtype=torch.float32)
        feats, log10_scale = features(own, length, torch.as_tensor(sigma[part].copy()))
        log_d[part, : length.max()] = (nets["k"](feats, length)["k"] + 2 * log10_scale[:, None]).double().numpy()

    firsts = range(0, len(xy), BATCH)
    with workers(torch.device("cpu")) as pool:
        list(tqdm(pool.map(read, firsts), "D(t)", len(firsts), unit="batch", disable=not progress))
    return 10**log_d


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
        The table with the column d, (unit of x)^2/frame, of the step that starts at the point; NaN where none does, and
        in pieces of fewer than `SHORTEST` points. Where windows of 200 frames overlap, log D is averaged.
    """
    starts = (table["track_id"].diff() != 0) | (table["frame"].diff() != 1)
    first = np.flatnonzero(starts)
    length = np.diff([*first, len(table)])
    windows = [(a + shift, min(n, WINDOW), shift, n) for a, n in zip(first, length, strict=True) if n >= SHORTEST
               for shift in window_starts(n)]  # fmt: skip
    windows.sort(key=lambda window: window[1])
    xy, sigma = table[["x", "y"]].to_numpy(), table["sigma"].to_numpy() if "sigma" in table else None
    cut = np.zeros((len(windows), max((window[1] for window in windows), default=0), 2))
    for row, (a, n, *_) in zip(cut, windows, strict=True):
        row[:n] = xy[a : a + n] - xy[a]
    total, weight = np.zeros(len(table)), np.zeros(len(table))
    if windows:
        error = np.nan if sigma is None else np.array([sigma[a] for a, *_ in windows])
        log_d = np.log10(diffusion_in_time(cut, error, weights, progress, np.array([n for _, n, *_ in windows])))
    for i, (a, n, shift, whole) in enumerate(windows):
        own = window_weights(n, shift, whole)
        total[a : a + n] += own * log_d[i, :n]
        weight[a : a + n] += own
    total[first + length - 1] = np.nan  # the last point of a piece starts no step
    with np.errstate(invalid="ignore"):
        return table.assign(d=10 ** (total / weight))


def log10_steps(xy: np.ndarray) -> np.ndarray:
    """log10 of what each single step says of D, a quarter of its square: (N, T, 2) -> (N, T - 1)."""
    return np.log10(np.maximum((np.diff(xy, axis=-2) ** 2).sum(axis=-1) / 4, np.finfo(float).tiny))


def kernel_changepoints(signals: np.ndarray, penalty: float = PENALTY, min_size: int = MIN_SIZE) -> list[list[int]]:
    """Changepoints of the mean of signals, by kernel change point detection with a linear kernel.

    Parameters
    ----------
    signals : numpy.ndarray, shape (N, M)
        log10 of D of each step, or `log10_steps`.
    penalty : float
        Price of a changepoint, unit of the squared signal.
    min_size : int
        Steps of the shortest segment.

    Returns
    -------
    list of list of int
        Of each track, the first steps of new segments.

    Source: ruptures (Truong et al., Signal Processing 167, 107299, 2020), as Requena et al. (2023) use it.
    """
    search = KernelCPD(kernel="linear", min_size=min_size)
    return [search.fit(signal[:, None]).predict(pen=penalty)[:-1] for signal in signals]
