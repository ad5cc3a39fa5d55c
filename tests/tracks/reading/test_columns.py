"""Names of columns: units wherever they stand, columns that could be two things, and messages that name the way out."""

import numpy as np
import pandas as pd
import pytest

from main.tracks.reading.formats import read_table, read_tracks
from main.tracks.table import Units, with_units
from main.utils.errors import InputError

N = 6
BASE = {"track_id": np.zeros(N, int), "frame": np.arange(N), "x": np.arange(N) * 0.5, "y": np.arange(N) * 0.2}


def make_table(track="track_id", frame="frame", x="x", y="y", **more):
    return pd.DataFrame(dict(zip((track, frame, x, y), BASE.values(), strict=True)) | more)


def read(table, columns=None, format="auto", **more):
    return read_table(table, "a.csv", format, columns, **more)


UNITS = {
    "{}_mm": ("mm", 1e3),
    "{} [mm]": ("mm", 1e3),
    "{} (m)": ("m", 1e6),
    "{}_m": ("m", 1e6),
    "{}_cm": ("cm", 1e4),
    "{} [Å]": ("angstrom", 1e-4),
    "{} (micron)": ("um", 1.0),
    "{}_um": ("um", 1.0),
    "{}_μm": ("um", 1.0),
    "{} [\ufffdm]": ("um", 1.0),
    "Position {} (um)": ("um", 1.0),
    "um_{}": ("um", 1.0),
    "pos_{}_nm_corrected": ("nm", 1e-3),
    "{}nm": ("nm", 1e-3),
    "{}_px": ("px", None),
    "{} [pixel]": ("px", None),
    "{}": ("px", None),
}


@pytest.mark.parametrize("pattern", UNITS)
@pytest.mark.parametrize("track", ["track_id", "trajectory", "particle", "traj_idx"])
def test_units_stand_in_names(pattern, track):
    position, factor = UNITS[pattern]
    names = {axis: pattern.format(axis) for axis in "xy"}
    table = make_table(track, **names)
    for columns in ({}, names) if "corrected" not in pattern else (names,):
        tracks = read(table, columns)
        assert tracks.units == Units(position, factor)
        assert tracks.table["x"].tolist() == BASE["x"].tolist()
        assert tracks.columns == {"track_id": track, "frame": "frame"} | names
    if position == "px":
        assert with_units(tracks, 0.1, None).units == Units("px", 0.1)
    else:
        with pytest.raises(InputError, match=f"are in {position} already"):
            with_units(tracks, 0.1, None)


@pytest.mark.parametrize("columns", [{}, {"x": "x [furlong]", "y": "y [furlong]"}])
def test_an_unknown_unit_is_refused(columns):
    with pytest.raises(InputError, match=r"'x \[furlong\]' has the unit 'furlong', expected one of px, um, nm, mm, cm"):
        read(make_table(x="x [furlong]", y="y [furlong]"), columns)
    with pytest.raises(InputError, match="has the unit 'um and px'"):
        read(make_table(x="x_um_px", y="y_um_px"))


def test_print_resolution_is_warned_of():
    tracks = with_units(read(make_table(x="x (inch)", y="y (inch)")), None, 0.1)
    assert tracks.units.um_per_unit == 25_400 and "print resolution" in tracks.warnings[0]


