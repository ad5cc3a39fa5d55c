"""Reads track files into the validated track table. A format is recognised by content and header."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from main.tracks.reading.columns import find_columns, spell_columns
from main.tracks.reading.error_columns import take_localization_errors
from main.tracks.reading.icy import read_icy
from main.tracks.reading.imaris import find_imaris_columns
from main.tracks.reading.kinds import FORMAT_OF_KIND, check_kind, find_kind
from main.tracks.reading.mosaic import read_mosaic_report
from main.tracks.reading.mtrackj import number_table, read_mdf
from main.tracks.reading.parquet import read_parquet_table
from main.tracks.reading.text import read_text_table
from main.tracks.reading.trackmate import estimate_frame_interval, read_trackmate_csv, read_trackmate_xml
from main.tracks.reading.utrack import read_utrack
from main.tracks.table import COLUMNS, UM_PER_UNIT, Tracks, Units, check_account, validate, warn_of_depth
from main.utils.errors import InputError

DEPTH_SPELLINGS = ("z", "pos_z", "position_z", "z_pos", "z_position", "zpos")  # not used; a warning if it varies


def read_tracks(path, format: str = "auto", columns: dict[str, str] | None = None) -> Tracks:
    """Read one track file.

    Parameters
    ----------
    path : str or Path
        CSV (comma, semicolon or tab), Parquet or TrackMate XML file; its content decides, not its extension.
    format : str
        Key of FORMATS; "auto" looks at the content and the header.
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
    kind = find_kind(path)
    check_kind(path, kind, format, columns)
    if kind in FORMAT_OF_KIND:
        return check_account(FORMATS[FORMAT_OF_KIND[kind]](path))
    if kind == "parquet":
        raw = read_parquet_table(path)
    else:
        raw = read_text_table(path, format in ("auto", "trackmate-csv") and not columns)
    return check_account(replace(read_table(raw, path, format, columns), n_rows=raw.attrs["n_rows"]))


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


def detect_format(header) -> str:
    """Return the name of the format with these column names, "plain" if no other fits."""
    names = {str(name).lower() for name in header}
    if {"track_id", "position_x", "position_y"} <= names:
        return "trackmate-csv"
    if {"position x", "position y", "time"} <= names:
        return "imaris"
    if {"tid", "pid"} <= names:
        return "mtrackj"
    if {"trajectory", "frame", "x", "y", "m0"} <= names:
        return "mosaic"
    if {"trajectory", "frame", "x", "y"} <= names:
        return "spoton" if "t" in names else "saspt"
    if "traj_idx" in names:
        return "andi"
    if "particle" in names:
        return "trackpy"
    if {"id", "t", "y", "x"} <= names and "frame" not in names:
        return "napari"
    return "plain"


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


def _read_imaris(raw, path, columns) -> Tracks:
    found, units, keep = find_imaris_columns(raw, path)
    return _make_tracks(raw, path, found | columns, "imaris", units, keep, "unlinked")


def _read_mosaic(raw, path, columns) -> Tracks:
    """Read the table of MosaicSuite's Particle Tracker, which has positions in pixels."""
    return _make_tracks(raw, path, columns, "mosaic", Units())


def _read_mtrackj(raw, path, columns) -> Tracks:
    raw, interval, warnings = number_table(raw, path)
    tracks = _make_tracks(raw, path, {"track_id": "track_id", "frame": "frame"} | columns, "mtrackj")
    return replace(
        tracks, units=replace(tracks.units, frame_interval_s=interval), warnings=[*tracks.warnings, *warnings]
    )


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
