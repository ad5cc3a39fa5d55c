"""The AnDi-2 benchmark: segments by every method, and their scores.

`compute` reads top to bottom: data, segments by each method, scores. `write` puts the results into a folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from main.tracks.benchmark import classical, ensembles
from main.tracks.benchmark.data import generate, read_benchmark
from main.tracks.benchmark.errors import k_errors
from main.tracks.benchmark.figures import benchmark_figures
from main.tracks.benchmark.fit_segmentation import fit_segmentation
from main.tracks.benchmark.m3 import segment_m3
from main.tracks.benchmark.oracle_hmm import hmm_segments, state_of_segments
from main.tracks.benchmark.result import CLASSICAL_NAMES, M3_SUFFIX, Benchmark, BenchmarkData, is_network
from main.tracks.benchmark.scores import fast_scores, official_scores, score_methods
from main.tracks.benchmark.tables import report_numbers, report_text
from main.tracks.inference.changepoints import segment_many
from main.tracks.inference.immobile import decide_immobile
from main.tracks.inference.predictor import Prediction, load_predictor
from main.tracks.inference.segments import Segment
from main.tracks.results.andi_files import write_submission
from main.tracks.samples.read import analyse_sample
from main.utils.files import claim_folder
from main.utils.plotting import save
from main.utils.weights import read_config, weights_folder, write_config
from simulations.parameters import SIGMA_PX

CLASSICAL = ("constant", "msd", "windows", "cve", "mle", "hmm")
NETWORK = ("network", "m3")
TASKS = ("single", "ensemble")

Predictions = dict[str, list[Prediction]]
Segments = dict[str, list[list[Segment]]]


@dataclass(frozen=True)
class BenchmarkOptions:
    """Options of a run, as `python main/benchmark.py --help` describes them."""

    out: str | Path = "runs/benchmark"
    weights: tuple[str, ...] = ()
    seed: int = 1
    fovs: int = 5
    published: bool = False
    methods: tuple[str, ...] = CLASSICAL + NETWORK
    adapt: str = "none"
    tasks: tuple[str, ...] = TASKS
    fit_penalty: bool = False
    device: str = "cpu"


def compute(options: BenchmarkOptions) -> Benchmark:
    """Generate the tracks (once), predict, segment and score.

    Raises
    ------
    ValueError
        If no method is left to score, or the folder holds other data.
    """
    data = load_data(options)
    print(f"{data.title} Videos are skipped.", flush=True)
    predictions, segments = {}, {}
    for method in CLASSICAL:
        if method in options.methods and not options.fit_penalty:
            segments |= segment_classical(method, data)
    for weights in options.weights:
        analysed = [analyse_single_tracks(data, weights, options)]
        if options.adapt == "sample":
            analysed.append(analyse_samples(data, weights, options))
        for predicted, segmented in analysed:
            predictions |= predicted
            segments |= segmented
    if not segments:
        raise ValueError("nothing to score: give --weights for the methods network and m3")
    scorers = {method: fast_scores if method in CLASSICAL_NAMES else official_scores for method in segments}
    scores = score_methods(data.tracks, segments, scorers)
    described = "ensemble" in options.tasks and set(data.tracks["exp"]) <= set(data.ensembles)
    distances, descriptions = score_ensembles(data, segments) if described else ({}, {})
    estimators = "cve" in options.methods or "mle" in options.methods
    errors_of_k = k_errors(data.tracks, predictions, SIGMA_PX) if estimators else None
    return Benchmark(data, segments, predictions, scores, distances, descriptions, errors_of_k)


def load_data(options: BenchmarkOptions) -> BenchmarkData:
    """Read the tracks and the truth of a folder; generate them first if the folder has none."""
    folder = generate(Path(options.out), options.fovs, options.seed, options.published)
    seed = "published" if options.published else options.seed
    return BenchmarkData(seed, options.fovs, read_benchmark(folder), ensembles.read_ensembles(folder))


def segment_classical(method: str, data: BenchmarkData) -> Segments:
    """Segments of all tracks by one of CLASSICAL; the keys are the names of its variants.

    Raises
    ------
    ValueError
        If there is no ``ensemble_labels.txt`` of an experiment, which the oracle HMM reads.
    """
    tracks, truths = list(data.tracks["xy"]), list(data.tracks["segments"])
    if method == "constant":
        return {method: [classical.constant_segments(xy) for xy in tracks]}
    if method == "msd":
        return {method: [classical.msd_segments(xy, SIGMA_PX) for xy in tracks]}
    if method == "windows":
        return {method: [classical.window_segments(xy, SIGMA_PX) for xy in tracks]}
    if method in ("cve", "mle"):
        pairs = zip(tracks, truths, strict=True)
        return {method: [classical.true_segments(xy, truth, SIGMA_PX, method) for xy, truth in pairs]}
    return {name: segment_oracle(data, name == "hmm-filtered") for name in ("hmm", "hmm-filtered")}


def segment_oracle(data: BenchmarkData, filtered: bool) -> list[list[Segment]]:
    """Segments by the oracle HMM; of an experiment with one state, segments of the whole-track MSD."""

    def segment(exp, rows):
        if exp not in data.ensembles:
            raise ValueError(f"experiment {exp} has no ensemble_labels.txt, which the oracle HMM reads: leave out hmm")
        model, description = data.ensembles[exp]
        tracks, truths = rows["xy"].tolist(), rows["segments"].tolist()
        if description.shape[1] == 1:
            return [classical.msd_segments(xy, SIGMA_PX) for xy in tracks]
        return hmm_segments(tracks, truths, description, model, SIGMA_PX, filtered)

    return join_experiments(data.tracks, segment)


def join_experiments(tracks: pd.DataFrame, analyse: Callable[[int, pd.DataFrame], list]) -> list:
    """Results of all tracks in their order, from ``analyse(exp, rows)``, which returns those of one experiment."""
    results = np.empty(len(tracks), object)
    for exp, index in tracks.groupby("exp").indices.items():
        for i, result in zip(index, analyse(exp, tracks.iloc[index]), strict=True):
            results[i] = result
    return results.tolist()


def analyse_single_tracks(data: BenchmarkData, weights: str, options: BenchmarkOptions) -> tuple[Predictions, Segments]:
    """Predict every track alone with one set of weights, and segment by each network method that was asked for.

    With `options.fit_penalty` the segmentation is fitted first and stored with the weights.
    """
    start = time.perf_counter()
    predictor, config = load_predictor(weights, options.device)
    preds, label = predictor.predict(list(data.tracks["xy"]), SIGMA_PX, progress=True), Path(weights).name
    segments = {}
    if options.fit_penalty:
        config = fit_segmentation(preds, data.tracks, config)
        store_segmentation(weights, config)
    if "network" in options.methods:
        decided = decide_immobile(preds, segment_many(preds, config), list(data.tracks["xy"]), SIGMA_PX)
        preds, segments[label], _ = decided
        print(f"{label}: {len(preds) / (time.perf_counter() - start):.0f} tracks/s")
    if "m3" in options.methods:
        segments[label + M3_SUFFIX] = [segment_m3(pred) for pred in preds]
    return {label: preds}, segments


def analyse_samples(data: BenchmarkData, weights: str, options: BenchmarkOptions) -> tuple[Predictions, Segments]:
    """Predict and segment all tracks of an experiment together, as one sample; nothing if the networks cannot."""
    predictor, config = load_predictor(weights, options.device)
    if not predictor.reads_samples:
        return {}, {}
    start, label = time.perf_counter(), f"{Path(weights).name}+sample"

    def analyse(exp, rows):
        paths = rows["xy"].tolist()
        preds, segments, report = analyse_sample(predictor, config, paths, SIGMA_PX, True)
        preds, segments, _ = decide_immobile(preds, segments, paths, SIGMA_PX)
        print(f"experiment {exp}: {report['reason']}", flush=True)
        return list(zip(preds, segments, strict=True))

    preds, segments = map(list, zip(*join_experiments(data.tracks, analyse), strict=True))
    print(f"{label}: {len(preds) / (time.perf_counter() - start):.0f} tracks/s")
    return {label: preds}, {label: segments}


def store_segmentation(weights: str, config: dict) -> None:
    """Write the fitted segmentation into the weights' config.json; tensors and sha256 stay as they are."""
    folder = weights_folder(weights)
    write_config(folder, read_config(folder) | {"segmentation": config["segmentation"]})
    print(f"segmentation {config['segmentation']} stored in {folder / 'config.json'}")


