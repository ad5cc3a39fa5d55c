"""Calibration: 90 % intervals that hold 90 % of the true values, and state probabilities that are right as often.

The networks learn the 5 % and 95 % quantiles of K and alpha. The calibration of a set of weights stretches each side of
these intervals by factors that depend on what a user sees too: the value of alpha, the width of the interval, and
whether the localisation error is known. It also holds the correlation of the errors of log10 K and alpha, which K in
other units of time needs (`main.tracks.table.Units.convert_k_ends`). One temperature makes the probabilities of the
states sharper or flatter. `main/calibrate.py` fits all of them.
"""

from dataclasses import fields, replace

import numpy as np

from main.tracks.inference.segments import pooled_mean, segment_weights
from main.utils.errors import InputError
from simulations.parameters import TRAPPED

SMALLEST_WIDTH = 1e-6  # of one side of an interval, decades or alpha, so that its logarithm exists
MAX_ALPHA = 2.0  # alpha of ballistic motion
NAMES = ("log10_k", "alpha")
INTERVALS = ("k_lo", "k_hi", "alpha_lo", "alpha_hi")  # sides; also the names of their factors
KINDS = ("frames", "segments", "decoded")  # of intervals, each with factors of its own


def check_calibration(config):
    """Raise InputError or KeyError for a calibration that lacks a part, or is one of an earlier version, in lists."""
    calibration = config.get("calibration", {})
    in_lists = any(not isinstance(calibration.get(kind, {}), dict) for kind in KINDS)
    if calibration and (in_lists or not {"frames", "temperature"} <= set(calibration)):
        raise InputError(
            "the calibration in config.json of these weights is of an earlier version or damaged; run "
            "main/calibrate.py anew, or delete it from config.json."
        )
    one = {name: (np.full(2, 0.5), np.zeros(2), np.ones(2)) for name in NAMES}
    for kind in KINDS:
        stretch(one, calibration.get(kind), np.array([True, False]))  # raises KeyError for a part that is missing


def calibrated(pred, calibration):
    """Frame-wise predictions with intervals stretched and state probabilities tempered.

    Parameters
    ----------
    pred : Prediction
    calibration : dict
        "frames": factors, see `stretch`; "temperature". Empty changes nothing.

    Returns
    -------
    Prediction
    """
    if not calibration:
        return pred
    ends = {name: tuple(getattr(pred, name + end) for end in ("", "_lo", "_hi")) for name in NAMES}
    ends = stretch(ends, calibration["frames"], pred.sigma_known)
    (_, k_lo, k_hi), (_, alpha_lo, alpha_hi) = ends["log10_k"], ends["alpha"]
    return replace(
        pred,
        state_probs=temper(pred.state_probs, calibration["temperature"]),
        log10_k_lo=k_lo,
        log10_k_hi=k_hi,
        alpha_lo=alpha_lo,
        alpha_hi=alpha_hi,
        correlation=ends["correlation"],
    )


def conditions(ends):
    """Values on which factors depend: for the sides of K and for those of alpha, by name, each (N,).

    Parameters
    ----------
    ends : dict
        As `stretch` takes it.

    Returns
    -------
    list of dict
        For log10_k and alpha: "alpha", and "width", log10 of the width of the interval, decades or alpha.
    """
    alpha = ends["alpha"][0]
    widths = [np.maximum(ends[name][2] - ends[name][1], SMALLEST_WIDTH) for name in NAMES]
    return [{"alpha": alpha, "width": np.log10(width)} for width in widths]


def stretch(ends, factors, known):
    """Make each side of intervals wider or narrower by factors, and add the correlation of the errors.

    Parameters
    ----------
    ends : dict
        log10_k and alpha: point values, low and high ends of their intervals, each (N,).
    factors : dict
        "known" and "unknown", for the localisation error. Each of them holds "at", the values of alpha and of width
        (`conditions`) at which factors are given; for each of `INTERVALS` its factors "alpha" and "width", which are
        interpolated on a logarithmic scale and multiplied; and "correlation", at the values of alpha. Empty: widths
        stay as they are, and the correlation is 0.
    known : numpy.ndarray, shape (N,)
        Whether the localisation error is known.

    Returns
    -------
    dict
        As `ends`, and correlation (N,). The ends of alpha are not cut at 0 and 2, because K in other units of time
        needs the whole width.
    """
    if not factors:
        return ends | {"correlation": np.zeros(len(ends["alpha"][0]))}
    places = conditions(ends)
    factor, correlation = np.ones((len(INTERVALS), len(known))), np.zeros(len(known))
    for name, rows in (("known", known), ("unknown", ~known)):
        found = factors[name]
        for i, side in enumerate(INTERVALS):
            place = places[i // 2]
            logs = [np.interp(place[by][rows], found["at"][by], np.log(found[side][by])) for by in found[side]]
            factor[i, rows] = np.exp(np.sum(logs, axis=0))
        correlation[rows] = np.interp(places[0]["alpha"][rows], found["at"]["alpha"], found["correlation"])
    result = {"correlation": correlation}
    for name, below, above in zip(NAMES, factor[::2], factor[1::2], strict=True):
        point, low, high = ends[name]
        result[name] = point, point - below * (point - low), point + above * (high - point)
    return result


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
    for name in NAMES:
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
    known = pred.sigma_known[[s.start for s in segments]]
    return stretch(pooled_intervals(pred, segments), calibration.get(kind, {}), known)


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
        "segments", "decoded": factors as `stretch` takes them. Where there are none, widths stay as they are.

    Returns
    -------
    list of Segment
        With k_lo, k_hi (unit of k), alpha_lo and alpha_hi (not cut at 0 and 2); NaN where the networks give no
        intervals; and with the correlation of the errors.
    """
    ends = segment_ends(pred, segments, calibration)
    (_, k_lo, k_hi), (_, alpha_lo, alpha_hi) = ends["log10_k"], ends["alpha"]
    rows = np.stack([10.0**k_lo, 10.0**k_hi, alpha_lo, alpha_hi], axis=1)  # (S, 4)
    rows[:, [0, 2]] *= np.array([[s.state != TRAPPED] for s in segments])
    names = (*INTERVALS, "correlation")
    columns = np.column_stack([rows, ends["correlation"]]).tolist()
    return [replace(s, **dict(zip(names, row, strict=True))) for s, row in zip(segments, columns, strict=True)]


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
