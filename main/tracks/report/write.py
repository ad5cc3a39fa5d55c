"""One self-contained HTML file about a results folder: summary, map, distributions, dwell times, limits, provenance.

The text is in the page; the figures are drawn by the browser (`main/utils/page/`) from data packed into it.
"""

import json
from pathlib import Path
from string import Template

import numpy as np
import pandas as pd

from main.tracks.kinetics.dwells import interval_of
from main.tracks.kinetics.rates import compare_conditions, estimate, kinetics
from main.tracks.report.data import (
    break_at,
    colours_of,
    compress,
    dwell_curves,
    histograms,
    pack_points,
    pack_tracks,
    thin,
)
from main.tracks.report.diagram import diagram
from main.tracks.report.html import Html, element, escape, json_script
from main.tracks.report.sections import comparison, dwell_notes, limits, provenance, rates_table, summary, units_text
from main.tracks.results.writer import TABLES
from main.utils.errors import InputError
from main.utils.files import write_atomically
from simulations.parameters import STATES

PAGE = Path(__file__).with_name("page")
SCRIPTS = ("decode.js", "map.js", "charts.js", "page.js")
NAME = "report.html"
MAX_GROUPS = 8  # conditions or files that are shown side by side; more are pooled


def write_report(folder: str | Path) -> Path:
    """Write report.html about the tables and run.json of a results folder.

    Parameters
    ----------
    folder : path
        That `infer.py` wrote.

    Returns
    -------
    Path
        The report: one file that needs no network.

    Raises
    ------
    InputError
        If there are no results, or the report cannot be written.
    """
    folder = Path(folder)
    if not (folder / "run.json").is_file():
        raise InputError(f"{folder}: no run.json in it, expected a folder that infer.py wrote.")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in TABLES}
    text = report(record=record, **tables)
    try:
        write_atomically(folder / NAME, lambda part: part.write_bytes(text.encode("utf-8", "backslashreplace")))
    except OSError as error:
        raise InputError(f"{folder / NAME}: cannot be written ({error.strerror or error}).") from error
    return folder / NAME


def report(points: pd.DataFrame, segments: pd.DataFrame, tracks: pd.DataFrame, record: dict) -> str:
    """The page as text; tables and record as `infer.py` writes them."""
    points = points.sort_values(["track_id", "frame"], kind="stable", ignore_index=True)
    segments = segments.sort_values(["track_id", "frame_start"], kind="stable", ignore_index=True)
    files = [str(name) for name in tracks["file"].unique()] if "file" in tracks else []
    names, group, by = groups_of(segments, tracks)
    kept, every = thin(points)
    data = {
        "points": pack_points(kept),
        **pack_tracks(kept, segments, files),
        "files": files,
        "states": STATES,
        "units": units_text(record),
        "positionUnit": record["units"]["x"].replace("um", "µm"),
        "colours": colours_of(points),
        "breakAt": break_at() * every,
        "every": every,
        "groups": names,
        "by": by,
        "histograms": histograms(segments, group, len(names)),
    }
    found = {
        name: estimate(segments[group == i], time_of(segments[group == i], record)[0] or 1.0, seed=i)
        for i, name in enumerate(names)
        if (group == i).any()
    }
    diagrams, rates, data["dwells"] = dwell_section(segments, record, group, names, found)
    title = ", ".join(Path(i["path"]).name for i in record["inputs"][:3]) + (" …" if len(record["inputs"]) > 3 else "")
    parts = {
        "title": escape(title),
        "style": read("style.css"),
        "summary": summary(tracks, segments, record),
        "map_note": map_note(tracks, every),
        "groups_note": groups_note(names, by, record),
        "diagrams": diagrams,
        "dwells": rates,
        "comparison": compared(segments, record),
        "k_unit": units_text(record)["k"],
        "limits": limits(tracks, segments, record, training_range(record)),
        "provenance": provenance(record),
        "empty": "" if len(points) else "empty",
        "data": json_script("data", data),
        "plotly": plotly_script(),
        "scripts": "\n".join(map(read, SCRIPTS)),
    }
    return Template(read("page.html")).substitute(parts)


