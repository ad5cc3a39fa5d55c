"""Bootstrap over tracks or files: resampled totals, intervals from them, and weighted quantiles."""

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

N_RESAMPLES = 1000
RESAMPLES_AT_ONCE = 100  # keeps the array of draws small
LEVEL = 0.90  # confidence level of every interval of the project


def resample_totals(sums, n_resamples=N_RESAMPLES, seed=0):
    """Draw n tracks with replacement, many times, and add up what they contribute.

    Parameters
    ----------
    sums : numpy.ndarray, shape (n, ...)
        Contribution of each track to the totals.
    n_resamples : int
        Number of draws.
    seed : int

    Returns
    -------
    numpy.ndarray, shape (n_resamples, ...)
        Totals of each draw, unit of `sums`.
    """
    n, rng = len(sums), np.random.default_rng(seed)
    flat = sums.reshape(n, -1).astype(float)
    total = []
    for start in range(0, n_resamples, RESAMPLES_AT_ONCE):
        size = min(RESAMPLES_AT_ONCE, n_resamples - start)
        drawn = [np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(size)]
        total.append(np.array(drawn, float) @ flat)
    return np.concatenate(total).reshape(n_resamples, *sums.shape[1:])


def weighted_quantile(values, weight, share):
    """Smallest value such that it and all smaller values carry `share` of the total weight.

    Parameters
    ----------
    values, weight : numpy.ndarray, shape (N,)
        Weights are 0 or more.
    share : float
        0 to 1; 0.5 gives the weighted median.

    Returns
    -------
    float
    """
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, share * total[-1])])


def bootstrap_interval(value: float, resampled: np.ndarray, n_drawn: int, scale: str = "plain") -> tuple[float, float]:
    """Ends of the 90 % interval around a value, corrected for a small number of tracks or files.

    Percentiles of a bootstrap give intervals that are too narrow if few tracks or files are drawn. Their distances
    from the value are therefore multiplied by sqrt(n / (n - 1)) and by the quantile of Student's t with n - 1 degrees
    of freedom over that of the normal distribution.

    Parameters
    ----------
    value : float
        Estimate from all tracks.
    resampled : numpy.ndarray, shape (n_resamples,)
        Estimate from each resample; nan is left out, inf counts.
    n_drawn : int
        Number n of tracks or files in each resample.
    scale : {"plain", "log", "share"}
        Scale on which distances from the value are measured; ends on the scale "share" are cut to 0 and 1.

    Returns
    -------
    low, high : float
        Both nan if no resample is known, or if n is below 2.

    Source: Hesterberg, The American Statistician 69, 371 (2015).
    """
    known = resampled[~np.isnan(resampled)]
    if not len(known) or n_drawn < 2:
        return np.nan, np.nan
    ends = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    tail = (1 + LEVEL) / 2
    wider = np.sqrt(n_drawn / (n_drawn - 1)) * student.ppf(tail, n_drawn - 1) / norm.ppf(tail)
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale == "log":
            return tuple(value * (ends / value) ** wider)
        ends = value + wider * (ends - value)
    return tuple(np.clip(ends, 0, 1) if scale == "share" else ends)
