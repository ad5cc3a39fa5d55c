"""Figures of tracks, predictions and training, as deterministic SVG.

Every function takes arrays or tables and returns a `matplotlib.figure.Figure`; `save` writes it. Figures of
errors and scores are in `plotting_eval.py`.
"""

from __future__ import annotations

import functools
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from main.utils.evaluation import true_changepoints
from simulations.parameters import STATES

COLOURS = {"k": "#1B9E77", "alpha": "#E69F00", "state": "#9970AB"}
STATE_COLOURS = ("#4D4D4D", "#0072B2", "#6CB8E6", "#D55E00")
CHANGE_COLOUR = "#B2182B"
TRUTH_COLOUR = "#222222"
LINE_COLOURS = (*COLOURS.values(), "#0072B2", CHANGE_COLOUR, "#999999", "#CC79A7")  # of methods side by side
TRAPPED_GREY = STATE_COLOURS[0]
K_UNIT = "px^2/frame^alpha"
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "svg.hashsalt": "tracewise",
    "figure.dpi": 110,
}


def styled(plot):
    """Run a plotting function inside the project's matplotlib style, leaving global settings alone."""

    @functools.wraps(plot)
    def wrapper(*args, **kwargs):
        with mpl.rc_context(STYLE):
            return plot(*args, **kwargs)

    return wrapper


@styled
def save(fig: Figure, name: str, folder: str | Path = "plots") -> Path:
    """Write a figure as SVG without date or random identifiers, so that the same figure gives the same bytes.

    Parameters
    ----------
    fig : Figure
    name : str
        File name without suffix.
    folder : path
        Made if it does not exist.

    Returns
    -------
    Path
        The file written.
    """
    path = Path(folder) / f"{name}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, metadata={"Date": None, "Creator": None})
    return path


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options):
    """Figure of `width` by `height` inches and its axes, shape (rows, columns)."""
    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, fig.subplots(rows, columns, squeeze=False, **options)


def pretty_unit(unit: str) -> str:
    """A unit of the tables ("um^2/s^alpha") as axis text with superscripts."""
    return unit.replace("^alpha", r"$^\alpha$").replace("^2", "$^2$").replace("um", "µm")


def nice_length(extent: float) -> float:
    """Largest of 1, 2, 5 x 10^n that is at most a quarter of `extent` (same unit)."""
    if not extent > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(extent / 4))
    return float(max(m * power for m in (1, 2, 5) if m * power <= extent / 4))


def add_scale_bar(ax, extent: float, unit: str) -> None:
    """Replace the axes of a map by a scale bar below it; `extent` is the width shown, in `unit`."""
    length = nice_length(extent)
    x0, x1 = ax.get_xlim()
    left = x0 + 0.02 * (x1 - x0)
    transform = ax.get_xaxis_transform()
    ax.plot([left, left + length], [-0.02, -0.02], color="black", lw=3, transform=transform, clip_on=False)
    ax.text(left, -0.04, f"{length:g} {pretty_unit(unit)}", ha="left", va="top", transform=transform)
    ax.set_axis_off()


def step_values(values: np.ndarray) -> np.ndarray:
    """Value of each of the T-1 lines between T frames: that of the frame where the line begins."""
    return np.asarray(values)[:-1]


def track_lines(ax, tracks, cmap, norm) -> LineCollection:
    """Draw tracks coloured per frame.

    Parameters
    ----------
    tracks : list of (xy (T, 2), values (T,))
        Positions and the value that colours each frame; nan is drawn grey.
    """
    lines, values = [], []
    for xy, value in tracks:
        lines.append(np.stack([xy[:-1], xy[1:]], axis=1))
        values.append(step_values(value))
    collection = LineCollection(np.concatenate(lines), cmap=cmap, norm=norm, linewidths=1.0)
    collection.set_array(np.ma.masked_invalid(np.concatenate(values).astype(float)))
    ax.add_collection(collection)
    ax.autoscale_view()
    ax.set_aspect("equal", adjustable="datalim")
    return collection


