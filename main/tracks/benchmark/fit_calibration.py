"""Fit the calibration of a set of weights on labelled tracks that nothing was trained on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from tqdm import tqdm

from main.tracks.benchmark.data import read_benchmark
from main.tracks.inference.calibration import SMALLEST_WIDTH, condition, segment_ends, stretch, temper
from main.tracks.inference.changepoints import segment_many
from main.tracks.inference.predictor import MIN_SAMPLE_TRACKS, Prediction, Predictor
from main.tracks.inference.segments import Segment
from main.tracks.samples.read import analyse_sample
from main.utils.bootstrap import LEVEL, weighted_quantile
from simulations.batched import simulate_batched
from simulations.experiments import EXPERIMENTS
from simulations.parameters import SIGMA_PX, TRAPPED
from simulations.stream import TrackStream

NAMES = ("log10_k", "alpha")
STAGES = (("log10_k", "width"), ("log10_k", "alpha"), ("alpha", "alpha"))  # factors of what, and on what they depend
GROUP_EDGES = {  # of the groups that get a factor each, see `condition`
    "width": np.log10([0.2, 0.35, 0.7, 1.2]),  # log10 of decades of K
    "alpha": np.array([0.3, 0.7, 1.3, 1.7]),
}
TEMPERATURES = np.arange(0.5, 2.01, 0.05)  # that are tried
TRACKS_PER_FIELD = 840  # about, of all nine experiments together, one field of view each


def simulate_labelled_tracks(prior, n_tracks: int, seed: int) -> list[dict]:
    """Simulate about `n_tracks` labelled tracks of a prior, or ("benchmark") of the nine AnDi-2 experiments.

    Tracks of the experiments come in the proportions of the challenge.

    Returns
    -------
    list of dict
        xy (T, 2), px; k (T,), px^2/frame^alpha, alpha (T,), state (T,) int; sigma, px, always known; sample, the
        number of its simulated world or experiment.
    """
    if prior == "benchmark":
        generator, fields = torch.Generator().manual_seed(seed), np.zeros(max(n_tracks // TRACKS_PER_FIELD, 1), int)
        batches = [simulate_batched(experiment[fields], generator) for experiment in EXPERIMENTS]
    else:
        stream = TrackStream(prior, 256, "cpu", seed, chunk=max(n_tracks, 512), unknown_sigma=0.0)
        batches = [stream.simulate_chunk(0)]
    tracks = []
    for number, batch in enumerate(batches):
        for i, n in enumerate(batch["length"].tolist()):
            track = {name: batch[name][i, :n].double().numpy() for name in ("xy", "k", "alpha", "state")}
            sample = number if prior == "benchmark" else int(batch["world"][i])
            track["state"] = track["state"].astype(int)
            tracks.append(track | {"sigma": float(batch["sigma"][i]), "sample": sample})
    return tracks


def read_labelled_tracks(folder) -> list[dict]:
    """Read the tracks of a folder that `main/benchmark.py` made, as `simulate_labelled_tracks` returns them."""
    table = read_benchmark(folder)
    return [
        dict(zip(("xy", "k", "alpha", "state"), row, strict=True)) | {"sigma": SIGMA_PX, "sample": exp}
        for exp, *row in zip(*(table[n] for n in ("exp", "xy", "k", "alpha", "state")), strict=True)
    ]


def analyse_labelled_tracks(
    predictor: Predictor, config: dict, tracks: list[dict], sigma=None
) -> tuple[list[Prediction], list[list[Segment]]]:
    """Predictions and segments of labelled tracks, as a user gets them.

    Networks that can read samples get each sample as a whole, as in `main/infer.py --adapt sample`. Tracks of samples
    that are too small for it are read one by one.

    Parameters
    ----------
    predictor : Predictor
    config : dict
        Configuration of the weights, for the segmentation.
    tracks : list of dict
        As returned by `simulate_labelled_tracks` or `read_labelled_tracks`.
    sigma : float or sequence of float, optional
        Localisation error of all tracks or of each, px; None or nan means unknown.
    """
    paths, sigma = [t["xy"] for t in tracks], np.broadcast_to(np.nan if sigma is None else sigma, len(tracks))
    groups, alone = [], np.arange(len(tracks))
    if predictor.reads_samples:
        sizes = Counter(t["sample"] for t in tracks)
        sample = np.array([t["sample"] if sizes[t["sample"]] >= MIN_SAMPLE_TRACKS else -1 for t in tracks])
        groups = [np.flatnonzero(sample == s) for s in np.unique(sample[sample >= 0])]
        alone = np.flatnonzero(sample < 0)
    predictions, segmented = [None] * len(tracks), [None] * len(tracks)
    preds = predictor.predict([paths[i] for i in alone], sigma[alone])
    found = [(alone, preds, segment_many(preds, config))]
    for rows in tqdm(groups, "samples", unit="sample", disable=len(groups) < 2):
        found.append((rows, *analyse_sample(predictor, config, [paths[i] for i in rows], sigma[rows])[:2]))
    for rows, preds, segments in found:
        for i, pred, of_track in zip(rows, preds, segments, strict=True):
            predictions[i], segmented[i] = pred, of_track
    return predictions, segmented


def fit_calibration(nets: dict, config: dict, groups: list[tuple[list[dict], np.ndarray, float]]) -> dict:
    """Fit the factors of the intervals and the temperature of the states of one set of weights.

    Frames are calibrated first. Segments are then those of calibrated predictions, as a user gets them.

    Parameters
    ----------
    nets : dict of str -> torch.nn.Module
    config : dict
        Configuration of the weights. Its calibration, if it has one, is not used.
    groups : list of (tracks, localisation errors, share)
        Kinds of tracks for which the weights are to be right on average, and the weight of each kind.

    Returns
    -------
    dict
        "frames", "segments", "decoded": knots as `main.tracks.inference.calibration.stretch` takes them; "temperature".
    """
    shares = [share for _, _, share in groups]
    raw = Predictor(nets, config | {"calibration": {}})
    frames = _pool([join_frames(tracks, predict_frames(raw, tracks, sigma)) for tracks, sigma, _ in groups], shares)
    of_frames = {
        "temperature": fit_temperature(frames["probs"], frames["state"], frames["weight"]),
        "frames": _fit_knots_of_moving(frames),
    }
    predictor = Predictor(nets, config | {"calibration": of_frames})
    analysed = [(tracks, *analyse_labelled_tracks(predictor, config, tracks, sigma)) for tracks, sigma, _ in groups]
    segments = _pool([join_segments(*parts, {}) for parts in analysed], shares)
    of_segments = {}
    for name, chosen in (("segments", ~segments["decoded"]), ("decoded", segments["decoded"])):
        if chosen.any():
            of_segments[name] = _fit_knots_of_moving({column: rows[chosen] for column, rows in segments.items()})
    return of_frames | of_segments


def predict_frames(predictor: Predictor, tracks: list[dict], sigma) -> list[Prediction]:
    """Frame-wise predictions of labelled tracks; networks that can read samples get each sample as a whole."""
    samples = [t["sample"] for t in tracks] if predictor.reads_samples else None
    return predictor.predict([t["xy"] for t in tracks], sigma, samples=samples)


def join_frames(tracks: list[dict], predictions: list[Prediction]) -> dict[str, np.ndarray]:
    """Truth and prediction of all frames, one track after the other.

    Returns
    -------
    dict
        k, alpha, state, each (N,), true; probs (N, 4); predicted_log10_k and predicted_alpha, each (N, 3): value, low
        and high end of its interval.
    """
    values = {name: np.concatenate([t[name] for t in tracks]) for name in ("k", "alpha", "state")}
    values["probs"] = np.concatenate([p.state_probs for p in predictions])
    for name in NAMES:
        ends = [np.concatenate([getattr(p, name + end) for p in predictions]) for end in ("", "_lo", "_hi")]
        values[f"predicted_{name}"] = np.stack(ends, axis=1)  # (N, 3)
    return values


def join_segments(
    tracks: list[dict], predictions: list[Prediction], segmented: list[list[Segment]], calibration: dict
) -> dict[str, np.ndarray]:
    """Truth and prediction of all segments that are predicted to move.

    Parameters
    ----------
    tracks, predictions, segmented
        Labelled tracks, their predictions and their segments.
    calibration : dict
        By which the intervals are stretched.

    Returns
    -------
    dict
        As returned by `join_frames`, without probs; and decoded (N,) bool: whether a segment was decoded with the
        mixture of its sample.
    """
    truths, found = [], {name: [] for name in NAMES}
    for track, p, segments in zip(tracks, predictions, segmented, strict=True):
        moving = np.array([s.state != TRAPPED for s in segments])
        truths.append(np.stack(true_segment_values(track, segments))[:, moving])
        for name, ends in segment_ends(p, segments, calibration).items():
            found[name].append(np.stack(ends)[:, moving])
    values = dict(zip(("k", "alpha", "state"), np.concatenate(truths, axis=1), strict=True))
    values["decoded"] = np.array([s.is_decoded for segments in segmented for s in segments if s.state != TRAPPED])
    return values | {f"predicted_{name}": np.concatenate(found[name], axis=1).T for name in NAMES}


def _pool(parts: list[dict], shares: list[float]) -> dict[str, np.ndarray]:
    """Values of all groups, and a weight for each value: the share of its group over the size of the group."""
    pooled = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    sizes = [len(part["k"]) for part in parts]
    return pooled | {"weight": np.repeat(np.array(shares) / sizes, sizes)}


def _fit_knots_of_moving(values: dict[str, np.ndarray]) -> list[dict]:
    """`fit_knots` of the values whose true state is not trapped."""
    moving = values["state"] != TRAPPED
    truth = {"log10_k": np.log10(values["k"][moving]), "alpha": values["alpha"][moving]}
    ends = {name: tuple(values[f"predicted_{name}"][moving].T) for name in NAMES}
    return fit_knots(truth, ends, values["weight"][moving])


def true_segment_values(truth: dict, segments: list[Segment]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of each predicted segment: those of the true segment with which it shares most frames.

    Parameters
    ----------
    truth : dict
        k, alpha, state, each (T,).
    segments : list of Segment
        start and end (exclusive); they cover the track.

    Returns
    -------
    k, alpha, state : numpy.ndarray, shape (S,)
    """
    labels = np.stack([truth["k"], truth["alpha"], truth["state"]])  # (3, T)
    run = np.concatenate([[0], np.cumsum((np.diff(labels) != 0).any(axis=0))])  # (T,) number of the true segment
    predicted = np.repeat(np.arange(len(segments)), [s.n_frames for s in segments])
    shared = np.zeros((len(segments), run[-1] + 1))
    np.add.at(shared, (predicted, run), 1)
    first = np.searchsorted(run, shared.argmax(axis=1))
    return tuple(labels[:, first])


