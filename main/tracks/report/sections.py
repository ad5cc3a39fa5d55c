"""Text and tables of a report: summary, limits of validity, and how the results were made."""

import json
from collections import Counter

import numpy as np
import pandas as pd
from markupsafe import Markup

from main.tracks.report.html import (
    element,
    format_number,
    format_percent,
    format_quantity,
    format_unit,
    make_list,
    make_table,
)
from main.tracks.results.tables import MANY_GAPS, NOISE_ALPHA
from main.utils.bootstrap import weighted_quantile
from simulations.parameters import LONGEST_GAP, STATES, TRAPPED

WARNINGS = {
    "too_short": "The track has fewer points than --min-length. It has no segments, only a classical diffusion "
    "coefficient (d_cve).",
    "outside_training_range": "The networks were not trained on tracks of this length, or of steps as small as these "
    "beside the localisation error.",
    "many_gaps": f"More than {100 * MANY_GAPS:g} % of the frames are missing. K and α are less certain.",
    "partly_analysed": f"The track was cut at gaps of more than {LONGEST_GAP} missing frames, and some pieces were too "
    "short to analyse.",
    "noise_dominated": f"The localisation error is not known, and α is below {NOISE_ALPHA}: the motion may be "
    "localisation noise only.",
}
CAVEATS = (
    "Do not read K or α if the localisation error is larger than the steps and was not given: noise and strong "
    "subdiffusion look alike. The warning noise_dominated marks such tracks only if α is also near 0.",
    "The localisation error is taken as white noise of one size per track. Motion blur is not modelled.",
    "The networks were trained on five simulated models of motion. A motion that none of these models makes is still "
    "assigned to one of the four states.",
    "Trapped means immobile within the localisation error.",
    "The 90 % intervals hold for tracks like those of the training. For other tracks they are too narrow.",
    "Do not trust K or α if a single step is about as long as the compartment or cell is wide.",
)
# The bins of misc/limits.py
LENGTH_EDGES_FRAMES = (40, 80, 140, 201)
NOISE_EDGES = (0.1, 0.3, 1, 3)  # localisation error over step
ALPHA_EDGES = (0.3, 0.7, 1.3, 1.7)


def make_summary(tracks: pd.DataFrame, segments: pd.DataFrame, record: dict) -> Markup:
    """Make the summary: what was found in words, key numbers, warnings.

    Parameters
    ----------
    tracks, segments : pandas.DataFrame
        Tables of `infer.py`.
    record : dict
        Contents of run.json.
    """
    notes = [*record["warnings"], *(sample["reason"] + "." for sample in record.get("samples", []))]
    warnings = element("h3", "Warnings and notes") + make_list(notes) if notes else Markup()
    counts = Counter(name for names in tracks["warnings"] for name in names.split(";") if name)
    rows = [[name, f"{n:,}", WARNINGS.get(name, "")] for name, n in counts.most_common()]
    of_tracks = make_table(["warning", "tracks", "meaning"], rows) if rows else element("p", "No track has a warning.")
    right = element("div", warnings, element("h3", "Warnings of single tracks"), of_tracks)
    columns = element("div", element("div", make_key_numbers(tracks, segments, record)), right, class_="pair")
    return element("p", describe_run(tracks, segments, record), class_="lead") + columns


def describe_run(tracks: pd.DataFrame, segments: pd.DataFrame, record: dict) -> str:
    """Say in three sentences how much was read and analysed, and how much time was spent in each state."""
    analysed = int((tracks["n_segments"] > 0).sum())
    n_files = len(record["inputs"])
    read = (
        f"{len(tracks):,} tracks with {record['counts']['points']:,} points were read from "
        f"{'one file' if n_files == 1 else f'{n_files} files'}; "
    )
    if not analysed:
        return read + "none of them was long enough to analyse."
    frames = segments.groupby("state")["n_frames"].sum().reindex(range(len(STATES)), fill_value=0)
    shares = [f"{format_percent(n / frames.sum())} {name}" for name, n in zip(STATES, frames, strict=True)]
    return (
        f"{read}{analysed:,} were long enough to analyse. They were divided into {len(segments):,} segments of one "
        f"motion each. Share of their frames in each state: {', '.join(shares)}."
    )


