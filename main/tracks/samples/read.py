"""Analyse all tracks of one sample together: first with the networks, then with the mixture that the tracks share."""

from __future__ import annotations

import numpy as np

from main.tracks.inference.changepoints import segment_many
from main.tracks.inference.predictor import MIN_SAMPLE_TRACKS, Prediction, Predictor
from main.tracks.inference.segments import Segment
from main.tracks.pieces import bridge
from simulations.parameters import TRAPPED


def analyse_sample(
    predictor: Predictor, config: dict, tracks: list[np.ndarray], sigma=None, progress: bool = False
) -> tuple[list[Prediction], list[list[Segment]], dict]:
    """Predictions and segments of all tracks of one sample, analysed together.

    Networks that can read a sample do so first. Then `decode_sample` decodes all tracks with the mixture of components
    that they share, if there is one.

    Parameters
    ----------
    predictor : Predictor
    config : dict
        Configuration of the weights, for `main.tracks.inference.changepoints.segment_many`.
    tracks : list of (T, 2) array
        Positions at successive frames, T >= 2, any unit; NaN where the particle was not seen. The networks know which
        frames are missing; for the mixture their positions are drawn at random (`draw_missing`).
    sigma : float or (N,) array, optional
        Localisation error of all tracks or of each, unit of the positions; None or nan means unknown.
    progress : bool
        Show progress bars.

    Returns
    -------
    predictions : list of Prediction
    segments : list of list of Segment
        Segments of each track.
    report : dict
        networks and mixture (bool: whether they analysed the tracks together), reason (one sentence), and what else
        `decode_sample` reports.
    """
    from main.tracks.samples.decode import decode_sample  # imports numba, which takes half a second

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


def draw_missing(tracks: list[np.ndarray], preds: list[Prediction], sigma, seed: int = 0) -> list[np.ndarray]:
    """Draw positions for the frames in which a particle was not seen, because the likelihood needs all steps.

    They come from a Brownian bridge with the K that the networks found, plus the localisation error. A straight line
    would have steps that are too small, which would be read as slower motion.

    Parameters
    ----------
    tracks, sigma
        As for `analyse_sample`.
    preds : list of Prediction
        Of the tracks.
    seed : int

    Returns
    -------
    list of (T, 2) array
    """
    rng, filled = np.random.default_rng(seed), []
    sigma = np.broadcast_to(np.nan if sigma is None else sigma, len(tracks))
    for track, pred, error in zip(tracks, preds, sigma, strict=True):
        xy, seen = bridge(track)
        if not seen.all():
            moving = pred.state_probs[:, TRAPPED] < 0.5
            steps = rng.normal(size=xy.shape) * np.sqrt(2 * moving * 10**pred.log10_k)[:, None]
            walk = np.where(seen[:, None], np.cumsum(steps, axis=0), np.nan)
            noise = np.cumsum(steps, axis=0) - bridge(walk)[0] + rng.normal(size=xy.shape) * np.nan_to_num(error)
            xy = np.where(seen[:, None], xy, xy + noise)
        filled.append(xy)
    return filled
