"""Text and tables of a report: what the labels mean, limits of validity, and how the results were made."""

import json

import numpy as np
import pandas as pd
from markupsafe import Markup

from main.tracks.report.html import element, format_number, format_percent, format_unit, make_list, make_table
from main.tracks.report.overview import K_NOTE, weighted_median
from main.tracks.results.display_units import list_file_values, name_length_unit
from simulations.parameters import TRAPPED

WORDS = (
    (
        "trapped",
        "no motion beyond the localisation error. Where the error is known, this is a test of K = 0 on the positions, "
        "which calls about 1 immobile particle in 100 moving (2 in 100 if the true error is 5 % larger than the given "
        "one). A particle that moves less than the error lets one see is trapped as well. Where the error is unknown, "
        "it is a label of a network.",
    ),
    (
        "confined",
        "a label of the AnDi challenge, given by a network. It is not a test of confinement: most particles that "
        "diffuse in a closed disc are labelled free. Read the measured confinement radius of the segment, where it has "
        "one.",
    ),
    (
        "free",
        "neither trapped nor confined nor directed. It does not mean Brownian (α may be .5 or 1.7), and it does "
        "not mean unbound: slow, bound particles that still move are free as well.",
    ),
    (
        "directed",
        "α of 1.9 or more, and nothing else. It is not transport: a particle that drifts and diffuses is "
        "labelled free as long as α is below 1.9. Read the measured net speed of the segment, where it has one.",
    ),
)
CAVEATS = (
    "The shares of the four labels are shares of labelled frames, not a bound fraction: short stays are missed, and "
    "labels are wrong at times. Read occupancies and dwell times from the fit of the hidden Markov model.",
    "Compare the MSD at one frame between segments, states and conditions. " + K_NOTE,
    "Do not read K or α if the localisation error is larger than the steps and was not given: noise and strong "
    "subdiffusion look alike. The warning noise_dominated marks such tracks only if α is also near 0.",
    "The networks take the localisation error as white noise of one size per track, and positions as instantaneous. A "
    "full exposure of the frame makes α .2 to .4 too large, and K about twice the truth.",
    "The networks were trained on five simulated models of motion. A motion that none of these models makes is still "
    "given one of the four labels.",
    "The 90 % intervals hold for tracks like those of the training. For other tracks they are too narrow.",
    "Do not trust K or α if a single step is about as long as the compartment or cell is wide.",
)
# The bins of misc/limits.py
LENGTH_EDGES_FRAMES = (40, 80, 140, 201)
NOISE_EDGES = (0.1, 0.3, 1, 3)  # localisation error over step
ALPHA_EDGES = (0.3, 0.7, 1.3, 1.7)


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
    words = [element("b", name) + ": " + text for name, text in WORDS]
    labels = element("h3", "What the four labels mean, and what they do not"), make_list(words)
    left = element("div", *labels, element("h3", "Limits"), *parts, make_list(CAVEATS))
    return element("div", left, element("div", shown), class_="pair")


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
    widths = {
        f"{text}: upper ÷ lower end": (
            moving[f"{name}_hi"] / moving[f"{name}_lo"].where(lambda low: low > 0)
        ).to_numpy()
        for name, text in (("msd_1", "MSD at one frame"), ("k", "K"))
        if f"{name}_lo" in moving
    }
    widths["α: upper − lower end"] = (moving["alpha_hi"] - moving["alpha_lo"]).to_numpy()
    for name, members in ({"all moving frames": np.ones(len(moving), bool)} | lengths | noise | alphas).items():
        if members.any():
            medians = [format_number(weighted_median(v[members], weight[members]), 2) for v in widths.values()]
            rows.append([name, format_percent(weight[members].sum() / weight.sum()), *medians])
    return make_table(
        ["", "share of moving frames", *widths],
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
    scale = list_file_values(tracks, record, "um_per_unit")
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
    length = dict.fromkeys(("x", "y", "localization_error"), name_length_unit(record))
    return {name: str(format_unit(unit)) for name, unit in (record["units"] | length).items()}
