"""Changepoints by kernel detection on a stack of predicted log10 K, alpha and state probabilities."""

import numpy as np
from ruptures import KernelCPD

from main.utils.segments import merge_trapped, segment_values

MIN_SIZE = 3  # frames; the shortest segment that the challenge's label filter leaves
DEFAULTS = {
    "penalty": 4.0,  # price of one changepoint, in units of the stack's squared deviation summed over frames
    "k": 1.0,  # weight of log10 K
    "alpha": 0.7,  # weight of alpha
    "trapped": 1.4,  # weights of the state probabilities
    "confined": 1.4,
    "directed": 1.4,
    "change": 4.0,  # weight of the steps at predicted changepoints
    "change_floor": 0.1,  # a predicted changepoint less probable than this makes no step
    "trapped_odds": 1.0,  # factor on the probability of being trapped when a segment's state is decided
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
        raise ValueError(f"segmentation options {sorted(unknown)} are unknown; known: {sorted(DEFAULTS)}")
    if not options["penalty"] > 0:
        raise ValueError(f"segmentation penalty {options['penalty']} must be positive")
    return options


def stack_channels(pred, weights):
    """Weighted channels on which changepoints are sought.

    log10 K and alpha are drawn towards the track's untrapped mean where the frame is probably trapped,
    because the networks are not trained there; trapping itself shows in its own channel. Multiplying all K of
    a track by a constant changes nothing (log10 K is centred).

    Parameters
    ----------
    pred : Prediction
        ``log10_k`` (T,), ``alpha`` (T,), ``state_probs`` (T, 4), ``p_change`` (T,).
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
    for name, state in (("trapped", 0), ("confined", 1), ("directed", 3)):
        if weights[name]:
            channels.append(weights[name] * pred.state_probs[:, state])
    if weights["change"]:
        channels.append(weights["change"] * change_steps(pred.p_change, weights["change_floor"]))
    return np.stack(channels, axis=1).astype(np.float64)


def change_steps(p_change, floor):
    """A staircase with a step at each peak of the changepoint probability, as high as the peak is probable.

    Steps at peaks rather than the plain cumulative sum: where the network only wonders, the sum would ramp,
    and a ramp is cut anywhere.

    Parameters
    ----------
    p_change : (T,) array
        Probability of a changepoint at each frame.
    floor : float
        Peaks lower than this are left out.

    Returns
    -------
    numpy.ndarray
        (T,) cumulated probability (over 3 frames around each peak) of the peaks so far.
    """
    near = p_change.copy()  # probability of a changepoint at this frame or beside it
    near[1:] += p_change[:-1]
    near[:-1] += p_change[1:]
    peak = near > floor
    peak[1:] &= near[1:] >= near[:-1]
    peak[:-1] &= near[:-1] > near[1:]
    return np.cumsum(near * peak)


def find_changepoints(pred, penalty=DEFAULTS["penalty"], weights=DEFAULTS):
    """Interior changepoints of one track.

    Parameters
    ----------
    pred : Prediction
        Frame-wise predictions, T frames.
    penalty : float
        Price of one changepoint, > 0.
    weights : dict
        Weights of the channels, keys of `DEFAULTS`.

    Returns
    -------
    list of int
        First frames of new segments, increasing; empty for tracks of 5 frames or fewer, which cannot hold two
        segments of 3.

    Source: PELT (Killick 2012) with a linear kernel, in C (ruptures); equals Pelt(model="l2", jump=1).
    """
    if len(pred.alpha) < 2 * MIN_SIZE:
        return []
    signal = stack_channels(pred, weights)
    return KernelCPD(kernel="linear", min_size=MIN_SIZE).fit_predict(signal, pen=penalty)[:-1]


def segment_track(pred, options):
    """Segments of one track: changepoints, their values, neighbouring trapped segments joined.

    Parameters
    ----------
    pred : Prediction
    options : dict
        From `segmentation_options`.

    Returns
    -------
    list of dict
        start, end (exclusive), k, alpha, state; see `main.utils.segments.segment_values`.
    """
    changepoints = find_changepoints(pred, options["penalty"], options)
    return merge_trapped(segment_values(pred, changepoints, options["trapped_odds"]))


def segment_many(preds, config):
    """Segments of many tracks.

    Parameters
    ----------
    preds : sequence of Prediction
    config : dict
        Weights' configuration; ``config["segmentation"]`` overrides `DEFAULTS`.

    Returns
    -------
    list of list of dict
        For each track its segments (start, end exclusive, k, alpha, state).
    """
    options = segmentation_options(config)
    return [segment_track(pred, options) for pred in preds]
