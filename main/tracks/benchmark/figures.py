"""Figures of the benchmark. Bars and bands are 90 % intervals over tracks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from main.tracks.benchmark.errors import change_errors, coverage, frame_errors, ratio_in_bins, reliability
from main.tracks.benchmark.scores import SCORES, track_sums
from main.tracks.benchmark.tables import EXPERIMENT_NAMES, HEADINGS, METHOD_NAMES, experiment_name
from main.tracks.evaluation.figures import plot_confusion
from main.tracks.figures import K_UNIT, STATE_COLOURS
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
LINES = ("windows", "hmm", "hmm-filtered")  # classical methods of the figures with lines
MIN_TRACKS = 10  # a bin of fewer is not drawn
FRAME_ERRORS = {"log10_k": "mean |Δlog₁₀K|", "alpha": "mean |Δα|", "state": "share of wrong states"}
AXES = {  # column of `frame_errors` -> edges of bins, label, scale
    "n_frames": ([20, 40, 60, 80, 100, 130, 160, 201], "track length (frames)", "linear"),
    "noise": ([0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5], "noise / step, σ/√(2K)", "log"),
    "distance": ([0, 1, 2, 3, 4, 6, 8, 11, 15, 20, 30, 50], "frames to the nearest true changepoint", "linear"),
}


def colours_of(methods) -> dict[str, str]:
    """A colour for each method: fixed for the classical ones, in order for the others."""
    others = [name for name in methods if name not in CLASSICAL_COLOURS]
    cycle = {name: NETWORK_COLOURS[i % len(NETWORK_COLOURS)] for i, name in enumerate(others)}
    return {name: CLASSICAL_COLOURS.get(name) or cycle[name] for name in methods}


def line_methods(methods) -> list[str]:
    """Methods shown as lines: LINES and all networks' with our segmentation."""
    return [name for name in methods if name in LINES or name not in CLASSICAL_COLOURS and not name.endswith("-m3")]


@styled
def plot_scores(scores, bounds) -> Figure:
    """All scores of all methods by experiment, and over all experiments.

    Parameters
    ----------
    scores : dict[str, DataFrame]
        Method -> `metrics.score_table`.
    bounds : dict[str, tuple]
        Method -> `bootstrap.intervals`.
    """
    fig, axes = new_figure(9.5, 10.5, len(SCORES), 1, sharex=True)
    colours, experiments = colours_of(scores), next(iter(scores.values())).index
    places, width = np.arange(len(experiments)), 0.8 / len(scores)
    for i, (name, table) in enumerate(scores.items()):
        low, high = bounds[name]
        x = places + (i - (len(scores) - 1) / 2) * width
        for ax, score in zip(axes[:, 0], SCORES, strict=True):
            if name in ("cve", "mle") and score != "msle_k":
                continue  # they are given everything but K
            value = table[score].to_numpy(float)
            bars = np.abs(np.stack([low[score], high[score]]) - value)
            ax.errorbar(x, value, bars, fmt="o", ms=3.2, lw=1, color=colours[name], label=METHOD_NAMES.get(name, name))
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
    binned = binned[binned["tracks"] >= MIN_TRACKS]
    x = centres[binned["bin"]]
    ax.errorbar(x, binned["value"], binned["half_width"], color=colour, marker="o", ms=3, capsize=1.5, label=label)
    ax.set_xscale(scale)


def _legend_above(fig, ax):
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=4)