def colour_scale(by: str, values: np.ndarray):
    """Colour map and norm of `by` ("k", "alpha" or "state"); K is logarithmic over its 2-98 % range."""
    if by == "state":
        return ListedColormap(STATE_COLOURS), Normalize(-0.5, len(STATES) - 0.5)
    if by == "alpha":
        return mpl.colormaps["plasma"].with_extremes(bad=TRAPPED_GREY), Normalize(0, 2)
    if by != "k":
        raise ValueError(f'tracks are coloured by "k", "alpha" or "state", not by "{by}"')
    positive = values[np.isfinite(values) & (values > 0)]
    low, high = np.percentile(positive, [2, 98]) if positive.size else (0.1, 1.0)
    return mpl.colormaps["viridis"].with_extremes(bad=TRAPPED_GREY), LogNorm(low, max(high, 1.01 * low))


def state_legend(target, **options):
    """Legend of the four state colours on a figure or axes."""
    handles = [
        Line2D([], [], color=colour, lw=3, label=state) for colour, state in zip(STATE_COLOURS, STATES, strict=True)
    ]
    return target.legend(handles=handles, **options)


@styled
def plot_tracks(points: pd.DataFrame, by: str = "state", unit: str = "px", k_unit: str = K_UNIT) -> Figure:
    """Map of tracks, every frame coloured by K, alpha or state, with a scale bar.

    Parameters
    ----------
    points : DataFrame
        Columns track_id, frame, x, y (in `unit`), k (in `k_unit`), alpha, state; as in points.parquet. Frames
        that were not analysed, and K and alpha of trapped frames, are drawn grey.
    by : {"state", "k", "alpha"}
    """
    values = points[by].to_numpy(dtype=float)
    if by != "state":
        values = np.where(values > 0, values, np.nan)
    table = points.assign(_value=values).sort_values(["track_id", "frame"])
    tracks = [(g[["x", "y"]].to_numpy(), g["_value"].to_numpy()) for _, g in table.groupby("track_id") if len(g) > 1]
    if not tracks:
        raise ValueError("no track of two or more frames to draw")
    cmap, norm = colour_scale(by, values)
    fig, axes = new_figure(5.2, 4.6)
    ax = axes[0, 0]
    collection = track_lines(ax, tracks, cmap, norm)
    ax.invert_yaxis()
    add_scale_bar(ax, float(np.ptp(table["x"])), unit)
    ax.set_title(f"{len(tracks)} tracks")
    if by == "state":
        state_legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5))
    else:
        label = f"K ({pretty_unit(k_unit)})" if by == "k" else "α"
        fig.colorbar(collection, ax=ax, label=label, shrink=0.8, extend="both" if by == "k" else "neither")
        ax.legend(
            handles=[Line2D([], [], color=TRAPPED_GREY, lw=3, label="trapped or not analysed")],
            loc="upper right",
            bbox_to_anchor=(1.0, 0.0),
        )
    return fig


def _mark(ax, changepoints, **options):
    for frame in changepoints:
        ax.axvline(frame, **options)


@styled
def plot_track_over_time(
    prediction, changepoints, truth=None, segments=None, frames=None, k_unit: str = K_UNIT
) -> Figure:
    """K, alpha and state of one track over time, with predicted and true changepoints.

    Parameters
    ----------
    prediction : object with log10_k (T,), alpha (T,), state_probs (T, 4), p_change (T,)
        K in `k_unit`, as of `main.utils.inference.Predictor.predict`.
    changepoints : sequence of int
        Predicted first frames of new segments, dashed.
    truth : mapping, optional
        k (T,), alpha (T,), state (T,), drawn in black, blank where trapped; its changes dotted.
    segments : sequence of mapping, optional
        start, end (exclusive), k, alpha of each predicted segment, drawn thick.
    frames : array (T,), optional
        Frame of each prediction, by default 0 to T-1; changepoints and segments are on the same scale.
    """
    fig, axes = new_figure(6.4, 5.2, 4, 1, sharex=True, height_ratios=[1, 1, 0.8, 0.6])
    axes = axes[:, 0]
    frames = np.arange(len(prediction.alpha)) if frames is None else np.asarray(frames)
    axes[0].semilogy(frames, 10.0 ** np.asarray(prediction.log10_k), color=COLOURS["k"])
    axes[1].plot(frames, prediction.alpha, color=COLOURS["alpha"])
    axes[2].stackplot(frames, np.asarray(prediction.state_probs).T, colors=STATE_COLOURS, alpha=0.85)
    axes[3].plot(frames, prediction.p_change, color=CHANGE_COLOUR)
    for segment in segments or ():
        if segment["k"] > 0:
            span = [segment["start"] - 0.5, segment["end"] - 0.5]
            axes[0].plot(span, [segment["k"]] * 2, color=COLOURS["k"], lw=4, alpha=0.45, solid_capstyle="butt")
            axes[1].plot(span, [segment["alpha"]] * 2, color=COLOURS["alpha"], lw=4, alpha=0.45, solid_capstyle="butt")
    if truth is not None:
        _draw_truth(axes, frames, truth)
    for ax in axes:
        _mark(ax, changepoints, color=CHANGE_COLOUR, ls="--", lw=1)
    for ax, label in zip(axes, (f"K ({pretty_unit(k_unit)})", "α", "P(state)", "P(change)"), strict=True):
        ax.set_ylabel(label)
    axes[1].set_ylim(-0.05, 2.05)
    axes[2].set_ylim(0, 1)
    axes[3].set_ylim(0, 1.02)
    axes[3].set(xlabel="frame", xlim=(frames[0] - 0.5, frames[-1] + 0.5))
    fig.align_ylabels()
    _time_legend(fig, truth is not None, segments is not None)
    return fig


