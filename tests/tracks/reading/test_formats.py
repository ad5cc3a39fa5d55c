"""The same tracks in every format, in physical units, give the same K: through the whole command."""

import numpy as np
import pandas as pd
import pytest
from track_files import (
    icy,
    mdf,
    mosaic_report,
    session,
    write_andi,
    write_imaris,
    write_mosaic_table,
    write_mtrackj_table,
    write_napari,
    write_parquet,
    write_saspt,
    write_spoton,
    write_trackmate,
    write_trackpy,
    write_trackpy_indexed,
    write_utrack,
    xml,
)

from main.tracks.pipeline import infer_files
from simulations.parameters import SIGMA_PX

UM_PER_PX = 0.1


def write_xml(table, path):
    path.write_text(xml(table), encoding="utf-8")


def write_session(table, path):
    points = table[["frame", "x", "y"]].itertuples(index=False)
    spots = {i: tuple(point) for i, point in enumerate(points)}
    edges = {t: list(zip(rows.index, rows.index[1:], strict=False)) for t, rows in table.groupby("track_id")}
    path.write_text(session(spots, edges), encoding="utf-8")


def write_named(table, path):
    table.rename(columns={"x": "x_um", "y": "y_um"}).to_csv(path, index=False)


def write_mdf(table, path):
    path.write_text(mdf(table, clusters=1))


def write_icy(table, path):
    path.write_text(icy([table]))


def write_mosaic_report(table, path):
    path.write_text(mosaic_report(table))


PIXELS = {
    "andi": write_andi,
    "trackpy": write_trackpy,
    "trackpy-indexed": write_trackpy_indexed,
    "saspt": write_saspt,
    "napari": write_napari,
    "parquet": write_parquet,
    "mtrackj-mdf": write_mdf,
    "icy": write_icy,
    "mosaic": write_mosaic_table,
    "mosaic-report": write_mosaic_report,
    "u-track": write_utrack,
}
MICROMETRES = {
    "spoton": (write_spoton, 0.01),
    "trackmate-csv": (write_trackmate, 0.02),
    "simple xml": (write_xml, 0.06),
    "session": (write_session, 0.05),
    "plain": (write_named, None),
    "imaris": (write_imaris, None),
    "mtrackj": (write_mtrackj_table, 0.03),
}


@pytest.fixture(scope="module")
def tracks():
    """20 of the sample tracks, px."""
    table = pd.read_csv("samples/tracks.csv")
    return table[table["track_id"].isin(table["track_id"].unique()[::3])].reset_index(drop=True)


@pytest.fixture(scope="module")
def known(tracks, tmp_path_factory):
    """Segments from the AnDi format in px and frames: track_id, frame_start, k, alpha."""
    folder = tmp_path_factory.mktemp("andi")
    write_andi(tracks, folder / "tracks.csv")
    return analysed(folder / "tracks.csv", folder, SIGMA_PX)


def analysed(path, folder, sigma, **options):
    return infer_files(path, folder / "out", weights="fast", localization_error=sigma, **options).results.segments


def same_k(segments, known, dt):
    assert len(segments) == len(known) and segments["k"].gt(0).any()
    expected = known["k"] * UM_PER_PX**2 / dt ** known["alpha"]
    moving = known["k"] > 0
    assert np.median(np.abs(segments["k"] / expected - 1)[moving]) < 0.02
    assert np.abs(segments["alpha"] - known["alpha"]).median() < 0.02


@pytest.mark.parametrize("name", PIXELS)
def test_formats_in_pixels(tracks, known, tmp_path, name):
    path = tmp_path / ("tracks.parquet" if name == "parquet" else "tracks.csv")
    PIXELS[name](tracks, path)
    segments = analysed(path, tmp_path, SIGMA_PX, pixel_size=UM_PER_PX, frame_interval=0.02)
    same_k(segments, known, 0.02)


@pytest.mark.parametrize("name", MICROMETRES)
def test_formats_in_micrometres(tracks, known, tmp_path, name):
    write, dt = MICROMETRES[name]
    path = tmp_path / ("tracks.xml" if name in ("session", "simple xml") else "tracks.csv")
    write(tracks.assign(x=UM_PER_PX * tracks["x"], y=UM_PER_PX * tracks["y"]), path)
    given = {"frame_interval": 0.04} if dt is None else {}
    same_k(analysed(path, tmp_path, UM_PER_PX * SIGMA_PX, **given), known, dt or 0.04)
