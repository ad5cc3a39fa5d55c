"""Windows over long tracks, and threads that predict."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch

WINDOW = 200  # frames; the longest track the networks are trained on
HOP = 100  # frames between the starts of overlapping windows


@contextmanager
def workers(device):
    """Threads that predict; what they have not begun is dropped when the caller is interrupted.

    On a CPU one a core, each with one torch thread: a small batch uses one core nearly as well as all. Else one.
    """
    n = torch.get_num_threads() if device.type == "cpu" else 1
    alone = {"initializer": torch.set_num_threads, "initargs": (1,)} if n > 1 else {}
    pool = ThreadPoolExecutor(n, **alone)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def window_starts(n_frames: int) -> list[int]:
    """First frames of the windows that cover `n_frames` frames; the last window ends with the track."""
    last = max(n_frames - WINDOW, 0)
    return [*range(0, last, HOP), last]


def window_weights(length: int, start: int, n_frames: int) -> np.ndarray:
    """Triangular weights of a window's frames, shape (length,), flat towards an end of the track.

    Parameters
    ----------
    length, start : int
        Frames in the window and its first frame.
    n_frames : int
        Frames in the track.
    """
    place = np.arange(length) + 0.5
    rise = place if start > 0 else np.full(length, np.inf)
    fall = length - place if start + length < n_frames else np.full(length, np.inf)
    return np.minimum(np.minimum(rise, fall), HOP)