def read(name: str) -> str:
    """A file of the page."""
    return (PAGE / name).read_text(encoding="utf-8")


def plotly_script() -> Html:
    """plotly.js, compressed: the browser unpacks it after the first paint."""
    from plotly.offline import get_plotlyjs  # here: only reports need it

    return Html(f'<script type="text/plain" id="plotly">{compress(get_plotlyjs().encode())}</script>')


def groups_of(segments: pd.DataFrame, tracks: pd.DataFrame) -> tuple[list[str], np.ndarray, str]:
    """Conditions (else files) to compare: their names, each segment's number, and what they are ("" if pooled)."""
    for by in ("condition", "file"):
        if by in tracks or by in segments:
            label = tracks.set_index("track_id")[by].loc[segments["track_id"]] if by in tracks else segments[by]
            label = label.astype(object).where(label.notna(), "not given").astype(str)
            codes, names = pd.factorize(label.to_numpy())
            if 1 < len(names) <= MAX_GROUPS:
                return [str(name) for name in names], codes, by
            break
    return ["all tracks"], np.zeros(len(segments), int), ""


def groups_note(names: list[str], by: str, record: dict) -> str:
    """What is compared."""
    if by:
        return f"There is a line for each of the {len(names)} {by}s, or one for each state."
    several = len(record["inputs"]) > 1
    return f"All tracks are pooled (up to {MAX_GROUPS} conditions or files would be shown side by side)." * several


def map_note(tracks: pd.DataFrame, every: int) -> str:
    """What the map leaves out."""
    missing = int((tracks["n_segments"] == 0).sum())
    notes = [f"{missing:,} tracks that were not analysed are not shown."] if missing else []
    return " ".join(notes + [f"One frame in {every} is kept in this report."] * (every > 1))


def compared(segments: pd.DataFrame, record: dict) -> Html:
    """How every condition differs from the first; nothing where there are no conditions."""
    if "condition" not in segments:
        return Html()
    times = {name: time_of(own, record) for name, own in segments.groupby("condition", sort=False)}
    found = {
        name: estimate(own, times[name][0] or 1.0, seed=i)
        for i, (name, own) in enumerate(segments.groupby("condition", sort=False))
    }
    differences = compare_conditions(found, record)
    return Html() if differences.empty else comparison(differences, record["units"])


def time_of(segments: pd.DataFrame, record: dict) -> tuple[float | None, str]:
    """Seconds between frames and the unit of times; frames where files of different intervals are pooled."""
    try:
        return interval_of(segments, record)
    except InputError:
        return None, "frames"


def dwell_section(segments, record, group, names, found) -> tuple[Html, Html, list[dict]]:
    """Diagrams, tables with notes, and the curves that the browser draws, of every group."""
    diagrams, tables, curves = [], [], []
    for name, estimated in found.items():
        own, rates = segments[group == names.index(name)], kinetics(estimated)
        interval, unit = time_of(own, record)
        per = "1/s" if interval else "1/frame"
        caption = element(
            "figcaption",
            "Changes between states: area by share of frames; width and number by rate "
            f"({per}), n changes seen; arrows in the colour of the state that is left.",
        )
        shown = {"class_": "group", "data_group": len(curves)}
        diagrams.append(element("figure", diagram(rates, per), caption, **shown))
        tables.append(element("div", rates_table(rates, own, unit, record["units"]), dwell_notes(own), **shown))
        curves.append({"name": name, "unit": unit, "states": dwell_curves(own, interval or 1.0)})
    return Html("".join(diagrams)), Html("".join(tables)), curves


def training_range(record: dict) -> dict:
    """What the weights were trained on, from their config.json if it still is that of this run."""
    from main.utils.weights import read_config, weights_folder  # here: brings torch

    try:
        config = read_config(weights_folder(str(record["options"].get("weights"))))
    except ValueError:
        return {}
    return config.get("training_range", {}) if config.get("sha256") == record["weights"] else {}