def _draw_truth(axes, frames, truth):
    state = np.asarray(truth["state"])
    moving = state != 0
    for ax, name in ((axes[0], "k"), (axes[1], "alpha")):
        ax.step(frames, np.where(moving, truth[name], np.nan), where="mid", color=TRUTH_COLOUR, lw=1)
    axes[2].scatter(
        frames, np.full(len(frames), 1.06), c=np.asarray(STATE_COLOURS)[state], marker="s", s=9, clip_on=False
    )
    _mark(axes[3], frames[true_changepoints(truth)], color=TRUTH_COLOUR, ls=":", lw=1.6)


def _time_legend(fig, with_truth: bool, with_segments: bool):
    lines = [
        ("predicted change", CHANGE_COLOUR, "--", 1),
        ("segment value", COLOURS["k"] if with_segments else "none", "-", 4),
        ("truth", TRUTH_COLOUR if with_truth else "none", "-", 1),
        ("true change", TRUTH_COLOUR if with_truth else "none", ":", 1.6),
    ]
    handles = []  # a legend fills its columns first: a line and a state in each
    for (label, colour, style, width), name, state in zip(lines, STATES, STATE_COLOURS, strict=True):
        shown = label if colour != "none" else " "
        handles += [Line2D([], [], color=colour, ls=style, lw=width, label=shown)]
        handles += [Line2D([], [], color=state, lw=5, label=name)]
    fig.legend(handles=handles, loc="outside upper center", ncols=4, handlelength=1.6)


