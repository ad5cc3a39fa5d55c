"""Reads track files into the validated track table. A format is recognised by content and header."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from main.tracks.reading.columns import SPELLINGS, check_given, find_columns, find_time_unit, spell_columns
from main.tracks.reading.error_columns import take_localization_errors
from main.tracks.reading.icy import read_icy
from main.tracks.reading.imaris import find_imaris_columns
from main.tracks.reading.kinds import FORMAT_OF_KIND, check_kind, find_kind
from main.tracks.reading.mosaic import read_mosaic_report
from main.tracks.reading.mtrackj import number_table, read_mdf
from main.tracks.reading.parquet import read_parquet_table
from main.tracks.reading.text import read_text_table, refuse_points
from main.tracks.reading.times import count_frames, estimate_frame_interval
from main.tracks.reading.trackmate import read_trackmate_csv, read_trackmate_xml
from main.tracks.reading.utrack import read_utrack
from main.tracks.table import COLUMNS, UM_PER_UNIT, Tracks, Units, check_account, validate, warn_of_depth
from main.tracks.values import warn_of_resolution
from main.utils.errors import InputError

DEPTH_SPELLINGS = ("z", "pos_z", "position_z", "z_pos", "z_position", "zpos")  # not used; a warning if it varies
SPOT_ON_COLUMNS = ["frame", "t", "trajectory", "x", "y"]  # in this order; a column of row numbers may come first
TRACKMATE_FEATURES = {"position_t", "quality", "radius", "visibility"}  # of spots, beside tracks and places


def read_tracks(
    path,
    format: str = "auto",
    columns: dict[str, str] | None = None,
    frame_interval: float | None = None,
    decimal: str | None = None,
) -> Tracks:
    """Read one track file.

    Parameters
    ----------
    path : str or Path
        CSV (comma, semicolon or tab), Parquet or TrackMate XML file; its content decides, not its extension.
    format : str
        Key of FORMATS; "auto" looks at the content and the header.
    columns : dict, optional
        track_id, frame, x, y -> column name in the file, for any of the four; the others are found by their names. The
        column of frames may hold times.
    frame_interval : float, optional
        Seconds between frames, for a table that holds times instead of frame numbers; else it is found from the times.
    decimal : {"point", "comma"}, optional
        Decimal mark of a text file; by default what the numbers show.

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
    kind = find_kind(path)
    check_kind(path, kind, format, columns)
    if kind in FORMAT_OF_KIND:
        return check_account(FORMATS[FORMAT_OF_KIND[kind]](path))
    if kind == "parquet":
        raw = read_parquet_table(path)
    else:
        raw = read_text_table(path, format in ("auto", "trackmate-csv"), decimal, (columns or {}).values())
    tracks = read_table(raw, path, format, columns, frame_interval)
    if raw.attrs.get("decimal") == ",":
        refuse_points(raw, tracks.columns.values(), path)
    said = raw.attrs.get("warnings", []) + tracks.warnings + warn_of_resolution(tracks.table, path)
    table = tracks.table.drop(columns=raw.attrs.get("other_types", []), errors="ignore")
    return check_account(replace(tracks, table=table, n_rows=raw.attrs["n_rows"], warnings=said))


def read_table(
    raw: pd.DataFrame,
    source,
    format: str = "auto",
    columns: dict[str, str] | None = None,
    frame_interval: float | None = None,
) -> Tracks:
    """Convert a table, from a file or from memory, to Tracks.

    Parameters
    ----------
    raw : pandas.DataFrame
        One row per point.
    source : str or Path
        File or name of the table, for errors.
    format, columns, frame_interval
        As in `read_tracks`.

    Raises
    ------
    InputError
        As in `read_tracks`.
    """
    named = set(raw.index.names) - {None} - set(raw.columns)
    raw = raw.reset_index(drop=not named)
    check_given(raw.columns, source, {})
    if format == "auto":
        format = _choose_format(raw.columns, source, columns)
    return FORMATS[format](raw, source, columns or {}, frame_interval)