def make_key_numbers(tracks: pd.DataFrame, segments: pd.DataFrame, record: dict) -> Markup:
    """Make the table of key numbers with units."""
    counts, units, frames = record["counts"], record["units"], tracks["n_frames"]
    intervals = {given["frame_interval_s"] for given in record["inputs"]}
    interval = intervals.pop() if len(intervals) == 1 else None
    moving = segments[segments["state"] != TRAPPED]
    dropped = ", ".join(f"{n:,} {reason}" for reason, n in counts["dropped"].items()) or "none"
    msd_1, alpha = (weighted_median(moving[name], moving["n_frames"]) for name in ("msd_1", "alpha"))
    rows = [
        ["Tracks read", f"{len(tracks):,}"],
        ["Tracks analysed", f"{counts['analysed']:,}"],
        ["Points read", f"{counts['points']:,}"],
        ["Points left out", dropped],
        ["Missing frames inside tracks", f"{counts['gaps']:,}"],
        ["Segments", f"{counts['segments']:,}"],
        ["Points per track", describe_lengths(frames, "points", interval)],
        ["Frames per segment", describe_lengths(segments["n_frames"], "frames", interval)],
        ["MSD at one frame, median over moving frames", format_quantity(msd_1, units["msd_1"])],
        ["α, median over moving frames", format_number(alpha)],
        [
            "Classical diffusion coefficient, median over tracks (trapped ones included)",
            format_quantity(float(tracks["d_cve"].median()), units["d_cve"]),
        ],
        ["Localisation error (standard deviation)", describe_localization(tracks, units)],
        ["Unit of x and y", describe_scale(record["inputs"])],
        ["Frame interval", describe_interval(record["inputs"])],
    ]
    return make_table([], rows, "Key numbers")


def describe_lengths(lengths: pd.Series, unit: str, frame_interval_s: float | None) -> str:
    """Write the median and the range of a length, the median also in seconds where the frame interval is known."""
    if lengths.empty:
        return "–"
    seconds = f" ({format_number(float(lengths.median()) * frame_interval_s)} s)" if frame_interval_s else ""
    return f"median {lengths.median():g} {unit}{seconds}, range {lengths.min():,} to {lengths.max():,}"


def describe_localization(tracks: pd.DataFrame, units: dict[str, str]) -> Markup:
    """Write the localisation error that was given, in the unit of x and y."""
    known = tracks["localization_error"].dropna()
    if known.empty:
        return Markup("not given")
    value = format_quantity(float(known.median()), units["x"])
    if known.min() != known.max():
        value += f" (median over tracks; range {format_number(known.min())} to {format_number(known.max())})"
    missing = int(tracks["localization_error"].isna().sum())
    return value + (f"; not known for {missing:,} tracks" if missing else "")


def describe_scale(inputs: list[dict]) -> str:
    """Write the unit of x and y of all files, in micrometres where it is known."""
    found = {(given["position"], given["um_per_unit"]) for given in inputs}
    texts = [f"1 {unit} = {um:g} µm" if um else f"{unit}, size not given" for unit, um in sorted(found, key=str)]
    return "; ".join(texts)


def describe_interval(inputs: list[dict]) -> str:
    """Write the frame intervals of all files, in seconds where they are known."""
    found = sorted({given["frame_interval_s"] for given in inputs}, key=str)
    return "; ".join(f"{s:g} s" if s else "not given: times are in frames" for s in found)


def weighted_median(values, weights) -> float:
    """Compute the median of the finite values (N,) with weights (N,); nan if there are none."""
    values, weights = np.asarray(values, dtype=float), np.asarray(weights, dtype=float)
    known = np.isfinite(values)
    return weighted_quantile(values[known], weights[known], 0.5) if known.any() else np.nan


def describe_limits(tracks: pd.DataFrame, segments: pd.DataFrame, record: dict, training_range: dict) -> Markup:
    """Say what the networks were trained on, where the data of this run lie, and what to keep in mind.

    Parameters
    ----------
    tracks, segments : pandas.DataFrame
        Tables of `infer.py`.
    record : dict
        Contents of run.json.
    training_range : dict
        "n_frames": [lowest, highest] number of frames of the tracks that the networks were trained on; empty if that
        is not known.
    """
    parts = [element("p", describe_training(tracks, training_range))]
    shown = ""
    if len(segments):
        text = (
            "Errors are larger if tracks are short, if the localisation error is about as large as a step, and if "
            "α is near 0 or 2. The table shows which share of this run lies in each range, and how wide the "
            "intervals are there. The errors on simulated tracks in the same ranges are listed in the file "
            "misc/limits.md of the project."
        )
        parts.append(element("p", text))
        shown = make_validity_table(tracks, segments, record)
    return element("div", element("div", *parts, make_list(CAVEATS)), element("div", shown), class_="pair")


def describe_training(tracks: pd.DataFrame, training_range: dict) -> str:
    """Say which lengths the networks were trained on, and how many tracks of this run are outside of that range."""
    if "n_frames" not in training_range:
        return "It is not known on which lengths of tracks these weights were trained."
    low, high = training_range["n_frames"]
    lengths = tracks.loc[tracks["n_segments"] > 0, "n_frames"]
    longer, shorter = int((lengths > high).sum()), int((lengths < low).sum())
    sentences = [f"The weights were trained on tracks of {low} to {high} frames."]
    if longer:
        sentences.append(
            f"{longer:,} of {len(lengths):,} analysed tracks are longer: they were analysed in overlapping windows."
        )
    if shorter:
        sentences.append(
            f"{shorter:,} of {len(lengths):,} analysed tracks are shorter: their intervals may be too narrow."
        )
    return " ".join(sentences if longer or shorter else [*sentences, "No analysed track is longer or shorter."])


