"""Every format gives back the tracks that were written; what cannot be read is refused in one sentence."""

import numpy as np
import pandas as pd
import pytest
from helpers import REAL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from track_files import WRITERS, write_plain, write_trackmate, xml

from main.tracks.reading.formats import detect_format, read_tracks
from main.tracks.table import Units, validate
from main.utils.errors import InputError

coordinate = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 6))


@st.composite
def tables(draw):
    """Track tables with 1 to 4 tracks of 1 to 6 points, gaps included, rows in any order."""
    rows = []
    for track in draw(st.sets(st.integers(0, 10**6), min_size=1, max_size=4)):
        for frame in draw(st.sets(st.integers(0, 10**5), min_size=1, max_size=6)):
            rows.append((track, frame, draw(coordinate), draw(coordinate)))
    return pd.DataFrame(draw(st.permutations(rows)), columns=["track_id", "frame", "x", "y"])


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables())
def test_round_trip(tmp_path, name, table):
    suffix, write = WRITERS[name]
    path = tmp_path / f"tracks.{suffix}"
    write(table, path)
    read = read_tracks(path)
    expected = table.sort_values(["track_id", "frame"], ignore_index=True)
    pd.testing.assert_frame_equal(read.table[list(expected)], expected, check_exact=True)
    assert read.format == {"semicolons": "plain", "parquet": "plain", "trackpy-indexed": "trackpy"}.get(name, name)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables())
def test_simple_xml_round_trip(tmp_path, table):
    expected = table.sort_values(["track_id", "frame"], ignore_index=True)
    expected["track_id"] = expected["track_id"].rank(method="dense").astype(np.int64) - 1
    path = tmp_path / "tracks.xml"
    path.write_text(xml(expected))
    read = read_tracks(path)
    pd.testing.assert_frame_equal(read.table, expected, check_exact=True)
    assert read.units == Units("um", 1.0, 0.06)
    assert read.warnings == []


def table_of(rows):
    return pd.DataFrame(rows, columns=["track_id", "frame", "x", "y"])


def test_xml_declaring_other_counts_is_a_warning(tmp_path):
    path = tmp_path / "tracks.xml"
    path.write_text(xml(table_of([(0, 0, 1.0, 2.0), (0, 1, 1.0, 2.0)]), n_tracks=521))
    assert "declares 521 tracks and holds 1" in read_tracks(path).warnings[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<Tracks><particle>", "no readable XML"),
        ("<svg/>", "root element 'svg'"),
        ("<Tracks nTracks='0'/>", "holds no track"),
        ("<Tracks><particle><detection t='0' x='a' y='1'/></particle></Tracks>", "column 'x' holds 'a'"),
        ("<Tracks><particle><detection t='0' y='1'/></particle></Tracks>", "column 'x' holds nothing"),
        ("<Tracks spaceUnits='parsec'><particle><detection t='0' x='1' y='1'/></particle></Tracks>", "'parsec'"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><Tracks><particle>&b;</particle></Tracks>', "no readable XML"),
    ],
)
def test_bad_xml(tmp_path, text, message):
    path = tmp_path / "tracks.xml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_tracks(path)


BAD_TABLES = {
    "": "the file is empty",
    "a,b\n1,2\n": "no column for track_id, frame, x, y",
    "track_id,frame,x\n0,0,1\n": "no column for y",
    "track_id,frame,x,y\n0,0,1,5,2,5\n": "cannot be read as a table",
    "track_id,frame,x,y\n": "only a header",
    "track_id,frame,x,y\n0,0,1,2\n0,1,abc,2\n": "row 2, column 'x' holds 'abc', expected a finite number",
    "track_id,frame,x,y\n0,0,1,2\n0,1,1,\n": "data row 2, column 'y' holds nothing",
    "track_id,frame,x,y\n0,0,nan,2\n": "data row 1, column 'x' holds nothing",
    "track_id,frame,x,y\n0,0,inf,2\n": "data row 1, column 'x' holds 'inf'",
    "track_id,frame,x,y\n0,0.5,1,2\n": "data row 1, column 'frame' holds '0.5', expected a whole number",
    "track_id,frame,x,y\nA,0,1,2\n": "column 'track_id' holds 'A'",
    "track_id,frame,x,y\n7,3,1,2\n7,4,1,2\n7,3,5,6\n": "row 3, column 'frame' repeats frame 3 of track 7",
    "track_id,frame,x,y\n0,0,1,2\n0,1,2,3,4,5\n": "cannot be read as a table",
    "track_id,frame,x_um,y_px\n0,0,1,2\n": "different units",
    "TRACK_ID,POSITION_X,POSITION_Y\n0,0,1\n": "no column 'FRAME'",
    "TRACK_ID,FRAME,POSITION_X,POSITION_Y\nNone,0,1,2\n": "none of its 1 spots is linked",
    "trajectory,frame,y,x\n-1,0,1,2\n": "every one of its 1 points is unassigned",
}


