"""Figures of errors and scores. Their tables come from `main.tracks.evaluation.errors.evaluate_tracks`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from main.tracks.evaluation.errors import binned_mean
from main.tracks.figures import STATE_COLOURS
from main.utils.plotting import CHANGE_COLOUR, COLOURS, new_figure, styled
from simulations.parameters import MODELS, STATES

ERRORS = {"mae_log10_k": (COLOURS["k"], "MAE log₁₀K"), "mae_alpha": (COLOURS["alpha"], "MAE α")}
SCORES = {
    "accuracy": (COLOURS["state"], "state accuracy"),
    "jaccard": ("#444444", "Jaccard"),
    "found": (CHANGE_COLOUR, "changepoints found"),
}


@styled
def plot_heatmap(true, predicted, name: str, limits=None, bins: int = 60) -> Figure:
    """Density of predicted against true values: truth on x, prediction on y, the diagonal dashed.

    Parameters
    ----------
    true, predicted : arrays (N,)
        In the same unit.
    name : str
        What is predicted, with its unit: "α" or "log₁₀K".
    limits : (low, high), optional
        Of both axes; by default the 0.1-99.9 % range of the truth.
    """
    true, predicted = np.asarray(true, dtype=float), np.asarray(predicted, dtype=float)
    if true.size == 0:
        raise ValueError(f"no value of {name} to draw")
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
    """Confusion matrix of states in per cent of each row.

    Parameters
    ----------
    counts : array (4, 4)
        Frames by true (row) and predicted (column) state, as `metrics.frame_scores` gives them.
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
    ax.set_title(f"% of true state; accuracy {100 * np.trace(counts) / counts.sum():.1f} %")
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
def plot_against(table: pd.DataFrame, x: str, edges, xlabel: str, scores=("accuracy", "jaccard")) -> Figure:
    """Binned means with 95 % intervals: errors of K and alpha on the left, scores on the right.

    Parameters
    ----------
    table : DataFrame
        Column `x`, the columns of ERRORS and those named in `scores`; a column of nan is left out.
    edges : array (M + 1,)
        Bin edges of `x`.
    scores : sequence of str
        Keys of SCORES.
    """
    fig, axes = new_figure(6.6, 2.8, 1, 2)
    left, right = axes[0]
    left.set(xlabel=xlabel, ylabel="mean absolute error")
    right.set(xlabel=xlabel, ylabel="score", ylim=(0, 1.03))
    _draw_binned(left, table, x, ERRORS, edges)
    _draw_binned(right, table, x, {name: SCORES[name] for name in scores}, edges)
    left.set_ylim(0, None)
    return fig


def plot_against_length(tracks: pd.DataFrame) -> Figure:
    """MAE of log10 K and alpha, state accuracy and Jaccard against the length of a track (frames)."""
    edges = np.unique(np.linspace(tracks["n_frames"].min(), tracks["n_frames"].max() + 1, 9).astype(int))
    return plot_against(tracks, "n_frames", edges, "track length (frames)")


def plot_against_n_changepoints(tracks: pd.DataFrame, most: int = 6) -> Figure:
    """MAE, accuracy and Jaccard against the number of true changepoints; `most` or more are one bin."""
    table = tracks.assign(n_changepoints=tracks["n_changepoints"].clip(upper=most))
    fig = plot_against(table, "n_changepoints", np.arange(most + 2) - 0.5, "true changepoints")
    for ax in fig.axes:
        ax.set_xticks(range(most + 1), [*map(str, range(most)), f"{most}+"])
    return fig


def plot_against_position(changes: pd.DataFrame) -> Figure:
    """MAE, Jaccard and share of changepoints found against the changepoint's place in its track (0 to 1)."""
    return plot_against(
        changes,
        "position",
        np.linspace(0, 1, 11),
        "changepoint position (share of track)",
        ("jaccard", "found"),
    )


def plot_against_change(changes: pd.DataFrame, by: str = "delta_alpha") -> Figure:
    """MAE, Jaccard and share found against the size of the change, "delta_alpha" or "delta_log10_k"."""
    edges, label = {
        "delta_alpha": (np.linspace(0, 2, 9), "|Δα| at changepoint"),
        "delta_log10_k": (np.linspace(0, 4, 9), "|Δlog₁₀K| at changepoint (decades)"),
    }[by]
    return plot_against(changes, by, edges, label, ("jaccard", "found"))


def _bars(ax, groups, column: str, colour):
    means, errors = groups[column].mean(), 1.96 * groups[column].sem().fillna(0)
    ax.barh(range(len(means)), means, xerr=errors, color=colour, height=0.65, error_kw={"lw": 1})
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.tick_params(left=False)


@styled
def plot_by_model(tracks: pd.DataFrame) -> Figure:
    """MAE of log10 K and alpha, state accuracy and Jaccard of each model, with 95 % intervals."""
    present = [m for m in MODELS if m in set(tracks["model"])]
    groups = tracks.assign(model=pd.Categorical(tracks["model"], present)).groupby("model", observed=False)
    panels = ERRORS | {name: SCORES[name] for name in ("accuracy", "jaccard")}
    panels = {name: style for name, style in panels.items() if tracks[name].notna().any()}
    fig, axes = new_figure(1.4 + 1.7 * len(panels), 0.36 * len(present) + 0.9, 1, len(panels), sharey=True)
    for ax, (column, (colour, label)) in zip(axes[0], panels.items(), strict=True):
        _bars(ax, groups, column, colour)
        ax.set_xlabel(label)
        if column in SCORES:
            ax.set_xlim(0, 1)
    sizes = groups.size()
    axes[0, 0].set_yticks(range(len(present)), [f"{m.replace('_', ' ')} ({sizes[m]})" for m in present])
    axes[0, 0].invert_yaxis()
    return fig


@styled
def plot_by_state(frames: dict[str, np.ndarray]) -> Figure:
    """MAE of log10 K and alpha of the frames of each true state; `frames` as of `evaluation.moving_frames`.

    Trapped frames have no K and alpha of their own and are left out.
    """
    state = np.asarray(frames["true_state"])
    fig, axes = new_figure(5.2, 2.1, 1, 2, sharey=True)
    for ax, name, label in zip(axes[0], ("log10_k", "alpha"), ("MAE log₁₀K", "MAE α"), strict=True):
        error = np.abs(frames[name] - frames[f"true_{name}"])
        means = [error[state == s].mean() if (state == s).any() else 0.0 for s in (1, 2, 3)]
        ax.barh(range(3), means, color=STATE_COLOURS[1:], height=0.65)
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.set_xlabel(label)
    axes[0, 0].set_yticks(range(3), STATES[1:])
    axes[0, 0].invert_yaxis()
    return fig
