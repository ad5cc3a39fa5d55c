"""Values of segments: one K, one alpha and one state for each stretch between changepoints, and how sure those are."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

TRAPPED = 0
NEAR = 5  # frames; `p_change_start` is the probability of a changepoint at most this far from a segment's start
REACH = 9  # frames on either side over which the width of a changepoint is taken
CALIBRATION = (0.5, 0.9)  # offset and slope of its log-odds on those of the summed probability, fitted on AnDi-2 tracks


def segment_values(pred, changepoints, trapped_odds=1.0):
    """Pool frame-wise predictions over the segments that the changepoints delimit.

    log10 K and alpha are averaged with weights that are largest in the middle of a segment (the square of a parabola:
    frames at its ends mix both sides), times the probability of not being trapped (K and alpha are untrained on
    trapped frames). The state is the one of largest summed probability, with parabolic weights; where trapped wins,
    K = alpha = 0.

    Parameters
    ----------
    pred : Prediction
        ``log10_k`` (T,) log10 of xy-unit^2/frame^alpha, ``alpha`` (T,) 0 to 2, ``state_probs`` (T, 4).
    changepoints : sequence of int
        Interior changepoints, increasing: the first frame of each new segment, 0 < c < T.
    trapped_odds : float
        Factor on the probability of being trapped when the state is decided: below 1, a segment is called trapped
        (K = 0, a strong claim) only on better evidence than the networks' training mix asks for.

    Returns
    -------
    list of dict
        start, end (exclusive), k (xy-unit^2/frame^alpha), alpha, state, frames counted from 0.

    Raises
    ------
    ValueError
        If the changepoints are not increasing inside the track.

    Source: weighted pooling as in U-AnD-ME (arXiv 2502.19253), the winner of the AnDi-2 challenge.
    """
    n_frames = len(pred.alpha)
    edges = np.array([0, *changepoints, n_frames])
    starts, ends, lengths = edges[:-1], edges[1:], np.diff(edges)
    if (lengths < 1).any():
        raise ValueError(f"changepoints {list(changepoints)} do not increase inside a track of {n_frames} frames")
    place = (np.arange(n_frames) - np.repeat(starts, lengths) + 0.5) / np.repeat(lengths, lengths)  # (T,) in 0..1
    parabola = place * (1 - place)
    probs = np.add.reduceat(pred.state_probs * parabola[:, None], starts)  # (segments, 4)
    weight = parabola**2 * (1 - pred.state_probs[:, TRAPPED] + 1e-3)
    total = np.add.reduceat(weight, starts)
    log10_k = np.add.reduceat(pred.log10_k * weight, starts) / total
    alpha = np.add.reduceat(pred.alpha * weight, starts) / total
    probs[:, TRAPPED] *= trapped_odds
    states = probs.argmax(axis=1)
    free = states != TRAPPED
    k = np.where(free, 10.0**log10_k, 0.0)
    alpha = np.where(free, alpha, 0.0)
    columns = (starts.tolist(), ends.tolist(), k.tolist(), alpha.tolist(), states.tolist())
    return [dict(start=a, end=b, k=c, alpha=d, state=e) for a, b, c, d, e in zip(*columns, strict=True)]


def add_change(pred, segments):
    """How sure the changepoint is at which each segment starts, and how sure its place.

    Parameters
    ----------
    pred : Prediction
        ``p_change`` (T,), 0 everywhere where the networks have no such head.
    segments : list of dict
        Of the track, in order.

    Returns
    -------
    list of dict
        With p_change_start, the probability (0 to 1) that a changepoint lies within `NEAR` frames of the start, and
        change_width, the standard deviation (frames) of its place within `REACH` frames, both up to half way to the
        next changepoint; NaN for the first segment, which starts with the track, and without such a head.
    """
    unknown = {"p_change_start": np.nan, "change_width": np.nan}
    if len(segments) == 1 or not pred.p_change.any():
        return [segment | unknown for segment in segments]
    start = np.array([segment["start"] for segment in segments[1:]])
    frame = np.arange(len(pred.p_change))
    moments = pred.p_change * np.stack([frame**0, frame, frame**2]) + 1e-12  # (3, T)
    total = np.concatenate([np.zeros((3, 1)), np.cumsum(moments, axis=1)], axis=1)
    middle = (start[1:] + start[:-1] + 1) // 2
    first, last = np.append(0, middle), np.append(middle, len(frame))  # frames that are nearest to each changepoint
    near = np.minimum(start + NEAR + 1, last), np.maximum(start - NEAR, first)
    mass = total[0, near[0]] - total[0, near[1]]
    probability = expit(CALIBRATION[0] + CALIBRATION[1] * logit(np.clip(mass, 0.01, 0.99)))
    reach = np.minimum(start + REACH + 1, last), np.maximum(start - REACH, first)
    weight, mean, square = total[:, reach[0]] - total[:, reach[1]]
    width = np.sqrt(np.maximum(square / weight - (mean / weight) ** 2, 0.0))
    columns = (segments[1:], probability.tolist(), width.tolist())
    later = [s | {"p_change_start": p, "change_width": w} for s, p, w in zip(*columns, strict=True)]
    return [segments[0] | unknown, *later]


def merge_trapped(segments):
    """Join neighbouring trapped segments: both have K = alpha = 0, so nothing changes between them.

    Parameters
    ----------
    segments : list of dict
        As `segment_values` returns them.

    Returns
    -------
    list of dict
    """
    merged = segments[:1]
    for segment in segments[1:]:
        if segment["state"] == merged[-1]["state"] == TRAPPED:
            merged[-1] = merged[-1] | {"end": segment["end"]}
        else:
            merged.append(segment)
    return merged


def true_changepoints(truth) -> list[int]:
    """First frames of new segments: where k (T,), alpha (T,) or state (T,) differ from the frame before."""
    labels = np.stack([np.asarray(truth[name], dtype=float) for name in ("k", "alpha", "state")])
    return (np.flatnonzero((np.diff(labels, axis=1) != 0).any(axis=0)) + 1).tolist()
