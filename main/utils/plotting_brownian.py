"""Figures of the benchmark on segmented Brownian motion."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from main.utils.brownian_benchmark import jaccard_of
from main.utils.plotting import LINE_COLOURS, TRUTH_COLOUR, new_figure, styled

RATIOS = (0.0, 0.15, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 6.0)  # |log10| of the ratio of D
POSITIONS = np.linspace(9.5, 190.5, 10)  # frames


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
