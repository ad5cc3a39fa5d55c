"""First lines of a report: warnings, what was left out, and what the numbers rest on."""

from collections import Counter

import pandas as pd
from markupsafe import Markup

from main.tracks.report.html import element, format_number, format_quantity, format_sentence, make_list, make_table
from main.tracks.report.microscope import make_microscope_table
from main.tracks.results.left_out import PARTS
from main.tracks.results.tables import MANY_GAPS, NOISE_ALPHA
from simulations.parameters import LONGEST_GAP

WARNINGS = {
    "too_short": "The track has fewer points than --min-length. It has no segments, only a classical diffusion "
    "coefficient (d_cve).",
    "outside_training_range": "The networks were not trained on tracks of this length.",
    "error_above_steps": "The localisation error alone would make larger steps than the track has: it is too "
    "large for this track, and its K and α are not to be read.",
    "immobile_or_moving_unclear": "A segment is labelled as moving, but its positions can be explained by the "
    "localisation error alone (of the known size, or of any size where it is unknown): it may be immobile.",
    "outlier_point": "A point far off the track was left out; run.json names its frame.",
    "jump": "The track was cut at a step that is too long for motion; run.json names its frame.",
    "many_gaps": f"More than {100 * MANY_GAPS:g} % of the frames are missing. K and α are less certain.",
    "partly_analysed": f"The track was cut at gaps of more than {LONGEST_GAP} missing frames, and some pieces were too "
    "short to analyse.",
    "noise_dominated": f"The localisation error is not known, and α is below {NOISE_ALPHA}: the motion may be "
    "localisation noise only.",
}


def make_notices(tracks: pd.DataFrame, record: dict, fit_warnings: dict[str, list[str]]) -> Markup:
    """Make the first lines: the run's warnings, the warned tracks by name of the warning, what the numbers rest on.

    Parameters
    ----------
    tracks : pandas.DataFrame
        Table of `infer.py`.
    record : dict
        Contents of run.json.
    fit_warnings : dict of str -> list of str
        What the data of each group do not determine about its states.
    """
    sentences = [*record["warnings"]]
    for name, found in fit_warnings.items():
        group = f" of {name}" if len(fit_warnings) > 1 else ""
        sentences += [f"Occupancy, dwell times and rates{group}: {' '.join(found)}"] if found else []
    counts = Counter(name for names in tracks["warnings"] for name in names.split(";") if name)
    if sentences:
        warnings = element("div", make_list(map(format_sentence, sentences)), class_="warning")
    else:
        warnings = element("p", "The run has no warning.")
    explained = Markup('{} <small class="wrap">{}</small>')
    rows = [[explained.format(name, WARNINGS.get(name, "")), f"{n:,}"] for name, n in counts.most_common()]
    header = ["warning", f"of {len(tracks):,} tracks"]
    of_tracks = make_table(header, rows, "Tracks with a warning") if rows else element("p", "No track has a warning.")
    columns = element("div", make_left_out_table(record)), element("div", of_tracks)
    return warnings + element("div", *columns, class_="pair") + make_microscope_table(tracks, record)


def make_left_out_table(record: dict) -> Markup:
    """Make the table of what was analysed and left out, of each condition and of all tracks.

    Empty where run.json does not say it.
    """
    entries = [entry for entry in record.get("left_out", []) if entry["file"] is None]
    rows = [
        [entry["condition"] or "all tracks", *(describe_part(entry, part, record["units"]) for part in PARTS)]
        for entry in entries
    ]
    caption = "Points that were analysed and that were left out, and the classical D of their tracks (90 % interval)"
    return make_table(["", "analysed", "left out"], rows, caption) if rows else Markup()


def describe_part(entry: dict, part: str, units: dict[str, str]) -> Markup:
    """Write how many points and tracks were used, or left out, and how they diffuse."""
    if not entry[f"points_{part}"]:
        return Markup("nothing")
    text = Markup("{:,} points in {:,} tracks").format(entry[f"points_{part}"], entry[f"tracks_{part}"])
    d, low, high = (entry[f"d_cve_{part}{end}"] for end in ("", "_lo", "_hi"))
    if d is None:
        return text
    ends = f" ({format_number(low)} to {format_number(high)})" if low is not None else ""
    return text + Markup(" <small>{}{}</small>").format(format_quantity(d, units["d_cve"]), ends)
