"""Style of all figures, the files they are written to, and learning curves.

Every function that draws takes arrays or tables and returns a `matplotlib.figure.Figure`; `save` writes it as SVG and
PNG, and `write_gallery` makes one page of the figures in a folder.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.collections import Collection, QuadMesh
from matplotlib.figure import Figure
from PIL import Image

from main.utils.files import write_atomically

CAPTIONS = "captions.json"
MAX_PNG_BYTES = 60_000  # the gallery of some hundred figures stays below 6 MB
PNG_DPI = 130  # of a figure whose PNG is small enough at once; lowered step by step otherwise
MIN_PNG_PIXELS = 50  # a smaller image shows nothing
MAX_VECTOR_SHAPES = 500  # about 70 kB of SVG
SVG_PIXELS_DPI = 200  # of what is drawn as pixels inside an SVG
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
def save(
    fig: Figure,
    name: str,
    folder: str | Path = "plots",
    caption: str | None = None,
    max_png_bytes: int = MAX_PNG_BYTES,
) -> Path:
    """Write a figure as SVG and as small PNG; the same figure gives the same bytes.

    Collections of many lines, markers or cells become pixels inside the SVG, which would be megabytes otherwise.

    Parameters
    ----------
    fig : Figure
    name : str
        File name without suffix.
    folder : path
        Made if it does not exist.
    caption : str, optional
        Stored in the folder's captions.json, from which `write_gallery` writes.
    max_png_bytes : int
        More for pictures of noise, which do not fit into the default.

    Returns
    -------
    Path
        The SVG file; the PNG is beside it.
    """
    path = Path(folder) / f"{name}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    for artist in fig.findobj(Collection):
        if _n_shapes(artist) > MAX_VECTOR_SHAPES:
            artist.set_rasterized(True)
    fig.savefig(path, dpi=SVG_PIXELS_DPI, metadata={"Date": None, "Creator": None})
    path.with_suffix(".png").write_bytes(small_png(fig, max_png_bytes))
    if caption is not None:
        captions = read_captions(folder) | {name: caption}
        text = json.dumps(dict(sorted(captions.items())), indent=1, ensure_ascii=False) + "\n"
        write_atomically(path.with_name(CAPTIONS), lambda part: part.write_text(text, encoding="utf-8"))
    return path


def _n_shapes(artist: Collection) -> int:
    cells = artist.get_array() if isinstance(artist, QuadMesh) else None
    return max(len(artist.get_paths()), len(artist.get_offsets())) if cells is None else cells.size


def small_png(fig: Figure, max_bytes: int = MAX_PNG_BYTES) -> bytes:
    """A figure as PNG of 256 colours, at the highest resolution that fits into `max_bytes`."""
    dpi = PNG_DPI
    while True:
        drawn, packed = io.BytesIO(), io.BytesIO()
        fig.savefig(drawn, format="png", dpi=dpi, facecolor="white")
        image = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        image.save(packed, format="png", optimize=True)
        if packed.tell() <= max_bytes:
            return packed.getvalue()
        if min(image.size) < MIN_PNG_PIXELS:
            raise ValueError(f"the figure does not fit into a PNG of {max_bytes} bytes")
        dpi *= min(0.85, max(0.5, (max_bytes / packed.tell()) ** 0.5))  # bytes grow as dots do


def read_captions(folder: str | Path) -> dict[str, str]:
    """Captions of the figures in a folder, by the name of the figure; none if nothing was stored there."""
    file = Path(folder) / CAPTIONS
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def write_gallery(folder: str | Path = "plots", notebooks: Iterable[str] | None = None) -> Path:
    """Write README.md of a folder of figures: the PNG and the caption of each, under the notebook that draws it.

    Parameters
    ----------
    folder : path
        Where `save` wrote figures with captions. Captions of figures that are not there any more are left out.
    notebooks : iterable of str, optional
        Names without suffix; by default those of the notebooks in `main/` beside the folder. The name of a figure
        begins with that of its notebook, as in `inference_by_model`.

    Returns
    -------
    Path
        The README.md.
    """
    folder = Path(folder)
    if notebooks is None:
        notebooks = (path.stem for path in (folder.resolve().parent / "main").glob("*.ipynb"))
    longest_first = sorted(notebooks, key=len, reverse=True)
    sections: dict[str, list[str]] = {}
    for name, caption in sorted(read_captions(folder).items()):
        if (folder / f"{name}.png").is_file():
            notebook = next((n for n in longest_first if name == n or name.startswith(f"{n}_")), "")
            sections.setdefault(notebook, []).append(f"[![{name}]({name}.png)]({name}.svg)\n\n{caption}\n")
    parts = ["# Figures\n", "Drawn by the notebooks in `main/`. A click on a figure opens it as SVG.\n"]
    for notebook in sorted(sections, key=lambda n: (n == "", n)):  # figures of no notebook come last
        title = f"[{notebook}.ipynb](../main/{notebook}.ipynb)" if notebook else "Further figures"
        parts += [f"## {title}\n", *sections[notebook]]
    path = folder / "README.md"
    write_atomically(path, lambda part: part.write_text("\n".join(parts), encoding="utf-8"))
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
