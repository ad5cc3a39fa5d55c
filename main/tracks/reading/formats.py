"""Reads track files into the validated track table. A format is recognised by extension and header."""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from main.tracks.reading.error_columns import take_localization_errors
from main.tracks.reading.trackmate import (
    estimate_frame_interval,
    find_description_rows,
    read_trackmate_csv,
    read_trackmate_xml,
)
from main.tracks.table import COLUMNS, UM_PER_UNIT, Tracks, Units, validate, warn_of_depth
from main.utils.errors import InputError

SPELLINGS = {  # names of columns in files, in lower case, the first found is taken
    "track_id": (
        "track_id",
        "trackid",
        "track",
        "trajectory",
        "trajectory_id",
        "traj",
        "traj_idx",
        "traj_id",
        "particle",
        "particle_id",
        "track_idx",
        "track_number",
        "id",
    ),
    "frame": ("frame", "frames", "frame_id", "frame_idx", "frame_number", "frame_index", "t"),
    "x": ("x", "pos_x", "position_x", "x_pos", "x_position", "xpos"),
    "y": ("y", "pos_y", "position_y", "y_pos", "y_position", "ypos"),
}
DEPTH_SPELLINGS = ("z", "pos_z", "position_z", "z_pos", "z_position", "zpos")  # not used; a warning if it varies
CHUNK_CHARACTERS = 2**20  # read at a time
LENGTH_UNIT = re.compile(r"[\s_(\[]+(px|pixels?|um|µm|μm|microns?|micrometers?|nm|nanometers?)[)\]]*$")
LENGTH_OF_LETTER = {"p": "px", "n": "nm", "u": "um", "m": "um", "µ": "um", "μ": "um"}  # first letter of a unit -> unit


def read_tracks(path, format: str = "auto", columns: dict[str, str] | None = None) -> Tracks:
    """Read one track file.

    Parameters
    ----------
    path : str or Path
        CSV (comma, semicolon or tab), Parquet or TrackMate XML file.
    format : str
        Key of FORMATS; "auto" looks at the extension and the header.
    columns : dict, optional
        track_id, frame, x, y -> column name in the file, for any of the four; the others are found by their names.

    Returns
    -------
    Tracks
        Positions in the unit of the file (`units.position`), never rescaled.

    Raises
    ------
    InputError
        If the file cannot be used; the sentence names the file and, if possible, row and column.
    """
    path = Path(path)
    if format not in FORMATS:
        raise InputError(f"--format is '{format}', expected one of {', '.join(FORMATS)}.")
    check_file(path)
    if format == "trackmate-xml" or (format == "auto" and path.suffix.lower() == ".xml"):
        return read_trackmate_xml(path)
    return read_table(read_raw(path, format in ("auto", "trackmate-csv") and not columns), path, format, columns)


def read_table(raw: pd.DataFrame, source, format: str = "auto", columns: dict[str, str] | None = None) -> Tracks:
    """Convert a table, from a file or from memory, to Tracks.

    Parameters
    ----------
    raw : pandas.DataFrame
        One row per point.
    source : str or Path
        File or name of the table, for errors.
    format, columns
        As in `read_tracks`.

    Raises
    ------
    InputError
        As in `read_tracks`.
    """
    named = set(raw.index.names) - {None} - set(raw.columns)
    raw = raw.reset_index(drop=not named)
    if format == "auto":
        format = "plain" if columns else detect_format(raw.columns)
    return FORMATS[format](raw, source, columns or {})


def check_file(path: Path) -> None:
    """Raise InputError unless `path` is a file that is not empty."""
    if path.is_dir():
        raise InputError(
            f"{path}: is a folder, expected a track file; for all its files give a pattern such as {path}/*.csv."
        )
    if not path.exists():
        raise InputError(f"{path}: no such file, correct the path.")
    if not path.is_file() or path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty, expected a track file; export the tracks again.")


