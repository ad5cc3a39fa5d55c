"""Exports of MTrackJ, Imaris, Icy, MosaicSuite and u-track, as these programs write them, whole and damaged."""

import zlib

import numpy as np
import pandas as pd
import pytest
from track_files import (
    icy,
    mdf,
    mosaic_report,
    utrack,
    write_imaris,
    write_mosaic_table,
    write_mtrackj_table,
    write_utrack,
)

from main.tracks.reading.formats import read_tracks
from main.tracks.reading.preamble import count_preamble_lines
from main.tracks.table import Units
from main.utils.errors import InputError

IMARIS_HEADER = "Position X,Position Y,Position Z,Unit,Category,Collection,Time,TrackID,ID,"


@pytest.fixture
def tracks():
    """Three tracks of 5, 6 and 7 points; the second one has a gap, so its points are no frame numbers."""
    rows = [(t, f + (t == 1 and f > 2), 10.0 * t + 0.25 * f, 5.0 + 0.5 * f) for t in range(3) for f in range(5 + t)]
    return pd.DataFrame(rows, columns=["track_id", "frame", "x", "y"])


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def written(program, table, folder):
    """Write the table as the program does; return the path and what the program adds to track_id and frame."""
    path = folder / {"icy": "a.xml", "u-track": "a.mat", "mtrackj-mdf": "a.mdf", "mosaic-report": "a.txt"}.get(
        program, "a.csv"
    )
    if program in TEXTS:
        make, added = TEXTS[program]
        path.write_text(make(table), encoding="utf-8")
    else:
        make, added = FILES[program]
        make(table, path)
    return path, added


TEXTS = {
    "mtrackj-mdf": (mdf, (1, 1)),
    "icy": (lambda table: icy([table]), (0, 0)),
    "mosaic-report": (mosaic_report, (1, 0)),
}
FILES = {
    "mtrackj": (write_mtrackj_table, (1, 0)),
    "imaris": (write_imaris, (10**9, 1)),
    "mosaic": (write_mosaic_table, (1, 0)),
    "u-track": (write_utrack, (1, 1)),
}


@pytest.mark.parametrize("program", [*TEXTS, *FILES])
def test_every_point_is_read(program, tracks, tmp_path):
    path, (first_id, first_frame) = written(program, tracks, tmp_path)
    read = read_tracks(path)
    expected = tracks.assign(track_id=tracks["track_id"] + first_id, frame=tracks["frame"] + first_frame)
    if program == "mtrackj-mdf":  # numbered in the order of the file: cluster 1 has tracks 0 and 2, cluster 2 has 1
        expected["track_id"] = tracks["track_id"].map({0: 1, 2: 2, 1: 3})
        expected = expected.sort_values(["track_id", "frame"], ignore_index=True)
    pd.testing.assert_frame_equal(read.table[list(expected)], expected)
    assert read.format == program and read_tracks(path, program).format == program
    assert read.n_rows == len(tracks) + sum(read.dropped.values())
    um = {"mtrackj": Units("um", 1.0, 0.03), "imaris": Units("um", 1.0)}
    assert read.units.position == um.get(program, Units()).position
    assert read.units.frame_interval_s == pytest.approx(um.get(program, Units()).frame_interval_s)


@pytest.mark.parametrize("program", ["mtrackj-mdf", "icy", "mosaic-report", "imaris", "mosaic"])
def test_a_varying_z_is_said(program, tracks, tmp_path):
    path, _ = written(program, tracks, tmp_path)
    assert not any("z varies" in warning for warning in read_tracks(path).warnings)
    at, flat, deep = {
        "mtrackj-mdf": ("Point 2", " 1.0 ", " 2.0 "),
        "icy": ("<detection", 'z="0"', 'z="0.5"'),
        "mosaic-report": ("5.000000", " 0.000000", " 0.500000"),
        "imaris": ("", ",0,um", ",0.5,um"),
        "mosaic": ("", ",0,4.2", ",0.5,4.2"),
    }[program]
    head, tail = path.read_text().split(at, 1) if at else ("", path.read_text())
    path.write_text(head + at + tail.replace(flat, deep, 1))
    assert [text for text in read_tracks(path).warnings if "z varies" in text]


