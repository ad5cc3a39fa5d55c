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
from matplotlib.figure import Figure

COLOURS = {"k": "#1B9E77", "alpha": "#E69F00", "state": "#9970AB"}
CHANGE_COLOUR = "#B2182B"
TRUTH_COLOUR = "#222222"
LINE_COLOURS = (*COLOURS.values(), "#0072B2", CHANGE_COLOUR, "#999999", "#CC79A7")  # of methods side by side
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
