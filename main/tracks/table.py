"""The validated track table and its units. Tracks of every source are checked here, once."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from main.tracks.options import FRAME_INTERVALS_S, PIXEL_SIZES_UM
from main.tracks.values import check_steps, parse_positions, parse_whole_numbers
from main.utils.errors import InputError, make_printable

COLUMNS = ("track_id", "frame", "x", "y")  # x, y in the unit of the file
# Length units that need no pixel size.
UM_PER_UNIT = {"um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "angstrom": 1e-4, "inch": 25_400.0}
PRINT_UNITS = ("inch", "cm")  # ImageJ takes them from the print resolution in the header of a TIFF file
MAX_INTERVAL_DIFFERENCE = 0.01  # relative; a given frame interval this near the declared one is taken as rounded


@dataclass(frozen=True)
class Units:
    """Units of a track table, and the factors that convert them to micrometres and seconds.

    Parameters
    ----------
    position : str
        Unit of x, y and of the localisation error: px, or a key of UM_PER_UNIT.
    um_per_unit : float or None
        Micrometres per unit of x (the pixel size when position is "px"); None if unknown.
    frame_interval_s : float or None
        Seconds between frames; None if unknown.
    assumed : bool
        Whether the file does not declare its length unit and um was assumed; a pixel size may then be given.
    """

    position: str = "px"
    um_per_unit: float | None = None
    frame_interval_s: float | None = None
    assumed: bool = False

    def __str__(self):
        return f"positions in {self.position}, results in {self.length} and {self.time}"

    @property
    def length(self) -> str:
        """Unit of lengths in the results."""
        return self.position if self.um_per_unit is None else "um"

    @property
    def time(self) -> str:
        """Unit of time in the results."""
        return "frame" if self.frame_interval_s is None else "s"

    @property
    def scale(self) -> float:
        """Result length per unit of x."""
        return 1.0 if self.um_per_unit is None else self.um_per_unit

    @property
    def dt(self) -> float:
        """Result time per frame."""
        return 1.0 if self.frame_interval_s is None else self.frame_interval_s

    def convert_k(self, k, alpha):
        """Convert K from position^2/frame^alpha to length^2/time^alpha: K scale^2 / dt^alpha (any equal shapes)."""
        return k * self.scale**2 / self.dt ** np.asarray(alpha)

    def convert_k_ends(self, rows):
        """Convert the ends of intervals of K as `convert_k` does K, with the error of alpha carried along.

        log10 K in length^2/time^alpha is log10 K at one frame, plus alpha times the lag log10(1 / dt), plus a constant.
        The half widths of its interval, each from the matching sides of K and alpha, are those of `add_half_widths`.

        Parameters
        ----------
        rows : DataFrame
            k, k_lo, k_hi (position^2/frame^alpha), alpha, alpha_lo, alpha_hi (not cut at 0 and 2), and correlation (of
            the errors of log10 K and alpha). Where k is 0, alpha is 0 and only k_hi counts.

        Returns
        -------
        k_lo, k_hi : numpy.ndarray, shape (N,)
        """
        columns = ("k", "k_lo", "k_hi", "alpha", "alpha_lo", "alpha_hi", "correlation")
        k, k_lo, k_hi, alpha, alpha_lo, alpha_hi, correlation = (rows[name].to_numpy(dtype=float) for name in columns)
        lag = -np.log10(self.dt)
        sides = (alpha - alpha_lo, alpha_hi - alpha)
        below, above = sides if lag >= 0 else sides[::-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            low = add_half_widths(np.log10(k / k_lo), below, correlation, lag)
            high = add_half_widths(np.log10(k_hi / k), above, correlation, lag)
            ends = self.convert_k(k, alpha) * 10.0 ** np.stack([-low, high])
        return tuple(np.where(k > 0, ends, self.convert_k(np.stack([k_lo, k_hi]), alpha)))

    def convert_d(self, d):
        """Convert a diffusion coefficient from position^2/frame to length^2/time: D scale^2 / dt."""
        return d * self.scale**2 / self.dt

    def msd_1(self, k):
        """Return the MSD at a lag of one frame, in length^2, from K in position^2/frame^alpha: 4 K scale^2."""
        return 4.0 * k * self.scale**2

    def labels(self) -> dict[str, str]:
        """Return the unit of every column of the result tables that has one."""
        k = f"{self.length}^2/{self.time}^alpha"
        return {
            "frame": "frame",
            "frame_start": "frame",
            "frame_end": "frame",
            "n_frames": "frame",
            "change_width": "frame",
            "x": self.position,
            "y": self.position,
            "localization_error": self.position,
            "k": k,
            "k_lo": k,
            "k_hi": k,
            **dict.fromkeys(("msd_1", "msd_1_lo", "msd_1_hi"), f"{self.length}^2"),
            **dict.fromkeys(("net_speed", "net_speed_lo", "net_speed_hi"), f"{self.length}/{self.time}"),
            **dict.fromkeys(("confinement_radius", "confinement_radius_lo", "confinement_radius_hi"), self.length),
            "d_cve": f"{self.length}^2/{self.time}",
        }


def add_half_widths(log10_k, alpha, correlation, lag):
    """Half width of an interval of log10 K + lag alpha, from those of log10 K and alpha and the correlation of errors.

    As for standard deviations: sqrt(k^2 + (lag alpha)^2 + 2 correlation k lag alpha); arrays or tensors of equal shape.
    """
    return (log10_k**2 + (lag * alpha) ** 2 + 2 * correlation * lag * log10_k * alpha) ** 0.5


@dataclass
class Tracks:
    """Tracks of one file: the validated table, its units, and what the reader dropped.

    Parameters
    ----------
    table : pandas.DataFrame
        track_id int64, frame int64, x, y float64, sorted by (track_id, frame), plus other columns of the
        file. A column `sigma` is the localisation error of each point, in the unit of x, NaN where unknown.
    units : Units
    path : Path
        Name of the file for messages and tables; what cannot be printed in it is escaped, in the warnings too.
    format : str
        Name of the format that was read.
    dropped : dict of str -> int
        Reason -> number of points that the reader left out.
    warnings : list of str
        One sentence each.
    quality : dict
        What the tracks show of wrong points, drift and localisation error, see `main.tracks.quality.check`.
    n_rows : int, optional
        Number of data rows (points) in the file, counted apart from the reading of their values; None for a table from
        memory.
    columns : dict of str -> str
        track_id, frame, x, y, and time where it is used -> column in the file; empty if the file has no columns.
    """

    table: pd.DataFrame
    units: Units
    path: Path
    format: str
    dropped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    quality: dict = field(default_factory=dict)
    n_rows: int | None = None
    columns: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.path = Path(make_printable(self.path))
        self.warnings = [make_printable(text) for text in self.warnings]

    def gaps(self) -> pd.Series:
        """Count the gaps (runs of missing frames) of each track, indexed by track_id."""
        step = self.table["frame"].diff()
        same = self.table["track_id"].diff() == 0
        return (same & (step > 1)).groupby(self.table["track_id"]).sum()


def check_account(tracks: Tracks) -> Tracks:
    """Return the tracks if every row of their file is a point of the table or counted as dropped.

    Raises
    ------
    InputError
        If rows are missing or there are too many; this is a fault of the reader, not of the user.
    """
    n_read, n_dropped = len(tracks.table), sum(tracks.dropped.values())
    if tracks.n_rows is not None and n_read + n_dropped != tracks.n_rows:
        raise InputError(
            f"{tracks.path}: has {tracks.n_rows} rows, but {n_read} were read and {n_dropped} dropped, so the file was "
            "not understood; save it in another format of the manual, and report this file."
        )
    return tracks


def warn_of_depth(z, source) -> list[str]:
    """Return one warning if positions along z vary, since they are not used; else none.

    Parameters
    ----------
    z : pandas.Series, shape (N,)
        Any dtype; what is no number counts as unknown.
    source : str or Path
        File, for the warning.
    """
    if pd.to_numeric(z, errors="coerce").nunique() < 2:
        return []
    return [f"{source}: z varies but is not used, because the analysis is two-dimensional."]


def with_units(tracks: Tracks, pixel_size: float | None, frame_interval: float | None) -> Tracks:
    """Complete a file's units by the options. Positions are never rescaled.

    A file whose unit um was assumed (a TrackMate table without a row of units) is in pixels if a pixel size is given.

    Parameters
    ----------
    tracks : Tracks
    pixel_size : float or None
        Micrometres per pixel.
    frame_interval : float or None
        Seconds between frames.

    Raises
    ------
    InputError
        If a pixel size is given for a file that declares a physical unit, or a frame interval that differs from the
        one it declares, or the file declares a value that no microscope has.
    """
    units, warnings = tracks.units, list(tracks.warnings)
    if pixel_size is not None:
        if units.position in UM_PER_UNIT and not units.assumed:
            raise InputError(
                f"{tracks.path}: positions are in {units.position} already, expected pixels; leave --pixel-size out."
            )
        units = Units("px", pixel_size, units.frame_interval_s)
        warnings = [warning for warning in warnings if "--pixel-size" not in warning]
    if units.position in PRINT_UNITS:
        warnings.append(
            f"{tracks.path}: positions are in {units.position}, which ImageJ takes from the print resolution of an "
            "image; if that is the case, K is wrong: set the pixel size in ImageJ (Image > Properties) and track again."
        )
    if frame_interval is not None:
        declared = units.frame_interval_s
        if declared is not None and abs(declared - frame_interval) > MAX_INTERVAL_DIFFERENCE * declared:
            raise InputError(
                f"{tracks.path}: declares {declared:g} s between frames, but --frame-interval is {frame_interval:g}; "
                "leave the option out, or correct the file."
            )
        units = replace(units, frame_interval_s=frame_interval)
    for name, value, (low, high), unit in (
        ("pixel size", units.um_per_unit if units.position == "px" else None, PIXEL_SIZES_UM, "um"),
        ("frame interval", units.frame_interval_s, FRAME_INTERVALS_S, "s"),
    ):
        if value is not None and not low <= value <= high:
            raise InputError(
                f"{tracks.path}: declares a {name} of {value:g} {unit}, expected {low:g} to {high:g} {unit}; correct "
                "the file, or export the tracks in pixels and frames."
            )
    return replace(tracks, units=units, warnings=warnings)


def validate(raw: pd.DataFrame, source, columns: dict[str, str] | None = None) -> pd.DataFrame:
    """Check a raw table and convert it to the project's track table.

    Parameters
    ----------
    raw : pandas.DataFrame
        One row per point; its index counts the data rows of the file from 0.
    source : str or Path
        File, for errors.
    columns : dict, optional
        track_id, frame, x, y -> column of `raw`; by default the same names.

    Returns
    -------
    pandas.DataFrame
        track_id, frame int64, x, y float64 first, other columns as they were, sorted by (track_id, frame).

    Raises
    ------
    InputError
        If columns or rows are missing, a value is no finite number, a track_id or frame is no whole number, or a
        track has a frame twice. If positions or steps are too large or too small, see `main.tracks.values`.
    """
    columns = columns or {name: name for name in COLUMNS}
    missing = [columns[name] for name in COLUMNS if columns[name] not in raw.columns]
    if missing:
        raise InputError(
            f"{source}: no column {' or '.join(map(repr, missing))} among {', '.join(map(str, raw))}; "
            "name the right one with --columns."
        )
    if len(raw) == 0:
        raise InputError(f"{source}: has only a header, expected one row per point; export the tracks again.")
    table = pd.DataFrame(
        {
            "track_id": parse_whole_numbers(raw[columns["track_id"]], source, columns["track_id"]),
            "frame": parse_whole_numbers(raw[columns["frame"]], source, columns["frame"]),
            "x": parse_positions(raw[columns["x"]], source, columns["x"]),
            "y": parse_positions(raw[columns["y"]], source, columns["y"]),
        },
        index=raw.index,
    )
    used = set(columns.values()) | set(COLUMNS)
    table = table.join(raw[[name for name in raw.columns if name not in used]])
    order = table[["track_id", "frame"]].to_numpy()
    step = np.diff(order, axis=0)
    if not ((step[:, 0] > 0) | ((step[:, 0] == 0) & (step[:, 1] >= 0))).all():
        table = table.sort_values(["track_id", "frame"], kind="stable")
        step = np.diff(table[["track_id", "frame"]].to_numpy(), axis=0)
    if not step.any(axis=1).all():
        table = table.sort_index()
        twice = table.duplicated(["track_id", "frame"])
        row = table[twice].iloc[0]
        raise InputError(
            f"{source}: data row {twice.idxmax() + 1}, column '{columns['frame']}' repeats "
            f"frame {row['frame']:.0f} of track {row['track_id']:.0f}, expected each frame once per track; "
            "remove one of the rows."
        )
    check_steps(table, source)
    return table.reset_index(drop=True)
