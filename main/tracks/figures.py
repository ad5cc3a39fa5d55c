"""Figures of tracks: maps, and K, alpha and state of one track over time."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from main.tracks.inference.segments import true_changepoints
from main.tracks.results.display_units import convert_points, name_length_unit
from main.tracks.results.folder import FIGURES, add_to_results, claim_results, explain_write_errors, read_tables
from main.tracks.results.tables import PROBABILITIES
from main.utils.plotting import (
    CHANGE_COLOUR,
    COLOURS,
    TRUTH_COLOUR,
    add_scale_bar,
    new_figure,
    pretty_unit,
    save,
    styled,
)
from simulations.parameters import STATES

STATE_COLOURS = ("#4D4D4D", "#0072B2", "#6CB8E6", "#D55E00")  # in the order of STATES
TRAPPED_GREY = STATE_COLOURS[0]
K_UNIT = "px^2/frame^alpha"


def plot_results(points: pd.DataFrame, segments: pd.DataFrame, record: dict) -> dict[str, Figure]:
    """Plot maps of the tracks by state, K and alpha, and the track with most segments over time.

    Parameters
    ----------
    points, segments : DataFrame
        Tables of one file, as `infer.py` writes them.
    record : dict
        Contents of run.json. Lengths are in um and times in s where it holds the pixel size and the frame interval.

    Returns
    -------
    dict of str -> Figure
        By file name without suffix. Empty if no track was long enough to analyse.
    """
    if points.empty:
        return {}
    k_unit, unit = record["units"]["k"], name_length_unit(record)
    points = convert_points(points, record)
    maps = {f"tracks_{by}": plot_tracks(points, by, unit, k_unit) for by in ("state", "k", "alpha")}
    track_id = segments.groupby("track_id").size().idxmax()
    intervals = {given["path"]: given["frame_interval_s"] for given in record["inputs"]}
    interval = intervals[points["file"].iloc[0]] if "file" in points else next(iter(intervals.values()))
    return maps | {"track_over_time": plot_result_track(points, segments, track_id, k_unit, interval)}


def plot_result_track(
    points: pd.DataFrame, segments: pd.DataFrame, track_id: int, k_unit: str, frame_interval_s: float | None = None
) -> Figure:
    """Plot the points and segments of one track over time; K (in `k_unit`) and alpha are blank where trapped."""
    track_points = points[points["track_id"] == track_id].sort_values("frame")
    track_segments = segments[segments["track_id"] == track_id].sort_values("frame_start")
    moving = track_points["k"] > 0
    prediction = SimpleNamespace(
        log10_k=np.log10(track_points["k"].where(moving).to_numpy()),
        alpha=track_points["alpha"].where(moving).to_numpy(),
        state_probs=track_points[list(PROBABILITIES)].to_numpy(),
        p_change=track_points["p_change"].to_numpy(),
    )
    spans = track_segments.assign(start=track_segments["frame_start"], end=track_segments["frame_end"] + 1).itertuples()
    changepoints = track_segments["frame_start"].to_numpy()[1:]
    return plot_track_over_time(
        prediction,
        changepoints,
        segments=spans,
        frames=track_points["frame"].to_numpy(),
        k_unit=k_unit,
        frame_interval_s=frame_interval_s,
    )


def draw_results(folder: str | Path) -> list[Path]:
    """Draw the figures of every file of a results folder, and save them in its subfolder `figures`.

    Parameters
    ----------
    folder : path
        Folder that `infer.py` wrote.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        If the folder holds no results, is in use by another process or cannot be written.
    """
    folder = Path(folder)
    with claim_results(folder) as (record, temporary):
        points, segments, _ = read_tables(folder)
        parts = [(points, segments, "")]
        if "file" in points:
            by_file = enumerate(points.groupby("file", sort=False))
            parts = ((part, segments[segments["file"] == file], f"_{i}") for i, (file, part) in by_file)
        written = []
        with explain_write_errors(folder):
            for file_points, file_segments, ending in parts:
                for name, figure in plot_results(file_points, file_segments, record).items():
                    written.append(save(figure, name + ending, temporary / FIGURES))
        add_to_results(folder, temporary, record, [f"{FIGURES}/track{each}" for each in ("s_*", "_over_time*")])
    return [folder / path.relative_to(temporary) for path in written]


def step_values(values: np.ndarray) -> np.ndarray:
    """Values of the T-1 lines between T frames: a line has the value of the frame where it begins."""
    return np.asarray(values)[:-1]


def track_lines(ax, tracks, cmap, norm) -> LineCollection:
    """Draw tracks with a colour for each frame.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    tracks : list of (xy (T, 2), values (T,))
        Positions, and the value that sets the colour of each frame; nan has the colour map's colour for missing values.
    cmap, norm
        As returned by `colour_scale`.
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
    """Choose the colour map and its range for a quantity; what has no value (trapped) is grey.

    Parameters
    ----------
    by : {"k", "alpha", "state"}
        K has a logarithmic scale from its 2 % to its 98 % quantile, alpha a linear one from 0 to 2.
    values : numpy.ndarray
        Values of K.

    Raises
    ------
    ValueError
        If `by` is none of these.
    """
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
    """Add a legend of the four states' colours to a figure or to axes."""
    handles = [
        Line2D([], [], color=colour, lw=3, label=state) for colour, state in zip(STATE_COLOURS, STATES, strict=True)
    ]
    return target.legend(handles=handles, **options)


