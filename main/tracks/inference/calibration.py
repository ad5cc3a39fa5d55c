"""Calibration: 90 % intervals that hold 90 % of the true values, and state probabilities that are right as often.

The networks learn the 5 % and 95 % quantiles of K and alpha. The calibration of a set of weights stretches these
by factors that depend on what a user sees too: the width of the interval of K, and the value of alpha. One temperature
makes the probabilities of the states sharper or flatter. `main/calibrate.py` fits both.
"""

from dataclasses import fields, replace

import numpy as np

from main.tracks.inference.segments import pooled_mean, segment_weights
from simulations.parameters import TRAPPED

SMALLEST_WIDTH = 1e-6  # of an interval, decades or alpha, so that its logarithm exists
MAX_ALPHA = 2.0  # alpha of ballistic motion
INTERVALS = ("k_lo", "k_hi", "alpha_lo", "alpha_hi")


def calibrated(pred, calibration):
    """Frame-wise predictions with intervals stretched and state probabilities tempered.

    Parameters
    ----------
    pred : Prediction
    calibration : dict
        "frames": knots, see `stretch`; "temperature". Empty changes nothing.

    Returns
    -------
    Prediction
    """
    if not calibration:
        return pred
    ends = {name: tuple(getattr(pred, name + end) for end in ("", "_lo", "_hi")) for name in ("log10_k", "alpha")}
    ends = stretch(ends, calibration["frames"])
    (_, k_lo, k_hi), (_, alpha_lo, alpha_hi) = ends["log10_k"], ends["alpha"]
    return replace(
        pred,
        state_probs=temper(pred.state_probs, calibration["temperature"]),
        log10_k_lo=k_lo,
        log10_k_hi=k_hi,
        alpha_lo=alpha_lo,
        alpha_hi=alpha_hi,
    )


def condition(by, ends, of):
    """The value on which a factor depends, (N,): log10 of the width of the interval of `of`, or alpha."""
    _, low, high = ends[of]
    return ends["alpha"][0] if by == "alpha" else np.log10(np.maximum(high - low, SMALLEST_WIDTH))


def stretch(ends, knots):
    """Make intervals wider or narrower by factors.

    Parameters
    ----------
    ends : dict
        log10_k and alpha: point values, low and high ends of their intervals, each (N,).
    knots : list of dict
        Factors, applied one after the other: "of" (log10_k or alpha), "by" (width or alpha, see `condition`), "at" and
        "factor", lists between which the factor is interpolated.

    Returns
    -------
    dict
        As `ends`; the ends of alpha stay within 0 and 2.
    """
    ends = dict(ends)
    for knot in knots:
        point, low, high = ends[knot["of"]]
        factor = np.interp(condition(knot["by"], ends, knot["of"]), knot["at"], knot["factor"])
        ends[knot["of"]] = point, point - factor * (point - low), point + factor * (high - point)
    point, low, high = ends["alpha"]
    return ends | {"alpha": (point, np.clip(low, 0.0, MAX_ALPHA), np.clip(high, 0.0, MAX_ALPHA))}


def temper(probabilities, temperature):
    """Probabilities (N, C) to the power 1 / temperature, rows with sum 1: a temperature above 1 makes them flatter."""
    power = np.maximum(probabilities, 1e-12) ** (1 / temperature)
    return power / power.sum(axis=1, keepdims=True)


def pooled_intervals(pred, segments):
    """Values of segments, and the widths of their intervals before these are stretched.

    Widths of frames are averaged with the weights of the values (`segments.pooled_mean`). Where a segment was decoded
    with its sample, the interval reaches at least to the quantiles of its posterior. A trapped segment gets the values
    that its frames would have if the particle moved.

    Parameters
    ----------
    pred : Prediction
        T frames.
    segments : list of Segment
        S segments that cover the track.

    Returns
    -------
    dict
        log10_k and alpha: (value, low, high), each (S,).
    """
    starts = np.array([s.start for s in segments])
    _, square = segment_weights(starts, [s.end for s in segments])
    trapped = np.array([s.state == TRAPPED for s in segments])
    found = {
        "log10_k": np.log10([1.0 if s.state == TRAPPED else s.k for s in segments]),
        "alpha": np.array([s.alpha for s in segments], dtype=np.float64),
    }
    result = {}
    for name in ("log10_k", "alpha"):
        frames, low, high = (getattr(pred, name + end) for end in ("", "_lo", "_hi"))
        mean, below, above = (pooled_mean(v, pred, square, starts) for v in (frames, frames - low, high - frames))
        value = np.where(trapped, mean, found[name])
        low, high = value - below, value + above
        for i, segment in enumerate(segments):
            if segment.is_decoded:
                quantiles = getattr(segment, f"decoded_{name}")
                low[i], high[i] = np.minimum(low[i], quantiles[0]), np.maximum(high[i], quantiles[1])
        result[name] = value, low, high
    return result


def segment_ends(pred, segments, calibration):
    """`pooled_intervals` stretched by the factors for segments of the networks, or for decoded ones."""
    kind = "decoded" if any(s.is_decoded for s in segments) else "segments"
    return stretch(pooled_intervals(pred, segments), calibration.get(kind, []))


def segment_intervals(pred, segments, calibration):
    """Segments with 90 % intervals of K and alpha.

    Where trapped wins, K = alpha = 0 and the interval reaches from 0 to the upper end that it would have if the
    particle moved: the largest motion that could hide.

    Parameters
    ----------
    pred : Prediction
        T frames.
    segments : list of Segment
        They cover the track; k in the unit of xy^2/frame^alpha.
    calibration : dict
        "segments", "decoded": knots as `stretch` takes them. Where there are none, widths stay as they are.

    Returns
    -------
    list of Segment
        With k_lo, k_hi (unit of k), alpha_lo and alpha_hi; NaN where the networks give no intervals.
    """
    ends = segment_ends(pred, segments, calibration)
    (_, k_lo, k_hi), (_, alpha_lo, alpha_hi) = ends["log10_k"], ends["alpha"]
    rows = np.stack([10.0**k_lo, 10.0**k_hi, alpha_lo, alpha_hi], axis=1)  # (S, 4)
    rows[:, [0, 2]] *= np.array([[s.state != TRAPPED] for s in segments])
    named = [dict(zip(INTERVALS, row, strict=True)) for row in rows.tolist()]
    return [replace(segment, **ends) for segment, ends in zip(segments, named, strict=True)]


def intervals_of_tracks(preds, segmented, calibration):
    """`segment_intervals` of every track; all at once, which is faster, unless some were decoded with their sample.

    Parameters
    ----------
    preds : list of Prediction
    segmented : list of list of Segment
        Segments of each track.
    calibration : dict

    Returns
    -------
    list of list of Segment
    """
    tracks = list(zip(preds, segmented, strict=True))
    if not tracks or any(s.is_decoded for segments in segmented for s in segments):
        return [segment_intervals(pred, segments, calibration) for pred, segments in tracks]
    kind = type(preds[0])
    whole = kind(*(np.concatenate([getattr(pred, field.name) for pred in preds]) for field in fields(kind)))
    first = np.cumsum([0] + [len(pred.alpha) for pred in preds]).tolist()
    shifted = [
        replace(s, start=s.start + at, end=s.end + at)
        for at, segments in zip(first, segmented, strict=False)
        for s in segments
    ]
    found = iter(segment_intervals(whole, shifted, calibration))
    return [[replace(next(found), start=s.start, end=s.end) for s in segments] for segments in segmented]
