"""Figures of dwell times and of the distributions of msd_1, K and alpha."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from main.tracks.figures import STATE_COLOURS, TRAPPED_GREY
from main.tracks.kinetics.distributions import WEIGHTINGS, count_motion
from main.utils.plotting import new_figure, pretty_unit, styled

MODEL_COLOURS = (
    TRAPPED_GREY,
    "#009E73",
    "#CC79A7",
)  # of the states of a model, none of them that of a label that moves
MODEL_STYLES = ("-", "--", ":")  # of lines, for up to three states
N_CURVE_POINTS = 200
MAX_GROUPS = 8  # conditions or files in one figure; more cannot be told apart


@styled
def plot_survival(
    curves: dict[str, pd.DataFrame],
    mean_dwells: dict[str, float],
    frame_interval: float = 1.0,
    unit: str = "frames",
    title: str | None = None,
) -> Figure:
    """Plot the share of counted dwells that last longer than a time, with 90 % bands, and the exponentials of a model.

    Counted dwells are those of the networks' labels: short ones are missed.

    Parameters
    ----------
    curves : dict of str -> DataFrame
        State -> frames, survival, low, high, as returned by `main.tracks.kinetics.dwells.estimate_survival`. States
        whose table is empty are left out.
    mean_dwells : dict of str -> float
        State of the model -> mean dwell time in `unit`, from the likelihood; may be empty.
    frame_interval : float
        Time from frame to frame, in `unit`.
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
    time = np.linspace(0, ax.get_xlim()[1], N_CURVE_POINTS)
    for style, (state, mean) in zip(MODEL_STYLES, mean_dwells.items(), strict=False):
        ax.plot(time, np.exp(-time / mean), color="k", ls=style, lw=1, label=f"model, {state}: mean {mean:.3g} {unit}")
    ax.set(xlabel=f"dwell time ({unit})", ylabel="share of counted dwells that last longer", ylim=(0, 1.02))
    ax.set_xlim(left=0)
    ax.legend(frameon=False, fontsize=7)
    return fig


@styled
def plot_distributions(groups: dict[str, pd.DataFrame], units: dict[str, str]) -> Figure:
    """Plot the distributions of msd_1, K and alpha over the segments that move.

    In the left column every frame counts alike, in the right column every track.

    Parameters
    ----------
    groups : dict of str -> DataFrame
        Name of a condition or file -> its segments table. The first `MAX_GROUPS` are drawn.
    units : dict
        Column -> unit, as under "units" in run.json.
    """
    names = list(groups)[:MAX_GROUPS]
    segments = pd.concat([groups[name] for name in names], ignore_index=True)
    number = np.repeat(np.arange(len(names)), [len(groups[name]) for name in names])
    labels = {
        "msd_1": f"MSD at one frame ({pretty_unit(units['msd_1'])})",
        "k": f"K ({pretty_unit(units['k'])})",
        "alpha": r"$\alpha$",
    }
    fig, axes = new_figure(6.6, 6.4, 3, 2, sharex="row", sharey="row")
    for pair, (quantity, histogram) in zip(axes, count_motion(segments, number, len(names)).items(), strict=True):
        edges = histogram.edges if quantity == "alpha" else 10**histogram.edges
        for ax, by, sums in zip(pair, WEIGHTINGS, histogram.sums.sum(axis=2), strict=True):
            for i, name in enumerate(names):
                ax.stairs(sums[i] / max(sums[i].sum(), 1e-12), edges, color=f"C{i}", label=name)
            ax.set(xlabel=labels[quantity], ylabel=f"share of moving {by}s")
            if quantity != "alpha":
                ax.set_xscale("log")
    for ax, by in zip(axes[0], WEIGHTINGS, strict=True):
        ax.set_title(f"every {by} counts alike")
    if len(groups) > 1:
        more = f"first {MAX_GROUPS} of {len(groups)}" if len(groups) > MAX_GROUPS else None
        axes[0, 0].legend(fontsize=7, title=more)
    return fig
