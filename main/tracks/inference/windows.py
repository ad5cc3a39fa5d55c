"""Windows over long tracks, and threads that predict."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch

LONGEST_TRACK = 200  # frames; of tracks that networks are trained on, where their configuration says nothing else


@contextmanager
def workers(device):
    """Threads that predict. Batches that they have not begun are dropped when the caller is interrupted.

    On a CPU one thread for each core, each with one torch thread: a small batch uses one core nearly as well as all
    cores. On a GPU one thread.
    """
    n = torch.get_num_threads() if device.type == "cpu" else 1
    alone = {"initializer": torch.set_num_threads, "initargs": (1,)} if n > 1 else {}
    pool = ThreadPoolExecutor(n, **alone)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def longest_track(config: dict) -> int:
    """Most frames of the tracks that weights were trained on, from their configuration."""
    return config.get("training_range", {}).get("n_frames", [0, LONGEST_TRACK])[1]


def window_starts(n_frames: int, window: int = LONGEST_TRACK) -> list[int]:
    """First frames of the windows that cover `n_frames` frames, half a window apart; the last ends with the track."""
    last = max(n_frames - window, 0)
    return [*range(0, last, window // 2), last]


def window_weights(length: int, start: int, n_frames: int, window: int = LONGEST_TRACK) -> np.ndarray:
    """Triangular weights of a window's frames, shape (length,), flat towards an end of the track.

    Parameters
    ----------
    length, start : int
        Frames in the window and its first frame.
    n_frames : int
        Frames in the track.
    window : int
        Frames in a whole window.
    """
    place = np.arange(length) + 0.5
    rise = place if start > 0 else np.full(length, np.inf)
    fall = length - place if start + length < n_frames else np.full(length, np.inf)
    return np.minimum(np.minimum(rise, fall), window // 2)
