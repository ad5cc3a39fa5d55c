"""TrackMate's exports: the spots table (CSV) and its XML, in physical units."""

from pathlib import Path
from xml.etree.ElementTree import ParseError

import numpy as np
import pandas as pd
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse, parse

from main.tracks.reading.trackmate_session import read_session
from main.tracks.table import UM_PER_UNIT, Tracks, Units, validate
from main.utils.errors import InputError

LENGTHS = {
    "micron": "um",
    "microns": "um",
    "um": "um",
    "µm": "um",
    "μm": "um",
    "micrometer": "um",
    "nm": "nm",
    "nanometer": "nm",
    "pixel": "px",
    "pixels": "px",
    "px": "px",
}
SECONDS = {
    "sec": 1.0,
    "s": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "ms": 1e-3,
    "msec": 1e-3,
    "millisecond": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "min": 60.0,
}
UNLINKED = ("", "none", "nan", "null")


def frame_interval(frame: np.ndarray, time: np.ndarray) -> float | None:
    """Time between frames, from the first and last frame of a table; None with fewer than two frames.

    Parameters
    ----------
    frame, time : numpy.ndarray, shape (N,)
    """
    known = np.isfinite(time)
    if not known.any():
        return None
    frame, time = frame[known], time[known]
    first, last = np.argmin(frame), np.argmax(frame)
    interval = (time[last] - time[first]) / max(frame[last] - frame[first], 1)
    return float(interval) if interval > 0 else None


def read_trackmate_csv(raw: pd.DataFrame, path, columns: dict[str, str]) -> Tracks:
    """TrackMate spots table: up to three description rows under the header, unlinked spots left out.

    Parameters
    ----------
    raw : pandas.DataFrame
        The file as read, its header as column names.
    path : str or Path
    columns : dict
        track_id, frame, x, y -> column name, for those that are not named as TrackMate does.

    Returns
    -------
    Tracks
        Length unit from the unit row. Without one (TrackMate before version 7) positions are taken as um,
        what TrackMate writes for a calibrated image, with a warning.

    Raises
    ------
    InputError
        See `validate`; also if no spot is linked.
    """
    upper = {str(name).upper(): name for name in raw.columns}
    names = {"track_id": "TRACK_ID", "frame": "FRAME", "x": "POSITION_X", "y": "POSITION_Y"}
    columns = {role: upper.get(name, name) for role, name in names.items()} | columns
    missing = [name for name in columns.values() if name not in raw.columns]
    if missing:
        raise InputError(f"{path}: no column {' or '.join(map(repr, missing))}, expected TrackMate spots.")
    if "described" in raw.attrs:
        described = pd.DataFrame(raw.attrs["described"])
        described.columns = raw.columns
        spots = raw.set_axis(raw.index + len(described))
    else:
        described = described_rows(raw, columns["frame"])
        spots = raw.iloc[len(described) :]
    linked = ~spots[columns["track_id"]].astype("string").str.strip().str.lower().fillna("").isin(UNLINKED)
    if len(spots) and not linked.any():
        raise InputError(f"{path}: none of its {len(spots)} spots is linked to a track.")
    table = validate(spots[linked.to_numpy()], path, columns)
    units, warnings = _csv_units(described, spots, columns, upper.get("POSITION_T"), path)
    dropped = {"unlinked": int((~linked).sum())} if not linked.all() else {}
    return Tracks(table, units, Path(path), "trackmate-csv", dropped, warnings)


def described_rows(raw: pd.DataFrame, frame: str | None = None) -> pd.DataFrame:
    """Those of the first three rows that describe columns instead of spots: their FRAME is no number."""
    upper = {str(name).strip().upper(): name for name in raw.columns}
    if frame is None and not {"TRACK_ID", "FRAME", "POSITION_X"} <= set(upper):
        return raw.iloc[:0]
    head = pd.to_numeric(raw[frame or upper["FRAME"]].iloc[:3], errors="coerce").isna().to_numpy()
    return raw.iloc[: int(np.argmin(np.append(head, False)))]


