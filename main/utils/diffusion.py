"""The diffusion coefficient in time, read by a network that knows segmented Brownian motion alone.

What anomalous diffusion does to D(t) of such a network shows what an exponent of the whole track hides: scaled Brownian
motion ages, D(t) ~ t^(alpha - 1) (Requena et al., Biophysical Journal 122, 4360, 2023).
"""

from __future__ import annotations

import numpy as np
import torch
from ruptures import KernelCPD
from tqdm import tqdm

from main.utils.features import features
from main.utils.inference import workers
from main.utils.weights import load_weights

BATCH = 32  # tracks
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
    if xy.shape[1] > 200:
        raise ValueError(f"tracks of {xy.shape[1]} frames, expected 200 or fewer")
    sigma = np.broadcast_to(np.asarray(sigma, dtype=np.float32), len(xy))
    frames = np.broadcast_to(xy.shape[1] if length is None else np.asarray(length), len(xy))

    @torch.inference_mode()
    def read(first):
        part = slice(first, first + BATCH)
        own = torch.as_tensor(xy[part] - xy[part, :1], dtype=torch.float32)
        length = torch.as_tensor(frames[part].copy())
        feats, log10_scale = features(own, length, torch.as_tensor(sigma[part].copy()))
        return (nets["k"](feats, length)["k"] + 2 * log10_scale[:, None]).double().numpy()

    firsts = range(0, len(xy), BATCH)
    with workers(torch.device("cpu")) as pool:
        found = list(tqdm(pool.map(read, firsts), "D(t)", len(firsts), unit="batch", disable=not progress))
    return 10 ** np.concatenate(found)


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
