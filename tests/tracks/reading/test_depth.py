"""Positions along z are not used; every format says so if they vary."""

import numpy as np
import pandas as pd
import pytest

from main.tracks.reading.formats import read_tracks

N = 6
HEADERS = {  # format -> track, frame, x, y, z
    "plain": ("track_id", "frame", "x_um", "y_um", "z_um"),
    "andi": ("traj_idx", "frame", "x", "y", "z"),
    "saspt": ("trajectory", "frame", "x", "y", "z"),
    "trackpy": ("particle", "frame", "x", "y", "z"),
    "napari": ("ID", "T", "X", "Y", "Z"),
    "trackmate-csv": ("TRACK_ID", "FRAME", "POSITION_X", "POSITION_Y", "POSITION_Z"),
}


def write_csv(path, header, z):
    values = [np.zeros(N, int), np.arange(N), np.arange(N) * 0.5, np.arange(N) * 0.2, z]
    pd.DataFrame(dict(zip(header, values, strict=True))).to_csv(path, index=False)
    return path


def write_simple_xml(path, z):
    spots = "".join(f'<detection t="{i}" x="{i / 2}" y="{i / 5}" z="{value}"/>' for i, value in enumerate(z))
    path.write_text(f'<Tracks nTracks="1" spaceUnits="um"><particle nSpots="{N}">{spots}</particle></Tracks>')
    return path


def write_session(path, z):
    spots = "".join(
        f'<Spot ID="{i}" FRAME="{i}" POSITION_X="{i / 2}" POSITION_Y="{i / 5}" POSITION_Z="{value}"/>'
        for i, value in enumerate(z)
    )
    edges = "".join(f'<Edge SPOT_SOURCE_ID="{i}" SPOT_TARGET_ID="{i + 1}"/>' for i in range(N - 1))
    path.write_text(
        f'<TrackMate version="7"><Model spatialunits="um" timeunits="s"><AllSpots>{spots}</AllSpots>'
        f'<AllTracks><Track TRACK_ID="0">{edges}</Track></AllTracks></Model></TrackMate>'
    )
    return path


def list_depth_warnings(path):
    return [text for text in read_tracks(path).warnings if "z varies but is not used" in text]


@pytest.mark.parametrize("format", HEADERS)
def test_a_varying_z_column_is_said(format, tmp_path):
    path = write_csv(tmp_path / "tracks.csv", HEADERS[format], np.arange(N) * 0.1)
    assert read_tracks(path).format == format
    assert len(list_depth_warnings(path)) == 1
    assert list_depth_warnings(write_csv(path, HEADERS[format], np.zeros(N))) == []


def test_spot_on_is_no_exception(tmp_path):
    path = write_csv(tmp_path / "tracks.csv", HEADERS["saspt"], np.arange(N))
    pd.read_csv(path).assign(t=np.arange(N) * 0.01).to_csv(path, index=False)
    assert len([text for text in read_tracks(path, "spoton").warnings if "z varies but is not used" in text]) == 1


@pytest.mark.parametrize("write", [write_simple_xml, write_session])
def test_a_varying_z_of_trackmate_xml_is_said(write, tmp_path):
    assert len(list_depth_warnings(write(tmp_path / "tracks.xml", np.arange(N) * 0.1))) == 1
    assert list_depth_warnings(write(tmp_path / "tracks.xml", np.zeros(N))) == []