def _csv_units(described, spots, columns, time_column, path) -> tuple[Units, list[str]]:
    """Units from the description rows; each unit stands in brackets."""
    length = _unit_in_brackets(described[columns["x"]])
    warnings, assumed = [], length is None
    if assumed:
        length = "um"
        warnings.append(f"{path}: no unit row, positions taken as um (give --pixel-size if they are pixels).")
    position = _known_length(length, path)
    interval = None
    if time_column is not None:
        seconds = SECONDS.get(_unit_in_brackets(described[time_column]))
        if seconds is not None:
            frame, time = (
                pd.to_numeric(spots[name], errors="coerce").to_numpy(dtype=np.float64)
                for name in (columns["frame"], time_column)
            )
            interval = frame_interval(frame, time)
            interval = None if interval is None else interval * seconds
    return Units(position, UM_PER_UNIT.get(position), interval, assumed), warnings


def _unit_in_brackets(described: pd.Series) -> str | None:
    for value in described.astype("string").fillna("").str.strip():
        if value.startswith("(") and value.endswith(")"):
            return value[1:-1].lower()
    return None


def _known_length(name: str, path) -> str:
    if name.lower() not in LENGTHS:
        raise InputError(f"{path}: length unit '{name}' is not known, expected one of {', '.join(LENGTHS)}.")
    return LENGTHS[name.lower()]


def read_trackmate_xml(path) -> Tracks:
    """TrackMate's XML, both dialects: a whole session, or "simple tracks" (`t` of a detection being a frame number).

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Tracks
        Of a session see `trackmate_session`. Of simple tracks, track_id is the position of the particle in the file; a
        declared number of tracks or spots that the file does not hold is a warning.

    Raises
    ------
    InputError
        Broken XML, XML of another kind, see also `validate`.
    """
    try:
        _, root = next(iterparse(path, events=("start",), forbid_dtd=True))
        if root.tag == "TrackMate":
            return read_session(path, lambda *declared: _xml_units(*declared, path))
        root = parse(path, forbid_dtd=True).getroot()
    except (ParseError, DefusedXmlException, UnicodeDecodeError, LookupError) as error:
        raise InputError(f"{path}: no readable XML ({str(error).rstrip('.')}).") from error
    if root.tag != "Tracks":
        raise InputError(
            f"{path}: root element '{root.tag}', expected 'Tracks' as TrackMate's action "
            "'Export tracks to XML file' writes it."
        )
    particles = root.findall("particle")
    rows = [
        (track, spot.get("t"), spot.get("x"), spot.get("y"), spot.get("z"))
        for track, particle in enumerate(particles)
        for spot in particle.findall("detection")
    ]
    if not rows:
        raise InputError(f"{path}: holds no track.")
    raw = pd.DataFrame(rows, columns=["particle", "t", "x", "y", "z"])
    columns = {"track_id": "particle", "frame": "t", "x": "x", "y": "y"}
    table = validate(raw, path, columns).drop(columns="z")
    warnings = _count_warnings(root, particles, path)
    if pd.to_numeric(raw["z"], errors="coerce").nunique() > 1:
        warnings.append(f"{path}: z varies and is not used, the analysis is two-dimensional.")
    declared = (
        root.get(name, other) for name, other in (("spaceUnits", "pixel"), ("timeUnits", ""), ("frameInterval", "nan"))
    )
    return Tracks(table, _xml_units(*declared, path), Path(path), "trackmate-xml", {}, warnings)


def _count_warnings(root, particles, path) -> list[str]:
    warnings = []
    declared = root.get("nTracks")
    if declared is not None and declared != str(len(particles)):
        warnings.append(f"{path}: declares {declared} tracks and holds {len(particles)}.")
    wrong = sum(p.get("nSpots") not in (None, str(len(p.findall("detection")))) for p in particles)
    if wrong:
        warnings.append(f"{path}: {wrong} tracks do not hold as many spots as they declare.")
    return warnings


def _xml_units(length: str, time: str, interval: str, path) -> Units:
    """Units of an XML file from its length unit, time unit and time between frames; unknown times stay unknown."""
    position = _known_length(length, path)
    try:
        seconds = float(interval) * SECONDS.get(time.lower(), np.nan)
    except ValueError as error:
        raise InputError(f"{path}: frameInterval '{interval}' is no number.") from error
    seconds = seconds if np.isfinite(seconds) and seconds > 0 else None
    return Units(position, UM_PER_UNIT.get(position), seconds)
