"""Fitting and checking a weights' calibration on labelled tracks that nothing was trained on."""

from collections import Counter

import numpy as np
import torch
from tqdm import tqdm

from main.tracks.benchmark.data import read_benchmark
from main.tracks.inference.calibration import SMALLEST_WIDTH, condition, segment_ends, stretch, temper
from main.tracks.inference.changepoints import segment_many
from main.tracks.inference.predictor import MIN_SAMPLE_TRACKS
from main.tracks.samples.read import read_sample
from main.utils.bootstrap import weighted_quantile
from simulations.batched import simulate_batched
from simulations.experiments import EXPERIMENTS
from simulations.parameters import SIGMA_PX, TRAPPED
from simulations.stream import TrackStream

COVERAGE = 0.9
EDGES = {"width": np.log10([0.2, 0.35, 0.7, 1.2]), "alpha": np.array([0.3, 0.7, 1.3, 1.7])}  # groups of `condition`
STAGES = (("log10_k", "width"), ("log10_k", "alpha"), ("alpha", "alpha"))  # of what, by what
TEMPERATURES = np.arange(0.5, 2.01, 0.05)
NAMES = ("log10_k", "alpha")
TRACKS_PER_FIELD = 840  # of all nine experiments, one field of view each


def simulated_tracks(prior, n_tracks: int, seed: int) -> list[dict]:
    """About `n_tracks` labelled tracks of a prior, or ("benchmark") of the nine AnDi-2 experiments in their numbers.

    Returns
    -------
    list of dict
        xy (T, 2), px; k (T,), px^2/frame^alpha, alpha (T,), state (T,) int; sigma, px, never hidden; sample,
        its world or experiment.
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
            tracks.append(
                track | {"state": track["state"].astype(int), "sigma": float(batch["sigma"][i]), "sample": sample}
            )
    return tracks


def read_tracks(predictor, config: dict, tracks: list[dict], sigma=None):
    """Predictions and segments of labelled tracks as a user gets them.

    Networks that can read samples get each sample as one, as `main/infer.py --adapt sample` does; those too small to be
    read as one are read track by track all at once.

    Parameters
    ----------
    predictor : main.tracks.inference.predictor.Predictor
    config : dict
        For the segmentation.
    tracks : list of dict
        From `simulated_tracks` or `benchmark_tracks`.
    sigma : float or sequence of float, optional
        Localisation error of all tracks or of each; None or nan means unknown.

    Returns
    -------
    tuple
        list of Prediction, list of list of Segment (segments).
    """
    paths, sigma = [t["xy"] for t in tracks], np.broadcast_to(np.nan if sigma is None else sigma, len(tracks))
    groups, alone = [], np.arange(len(tracks))
    if predictor.reads_samples:
        sizes = Counter(t["sample"] for t in tracks)
        sample = np.array([t["sample"] if sizes[t["sample"]] >= MIN_SAMPLE_TRACKS else -1 for t in tracks])
        groups = [np.flatnonzero(sample == s) for s in np.unique(sample[sample >= 0])]
        alone = np.flatnonzero(sample < 0)
    predictions, segmented = np.empty((2, len(tracks)), object)
    predictions[alone] = own = as_objects(predictor.predict([paths[i] for i in alone], sigma[alone]))
    segmented[alone] = as_objects(segment_many(own, config))
    for rows in tqdm(groups, "samples", unit="sample", disable=len(groups) < 2):
        own, segments, _ = read_sample(predictor, config, [paths[i] for i in rows], sigma[rows])
        predictions[rows], segmented[rows] = as_objects(own), as_objects(segments)
    return predictions.tolist(), segmented.tolist()


def as_objects(items):
    """A list as a one-dimensional array, whatever its items."""
    array = np.empty(len(items), object)
    array[:] = items
    return array


def benchmark_tracks(folder) -> list[dict]:
    """Tracks of a folder that `benchmark.py` made, as `simulated_tracks` gives them."""
    table = read_benchmark(folder)
    return [
        dict(zip(("xy", "k", "alpha", "state"), row, strict=True)) | {"sigma": SIGMA_PX, "sample": exp}
        for exp, *row in zip(*(table[n] for n in ("exp", "xy", "k", "alpha", "state")), strict=True)
    ]


def fit_calibration(predictor, config: dict, groups: list[tuple[list[dict], np.ndarray, float]]) -> dict:
    """Factors and temperature for one set of weights.

    Parameters
    ----------
    predictor : main.tracks.inference.predictor.Predictor
        Without calibration; gets the one that is fitted.
    config : dict
        For the segmentation.
    groups : list of (tracks, localisation errors, share)
        What the weights are to be right for on average.

    Returns
    -------
    dict
        "frames", "segments", "decoded": knots; "temperature".
    """
    shares = [share for _, _, share in groups]
    frames = _pool([frame_values(tracks, read_frames(predictor, tracks, sigma)) for tracks, sigma, _ in groups], shares)
    calibration = {
        "temperature": fit_temperature(frames["probs"], frames["state"], frames["weight"]),
        "frames": _knots(frames),
    }
    predictor.calibration = calibration
    parts = [segment_values(t, *read_tracks(predictor, config, t, sigma), {}) for t, sigma, _ in groups]
    segments = _pool(parts, shares)
    for name, own in (("segments", ~segments["decoded"]), ("decoded", segments["decoded"])):
        if own.any():
            calibration[name] = _knots({column: rows[own] for column, rows in segments.items()})
    return calibration


def read_frames(predictor, tracks, sigma):
    """Frame-wise predictions, of networks that can read samples with each sample as one."""
    samples = [t["sample"] for t in tracks] if predictor.reads_samples else None
    return predictor.predict([t["xy"] for t in tracks], sigma, samples=samples)


def frame_values(tracks, predictions) -> dict[str, np.ndarray]:
    """Truth and prediction of all frames, each (N,), probs (N, 4)."""
    values = {name: np.concatenate([t[name] for t in tracks]) for name in ("k", "alpha", "state")}
    values["probs"] = np.concatenate([p.state_probs for p in predictions])
    for name in NAMES:
        ends = [np.concatenate([getattr(p, name + end) for p in predictions]) for end in ("", "_lo", "_hi")]
        values[f"predicted_{name}"] = np.stack(ends, axis=1)  # (N, 3)
    return values


def segment_values(tracks, predictions, segmented, calibration) -> dict[str, np.ndarray]:
    """Truth and prediction of all segments that are predicted to move, as `frame_values`, without probs.

    Intervals are stretched by `calibration`; decoded (N,) bool: which come from the mixture of a sample.
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
    """Values of all groups; each group carries its share of the weight."""
    pooled = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    sizes = [len(part["k"]) for part in parts]
    return pooled | {"weight": np.repeat(np.array(shares) / sizes, sizes)}


