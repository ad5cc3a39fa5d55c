"""The AnDi-2 benchmark: segments by every method, their scores and their bootstrap."""

import json
import time
from dataclasses import dataclass, field
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
from main.tracks.benchmark.scores import bootstrap, fast_scores, intervals, official_scores, score_table, track_sums
from main.tracks.benchmark.tables import METHOD_NAMES, report_numbers, report_text
from main.tracks.inference.changepoints import segment_many
from main.tracks.inference.predictor import load_predictor
from main.tracks.results.andi_files import write_submission
from main.tracks.samples.read import read_sample
from main.utils.plotting import save
from main.utils.weights import read_config, weights_folder, write_config

SIGMA = 0.12  # localisation error of the challenge, px
CLASSICAL = ("constant", "msd", "windows", "cve", "mle", "hmm")
NETWORK = ("network", "m3")
TASKS = ("single", "ensemble")


@dataclass
class Benchmark:
    """Everything a run computed, for tables and figures.

    Parameters
    ----------
    seed : int or "published"
    fovs : int
        Fields of view of each experiment.
    table : pandas.DataFrame
        Tracks and truth, as of `benchmark_data.read_benchmark`.
    ensembles : dict
        Experiment -> (model, description), as of `ensembles.read_ensembles`.
    segments : dict[str, list]
        Method -> predicted segments of every track.
    predictions : dict[str, list]
        Networks' method -> Prediction of every track.
    scores, resampled : dict[str, pandas.DataFrame]
        Method -> `metrics.score_table` and its `bootstrap`.
    bounds : dict[str, tuple]
        Method -> `bootstrap.intervals`.
    distances : dict[str, pandas.DataFrame]
        Method -> Wasserstein distances by experiment.
    descriptions : dict[str, dict]
        Networks' method -> experiment -> states that it found, (5, S).
    k_errors : pandas.DataFrame or None
        As of `benchmark_errors.k_errors`.
    """

    seed: int | str
    fovs: int
    table: pd.DataFrame
    ensembles: dict
    segments: dict = field(default_factory=dict)
    predictions: dict = field(default_factory=dict)
    scores: dict = field(default_factory=dict)
    resampled: dict = field(default_factory=dict)
    bounds: dict = field(default_factory=dict)
    distances: dict = field(default_factory=dict)
    descriptions: dict = field(default_factory=dict)
    k_errors: pd.DataFrame | None = None

    @property
    def title(self):
        """How many tracks of which seed, in a sentence."""
        n = self.table["exp"].nunique()
        return f"{len(self.table):,} tracks, {n} experiments, {self.fovs} fields of view each, seed {self.seed}."


def classical_segments(method, bench):
    """Segments of all tracks by one of CLASSICAL; keys are the names of its variants.

    Returns
    -------
    dict[str, list of list of Segment]

    Raises
    ------
    ValueError
        If the oracle HMM finds no ``ensemble_labels.txt`` of an experiment.
    """
    tracks, truths = list(bench.table["xy"]), list(bench.table["segments"])
    if method == "constant":
        return {method: [classical.constant_segments(xy) for xy in tracks]}
    if method == "msd":
        return {method: [classical.msd_segments(xy, SIGMA) for xy in tracks]}
    if method == "windows":
        return {method: [classical.window_segments(xy, SIGMA) for xy in tracks]}
    if method in ("cve", "mle"):
        pairs = zip(tracks, truths, strict=True)
        return {method: [classical.true_segments(xy, truth, SIGMA, method) for xy, truth in pairs]}
    return {name: oracle_segments(bench, name == "hmm-filtered") for name in ("hmm", "hmm-filtered")}


def by_experiment(table, segment):
    """Segments of all tracks in order, from ``segment(exp, index)``, which gives those of one experiment's rows."""
    segments = np.empty(len(table), object)
    for exp, index in table.groupby("exp").indices.items():
        for i, own in zip(index, segment(exp, index), strict=True):
            segments[i] = own
    return segments.tolist()


def oracle_segments(bench, filtered):
    """Segments by the oracle HMM; where an experiment has one state, those of the whole-track MSD."""

    def segment(exp, index):
        if exp not in bench.ensembles:
            raise ValueError(f"experiment {exp} has no ensemble_labels.txt, which the oracle HMM reads: leave out hmm")
        model, description = bench.ensembles[exp]
        tracks, truths = (bench.table[name].iloc[index].tolist() for name in ("xy", "segments"))
        if description.shape[1] == 1:
            return [classical.msd_segments(xy, SIGMA) for xy in tracks]
        return hmm_segments(tracks, truths, description, model, SIGMA, filtered)

    return by_experiment(bench.table, segment)


def add_network(bench, weights, args):
    """Predict with one set of weights, track by track, and segment by each method asked for, into `bench`."""
    start = time.perf_counter()
    predictor, config = load_predictor(weights, args.device)
    preds, label = predictor.predict(list(bench.table["xy"]), SIGMA, progress=True), Path(weights).name
    bench.predictions[label] = preds
    if args.fit_penalty:
        config = fit_segmentation(preds, bench.table, config)
        store_segmentation(weights, config)
    if "network" in args.methods:
        bench.segments[label] = segment_many(preds, config)
        print(f"{label}: {len(preds) / (time.perf_counter() - start):.0f} tracks/s")
    if "m3" in args.methods:
        bench.segments[label + "-m3"] = [segment_m3(pred) for pred in preds]


