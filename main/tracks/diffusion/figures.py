"""Figures of D(t): aging, segments, single tracks, and the benchmark on segmented Brownian motion."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter
from scipy.stats import CensoredData, ecdf

from main.tracks.diffusion.aging import FIT_FIRST, FIT_LAST, PowerLaw
from main.tracks.diffusion.brownian import jaccard_index
from main.utils.plotting import CHANGE_COLOUR, COLOURS, LINE_COLOURS, TRUTH_COLOUR, new_figure, styled

JUMP_EDGES_DECADES = (0.0, 0.15, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 6.0)  # of |log10(D after / D before)|
POSITION_EDGES_FRAMES = np.linspace(9.5, 190.5, 10)  # a changepoint leaves 10 frames on both sides
SHARES_SHOWN = (0.03, 1.1)  # vertical range of `plot_transit_times`


@styled
def plot_aging(laws: dict[float, dict[str, PowerLaw]]) -> Figure:
    """Mean D(t) over tracks and the expected power law, on logarithmic axes; one panel for each anomalous exponent.

    Each curve is divided by a constant, so that it lies on the expected law on average over the range of the fit (mean
    of the logarithm). Bands are 90 % intervals of the mean. The legend gives the fitted exponents.

    Parameters
    ----------
    laws : dict of float -> dict of str -> PowerLaw
        alpha -> method -> its mean D(t) and exponent.
    """
    fig, axes = new_figure(3.1 * len(laws), 3.0, 1, len(laws))
    for ax, (alpha, found) in zip(axes[0], laws.items(), strict=True):
        for colour, (name, law) in zip(cycle(LINE_COLOURS), found.items(), strict=False):
            fitted = (law.time >= FIT_FIRST) & (law.time <= FIT_LAST)
            scale = np.exp(-np.log(law.d * (law.time / FIT_FIRST) ** (1 - alpha))[fitted].mean())
            ax.plot(law.time, scale * law.d, color=colour, label=f"{name}: {law.exponent:.2f}")
            ax.fill_between(law.time, scale * law.low, scale * law.high, color=colour, alpha=0.25, lw=0)
        time = np.array([FIT_FIRST, FIT_LAST])
        expected = (time / FIT_FIRST) ** (alpha - 1)
        ax.plot(time, expected, color=TRUTH_COLOUR, ls="--", label=f"expected: {alpha - 1:.1f}")
        title = rf"$\alpha$ = {alpha:g}, {law.n_tracks:,} tracks"
        ax.set(xscale="log", yscale="log", title=title, xlabel="time since the motion began (frames)")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.legend(fontsize=7, title="exponent of D(t)", title_fontsize=7)
    axes[0, 0].set_ylabel(f"mean D(t) / law at {FIT_FIRST} frames")
    return fig


@styled
def plot_transit_times(found: dict[str, pd.DataFrame], sigma: float, gamma: float, shortest: int) -> Figure:
    """Distributions of D and of residence times of annealed transit-time segments, and the laws of the model.

    Residence times that the end of a track cuts enter as censored values (Kaplan-Meier). Not shown: D below 10^-4 and
    shares below 0.03.

    Parameters
    ----------
    found : dict of str -> pandas.DataFrame
        Name -> segments, as returned by `tabulate_segments`.
    sigma, gamma : float
        Exponents of the model: P(D) ~ D^(sigma - 1), residence time ~ D^-gamma.
    shortest : int
        Residence time at D = 1, frames.
    """
    fig, axes = new_figure(7.6, 3.2, 1, 2)
    left, right = axes[0]
    for colour, (name, table) in zip(cycle((TRUTH_COLOUR, *LINE_COLOURS)), found.items(), strict=False):
        label = f"{name}, {len(table):,} segments"
        below = ecdf(table["d"]).cdf
        left.plot(below.quantiles, below.probabilities, color=colour, label=label)
        frames, whole = table["frames"].to_numpy(float), table["whole"].to_numpy()
        longer = ecdf(CensoredData(uncensored=frames[whole], right=frames[~whole])).sf
        right.step(longer.quantiles, longer.probabilities, where="post", color=colour, label=label)
    d, time = np.array([1e-4, 1.0]), np.array([shortest, 200.0])
    law = {"color": CHANGE_COLOUR, "ls": "--"}
    left.plot(d, d**sigma, label=rf"model: $D^{{{sigma:g}}}$", **law)
    right.plot(time, (time / shortest) ** (-sigma / gamma), label=rf"model: $t^{{-{sigma / gamma:g}}}$", **law)
    left.set(xlim=(1e-4, 2), xlabel="D (length²/frame)", ylabel="share of segments with a smaller D")
    right.set(xlim=(4, 200), xlabel="residence time (frames)", ylabel="share of segments that last longer")
    for ax in axes[0]:
        ax.set(xscale="log", yscale="log", ylim=SHARES_SHOWN)
        ax.legend(fontsize=7)
    return fig


@styled
def plot_single_tracks(examples: dict[str, tuple], unit: str = "length²/frame", dashed: str = "true") -> Figure:
    """D of each step of single tracks, as the network estimates it and, where known, the true D; one track a panel.

    Parameters
    ----------
    examples : dict of str -> (array, array, array or None)
        Title -> frame of each step (T,), its D by the network (NaN: none), and a second D to compare, or None.
    unit : str
        Unit of D.
    dashed : str
        Name of the second D in the legend.
    """
    fig, axes = new_figure(max(2.5 * len(examples), 4.5), 2.6, 1, max(len(examples), 1))
    for ax, (name, (frame, found, true)) in zip(axes[0], examples.items(), strict=False):
        ax.plot(frame, found, color=COLOURS["k"], label="network")
        if true is not None:
            ax.plot(frame, true, color=TRUTH_COLOUR, ls="--", lw=1, label=dashed)
        bottom, top = np.nanmin(found), np.nanmax(found)
        ax.set(yscale="log", ylim=(max(0.2 * bottom, 1e-5 * top), 5 * top), title=name, xlabel="frame")
        ax.legend(fontsize=7, loc="upper right", ncols=2)
    axes[0, 0].set_ylabel(f"D(t) ({unit})")
    return fig


@styled
def plot_relative_errors(errors: dict[str, pd.DataFrame], n_segments: list[int]) -> Figure:
    """Mean relative error of D of each method, and of an estimator at the Cramer-Rao bound; one panel for each table.

    Parameters
    ----------
    errors : dict of str -> pandas.DataFrame
        Label of the horizontal axis -> table as returned by `bin_relative_errors`, its index on that axis.
    n_segments : list of int
        Segments behind each table.
    """
    fig, axes = new_figure(4.2 * len(errors), 3.3, 1, len(errors))
    methods = dict.fromkeys(name for table in errors.values() for name in table.columns.drop("bound"))
    colours = dict(zip(methods, cycle(LINE_COLOURS), strict=False))
    for ax, n, (label, table) in zip(axes[0], n_segments, errors.items(), strict=True):
        for method in table.columns.drop("bound"):
            ax.plot(table.index, table[method], color=colours[method], label=method)
        ax.plot(table.index, table["bound"], color=TRUTH_COLOUR, ls="--", label="Cramér-Rao bound")
        ax.set(xscale="log", yscale="log", xlabel=label, title=f"{n:,} segments")
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
    """Jaccard index of changepoints against the jump of D, against their position, and against their number.

    The first two panels show only tracks with one changepoint. The vertical axes of the last two begin at 0.5.

    Parameters
    ----------
    tables : dict of str -> pandas.DataFrame
        Method -> table as returned by `score_changepoints`, of the same tracks.
    """
    fig, axes = new_figure(9.6, 3.3, 1, 3)
    jump, position, number = axes[0]
    for colour, (name, table) in zip(cycle(LINE_COLOURS), tables.items(), strict=False):
        one = table[table["number"] == 1]
        decades = np.log10(one["ratio"]).abs()
        style = {"ms": 3, "color": colour, "label": name}
        for ax, values, edges in (
            (jump, decades, JUMP_EDGES_DECADES),
            (position, one["position"], POSITION_EDGES_FRAMES),
        ):
            score = jaccard_index(one, pd.cut(values, edges))
            ax.plot([(b.left + b.right) / 2 for b in score.index], score, "o-", **style)
        score = jaccard_index(table, "number")
        number.plot(score.index, score, "o-", **style)
    jump.set(xlabel=r"jump of D, $|\log_{10} D_2/D_1|$ (decades)", ylabel="Jaccard index", ylim=(0, 1.02))
    position.set(xlabel="position of the changepoint (frame)", ylim=(0.5, 1.02))
    number.set(xlabel="changepoints of the track", ylim=(0.5, 1.02), xticks=sorted(score.index))
    for ax in (jump, position):
        ax.set_title(f"{len(one):,} tracks with one changepoint")
    number.set_title(f"{len(table):,} tracks")
    jump.legend(fontsize=7, loc="lower right")
    return fig