def make_validity_table(tracks: pd.DataFrame, segments: pd.DataFrame, record: dict) -> Markup:
    """Make a table of the share of moving frames and the width of the intervals, by length, noise and alpha."""
    moving = segments[segments["state"] != TRAPPED]
    track_of_segment = tracks.set_index("track_id").loc[moving["track_id"]]
    lengths = name_bins("track length", track_of_segment["n_frames"].to_numpy(), LENGTH_EDGES_FRAMES, " points")
    noise = name_bins("error / step", compute_noise_over_step(track_of_segment, moving, record), NOISE_EDGES)
    alphas = name_bins("α", moving["alpha"].to_numpy(), ALPHA_EDGES)
    weight, rows = moving["n_frames"].to_numpy(dtype=float), []
    factor = (moving["k_hi"] / moving["k_lo"].where(moving["k_lo"] > 0)).to_numpy()
    width = (moving["alpha_hi"] - moving["alpha_lo"]).to_numpy()
    for name, members in ({"all moving frames": np.ones(len(moving), bool)} | lengths | noise | alphas).items():
        if members.any():
            medians = [format_number(weighted_median(v[members], weight[members]), 2) for v in (factor, width)]
            rows.append([name, format_percent(weight[members].sum() / weight.sum()), *medians])
    return make_table(
        ["", "share of moving frames", "K: upper ÷ lower end", "α: upper − lower end"],
        rows,
        "Moving frames of this run, and how wide the 90 % intervals of their segments are (median, every frame "
        "counting alike). error / step: localisation error divided by the standard deviation of a step along one axis. "
        "These numbers have no unit.",
    )


def compute_noise_over_step(tracks: pd.DataFrame, segments: pd.DataFrame, record: dict) -> np.ndarray:
    """Divide the localisation error by the standard deviation of a step along one axis, sqrt(msd_1 / 2).

    Parameters
    ----------
    tracks : pandas.DataFrame, N rows
        The track of each segment.
    segments : pandas.DataFrame, N rows
        Moving segments.
    record : dict
        Contents of run.json.

    Returns
    -------
    numpy.ndarray, shape (N,)
        nan where the localisation error is not known.
    """
    scales = {given["path"]: given["um_per_unit"] or 1.0 for given in record["inputs"]}
    scale = tracks["file"].map(scales).to_numpy() if "file" in tracks else record["inputs"][0]["um_per_unit"] or 1.0
    return tracks["localization_error"].to_numpy() * scale / np.sqrt(segments["msd_1"].to_numpy() / 2)


def name_bins(quantity: str, values: np.ndarray, edges: tuple, unit: str = "") -> dict[str, np.ndarray]:
    """Assign values to the bins below, between and above some edges.

    Returns
    -------
    dict of str -> (N,) bool array
        Name of a bin -> its members; the last bin holds what is not known.
    """
    place, known = np.digitize(values, edges), np.isfinite(values)
    names = [
        f"below {edges[0]:g}",
        *(f"{low:g} to {high:g}" for low, high in zip(edges, edges[1:], strict=False)),
        f"{edges[-1]:g} and more",
    ]
    found = {f"{quantity} {name}{unit}": known & (place == i) for i, name in enumerate(names)}
    return found | {f"{quantity} not known": ~known}


def describe_origin(record: dict) -> Markup:
    """Write how the results were made: command, inputs, weights, options and versions."""
    command = record.get("command")
    parts = [
        element("h3", "Command"),
        element("pre", element("code", command))
        if command
        else element("p", "The analysis was started from Python, not from the command line. The options are below."),
    ]
    inputs = [[i["path"], i["format"], i["position"], element("code", i["sha256"])] for i in record["inputs"]]
    parts.append(make_table(["file", "format", "unit of x and y", "sha256"], inputs, "Input files"))
    weights = [[name, element("code", digest)] for name, digest in record["weights"].items()]
    parts.append(make_table(["network", "sha256"], weights, f"Weights: {record['options'].get('weights', '')}"))
    options = [[name, json.dumps(value, ensure_ascii=False)] for name, value in record["options"].items()]
    versions = {"tracewise": record["code_version"]} | record["packages"]
    left = element("div", make_table(["option", "value"], options, "Options"))
    right = element("div", make_table(["package", "version"], list(map(list, versions.items())), "Versions"))
    return Markup("").join(parts) + element("div", left, right, class_="pair")


def format_units(record: dict) -> dict[str, str]:
    """Write the units of the figures' axes as HTML."""
    return {name: str(format_unit(unit)) for name, unit in record["units"].items()}