def add_adapted(bench, weights, args):
    """The same with all tracks of an experiment read in the light of each other, where the networks can."""
    predictor, config = load_predictor(weights, args.device)
    if not predictor.reads_samples:
        return
    start, label = time.perf_counter(), f"{Path(weights).name}+sample"
    preds = bench.predictions[label] = [None] * len(bench.table)

    def segment(exp, index):
        own, segments, report = read_sample(predictor, config, bench.table["xy"].iloc[index].tolist(), SIGMA, True)
        print(f"experiment {exp}: {report['reason']}", flush=True)
        for i, pred in zip(index, own, strict=True):
            preds[i] = pred
        return segments

    bench.segments[label] = by_experiment(bench.table, segment)
    print(f"{label}: {len(preds) / (time.perf_counter() - start):.0f} tracks/s")


def store_segmentation(weights, config):
    """Write the fitted segmentation into the weights' config.json; tensors and sha256 stay as they are."""
    folder = weights_folder(weights)
    write_config(folder, read_config(folder) | {"segmentation": config["segmentation"]})
    print(f"segmentation {config['segmentation']} stored in {folder / 'config.json'}")


def describe_ensembles(bench, method):
    """States of every experiment as told by "constant", by "true segments" or by a network's method.

    Returns
    -------
    dict
        Experiment -> description (5, S).
    """
    result = {}
    for exp, index in bench.table.groupby("exp").indices.items():
        if method == "constant":
            result[exp] = ensembles.CONSTANT
        elif method == "true segments":
            own, truth = [s for i in index for s in bench.table["segments"][i]], bench.ensembles[exp][1]
            result[exp] = ensembles.moments(own, np.eye(truth.shape[1])[state_of_segments(own, truth)])
        else:
            result[exp] = ensembles.estimate_ensemble([s for i in index for s in bench.segments[method][i]])
    return result


def score_ensembles(bench, out):
    """Score the states of all experiments, write the networks'; into `bench`."""
    networks = [name for name in bench.segments if name not in METHOD_NAMES and not name.endswith("-m3")]
    for name in ("constant", "true segments", *networks):
        own = describe_ensembles(bench, name)
        rows = {exp: ensembles.ensemble_distance(bench.ensembles[exp][1], values) for exp, values in own.items()}
        bench.distances[name] = pd.DataFrame.from_dict(rows, orient="index")
        if name in networks:
            bench.descriptions[name] = own
            named = {exp: (bench.ensembles[exp][0], values) for exp, values in own.items()}
            ensembles.write_ensembles(out / "submissions" / name, named)


def score(bench, out):
    """Score all segments, resample tracks, write the networks' submissions; into `bench`.

    What comes from networks is scored by andi_datasets' own functions, the yardsticks by `fast_scores`, which gives
    the same numbers (tested) in a hundredth of the time.
    """
    sums = {}
    for name, segments in bench.segments.items():
        scorer = fast_scores if name in METHOD_NAMES else official_scores
        bench.scores[name] = score_table(bench.table, segments, scorer)
        sums[name] = track_sums(bench.table["segments"], segments)
        if name not in METHOD_NAMES:
            write_submission(out / "submissions" / name, bench.table, segments)
    bench.resampled = bootstrap(bench.table["exp"], sums)
    bench.bounds = {name: intervals(resampled) for name, resampled in bench.resampled.items()}


def compute(args):
    """Generate (once), predict, segment and score.

    Parameters
    ----------
    args : argparse.Namespace
        As of `parse`.

    Returns
    -------
    Benchmark

    Raises
    ------
    ValueError
        If no method is left to score, or the folder holds other data.
    """
    out = Path(args.out)
    table = read_benchmark(generate(out, args.fovs, args.seed, args.published))
    seed = "published" if args.published else args.seed
    bench = Benchmark(seed, args.fovs, table, ensembles.read_ensembles(out))
    print(f"{bench.title} Videos are skipped.", flush=True)
    for method in CLASSICAL:
        if method in args.methods and not args.fit_penalty:
            bench.segments |= classical_segments(method, bench)
    for name in args.weights:
        add_network(bench, name, args)
        if args.adapt == "sample":
            add_adapted(bench, name, args)
    if not bench.segments:
        raise ValueError("nothing to score: give --weights for the methods network and m3")
    score(bench, out)
    if "ensemble" in args.tasks and set(table["exp"]) <= set(bench.ensembles):
        score_ensembles(bench, out)
    if "cve" in args.methods or "mle" in args.methods:
        bench.k_errors = k_errors(table, bench.predictions, SIGMA)
    return bench


def run(args):
    """`compute`, print the tables, write ``benchmark.md`` (tables), ``benchmark.json`` (numbers) and ``figures/``."""
    bench, out = compute(args), Path(args.out)
    text = report_text(bench)
    print(text)
    (out / "benchmark.md").write_text(text)
    (out / "benchmark.json").write_text(json.dumps(report_numbers(bench), indent=1) + "\n")
    for name, figure in benchmark_figures(bench, SIGMA).items():
        save(figure, name, out / "figures")
    print(f"these tables in {out / 'benchmark.md'}, numbers in benchmark.json, figures in figures/ beside it")