def test_imaris_spots_in_no_track_are_counted(tracks, tmp_path):
    write_imaris(tracks, tmp_path / "a.csv", "nm")
    read = read_tracks(tmp_path / "a.csv")
    assert read.dropped == {"unlinked": 1} and read.units == Units("nm", 1e-3)


def test_imaris_refuses_what_it_cannot_place(tmp_path):
    rows = "1,2,0,um,Spot,Position,1,1000000000,0,\n1,2,0,nm,Spot,Position,2,1000000000,1,\n"
    path = write(tmp_path, "a.csv", f"\nPosition\n ==================== \n{IMARIS_HEADER}\n{rows}")
    with pytest.raises(InputError, match="column Unit holds 'um', 'nm'"):
        read_tracks(path)
    untracked = IMARIS_HEADER.replace("TrackID,", "")
    path = write(tmp_path, "b.csv", f"\nPosition\n ==== \n{untracked}\n1,2,0,um,Spot,Position,1,0,\n")
    with pytest.raises(InputError, match="no column TrackID.*track them in Imaris"):
        read_tracks(path)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["", "Position", " ==================== ", IMARIS_HEADER], 3),
        ([",,,,,,,", "==================== ,,,,,,,", IMARIS_HEADER], 2),
        (["Spot Position", "", IMARIS_HEADER.replace(",", "\t")], 2),
        ([IMARIS_HEADER, "1,2,0,um"], 0),
        (["track_id,frame,x,y", "0,0,1,2", "===="], 0),
        (["track_id", "0"], 0),
        ([], 0),
    ],
)
def test_lines_above_the_header(lines, expected):
    assert count_preamble_lines(lines) == expected


def test_mtrackj_time_without_calibration_is_no_second(tracks, tmp_path):
    write_mtrackj_table(tracks, tmp_path / "a.csv", interval=1.0, unit="pixel")
    read = read_tracks(tmp_path / "a.csv")
    assert read.units == Units() and any("give --frame-interval" in text for text in read.warnings)


def test_mtrackj_times_are_rounded_to_frames(tracks, tmp_path):
    rare = tracks.assign(frame=tracks["frame"] * 211)  # a third of a hundredth of a second adds up to many frames
    write_mtrackj_table(
        pd.concat([tracks.assign(track_id=5), rare]).drop_duplicates(["track_id", "frame"]), tmp_path / "a.csv", 1 / 30
    )
    read = read_tracks(tmp_path / "a.csv").table
    assert set(read.loc[read["track_id"] == 1, "frame"]) == {0, 211, 422, 633, 844}


def test_mtrackj_clusters_do_not_merge_tracks(tmp_path):
    rows = [f"{c}\t1\t{p}\t{p}\t{p}\t{p}" for c in (1, 2) for p in (1, 2, 3)]
    path = write(tmp_path, "a.txt", "\n".join(["CID\tTID\tPID\tx [pixel]\ty [pixel]\tt [sec]", *rows]))
    assert read_tracks(path).table["track_id"].tolist() == [1, 1, 1, 2, 2, 2]


def test_icy_groups_do_not_merge_tracks_and_virtual_points_are_dropped(tracks, tmp_path):
    virtual = tracks.assign(type=np.where(tracks["frame"] == 2, 2, 1))
    text = icy([tracks, virtual]).replace("<linklist/>", '<linklist><link from="0" to="1"/></linklist>')
    read = read_tracks(write(tmp_path, "a.xml", text))
    assert read.table["track_id"].nunique() == 6 and read.dropped == {"virtual": 3}
    assert read.n_rows == 2 * len(tracks) == len(read.table) + 3
    assert any("numbered from 1" in text for text in read.warnings)
    assert any("1 links between tracks" in text for text in read.warnings)