def read_raw(path: Path, described: bool = True) -> pd.DataFrame:
    """Read the table of a CSV or Parquet file, with index 0..N-1 for its data rows.

    Parameters
    ----------
    path : Path
    described : bool
        Whether to look for TrackMate's rows of names and units. They go to `attrs["described"]` of the table (column
        -> list of str), because among numbers they would make every column text.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    InputError
        If the file cannot be parsed.
    """
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
        encoding = detect_encoding(path)
        with open(path, encoding=encoding) as file:
            header = file.readline()
        separator = max(",;\t", key=header.count)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # `parse_numbers` reports text with its row
            given = {"sep": separator, "encoding": encoding, "index_col": False, "skip_blank_lines": False}
            rows = find_description_rows(pd.read_csv(path, nrows=3 * described, dtype="string", **given))
            raw = pd.read_csv(path, skiprows=range(1, len(rows) + 1), **given)
    except InputError:
        raise
    except (ValueError, OSError, pd.errors.ParserWarning) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(
            f"{path}: cannot be read as a table ({reason}), expected as many columns in every row as in the header; "
            "export the tracks again."
        ) from error
    raw.columns = [str(name).strip() for name in raw.columns]
    raw = raw.iloc[: len(raw) - _count_trailing_blank_rows(raw)].reset_index(drop=True)
    raw.attrs = {"described": rows.to_dict("list")} if len(rows) else {}
    return raw


def detect_encoding(path: Path) -> str:
    """Return the encoding of a text file: UTF-8 or cp1252, in which TrackMate writes "µm" on Windows.

    Raises
    ------
    InputError
        If the file is no text in either.
    """
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            with open(path, encoding=encoding, newline="") as file:
                if not any("\0" in text for text in iter(lambda file=file: file.read(CHUNK_CHARACTERS), "")):
                    return encoding
        except UnicodeDecodeError:
            continue
    raise InputError(f"{path}: is no text file, expected CSV, Parquet (.parquet, .pq) or TrackMate XML (.xml).")


def _count_trailing_blank_rows(raw: pd.DataFrame) -> int:
    """Count the empty rows at the end of the file."""
    filled = np.flatnonzero(raw.notna().any(axis=1).to_numpy())
    return len(raw) - (filled[-1] + 1 if filled.size else 0)


def detect_format(header) -> str:
    """Return the name of the format with these column names, "plain" if no other fits."""
    names = {str(name).lower() for name in header}
    if {"track_id", "position_x", "position_y"} <= names:
        return "trackmate-csv"
    if {"trajectory", "frame", "x", "y"} <= names:
        return "spoton" if "t" in names else "saspt"
    if "traj_idx" in names:
        return "andi"
    if "particle" in names:
        return "trackpy"
    if {"id", "t", "y", "x"} <= names and "frame" not in names:
        return "napari"
    return "plain"


def find_columns(header, source, given: dict[str, str]) -> tuple[dict[str, str], str]:
    """Find the columns of track_id, frame, x, y, and the length unit in the names of x and y.

    Parameters
    ----------
    header : iterable of str
        Column names of the file.
    source : str or Path
        File, for errors.
    given : dict
        track_id, frame, x, y -> column name, for columns that need not be found.

    Returns
    -------
    columns : dict
        track_id, frame, x, y -> column name in the file.
    unit : {"px", "um", "nm"}
        "px" if the names hold no unit.

    Raises
    ------
    InputError
        If a column is missing, or x and y have different units.
    """
    spelled = spell_columns(header)
    columns = {role: next((spelled[s] for s in SPELLINGS[role] if s in spelled), None) for role in COLUMNS}
    columns.update(given)
    missing = [role for role in COLUMNS if columns[role] is None]
    if missing:
        raise InputError(
            f"{source}: no column for {', '.join(missing)} among {', '.join(map(str, header))}; "
            "name them with --columns track=NAME,frame=NAME,x=NAME,y=NAME."
        )
    units = {_find_declared_unit(columns["x"]), _find_declared_unit(columns["y"])}
    if len(units) > 1:
        raise InputError(f"{source}: columns '{columns['x']}' and '{columns['y']}' have different units, expected one.")
    return columns, units.pop()


