"""Track files to the validated track table; formats are told apart by extension and header."""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from main.tracks.reading.trackmate import described_rows, frame_interval, read_trackmate_csv, read_trackmate_xml
from main.tracks.table import COLUMNS, UM_PER_UNIT, Tracks, Units, validate
from main.utils.errors import InputError

SPELLINGS = {
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
ERROR_COLUMNS = (("x_err", "y_err"), ("localization_error",), ("ep",))  # sigma: often the spot's width
CHUNK = 2**20  # characters read at a time
LENGTH_UNIT = re.compile(r"[\s_(\[]+(px|pixels?|um|µm|μm|microns?|micrometers?|nm|nanometers?)[)\]]*$")
LENGTH_NAMES = {"p": "px", "n": "nm", "u": "um", "m": "um", "µ": "um", "μ": "um"}


def read_tracks(path, format: str = "auto", columns: dict[str, str] | None = None) -> Tracks:
    """Read one track file.

    Parameters
    ----------
    path : str or Path
        CSV (comma, semicolon or tab), Parquet or TrackMate XML file.
    format : str
        One of FORMATS; "auto" looks at the extension and the header.
    columns : dict, optional
        track_id, frame, x, y -> column name in the file, for any of the four; the others are found by name.

    Returns
    -------
    Tracks
        Positions in the file's own unit (`units.position`), never rescaled.

    Raises
    ------
    InputError
        One sentence naming the file and, where there is one, the row and column.
    """
    path = Path(path)
    if format not in FORMATS:
        raise InputError(f"No format '{format}', expected one of {', '.join(FORMATS)}.")
    check_file(path)
    if format == "trackmate-xml" or (format == "auto" and path.suffix.lower() == ".xml"):
        return read_trackmate_xml(path)
    return read_table(read_raw(path, format in ("auto", "trackmate-csv") and not columns), path, format, columns)


def read_table(raw: pd.DataFrame, source, format: str = "auto", columns: dict[str, str] | None = None) -> Tracks:
    """A table as it stands, from a file or from memory, as Tracks; `read_tracks` says what the options are.

    Parameters
    ----------
    raw : pandas.DataFrame
        One row per point.
    source : str or Path
        What errors name.
    """
    named = set(raw.index.names) - {None} - set(raw.columns)
    raw = raw.reset_index(drop=not named)
    if format == "auto":
        format = "plain" if columns else detect_format(raw.columns)
    return FORMATS[format](raw, source, columns or {})


def check_file(path: Path) -> None:
    """Raise InputError unless `path` is a file with something in it."""
    if path.is_dir():
        raise InputError(f"{path}: is a directory, expected a track file.")
    if not path.exists():
        raise InputError(f"{path}: no such file.")
    if not path.is_file() or path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty.")


def read_raw(path: Path, described: bool = True) -> pd.DataFrame:
    """The table of a CSV or Parquet file as it stands, index 0..N-1 counting its data rows.

    TrackMate's rows of names and units go to its `attrs`, under "described" (column -> list of str): among numbers
    they would make every column text. `described` says whether to look for them.

    Raises
    ------
    InputError
        If it cannot be parsed.
    """
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
        encoding = text_encoding(path)
        with open(path, encoding=encoding) as file:
            header = file.readline()
        separator = max(",;\t", key=header.count)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # text in places: `numbers` finds it
            given = {"sep": separator, "encoding": encoding, "index_col": False, "skip_blank_lines": False}
            rows = described_rows(pd.read_csv(path, nrows=3 * described, dtype="string", **given))
            raw = pd.read_csv(path, skiprows=range(1, len(rows) + 1), **given)
    except InputError:
        raise
    except (ValueError, OSError, pd.errors.ParserWarning) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"{path}: cannot be read as a table ({reason}).") from error
    raw.columns = [str(name).strip() for name in raw.columns]
    raw = raw.iloc[: len(raw) - _trailing_blank(raw)].reset_index(drop=True)
    raw.attrs = {"described": rows.to_dict("list")} if len(rows) else {}
    return raw


def text_encoding(path: Path) -> str:
    """UTF-8, or Windows' western code page, in which TrackMate writes its micrometres there.

    Raises
    ------
    InputError
        If it is neither.
    """
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            with open(path, encoding=encoding, newline="") as file:
                if not any("\0" in text for text in iter(lambda file=file: file.read(CHUNK), "")):
                    return encoding
        except UnicodeDecodeError:
            continue
    raise InputError(f"{path}: no text, expected CSV, Parquet or TrackMate XML.")


def _trailing_blank(raw: pd.DataFrame) -> int:
    """Number of empty lines at the end of the file."""
    filled = np.flatnonzero(raw.notna().any(axis=1).to_numpy())
    return len(raw) - (filled[-1] + 1 if filled.size else 0)