def test_mosaic_report_with_decimal_commas_or_without_depth(tracks, tmp_path):
    text = mosaic_report(tracks)
    head, body = text.split("%% Trajectory 1", 1)
    commas = head + "%% Trajectory 1" + body.replace(".", ",")
    flat = text.replace(" 0.000000 4.2", " 4.2").replace("z coordinate", "").replace(" z (pixel)", "")
    for changed in (commas, flat):
        table = read_tracks(write(tmp_path, "a.txt", changed)).table
        assert np.array_equal(table[["x", "y"]], tracks[["x", "y"]])


def test_utrack_compound_tracks_are_cut_at_splits_and_merges(tmp_path):
    from scipy.io import savemat

    first = {f: (f, 0.0, 0.1) for f in range(3, 13) if f != 5}  # frame 5 is a gap
    second = {f: (f, 1.0, 0.0) for f in range(6, 9)}  # leaves the first at 6, meets it again at 9
    events = [[3, 1, 1, np.nan], [6, 1, 2, 1], [9, 2, 2, 1], [12, 2, 1, np.nan]]
    alone = ([{1: (7.0, 7.0, 0.2), 2: (8.0, 7.0, 0.2)}], [[1, 1, 1, np.nan], [2, 2, 1, np.nan]])
    savemat(tmp_path / "a.mat", utrack([(([first, second]), events), alone]))
    read = read_tracks(tmp_path / "a.mat")
    pieces = {name: track["frame"].tolist() for name, track in read.table.groupby("track_id")}
    assert pieces == {1: [3, 4], 2: [1, 2], 3: [6, 7, 8], 4: [9, 10, 11, 12], 5: [6, 7, 8]}
    assert read.table.groupby("track_id")["sigma"].first().tolist()[:4] == pytest.approx([0.1, 0.2, 0.1, 0.1])
    assert read.table.loc[read.table["track_id"] == 5, "sigma"].isna().all()
    assert read.n_rows == 14 and any("1 splits and 1 merges" in text for text in read.warnings)