AMBIGUOUS = {  # table -> words of the refusal
    "x and X": (make_table(X=BASE["x"] + 1), "columns 'x' and 'X' could both be x.*--columns x=x"),
    "x and pos_x": (make_table(pos_x=BASE["x"] * 2), "'x' and 'pos_x' could both be x"),
    "x_um and x_px": (make_table(x="x_um", y="y_um", x_px=BASE["x"], y_px=BASE["y"]), "--columns x=x_um,y=y_um"),
    "two tracks": (make_table(particle=np.arange(N)), "could both be track_id.*--columns track=track_id"),
    "two frames": (make_table(frame_id=[0, 2, 3, 4, 5, 6]), "could both be frame"),
    "x twice": (make_table().assign(**{"x.1": BASE["x"] + 1}), "has two columns 'x' with different values"),
    "x twice, named": (pd.DataFrame([[0, 0, 1.0, 2.0, 3.0]], columns=["track", "frame", "x", "y", "x"]), "several"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_two_readings_are_a_question(name):
    table, message = AMBIGUOUS[name]
    with pytest.raises(InputError, match=message):
        read(table)


def test_harmless_duplicates_are_read():
    more = {"X": BASE["x"], "frame_id": BASE["frame"] + 1, "particle": np.full(N, 7), "id": np.arange(N)}
    assert read(make_table(**more)).columns["track_id"] == "track_id"
    other = read(make_table(x="x_um", y="y_um", x_px=BASE["x"], y_px=BASE["y"]), {"x": "x_px", "y": "y_px"})
    assert other.units == Units("px")


TRAJECTORY = {"trajectory": BASE["track_id"], "frame": BASE["frame"], "t": BASE["frame"] * 0.01} | BASE
FORMATS = {  # order of columns -> format and length unit; None is a question
    "frame,t,trajectory,x,y": ("spoton", "um"),
    "Unnamed: 0,frame,t,trajectory,x,y": ("spoton", "um"),
    "trajectory,frame,t,x,y": None,
    "frame,t,trajectory,x,y,I0": None,
    "frame,t,trajectory,x [px],y [px]": ("plain", "px"),
    "frame,t,trajectory,x_um,y_um": ("plain", "um"),
    "trajectory,frame,y,x": ("saspt", "px"),
    "track_id,frame,position_x,position_y": ("plain", "px"),
    "track_id,frame,position_x,position_y,quality": None,
    "TRACK_ID,FRAME,POSITION_X,POSITION_Y,QUALITY": ("trackmate-csv", "um"),
}


@pytest.mark.parametrize("header", FORMATS)
def test_formats_with_different_units_are_a_question(header):
    names = header.split(",")
    table = pd.DataFrame(
        {n: TRAJECTORY.get(n, TRAJECTORY.get(n.lower()[9:10] or n[0].lower(), BASE["frame"])) for n in names}
    )
    table = table.rename(columns=str).assign(**{n: BASE["track_id"] for n in names if n.lower() == "track_id"})
    if FORMATS[header] is None:
        with pytest.raises(InputError, match="give --format"):
            read(table)
    else:
        tracks = read(table)
        assert (tracks.format, tracks.units.position) == FORMATS[header]


def test_the_format_settles_the_question():
    table = pd.DataFrame({name: TRAJECTORY[name] for name in ("trajectory", "frame", "t", "x", "y")})
    assert read(table, format="spoton").units == Units("um", 1.0, pytest.approx(0.01))
    assert read(table, format="saspt").units == Units("px")
    named = read(table.rename(columns={"x": "x_nm", "y": "y_nm"}), format="spoton")
    assert named.units == Units("nm", 1e-3, pytest.approx(0.01))


def test_points_in_no_track():
    table = pd.concat([make_table(), make_table(track_id=np.full(N, -1))])
    assert read(table).dropped == {"unassigned": N} and len(read(table).table) == N
    both = pd.concat([table, make_table(track_id=np.full(N, -7))])
    with pytest.raises(InputError, match="holds -1 and -7.*--format saspt"):
        read(both)
    assert read(make_table(track_id=np.full(N, -7))).dropped == {}


MISSING = {
    "Label,Track,Frame,X_of_spot,Y_of_spot": r"x might be 'X_of_spot'.*with --columns x=X_of_spot,y=Y_of_spot\.",
    "Cell,time,x,y": "no column for track_id among Cell, time, x, y; track_id might be 'Cell'.*--columns track=Cell",
    "Track nummer,Frame,x,y": "--columns 'track=Track nummer'",
    "track,when,x,y": "no column for frame.*--columns frame=NAME",
    ",".join(["track", "frame", *(f"c{i}" for i in range(900))]): "c12 and 887 more",
}


@pytest.mark.parametrize("header", MISSING, ids=range(len(MISSING)))
def test_a_missing_column_names_the_way_out(header):
    names = header.split(",")
    with pytest.raises(InputError, match=MISSING[header]) as error:
        read(pd.DataFrame([[0.0] * len(names)], columns=names))
    assert len(str(error.value)) < 400


def test_a_wrong_name_lists_near_ones():
    with pytest.raises(InputError, match="no column 'Pos_X' .*near it is 'pos_xx'"):
        read(make_table(x="pos_xx"), {"x": "Pos_X"})
    with pytest.raises(InputError, match="'x' is named for two roles"):
        read(make_table(), {"x": "x", "y": "x"})


SPELLED = [  # programs
    ("TrackObjects_Label_50", "ImageNumber", "Location_Center_X", "Location_Center_Y"),  # CellProfiler
    ("Track n°", "Slice n°", "X", "Y"),  # Manual Tracking of ImageJ
    ("Track_ID", "Frame_Number", "X_(px)", "Y_(px)"),  # Detection of Molecules
    ("track", "frame", "xnm", "ynm"),  # SMAP
    ("track_id", "frame", "x [nm]", "y [nm]"),  # ThunderSTORM
    ("TrackID", "Frame", "PositionX", "PositionY"),
]


@pytest.mark.parametrize("names", SPELLED)
def test_names_of_programs(names):
    assert list(read(make_table(*names)).columns.values()) == list(names)


HEADER = "LABEL,TRACK_ID,POSITION_X,POSITION_Y,POSITION_T,FRAME\n"
DESCRIBED = "Label,Track ID,X,Y,T,Frame\nLabel,Track ID,X,Y,T,Frame\n,,({0}),({0}),({1}),\n"


@pytest.mark.parametrize("described", ["", DESCRIBED.format("µm", "ms")])
@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_damaged_frame_below_a_header_of_trackmate_is_refused(tmp_path, described, damaged):
    rows = [f"ID{i},0,{i / 2},{i / 5},{20 * i},{'?' if i == damaged else i}" for i in range(5)]
    path = tmp_path / "a.csv"
    path.write_text(HEADER + described + "\n".join(rows) + "\n", encoding="utf-8")
    row = damaged + 1 + described.count("\n")
    with pytest.raises(InputError, match=rf"data row {row}, column 'FRAME' holds '\?'"):
        read_tracks(path)


@pytest.mark.parametrize(
    ("length", "time", "units"),
    [
        ("mm", "sec", Units("mm", 1e3, 20.0)),
        ("Å", "ms", Units("angstrom", 1e-4, 0.02)),
        ("pixel", "frame", Units("px")),
        ("µm", "min", Units("um", 1.0, 1200.0)),
        ("inch", "hour", Units("inch", 25_400.0, 72_000.0)),
    ],
)
def test_units_of_trackmate(tmp_path, length, time, units):
    rows = [f"ID{i},0,{i / 2},{i / 5},{20 * i},{i}" for i in range(5)]
    path = tmp_path / "a.csv"
    path.write_text(HEADER + DESCRIBED.format(length, time) + "\n".join(rows) + "\n", encoding="utf-8")
    assert read_tracks(path).units == units


def test_units_of_trackmate_that_are_not_known(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(HEADER + DESCRIBED.format("parsec", "sec") + "ID1,0,1,2,0,0\n", encoding="utf-8")
    with pytest.raises(InputError, match="'parsec' is not known, expected px, um"):
        read_tracks(path)
    path.write_text(HEADER + DESCRIBED.format("um", "fortnight") + "ID1,0,1,2,0,0\n", encoding="utf-8")
    assert "'fortnight' is not known" in read_tracks(path).warnings[0]


def test_columns_of_errors():
    text = read(make_table(sigma=["wide"] * N))
    assert "sigma" not in text.table and "'sigma' is not used" in text.warnings[0]
    error = read(make_table(x="x_um", y="y_um", **{"x_err [nm]": np.full(N, 30.0), "y_err [nm]": np.full(N, 40.0)}))
    assert error.table["sigma"].tolist() == pytest.approx([np.sqrt(0.00125)] * N) and error.warnings == []
    assert "positions are in px" in read(make_table(lpx_nm=np.ones(N), lpy_nm=np.ones(N))).warnings[0]
    bad = read(make_table(localization_error=["a", 0.1, -1, 0, 1e9, np.inf]))
    assert bad.table["sigma"].notna().tolist() == [False, True] + [False] * 4
    assert "5 of 6 points have no localisation error, because 'localization_error'" in bad.warnings[0]
    assert "true and false" in read(make_table(localization_error=[True] * N)).warnings[0]


def test_columns_that_are_named_leave_trackmate_its_rows(tmp_path):
    rows = [f"ID{i},0,{i / 2},{i / 5},{20 * i},{i},{i / 3},{i / 7}" for i in range(5)]
    described = DESCRIBED.format("nm", "ms").replace("\n", ",X2,Y2\n", 2).replace(",\n", ",,(nm),(nm)\n")
    path = tmp_path / "a.csv"
    path.write_text("\n".join([HEADER.strip() + ",OTHER_X,OTHER_Y", *described.splitlines(), *rows]) + "\n")
    tracks = read_tracks(path, columns={"x": "OTHER_X", "y": "OTHER_Y"})
    assert tracks.format == "trackmate-csv" and tracks.units == Units("nm", 1e-3, 0.02)
    assert tracks.table["x"].tolist() == pytest.approx([i / 3 for i in range(5)])


def test_naming_columns_does_not_settle_the_unit():
    table = pd.DataFrame({name: TRAJECTORY[name] for name in ("trajectory", "frame", "t", "x", "y")})
    with pytest.raises(InputError, match="give --format"):
        read(table, {"x": "x", "y": "y"})
    assert read(table.assign(x_nm=table["x"], y_nm=table["y"]), {"x": "x_nm", "y": "y_nm"}).units == Units("nm", 1e-3)
