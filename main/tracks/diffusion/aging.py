"""Does diffusion age, and why? The power law of D(t), exponents of segments, and the test that steps are Brownian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from main.utils.bootstrap import LEVEL, interval, resampled_totals

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

    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    mean = d.mean(axis=0)
    exponent = float(slope(mean))
    return PowerLaw(time, mean, low, high, exponent, *interval(exponent, slope(resampled), len(d)))


def step_times(frames: int, age: float = 1.0) -> np.ndarray:
    """Time in the middle of each step of a track, (frames - 1,), of motion that began `age` frames before the track.

    The first position of the library's scaled Brownian motion is a frame old.
    """
    return np.arange(frames - 1) + 0.5 + age


def window_times(frames: int, window: int) -> np.ndarray:
    """Time in the middle of each sliding window, (frames - window + 1,), of motion a frame older than the track."""
    return np.arange(frames - window + 1) + (window - 1) / 2 + 1


def pareto_exponent(values, least: float, whole, track) -> tuple[float, float, float]:
    """Exponent a of the tail P(x > value) ~ value^-a, and its 90 % interval over tracks.

    Parameters
    ----------
    values : numpy.ndarray, shape (M,)
    least : float
        Where the tail begins; smaller values are left out. Of whole numbers from n on, n - 1/2.
    whole : numpy.ndarray of bool, shape (M,)
        False where the value is known to be at least this much (censored).
    track : numpy.ndarray of int, shape (M,)
        Track of each value.

    Returns
    -------
    exponent, low, high : float

    Raises
    ------
    ValueError
        If no whole value lies in the tail.

    Source: the maximum likelihood estimator of Hill, Annals of Statistics 3, 1163 (1975), for censored values.
    """
    values, whole, track = np.asarray(values, float), np.asarray(whole, bool), np.asarray(track)
    tail = values >= least
    if not (tail & whole).any():
        raise ValueError(f"no whole value of {least:g} or more")
    counts = np.bincount(track[tail & whole], minlength=track.max() + 1)
    logs = np.bincount(track[tail], np.log(values[tail] / least), minlength=track.max() + 1)
    exponent = float(counts.sum() / logs.sum())
    drawn = resampled_totals(np.stack([counts, logs], axis=1), N_RESAMPLES)
    return exponent, *interval(exponent, drawn[:, 0] / drawn[:, 1], len(counts))


def step_kurtosis(steps: np.ndarray, d: np.ndarray, sigma=0.0) -> float:
    """Kurtosis of steps over the size that D gives them: 3 if each is drawn from a normal distribution of that D.

    Steps of too many sizes for their D, as of particles that rest and jump, give more. That steps follow on each other
    at random is not tested.

    Parameters
    ----------
    steps : numpy.ndarray, shape (..., 2)
    d : numpy.ndarray, shape (...)
        D of each step, length^2/frame, of a segment (`segment_means`): that of the single step would follow it. Steps
        without (NaN) are left out.
    sigma : float, or numpy.ndarray of shape (...)
        Localisation error of the positions.

    Returns
    -------
    float
        Of both coordinates together, about zero; NaN without steps.
    """
    size = steps / np.sqrt(2 * d + 2 * np.asarray(sigma) ** 2)[..., None]
    size = size[np.isfinite(d)]
    return float((size**4).mean() / (size**2).mean() ** 2) if len(size) else np.nan
