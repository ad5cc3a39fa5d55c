"""What a track file was understood to hold, and what of it would be analysed: the text that `check.py` prints."""

import numpy as np

from main.tracks.options import ESTIMATE, InferenceOptions
from main.tracks.pieces import cut_pieces
from main.tracks.reading.formats import read_tracks
from main.tracks.table import COLUMNS, Tracks, with_units
from simulations.parameters import LONGEST_GAP

N_SHOWN_ROWS = 3
LABEL_WIDTH = 10  # characters


def preview_file(path, options: InferenceOptions) -> str:
    """Read one track file as an analysis would, and describe it in a few lines.

    Parameters
    ----------
    path : str or Path
    options : InferenceOptions
        Those of the analysis; only what concerns reading, units and lengths is used.

    Returns
    -------
    str
        Several lines: format, columns, units, account of rows, tracks, localisation error, what would be analysed and
        what not, the first rows, warnings.

    Raises
    ------
    InputError
        If the file cannot be used.
    """
    tracks = read_tracks(path, options.format, options.columns, options.frame_interval, options.decimal)
    tracks = with_units(tracks, options.pixel_size, options.frame_interval)
    parts = {
        "read as": describe_format(tracks),
        "units": describe_units(tracks),
        "rows": describe_rows(tracks),
        "tracks": describe_lengths(tracks),
        "motion": describe_steps(tracks),
        "error": describe_error(tracks, options.localization_error),
        "analysed": describe_use(tracks, options.min_length),
        "first rows": "\n" + tracks.table[list(COLUMNS)].head(N_SHOWN_ROWS).to_string(index=False),
    }
    lines = [str(tracks.path)] + [f"{label:<{LABEL_WIDTH}} {text}" for label, text in parts.items()]
    return "\n".join(lines + [f"warning: {text}" for text in tracks.warnings])


def describe_format(tracks: Tracks) -> str:
    """Return the name of the format and the column of the file behind each role."""
    named = ", ".join(f"{role} from '{name}'" for role, name in tracks.columns.items())
    return f"{tracks.format}; {named}" if named else tracks.format


def describe_units(tracks: Tracks) -> str:
    """Return the units of positions and results, and the options that are missing for um and s."""
    units = tracks.units
    known = [f"positions in {units.position}"]
    if units.position == "px" and units.um_per_unit is not None:
        known.append(f"{units.um_per_unit:g} um per px")
    if units.frame_interval_s is not None:
        known.append(f"{units.frame_interval_s:g} s between frames")
    missing = ["--pixel-size"] * (units.um_per_unit is None) + ["--frame-interval"] * (units.frame_interval_s is None)
    advice = f" (give {' and '.join(missing)} for um and s)" if missing else ""
    return f"{', '.join(known)}; results in {units.length} and {units.time}{advice}"


def describe_rows(tracks: Tracks) -> str:
    """Return the account of the file's rows."""
    dropped = ", ".join(f"{n} {reason}" for reason, n in tracks.dropped.items())
    n_read = len(tracks.table)
    return f"{n_read + sum(tracks.dropped.values())} in the file: {n_read} read, dropped {dropped or 'none'}"


def describe_lengths(tracks: Tracks) -> str:
    """Return the number of tracks, their lengths and their gaps."""
    points = tracks.table.groupby("track_id").size()
    frame = tracks.table["frame"]
    missing = np.diff(frame)[np.diff(tracks.table["track_id"]) == 0] - 1
    gaps = missing[missing > 0]
    longest = f", the longest {gaps.max()} frames" if gaps.size else ""
    return (
        f"{len(points)}, of {points.min()} to {points.max()} points (median {points.median():g}), in frames "
        f"{frame.min()} to {frame.max()}; {gaps.size} gaps{longest}"
    )


def describe_steps(tracks: Tracks) -> str:
    """Return the median step between successive frames, in the unit of the results: does it look plausible?"""
    table = tracks.table
    next_frame = (np.diff(table["track_id"]) == 0) & (np.diff(table["frame"]) == 1)
    steps = np.hypot(np.diff(table["x"]), np.diff(table["y"]))[next_frame] * tracks.units.scale
    if not steps.size:
        return "no track has points in two successive frames"
    dt = tracks.units.frame_interval_s
    return f"median step {np.median(steps):.3g} {tracks.units.length} in a frame{'' if dt is None else f' of {dt:g} s'}"


def describe_error(tracks: Tracks, given: float | str | None) -> str:
    """Return where the localisation error comes from."""
    if given == ESTIMATE:
        return "localisation error: estimated from the tracks by the analysis"
    if given is not None:
        return f"localisation error: {given:g} {tracks.units.position}, as given"
    if "sigma" in tracks.table and tracks.table["sigma"].notna().any():
        return f"localisation error: of each point, median {tracks.table['sigma'].median():.3g} {tracks.units.position}"
    return "localisation error: unknown; give --localization-error, a number or the word estimate"


def describe_use(tracks: Tracks, min_length: int) -> str:
    """Return which tracks would be analysed, which not, and why."""
    pieces = cut_pieces(tracks.table, min_length)
    used, all_tracks = pieces[pieces["analysed"]], pieces["track_id"].nunique()
    n_used, points = used["track_id"].nunique(), used["n_points"].sum()
    text = f"{n_used} tracks with {points} of {len(tracks.table)} points"
    if n_used < all_tracks:
        text += (
            f"; {all_tracks - n_used} tracks have fewer than {min_length} points in a row and get only a classical D "
            "(--min-length)"
        )
    if len(pieces) > all_tracks:
        text += f"; tracks are cut where more than {LONGEST_GAP} frames are missing, into {len(pieces)} pieces"
    return text
