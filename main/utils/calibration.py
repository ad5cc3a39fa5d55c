"""Intervals that cover what they say: factors on the networks' widths, intervals of segments, and how both are fitted.

The networks learn the 5 % and 95 % quantiles of K and alpha. On tracks they never trained on, the share of truths
inside is measured as a function of the predicted width, and widths are stretched until it is 90 % (split conformal
prediction with a normalised score, Lei et al. 2018, doi:10.1080/01621459.2017.1307116).
"""

import numpy as np

COVERAGE = 0.9
N_KNOTS = 6  # widths at which a factor is fitted
SMALLEST_WIDTH = 1e-6
MAX_ALPHA = 2.0
INTERVALS = ("k_lo", "k_hi", "alpha_lo", "alpha_hi")


def stretch(point, low, high, knots):
    """Widths of intervals times the factor that belongs to their width.

    Parameters
    ----------
    point, low, high : numpy.ndarray, shape (N,)
        Point values and ends of their intervals, any one unit.
    knots : dict or None
        width, factor: lists; the factor is interpolated on the logarithm of the width. None changes nothing.

    Returns
    -------
    low, high : numpy.ndarray, shape (N,)
    """
    if knots is None:
        return low, high
    width = np.log(np.maximum(high - low, SMALLEST_WIDTH))
    factor = np.interp(width, np.log(knots["width"]), knots["factor"])
    return point - factor * (point - low), point + factor * (high - point)


def fit_knots(truth, point, low, high, weight):
    """Factors by width, so that stretched intervals cover 90 % at every width.

    Parameters
    ----------
    truth, point, low, high : numpy.ndarray, shape (N,)
    weight : numpy.ndarray, shape (N,)
        Of each value.

    Returns
    -------
    dict
        width, factor: lists of `N_KNOTS` numbers, the medians of as many groups of equal weight and the 90 % quantile
        of the score in each. The score is the distance of the truth from the point value over the width on that side.
    """
    below = (point - truth) / np.maximum(point - low, SMALLEST_WIDTH)
    above = (truth - point) / np.maximum(high - point, SMALLEST_WIDTH)
    score, width = np.maximum(below, above), np.maximum(high - low, SMALLEST_WIDTH)
    edges = [quantile(width, weight, q) for q in np.linspace(0, 1, N_KNOTS + 1)[1:-1]]
    group = np.digitize(width, edges)
    knots = {"width": [], "factor": []}
    for own in (group == i for i in range(N_KNOTS)):
        knots["width"].append(round(quantile(width[own], weight[own], 0.5), 4))
        knots["factor"].append(round(quantile(score[own], weight[own], COVERAGE), 3))
    return knots


def quantile(values, weight, share):
    """Smallest of `values` (N,) such that it and those below carry `share` of the total weight; float."""
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, share * total[-1])])


def segment_intervals(pred, segments, calibration):
    """Segments with 90 % intervals of K and alpha.

    The frames' widths are averaged with the weights of `segments.segment_values`, laid around the segment's value and
    stretched by the factors fitted for segments. Where trapped wins, K = alpha = 0 and the interval reaches from 0 to
    the upper end that it would have if the particle moved: the largest motion that could hide.

    Parameters
    ----------
    pred : Prediction
        T frames.
    segments : list of dict
        start, end (exclusive), k (unit of xy^2/frame^alpha), alpha, state.
    calibration : dict
        "segments": knots of log10_k and alpha; without them the frames' widths stay as they are.

    Returns
    -------
    list of dict
        With k_lo, k_hi (unit of k), alpha_lo and alpha_hi besides; NaN where the networks give no intervals.
    """
    starts = np.array([s["start"] for s in segments])
    lengths = np.array([s["end"] for s in segments]) - starts
    place = (np.arange(len(pred.alpha)) - np.repeat(starts, lengths) + 0.5) / np.repeat(lengths, lengths)
    weight = place * (1 - place) * (1 - pred.state_probs[:, 0] + 1e-3)
    total = np.add.reduceat(weight, starts)

    def pooled(values):
        return np.add.reduceat(values * weight, starts) / total

    trapped = np.array([s["state"] == 0 for s in segments])
    ends = {}
    for name, key in (("log10_k", "k"), ("alpha", "alpha")):
        frames, low, high = (getattr(pred, name + suffix) for suffix in ("", "_lo", "_hi"))
        value = np.array([s[key] for s in segments], dtype=np.float64)
        if key == "k":
            value = np.log10(value, where=~trapped, out=np.zeros(len(value)))
        value = np.where(trapped, pooled(frames), value)
        knots = calibration.get("segments", {}).get(name)
        ends[key] = stretch(value, value - pooled(frames - low), value + pooled(high - frames), knots)
    k_lo, k_hi = (10.0**end for end in ends["k"])
    alpha_lo, alpha_hi = (np.clip(end, 0.0, MAX_ALPHA) for end in ends["alpha"])
    columns = (np.where(trapped, 0.0 * k_lo, k_lo), k_hi, np.where(trapped, 0.0 * alpha_lo, alpha_lo), alpha_hi)
    return [s | dict(zip(INTERVALS, map(float, row), strict=True))
            for s, row in zip(segments, zip(*columns, strict=True), strict=True)]


def temper(probabilities, temperature):
    """Probabilities (N, C) to the power 1 / temperature, rows summing to 1 again: above 1 less sure, below 1 surer."""
    power = np.maximum(probabilities, 1e-12) ** (1 / temperature)
    return power / power.sum(axis=1, keepdims=True)


def calibration_error(confidence, right, bins=15):
    """Expected calibration error: mean distance of how sure and how often right, over bins of confidence.

    Parameters
    ----------
    confidence : numpy.ndarray, shape (N,)
        Probabilities, 0 to 1.
    right : numpy.ndarray of bool, shape (N,)
    bins : int
        Of equal width.

    Returns
    -------
    float

    Source: Guo et al., ICML 2017 (arXiv 1706.04599).
    """
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(index, confidence - right, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))
