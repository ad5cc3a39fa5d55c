"""All tracks of one sample analysed together: the networks first, then the mixture that the tracks share."""

import numpy as np

from main.tracks.inference.changepoints import segment_many
from main.tracks.inference.predictor import MIN_SAMPLE_TRACKS
from main.tracks.pieces import bridge
from main.tracks.samples.decode import decode_sample
from simulations.parameters import TRAPPED


def read_sample(predictor, config, tracks, sigma=None, progress=False):
    """Predictions and segments of all tracks of one sample, each track read in the light of the others.

    Networks that can read a sample do so first; then `decode_sample` decodes all tracks with the mixture of components
    that they share, where it can.

    Parameters
    ----------
    predictor : main.tracks.inference.predictor.Predictor
    config : dict
        The weights' configuration, for `main.tracks.inference.changepoints.segment_many`.
    tracks : list of (T, 2) array
        Positions at successive frames, T >= 2, any unit; NaN where the particle was not seen. The networks know what
        is missing, the mixture reads positions drawn for it.
    sigma : float or (N,) array, or None
        Localisation error of all tracks or of each, unit of the positions; None or nan means unknown.
    progress : bool
        Show progress bars.

    Returns
    -------
    tuple
        list of Prediction; for each track its segments (start, end exclusive, k, alpha, state); report (dict):
        networks, mixture (bool: what read the tracks together), reason (one sentence), and of a mixture that was
        fitted components (list of dict, see `describe`) and gain, see `decode_sample`.
    """
    reads = predictor.reads_samples and len(tracks) >= MIN_SAMPLE_TRACKS
    preds = predictor.predict(tracks, sigma, progress, np.zeros(len(tracks), int) if reads else None)
    segments, report = decode_sample(draw_missing(tracks, preds, sigma), preds, sigma, config, progress=progress)
    if reads and report["unlike"]:
        preds, reads = predictor.predict(tracks, sigma, progress), False
        segments = segment_many(preds, config)
    how = {
        (True, True): "read together by the networks and decoded with the components that they share",
        (True, False): "read together by the networks",
        (False, True): "decoded with the components that they share",
        (False, False): "read one by one",
    }[reads, report["mixture"]]
    reason = f"{len(tracks)} tracks were {how}: {report['reason']}"
    return preds, segments, report | {"networks": reads, "reason": reason}


def draw_missing(tracks, preds, sigma, seed=0):
    """Tracks with positions in the frames where the particle was not seen: a likelihood has to read something there.

    They are drawn from a Brownian bridge of the K that the networks found, with the localisation error on top: steps
    of a straight line would be too small, which looks like a slower stretch.

    Parameters
    ----------
    tracks, sigma
        As of `read_sample`.
    preds : list of Prediction
    seed : int

    Returns
    -------
    list of (T, 2) array
    """
    rng, filled = np.random.default_rng(seed), []
    for track, pred, error in zip(
        tracks, preds, np.broadcast_to(np.nan if sigma is None else sigma, len(tracks)), strict=True
    ):
        xy, seen = bridge(track)
        if not seen.all():
            moving = pred.state_probs[:, TRAPPED] < 0.5
            steps = rng.normal(size=xy.shape) * np.sqrt(2 * moving * 10**pred.log10_k)[:, None]
            walk = np.where(seen[:, None], np.cumsum(steps, axis=0), np.nan)
            noise = np.cumsum(steps, axis=0) - bridge(walk)[0] + rng.normal(size=xy.shape) * np.nan_to_num(error)
            xy = np.where(seen[:, None], xy, xy + noise)
        filled.append(xy)
    return filled
