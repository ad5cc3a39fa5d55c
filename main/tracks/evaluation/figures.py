"""Figures of errors and scores; their tables come from `main.tracks.evaluation.errors`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from main.tracks.evaluation.errors import binned_mean
from main.tracks.figures import STATE_COLOURS
from main.utils.plotting import CHANGE_COLOUR, COLOURS, new_figure, styled
from simulations.parameters import CONFINED, DIRECTED, FREE, MODELS, STATES

MOVING = (CONFINED, FREE, DIRECTED)

ERRORS = {"mae_log10_k": (COLOURS["k"], "log₁₀K (decades)"), "mae_alpha": (COLOURS["alpha"], "α")}
SCORES = {
    "accuracy": (COLOURS["state"], "state accuracy"),
    "jaccard": ("#444444", "Jaccard index"),
    "found": (CHANGE_COLOUR, "share of changepoints found"),
}


@styled
def plot_heatmap(true, predicted, name: str, limits=None, bins: int = 60) -> Figure:
    """Density of predicted values (vertical) against true values (horizontal), one count per frame.

    The diagonal is dashed; the title gives the mean absolute error (MAE) of all values and their number. Values outside
    the limits are drawn in the outermost bins.

    Parameters
    ----------
    true, predicted : arrays (N,)
        In the same unit.
    name : str
        What is predicted, with its unit: "α" or "log₁₀K (px²/frame^α)".
    limits : (low, high), optional
        Limits of both axes; by default the 0.1-99.9 % range of the true values.

    Raises
    ------
    ValueError
        If there is no value.
    """
    true, predicted = np.asarray(true, dtype=float), np.asarray(predicted, dtype=float)
    if true.size == 0:
        raise ValueError(f"no values of {name}: expected one or more")
    low, high = limits or np.percentile(true, [0.1, 99.9])
    if not high > low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    counts, _, _ = np.histogram2d(np.clip(true, low, high), np.clip(predicted, low, high), bins=[edges, edges])
    fig, axes = new_figure(4.2, 3.5)
    ax = axes[0, 0]
    # histogram2d puts the first argument on rows; an image puts rows on y: hence the transpose
    image = ax.pcolormesh(
        edges,
        edges,
        np.ma.masked_equal(counts.T, 0),
        cmap="viridis",
        norm=LogNorm(1, max(counts.max(), 2)),
        rasterized=True,
    )
    ax.plot([low, high], [low, high], color="black", ls="--", lw=0.8)
    ax.set(xlabel=f"true {name}", ylabel=f"predicted {name}", aspect="equal")
    ax.set_title(f"MAE {np.abs(true - predicted).mean():.3f}, {true.size:,} frames")
    fig.colorbar(image, ax=ax, label="frames", shrink=0.9)
    return fig


@styled
def plot_confusion(counts: np.ndarray) -> Figure:
    """Confusion matrix of states, in per cent of the frames of each true state (row).

    Parameters
    ----------
    counts : array (4, 4)
        Frames by true (row) and predicted (column) state, as returned by `frame_scores`. A row without frames stays
        empty.
    """
    total = counts.sum(1, keepdims=True)
    share = 100 * np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    fig, axes = new_figure(4.0, 3.4)
    ax = axes[0, 0]
    ax.imshow(np.nan_to_num(share), cmap="Purples", vmin=0, vmax=100)
    for row, column in np.ndindex(share.shape):
        if np.isfinite(share[row, column]):
            colour = "white" if share[row, column] > 55 else "black"
            ax.text(column, row, f"{share[row, column]:.0f}", ha="center", va="center", color=colour)
    ax.set_xticks(range(len(STATES)), STATES)
    ax.set_yticks(range(len(STATES)), [f"{s}\n{n:,}" for s, n in zip(STATES, total[:, 0], strict=True)])
    ax.set(xlabel="predicted state", ylabel="true state (frames)")
    ax.set_title(f"% of each true state; accuracy {100 * np.trace(counts) / counts.sum():.1f} %")
    ax.spines[:].set_visible(False)
    return fig


def _draw_binned(ax, table: pd.DataFrame, x: str, columns: dict, edges) -> None:
    for column, (colour, label) in columns.items():
        binned = binned_mean(table[x], table[column], edges)
        if len(binned):
            bars = {"yerr": 1.96 * binned["sem"].fillna(0), "capsize": 2}
            ax.errorbar(binned["x"], binned["mean"], color=colour, marker="o", ms=3.5, label=label, **bars)
    ax.legend()


@styled
def plot_against(
    table: pd.DataFrame, x: str, edges, xlabel: str, scores=("accuracy", "jaccard"), rows: str = "tracks"
) -> Figure:
    """Means in bins of a quantity, with 95 % intervals: errors of K and alpha on the left, scores on the right.

    Intervals are 1.96 standard errors of the mean; a bin with a single row has none. Rows outside the edges or without
    a value are left out; the title counts the rows with a value of the quantity. Where neither K nor alpha was
    predicted, there is only the panel of the scores.

    Parameters
    ----------
    table : DataFrame
        Column `x`, the columns of ERRORS and those named in `scores`; a column of nan is left out.
    x : str
        Column on the horizontal axis.
    edges : array (M + 1,)
        Bin edges of `x`.
    xlabel : str
        Name of `x` with its unit.
    scores : sequence of str
        Keys of SCORES.
    rows : str
        What a row of the table is, for the title.
    """
    errors = {name: style for name, style in ERRORS.items() if table[name].notna().any()}
    fig, axes = new_figure(6.6, 2.9, 1, 2) if errors else new_figure(3.6, 2.9)
    axes[0, -1].set(xlabel=xlabel, ylabel="score (0 to 1)", ylim=(0, 1.03))
    _draw_binned(axes[0, -1], table, x, {name: SCORES[name] for name in scores}, edges)
    if errors:
        axes[0, 0].set(xlabel=xlabel, ylabel="mean absolute error")
        _draw_binned(axes[0, 0], table, x, errors, edges)
        axes[0, 0].set_ylim(0, None)
    fig.suptitle(f"{table[x].between(edges[0], edges[-1]).sum():,} {rows}", fontsize=9)
    return fig


def plot_against_length(tracks: pd.DataFrame) -> Figure:
    """Errors and scores of tracks against their length in frames; `tracks` as returned by `evaluate_tracks`."""
    edges = np.unique(np.linspace(tracks["n_frames"].min(), tracks["n_frames"].max() + 1, 9).astype(int))
    return plot_against(tracks, "n_frames", edges, "track length (frames)")


def plot_against_n_changepoints(tracks: pd.DataFrame, most: int = 6) -> Figure:
    """Errors and scores of tracks against their number of true changepoints; `most` or more share one bin."""
    table = tracks.assign(n_changepoints=tracks["n_changepoints"].clip(upper=most))
    fig = plot_against(table, "n_changepoints", np.arange(most + 2) - 0.5, "true changepoints of the track")
    for ax in fig.axes:
        ax.set_xticks(range(most + 1), [*map(str, range(most)), f"{most}+"])
    return fig


def plot_against_position(changes: pd.DataFrame) -> Figure:
    """Errors of the track, and scores, against the position of a true changepoint (share of its track, 0 to 1).

    Parameters
    ----------
    changes : DataFrame
        One row per true changepoint, as returned by `evaluate_tracks`.
    """
    label = "changepoint position (share of track)"
    return plot_against(changes, "position", np.linspace(0, 1, 11), label, ("jaccard", "found"), "true changepoints")


def plot_against_change(changes: pd.DataFrame, by: str = "delta_alpha") -> Figure:
    """Errors of the track, and scores, against the size of a true changepoint.

    Changepoints next to a trapped segment have no size and are left out.

    Parameters
    ----------
    changes : DataFrame
        One row per true changepoint, as returned by `evaluate_tracks`.
    by : {"delta_alpha", "delta_log10_k"}
        Change of alpha, or of log10 K (decades).
    """
    edges, label = {
        "delta_alpha": (np.linspace(0, 2, 9), "|Δα| at changepoint"),
        "delta_log10_k": (np.linspace(0, 4, 9), "|Δlog₁₀K| at changepoint (decades)"),
    }[by]
    return plot_against(changes, by, edges, label, ("jaccard", "found"), "true changepoints")


def _draw_bars(ax, groups, column: str, colour):
    means, errors = groups[column].mean(), 1.96 * groups[column].sem().fillna(0)
    ax.barh(range(len(means)), means, xerr=errors, color=colour, height=0.65, error_kw={"lw": 1})
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.tick_params(left=False)


@styled
def plot_by_model(tracks: pd.DataFrame) -> Figure:
    """Errors of K and alpha, state accuracy and Jaccard index of each simulated model, with 95 % intervals.

    Means over the tracks of a model; intervals are 1.96 standard errors. Quantities that no track has are left out.

    Parameters
    ----------
    tracks : DataFrame
        As returned by `evaluate_tracks`.
    """
    present = [m for m in MODELS if m in set(tracks["model"])]
    groups = tracks.assign(model=pd.Categorical(tracks["model"], present)).groupby("model", observed=False)
    panels = ERRORS | {name: SCORES[name] for name in ("accuracy", "jaccard")}
    panels = {name: style for name, style in panels.items() if tracks[name].notna().any()}
    fig, axes = new_figure(1.4 + 1.7 * len(panels), 0.36 * len(present) + 0.9, 1, len(panels), sharey=True)
    for ax, (column, (colour, label)) in zip(axes[0], panels.items(), strict=True):
        _draw_bars(ax, groups, column, colour)
        ax.set_xlabel(f"MAE of {label}" if column in ERRORS else label)
        if column in SCORES:
            ax.set_xlim(0, 1)
    sizes = groups.size()
    axes[0, 0].set_yticks(range(len(present)), [f"{m.replace('_', ' ')} ({sizes[m]})" for m in present])
    axes[0, 0].set_ylabel("model (tracks)")
    axes[0, 0].invert_yaxis()
    return fig


@styled
def plot_by_state(frames: dict[str, np.ndarray]) -> Figure:
    """Mean absolute error (MAE) of log10 K and alpha over the frames of each true state.

    Trapped frames are left out: K and alpha are 0 there by definition.

    Parameters
    ----------
    frames : dict of str -> numpy.ndarray
        As returned by `moving_frames`.
    """
    state = np.asarray(frames["true_state"])
    fig, axes = new_figure(5.2, 2.3, 1, 2, sharey=True)
    for ax, name in zip(axes[0], ("log10_k", "alpha"), strict=True):
        error = np.abs(frames[name] - frames[f"true_{name}"])
        means = [error[state == s].mean() if (state == s).any() else 0.0 for s in MOVING]
        ax.barh(range(3), means, color=STATE_COLOURS[1:], height=0.65)
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.set_xlabel(f"MAE of {ERRORS[f'mae_{name}'][1]}")
    axes[0, 0].set_yticks(range(3), [f"{STATES[s]}\n{(state == s).sum():,}" for s in MOVING])
    axes[0, 0].set_ylabel("true state (frames)")
    axes[0, 0].invert_yaxis()
    return fig
