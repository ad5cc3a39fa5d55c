"""Does diffusion age? The power law of D(t), with its interval over tracks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from main.utils.bootstrap import LEVEL, resampled_totals

FIRST, LAST = 10, 150  # of the time over which the law is fitted
N_RESAMPLES = 200


@dataclass
class PowerLaw:
    """Mean D(t) over tracks, and D ~ t^exponent fitted to it.

    Parameters
    ----------
    time, d, low, high : numpy.ndarray, shape (M,)
        Frames since the motion began; mean of D and ends of its 90 % interval, length^2/frame.
    exponent, exponent_low, exponent_high : float
        Slope of log D over log time between `FIRST` and `LAST`, and its 90 % interval.
    """

    time: np.ndarray
    d: np.ndarray
    low: np.ndarray
    high: np.ndarray
    exponent: float
    exponent_low: float
    exponent_high: float


def power_law(time: np.ndarray, d: np.ndarray, seed: int = 0) -> PowerLaw:
    """Power law of the ensemble mean of D(t); intervals from resampling tracks.

    Parameters
    ----------
    time : numpy.ndarray, shape (M,)
        Frames since the motion began, above 0.
    d : numpy.ndarray, shape (N, M)
        D of each track at these times, length^2/frame; single values may be negative.
    seed : int

    Returns
    -------
    PowerLaw

    Raises
    ------
    ValueError
        If fewer than three times lie in the range of the fit.
    """
    fitted = (time >= FIRST) & (time <= LAST)
    if fitted.sum() < 3:
        raise ValueError(f"{fitted.sum()} times between {FIRST} and {LAST} frames, expected 3 or more")
    resampled = resampled_totals(d, N_RESAMPLES, seed) / len(d)
    x = np.log(time[fitted]) - np.log(time[fitted]).mean()

    def slope(mean):
        return np.log(mean[..., fitted]) @ x / (x @ x)

    ends = np.quantile(slope(resampled), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return PowerLaw(time, d.mean(axis=0), low, high, float(slope(d.mean(axis=0))), *map(float, ends))


def step_times(frames: int) -> np.ndarray:
    """Time in the middle of each step of a track, (frames - 1,), of motion that began a frame before the track."""
    return np.arange(frames - 1) + 1.5


def window_times(frames: int, window: int) -> np.ndarray:
    """Time in the middle of each sliding window, (frames - window + 1,), as `step_times` counts it."""
    return np.arange(frames - window + 1) + (window - 1) / 2 + 1