@pytest.mark.parametrize("text", BAD_TABLES, ids=lambda text: BAD_TABLES[text].replace(" ", "-"))
def test_bad_tables(tmp_path, text):
    path = tmp_path / "tracks.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=BAD_TABLES[text]) as error:
        read_tracks(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_table(tmp_path):
    for name, data in (("a.csv", b"\xff\xfe\x00\x01\x80"), ("b.parquet", b"no parquet")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=name):
            read_tracks(tmp_path / name)
    with pytest.raises(InputError, match="is a folder, expected a track file"):
        read_tracks(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        read_tracks(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("header", "format"),
    [
        ("TRACK_ID,FRAME,POSITION_X,POSITION_Y", "trackmate-csv"),
        ("trajectory,frame,y,x", "saspt"),
        ("frame,t,trajectory,x,y", "spoton"),
        ("traj_idx,frame,x,y", "andi"),
        ("frame,x,y,particle", "trackpy"),
        ("ID,T,Y,X", "napari"),
        ("ID,T,Z,Y,X", "napari"),
        ("id,frame,t,x,y", "plain"),
    ],
)
def test_detection(header, format):
    assert detect_format(header.split(","), "a.csv") == format


def test_columns_by_name(tmp_path):
    path = tmp_path / "tracks.csv"
    path.write_text("cell,id,time_point,x,y,cx,cy\n9,4,0,0,0,1.5,2.5\n9,4,1,0,0,1.6,2.6\n")
    read = read_tracks(path, columns={"frame": "time_point", "x": "cx", "y": "cy"})
    assert read.table[["track_id", "frame", "x", "y"]].to_numpy().tolist() == [[4, 0, 1.5, 2.5], [4, 1, 1.6, 2.6]]
    with pytest.raises(InputError, match="no column 'czz'"):
        read_tracks(path, columns={"frame": "time_point", "x": "czz"})


def test_units_come_from_headers_and_are_never_guessed(tmp_path):
    path = tmp_path / "tracks.csv"
    path.write_text("track,frame,x [µm],y [µm]\n0,0,1e-9,2\n")
    assert read_tracks(path).units == Units("um", 1.0)
    path.write_text("track,frame,x_nm,y_nm\n0,0,100,2\n")
    assert read_tracks(path).units.convert_d(1e6) == pytest.approx(1.0)
    path.write_text("track,frame,x,y\n0,0,1e-9,2\n")
    assert read_tracks(path).units == Units("px")
    write_trackmate(table_of([(0, 5, 1.0, 2.0), (0, 9, 1.0, 2.0)]), path)
    read = read_tracks(path)
    assert read.units == Units("um", 1.0, pytest.approx(0.02))
    assert read.dropped == {"unlinked": 1}


def test_trackmate_without_unit_row(tmp_path):
    path = tmp_path / "spots.csv"
    path.write_text("Label,TRACK_ID,POSITION_X,POSITION_Y,POSITION_T,FRAME\nA,None,1,2,60,1\nB,0,1,2,60,1\n")
    read = read_tracks(path)
    assert read.units == Units("um", 1.0, None, assumed=True)
    assert len(read.table) == 1 and "no row of units" in read.warnings[0]


def test_trackmate_table_from_windows(tmp_path):
    path = tmp_path / "spots.csv"
    path.write_text("TRACK_ID,POSITION_X,POSITION_Y,FRAME\n,(µm),(µm),\n0,1,2,3\n", encoding="cp1252")
    assert read_tracks(path).units == Units("um", 1.0)


def test_conversion_of_k():
    units = Units("px", 0.16, 0.00748)
    assert units.convert_k(1.0, 1.0) == pytest.approx(0.16**2 / 0.00748)
    assert units.convert_k(2.0, 0.5) == pytest.approx(2 * 0.16**2 / 0.00748**0.5)
    assert units.msd_1(1.0) == pytest.approx(4 * 0.16**2)
    assert units.labels()["k"] == "um^2/s^alpha"
    assert Units("px").labels()["k"] == "px^2/frame^alpha"


def test_localization_error_columns(tmp_path):
    path = tmp_path / "tracks.csv"
    path.write_text("trajectory,frame,y,x,y_err,x_err\n0,0,1,2,.3,.4\n0,1,1,2,nan,.1\n0,2,1,2,-1,.1\n")
    sigma = read_tracks(path).table["sigma"]
    assert sigma[0] == pytest.approx(np.sqrt((0.09 + 0.16) / 2)) and sigma[1:].isna().all()


def test_a_plain_sigma_is_no_localization_error(tmp_path):
    path = tmp_path / "tracks.csv"
    path.write_text("track,frame,x,y,sigma\n0,0,1,2,1.3\n0,1,1,2,1.4\n")
    read = read_tracks(path)
    assert "sigma" not in read.table
    assert len(read.warnings) == 1 and "'sigma' is not used" in read.warnings[0]
    path.write_text("track,frame,x,y,sigma,localization_error\n0,0,1,2,1.3,.1\n0,1,1,2,1.4,.2\n")
    read = read_tracks(path)
    assert read.table["sigma"].tolist() == [0.1, 0.2] and read.warnings == []


@pytest.mark.parametrize("n", [1, 10_000])
def test_edge_tracks(n):
    table = table_of([(3, frame, 1.0, 1.0) for frame in range(n)])
    assert len(validate(table[::-1], "t.csv")) == n


def test_gaps_are_counted(tmp_path):
    path = tmp_path / "tracks.csv"
    points = [(0, 0), (0, 1), (0, 5), (0, 6), (0, 9), (1, 20), (1, 21)]
    write_plain(table_of([(track, frame, 0.0, 0.0) for track, frame in points]), path)
    assert read_tracks(path).gaps().to_dict() == {0: 2, 1: 0}


@pytest.mark.skipif(not REAL.exists(), reason="the real files in ../shared/data are not here")
def test_real_files():
    counts = {
        "saspt_u2os_ht_nls_region_0.csv": (2387, 3907),
        "trackmate_example.xml": (176, 799),
        "andi2_challenge/exp_1/trajs_fov_0.csv": (36, 6638),
    }
    for name, (n_tracks, n_points) in counts.items():
        table = read_tracks(REAL / name).table
        assert (table["track_id"].nunique(), len(table)) == (n_tracks, n_points)
    spots = read_tracks(REAL / "trackmate_example.csv")
    assert spots.table["track_id"].nunique() == 157 and spots.dropped == {"unlinked": 398}
    assert "declares 521 tracks and holds 176" in read_tracks(REAL / "trackmate_example.xml").warnings[0]
