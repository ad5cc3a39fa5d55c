"""Analyses D(t) of many tracks: power law of aging, exponents of segments, and a test whether steps are Brownian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from main.utils.bootstrap import LEVEL, bootstrap_interval, resample_totals

FIT_FIRST, FIT_LAST = 10, 150  # frames since the motion began, between which the power law is fitted
N_RESAMPLES_OF_TRACKS = 200  # for the 90 % intervals of this module


@dataclass
class PowerLaw:
    """Mean D(t) over tracks, and the power law D ~ t^exponent fitted to it.

    Parameters
    ----------
    time : numpy.ndarray, shape (M,)
        Frames since the motion began.
    d, low, high : numpy.ndarray, shape (M,)
        Mean of D over tracks and the ends of its 90 % interval, length^2/frame.
    exponent, exponent_low, exponent_high : float
        Slope of log D over log time between `FIT_FIRST` and `FIT_LAST` frames, and its 90 % interval.
    n_tracks : int
        Tracks in the mean.
    """

    time: np.ndarray
    d: np.ndarray
    low: np.ndarray
    high: np.ndarray
    exponent: float
    exponent_low: float
    exponent_high: float
    n_tracks: int


def fit_power_law(time: np.ndarray, d: np.ndarray, seed: int = 0) -> PowerLaw:
    """Fit a power law of time to the mean of D over tracks.

    The fit is a straight line through log D over log time, by least squares. Intervals come from resampling tracks.

    Parameters
    ----------
    time : numpy.ndarray, shape (M,)
        Frames since the motion began, above 0.
    d : numpy.ndarray, shape (N, M)
        D of each track at these times, length^2/frame. Single values may be negative, their mean may not.
    seed : int
        Of the resampling.

    Returns
    -------
    PowerLaw

    Raises
    ------
    ValueError
        If fewer than three times lie in the range of the fit.
    """
    fitted = (time >= FIT_FIRST) & (time <= FIT_LAST)
    if fitted.sum() < 3:
        raise ValueError(f"{fitted.sum()} times between {FIT_FIRST} and {FIT_LAST} frames, expected 3 or more")
    resampled = resample_totals(d, N_RESAMPLES_OF_TRACKS, seed) / len(d)
    x = np.log(time[fitted]) - np.log(time[fitted]).mean()

    def slope(mean):
        return np.log(mean[..., fitted]) @ x / (x @ x)

    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    mean = d.mean(axis=0)
    exponent = float(slope(mean))
    ends = bootstrap_interval(exponent, slope(resampled), len(d))
    return PowerLaw(time, mean, low, high, exponent, *ends, len(d))


def step_times(frames: int, age: float = 1.0) -> np.ndarray:
    """Time in the middle of each step of a track, shape (frames - 1,), in frames since the motion began.

    `age` is the time between the beginning of the motion and the first position of the track: 1 frame for scaled
    Brownian motion of andi_datasets, 0 for its other models.
    """
    return np.arange(frames - 1) + 0.5 + age


def window_times(frames: int, window: int) -> np.ndarray:
    """Time in the middle of each sliding window, shape (frames - window + 1,), in frames since the motion began.

    The motion began one frame before the track, as in scaled Brownian motion of andi_datasets.
    """
    return np.arange(frames - window + 1) + (window - 1) / 2 + 1


def fit_tail_exponent(values, least: float, whole, track) -> tuple[float, float, float]:
    """Fit the exponent a of a tail P(x > value) ~ value^-a, by maximum likelihood.

    With n whole values x_i and all values y_j (whole or cut off) of `least` or more:
    a = n / sum over j of log(y_j / least).

    Parameters
    ----------
    values : numpy.ndarray, shape (M,)
        Positive, any unit.
    least : float
        Where the tail begins; smaller values are left out. For whole numbers from n on, pass n - 1/2.
    whole : numpy.ndarray of bool, shape (M,)
        False where the true value is known only to be at least this large (censored).
    track : numpy.ndarray of int, shape (M,)
        Track of each value: the interval comes from resampling tracks.

    Returns
    -------
    exponent, low, high : float
        Estimate and its 90 % interval.

    Raises
    ------
    ValueError
        If no whole value lies in the tail.

    Source: Hill, Annals of Statistics 3, 1163 (1975), extended to censored values.
    """
    values, whole, track = np.asarray(values, float), np.asarray(whole, bool), np.asarray(track)
    tail = values >= least
    if not (tail & whole).any():
        raise ValueError(f"no whole value of {least:g} or more")
    counts = np.bincount(track[tail & whole], minlength=track.max() + 1)
    logs = np.bincount(track[tail], np.log(values[tail] / least), minlength=track.max() + 1)
    exponent = float(counts.sum() / logs.sum())
    drawn = resample_totals(np.stack([counts, logs], axis=1), N_RESAMPLES_OF_TRACKS)
    return exponent, *bootstrap_interval(exponent, drawn[:, 0] / drawn[:, 1], len(counts))


def step_kurtosis(steps: np.ndarray, d: np.ndarray, sigma=0.0) -> float:
    """Kurtosis of steps, each divided by the standard deviation that its D predicts.

    The result is 3 if every step is drawn from a normal distribution of variance 2 D + 2 sigma^2 per coordinate. It is
    larger if the sizes of steps vary more than D does, for example for particles that rest and jump. Correlations
    between successive steps (memory) are not tested.

    Parameters
    ----------
    steps : numpy.ndarray, shape (..., 2)
        Displacements between successive frames.
    d : numpy.ndarray, shape (...)
        D of each step, length^2/frame; NaN leaves the step out. Pass the mean of D over a segment
        (`average_segments`): D of a single step follows the size of that step, and the test would lose its power.
    sigma : float, or numpy.ndarray of shape (...)
        Localisation error of the positions.

    Returns
    -------
    float
        <z^4> / <z^2>^2 over both coordinates, with z = step / sqrt(2 D + 2 sigma^2); NaN without steps.
    """
    size = steps / np.sqrt(2 * d + 2 * np.asarray(sigma) ** 2)[..., None]
    size = size[np.isfinite(d)]
    return float((size**4).mean() / (size**2).mean() ** 2) if len(size) else np.nan