@styled
def plot_jaccard(table: pd.DataFrame, segments: dict, most: int = 10) -> Figure:
    """Jaccard index against true changepoints per track; share of changepoints found against the size of the change.

    Parameters
    ----------
    table : DataFrame
        As of `benchmark_data.read_benchmark`.
    segments : dict[str, list]
        Method -> predicted segments of every track.
    most : int
        This many changepoints or more are one bin.
    """
    fig, axes = new_figure(9.5, 3.3, 1, 3)
    number = table["segments"].map(len).to_numpy() - 1
    colours, tracks = colours_of(segments), np.arange(len(table))
    ratio_edges, alpha_edges = np.array([1, 1.5, 2, 3, 5, 10, 20, 50, 200]), np.arange(0, 1.7, 0.2)
    for name in line_methods(segments):
        sums, label = track_sums(table["segments"], segments[name]), METHOD_NAMES.get(name, name)
        edges = np.arange(most + 2) - 0.5
        binned = ratio_in_bins(np.minimum(number, most), edges, tracks, sums[:, 0], sums[:, :3].sum(axis=1))
        _line(axes[0, 0], binned, edges, colours[name], label)
        changes = change_errors(table, segments[name])
        for ax, column, edges, scale in (
            (axes[0, 1], "ratio_k", ratio_edges, "log"),
            (axes[0, 2], "delta_alpha", alpha_edges, "linear"),
        ):
            _line(
                ax,
                ratio_in_bins(changes[column], edges, changes["track"], changes["found"]),
                edges,
                colours[name],
                label,
                scale,
            )
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
def plot_frame_errors(table: pd.DataFrame, segments: dict, sigma: float) -> Figure:
    """Errors of K, alpha and state per moving frame against length, noise and distance to the changepoint."""
    fig, axes = new_figure(9.5, 7.5, len(FRAME_ERRORS), len(AXES), sharex="col")
    colours = colours_of(segments)
    for name in line_methods(segments):
        frames = frame_errors(table, segments[name], sigma)
        for column, (by, (edges, _, scale)) in enumerate(AXES.items()):
            for row, error in enumerate(FRAME_ERRORS):
                binned = ratio_in_bins(frames[by], edges, frames["track"], frames[error])
                _line(axes[row, column], binned, edges, colours[name], METHOD_NAMES.get(name, name), scale)
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
def plot_calibration(table: pd.DataFrame, predictions: dict) -> Figure:
    """Reliability diagram of the state probabilities, one panel per network, with the expected calibration error."""
    fig, axes = new_figure(3.4 * len(predictions), 3.6, 1, len(predictions), sharey=True)
    state = np.concatenate(table["state"].tolist())
    for ax, (name, preds) in zip(axes[0], predictions.items(), strict=True):
        bins, ece = reliability(np.concatenate([p.state_probs for p in preds]), state)
        ax.plot([0, 1], [0, 1], color="black", ls="--", lw=0.8)
        for s, colour in enumerate(STATE_COLOURS):
            own = bins[bins["state"] == s]
            ax.plot(own["stated"], own["observed"], color=colour, marker="o", ms=3.5, label=STATES[s])
        ax.set(xlabel="stated probability of the state", xlim=(0, 1), ylim=(0, 1), aspect="equal")
        ax.set_title(f"{name}: expected calibration error {ece:.3f}")
    axes[0, 0].set_ylabel("share of frames in that state")
    axes[0, 0].legend(loc="upper left")
    return fig


@styled
def plot_coverage(table: pd.DataFrame, predictions: dict) -> Figure:
    """Share of moving frames inside their 90 % intervals of K and alpha, by length, K, alpha and state."""
    shares = {name: coverage(table, preds) for name, preds in predictions.items()}
    columns = list(dict.fromkeys(next(iter(shares.values()))["by"]))
    widths = [1.5 if by == "all" else 3 for by in columns]
    fig, axes = new_figure(10, 4.6, 2, len(columns), sharey=True, sharex="col", width_ratios=widths)
    colours = colours_of(predictions)
    for name, own in shares.items():
        for row, value in enumerate(("log10_k", "alpha")):
            for ax, by in zip(axes[row], columns, strict=True):
                part = own[(own["by"] == by) & (own["of"] == value) & (own["tracks"] >= MIN_TRACKS)]
                ax.errorbar(
                    part["bin"], part["value"], part["half_width"], fmt="o", ms=3.5, color=colours[name], label=name
                )
                ax.tick_params(axis="x", labelrotation=40)
                ax.margins(x=0.15)
    for ax in axes.flat:
        ax.axhspan(0.85, 0.95, color="#EEEEEE", zorder=0)
        ax.axhline(0.9, color="black", ls="--", lw=0.8)
    for row, label in enumerate(("K", "α")):
        axes[row, 0].set(ylabel=f"share inside, {label}", ylim=(0.6, 1.0))
    for ax, by in zip(axes[1], columns, strict=True):
        ax.set_xlabel(by)
    _legend_above(fig, axes[0, 0])
    return fig