def detect_format(header) -> str:
    """Name of the format with this header (column names); "plain" if it is none of the known."""
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
    """Columns that hold track_id, frame, x, y and the length unit that the names of x and y declare.

    Returns
    -------
    columns : dict
        track_id, frame, x, y -> column name in the file.
    unit : {"px", "um", "nm"}
        "px" where the names say nothing.

    Raises
    ------
    InputError
        Naming what is missing.
    """
    spelled = {}
    for name in header:
        plain = LENGTH_UNIT.sub("", str(name).lower().strip())
        spelled.setdefault(plain.replace(" ", "_"), name)
    columns = {role: next((spelled[s] for s in SPELLINGS[role] if s in spelled), None) for role in COLUMNS}
    columns.update(given)
    missing = [role for role in COLUMNS if columns[role] is None]
    if missing:
        raise InputError(
            f"{source}: no column for {', '.join(missing)} among {', '.join(map(str, header))}; "
            "name them with --columns track=..,frame=..,x=..,y=.."
        )
    units = {_declared_unit(columns["x"]), _declared_unit(columns["y"])}
    if len(units) > 1:
        raise InputError(f"{source}: columns '{columns['x']}' and '{columns['y']}' are in different units.")
    return columns, units.pop()


def _declared_unit(name: str) -> str:
    match = LENGTH_UNIT.search(str(name).lower().strip())
    return LENGTH_NAMES[match.group(1)[0]] if match else "px"


def localization_errors(raw: pd.DataFrame) -> np.ndarray | None:
    """Localisation error of each point from the file's own error columns, shape (N,), NaN where it has none.

    x_err and y_err are pooled as the root of their mean square; values not finite and positive are unknown.
    """
    for names in ERROR_COLUMNS:
        if set(names) <= set(raw.columns):
            values = raw[list(names)].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
            values = np.where(np.isfinite(values) & (values > 0), values, np.nan)
            return np.hypot.reduce(values, axis=1) / np.sqrt(values.shape[1])  # hypot: squares may overflow
    return None


def _table(raw, path, columns, format, units=None, keep=None, reason="") -> Tracks:
    """Rows `keep` of a raw table, with its columns found by name, as Tracks."""
    columns, unit = find_columns(raw.columns, path, columns)
    units = units or Units(unit, UM_PER_UNIT.get(unit))
    dropped = {}
    if keep is not None and not keep.all():
        dropped[reason] = int((~keep).sum())
        if len(raw) and not keep.any():
            raise InputError(f"{path}: every one of its {len(raw)} points is {reason}.")
    kept = raw if keep is None else raw[keep]
    sigma = localization_errors(kept)
    named = list(columns.values())
    extra = kept.drop(columns=[name for name in (*COLUMNS, "sigma") if name in kept and name not in named])
    table = validate(extra if sigma is None else extra.assign(sigma=sigma), path, columns)
    return Tracks(table, units, Path(path), format, dropped, _sigma_warnings(kept, sigma, named, path))


def _sigma_warnings(raw, sigma, named, path) -> list[str]:
    """One warning if a column `sigma` is left aside while the localisation error is unknown, else none."""
    if sigma is not None or "sigma" not in raw or "sigma" in named:
        return []
    return [
        f"{path}: column 'sigma' is not used, since it is often the width of the spots; if it is the localisation "
        "error, rename it to localization_error or give --localization-error."
    ]


def _read_plain(raw, path, columns) -> Tracks:
    return _table(raw, path, columns, "plain")


def _read_andi(raw, path, columns) -> Tracks:
    return _table(raw, path, {"track_id": "traj_idx"} | columns, "andi")


def _read_trackpy(raw, path, columns) -> Tracks:
    return _table(raw, path, {"track_id": "particle"} | columns, "trackpy")


def _read_napari(raw, path, columns) -> Tracks:
    """napari: ID, T, (Z,) Y, X; y stands before x, T is the frame."""
    lower = {str(name).lower(): name for name in raw.columns}
    names = {"track_id": "id", "frame": "t", "x": "x", "y": "y"}
    tracks = _table(raw, path, {role: lower.get(name, name) for role, name in names.items()} | columns, "napari")
    if "z" in lower and pd.to_numeric(raw[lower["z"]], errors="coerce").nunique() > 1:
        tracks.warnings.append(f"{path}: z varies and is not used, the analysis is two-dimensional.")
    return tracks


def _read_saspt(raw, path, columns) -> Tracks:
    """saSPT: y stands before x, a negative trajectory means a point that no track took."""
    columns = {"track_id": "trajectory"} | columns
    keep = None
    if columns["track_id"] in raw.columns:
        keep = ~(pd.to_numeric(raw[columns["track_id"]], errors="coerce") < 0)
    return _table(raw, path, columns, "saspt", keep=keep, reason="unassigned")


def _read_spoton(raw, path, columns) -> Tracks:
    """Spot-On: positions in um and t in seconds already."""
    columns = {"track_id": "trajectory", "frame": "frame"} | columns
    tracks = _table(raw, path, columns, "spoton", units=Units("um", 1.0))
    time = tracks.table["t"] if "t" in tracks.table else pd.Series(np.nan, tracks.table.index)
    seconds = pd.to_numeric(time, errors="coerce").to_numpy(dtype=np.float64)
    tracks.units = Units("um", 1.0, frame_interval(tracks.table["frame"].to_numpy(), seconds))
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
