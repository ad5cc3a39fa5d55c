"""Write report.html: one file about a results folder that needs no other file and no network.

It shows a summary, a map of the tracks, distributions, dwell times, limits of validity and how the results were made.
The text is in the page. The browser draws the figures (`page/`) from data packed into it.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from main.tracks.kinetics.figures import MAX_GROUPS
from main.tracks.kinetics.rates import estimate_groups
from main.tracks.report.comparison import compare_groups
from main.tracks.report.data import (
    MAX_STEP_FRAMES,
    compress,
    pack_colours,
    pack_dwell_curves,
    pack_histograms,
    pack_points,
    pack_tracks,
    thin_points,
)
from main.tracks.report.fit_sections import fit_groups, list_fit_warnings, make_fit_sections
from main.tracks.report.html import element, make_json_script
from main.tracks.report.label_sections import make_label_limits, make_label_tables
from main.tracks.report.notices import make_notices
from main.tracks.report.overview import K_NOTE, make_summary
from main.tracks.report.sections import describe_limits, describe_origin, format_units
from main.tracks.results.display_units import convert_points
from main.tracks.results.folder import (
    REPORT,
    add_to_results,
    claim_results,
    explain_write_errors,
    read_tables,
    refuse_other_files,
)
from simulations.parameters import STATES

PAGE = Path(__file__).with_name("page")
SCRIPTS = ("decode.js", "map.js", "charts.js", "page.js")


def write_report(folder: str | Path) -> Path:
    """Write report.html about the tables and run.json of a results folder.

    Parameters
    ----------
    folder : path
        Folder that `infer.py` wrote.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    InputError
        If there are no results, another process uses the folder, or the report cannot be written.
    """
    folder = Path(folder)
    with claim_results(folder) as (record, temporary):
        return add_report(folder, temporary, record)


def add_report(folder: Path, temporary: Path, record: dict) -> Path:
    """Write report.html into a folder that this process has claimed; see `write_report`."""
    refuse_other_files(folder, [REPORT])
    points, segments, tracks = read_tables(folder)
    text = make_page(points, segments, tracks, record)
    with explain_write_errors(folder):
        (temporary / REPORT).write_bytes(text.encode("utf-8", "backslashreplace"))
    add_to_results(folder, temporary, record, [REPORT])
    return folder / REPORT


def make_page(points: pd.DataFrame, segments: pd.DataFrame, tracks: pd.DataFrame, record: dict) -> str:
    """Make the text of the page from the tables and the run.json that `infer.py` writes."""
    points = points.sort_values(["track_id", "frame"], kind="stable", ignore_index=True)
    segments = segments.sort_values(["track_id", "frame_start"], kind="stable", ignore_index=True)
    files = [str(name) for name in tracks["file"].unique()] if "file" in tracks else []
    names, group, by = group_segments(segments, tracks)
    estimates = estimate_groups(segments, np.asarray(names, dtype=object)[group], record, pool_intervals=True)
    fits, fit_note = fit_groups(points, tracks, segments, np.asarray(names, dtype=object)[group], record)
    fit_warnings = list_fit_warnings(fits, estimates)
    conditions = (estimates, fits) if by == "condition" else estimate_conditions(points, tracks, segments, record)
    points = convert_points(points, record)
    kept, every = thin_points(points)
    data = {
        "points": pack_points(kept),
        **pack_tracks(kept, segments, files),
        "files": files,
        "states": STATES,
        "units": format_units(record),
        "frameIntervals": [given["frame_interval_s"] or 1 for given in record["inputs"]],
        "timeUnit": "s" if all(given["frame_interval_s"] for given in record["inputs"]) else "frame",
        "colours": pack_colours(points),
        "breakAt": MAX_STEP_FRAMES * every,
        "every": every,
        "groups": names,
        "by": by,
        "histograms": pack_histograms(segments, group, len(names)),
        "dwells": [
            {"name": name, "unit": estimate.time_unit, "states": pack_dwell_curves(estimate)}
            for name, estimate in estimates.items()
        ],
    }
    return load_template().render(
        title=", ".join(Path(i["path"]).name for i in record["inputs"][:3])
        + (" …" if len(record["inputs"]) > 3 else ""),
        style=Markup(read_page_file("style.css")),
        notices=make_notices(tracks, record, fit_warnings),
        summary=make_summary(tracks, segments, record),
        k_note=K_NOTE,
        map_note=describe_map(tracks, every),
        groups_note=describe_groups(names, by, record),
        fits=make_fit_sections(fits, fit_warnings, fit_note, record),
        labels=make_label_tables(estimates, record),
        label_limits=make_label_limits(estimates),
        comparison=compare_groups(*conditions, record),
        units={name: Markup(unit) for name, unit in format_units(record).items()},
        limits=describe_limits(tracks, segments, record, read_training_range(record)),
        origin=describe_origin(record),
        empty=points.empty,
        data=make_json_script("data", data),
        plotly=pack_plotly(),
        scripts=Markup("\n".join(map(read_page_file, SCRIPTS))),
    )


def load_template():
    """Load the template of the page: every value is escaped unless it is `Markup`; a missing value is an error."""
    environment = Environment(loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html")


def read_page_file(name: str) -> str:
    """Read a file of the folder `page`."""
    return (PAGE / name).read_text(encoding="utf-8")


def pack_plotly() -> Markup:
    """Pack plotly.js; the browser unpacks it after it has shown the summary."""
    from plotly.offline import get_plotlyjs  # here, because only reports need plotly

    return element("script", compress(get_plotlyjs().encode()), type="text/plain", id="plotly")


def group_segments(segments: pd.DataFrame, tracks: pd.DataFrame) -> tuple[list[str], np.ndarray, str]:
    """Group segments by condition, or by file where there are no conditions.

    Returns
    -------
    names : list of str
        At most `MAX_GROUPS`; of more, and of one, all tracks are pooled.
    group : numpy.ndarray of int, shape (N segments,)
    by : {"condition", "file", ""}
        "" if all tracks are pooled.
    """
    for by in ("condition", "file"):
        if by in tracks or by in segments:
            label = tracks.set_index("track_id")[by].loc[segments["track_id"]] if by in tracks else segments[by]
            label = label.astype(object).where(label.notna(), "not given").astype(str)
            codes, names = pd.factorize(label.to_numpy())
            if 1 < len(names) <= MAX_GROUPS:
                return [str(name) for name in names], codes, by
            break
    return ["all tracks"], np.zeros(len(segments), int), ""


def describe_groups(names: list[str], by: str, record: dict) -> str:
    """Say which conditions or files the figures compare."""
    if by:
        return f"The buttons choose one line for each of the {len(names)} {by}s, or one line for each state."
    if len(record["inputs"]) > 1:
        return f"All tracks are pooled. Conditions or files are shown apart if there are 2 to {MAX_GROUPS} of them."
    return ""


def describe_map(tracks: pd.DataFrame, every: int) -> str:
    """Say what the map leaves out."""
    missing = int((tracks["n_segments"] == 0).sum())
    notes = [f"{missing:,} tracks that were not analysed are not shown."] if missing else []
    return " ".join(notes + [f"This report holds only one in {every} points of each track."] * (every > 1))


def estimate_conditions(points, tracks, segments: pd.DataFrame, record: dict) -> tuple[dict, dict]:
    """Estimate labels and states of the conditions, which are compared even where the figures pool them.

    Returns
    -------
    estimates, fits : dict
        Both empty where there are fewer than two conditions.
    """
    if "condition" not in segments or segments["condition"].nunique() < 2:
        return {}, {}
    labels = segments["condition"].to_numpy(dtype=object)
    return (
        estimate_groups(segments, labels, record, pool_intervals=True),
        fit_groups(points, tracks, segments, labels, record)[0],
    )


def read_training_range(record: dict) -> dict:
    """Read what the weights were trained on from their config.json, if the weights are still those of this run."""
    from main.utils.weights import read_config, weights_folder  # here, because it imports torch, which takes seconds

    try:
        config = read_config(weights_folder(str(record["options"].get("weights"))))
    except ValueError:
        return {}
    return config.get("training_range", {}) if config.get("sha256") == record["weights"] else {}
