"""What the microscope adds to the motion, in a report: localisation error, exposure, drift, wrong points."""

import math
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from main.tracks.options import ESTIMATE
from main.tracks.report.html import element, format_number, format_percent, format_quantity, format_unit, make_table
from main.tracks.results.display_units import convert_tracks, name_length_unit

MAX_FILES = 12  # rows of the table


def make_microscope_table(tracks: pd.DataFrame, record: dict) -> Markup:
    """Make the table of what the microscope adds to the motion: one file as a list, several as rows.

    Parameters
    ----------
    tracks : pandas.DataFrame
        Table of `infer.py`.
    record : dict
        Contents of run.json. It may lack localization_error, drift and wrong_points.
    """
    files = record["inputs"]
    described = [describe_file(tracks, record, given, len(files) > 1) for given in files[:MAX_FILES]]
    caption = "What the microscope adds to the motion"
    if len(files) == 1:
        return make_table([], [list(pair) for pair in described[0].items()], caption)
    rows = [[Path(given["path"]).name, *of_file.values()] for given, of_file in zip(files, described, strict=False)]
    more = len(files) - MAX_FILES
    note = element("p", f"{more} more files: see run.json.", class_="note") if more > 0 else Markup()
    return make_table(["file", *described[0]], rows, caption) + note


def describe_file(tracks: pd.DataFrame, record: dict, given: dict, several: bool) -> dict[str, Markup | str]:
    """Describe one file: heading -> text."""
    rows = tracks[tracks["file"] == given["path"]] if several else tracks
    found = {
        name: next((entry for entry in record.get(name, []) if entry["file"] == given["path"]), None)
        for name in ("localization_error", "drift", "wrong_points")
    }
    scale, unit = given["um_per_unit"] or 1.0, name_length_unit(record)
    cells = {"localisation error used": describe_used(rows, record, found["localization_error"])}
    if found["localization_error"]:
        cells["localisation error that the steps show"] = describe_shown(found["localization_error"], scale, unit)
    if "exposure" in record["options"]:
        cells["exposure"] = f"{format_number(record['options']['exposure'], 2)} of the frame interval"
    if found["drift"]:
        cells["common drift"] = describe_drift(found["drift"], scale, given["frame_interval_s"], unit)
    if found["wrong_points"]:
        points, jumps = found["wrong_points"]["points"], found["wrong_points"]["jumps"]
        cells["wrong points"] = f"{points:,} left out; tracks cut at {jumps:,} jumps" if points or jumps else "none"
    return cells


def describe_used(tracks: pd.DataFrame, record: dict, noise: dict | None) -> Markup:
    """Write the localisation error that was used (standard deviation), and where it is from."""
    known = convert_tracks(tracks, record)["localization_error"].dropna()
    if known.empty:
        return Markup("unknown")
    option = record["options"].get("localization_error")
    source = "from the file" if option is None else "estimated" if option == ESTIMATE else "given"
    text = format_quantity(float(known.median()), name_length_unit(record))
    notes = [source]
    if known.min() != known.max():
        notes.append(f"median over tracks, range {format_number(known.min())} to {format_number(known.max())}")
    if len(known) < len(tracks):
        notes.append(f"unknown for {len(tracks) - len(known):,} tracks")
    if noise and noise["contradicted"]:
        notes.append("contradicts the steps")
    return text + Markup(' <small class="wrap">{}</small>').format("; ".join(notes))


def describe_shown(noise: dict, scale: float, unit: str) -> Markup:
    """Write the localisation error that the steps of a file show, with its interval."""
    if noise["estimate"] is None:
        return Markup("unknown: too few steps")
    ends = [scale * noise[end] for end in ("low", "high")]
    interval = f"{format_number(ends[0])} to {format_number(ends[1])}"
    if not noise["determined"]:
        return Markup("not determined <small>{} {}</small>").format(interval, format_unit(unit))
    return format_quantity(scale * noise["estimate"], unit) + Markup(" <small>{}</small>").format(interval)


def describe_drift(drift: dict, scale: float, frame_interval_s: float | None, unit: str) -> Markup:
    """Write the speed of the drift that all tracks share, what it changes, and whether it was removed."""
    if drift["velocity"] is None:
        return Markup("unknown: too few tracks")
    factor, time = (scale / frame_interval_s, "s") if frame_interval_s else (scale, "frame")
    speed, error = (factor * math.hypot(*drift[name]) for name in ("velocity", "error"))
    text = Markup("{} ± {} {}").format(format_number(speed), format_number(error, 2), format_unit(f"{unit}/{time}"))
    if drift["corrected"]:
        note = "removed"
    elif drift["matters"]:
        note = f"not removed; changes the results of {format_percent(drift['tracks_affected'])} of the tracks"
    else:
        note = "too small to matter"
    return text + Markup(" <small>{}{}</small>").format("on average, it varies; " if drift["varies"] else "", note)
