"""Fit the calibration of a set of weights on labelled tracks that nothing was trained on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from main.tracks.benchmark.data import read_benchmark
from main.tracks.benchmark.fit_intervals import Values, fit_factors
from main.tracks.inference.calibration import NAMES, segment_ends, temper
from main.tracks.inference.changepoints import segment_many
from main.tracks.inference.immobile import decide_immobile
from main.tracks.inference.predictor import MIN_SAMPLE_TRACKS, Prediction, Predictor
from main.tracks.inference.segments import Segment
from main.tracks.samples.read import analyse_sample
from simulations.batched import simulate_batched
from simulations.experiments import EXPERIMENTS
from simulations.parameters import BROAD, SIGMA_PX, TRAPPED, Range, sample_worlds
from simulations.stream import TrackStream

TEMPERATURES = np.arange(0.5, 2.01, 0.05)  # that are tried
TRACKS_PER_FIELD = 840  # about, of all nine experiments together, one field of view each
FRAMES_PER_TRACK = 4  # on which factors of frames are fitted; neighbouring frames say the same
STATIONARY = "stationary"  # kind of tracks that never change, of 5 to 200 frames
STATIONARY_FRAMES = (5, 200)
STATIONARY_PRIOR = replace(  # alpha and noise evenly spread, so that no value is preferred; particles stay in view
    BROAD, normal_alpha=0.0, directed=0.0, sigma=Range(0.03, 1.0), perfect=0.0, box=Range(100, 1000, log=True)
)
WORLDS_PER_TRACK = 2.5  # simulated, of which some particles are never in view
EDGES = {  # of cells in which the share inside is to be right
    "alpha": (0.3, 0.7, 1.3, 1.7),
    "frames": (8, 15, 40, 120),
    "noise": (0.1, 0.3, 0.5, 0.8),  # localisation error over sqrt(2 K)
    "width": (0.25, 0.63, 1.26),  # decades of K
}


class Group(NamedTuple):
    """Tracks of one kind, for which intervals are to be right.

    Parameters
    ----------
    tracks : list of dict
        As returned by `simulate_labelled_tracks`.
    sigma : numpy.ndarray, shape (number of tracks,)
        Localisation error as the networks are told it, px; nan where it is hidden.
    share : float
        Weight of the kind.
    by_truth : bool
        Whether 90 % are to be inside at each true alpha, length and noise over step, as for tracks that never change.
        Otherwise, 90 % of what looks alike: of each predicted alpha, width of the interval of K, and length.
    """

    tracks: list[dict]
    sigma: np.ndarray
    share: float
    by_truth: bool = False


def simulate_labelled_tracks(prior, n_tracks: int, seed: int) -> list[dict]:
    """Simulate about `n_tracks` labelled tracks of a prior, of the nine AnDi-2 experiments ("benchmark") or stationary.

    Tracks of the experiments come in the proportions of the challenge. Stationary tracks are of particles that are
    alone and never change, cut to 5 to 200 frames, evenly spread on a logarithmic scale.

    Returns
    -------
    list of dict
        xy (T, 2), px; k (T,), px^2/frame^alpha, alpha (T,), state (T,) int; sigma, px, always known; sample, the
        number of its simulated world or experiment.
    """
    if prior == "benchmark":
        generator, fields = torch.Generator().manual_seed(seed), np.zeros(max(n_tracks // TRACKS_PER_FIELD, 1), int)
        batches = [simulate_batched(experiment[fields], generator) for experiment in EXPERIMENTS]
    elif prior == STATIONARY:
        return _simulate_stationary(n_tracks, seed)
    else:
        stream = TrackStream(prior, 256, "cpu", seed, chunk=max(n_tracks, 512), unknown_sigma=0.0)
        batches = [stream.simulate_chunk(0)]
    tracks = []
    for number, batch in enumerate(batches):
        for i, n in enumerate(batch["length"].tolist()):
            sample = number if prior == "benchmark" else int(batch["world"][i])
            tracks.append(_take_track(batch, i, slice(n), sample))
    return tracks


def _simulate_stationary(n_tracks: int, seed: int) -> list[dict]:
    """Simulate stationary tracks, see `simulate_labelled_tracks`; each is a sample of its own."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    worlds = sample_worlds(STATIONARY_PRIOR, "single_state", round(WORLDS_PER_TRACK * n_tracks), rng)
    batch = simulate_batched(worlds, generator)
    lengths = batch["length"].numpy()[:n_tracks]
    wanted = np.exp(rng.uniform(*np.log(STATIONARY_FRAMES), len(lengths))).round().astype(int)
    first = rng.integers(0, np.maximum(lengths - wanted, 0) + 1)
    last = np.minimum(first + wanted, lengths)
    return [_take_track(batch, i, slice(*ends), i) for i, ends in enumerate(zip(first, last, strict=True))]