@styled
def plot_tracks(points: pd.DataFrame, by: str = "state", unit: str = "px", k_unit: str = K_UNIT) -> Figure:
    """Plot a map of tracks with a scale bar; each frame has the colour of its K, alpha or state.

    Parameters
    ----------
    points : DataFrame
        Columns track_id, frame, x, y (in `unit`), k (in `k_unit`), alpha, state; as in points.parquet. Frames
        that were not analysed are grey, and trapped frames too, because they have no K and no alpha.
    by : {"state", "k", "alpha"}

    Raises
    ------
    ValueError
        If no track has two frames, or if `by` is unknown.
    """
    values = points[by].to_numpy(dtype=float)
    if by != "state":
        values = np.where(values > 0, values, np.nan)
    table = points.assign(_value=values).sort_values(["track_id", "frame"])
    tracks = [(g[["x", "y"]].to_numpy(), g["_value"].to_numpy()) for _, g in table.groupby("track_id") if len(g) > 1]
    if not tracks:
        raise ValueError("no track has two or more frames")
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


def _mark_changepoints(ax, times, **options):
    for time in times:
        ax.axvline(time, **options)


@styled
def plot_track_over_time(
    prediction,
    changepoints,
    truth=None,
    segments=None,
    frames=None,
    k_unit: str = K_UNIT,
    frame_interval_s: float | None = None,
) -> Figure:
    """Plot K, alpha and state of one track over time, with predicted and true changepoints.

    Parameters
    ----------
    prediction : object with log10_k (T,), alpha (T,), state_probs (T, 4), p_change (T,)
        K in `k_unit`, as returned by `main.tracks.inference.predictor.Predictor.predict`.
    changepoints : sequence of int
        Predicted first frames of new segments; dashed lines.
    truth : mapping, optional
        k (T,), alpha (T,), state (T,); black lines, blank where trapped. Its changepoints are dotted lines.
    segments : sequence of mapping, optional
        start, end (exclusive), k, alpha of each predicted segment, drawn thick.
    frames : array (T,), optional
        Frame number of each prediction, by default 0 to T-1. Changepoints and segments use the same numbers.
    frame_interval_s : float, optional
        Seconds between frames; without it time is shown in frames.
    """
    fig, axes = new_figure(6.4, 5.2, 4, 1, sharex=True, height_ratios=[1, 1, 0.8, 0.6])
    axes = axes[:, 0]
    dt = frame_interval_s or 1.0
    times = dt * (np.arange(len(prediction.alpha)) if frames is None else np.asarray(frames))
    axes[0].semilogy(times, 10.0 ** np.asarray(prediction.log10_k), color=COLOURS["k"])
    axes[1].plot(times, prediction.alpha, color=COLOURS["alpha"])
    axes[2].stackplot(times, np.asarray(prediction.state_probs).T, colors=STATE_COLOURS, alpha=0.85)
    axes[3].plot(times, prediction.p_change, color=CHANGE_COLOUR)
    for segment in segments or ():
        if segment.k > 0:
            span = [dt * (segment.start - 0.5), dt * (segment.end - 0.5)]
            axes[0].plot(span, [segment.k] * 2, color=COLOURS["k"], lw=4, alpha=0.45, solid_capstyle="butt")
            axes[1].plot(span, [segment.alpha] * 2, color=COLOURS["alpha"], lw=4, alpha=0.45, solid_capstyle="butt")
    if truth is not None:
        _draw_truth(axes, times, truth)
    for ax in axes:
        _mark_changepoints(ax, dt * np.asarray(changepoints), color=CHANGE_COLOUR, ls="--", lw=1)
    for ax, label in zip(axes, (f"K ({pretty_unit(k_unit)})", "α", "P(state)", "P(change)"), strict=True):
        ax.set_ylabel(label)
    low, high = axes[0].get_ylim()
    widen = max(1.0, 10 / (high / low)) ** 0.5  # at least a decade of K, or small scatter fills the panel
    axes[0].set_ylim(low / widen, high * widen)
    axes[1].set_ylim(-0.05, 2.05)
    axes[2].set_ylim(0, 1)
    axes[3].set_ylim(0, 1.02)
    label = "frame" if frame_interval_s is None else "time (s)"
    axes[3].set(xlabel=label, xlim=(times[0] - 0.5 * dt, times[-1] + 0.5 * dt))
    fig.align_ylabels()
    _time_legend(fig, truth is not None, segments is not None)
    return fig


def _draw_truth(axes, times, truth):
    state = np.asarray(truth["state"])
    moving = state != 0
    for ax, name in ((axes[0], "k"), (axes[1], "alpha")):
        ax.step(times, np.where(moving, truth[name], np.nan), where="mid", color=TRUTH_COLOUR, lw=1)
    axes[2].scatter(
        times, np.full(len(times), 1.06), c=np.asarray(STATE_COLOURS)[state], marker="s", s=9, clip_on=False
    )
    _mark_changepoints(axes[3], times[true_changepoints(truth)], color=TRUTH_COLOUR, ls=":", lw=1.6)


def _time_legend(fig, with_truth: bool, with_segments: bool):
    lines = [
        ("predicted change", CHANGE_COLOUR, "--", 1),
        ("segment value", COLOURS["k"] if with_segments else "none", "-", 4),
        ("truth", TRUTH_COLOUR if with_truth else "none", "-", 1),
        ("true change", TRUTH_COLOUR if with_truth else "none", ":", 1.6),
    ]
    handles = []  # the legend fills one column after the other: a line and a state in each
    for (label, colour, style, width), name, state in zip(lines, STATES, STATE_COLOURS, strict=True):
        shown = label if colour != "none" else " "
        handles += [Line2D([], [], color=colour, ls=style, lw=width, label=shown)]
        handles += [Line2D([], [], color=state, lw=5, label=name)]
    fig.legend(handles=handles, loc="outside upper center", ncols=4, handlelength=1.6)


@styled
def plot_example_tracks(examples: dict[str, list], unit: str = "px") -> Figure:
    """Plot tracks of each model in one panel, with the colours of their true states and a scale bar for each panel.

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
