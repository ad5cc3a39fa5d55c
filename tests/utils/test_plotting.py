"""Files of figures: equal bytes, small PNGs, dense collections as pixels, and the gallery made of captions."""

import io
import json

import numpy as np
import pytest
from helpers import ROOT
from matplotlib.collections import LineCollection
from PIL import Image

from main.utils import plotting
from main.utils.plotting import MAX_PNG_BYTES, new_figure, read_captions, save, small_png, write_gallery

PLOTS = ROOT / "plots"


def lines(n, seed=0):
    """A figure of a collection of `n` random lines, and three points beside it."""
    fig, axes = new_figure(4, 3)
    rng = np.random.default_rng(seed)
    collection = LineCollection(rng.random((n, 2, 2)), colors=plotting.LINE_COLOURS)
    axes[0, 0].add_collection(collection)
    axes[0, 0].scatter([0, 1, 2], [0, 1, 2])
    return fig


def noise():
    """A figure that hardly compresses."""
    fig, axes = new_figure(6, 6)
    axes[0, 0].imshow(np.random.default_rng(0).random((600, 600)), cmap="viridis")
    return fig


@pytest.mark.parametrize("make", [lambda: lines(20), lambda: lines(5000), noise], ids=["few", "many", "noise"])
def test_equal_figures_give_equal_small_files(make, tmp_path):
    first, second = (save(make(), "figure", tmp_path / name) for name in "ab")
    assert first == tmp_path / "a" / "figure.svg"
    assert first.read_bytes() == second.read_bytes() and b"date" not in first.read_bytes()
    png = first.with_suffix(".png")
    assert png.read_bytes() == second.with_suffix(".png").read_bytes()
    assert png.stat().st_size <= MAX_PNG_BYTES and not Image.open(png).info.keys() - {"dpi"}
    assert sorted(path.name for path in first.parent.iterdir()) == ["figure.png", "figure.svg"]


def test_resolution_falls_until_the_picture_fits():
    large, small = (small_png(lines(300), limit) for limit in (10**6, 15_000))
    assert len(small) <= 15_000 < len(large)
    large, small = (Image.open(io.BytesIO(png)) for png in (large, small))
    assert small.width < large.width and small.width / small.height == pytest.approx(large.width / large.height, 0.02)
    with pytest.raises(ValueError, match="100 bytes"):
        small_png(lines(300), 100)


def test_only_dense_collections_become_pixels(tmp_path):
    few, many = (save(lines(n), f"lines_{n}", tmp_path).read_text() for n in (20, 20_000))
    assert few.count("<image") == 0 and few.count('id="LineCollection_1"') == 1
    assert many.count("<image") == 1 and "PathCollection_1" in many  # the points stay shapes
    assert len(many) < 300_000


def test_cells_of_a_mesh_are_counted(tmp_path):
    for side, images in ((5, 0), (60, 1)):
        fig, axes = new_figure(3, 3)
        axes[0, 0].pcolormesh(np.arange(side * side).reshape(side, side))
        assert save(fig, f"mesh_{side}", tmp_path).read_text().count("<image") == images


def test_captions_are_kept_sorted_and_replaced(tmp_path):
    for name, caption in (("b", "Second."), ("a", "K in µm²/s."), ("b", "Better."), ("c", None)):
        save(lines(3), name, tmp_path, caption)
    assert list(read_captions(tmp_path).items()) == [("a", "K in µm²/s."), ("b", "Better.")]
    assert "µm²" in (tmp_path / "captions.json").read_text(encoding="utf-8")
    assert read_captions(tmp_path / "absent") == {}


def test_the_gallery_shows_each_figure_with_its_caption(tmp_path):
    for name in ("train_k_heatmap", "train_heatmap", "train_k_curves", "trained"):
        save(lines(3), name, tmp_path, f"Caption of {name}.")
    save(lines(3), "removed", tmp_path, "Not there any more.")
    (tmp_path / "removed.png").unlink()
    text = write_gallery(tmp_path, ["train", "train_k", "tune"]).read_text(encoding="utf-8")
    heads = [line for line in text.splitlines() if line.startswith(("## ", "[![", "Caption"))]
    assert [h.split("]")[0] for h in heads] == [
        "## [train.ipynb",
        "[![train_heatmap",
        "Caption of train_heatmap.",
        "## [train_k.ipynb",
        "[![train_k_curves",
        "Caption of train_k_curves.",
        "[![train_k_heatmap",
        "Caption of train_k_heatmap.",
        "## Further figures",
        "[![trained",
        "Caption of trained.",
    ]
    assert "(train_k_curves.png)](train_k_curves.svg)" in text and "removed" not in text
    assert write_gallery(tmp_path, ["tune", "train_k", "train"]).read_text(encoding="utf-8") == text


def test_committed_figures_are_small_and_in_the_gallery():
    """After a full run of the notebooks."""
    for figure in PLOTS.glob("*.svg"):
        assert figure.stat().st_size <= 300_000, figure.name
    pictures = {figure.stem for figure in PLOTS.glob("*.png")}
    for name in pictures:
        assert (PLOTS / f"{name}.png").stat().st_size <= MAX_PNG_BYTES, name
    captions = read_captions(PLOTS)
    assert pictures == set(captions)
    gallery = PLOTS / "README.md"
    if captions:
        written = gallery.read_text(encoding="utf-8")
        assert all(f"({name}.png)" in written and caption in written for name, caption in captions.items())
        assert list(captions) == sorted(captions) == list(json.loads((PLOTS / "captions.json").read_text()))
