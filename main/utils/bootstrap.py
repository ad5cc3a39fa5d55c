"""Bootstrap over tracks: resampled totals, percentile intervals, weighted quantiles."""

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

N_RESAMPLES = 1000
BLOCK = 100  # resamples whose draws are held at once
LEVEL = 0.90  # of the intervals


def resampled_totals(sums, n_resamples=N_RESAMPLES, seed=0):
    """Totals over n tracks drawn with replacement, again and again.

    Parameters
    ----------
    sums : (n, ...) array
        What each track adds.
    n_resamples, seed : int

    Returns
    -------
    numpy.ndarray, shape (n_resamples, ...)
    """
    n, rng = len(sums), np.random.default_rng(seed)
    flat = sums.reshape(n, -1).astype(float)
    total = []
    for start in range(0, n_resamples, BLOCK):
        size = min(BLOCK, n_resamples - start)
        drawn = [np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(size)]
        total.append(np.array(drawn, float) @ flat)
    return np.concatenate(total).reshape(n_resamples, *sums.shape[1:])


def quantile(values, weight, share):
    """Smallest of `values` (N,) such that it and those below carry `share` of the total weight."""
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, share * total[-1])])


def interval(value: float, resampled: np.ndarray, n_drawn: int, scale: str = "plain") -> tuple[float, float]:
    """Ends of the 90 % interval around a value, from a bootstrap of a few or many.

    The percentiles of a bootstrap are too narrow for few: their distances from the value are stretched by
    sqrt(n / (n - 1)) and by Student's over the normal quantile (Hesterberg, The American Statistician 69, 371, 2015).

    Parameters
    ----------
    value : float
    resampled : numpy.ndarray, shape (n_resamples,)
        nan is left out, inf counts.
    n_drawn : int
        Tracks or files that each resample draws.
    scale : {"plain", "log", "share"}
        On which the distances are; shares stay within 0 and 1.
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
