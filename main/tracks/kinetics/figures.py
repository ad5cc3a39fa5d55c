"""Figures of dwell times and of the distributions of K and alpha."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from main.tracks.figures import STATE_COLOURS
from main.utils.plotting import new_figure, pretty_unit, styled


@styled
def plot_survival(curves: dict[str, object], frame_interval: float = 1.0, unit: str = "frames", title=None) -> Figure:
    """Share of dwells that last longer than a time, by state, with 90 % bands.

    Parameters
    ----------
    curves : dict of str -> DataFrame
        State -> frames, survival, low, high, as of `main.tracks.kinetics.dwells.survival`; empty ones are left out.
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
