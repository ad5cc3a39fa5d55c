"""Figures of D(t)."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter
from scipy.stats import CensoredData, ecdf

from main.tracks.diffusion.aging import FIRST, LAST, PowerLaw
from main.tracks.diffusion.brownian import jaccard_of
from main.utils.plotting import CHANGE_COLOUR, COLOURS, LINE_COLOURS, TRUTH_COLOUR, new_figure, styled

RATIOS = (0.0, 0.15, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 6.0)  # |log10| of the ratio of D
POSITIONS = np.linspace(9.5, 190.5, 10)  # frames


@styled
def plot_aging(laws: dict[float, dict[str, PowerLaw]]) -> Figure:
    """Mean D(t) over tracks, log-log, beside the power law that is expected; one panel for each exponent.

    Each is scaled to lie on the expected law in the mean of its logarithm over the fit.

    Parameters
    ----------
    laws : dict of float -> dict of str -> PowerLaw
        alpha -> method -> what it found.
    """
    fig, axes = new_figure(3.1 * len(laws), 3.0, 1, len(laws))
    for ax, (alpha, found) in zip(axes[0], laws.items(), strict=True):
        for colour, (name, law) in zip(cycle(LINE_COLOURS), found.items(), strict=False):
            fitted = (law.time >= FIRST) & (law.time <= LAST)
            scale = np.exp(-np.log(law.d * (law.time / FIRST) ** (1 - alpha))[fitted].mean())
            ax.plot(law.time, scale * law.d, color=colour, label=f"{name}: {law.exponent:.2f}")
            ax.fill_between(law.time, scale * law.low, scale * law.high, color=colour, alpha=0.25, lw=0)
        time = np.array([FIRST, LAST])
        ax.plot(time, (time / FIRST) ** (alpha - 1), color=TRUTH_COLOUR, ls="--", label=f"expected: {alpha - 1:.1f}")
        ax.set(xscale="log", yscale="log", title=rf"$\alpha$ = {alpha:g}", xlabel="time (frames)")
        ax.legend(fontsize=7)
    axes[0, 0].set_ylabel(f"D(t), scaled (law at {FIRST} frames: 1)")
    return fig


@styled
def plot_transit_times(found: dict[str, pd.DataFrame], sigma: float, gamma: float, shortest: int) -> Figure:
    """D and residence times of the segments of annealed transit times, beside the laws of the model.

    Parameters
    ----------
    found : dict of str -> pandas.DataFrame
        Name -> `segments_in_time`.
    sigma, gamma : float
        Exponents of the model.
    shortest : int
        Frames of a segment of D = 1.
    """
    fig, axes = new_figure(7.6, 3.2, 1, 2)
    for colour, (name, table) in zip(cycle((TRUTH_COLOUR, *LINE_COLOURS)), found.items(), strict=False):
        below = ecdf(table["d"]).cdf
        axes[0, 0].plot(below.quantiles, below.probabilities, color=colour, label=name)
        frames, whole = table["frames"].to_numpy(float), table["whole"].to_numpy()
        longer = ecdf(CensoredData(uncensored=frames[whole], right=frames[~whole])).sf
        axes[0, 1].step(longer.quantiles, longer.probabilities, where="post", color=colour, label=name)
    d, time = np.array([1e-4, 1.0]), np.array([shortest, 200.0])
    axes[0, 0].plot(d, d**sigma, color=CHANGE_COLOUR, ls="--", label=rf"$D^{{{sigma:g}}}$")
    axes[0, 1].plot(
        time, (time / shortest) ** (-sigma / gamma), color=CHANGE_COLOUR, ls="--", label=rf"$t^{{-{sigma / gamma:g}}}$"
    )
    axes[0, 0].set(
        xscale="log",
        yscale="log",
        xlim=(1e-4, 2),
        ylim=(0.03, 1.1),
        xlabel="D (length²/frame)",
        ylabel="share of segments with less",
    )
    axes[0, 1].set(
        xscale="log",
        yscale="log",
        xlim=(4, 200),
        ylim=(0.03, 1.1),
        xlabel="residence time (frames)",
        ylabel="share of segments that last longer",
    )
    for ax in axes[0]:
        ax.legend(fontsize=7)
    return fig


@styled
def plot_single_tracks(examples: dict[str, tuple], unit: str = "length²/frame", dashed: str = "true") -> Figure:
    """D of each step of single tracks, as the network reads it and as it is.

    Parameters
    ----------
    examples : dict of str -> (array, array, array or None)
        Title -> frame of each step (T,), its D by the network (NaN: none), and its true D where it has one.
    unit : str
        Of D.
    dashed : str
        Label of the third.
    """
    fig, axes = new_figure(max(2.5 * len(examples), 4.5), 2.6, 1, max(len(examples), 1))
    for ax, (name, (frame, found, true)) in zip(axes[0], examples.items(), strict=False):
        ax.plot(frame, found, color=COLOURS["k"], label="network")
        if true is not None:
            ax.plot(frame, true, color=TRUTH_COLOUR, ls="--", lw=1, label=dashed)
        bottom, top = np.nanmin(found), np.nanmax(found)
        ax.set(yscale="log", ylim=(max(0.2 * bottom, 1e-5 * top), 5 * top), title=name, xlabel="frame")
        ax.legend(fontsize=7, loc="lower left")
    axes[0, 0].set_ylabel(f"D(t) ({unit})")
    return fig


@styled
def plot_relative_errors(errors: dict[str, pd.DataFrame]) -> Figure:
    """Mean relative error of D, each method a line, beside the Cramér-Rao bound; one panel for each table.

    Parameters
    ----------
    errors : dict of str -> pandas.DataFrame
        Name of the horizontal axis -> `relative_errors`, its index on that axis.
    """
    fig, axes = new_figure(4.2 * len(errors), 3.3, 1, len(errors))
    methods = dict.fromkeys(name for table in errors.values() for name in table.columns.drop("bound"))
    colours = dict(zip(methods, cycle(LINE_COLOURS), strict=False))
    for ax, (name, table) in zip(axes[0], errors.items(), strict=True):
        for method in table.columns.drop("bound"):
            ax.plot(table.index, table[method], color=colours[method], label=method)
        ax.plot(table.index, table["bound"], color=TRUTH_COLOUR, ls="--", label="Cramér-Rao bound")
        ax.set(xscale="log", yscale="log", xlabel=name)
        ax.set_yticks([0.05, 0.1, 0.2, 0.5, 1, 2])
        ax.set_ylim(0.8 * table.min().min(), 1.2 * table.max().max())
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.legend(fontsize=7)
    axes[0, 0].set_xticks([10, 20, 50, 100, 200], minor=False)
    axes[0, 0].xaxis.set_major_formatter(ScalarFormatter())
    axes[0, 0].xaxis.set_minor_formatter(NullFormatter())
    axes[0, 0].set_ylabel(r"mean $|\hat D - D|\,/\,D$")
    return fig


@styled
def plot_changepoints(tables: dict[str, pd.DataFrame]) -> Figure:
    """Jaccard index of changepoints against the ratio of D and the position (tracks of one), and against their number.

    Parameters
    ----------
    tables : dict of str -> pandas.DataFrame
        Method -> `changepoint_table` of the same tracks.
    """
    fig, axes = new_figure(9.6, 3.1, 1, 3)
    for colour, (name, table) in zip(cycle(LINE_COLOURS), tables.items(), strict=False):
        one = table[table["number"] == 1]
        decades = np.log10(one["ratio"]).abs()
        for ax, values, edges in ((axes[0, 0], decades, RATIOS), (axes[0, 1], one["position"], POSITIONS)):
            score = jaccard_of(one, pd.cut(values, edges))
            ax.plot([(b.left + b.right) / 2 for b in score.index], score, "o-", ms=3, color=colour, label=name)
        score = jaccard_of(table, "number")
        axes[0, 2].plot(score.index, score, "o-", ms=3, color=colour)
    axes[0, 0].set(xlabel=r"jump of D, $|\log_{10} D_2/D_1|$", ylabel="Jaccard index", ylim=(0, 1.02))
    axes[0, 1].set(xlabel="position of the changepoint (frame)", ylim=(0.5, 1.02))
    axes[0, 2].set(xlabel="changepoints of the track", ylim=(0.5, 1.02), xticks=sorted(score.index))
    axes[0, 0].legend(fontsize=7, loc="lower right")
    return fig