def _take_track(batch: dict, i: int, frames: slice, sample: int) -> dict:
    """Frames of track i of a simulated batch, as `simulate_labelled_tracks` returns them."""
    track = {name: batch[name][i, frames].double().numpy() for name in ("xy", "k", "alpha", "state")}
    return track | {"state": track["state"].astype(int), "sigma": float(batch["sigma"][i]), "sample": sample}


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
        preds, segments, _ = decide_immobile(preds, segments, [paths[i] for i in rows], sigma[rows])
        for i, pred, of_track in zip(rows, preds, segments, strict=True):
            predictions[i], segmented[i] = pred, of_track
    return predictions, segmented


def fit_calibration(nets: dict, config: dict, groups: list[Group], temperature: float | None = None) -> dict:
    """Fit the factors of the intervals and the temperature of the states of one set of weights.

    Frames are calibrated first, and the temperature, on the groups that are not `by_truth`, if there are any. Segments
    are then those of calibrated predictions, as a user gets them.

    Parameters
    ----------
    nets : dict of str -> torch.nn.Module
    config : dict
        Configuration of the weights. Its calibration, if it has one, is not used.
    groups : list of Group
    temperature : float, optional
        Of the states; by default it is fitted.

    Returns
    -------
    dict
        "frames", "segments", "decoded": factors as `main.tracks.inference.calibration.stretch` takes them;
        "temperature".
    """
    raw = Predictor(nets, config | {"calibration": {}})
    alike = [group for group in groups if not group.by_truth] or groups
    frames = [join_frames(group.tracks, predict_frames(raw, group.tracks, group.sigma)) for group in alike]
    of_frames = {
        "temperature": temperature or _fit_temperature_of(list(zip(alike, frames, strict=True))),
        "frames": fit_factors(_pool(alike, [_some_frames(values) for values in frames])),
    }
    predictor = Predictor(nets, config | {"calibration": of_frames})
    segments = []
    for group in groups:
        analysed = analyse_labelled_tracks(predictor, config, group.tracks, group.sigma)
        segments.append(join_segments(group.tracks, *analysed, {}))
    of_segments = {}
    for name, decoded in (("segments", False), ("decoded", True)):
        chosen = [{column: rows[v["decoded"] == decoded] for column, rows in v.items()} for v in segments]
        if any(len(values["k"]) for values in chosen):
            of_segments[name] = fit_factors(_pool(groups, chosen))
    return of_frames | of_segments


def _fit_temperature_of(parts: list[tuple[Group, dict]]) -> float:
    """`fit_temperature` of the frames of some groups, each with its share."""
    weight = [np.full(len(values["k"]), group.share / len(values["k"])) for group, values in parts]
    probs, state = (np.concatenate([values[name] for _, values in parts]) for name in ("probs", "state"))
    return fit_temperature(probs, state, np.concatenate(weight))


def _some_frames(values: dict) -> dict:
    """Values of a few evenly spaced frames of each track, without the probabilities of states."""
    last = np.cumsum(values["track_frames"])
    count = np.minimum(values["track_frames"], FRAMES_PER_TRACK)
    place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    share = (place + 0.5) / np.repeat(count, count)
    rows = np.repeat(last - values["track_frames"], count) + share * np.repeat(values["track_frames"], count)
    return {name: v[rows.astype(int)] for name, v in values.items() if name not in ("probs", "track_frames")}


def predict_frames(predictor: Predictor, tracks: list[dict], sigma) -> list[Prediction]:
    """Frame-wise predictions of labelled tracks; networks that can read samples get each sample as a whole."""
    samples = [t["sample"] for t in tracks] if predictor.reads_samples else None
    return predictor.predict([t["xy"] for t in tracks], sigma, samples=samples)