def describe_ensembles(data: BenchmarkData, segments: list[list[Segment]] | None) -> dict[int, np.ndarray]:
    """States of every experiment, experiment -> description (5, S), from segments of all tracks.

    Parameters
    ----------
    data : BenchmarkData
    segments : list of list of Segment, optional
        Predicted segments. Without them, the true segments, grouped into their true states.
    """
    result = {}
    for exp, index in data.tracks.groupby("exp").indices.items():
        if segments is None:
            found, truth = [s for i in index for s in data.tracks["segments"][i]], data.ensembles[exp][1]
            result[exp] = ensembles.describe_groups(found, np.eye(truth.shape[1])[state_of_segments(found, truth)])
        else:
            result[exp] = ensembles.estimate_ensemble([s for i in index for s in segments[i]])
    return result


def score_ensembles(
    data: BenchmarkData, segments: Segments
) -> tuple[dict[str, pd.DataFrame], dict[str, dict[int, np.ndarray]]]:
    """Score the states of all experiments: a constant, those of the true segments, those that the networks found.

    Returns
    -------
    distances : dict of str -> pandas.DataFrame
        Method -> columns w1_alpha and w1_k (px^2/frame^alpha), one row per experiment.
    descriptions : dict of str -> dict
        Network -> experiment -> states that it found, (5, S).
    """
    found = {name: describe_ensembles(data, values) for name, values in segments.items() if is_network(name)}
    constant = dict.fromkeys(data.tracks["exp"].unique(), ensembles.CONSTANT)
    distances = {}
    for name, values in ({"constant": constant, "true segments": describe_ensembles(data, None)} | found).items():
        rows = {exp: ensembles.ensemble_distance(data.ensembles[exp][1], state) for exp, state in values.items()}
        distances[name] = pd.DataFrame.from_dict(rows, orient="index")
    return distances, found


def write(bench: Benchmark, out: Path) -> str:
    """Write benchmark.md (tables), benchmark.json (numbers), figures/ and the submissions of the networks.

    Returns
    -------
    str
        The tables, as Markdown.
    """
    text = report_text(bench)
    (out / "benchmark.md").write_text(text)
    (out / "benchmark.json").write_text(json.dumps(report_numbers(bench), indent=1) + "\n")
    for name, segments in bench.segments.items():
        if name not in CLASSICAL_NAMES:
            write_submission(out / "submissions" / name, bench.data.tracks, segments)
    for name, found in bench.descriptions.items():
        named = {exp: (bench.data.ensembles[exp][0], values) for exp, values in found.items()}
        ensembles.write_ensembles(out / "submissions" / name, named)
    for name, figure in benchmark_figures(bench, SIGMA_PX).items():
        save(figure, name, out / "figures")
    return text


def run(options: BenchmarkOptions) -> None:
    """Compute, write into the folder of the options, and print the tables; InputError if it is in use."""
    out = Path(options.out)
    with claim_folder(out):
        print(write(compute(options), out))
    print(f"tables in {out / 'benchmark.md'}; numbers in benchmark.json, figures in figures/ beside it")