def _knots(values: dict[str, np.ndarray]) -> list[dict]:
    moving = values["state"] != 0
    truth = {"log10_k": np.log10(values["k"][moving]), "alpha": values["alpha"][moving]}
    ends = {name: tuple(values[f"predicted_{name}"][moving].T) for name in NAMES}
    return fit_knots(truth, ends, values["weight"][moving])


def true_segment_values(truth, segments):
    """Labels of each predicted segment: those of the true segment that it shares most frames with.

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
    own = np.repeat(np.arange(len(segments)), [s.n_frames for s in segments])
    shared = np.zeros((len(segments), run[-1] + 1))
    np.add.at(shared, (own, run), 1)
    first = np.searchsorted(run, shared.argmax(axis=1))
    return tuple(labels[:, first])


def fit_knots(truth, ends, weight):
    """Factors that make intervals cover 90 % in every group of `EDGES`, one stage of `STAGES` after the other.

    The score of a value is the distance of the truth from the point over the width on that side; the factor of a group
    is the 90 % quantile of the score (split conformal prediction with a normalised score, Lei et al. 2018,
    doi:10.1080/01621459.2017.1307116, in groups).

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
        of, by, and at and factor: one number for each group that is not empty; groups stand at their medians.
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
        group = np.digitize(place, EDGES[by])
        knot = {"of": of, "by": by, "at": [], "factor": []}
        for own in (group == i for i in np.unique(group)):
            knot["at"].append(round(weighted_quantile(place[own], weight[own], 0.5), 4))
            knot["factor"].append(round(weighted_quantile(score[own], weight[own], COVERAGE), 3))
        knots.append(knot)
    return knots


def fit_temperature(probabilities, labels, weight):
    """Temperature of the smallest cross-entropy, in steps of 0.05, of state probabilities (N, 4) and labels (N,)."""
    rows = np.arange(len(labels))
    loss = [-(weight * np.log(temper(probabilities, t)[rows, labels])).sum() for t in TEMPERATURES]
    return round(float(TEMPERATURES[np.argmin(loss)]), 2)


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