def join_frames(tracks: list[dict], predictions: list[Prediction]) -> dict[str, np.ndarray]:
    """Truth and prediction of all frames, one track after the other.

    Returns
    -------
    dict
        k, alpha, state, each (N,), true; frames of the track and sigma, true; probs (N, 4); predicted_log10_k and
        predicted_alpha, each (N, 3): value, low and high end of its interval; correlation, sigma_known; track_frames
        (number of tracks,).
    """
    values = {name: np.concatenate([t[name] for t in tracks]) for name in ("k", "alpha", "state")}
    values["track_frames"] = np.array([len(t["k"]) for t in tracks])
    values["frames"], values["sigma"] = (
        np.repeat(per_track, values["track_frames"])
        for per_track in (values["track_frames"], [t["sigma"] for t in tracks])
    )
    values["probs"] = np.concatenate([p.state_probs for p in predictions])
    for name in ("correlation", "sigma_known"):
        values[name] = np.concatenate([getattr(p, name) for p in predictions])
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
        As returned by `join_frames`, without probs and track_frames; frames are those of the segment, and whole (N,)
        bool says whether it covers more than half of its track; decoded (N,) bool: whether a segment was decoded with
        the mixture of its sample.
    """
    names = (*NAMES, "correlation")
    truths, found, others = [], {name: [] for name in names}, []
    for track, p, segments in zip(tracks, predictions, segmented, strict=True):
        moving = np.array([s.state != TRAPPED for s in segments])
        truths.append(np.stack(true_segment_values(track, segments))[:, moving])
        for name, ends in segment_ends(p, segments, calibration).items():
            found[name].append(np.stack(ends)[..., moving])
        known = bool(p.sigma_known[0])
        others += [(s.n_frames, track["sigma"], known, 2 * s.n_frames > len(track["k"]), s.is_decoded)
                   for s in segments if s.state != TRAPPED]  # fmt: skip
    values = dict(zip(("k", "alpha", "state"), np.concatenate(truths, axis=1), strict=True))
    columns = np.array(others, dtype=float).reshape(-1, 5).T
    values |= dict(zip(("frames", "sigma", "sigma_known", "whole", "decoded"), columns, strict=True))
    values |= {name: values[name].astype(bool) for name in ("sigma_known", "whole", "decoded")}
    values["correlation"] = np.concatenate(found.pop("correlation"))
    return values | {f"predicted_{name}": np.concatenate(found[name], axis=1).T for name in NAMES}


def _pool(groups: list[Group], parts: list[dict]) -> Values:
    """Values of all groups that truly move, for `fit_factors`, with the cells of each group."""
    chosen, cells, weights = [], [], []
    for group, values in zip(groups, parts, strict=True):
        moving = values["state"] != TRAPPED
        if group.by_truth:
            moving &= values.get("whole", moving)
        values = {name: column[moving] for name, column in values.items()}
        k, alpha = (values[f"predicted_{name}"] for name in NAMES)
        places = {"alpha": alpha[:, 0], "frames": values["frames"], "width": k[:, 2] - k[:, 1]}
        if group.by_truth:
            noise = values["sigma"] / np.sqrt(2 * values["k"])
            places = {"alpha": values["alpha"], "frames": values["frames"], "noise": noise}
        bins = np.stack([np.digitize(place, EDGES[name]) for name, place in places.items()])
        names, cell = np.unique(bins, axis=1, return_inverse=True)
        cells.append(cell.ravel() + sum(map(len, weights)))
        size = np.sqrt(np.bincount(cell.ravel(), minlength=names.shape[1])).sum()
        weights.append(np.full(names.shape[1], group.share / max(size, 1.0)))
        chosen.append(values)
    pooled = {name: np.concatenate([values[name] for values in chosen]) for name in chosen[0]}
    truth = {"log10_k": np.log10(pooled["k"]), "alpha": pooled["alpha"]}
    ends = {name: tuple(pooled[f"predicted_{name}"].T) for name in NAMES}
    return Values(truth, ends, pooled["sigma_known"], np.concatenate(cells), np.concatenate(weights))


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
