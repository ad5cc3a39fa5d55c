"""Figures of blocks: D with intervals, and the frames with the path of the molecule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from main.utils.plotting import CHANGE_COLOUR, LINE_COLOURS, TRUTH_COLOUR, new_figure, pretty_unit, styled

SHOWN_BLOCKS, SHOWN_FRAMES = 6, 8  # in the figure of frames
MARGIN_PX, MIN_SIDE_PX = 6, 24  # around the path; of the part of a frame that is shown
GAP_PX = 1  # between frames
BRIGHTEST, DARKEST = 0.998, 0.02  # quantiles of the counts that are white and black
N_GREYS = 16  # steps of grey; noise in more would make the PNG large
GREY = mpl.colormaps["gray"].resampled(N_GREYS)
INTERVAL_COLOUR, WARNED_COLOUR, PATH_COLOUR = LINE_COLOURS[3], CHANGE_COLOUR, LINE_COLOURS[1]


@dataclass(frozen=True)
class ShownBlock:
    """A block in the figure of frames: name, frames (F, H, W), position (F, 2) px (NaN: not seen), a line of text."""

    name: str
    frames: np.ndarray
    position: np.ndarray
    text: str


@styled
def plot_predictions(d: np.ndarray, d_path: np.ndarray, warned: np.ndarray, unit: str) -> Figure:
    """Plot D with its 90 % interval against the estimate from the path alone.

    Parameters
    ----------
    d, d_path : numpy.ndarray, shape (N, 3)
        Value, lower and upper end, in `unit`; rows without a value are left out.
    warned : numpy.ndarray of bool, shape (N,)
    unit : str
        As in the tables ("um^2/s").
    """
    known = np.isfinite(d).all(1) & np.isfinite(d_path).all(1)
    d, d_path, warned = d[known], d_path[known], warned[known]
    fig, axes = new_figure(4.2, 4.0)
    ax = axes[0, 0]
    for rows, colour in ((~warned, INTERVAL_COLOUR), (warned, WARNED_COLOUR)):
        if rows.any():
            y, x = d[rows], d_path[rows]
            errors = {"yerr": np.abs(y[:, 1:] - y[:, :1]).T, "xerr": np.abs(x[:, 1:] - x[:, :1]).T}
            ax.errorbar(x[:, 0], y[:, 0], **errors, fmt="o", ms=3, lw=0.6, color=colour, alpha=0.7)
    if len(d):
        ends = [min(d.min(), d_path.min()), max(d.max(), d_path.max())]
        ax.plot(ends, ends, color=TRUTH_COLOUR, lw=0.8, ls=":", zorder=0)
    shown = pretty_unit(unit)
    ax.set(xscale="log", yscale="log", xlabel=f"D from the path alone [{shown}]", ylabel=f"D from the images [{shown}]")
    ax.set_title(f"n = {len(d)} blocks, 90 % intervals")
    labels = [("no warning", INTERVAL_COLOUR, ~warned), ("with a warning", WARNED_COLOUR, warned)]
    handles = [Line2D([], [], marker="o", ls="", ms=3, color=c, label=f"{t} ({r.sum()})") for t, c, r in labels]
    ax.legend(handles=[*handles, Line2D([], [], color=TRUTH_COLOUR, lw=0.8, ls=":", label="equal")], loc="upper left")
    return fig


@styled
def plot_images(blocks: Sequence[ShownBlock], pixel_size_um: float | None, frame_interval_s: float | None) -> Figure:
    """Plot the mean image of each block with the fitted path, and its frames with the fitted position.

    Parameters
    ----------
    blocks : sequence of ShownBlock
        At most `SHOWN_BLOCKS` are drawn.
    pixel_size_um, frame_interval_s : float or None
        None: axes are in px, and in frames.
    """
    blocks = blocks[:SHOWN_BLOCKS]
    options = {"gridspec_kw": {"width_ratios": [1, 8]}}
    fig, axes = new_figure(9.5, 0.3 + 1.2 * len(blocks), len(blocks), 2, **options)
    for (whole, strip), block in zip(axes, blocks, strict=True):
        draw_whole(whole, block, pixel_size_um)
        draw_strip(strip, block, frame_interval_s)
    shown = "frame" if frame_interval_s is None else "time [ms]"
    axes[-1, 1].set_xlabel(f"{shown}; frames with the fitted position")
    axes[-1, 0].set_xlabel("x [px]" if pixel_size_um is None else "x [µm]")
    return fig


def draw_whole(ax, block: ShownBlock, pixel_size_um: float | None) -> None:
    """Draw the mean of all frames with the path, in um where the pixel size is known."""
    scale = pixel_size_um or 1.0
    height, width = block.frames.shape[1:]
    extent = np.array([-0.5, width - 0.5, height - 0.5, -0.5]) * scale
    mean = block.frames.mean(0)
    low, high = np.quantile(mean, DARKEST), np.quantile(mean, BRIGHTEST)
    ax.imshow(mean, cmap=GREY, extent=extent, vmin=low, vmax=high)
    ax.plot(*(block.position * scale).T, color=PATH_COLOUR, lw=0.7)
    ax.set_ylabel("y [px]" if pixel_size_um is None else "y [µm]")


def draw_strip(ax, block: ShownBlock, frame_interval_s: float | None) -> None:
    """Draw frames side by side, cut around the path, with a cross at each fitted position."""
    chosen = np.unique(np.linspace(0, len(block.frames) - 1, SHOWN_FRAMES).round().astype(int))
    rows, columns = find_cut(block)
    frames = block.frames[chosen][:, rows, columns]
    n, height, width = frames.shape
    strip = np.full((height, n * (width + GAP_PX) - GAP_PX), np.nan)
    for i, frame in enumerate(frames):
        strip[:, i * (width + GAP_PX) :][:, :width] = frame
    low, high = np.quantile(frames, DARKEST), np.quantile(frames, BRIGHTEST)
    ax.imshow(strip, cmap=GREY, vmin=low, vmax=high, aspect="equal")
    left = np.arange(n) * (width + GAP_PX)
    x = block.position[chosen, 0] - columns.start + left
    ax.plot(x, block.position[chosen, 1] - rows.start, "+", ms=4, mew=0.6, color=PATH_COLOUR)
    step = 1.0 if frame_interval_s is None else 1e3 * frame_interval_s
    ax.set_xticks(left + width / 2, [f"{number * step:.4g}" for number in chosen])
    ax.set_yticks([])
    ax.set_title(f"{block.name}: {block.text}", fontsize=7, loc="left")


def find_cut(block: ShownBlock) -> tuple[slice, slice]:
    """Find the square part of the frames that holds the path, as slices of rows and columns."""
    size = block.frames.shape[:0:-1]  # width, height
    seen = block.position[np.isfinite(block.position).all(1)]
    seen = seen if len(seen) else np.array(size)[None] / 2
    low, high = seen.min(0) - MARGIN_PX, seen.max(0) + MARGIN_PX
    side = max(MIN_SIDE_PX, *np.ceil(high - low).astype(int).tolist())
    slices = []
    for middle, length in zip((low + high) / 2, size, strict=True):
        start = int(np.clip(round(middle - side / 2), 0, max(0, length - side)))
        slices.append(slice(start, min(length, start + side)))
    return slices[1], slices[0]