@styled
def plot_k_errors(errors: pd.DataFrame) -> Figure:
    """Relative error of K in the true segments by length; `errors` as of `benchmark_errors.k_errors`."""
    fig, axes = new_figure(4.6, 3.4)
    ax, places = axes[0, 0], np.arange(len(errors))
    names = [name for name in errors.columns if name not in ("n", "bound")]
    styles = {"CVE": CLASSICAL_COLOURS["msd"], "MLE": CLASSICAL_COLOURS["mle"]} | colours_of(
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
    """Density of a mixture of Gaussians on x, every state at least as wide as two hundredths of the axis."""
    sd = np.maximum(np.sqrt(variance), 0.02 * np.ptp(x))
    return (share / sd * np.exp(-0.5 * ((x[:, None] - mean) / sd) ** 2)).sum(axis=1) / np.sqrt(2 * np.pi)


@styled
def plot_ensembles(ensembles: dict, descriptions: dict) -> Figure:
    """States of each experiment, true (filled) and estimated: densities of alpha and of K.

    Parameters
    ----------
    ensembles : dict
        Experiment -> (model, true description), as of `ensemble.read_ensembles`.
    descriptions : dict[str, dict]
        Network -> experiment -> estimated description.
    """
    fig, axes = new_figure(1.35 * len(ensembles) + 0.6, 3.4, 2, len(ensembles))
    colours, alpha = colours_of(descriptions), np.linspace(0, 2, 400)
    for column, (exp, (_, truth)) in enumerate(ensembles.items()):
        top = max(2.0, 1.5 * max(float(own[exp][2].max()) for own in descriptions.values()))
        for ax, x, first in ((axes[0, column], alpha, 0), (axes[1, column], np.linspace(0, top, 400), 2)):
            ax.fill_between(x, _mixture(x, truth[first], truth[first + 1], truth[4]), color="#CCCCCC", label="truth")
            for name, own in descriptions.items():
                density = _mixture(x, own[exp][first], own[exp][first + 1], own[exp][4])
                ax.plot(x, density, color=colours[name], label=name)
            ax.set(yticks=[], ylim=(0, None), xlim=(0, x[-1]))
            ax.spines["left"].set_visible(False)
        axes[0, column].set(xlabel="α", title=experiment_name(exp).replace(", ", ",\n"))
        axes[1, column].set_xlabel(f"K ({pretty_unit(K_UNIT)})", fontsize=7)
    _legend_above(fig, axes[0, 0])
    return fig


def confusion_of(table: pd.DataFrame, preds) -> np.ndarray:
    """Frames by true (row) and most probable (column) state, (4, 4)."""
    counts = np.zeros((4, 4), int)
    found = np.concatenate([p.state_probs.argmax(axis=1) for p in preds])
    np.add.at(counts, (np.concatenate(table["state"].tolist()), found), 1)
    return counts


def benchmark_figures(bench, sigma: float) -> dict[str, Figure]:
    """All figures of a run by name.

    Parameters
    ----------
    bench : main.tracks.benchmark.compute.Benchmark
    sigma : float
        Localisation error, px.
    """
    figures = {"scores": plot_scores(bench.scores, bench.bounds)}
    if line_methods(bench.segments):
        figures["jaccard"] = plot_jaccard(bench.table, bench.segments)
        figures["errors"] = plot_frame_errors(bench.table, bench.segments, sigma)
    if bench.k_errors is not None:
        figures["k_errors"] = plot_k_errors(bench.k_errors)
    for name, preds in bench.predictions.items():
        figures[f"confusion_{name}"] = plot_confusion(confusion_of(bench.table, preds))
    if bench.predictions:
        figures["calibration"] = plot_calibration(bench.table, bench.predictions)
    if bench.descriptions:
        figures["ensembles"] = plot_ensembles(bench.ensembles, bench.descriptions)
    with_intervals = {name: preds for name, preds in bench.predictions.items() if np.isfinite(preds[0].alpha_lo).all()}
    if with_intervals:
        figures["coverage"] = plot_coverage(bench.table, with_intervals)
    return figures
