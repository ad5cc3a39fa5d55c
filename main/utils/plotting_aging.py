"""Figures of D(t)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from main.utils.aging import FIRST, LAST, PowerLaw
from main.utils.plotting import COLOURS, TRUTH_COLOUR, new_figure, styled


@styled
def plot_aging(laws: dict[float, dict[str, PowerLaw]]) -> Figure:
    """Mean D(t) over tracks, log-log, beside the power law that is expected; one panel for each exponent.

    Parameters
    ----------
    laws : dict of float -> dict of str -> PowerLaw
        alpha -> method -> what it found.
    """
    fig, axes = new_figure(3.1 * len(laws), 3.0, 1, len(laws))
    colours = (COLOURS["k"], COLOURS["alpha"], COLOURS["state"])
    for ax, (alpha, found) in zip(axes[0], laws.items(), strict=True):
        for colour, (name, law) in zip(colours, found.items(), strict=False):
            scale = 1 / np.interp(FIRST, law.time, law.d)
            ax.plot(law.time, scale * law.d, color=colour, label=f"{name}: {law.exponent:.2f}")
            ax.fill_between(law.time, scale * law.low, scale * law.high, color=colour, alpha=0.25, lw=0)
        time = np.array([FIRST, LAST])
        ax.plot(time, (time / FIRST) ** (alpha - 1), color=TRUTH_COLOUR, ls="--", label=f"expected: {alpha - 1:.1f}")
        ax.set(xscale="log", yscale="log", title=rf"$\alpha$ = {alpha:g}", xlabel="time (frames)")
        ax.legend(fontsize=7)
    axes[0, 0].set_ylabel(f"D(t) / D({FIRST} frames)")
    return fig
