"""First lines of a report: warnings, what was left out, and what the numbers rest on."""

from collections import Counter

import pandas as pd
from markupsafe import Markup

from main.tracks.report.html import element, format_number, format_quantity, make_list, make_table
from main.tracks.report.overview import describe_localization
from main.tracks.results.tables import MANY_GAPS, NOISE_ALPHA
from simulations.parameters import LONGEST_GAP

WARNINGS = {
    "too_short": "The track has fewer points than --min-length. It has no segments, only a classical diffusion "
    "coefficient (d_cve).",
    "outside_training_range": "The networks were not trained on tracks of this length.",
    "error_above_steps": "The given localisation error alone would make larger steps than the track has: it is too "
    "large for this track, and its K and α are not to be read.",
    "many_gaps": f"More than {100 * MANY_GAPS:g} % of the frames are missing. K and α are less certain.",
    "partly_analysed": f"The track was cut at gaps of more than {LONGEST_GAP} missing frames, and some pieces were too "
    "short to analyse.",
    "noise_dominated": f"The localisation error is not known, and α is below {NOISE_ALPHA}: the motion may be "
    "localisation noise only.",
}


def make_notices(tracks: pd.DataFrame, record: dict) -> Markup:
    """Make the first lines: the run's warnings, the warned tracks by name of the warning, what the numbers rest on.

    Parameters
    ----------
    tracks : pandas.DataFrame
        Table of `infer.py`.
    record : dict
        Contents of run.json.
    """
    counts = Counter(name for names in tracks["warnings"] for name in names.split(";") if name)
    warnings = (
        element("div", make_list(record["warnings"]), class_="warning")
        if record["warnings"]
        else element("p", "The run has no warning.", class_="note")
    )
    rows = [[name, f"{n:,}", WARNINGS.get(name, "")] for name, n in counts.most_common()]
    of_tracks = make_table(["warning", f"of {len(tracks):,} tracks", "meaning"], rows, "Tracks with a warning")
    left = of_tracks if rows else element("p", "No track has a warning.", class_="note")
    columns = element("div", element("div", make_base_table(tracks, record)), element("div", left), class_="pair")
    return warnings + columns


def make_base_table(tracks: pd.DataFrame, record: dict) -> Markup:
    """Make the table of what the numbers rest on: tracks used and left out, localisation error, exposure, drift."""
    return make_table(
        [],
        [*list_left_out(record), ["Localisation error (standard deviation)", describe_localization(tracks, record)]],
        "What the numbers rest on",
    )


def list_left_out(record: dict) -> list[list]:
    """Make the rows on what was analysed and what was left out, of all tracks; none where run.json does not say it."""
    entries = record.get("left_out") or []
    if not entries:
        return []
    entry, unit, rows = entries[-1], record["units"]["d_cve"], []  # the last one is of all tracks
    for part, name in (("used", "Analysed"), ("left_out", "Left out")):
        if not entry[f"tracks_{part}"] and not entry[f"points_{part}"]:
            rows.append([name, "nothing"])
            continue
        text = f"{entry[f'points_{part}']:,} points in {entry[f'tracks_{part}']:,} tracks"
        d, low, high = (entry[f"d_cve_{part}{end}"] for end in ("", "_lo", "_hi"))
        if d is not None:
            ends = Markup("") if low is None else f" ({format_number(low)} to {format_number(high)})"
            text = Markup("{} <small>classical D {}{}</small>").format(text, format_quantity(d, unit), ends)
        rows.append([name, text])
    return rows