DAMAGE = {  # case -> program, text, what it becomes, message
    "no number": ("mtrackj-mdf", "Point 3 0.5", "Point 3 x", "line .* expected the numbers ID x y z t c"),
    "a number is lost": ("mtrackj-mdf", " 1.0 3.0 1.0", " 3.0 1.0", "line .* expected the numbers ID x y z t c"),
    "two lines in one": ("mtrackj-mdf", " 1.0\nPoint 3", " 1.0 Point 3", "line .* expected the numbers ID x y z t c"),
    "unknown line": ("mtrackj-mdf", "Point 2", "Paint 2", "line 7 starts with 'Paint'"),
    "a track is lost": ("mtrackj-mdf", "Track 2 FFFF00 true\n", "", "is not a next point of its track"),
    "half a frame": ("mtrackj-mdf", " 1.0 3.0 1.0", " 1.0 3.5 1.0", "column 'frame' holds '3.5'"),
    "no detection": ("icy", 't="1"', 't="?"', 'a detection of track 0 holds t="\\?"'),
    "other element": ("icy", "<detection", "<detectiom", "holds an element 'detectiom'"),
    "cut off": ("icy", "</trackgroup>", "", "no readable XML"),
    "entity": ("icy", "?>\n<root>", '?>\n<!DOCTYPE r [<!ENTITY a "b">]>\n<root>', "document type"),
    "no row": ("mosaic-report", "2 0.500000", "2 0.5x0000", "line .* expected the numbers frame x y"),
    "a value is lost": ("mosaic-report", " 48.2 9.4\n2", " 48.2\n2", "line .* expected 10 numbers"),
    "a head is lost": ("mosaic-report", "%% Trajectory 2", "%% Tra", "is no point of a trajectory"),
    "a unit": ("mosaic-report", "(pixel)", "(micron)", "declares x in 'micron'.*Traj_"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_text_is_refused(case, tracks, tmp_path):
    program, text, other, message = DAMAGE[case]
    path, _ = written(program, tracks, tmp_path)
    content = path.read_text()
    assert text in content
    path.write_text(content.replace(text, other, 1))
    with pytest.raises(InputError, match=message):
        read_tracks(path)


@pytest.mark.parametrize("program", ["mtrackj-mdf", "mosaic-report"])
def test_a_line_without_end_is_refused(program, tracks, tmp_path):
    path, _ = written(program, tracks, tmp_path)
    path.write_text(path.read_text() + "1 " * 10**5)
    with pytest.raises(InputError, match="line .* has more than 100000 characters"):
        read_tracks(path)


def test_mtrackj_file_without_its_last_line_is_said(tracks, tmp_path):
    path = write(tmp_path, "a.mdf", mdf(tracks).replace("End of MTrackJ Data File\n", ""))
    assert any("points may be missing" in text for text in read_tracks(path).warnings)


def test_matlab_files_of_another_layout_are_refused(tracks, tmp_path):
    from scipy.io import savemat

    path = tmp_path / "a.mat"
    whole = utrack([([{1: (1.0, 1.0, 0.1), 2: (1.0, 1.0, 0.1)}], [[1, 1, 1, np.nan], [2, 2, 1, np.nan]])])
    for message, field, value in (
        ("no full matrix with 8 columns", "tracksCoordAmpCG", np.zeros((1, 15))),
        ("no full matrix with 8 columns", "tracksCoordAmpCG", "text"),
        ("tracksFinal\\(1\\) does not fit", "tracksCoordAmpCG", np.zeros((1, 24))),
        ("tracksFinal\\(1\\) does not fit", "seqOfEvents", np.array([[1, 1, 1, 7], [2, 2, 1, np.nan]])),
        ("tracksFinal\\(1\\) does not fit", "seqOfEvents", np.array([[1, 1, 1, np.nan], [np.nan, 2, 1, np.nan]])),
        ("seqOfEvents of tracksFinal\\(1\\) is no full matrix with 4 columns", "seqOfEvents", np.zeros((0, 0))),
        ("holds no track with points", "tracksCoordAmpCG", np.full((1, 16), np.nan)),
    ):
        broken = whole["tracksFinal"].copy()
        broken[field][0, 0] = value
        savemat(path, {"tracksFinal": broken})
        with pytest.raises(InputError, match=message):
            read_tracks(path)
    for message, held in (
        ("has 0 structures.*'-v7'", {"tracks": np.zeros((3, 4))}),
        ("holds no track", {"tracksFinal": whole["tracksFinal"][:0]}),
    ):
        savemat(path, held)
        with pytest.raises(InputError, match=message):
            read_tracks(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match="MATLAB file of version 7.3.*-v7"):
        read_tracks(path)


def test_compressed_bombs_and_cut_files_are_refused(tracks, tmp_path, monkeypatch):
    path = tmp_path / "a.mat"
    write_utrack(tracks, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(InputError, match="cannot be read as a MATLAB file"):
        read_tracks(path)
    packed = zlib.compress(bytes(2**24))
    path.write_bytes(whole[:128] + (15).to_bytes(4, "little") + len(packed).to_bytes(4, "little") + packed)
    monkeypatch.setattr("main.tracks.reading.utrack.MAX_VARIABLE_BYTES", 2**23)
    with pytest.raises(InputError, match="holds a variable above 8 MiB"):
        read_tracks(path)


def test_a_format_that_the_file_has_not_is_refused(tracks, tmp_path):
    path, _ = written("icy", tracks, tmp_path)
    with pytest.raises(InputError, match="is a file of icy, but --format is trackmate-xml"):
        read_tracks(path, "trackmate-xml")
    with pytest.raises(InputError, match="has no columns"):
        read_tracks(path, columns={"x": "x"})
    write_mosaic_table(tracks, tmp_path / "a.csv")
    with pytest.raises(InputError, match="is a table and no file of u-track"):
        read_tracks(tmp_path / "a.csv", "u-track")
