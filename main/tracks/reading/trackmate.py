"""TrackMate's exports: the table of spots (CSV) and the XML files, in physical units."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from main.tracks.reading.columns import (
    FRAME_WORDS,
    LENGTHS,
    SECONDS_PER_UNIT,
    check_given,
    find_length_unit,
    refuse_repeated,
)
from main.tracks.reading.elements import RowBuffer, check_children, iterate_elements
from main.tracks.reading.error_columns import take_localization_errors
from main.tracks.reading.times import estimate_frame_interval
from main.tracks.reading.trackmate_session import CHILDREN, read_session
from main.tracks.table import UM_PER_UNIT, Tracks, Units, validate, warn_of_depth
from main.utils.errors import InputError

UNLINKED = ("", "none", "nan", "null")  # track_id of a spot in no track, in lower case
MAX_DESCRIPTION_ROWS = 3  # names, short names, units


def read_trackmate_csv(raw: pd.DataFrame, path, columns: dict[str, str], frame_interval: float | None = None) -> Tracks:
    """Read TrackMate's table of spots, without its description rows and the spots in no track.

    Parameters
    ----------
    raw : pandas.DataFrame
        The file as read, its header as column names.
    path : str or Path
    columns : dict
        track_id, frame, x, y -> column name, for those that differ from TrackMate's names.
    frame_interval : float, optional
        Not used: TrackMate writes frame numbers.

    Returns
    -------
    Tracks
        Length unit from the row of units. Without one (TrackMate before version 7) um is assumed, which TrackMate
        writes for a calibrated image, with a warning.

    Raises
    ------
    InputError
        If a column is missing or no spot belongs to a track, see also `main.tracks.table.validate`.
    """
    upper = {str(name).upper(): name for name in raw.columns}
    names = {"track_id": "TRACK_ID", "frame": "FRAME", "x": "POSITION_X", "y": "POSITION_Y"}
    check_given(raw.columns, path, columns)
    columns = {role: upper.get(name, name) for role, name in names.items()} | columns
    missing = [name for name in columns.values() if name not in raw.columns]
    if missing:
        raise InputError(
            f"{path}: no column {' or '.join(map(repr, missing))}, expected TrackMate's table of spots; "
            "name the column with --columns."
        )
    refuse_repeated(raw, path, columns)
    if "described" in raw.attrs:
        described = pd.DataFrame(raw.attrs["described"])
        described.columns = raw.columns
        spots = raw.set_axis(raw.index + len(described))
    else:
        described = find_description_rows(raw, columns["frame"])
        spots = raw.iloc[len(described) :]
    linked = ~spots[columns["track_id"]].astype("string").str.strip().str.lower().fillna("").isin(UNLINKED)
    if len(spots) and not linked.any():
        raise InputError(
            f"{path}: none of its {len(spots)} spots is linked to a track, link the spots in TrackMate first."
        )
    units, warnings = _find_length(described, columns, path)
    named = list(columns.values())
    points, error_warnings = take_localization_errors(spots[linked.to_numpy()], named, path, units.position)
    table = validate(points, path, columns)
    time = upper.get("POSITION_T")
    if time in table:
        interval, time_warnings = _find_interval(described[time], table, time, path)
        units, warnings = replace(units, frame_interval_s=interval), warnings + time_warnings
    warnings += error_warnings
    if "POSITION_Z" in upper:
        warnings += warn_of_depth(spots[upper["POSITION_Z"]][linked.to_numpy()], path)
    dropped = {"unlinked": int((~linked).sum())} if not linked.all() else {}
    return Tracks(table, units, Path(path), "trackmate-csv", dropped, warnings, columns=columns)


def find_description_rows(raw: pd.DataFrame, frame: str | None = None) -> pd.DataFrame:
    """Return the rows, up to three, under the header that describe columns instead of spots.

    TrackMate 7 writes the names of features, their short names, and their units in brackets (its class
    ExportSpotTable). Such a row holds no number at all, and text under POSITION_X and POSITION_Y; a row of a spot with
    a damaged FRAME holds numbers.

    Parameters
    ----------
    raw : pandas.DataFrame
        At least the first three rows of the file.
    frame : str, optional
        Name of the frame column. Without it, only a table with TrackMate's column names has such rows.

    Returns
    -------
    pandas.DataFrame
        The first rows of `raw`; empty if there is none.
    """
    upper = {str(name).strip().upper(): name for name in raw.columns}
    if frame is None and not {"TRACK_ID", "FRAME", "POSITION_X"} <= set(upper):
        return raw.iloc[:0]
    head = raw.iloc[:MAX_DESCRIPTION_ROWS].astype("string")
    numbers = head.apply(pd.to_numeric, errors="coerce").notna().any(axis=1).to_numpy()
    places = [upper[name] for name in ("POSITION_X", "POSITION_Y") if name in upper]
    texts = [[any(map(str.isalpha, text)) for text in head[name].fillna("")] for name in places]
    described = ~numbers & np.all(texts, axis=0) if texts else np.zeros(len(head), dtype=bool)
    return raw.iloc[: int(np.argmin(np.append(described, False)))]


def _find_length(described, columns, path) -> tuple[Units, list[str]]:
    """Return the length unit, from the names of x and y or from the brackets in the description rows, and warnings."""
    named = {find_length_unit(columns[role], path) or _find_bracketed_unit(described[columns[role]]) for role in "xy"}
    if len(named) > 1:
        raise InputError(
            f"{path}: columns '{columns['x']}' and '{columns['y']}' have different units, expected one; name two "
            "columns of the same unit with --columns x=NAME,y=NAME."
        )
    length = named.pop()
    if length is not None:
        position = length if length in UM_PER_UNIT else _check_length_unit(length, path)
        return Units(position, UM_PER_UNIT.get(position)), []
    text = f"{path}: has no row of units, so positions are taken as um; give --pixel-size if they are pixels."
    return Units("um", UM_PER_UNIT["um"], None, True), [text]


def _find_interval(described, table, time, path) -> tuple[float | None, list[str]]:
    """Return the seconds between frames, and warnings; None if the unit of time is not known."""
    word = _find_bracketed_unit(described)
    seconds = SECONDS_PER_UNIT.get(word)
    if seconds is None:
        strange = word is not None and word not in FRAME_WORDS
        text = f"{path}: the time unit '{word}' is not known, so results are per frame; give --frame-interval."
        return None, [text] if strange else []
    interval, warnings = estimate_frame_interval(table, table[time], path)
    return None if interval is None else interval * seconds, warnings


def _find_bracketed_unit(described: pd.Series) -> str | None:
    for value in described.astype("string").fillna("").str.strip():
        if value.startswith("(") and value.endswith(")"):
            return value[1:-1].strip().lower()
    return None


def _check_length_unit(name: str, path) -> str:
    if name.lower() not in LENGTHS:
        raise InputError(
            f"{path}: length unit '{name}' is not known, expected px, {', '.join(UM_PER_UNIT)}; correct the file."
        )
    return LENGTHS[name.lower()]


def read_trackmate_xml(path) -> Tracks:
    """Read TrackMate's XML: a saved session, or an export of tracks ("simple tracks", with frame numbers under `t`).

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Tracks
        For a session see `main.tracks.reading.trackmate_session`. For simple tracks, track_id is the place of the
        particle in the file, from 0; a declared number of tracks or spots that differs from the file gives a warning.

    Raises
    ------
    InputError
        If the XML is broken or of another kind, see also `main.tracks.reading.elements` and
        `main.tracks.table.validate`.
    """
    elements = check_children(iterate_elements(path), CHILDREN, path)
    _, root, declared = next(elements)
    if root == "TrackMate":
        return read_session(path, elements, lambda *units: _parse_xml_units(*units, path))
    if root != "Tracks":
        raise InputError(
            f"{path}: root element '{root}', expected 'Tracks' as TrackMate's action "
            "'Export tracks to XML file' writes it, or a saved session of TrackMate."
        )
    raw, n_rows, n_spots = _parse_simple_tracks(elements)
    if not len(raw):
        raise InputError(f"{path}: holds no track, expected particles with detections; export the tracks again.")
    table = validate(raw, path, {"track_id": "particle", "frame": "t", "x": "x", "y": "y"}).drop(columns="z")
    warnings = _warn_of_counts(declared.get("nTracks"), n_spots, path) + warn_of_depth(raw["z"], path)
    units = (("spaceUnits", "pixel"), ("timeUnits", ""), ("frameInterval", "nan"))
    units = _parse_xml_units(*(declared.get(name, other) for name, other in units), path)
    return Tracks(table, units, Path(path), "trackmate-xml", {}, warnings, n_rows=n_rows)


def _parse_simple_tracks(elements) -> tuple[pd.DataFrame, int, list[tuple[str | None, int]]]:
    """Parse the elements below the root of simple tracks.

    Returns
    -------
    raw : pandas.DataFrame
        particle (its place in the file, from 0), t, x, y, z of the detections.
    n_rows : int
        Number of all detections.
    n_spots : list of (str or None, int)
        Declared number of detections of each particle, and the number that it holds.
    """
    rows, n_rows, n_spots = RowBuffer(["particle", "t", "x", "y", "z"]), 0, []
    for event, tag, attributes in elements:
        if event == "end":
            n_rows += tag == "detection"
        elif tag == "particle":
            n_spots.append((attributes.get("nSpots"), 0))
        elif tag == "detection":
            declared, held = n_spots[-1]
            n_spots[-1] = (declared, held + 1)
            rows.append((len(n_spots) - 1, *map(attributes.get, ("t", "x", "y", "z"))))
    return rows.make_table(), n_rows, n_spots


def _warn_of_counts(n_tracks: str | None, n_spots: list[tuple[str | None, int]], path) -> list[str]:
    warnings = []
    if n_tracks not in (None, str(len(n_spots))):
        warnings.append(f"{path}: declares {n_tracks} tracks and holds {len(n_spots)}.")
    wrong = sum(declared not in (None, str(held)) for declared, held in n_spots)
    if wrong:
        warnings.append(f"{path}: {wrong} tracks hold another number of spots than they declare.")
    return warnings


def _parse_xml_units(length: str, time: str, interval: str, path) -> Units:
    """Return the units of an XML file; an unknown time unit or interval leaves the frame interval unknown."""
    position = _check_length_unit(length, path)
    try:
        seconds = float(interval) * SECONDS_PER_UNIT.get(time.lower(), np.nan)
    except ValueError as error:
        raise InputError(
            f"{path}: the time between frames is '{interval}', expected a number; correct the file."
        ) from error
    seconds = seconds if np.isfinite(seconds) and seconds > 0 else None
    return Units(position, UM_PER_UNIT.get(position), seconds)
