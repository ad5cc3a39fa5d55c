"""The diffusion coefficient in time, read by a network that knows segmented Brownian motion alone.

What anomalous diffusion does to D(t) of such a network shows what an exponent of the whole track hides: scaled Brownian
motion ages, D(t) ~ t^(alpha - 1) (Requena et al., Biophysical Journal 122, 4360, 2023).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from ruptures import KernelCPD
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from main.tracks.features import features
from main.tracks.inference.windows import WINDOW, window_starts, window_weights, workers
from main.tracks.pieces import cut_pieces
from main.utils.weights import load_weights

BATCH = 32  # tracks
SHORTEST = 10  # points of a piece between missing frames that is read; of 5 points D would come out a tenth too large
MIN_SIZE = 5  # steps; the shortest segment that `kernel_changepoints` finds
PENALTY = 1.3  # price of a changepoint, decades^2; STEP has 2


def diffusion_in_time(tracks, sigma=0.0, weights: str = "brownian", progress: bool = False) -> np.ndarray:
    """D of every step of many tracks.

    Parameters
    ----------
    tracks : sequence of numpy.ndarray, each shape (T, 2), or one of shape (N, T, 2)
        Positions at successive frames, at most 200 of a track.
    sigma : float or numpy.ndarray of shape (N,)
        Localisation error, unit of the positions; NaN where it is unknown.
    weights : str
        Weights with a network of K: shipped ones or a folder.
    progress : bool
        Show a progress bar.

    Returns
    -------
    numpy.ndarray, shape (N, longest T)
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
    frames = np.array([len(track) for track in tracks], dtype=int)
    longest = frames.max(initial=0)
    if longest > WINDOW:
        raise ValueError(f"tracks of {longest} frames, expected {WINDOW} or fewer")
    sigma = np.broadcast_to(np.asarray(sigma, dtype=np.float32), len(tracks))
    order, log_d = np.argsort(frames, kind="stable"), np.full((len(tracks), longest), np.nan)
    batches = [order[first : first + BATCH] for first in range(0, len(order), BATCH)]
    with workers(torch.device("cpu")) as pool:
        read = pool.map(lambda batch: _log_d(nets["k"], [tracks[i] for i in batch], sigma[batch]), batches)
        read = tqdm(read, "D(t)", len(batches), unit="batch", disable=not progress)
        for batch, found in zip(batches, read, strict=True):
            for i, own in zip(batch, found, strict=True):
                log_d[i, : len(own)] = own
    return 10**log_d


@torch.inference_mode()
def _log_d(net, tracks: list[np.ndarray], sigma: np.ndarray) -> list[np.ndarray]:
    """log10 of D of the steps of a batch of tracks, (T - 1,) each, the mean of both directions of time."""
    length, ways = torch.tensor([len(track) for track in tracks]), []
    for way in (slice(None), slice(None, None, -1)):
        turned = [np.asarray(track, dtype=float)[way] for track in tracks]
        xy = pad_sequence([torch.tensor(own - own[0], dtype=torch.float32) for own in turned], batch_first=True)
        feats, log10_scale = features(xy, length, torch.tensor(sigma))
        log_d = (net(feats, length)["k"] + 2 * log10_scale[:, None]).double().numpy()
        ways.append([row[: n - 1][way] for row, n in zip(log_d, length, strict=True)])
    return [(forth + back) / 2 for forth, back in zip(*ways, strict=True)]


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
    pieces = cut_pieces(table, SHORTEST, max_bridged=0)
    pieces = pieces.loc[pieces["analysed"], ["first", "last"]].to_numpy()
    windows = [(a + shift, shift, b - a) for a, b in pieces for shift in window_starts(b - a)]  # row, frame, frames
    ends = [first + min(WINDOW, n - shift) for first, shift, n in windows]
    xy = table[["x", "y"]].to_numpy()
    sigma = table["sigma"].to_numpy() if "sigma" in table else np.full(len(table), np.nan)
    cut = [xy[first:end] for (first, *_), end in zip(windows, ends, strict=True)]
    found = diffusion_in_time(cut, sigma[[first for first, *_ in windows]], weights, progress)
    total, weight = np.zeros((2, len(table)))
    for d, (first, shift, n), end in zip(found, windows, ends, strict=True):
        steps, own = slice(first, end - 1), window_weights(end - first, shift, n)[:-1]
        total[steps] += own * np.log10(d[: end - first - 1])
        weight[steps] += own
    with np.errstate(invalid="ignore"):
        log_d = total / weight
    mean = np.full(len(table), np.nan)
    for a, b in pieces:
        own = log_d[None, a : b - 1]
        mean[a : b - 1] = segment_means(10**own, kernel_changepoints(own))[0]
    return table.assign(d=10**log_d, d_segment=mean)


def changepoints_of(d: np.ndarray) -> list[list[int]]:
    """True changepoints of each track, from the true D of each step (N, M): first steps of new segments."""
    return [(np.flatnonzero(np.diff(row)) + 1).tolist() for row in d]


def kernel_changepoints(signals: np.ndarray, penalty: float = PENALTY) -> list[list[int]]:
    """Changepoints of the mean of signals, by kernel change point detection with a linear kernel.

    Parameters
    ----------
    signals : numpy.ndarray, shape (N, M)
        log10 of D of each step, or `log_displacements`; NaN where there is no step, at the end.
    penalty : float
        Price of a changepoint, unit of the squared signal.

    Returns
    -------
    list of list of int
        Of each track, the first steps of new segments, `MIN_SIZE` steps or more; none in tracks too short for two.

    Source: ruptures (Truong et al., Signal Processing 167, 107299, 2020), as Requena et al. (2023) use it.
    """
    search, found = KernelCPD(kernel="linear", min_size=MIN_SIZE), []
    for signal in signals:
        own = signal[~np.isnan(signal)]
        long_enough = len(own) >= 2 * MIN_SIZE
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