def _choose_format(header, source, columns: dict[str, str] | None) -> str:
    """Detect the format; a table whose columns the user named is plain, unless it is TrackMate's."""
    if not columns:
        return detect_format(header, source)
    replaced = {role for role, name in columns.items() if name.lower() != role} - {"track_id"}
    format = detect_format([name for name in header if str(name).lower() not in replaced], source)
    return format if format == "trackmate-csv" else "plain"


def detect_format(header, source) -> str:
    """Return the name of the format with these column names, "plain" if no other fits.

    Raises
    ------
    InputError
        If two formats with different units fit: Spot-On (um) and saSPT (px), or TrackMate (um) and plain (px).
    """
    exact = [str(name).strip() for name in header]
    names = {name.lower() for name in exact}
    if {"TRACK_ID", "POSITION_X", "POSITION_Y"} <= set(exact):
        return "trackmate-csv"
    if {"track_id", "position_x", "position_y"} <= names and names & TRACKMATE_FEATURES:
        raise InputError(
            f"{source}: column names are those of TrackMate, but not in capitals as it writes them; give --format "
            "trackmate-csv (positions in um) or --format plain (px)."
        )
    if {"position x", "position y", "time"} <= names:
        return "imaris"
    if {"tid", "pid"} <= names:
        return "mtrackj"
    if {"trajectory", "frame", "x", "y", "m0"} <= names:
        return "mosaic"
    if {"trajectory", "frame", "x", "y"} <= names:
        if "t" not in names:
            return "saspt"
        if [name for name in exact if name and not name.startswith("Unnamed:")] == SPOT_ON_COLUMNS:
            return "spoton"
        raise InputError(
            f"{source}: column names fit both Spot-On and saSPT; give --format spoton (positions in um, t in s) or "
            "--format saspt (px)."
        )
    if names & {"traj_idx", "particle"} and len(names & set(SPELLINGS["track_id"][0])) == 1:
        return "andi" if "traj_idx" in names else "trackpy"
    if {"id", "t", "y", "x"} <= names and "frame" not in names:
        return "napari"
    return "plain"


def _make_tracks(raw, path, given, format, interval=None, units=None, keep=None, reason="", seconds=None) -> Tracks:
    """Convert the rows `keep` of a raw table to Tracks; `reason` says why the other rows are dropped.

    `units` counts where no unit stands in the names of x and y, `seconds` (per unit) where none stands in that of time.
    """
    columns, unit = find_columns(raw, path, given)
    units = Units(unit or "px", UM_PER_UNIT.get(unit)) if unit or units is None else units
    dropped, ids = {}, columns["track_id"]
    if keep is None:
        keep, reason = ~_find_unassigned(raw[ids], path, ids, format), "unassigned"
    if not keep.all():
        dropped[reason] = int((~keep).sum())
        if len(raw) and not keep.any():
            raise InputError(f"{path}: every one of its {len(raw)} points is {reason}, expected points in tracks.")
        raw = raw[keep]
    found, warnings = None, []
    if "time" in columns:
        named = find_time_unit(columns["time"], path)
        seconds = named if named is not None else seconds
    if "frame" not in columns and len(raw):
        timed = columns["time"]
        frames, found, warnings = count_frames(raw[timed], raw[ids], path, seconds, interval)
        raw, roles = raw.assign(**{timed: frames}), columns | {"frame": timed}
    else:
        roles = {"frame": columns.get("time")} | columns
    named = list(roles.values())
    extra, error_warnings = take_localization_errors(raw, named, path, units.position)
    extra = extra.drop(columns=[name for name in COLUMNS if name in extra and name not in named])
    table = validate(extra, path, {role: roles[role] for role in COLUMNS})
    if "frame" in columns and "time" in columns and seconds is not None:
        found, warnings = _find_interval(table, raw, columns, seconds, path)
    if found is not None:
        units = replace(units, frame_interval_s=found)
    else:
        columns = {role: name for role, name in columns.items() if role != "time" or "frame" not in columns}
    warnings += error_warnings
    spelled = spell_columns(raw.columns)
    depth = next((spelled[name] for name in DEPTH_SPELLINGS if name in spelled), None)
    if depth not in (None, *named):
        warnings += warn_of_depth(raw[depth], path)
    return Tracks(table, units, Path(path), format, dropped, warnings, columns=columns)