@styled
def plot_example_tracks(examples: dict[str, list], unit: str = "px") -> Figure:
    """One panel of tracks for each model, coloured by true state, each with its own scale bar.

    Parameters
    ----------
    examples : dict
        Model name -> list of (xy (T, 2) in `unit`, state (T,)).
    """
    columns = min(len(examples), 5)
    rows = -(-len(examples) // columns)
    fig, axes = new_figure(2.3 * columns, 2.7 * rows + 0.3, rows, columns)
    cmap, norm = colour_scale("state", np.empty(0))
    for ax in axes.flat[len(examples) :]:
        ax.set_axis_off()
    for ax, (model, tracks) in zip(axes.flat, examples.items(), strict=False):
        track_lines(ax, tracks, cmap, norm)
        positions = np.concatenate([xy for xy, _ in tracks])
        add_scale_bar(ax, float(np.ptp(positions[:, 0])), unit)
        ax.set_title(model.replace("_", " "))
    state_legend(fig, loc="outside lower center", ncols=4)
    return fig


@styled
def plot_learning_curves(metrics: pd.DataFrame, step: str = "step") -> Figure:
    """Training and validation values over steps, one panel per metric.

    Parameters
    ----------
    metrics : DataFrame
        As metrics.csv of a run folder: `step`, train_<name>, val_<name>; empty cells are skipped.

    Raises
    ------
    ValueError
        If no column starts with train_ or val_.
    """
    names = list(dict.fromkeys(c.split("_", 1)[1] for c in metrics.columns if c.startswith(("train_", "val_"))))
    if not names:
        raise ValueError("no train_ or val_ column in the metrics table")
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    fig, axes = new_figure(3.2 * columns, 2.4 * rows, rows, columns)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    for ax, name in zip(axes.flat, names, strict=False):
        colour = next((c for key, c in COLOURS.items() if key in name), "#444444")
        for part, line in (("train", {"ls": ":", "alpha": 0.8}), ("val", {"marker": "o", "ms": 3})):
            if f"{part}_{name}" in metrics:
                values = metrics[[step, f"{part}_{name}"]].dropna()
                label = {"train": "training", "val": "validation"}[part]
                ax.plot(values[step], values[f"{part}_{name}"], color=colour, label=label, **line)
        ax.set(xlabel=step, ylabel=name.replace("_", " "))
        ax.legend()
    return fig


@styled
def plot_survival(curves: dict[str, object], frame_interval: float = 1.0, unit: str = "frames", title=None) -> Figure:
    """Share of dwells that last longer than a time, by state, with 90 % bands.

    Parameters
    ----------
    curves : dict of str -> DataFrame
        State -> frames, survival, low, high, as of `main.utils.kinetics.survival`; empty ones are left out.
    frame_interval : float
        Time of a frame, in `unit`.
    unit : str
    title : str, optional
    """
    fig, axes = new_figure(4.6, 3.2, 1, 1)
    ax = axes[0, 0]
    ax.set_title(title or "")
    for colour, (state, curve) in zip(STATE_COLOURS, curves.items(), strict=True):
        if len(curve):
            time = np.concatenate([[0.0], frame_interval * curve["frames"].to_numpy()])
            values = {name: np.concatenate([[1.0], curve[name].to_numpy()]) for name in ("survival", "low", "high")}
            ax.step(time, values["survival"], where="post", color=colour, label=state)
            ax.fill_between(time, values["low"], values["high"], step="post", color=colour, alpha=0.2, lw=0)
    ax.set(xlabel=f"dwell time ({unit})", ylabel="share of dwells that last longer", ylim=(0, 1.02))
    ax.set_xlim(left=0)
    ax.legend(frameon=False)
    return fig


@styled
def plot_distributions(groups: dict[str, object], units: dict[str, str]) -> Figure:
    """Distributions of msd_1, K and alpha over the segments that move, weighted by frames and by tracks.

    Parameters
    ----------
    groups : dict of str -> DataFrame
        Name of a condition or file -> its segments table; at most 8 are drawn.
    units : dict
        Column -> unit, as under "units" in run.json.
    """
    n_groups = len(groups)
    groups = {name: own[own["state"] != 0] for name, own in list(groups.items())[:8]}
    rows = [
        ("msd_1", f"MSD at one frame ({pretty_unit(units['msd_1'])})"),
        ("k", f"K ({pretty_unit(units['k'])})"),
        ("alpha", r"$\alpha$"),
    ]
    fig, axes = new_figure(6.6, 6.4, 3, 2, sharex="row", sharey="row")
    for (column, label), pair in zip(rows, axes, strict=True):
        bins = _bins(pd.concat([own[column] for own in groups.values()]), column != "alpha")
        for ax, by in zip(pair, ("frame", "track"), strict=True):
            for i, (name, own) in enumerate(groups.items()):
                weight = (
                    own["n_frames"]
                    if by == "frame"
                    else own["n_frames"] / own.groupby("track_id")["n_frames"].transform("sum")
                )
                share = np.histogram(own[column], bins, weights=weight / max(weight.sum(), 1e-12))[0]
                ax.stairs(share, bins, color=f"C{i}", label=name)
            ax.set(xlabel=label, ylabel="share of frames" if by == "frame" else "share of tracks")
            if column != "alpha":
                ax.set_xscale("log")
    for ax, by in zip(axes[0], ("frame", "track"), strict=True):
        ax.set_title(f"every {by} counts alike")
    if len(groups) > 1:
        axes[0, 0].legend(fontsize=7, title=f"first 8 of {n_groups}" if n_groups > 8 else None)
    return fig


def _bins(values, log: bool) -> np.ndarray:
    """Edges of 40 bins: of alpha from 0 to 2, else logarithmic over all values."""
    if not log:
        return np.linspace(0, 2, 41)
    low, high = (np.log10(values.min()), np.log10(values.max())) if len(values) else (-1, 1)
    return np.logspace(low - 0.05, high + 0.05, 41)