def spell_columns(header) -> dict[str, str]:
    """Return column names without units, in lower case and with underscores -> the first column of this name."""
    spelled = {}
    for name in header:
        plain = LENGTH_UNIT.sub("", str(name).lower().strip())
        spelled.setdefault(plain.replace(" ", "_"), name)
    return spelled


def _find_declared_unit(name: str) -> str:
    match = LENGTH_UNIT.search(str(name).lower().strip())
    return LENGTH_OF_LETTER[match.group(1)[0]] if match else "px"


def _make_tracks(raw, path, columns, format, units=None, keep=None, reason="") -> Tracks:
    """Convert the rows `keep` of a raw table to Tracks; `reason` says why the other rows are dropped."""
    columns, unit = find_columns(raw.columns, path, columns)
    units = units or Units(unit, UM_PER_UNIT.get(unit))
    dropped = {}
    if keep is not None and not keep.all():
        dropped[reason] = int((~keep).sum())
        if len(raw) and not keep.any():
            raise InputError(f"{path}: every one of its {len(raw)} points is {reason}, expected points in tracks.")
    kept = raw if keep is None else raw[keep]
    named = list(columns.values())
    extra, warnings = take_localization_errors(kept, named, path)
    extra = extra.drop(columns=[name for name in COLUMNS if name in extra and name not in named])
    table = validate(extra, path, columns)
    spelled = spell_columns(raw.columns)
    depth = next((spelled[name] for name in DEPTH_SPELLINGS if name in spelled), None)
    if depth not in (None, *named):
        warnings += warn_of_depth(kept[depth], path)
    return Tracks(table, units, Path(path), format, dropped, warnings)


def _read_plain(raw, path, columns) -> Tracks:
    return _make_tracks(raw, path, columns, "plain")


def _read_andi(raw, path, columns) -> Tracks:
    return _make_tracks(raw, path, {"track_id": "traj_idx"} | columns, "andi")


def _read_trackpy(raw, path, columns) -> Tracks:
    return _make_tracks(raw, path, {"track_id": "particle"} | columns, "trackpy")


def _read_napari(raw, path, columns) -> Tracks:
    """Read napari's tracks: columns ID, T, (Z,) Y, X, where T is the frame."""
    lower = {str(name).lower(): name for name in raw.columns}
    names = {"track_id": "id", "frame": "t", "x": "x", "y": "y"}
    return _make_tracks(raw, path, {role: lower.get(name, name) for role, name in names.items()} | columns, "napari")


def _read_saspt(raw, path, columns) -> Tracks:
    """Read saSPT's table, without the points of negative trajectory number, which belong to no track."""
    columns = {"track_id": "trajectory"} | columns
    keep = None
    if columns["track_id"] in raw.columns:
        keep = ~(pd.to_numeric(raw[columns["track_id"]], errors="coerce") < 0)
    return _make_tracks(raw, path, columns, "saspt", keep=keep, reason="unassigned")


def _read_spoton(raw, path, columns) -> Tracks:
    """Read Spot-On's table, which has positions in um and t in seconds."""
    columns = {"track_id": "trajectory", "frame": "frame"} | columns
    tracks = _make_tracks(raw, path, columns, "spoton", units=Units("um", 1.0))
    time = tracks.table["t"] if "t" in tracks.table else pd.Series(np.nan, tracks.table.index)
    seconds = pd.to_numeric(time, errors="coerce").to_numpy(dtype=np.float64)
    tracks.units = Units("um", 1.0, estimate_frame_interval(tracks.table["frame"].to_numpy(), seconds))
    return tracks


FORMATS = {
    "auto": None,
    "plain": _read_plain,
    "andi": _read_andi,
    "saspt": _read_saspt,
    "trackpy": _read_trackpy,
    "spoton": _read_spoton,
    "napari": _read_napari,
    "trackmate-csv": read_trackmate_csv,
    "trackmate-xml": read_trackmate_xml,
}