def fit_knots(truth: dict, ends: dict, weight: np.ndarray) -> list[dict]:
    """Fit factors with which intervals hold 90 % of the true values in every group, one of STAGES after the other.

    The score of a value is the distance of the truth from the point, over the width of the interval on that side. The
    factor of a group is the 90 % quantile of its scores.

    Parameters
    ----------
    truth : dict
        log10_k and alpha, each (N,).
    ends : dict
        As `main.tracks.inference.calibration.stretch` takes it.
    weight : numpy.ndarray, shape (N,)

    Returns
    -------
    list of dict
        of, by, and the lists at and factor, with one number for each group that is not empty; `at` is the median of the
        group.

    Source: split conformal prediction with a normalised score, Lei et al. 2018, doi:10.1080/01621459.2017.1307116,
    here in groups.
    """
    knots = []
    for of, by in STAGES:
        now = stretch(ends, knots)
        point, low, high = now[of]
        score = np.maximum(
            (point - truth[of]) / np.maximum(point - low, SMALLEST_WIDTH),
            (truth[of] - point) / np.maximum(high - point, SMALLEST_WIDTH),
        )
        place = condition(by, now, of)
        group = np.digitize(place, GROUP_EDGES[by])
        knot = {"of": of, "by": by, "at": [], "factor": []}
        for member in (group == i for i in np.unique(group)):
            knot["at"].append(round(weighted_quantile(place[member], weight[member], 0.5), 4))
            knot["factor"].append(round(weighted_quantile(score[member], weight[member], LEVEL), 3))
        knots.append(knot)
    return knots


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> float:
    """Temperature with the smallest cross-entropy, in steps of 0.05.

    Parameters
    ----------
    probabilities : (N, 4) array
        Of the states.
    labels : (N,) array of int
        True states.
    weight : (N,) array
    """
    rows = np.arange(len(labels))
    loss = [-(weight * np.log(temper(probabilities, t)[rows, labels])).sum() for t in TEMPERATURES]
    return round(float(TEMPERATURES[np.argmin(loss)]), 2)