def _find_unassigned(ids: pd.Series, path, column, format: str) -> np.ndarray:
    """Return which points belong to no track: those of track -1, for saSPT those of any negative one; shape (N,) bool.

    Raises
    ------
    InputError
        If a format other than saSPT holds -1 and other negative numbers, which may be tracks.
    """
    numbers = pd.to_numeric(ids, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    negative = numbers < 0
    if format != "saspt" and negative.any():
        other = negative & (numbers != -1)
        if other.any() and (negative & ~other).any():
            raise InputError(
                f"{path}: column '{column}' holds -1 and {numbers[other][0]:.0f}; if all negative numbers stand for "
                "points in no track, give --format saspt; if they are tracks, number them from 0."
            )
        return negative & ~other
    return negative


def _find_interval(table, raw, columns, seconds, path) -> tuple[float | None, list[str]]:
    """Return the seconds between frames of a table with frames and times, and warnings."""
    times = table.get(columns["time"], raw[columns["time"]])
    if seconds == "frame":
        return None, []
    interval, warnings = estimate_frame_interval(table, times, path)
    if interval is None:
        return None, warnings
    return interval * seconds, warnings


def _read_plain(raw, path, columns, interval=None) -> Tracks:
    return _make_tracks(raw, path, columns, "plain", interval)


def _read_andi(raw, path, columns, interval=None) -> Tracks:
    return _make_tracks(raw, path, _find_exact(raw, {"track_id": "traj_idx"}) | columns, "andi", interval)


def _read_trackpy(raw, path, columns, interval=None) -> Tracks:
    return _make_tracks(raw, path, _find_exact(raw, {"track_id": "particle"}) | columns, "trackpy", interval)


def _read_napari(raw, path, columns, interval=None) -> Tracks:
    """Read napari's tracks: columns ID, T, (Z,) Y, X, where T is the frame."""
    return _make_tracks(
        raw, path, _find_exact(raw, {"track_id": "id", "x": "x", "y": "y"}) | columns, "napari", interval
    )


def _read_saspt(raw, path, columns, interval=None) -> Tracks:
    """Read saSPT's table, without the points of negative trajectory number, which belong to no track."""
    return _make_tracks(raw, path, _find_exact(raw, {"track_id": "trajectory"}) | columns, "saspt", interval)


def _read_spoton(raw, path, columns, interval=None) -> Tracks:
    """Read Spot-On's table, which has positions in um and t in seconds."""
    found = _find_exact(raw, {"track_id": "trajectory", "frame": "frame"})
    return _make_tracks(raw, path, found | columns, "spoton", interval, Units("um", 1.0), seconds=1.0)


def _find_exact(raw, names: dict[str, str]) -> dict[str, str]:
    """Return role -> column for the names, in any case, that the table has."""
    lower = {str(name).lower(): name for name in reversed(raw.columns)}
    return {role: lower[name] for role, name in names.items() if name in lower}


def _read_imaris(raw, path, columns, interval=None) -> Tracks:
    found, units, keep = find_imaris_columns(raw, path)
    return _make_tracks(raw, path, found | columns, "imaris", interval, units, keep, "unlinked")


def _read_mosaic(raw, path, columns, interval=None) -> Tracks:
    """Read the table of MosaicSuite's Particle Tracker, which has positions in pixels."""
    return _make_tracks(raw, path, columns, "mosaic", interval, Units())


def _read_mtrackj(raw, path, columns, interval=None) -> Tracks:
    raw, warnings = number_table(raw, path)
    tracks = _make_tracks(raw, path, {"track_id": "track_id"} | columns, "mtrackj", interval)
    return replace(tracks, warnings=[*tracks.warnings, *warnings])


FORMATS = {
    "auto": None,
    "plain": _read_plain,
    "andi": _read_andi,
    "saspt": _read_saspt,
    "trackpy": _read_trackpy,
    "spoton": _read_spoton,
    "napari": _read_napari,
    "imaris": _read_imaris,
    "mosaic": _read_mosaic,
    "mosaic-report": read_mosaic_report,
    "mtrackj": _read_mtrackj,
    "mtrackj-mdf": read_mdf,
    "icy": read_icy,
    "u-track": read_utrack,
    "trackmate-csv": read_trackmate_csv,
    "trackmate-xml": read_trackmate_xml,
}
