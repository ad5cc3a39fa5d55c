"""Changepoints from predicted log10 K, alpha, trapping and changepoint probability."""

import numpy as np
from scipy.special import logit

from main.tracks.inference.partition import CELLS, by_length, partition, windows
from main.tracks.inference.segments import add_change, merge_trapped, segment_values

MIN_SIZE = 3  # frames; the shortest segment that the challenge's label filter leaves
USUAL = 0.01  # probability of a changepoint at a frame of which nothing is known
PLACE = 0.1  # weight of the frame's own probability beside that of its neighbourhood: chooses among neighbours
RESOLVED = 8  # frames on both sides of a changepoint whose probability it accounts for
DEFAULTS = {
    "penalty": 4.3,  # price of one changepoint
    "k": 1.0,  # weight of log10 K
    "alpha": 0.2,  # weight of alpha
    "trapped": 1.4,  # weight of the probability of being trapped
    "unplaced": 0.85,  # probability left over within 19 frames at which a changepoint is placed there; 0: never
    "trapped_odds": 0.5,  # factor on the probability of being trapped when a segment's state is decided
}


def segmentation_options(config):
    """Options of the segmentation: the defaults, overridden by ``config["segmentation"]``.

    Raises
    ------
    ValueError
        If an option has an unknown name or the penalty is not positive.
    """
    options = DEFAULTS | config.get("segmentation", {})
    unknown = set(options) - set(DEFAULTS)
    if unknown:
        raise ValueError(
            f"segmentation options {sorted(unknown)} are unknown; known: {sorted(DEFAULTS)}. Fit those of earlier "
            "weights anew (main/benchmark.py --fit-penalty) or delete them"
        )
    if not options["penalty"] > 0:
        raise ValueError(f"segmentation penalty {options['penalty']} must be positive")
    return options


def stack_channels(pred, weights):
    """Weighted channels whose squared deviations within segments changepoints reduce.

    log10 K and alpha are drawn towards the track's untrapped mean where the frame is probably trapped,
    because the networks are not trained there; trapping itself shows in its own channel. Multiplying all K of
    a track by a constant changes nothing (log10 K is centred).

    Parameters
    ----------
    pred : Prediction
        ``log10_k`` (T,), ``alpha`` (T,), ``state_probs`` (T, 4).
    weights : dict
        Keys of `DEFAULTS`.

    Returns
    -------
    numpy.ndarray
        (T, C) float64, channels of zero weight left out.
    """
    mobile = 1.0 - pred.state_probs[:, 0]  # (T,)
    total = mobile.sum() + 1e-9
    channels = []
    for name, series in (("k", pred.log10_k), ("alpha", pred.alpha)):
        if weights[name]:
            channels.append(weights[name] * mobile * (series - (mobile * series).sum() / total))
    if weights["trapped"]:
        channels.append(weights["trapped"] * pred.state_probs[:, 0])
    if not channels:
        return np.zeros((len(mobile), 1))
    return np.stack(channels, axis=1).astype(np.float64)


def change_gain(p_change):
    """What the changepoint probability says for a changepoint at each frame.

    The logarithm of the odds that one is at the frame or beside it, over the odds of a frame of which nothing is
    known, and a little of the frame's own probability to choose among neighbours. Not more than one frame on either
    side: segments have 3 frames, so that no two changepoints can draw on the same peak.

    Parameters
    ----------
    p_change : (T,) array
        Probability of a changepoint at each frame; all 0 where the networks have no such head.

    Returns
    -------
    numpy.ndarray
        (T,) nats; 0 everywhere without such a head.
    """
    if not p_change.any():
        return np.zeros(len(p_change))
    near = p_change.copy()
    near[1:] += p_change[:-1]
    near[:-1] += p_change[1:]
    own = np.log(np.maximum(p_change, 1e-5) / USUAL)
    return logit(np.clip(near, 1e-4, 0.98)) - logit(3 * USUAL) + PLACE * own


def find_many(preds, options):
    """Interior changepoints of many tracks.

    First the partition of least cost: squared deviations of the channels, a price for each changepoint, less what
    the changepoint probability says for it. Then, where probability is left over that none of these accounts for,
    one where a changepoint is probable within 19 frames although at none of them: a changepoint counts as found
    within 10 frames, and to place the expected number finds more of them.

    Parameters
    ----------
    preds : sequence of Prediction
    options : dict
        Keys of `DEFAULTS`.

    Returns
    -------
    list of list of int
        First frames of new segments, increasing; none in tracks of 5 frames or fewer, which cannot hold two
        segments of 3.
    """
    signals = [stack_channels(pred, options) for pred in preds]
    gains = [change_gain(pred.p_change) for pred in preds]
    found = partition(signals, gains, options["penalty"], MIN_SIZE)
    return add_unplaced(preds, found, options["unplaced"]) if options["unplaced"] else found


def add_unplaced(preds, found, threshold):
    """Changepoints that are probable within a window but at no frame of it, added to those found.

    Parameters
    ----------
    preds : sequence of Prediction
    found : list of list of int
        Changepoints of each track.
    threshold : float
        Probability left over within 19 frames that asks for one.

    Returns
    -------
    list of list of int
    """
    result = [list(changepoints) for changepoints in found]
    for group in by_length([len(pred.p_change) for pred in preds], most=CELLS):
        left = np.zeros((len(group), len(preds[group[-1]].p_change)))
        for row, i in zip(left, group, strict=True):
            inside = slice(MIN_SIZE, len(preds[i].p_change) - MIN_SIZE + 1)
            row[inside] = preds[i].p_change[inside]
            for c in found[i]:
                row[max(c - RESOLVED, 0) : c + RESOLVED + 1] = 0.0
        for track, first, last in windows(left, threshold):
            mass, i = left[track, first:last], group[track]
            place = round(float(np.arange(first, last) @ mass / mass.sum()))
            if all(abs(place - c) >= MIN_SIZE for c in result[i]):
                result[i] = sorted([*result[i], place])
    return result


def find_changepoints(pred, penalty=DEFAULTS["penalty"], weights=DEFAULTS):
    """Interior changepoints of one track, see `find_many`.

    Parameters
    ----------
    pred : Prediction
        Frame-wise predictions, T frames.
    penalty : float
        Price of one changepoint, > 0.
    weights : dict
        Keys of `DEFAULTS`.

    Returns
    -------
    list of int
    """
    return find_many([pred], weights | {"penalty": penalty})[0]


def segment_many(preds, config):
    """Segments of many tracks: changepoints, the values between them, neighbouring trapped segments joined.

    Parameters
    ----------
    preds : sequence of Prediction
    config : dict
        Weights' configuration; ``config["segmentation"]`` overrides `DEFAULTS`.

    Returns
    -------
    list of list of Segment
        For each track its segments: start, end (exclusive), k, alpha, state, p_change_start, change_width; see
        `main.tracks.inference.segments`.
    """
    options = segmentation_options(config)
    result = []
    for pred, changepoints in zip(preds, find_many(preds, options), strict=True):
        segments = merge_trapped(segment_values(pred, changepoints, options["trapped_odds"]))
        result.append(add_change(pred, segments))
    return result
