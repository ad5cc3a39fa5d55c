"""Figures of the benchmark. Bars and bands are 90 % intervals over tracks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from main.tracks.benchmark.errors import change_errors, frame_errors, interval_coverage, ratio_in_bins, reliability
from main.tracks.benchmark.result import CLASSICAL_NAMES, Benchmark, is_network
from main.tracks.benchmark.scores import SCORES, Scored, track_sums
from main.tracks.benchmark.tables import EXPERIMENT_NAMES, HEADINGS, name_experiment
from main.tracks.evaluation.figures import plot_confusion
from main.tracks.figures import K_UNIT, STATE_COLOURS
from main.tracks.inference.predictor import Prediction
from main.tracks.inference.segments import Segment
from main.utils.bootstrap import LEVEL
from main.utils.plotting import new_figure, pretty_unit, styled
from simulations.parameters import STATES

CLASSICAL_COLOURS = {
    "constant": "#C8C8C8",
    "msd": "#969696",
    "windows": "#8C6D31",
    "cve": "#BCBDDC",
    "mle": "#756BB1",
    "hmm": "#0072B2",
    "hmm-filtered": "#56B4E9",
}
NETWORK_COLOURS = (
    "#D55E00",
    "#FDAE6B",
    "#009E73",
    "#99D8C9",
    "#E69F00",
    "#FEE391",
    "#7A0177",
    "#CC79A7",
    "#4D4D4D",
    "#A50026",
)
CLASSICAL_LINES = ("windows", "hmm", "hmm-filtered")  # classical methods in the figures with lines
MIN_TRACKS_PER_BIN = 10  # a bin of fewer is not drawn
FRAME_ERRORS = {"log10_k": "mean |Δlog₁₀K|", "alpha": "mean |Δα|", "state": "share of wrong states"}
AXES = {  # column of `frame_errors` -> edges of bins, label, scale
    "n_frames": ([20, 40, 60, 80, 100, 130, 160, 201], "track length (frames)", "linear"),
    "noise": ([0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5], "noise / step, σ/√(2K)", "log"),
    "distance": ([0, 1, 2, 3, 4, 6, 8, 11, 15, 20, 30, 50], "frames to the nearest true changepoint", "linear"),
}


CAPTIONS = {  # kind of figure, as returned by `figure_kind` -> caption
    "scores": (
        "Scores of all methods on the nine AnDi-2 experiments and on average, with 90 % intervals over tracks. "
        "More is better for JSC and F1, less for the others."
    ),
    "jaccard": (
        "Changepoints. Left: Jaccard index against the number of true changepoints. Middle and right: share of the "
        "true changepoints that are found, against the change of K and of alpha. Bars: 90 % intervals over tracks."
    ),
    "errors": (
        "Errors of K, alpha and state per moving frame, against track length, localisation error and the distance to "
        "the nearest true changepoint. Bars: 90 % intervals over tracks."
    ),
    "k_errors": "Relative error of K in true segments of free motion by length, beside the Cramér-Rao bound.",
    "confusion": "True against most probable state of every frame, in per cent of the frames of the true state.",
    "calibration": "How often a state is right, against the probability that the network gives it.",
    "ensembles": "States of each experiment: true (grey), and as estimated from the predicted segments (lines).",
    "coverage": (
        "Share of moving frames whose true K (top) and alpha (bottom) lie inside the 90 % interval. Grey: 85 to 95 %."
    ),
}


def figure_kind(name: str) -> str:
    """Kind of a figure of `benchmark_figures`, a key of CAPTIONS; there is a confusion matrix for each network."""
    return "confusion" if name.startswith("confusion_") else name


def method_colours(methods) -> dict[str, str]:
    """A colour for each method: fixed for the classical ones, in order for the networks."""
    networks = [name for name in methods if name not in CLASSICAL_COLOURS]
    cycle = {name: NETWORK_COLOURS[i % len(NETWORK_COLOURS)] for i, name in enumerate(networks)}
    return {name: CLASSICAL_COLOURS.get(name) or cycle[name] for name in methods}


def line_methods(methods) -> list[str]:
    """Methods shown as lines: CLASSICAL_LINES, and networks with the segmentation of this project."""
    return [name for name in methods if name in CLASSICAL_LINES or is_network(name)]


@styled
def plot_scores(scores: dict[str, Scored]) -> Figure:
    """All scores of all methods (method -> Scored) by experiment, and over all experiments, with 90 % intervals."""
    fig, axes = new_figure(9.5, 10.5, len(SCORES), 1, sharex=True)
    colours, experiments = method_colours(scores), next(iter(scores.values())).table.index
    places, width = np.arange(len(experiments)), 0.8 / len(scores)
    for i, (name, scored) in enumerate(scores.items()):
        x = places + (i - (len(scores) - 1) / 2) * width
        for ax, score in zip(axes[:, 0], SCORES, strict=True):
            if name in ("cve", "mle") and score != "msle_k":
                continue  # they are given everything but K
            value = scored.table[score].to_numpy(float)
            bars = np.abs(np.stack([scored.low[score], scored.high[score]]) - value)
            label = CLASSICAL_NAMES.get(name, name)
            ax.errorbar(x, value, bars, fmt="o", ms=3.2, lw=1, color=colours[name], label=label)
    for ax, score in zip(axes[:, 0], SCORES, strict=True):
        ax.set_ylabel(HEADINGS[score].replace("alpha", "α"))
        ax.grid(axis="y", lw=0.4, alpha=0.5)
        for place in places[:-1]:
            ax.axvline(place + 0.5, color="#DDDDDD", lw=0.6)
    axes[SCORES.index("msle_k"), 0].set_yscale("log", nonpositive="clip")
    names = [f"{e}\n{EXPERIMENT_NAMES.get(e, '')}".replace(", ", "\n") for e in experiments[:-2]]
    axes[-1, 0].set_xticks(places, [*names, "all,\nby tracks", "all,\nplain mean"])
    axes[-1, 0].set_xlabel("experiment")
    handles, labels = axes[SCORES.index("msle_k"), 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=4)
    return fig


def _line(ax, binned, edges, colour, label, scale="linear"):
    edges = np.asarray(edges, float)
    centres = np.sqrt(edges[:-1] * edges[1:]) if scale == "log" else (edges[:-1] + edges[1:]) / 2
    binned = binned[binned["tracks"] >= MIN_TRACKS_PER_BIN]
    x = centres[binned["bin"]]
    ax.errorbar(x, binned["value"], binned["half_width"], color=colour, marker="o", ms=3, capsize=1.5, label=label)
    ax.set_xscale(scale)


def _legend_above(fig, ax):
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=4)


@styled
def plot_jaccard(tracks: pd.DataFrame, segments: dict[str, list[list[Segment]]], most: int = 10) -> Figure:
    """Jaccard index against true changepoints per track; share of changepoints found against the size of the change.

    Parameters
    ----------
    tracks : DataFrame
        As returned by `main.tracks.benchmark.data.read_benchmark`.
    segments : dict of str -> list of list of Segment
        Method -> predicted segments of every track.
    most : int
        Tracks with this many changepoints or more are one bin.
    """
    fig, axes = new_figure(9.5, 3.3, 1, 3)
    number = tracks["segments"].map(len).to_numpy() - 1
    colours, track = method_colours(segments), np.arange(len(tracks))
    ratio_edges, alpha_edges = np.array([1, 1.5, 2, 3, 5, 10, 20, 50, 200]), np.arange(0, 1.7, 0.2)
    for name in line_methods(segments):
        sums, label = track_sums(tracks["segments"], segments[name]), CLASSICAL_NAMES.get(name, name)
        edges = np.arange(most + 2) - 0.5
        binned = ratio_in_bins(np.minimum(number, most), edges, track, sums[:, 0], sums[:, :3].sum(axis=1))
        _line(axes[0, 0], binned, edges, colours[name], label)
        changes = change_errors(tracks, segments[name])
        for ax, column, edges, scale in (
            (axes[0, 1], "ratio_k", ratio_edges, "log"),
            (axes[0, 2], "delta_alpha", alpha_edges, "linear"),
        ):
            found = ratio_in_bins(changes[column], edges, changes["track"], changes["found"])
            _line(ax, found, edges, colours[name], label, scale)
    axes[0, 0].set(xlabel="true changepoints in the track", ylabel="Jaccard index")
    axes[0, 0].set_xticks(range(0, most + 1, 2), [*map(str, range(0, most, 2)), f"{most}+"])
    axes[0, 1].set(xlabel="larger over smaller K at the changepoint", ylabel="share of changepoints found")
    axes[0, 1].set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    axes[0, 1].minorticks_off()
    axes[0, 2].set(xlabel="|Δα| at the changepoint", ylabel="share of changepoints found")
    for ax in axes.flat:
        ax.set_ylim(0, 1.03)
    _legend_above(fig, axes[0, 0])
    return fig


@styled
def plot_frame_errors(tracks: pd.DataFrame, segments: dict[str, list[list[Segment]]], sigma: float) -> Figure:
    """Errors of K, alpha and state per moving frame, against length, noise and distance to the changepoint.

    Parameters
    ----------
    tracks : DataFrame
        As returned by `main.tracks.benchmark.data.read_benchmark`.
    segments : dict of str -> list of list of Segment
        Method -> predicted segments of every track.
    sigma : float
        Localisation error, px.
    """
    fig, axes = new_figure(9.5, 7.5, len(FRAME_ERRORS), len(AXES), sharex="col")
    colours = method_colours(segments)
    for name in line_methods(segments):
        frames = frame_errors(tracks, segments[name], sigma)
        for column, (by, (edges, _, scale)) in enumerate(AXES.items()):
            for row, error in enumerate(FRAME_ERRORS):
                binned = ratio_in_bins(frames[by], edges, frames["track"], frames[error])
                _line(axes[row, column], binned, edges, colours[name], CLASSICAL_NAMES.get(name, name), scale)
    for column, (_, label, _) in enumerate(AXES.values()):
        axes[-1, column].set_xlabel(label)
    for row, label in enumerate(FRAME_ERRORS.values()):
        axes[row, 0].set_ylabel(label)
    for ax in axes.flat:
        ax.set_ylim(0, None)
    axes[0, 0].set_title(f"moving frames; K in {pretty_unit(K_UNIT)}", loc="left")
    _legend_above(fig, axes[0, 0])
    return fig


@styled
def plot_calibration(tracks: pd.DataFrame, predictions: dict[str, list[Prediction]]) -> Figure:
    """Reliability diagram of the state probabilities, one panel per network, with the expected calibration error.

    Parameters
    ----------
    tracks : DataFrame
        As returned by `main.tracks.benchmark.data.read_benchmark`.
    predictions : dict of str -> list of Prediction
        Network -> frame-wise predictions of every track.
    """
    fig, axes = new_figure(3.4 * len(predictions), 3.6, 1, len(predictions), sharey=True)
    state = np.concatenate(tracks["state"].tolist())
    for ax, (name, preds) in zip(axes[0], predictions.items(), strict=True):
        bins, ece = reliability(np.concatenate([p.state_probs for p in preds]), state)
        ax.plot([0, 1], [0, 1], color="black", ls="--", lw=0.8)
        for s, colour in enumerate(STATE_COLOURS):
            rows = bins[bins["state"] == s]
            ax.plot(rows["stated"], rows["observed"], color=colour, marker="o", ms=3.5, label=STATES[s])
        ax.set(xlabel="predicted probability of the state", xlim=(0, 1), ylim=(0, 1), aspect="equal")
        ax.set_title(f"{name}: expected calibration error {ece:.3f}")
    axes[0, 0].set_ylabel("share of frames in that state")
    axes[0, 0].legend(loc="upper left")
    return fig


@styled
def plot_coverage(tracks: pd.DataFrame, predictions: dict[str, list[Prediction]]) -> Figure:
    """Share of moving frames inside their 90 % intervals of K and alpha, by length, K, alpha and state.

    Parameters
    ----------
    tracks : DataFrame
        As returned by `main.tracks.benchmark.data.read_benchmark`.
    predictions : dict of str -> list of Prediction
        Network -> frame-wise predictions of every track.
    """
    shares = {name: interval_coverage(tracks, preds) for name, preds in predictions.items()}
    columns = list(dict.fromkeys(next(iter(shares.values()))["by"]))
    widths = [1.5 if by == "all" else 3 for by in columns]
    fig, axes = new_figure(10, 4.6, 2, len(columns), sharey=True, sharex="col", width_ratios=widths)
    colours = method_colours(predictions)
    for name, share in shares.items():
        drawn, style = share[share["tracks"] >= MIN_TRACKS_PER_BIN], dict(fmt="o", ms=3.5, color=colours[name])
        for row, value in enumerate(("log10_k", "alpha")):
            for ax, by in zip(axes[row], columns, strict=True):
                part = drawn[(drawn["by"] == by) & (drawn["of"] == value)]
                ax.errorbar(part["bin"], part["value"], part["half_width"], label=name, **style)
                ax.tick_params(axis="x", labelrotation=40)
                ax.margins(x=0.15)
    for ax in axes.flat:
        ax.axhspan(LEVEL - 0.05, LEVEL + 0.05, color="#EEEEEE", zorder=0)
        ax.axhline(LEVEL, color="black", ls="--", lw=0.8)
    for row, label in enumerate(("K", "α")):
        axes[row, 0].set(ylabel=f"share inside, {label}", ylim=(0.6, 1.0))
    for ax, by in zip(axes[1], columns, strict=True):
        ax.set_xlabel(by)
    _legend_above(fig, axes[0, 0])
    return fig


@styled
def plot_k_errors(errors: pd.DataFrame) -> Figure:
    """Relative error of K in true segments by length.

    Parameters
    ----------
    errors : DataFrame
        As returned by `main.tracks.benchmark.errors.k_errors`.
    """
    fig, axes = new_figure(4.6, 3.4)
    ax, places = axes[0, 0], np.arange(len(errors))
    names = [name for name in errors.columns if name not in ("n", "bound")]
    styles = {"CVE": CLASSICAL_COLOURS["msd"], "MLE": CLASSICAL_COLOURS["mle"]} | method_colours(
        [name for name in names if name not in ("CVE", "MLE")]
    )
    ax.plot(places, errors["bound"], color="black", ls="--", label="Cramér-Rao bound")
    for name in names:
        ax.plot(places, errors[name], color=styles[name], marker="o", ms=3.5, label=name)
    ax.set_xticks(places, [f"{name}\n({n})" for name, n in errors["n"].items()])
    ax.set(xlabel="frames of the true segment (number)", ylabel="relative error of K\n(1.48 × median)", yscale="log")
    ax.set_yticks([0.05, 0.1, 0.2, 0.5, 1], ["5 %", "10 %", "20 %", "50 %", "100 %"])
    ax.minorticks_off()
    ax.legend()
    return fig


def _mixture(x, mean, variance, share):
    """Density of a mixture of Gaussians on x; the spread of each state is at least 2 % of the axis, to be seen."""
    sd = np.maximum(np.sqrt(variance), 0.02 * np.ptp(x))
    return (share / sd * np.exp(-0.5 * ((x[:, None] - mean) / sd) ** 2)).sum(axis=1) / np.sqrt(2 * np.pi)


@styled
def plot_ensembles(
    ensembles: dict[int, tuple[str, np.ndarray]], descriptions: dict[str, dict[int, np.ndarray]]
) -> Figure:
    """States of each experiment, true (filled) and estimated: densities of alpha and of K.

    Parameters
    ----------
    ensembles : dict
        Experiment -> (model, true description), as returned by `main.tracks.benchmark.ensembles.read_ensembles`.
    descriptions : dict of str -> dict
        Network -> experiment -> estimated description (5, S).
    """
    fig, axes = new_figure(1.35 * len(ensembles) + 0.6, 3.4, 2, len(ensembles))
    colours, alpha = method_colours(descriptions), np.linspace(0, 2, 400)
    for column, (exp, (_, truth)) in enumerate(ensembles.items()):
        top = max(2.0, 1.5 * max(float(found[exp][2].max()) for found in descriptions.values()))
        for ax, x, first in ((axes[0, column], alpha, 0), (axes[1, column], np.linspace(0, top, 400), 2)):
            ax.fill_between(x, _mixture(x, truth[first], truth[first + 1], truth[4]), color="#CCCCCC", label="truth")
            for name, found in descriptions.items():
                density = _mixture(x, found[exp][first], found[exp][first + 1], found[exp][4])
                ax.plot(x, density, color=colours[name], label=name)
            ax.set(yticks=[], ylim=(0, None), xlim=(0, x[-1]))
            ax.spines["left"].set_visible(False)
        axes[0, column].set(xlabel="α", title=name_experiment(exp).replace(", ", ",\n"))
        axes[1, column].set_xlabel(f"K ({pretty_unit(K_UNIT)})", fontsize=7)
    _legend_above(fig, axes[0, 0])
    return fig


def count_confusion(tracks: pd.DataFrame, preds: list[Prediction]) -> np.ndarray:
    """Frames by true (row) and most probable (column) state, (4, 4)."""
    counts = np.zeros((len(STATES), len(STATES)), int)
    found = np.concatenate([p.state_probs.argmax(axis=1) for p in preds])
    np.add.at(counts, (np.concatenate(tracks["state"].tolist()), found), 1)
    return counts


def benchmark_figures(bench: Benchmark, sigma: float) -> dict[str, Figure]:
    """All figures of a run by name.

    Parameters
    ----------
    bench : Benchmark
    sigma : float
        Localisation error, px.
    """
    tracks = bench.data.tracks
    figures = {"scores": plot_scores(bench.scores)}
    if line_methods(bench.segments):
        figures["jaccard"] = plot_jaccard(tracks, bench.segments)
        figures["errors"] = plot_frame_errors(tracks, bench.segments, sigma)
    if bench.k_errors is not None:
        figures["k_errors"] = plot_k_errors(bench.k_errors)
    for name, preds in bench.predictions.items():
        figures[f"confusion_{name}"] = plot_confusion(count_confusion(tracks, preds))
    if bench.predictions:
        figures["calibration"] = plot_calibration(tracks, bench.predictions)
    if bench.descriptions:
        figures["ensembles"] = plot_ensembles(bench.data.ensembles, bench.descriptions)
    with_intervals = {name: preds for name, preds in bench.predictions.items() if np.isfinite(preds[0].alpha_lo).all()}
    if with_intervals:
        figures["coverage"] = plot_coverage(tracks, with_intervals)
    return figures
