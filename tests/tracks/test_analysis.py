"""`analyse`: a table in memory gives what the command gives for the same table in a file."""

import numpy as np
import pandas as pd
import pytest

from main.tracks.analysis import analyse
from main.tracks.pipeline import infer_files
from main.tracks.results.napari import to_napari
from main.utils.errors import InputError


@pytest.fixture(scope="module")
def table():
    tracks = pd.read_csv("samples/tracks.csv")
    return tracks[tracks["track_id"].isin(tracks["track_id"].unique()[::6])]


@pytest.mark.parametrize("adapt", ["none", "sample"])
def test_the_same_as_the_command(table, tmp_path, adapt):
    table.to_csv(tmp_path / "tracks.csv", index=False)
    run = infer_files(
        tmp_path / "tracks.csv",
        tmp_path / "out",
        pixel_size=0.1,
        frame_interval=0.02,
        localization_error=0.12,
        adapt=adapt,
    )
    result = analyse(table, pixel_size_um=0.1, frame_interval_s=0.02, localization_error=0.12, adapt=adapt)
    for name in ("points", "segments", "tracks"):
        pd.testing.assert_frame_equal(getattr(result, name), getattr(run.results, name))


def test_names_index_and_units_are_found(table):
    expected = analyse(table, weights="fast")
    trackpy = table.rename(columns={"track_id": "particle"}).set_index("frame")
    pd.testing.assert_frame_equal(analyse(trackpy, weights="fast").segments, expected.segments)
    named = table.rename(columns={"track_id": "cell", "x": "cx_um", "y": "cy_um"})
    columns = {"track_id": "cell", "x": "cx_um", "y": "cy_um"}
    segments = analyse(named, columns=columns, frame_interval_s=0.5, weights="fast").segments
    moving = segments["k"] > 0
    assert np.allclose((segments["k"] / expected.segments["k"])[moving], (2 ** segments["alpha"])[moving], rtol=1e-3)


def test_napari_gets_an_array_and_features(table):
    points = analyse(table, weights="fast").points
    data, features = to_napari(points.assign(file="a.csv").sample(frac=1, random_state=0))
    assert data.shape == (len(points), 4) and (np.diff(data[:, 0]) >= 0).all()
    assert np.array_equal(data, points[["track_id", "frame", "y", "x"]].to_numpy(float))
    assert np.array_equal(features["alpha"], points["alpha"]) and {"k", "state", "segment_id"} <= set(features)
    assert "file" not in features and "x" not in features


def test_the_table_of_the_caller_stays_as_it_is(table):
    before = table.copy()
    analyse(table, weights="fast")
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"columns": {"x": "z"}}, {}, "the table: no column for x"),
        ({}, {"pixel_size_um": 0}, "expected a number from 1e-05 to 10000 um"),
        ({"columns": {"x": "x_um", "y": "y_um"}}, {"pixel_size_um": 0.1}, "in um already"),
        ({}, {"weights": "none such"}, "none such"),
        ({}, {"weights": "fast", "adapt": "samples"}, "--adapt is 'samples'"),
    ],
)
def test_what_cannot_be_analysed_is_said_in_a_sentence(table, change, options, message):
    with pytest.raises(InputError, match=message):
        analyse(table.rename(**change) if change else table, **options)
