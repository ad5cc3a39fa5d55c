"""Changepoints from predicted log10 K, alpha, probability of being trapped and probability of a changepoint."""

from __future__ import annotations

import numpy as np
from scipy.special import logit

from main.tracks.inference.partition import partition, windows
from main.tracks.inference.segments import Segment, add_change, merge_trapped, segment_values

MIN_SEGMENT_FRAMES = 3  # the shortest segment that the challenge's label filter leaves
TYPICAL_P_CHANGE = 0.01  # probability of a changepoint at a frame of which nothing is known
SAME_FRAME_WEIGHT = 0.1  # of the probability at the frame alone, so that the best of neighbouring frames is chosen
ACCOUNTED_FRAMES = 8  # on both sides of a changepoint: it accounts for the probability of these frames
MAX_WINDOW_FRAMES = 19  # two frames in it are less than 10 frames from its middle; misc/LOG.md, 2026-11-21 (3)
DEFAULTS = {  # of weights whose config.json has no "segmentation"
    "penalty": 4.3,  # price of one changepoint, in squared deviations of the weighted channels
    "k": 1.0,  # weight of log10 K
    "alpha": 0.2,  # weight of alpha
    "trapped": 1.4,  # weight of the probability of being trapped
    "unplaced": 0.85,  # probability left over within 19 frames from which on a changepoint is placed there; 0: never
    "trapped_odds": 0.5,  # factor on the probability of being trapped when the state of a segment is decided
}


def segmentation_options(config: dict) -> dict[str, float]:
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
            f"segmentation options {sorted(unknown)} are unknown; known: {sorted(DEFAULTS)}. For weights of an "
            "earlier version, fit them anew (main/benchmark.py --fit-penalty) or delete them from config.json"
        )
    if not options["penalty"] > 0:
        raise ValueError(f"segmentation penalty {options['penalty']} must be positive")
    return options


def stack_channels(pred, weights: dict) -> np.ndarray:
    """Stack the weighted channels (log10 K, alpha, probability of being trapped) that are cut at changepoints.

    In frames that are probably trapped, log10 K and alpha are moved towards the mean of the other frames, because the
    networks do not learn them there. log10 K is centred, so that the unit of length does not matter.

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


def change_gain(p_change: np.ndarray) -> np.ndarray:
    """Gain of a changepoint at each frame, from the predicted probabilities of changepoints.

    It is the log-odds that a changepoint is at the frame or at one of its two neighbours, minus these log-odds where
    nothing is known; plus a small term for the probability at the frame alone, to choose among neighbours. As segments
    have 3 frames or more, no two changepoints use the same probability.

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
    same_frame = np.log(np.maximum(p_change, 1e-5) / TYPICAL_P_CHANGE)
    return logit(np.clip(near, 1e-4, 0.98)) - logit(3 * TYPICAL_P_CHANGE) + SAME_FRAME_WEIGHT * same_frame


def find_many(preds, options: dict) -> list[list[int]]:
    """Interior changepoints of many tracks.

    First, the partition with the least cost: squared deviations of the channels, plus a price for each changepoint,
    minus its gain. Then, among the frames for which no changepoint accounts, `add_unplaced` adds a changepoint where
    one is probable within 19 frames, although at none of them alone.

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
    found = partition(signals, gains, options["penalty"], MIN_SEGMENT_FRAMES)
    return add_unplaced(preds, found, options["unplaced"]) if options["unplaced"] else found


def add_unplaced(preds, found: list[list[int]], threshold: float) -> list[list[int]]:
    """Add changepoints that are probable within a window of at most 19 frames, although at no frame of it.

    The challenge counts a changepoint as found within 10 frames, so a place in the middle of the window is good enough.

    Parameters
    ----------
    preds : sequence of Prediction
    found : list of list of int
        Changepoints of each track.
    threshold : float
        Smallest probability within the window, 0 to 1.

    Returns
    -------
    list of list of int
    """
    return [_add_to_track(pred.p_change, before, threshold) for pred, before in zip(preds, found, strict=True)]


def _add_to_track(p_change, before: list[int], threshold: float) -> list[int]:
    """`add_unplaced` of one track."""
    left, places = np.zeros(len(p_change)), np.array(before, dtype=int)
    inside = slice(MIN_SEGMENT_FRAMES, len(left) - MIN_SEGMENT_FRAMES + 1)
    left[inside] = p_change[inside]
    near = places[:, None] + np.arange(-ACCOUNTED_FRAMES, ACCOUNTED_FRAMES + 1)
    left[np.clip(near, 0, len(left) - 1)] = 0.0
    added = []
    for _, first, last in windows(left[None], threshold, MIN_SEGMENT_FRAMES, MAX_WINDOW_FRAMES).tolist():
        mass = left[first:last]
        place = round(float(np.arange(first, last) @ mass / mass.sum()))
        next_one = int(np.searchsorted(places, place))
        neighbours = [*added[-1:], *places[max(next_one - 1, 0) : next_one + 1].tolist()]
        if all(abs(place - c) >= MIN_SEGMENT_FRAMES for c in neighbours):
            added.append(place)
    return sorted([*before, *added])


def find_changepoints(pred, penalty: float = DEFAULTS["penalty"], weights: dict = DEFAULTS) -> list[int]:
    """Interior changepoints of one track, as `find_many` finds them.

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


def segment_many(preds, config: dict) -> list[list[Segment]]:
    """Segments of many tracks: the values between changepoints; neighbouring trapped segments are joined.

    Parameters
    ----------
    preds : sequence of Prediction
    config : dict
        Configuration of the weights; ``config["segmentation"]`` overrides `DEFAULTS`.

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
